"""Spread ranges of inputs over this process, several, or a cluster of Dask; whichever comes first is done.

A worker that is lost costs its range another try, never the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import msgspec

from lossproof.adapter import Adapter
from lossproof.errors import LossproofError
from lossproof.isolation.cluster import cluster, one_thread
from lossproof.isolation.load import load_once
from lossproof.sweeps.work import Range, Tallies, measure

# How often a range is tried whose worker dies.
TRIES = 3


class Task(msgspec.Struct, frozen=True):
    """A range of inputs on an adapter, in words that another process understands."""

    reference: str
    python: str | None
    isolate: bool | None
    timeout: float
    range: Range


T = TypeVar("T")
Execute = Callable[[Iterable[T]], Iterator[tuple[T, Tallies]]]
"""Does tasks, and gives each with its tallies as it is done."""
Done = Iterator[tuple[Task, Tallies]]


def perform(task: Task) -> bytes:
    """Measure a range; what it gave as JSON. Runs in any process that has lossproof and the framework."""
    loaded = load_once(task.reference, task.python, task.isolate, task.timeout)
    if loaded.adapter is None:
        raise LossproofError(f"adapter {task.reference!r} cannot run here: {loaded.info.skipped}")
    return msgspec.json.encode(measure(loaded.adapter, task.range))


def tallies(text: bytes) -> Tallies:
    """What ``perform`` gave."""
    return msgspec.json.decode(text, type=Tallies)


def here(tasks: Iterable[Task]) -> Done:
    """One range after another, in this process."""
    for task in tasks:
        yield task, tallies(perform(task))


def with_adapter(adapter: Adapter) -> Execute[Range]:
    """The same, of an adapter that is an object; tasks are the ranges themselves."""

    def execute(ranges: Iterable[Range]) -> Iterator[tuple[Range, Tallies]]:
        for range_ in ranges:
            yield range_, measure(adapter, range_)

    return execute


@contextmanager
def processes(jobs: int) -> Iterator[Execute[Task]]:
    """On so many processes of this machine, which stay from one sweep to the next."""
    pools: list[ProcessPoolExecutor] = []

    def execute(tasks: Iterable[Task]) -> Done:
        left = dict.fromkeys(tasks, 0)
        while left:
            if not pools:
                pools.append(ProcessPoolExecutor(jobs, get_context("spawn"), one_thread))
            try:
                waiting = {pools[0].submit(perform, task): task for task in left}
                for future in as_completed(waiting):
                    task = waiting[future]
                    found = tallies(future.result())
                    del left[task]
                    yield task, found
            except BrokenProcessPool:
                # A process that dies takes its pool with it; what was not done is done by another.
                pools.pop().shutdown(wait=False)
                _tried(left)

    try:
        yield execute
    except BaseException:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        raise
    for pool in pools:
        pool.shutdown()


def _tried(left: dict[Task, int]) -> None:
    """Count a try of all that is left.

    Raises:
        LossproofError: one has been tried often enough.
    """
    for task in left:
        left[task] += 1
    worst = max(left, key=left.__getitem__)
    if left[worst] >= TRIES:
        raise LossproofError(
            f"{worst.range.subject} {worst.range.dtype}: the process that measures {worst.reference} died "
            f"{TRIES} times; --isolate gives it one of its own, where it costs one block"
        )


@contextmanager
def on_cluster(address: str, jobs: int) -> Iterator[Execute[Task]]:
    """On a cluster of Dask: one that is there, or with ``local`` one that is made here and ends here.

    Raises:
        LossproofError: Dask is not installed, or no scheduler answers at the address.
    """
    with cluster(address, jobs) as workers:

        def execute(tasks: Iterable[Task]) -> Done:
            def says(task: Task) -> str:
                return f"{task.range.subject} {task.range.dtype}"

            for task, text in workers.results(perform, tasks, says):
                yield task, tallies(text)

        yield execute
