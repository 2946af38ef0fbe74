"""Run many cases on one adapter, one after the other or spread over processes."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from lossproof.adapter import Adapter
from lossproof.case import Case
from lossproof.engine import run_case, same_verdict_for_all
from lossproof.registry import Loaded
from lossproof.remote import RemoteAdapter
from lossproof.results import Record, Verdict


def jobs(cases: Iterable[Case], dtypes: Sequence[str]) -> Iterator[tuple[Case, str]]:
    """The pairs to run; ``dtypes`` empty means all that each case lists."""
    return ((case, d) for case in cases for d in case.dtypes if not dtypes or d in dtypes)


def run_here(loaded: Loaded, pairs: Iterable[tuple[Case, str]]) -> Iterator[list[Record]]:
    """Run one pair after the other; yields the records of one pair at a time."""
    # Overflows and invalid operations are what many cases are about.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case, dtype in pairs:
            yield _run_pair(loaded, loaded.adapter, case, dtype)


def _run_pair(loaded: Loaded, adapter: Adapter | None, case: Case, dtype: str) -> list[Record]:
    name = loaded.info.name
    if adapter is None:
        return same_verdict_for_all(case, dtype, name, Verdict.SKIPPED, loaded.info.skipped or "")
    return run_case(adapter, name, case, dtype, loaded.deviations)


def run_parallel(
    loaded: Loaded, pairs: Iterable[tuple[Case, str]], processes: int
) -> Generator[list[Record]]:
    """Run on several processes of the adapter; yields what ``run_here`` does, in the same order.

    Each process is driven by a thread, which waits for it most of the time.
    """
    if not isinstance(loaded.adapter, RemoteAdapter):
        yield from run_here(loaded, pairs)
        return
    first = loaded.adapter
    twins = [first]
    # None stands for a process that is not started yet; each starts in its own thread.
    idle: SimpleQueue[RemoteAdapter | None] = SimpleQueue()
    for twin in [first, *[None] * (processes - 1)]:
        idle.put(twin)

    def run_pair(pair: tuple[Case, str]) -> list[Record]:
        twin = idle.get()
        if twin is None:
            twin = first.twin()
            twins.append(twin)
        try:
            return _run_pair(loaded, twin, *pair)
        finally:
            idle.put(twin)

    pool = ThreadPoolExecutor(processes)
    # Threads share the filters of warnings, so they are set once, around all of them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # A few pairs ahead of what is yielded, so that memory does not grow with their number.
            ahead: deque[Future[list[Record]]] = deque()
            for pair in pairs:
                ahead.append(pool.submit(run_pair, pair))
                if len(ahead) > 4 * processes:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BaseException:
            # Ctrl-C: threads that wait for an answer need not wait any longer.
            for twin in twins:
                twin.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            for twin in twins[1:]:
                twin.close()
