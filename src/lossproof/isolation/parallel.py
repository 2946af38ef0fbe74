"""Spread the cases of one adapter over several processes of it."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from lossproof.case.model import Case
from lossproof.engine.record import Record
from lossproof.engine.runner import run_here, run_pair
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.loaded import Loaded


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

    def run_next(pair: tuple[Case, str]) -> list[Record]:
        twin = idle.get()
        if twin is None:
            twin = first.twin()
            twins.append(twin)
        try:
            return run_pair(loaded, twin, *pair)
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
                ahead.append(pool.submit(run_next, pair))
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
