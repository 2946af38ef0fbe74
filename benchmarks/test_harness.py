"""What the harness itself costs.

pytest benchmarks/test_harness.py --benchmark-only
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from typing import Any

import pytest

from lossproof.adapter import Adapter
from lossproof.case import load_cases
from lossproof.certify import certify
from lossproof.registry import load_adapter
from lossproof.resources import folder
from lossproof.runner import jobs, run_here


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
