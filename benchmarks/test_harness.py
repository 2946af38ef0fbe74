"""What the harness itself costs.

pytest benchmarks/test_harness.py --benchmark-only
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from lossproof.adapter import Adapter
from lossproof.case import load_cases
from lossproof.certify import certify
from lossproof.registry import load_adapter
from lossproof.remote import RemoteAdapter
from lossproof.resources import folder
from lossproof.results import Verdict
from lossproof.runner import jobs, run_here, run_parallel


def test_help(benchmark: Any) -> None:
    benchmark.pedantic(
        lambda: subprocess.run(
            [sys.executable, "-m", "lossproof.cli", "--help"], check=True, capture_output=True
        ),
        rounds=5,
    )


def test_load_all_cases(benchmark: Any) -> None:
    cases = benchmark.pedantic(load_cases, rounds=5, warmup_rounds=1)
    benchmark.extra_info["cases"] = len(cases)


def test_certify_on_two_processes(benchmark: Any) -> None:
    certificates, problems = benchmark.pedantic(lambda: certify([folder("cases")], jobs=2), rounds=1)
    assert not problems
    elements = sum(certificate.elements for certificate in certificates)
    benchmark.extra_info["elements"] = elements
    benchmark.extra_info["elements_per_second"] = elements / benchmark.stats.stats.mean


class Timed:
    """Adds up the time spent inside an adapter's own calls: the bare framework calls."""

    def __init__(self, adapter: Adapter) -> None:
        self.seconds = 0.0
        for name in ("evaluate", "value_and_gradients", "to_numpy"):
            setattr(adapter, name, self.wrap(getattr(adapter, name)))

    def wrap(self, method: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


@pytest.mark.parametrize("name", ["numpy", "torch", "tensorflow"])
def test_overhead_over_bare_calls(benchmark: Any, name: str) -> None:
    """Time of a run over the time inside the framework's calls (eager backends: no compilation)."""
    loaded = load_adapter(name)
    if loaded.adapter is None:
        pytest.skip(str(loaded.info.skipped))
    pairs = jobs(load_cases(), [])

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in run_here(loaded, pairs):
                pass

    run()  # inputs are generated and libraries warmed up
    timed = Timed(loaded.adapter)
    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["bare_s"] = timed.seconds
    benchmark.extra_info["ratio"] = benchmark.stats.stats.mean / timed.seconds


@pytest.fixture(scope="module")
def c_adapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("c") / "adapter"
    source = Path(__file__).parent.parent / "examples" / "c" / "adapter.c"
    subprocess.run(["cc", "-O2", "-o", program, source, "-lm"], check=True)
    return str(program)


@pytest.mark.parametrize("how", ["in-process", "isolated", "pipe-to-c"])
def test_cost_per_case(benchmark: Any, how: str, c_adapter: str) -> None:
    """Small cases of one function, so that what is measured is the way there and back."""
    reference = c_adapter if how == "pipe-to-c" else "numpy"
    loaded = load_adapter(reference, isolate=how == "isolated")
    pairs = jobs(load_cases(), ["float32"])
    pairs = [(case, d) for case, d in pairs if case.id.startswith("sigmoid/tails/")]

    def run() -> None:
        for _ in run_here(loaded, pairs):
            pass

    benchmark.pedantic(run, rounds=20, warmup_rounds=2)
    benchmark.extra_info["milliseconds_per_case"] = 1000 * benchmark.stats.stats.median / len(pairs)
    if isinstance(loaded.adapter, RemoteAdapter):
        loaded.adapter.close()


def test_recovery_after_a_crash(benchmark: Any, tmp_path: Path) -> None:
    """From the crash to the next answer: a new process that imports NumPy and lossproof."""
    path = tmp_path / "crashing.py"
    path.write_text(
        "import os\nfrom lossproof.adapters.numpy import NumpyAdapter\nclass Crashing(NumpyAdapter):\n"
        "    name = 'crashing'\n    def sigmoid(self, logits):\n"
        "        return os.abort() if logits.shape == () else super().sigmoid(logits)\n",
        encoding="utf-8",
    )
    loaded = load_adapter(str(path), isolate=True)
    by_id = {case.id: case for case in load_cases()}
    crash, fine = by_id["sigmoid/ordinary/scalar"], by_id["sigmoid/ordinary/moderate"]

    def run() -> None:
        (rows,) = run_here(loaded, [(fine, "float32")])
        assert rows[0].verdict is Verdict.PASS

    benchmark.pedantic(run, setup=lambda: list(run_here(loaded, [(crash, "float32")])) and None, rounds=5)


@pytest.mark.parametrize("name", ["torch", "jax"])
@pytest.mark.parametrize("processes", [1, 2])
def test_jobs(benchmark: Any, name: str, processes: int) -> None:
    """All float32 cases, isolated, start of the framework included."""
    if load_adapter(name).adapter is None:
        pytest.skip(f"{name} is not installed")
    pairs = jobs(load_cases(), ["float32"])

    def run() -> None:
        loaded = load_adapter(name, isolate=True)
        for _ in run_parallel(loaded, pairs, processes):
            pass
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()

    benchmark.pedantic(run, rounds=1)
