"""The speed of backends on the workloads, by pytest-benchmark.

pytest benchmarks --benchmark-only --adapter torch --adapter jax
pytest benchmarks --benchmark-only -k "softmax and float32 and not backward" --benchmark-autosave

Without ``--adapter``, on every installed backend that does not take minutes to compile. Backends share
this process, one after the other; ``lossproof bench`` times each in processes of its own, side by side,
and gives intervals. Both take the same steps and judge what they time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from lossproof.bench.session import cores, described
from lossproof.bench.worker import Backend, Copying
from lossproof.bench.workload import Workload, workloads
from lossproof.errors import LossproofError
from lossproof.registry.find import BUILTIN, available_names

TAKES_MINUTES = ("torch-compile", "tensorflow-xla")
# Copies of as many bytes as a workload moves; what they take is their median.
COPY_ROUNDS = 9


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per workload, direction and backend, those that compare after each other."""
    installed = [
        name for name in available_names()
        if name not in TAKES_MINUTES and (name not in BUILTIN or BUILTIN[name].missing is None)
    ]  # fmt: skip
    references = metafunc.config.getoption("--lossproof-adapter") or installed
    found = [(work, reference) for work in workloads() for reference in references]
    metafunc.parametrize(("work", "reference"), found, ids=[label(*pair) for pair in found])


def label(work: Workload, reference: str) -> str:
    """What ``-k`` selects by: function, case, dtype, direction and backend."""
    direction = "backward" if work.backward else "forward"
    return "-".join([*work.name.split(), direction, reference])


def test_speed(benchmark: Any, work: Workload, reference: str) -> None:
    found = backend(reference)
    said = found.start()
    if said["skipped"] is not None:
        pytest.skip(said["skipped"])
    prepared = found.prepare(work.name, work.direction)
    if "unsupported" in prepared:
        pytest.skip(prepared["unsupported"])
    steps = found.steps
    benchmark.group = f"{work.name} {work.direction}"
    benchmark(lambda: next(steps)())
    copy = copy_seconds(work.bytes, said["device"])
    # Each framework has its own default below the number of cores.
    extra = replace(described(work, said, prepared, len(cores())), bandwidth_limit_s=copy)
    benchmark.extra_info |= msgspec.to_builtins(extra) | {"right": not extra.wrong}
    if benchmark.stats is not None and copy is not None:  # with --benchmark-disable nothing is timed
        ratio = benchmark.stats.stats.median / copy
        benchmark.extra_info |= {"time_over_copy": [ratio], "share_of_copy_bandwidth": 1 / ratio}


@cache
def backend(reference: str) -> Backend:
    try:
        return Backend(reference)
    except (LossproofError, TypeError) as error:
        raise pytest.UsageError(f"{reference}: {error}") from None


@cache
def copy_seconds(size: int, device: str) -> float | None:
    """What copying takes, one half read and one half written; not known for other devices than the CPU."""
    if device != "cpu":
        return None
    copying = Copying("copy-cpu")
    calls = max(1, round(0.02 / copying.prepare(size)["seconds"]))
    return sorted(copying.time(calls)["seconds"] for _ in range(COPY_ROUNDS))[COPY_ROUNDS // 2]
