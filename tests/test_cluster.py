"""Runs and searches on a cluster of Dask: the same results in the same order, whatever becomes of workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lossproof import LossproofError
from lossproof.cli.main import main
from lossproof.core.functions import FUNCTIONS
from lossproof.core.install import install
from lossproof.fuzz.search import Search
from lossproof.fuzz.spread import search_on
from lossproof.isolation import cluster as clusters
from lossproof.isolation.cluster import Cluster
from lossproof.isolation.load import load_adapter
from lossproof.isolation.pieces import Wanted
from tests.dying import dying

CASES = ["sigmoid/ordinary", "log_sigmoid/ordinary", "softmax/ordinary"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a scheduler with two workers."""
    distributed: Any = pytest.importorskip("distributed")
    dask: Any = pytest.importorskip("dask")
    # What has cost two workers their lives is given up; three more would take a while to start.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made,
    ):
        yield made.scheduler_address


def test_a_run_on_a_cluster_gives_the_same_bytes(address: str, tmp_path: Path) -> None:
    files = [tmp_path / "here.json", tmp_path / "there.json"]
    for file, where in zip(files, ([], ["--scheduler", address]), strict=True):
        assert main(["run", "-a", "numpy", *CASES, "-q", "--json", str(file), *where]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_the_piece_of_a_lost_worker_runs_again(address: str, tmp_path: Path) -> None:
    files = [tmp_path / "here.json", tmp_path / "there.json"]
    adapter = dying(tmp_path, 1)
    where = ["--no-isolate", "--scheduler", address]
    assert main(["run", "-a", adapter, *CASES, "-q", "--json", str(files[1]), *where]) == 0
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert main(["run", "-a", adapter, "--no-isolate", *CASES, "-q", "--json", str(files[0])]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_case_that_kills_each_worker_is_one_line_and_what_was_done_is_kept(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter, file = dying(tmp_path, 1000), tmp_path / "results.json"
    # Softmax is done before sigmoid is met.
    run = ["run", "-a", adapter, *reversed(CASES), "-q", "--json", str(file)]
    assert main([*run, "--no-isolate", "--scheduler", address]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "numpy, the " in error and " from " in error and "gave it up" in error
    # In a process of its own each costs its case alone.
    assert main([*run, "--resume", "--scheduler", address]) == 1
    assert "crash" in capsys.readouterr().out


class Here:
    """A cluster of this process, which does later pieces first."""

    def _numbered(self, do: Any, pieces: Iterable[Any], says: Any) -> Iterator[tuple[int, Any, Any]]:
        some: list[Any] = []
        for number, piece in enumerate(pieces):
            some.append((number, piece))
            if len(some) == 3:
                yield from ((one, what, do(what)) for one, what in reversed(some))
                some = []
        yield from ((one, what, do(what)) for one, what in reversed(some))

    in_order = Cluster.in_order


def test_results_come_in_the_order_of_the_pieces() -> None:
    here: Any = Here()
    assert list(here.in_order(lambda n: n * n, range(20), str)) == [n * n for n in range(20)]


CLIPPED = """
import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

class Clipped(NumpyAdapter):
    name = "clipped"

    def sigmoid(self, logits):
        return np.clip(super().sigmoid(logits), 1e-7, 1).astype(logits.dtype)
"""


def test_rounds_of_a_search_are_those_of_one_process(tmp_path: Path) -> None:
    file = tmp_path / "clipped.py"
    file.write_text(CLIPPED, encoding="utf-8")
    loaded = load_adapter(str(file))
    alone = Search(loaded, ["sigmoid"], ["float32"], seed=5)
    first = next(alone.run(60))
    spread = Search(loaded, ["sigmoid"], ["float32"], seed=5)
    here: Any = Here()
    wanted = Wanted(str(file), "", None, False, 60.0, loaded.info)
    found = next(search_on(here, wanted, spread, 60, 60.0))
    # How far it is shrunk is a matter of time.
    assert found.signature == first.signature
    assert spread.statistics.cases > 0 and spread.known == alone.known


def test_a_search_on_a_cluster_finds_what_is_wrong(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "clipped.py", tmp_path / "found"
    file.write_text(CLIPPED, encoding="utf-8")
    search = ["fuzz", "-a", str(file), "-f", "sigmoid", "-d", "float32", "-s", "8", "-o", str(out)]
    assert main([*search, "--no-isolate", "--scheduler", address]) == 1
    assert list(out.rglob("*.yaml")) and " new findings" in capsys.readouterr().out


def test_an_adapter_that_is_another_one_on_a_worker_is_refused() -> None:
    info = load_adapter("numpy").info
    other = type(info)(info.name, info.backend, "1.0", info.device)
    with pytest.raises(LossproofError, match=r"numpy is numpy .* on a worker, and numpy 1\.0 .*here"):
        Wanted("numpy", "", None, False, 60.0, other).loaded()


SUBCOMMANDS = [["run", "-a", "numpy", "sigmoid/ordinary"], ["fuzz", "-a", "numpy", "-s", "5"]]


@pytest.mark.parametrize("arguments", SUBCOMMANDS, ids=lambda arguments: arguments[0])
def test_a_scheduler_that_is_not_there_is_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        assert main([*arguments, "--scheduler", address]) == 2
        assert f"--scheduler {address}: no scheduler answers there" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", SUBCOMMANDS, ids=lambda arguments: arguments[0])
def test_without_dask_it_says_what_to_install(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*arguments, "--scheduler", "local"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert install("dask") in line


def test_a_scheduler_without_a_worker_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    distributed: Any = pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "_SECONDS_TO_WORK", 2)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None, processes=False) as made:
        assert main(["run", "-a", "numpy", *CASES, "--scheduler", made.scheduler_address]) == 2
    assert "it has no worker; dask worker" in capsys.readouterr().err


def test_a_row_of_the_table_is_itself_in_another_process() -> None:
    import pickle

    assert all(pickle.loads(pickle.dumps(function)) is function for function in FUNCTIONS.values())
