"""What compilers compile: what differs in its arrays only once, all else apart, and once for many runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossproof.adapters._compiled import Compiled
from lossproof.adapters.numpy import NumpyAdapter

from lossproof import Call
from lossproof.cli import compiled

CACHES = {
    "linux": ({"HOME": "{home}"}, ".cache/lossproof"),
    "linux, elsewhere": ({"HOME": "{home}", "XDG_CACHE_HOME": "{home}/x"}, "x/lossproof"),
    "darwin": ({"HOME": "{home}"}, "Library/Caches/lossproof"),
    "win32": ({"HOME": "{home}", "LOCALAPPDATA": "{home}/Local"}, "Local/lossproof"),
    "named": ({"HOME": "{home}", "LOSSPROOF_CACHE": "{home}/mine"}, "mine"),
}


@pytest.mark.parametrize("where", CACHES)
def test_compiled_programs_are_kept(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, folder = CACHES[where]
    mine = {name: text.replace("{home}", str(tmp_path)) for name, text in variables.items()}
    monkeypatch.setattr(os, "environ", mine)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", where if where in ("darwin", "win32") else "linux")
    compiled.keep()
    kept = Path(mine["JAX_COMPILATION_CACHE_DIR"])
    assert kept.parent == tmp_path / folder and kept.is_dir()


@pytest.mark.parametrize(
    "variables", [{"LOSSPROOF_CACHE": ""}, {"LOSSPROOF_CACHE": "{file}"}, {"XDG_CACHE_HOME": "{file}"}]
)
def test_nothing_is_kept_where_it_is_not_wanted_or_cannot_be(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    mine = {name: text.replace("{file}", str(tmp_path / "file")) for name, text in variables.items()}
    before = dict(mine)
    monkeypatch.setattr(os, "environ", mine)
    monkeypatch.setattr(sys, "platform", "linux")
    compiled.keep()
    assert mine == before


def test_what_the_user_has_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"LOSSPROOF_CACHE": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": "/theirs"}
    monkeypatch.setattr(os, "environ", mine)
    compiled.keep()
    assert mine["JAX_COMPILATION_CACHE_DIR"] == "/theirs"


def test_a_second_run_of_jax_compiles_nothing(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    command = [sys.executable, "-m", "lossproof", "run", "sigmoid/ordinary/scalar", "-a", "jax", "-q"]

    def run() -> set[str]:
        environment = {**os.environ, "LOSSPROOF_CACHE": str(tmp_path)}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return {path.name for path in tmp_path.rglob("*-cache")}

    programs = run()
    assert programs
    assert run() == programs


class Counting(Compiled, NumpyAdapter):
    """Says which calls were compiled."""

    name = "counting"

    def __init__(self) -> None:
        self.compiled: list[Call] = []

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        self.compiled.append(function)
        return lambda arrays: function(*arrays.values())


def sums(adapter: Counting, *logits: float, **parameters: Any) -> Any:
    arrays = {"logits": np.array(logits), "target": np.zeros(len(logits))}
    given = {"weight": None, "pos_weight": None, "reduction": "sum", **parameters}
    return adapter.evaluate(Call(adapter, "sigmoid_cross_entropy", given), arrays)


def test_calls_that_differ_in_arrays_only_are_compiled_once_and_not_confused() -> None:
    adapter = Counting()
    first, second = sums(adapter, 0.0), sums(adapter, 0.0, 0.0)
    assert len(adapter.compiled) == 1
    assert (first, second) == pytest.approx((np.log(2), 2 * np.log(2)))


@pytest.mark.parametrize(
    "other",
    [
        {"reduction": "mean"},
        {"weight": np.array([2.0, 3.0])},
        {"weight": np.array([2.0, 4.0], np.float32)},
        {"weight": np.array([2.0 + 2.0**-40, 4.0])},
    ],
)
def test_whatever_else_differs_is_compiled_apart(other: dict[str, Any]) -> None:
    adapter = Counting()
    plain = {"weight": np.array([2.0, 4.0])}
    expected = sums(Counting(), 1.0, 2.0, **other)
    sums(adapter, 1.0, 2.0, **plain)
    assert sums(adapter, 1.0, 2.0, **other) == expected
    sums(adapter, 3.0, 4.0, **plain)
    assert len(adapter.compiled) == 2


def test_only_the_last_steps_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "STEPS_KEPT", 1)
    adapter = Counting()
    for reduction in ("sum", "mean", "mean", "sum"):
        sums(adapter, 1.0, reduction=reduction)
    assert [call.parameters["reduction"] for call in adapter.compiled] == ["sum", "mean", "sum"]
