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
    ahead: deque[Future[list[Record]]] = deque()
    # Threads share the filters of warnings, so they are set once, around all of them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # A few pairs ahead of what is yielded, so that memory does not grow with their number.
            for pair in pairs:
                ahead.append(pool.submit(run_next, pair))
                if len(ahead) > 4 * processes:
                    yield _first(ahead)
            while ahead:
                yield _first(ahead)
        except BaseException:
            # Ctrl-C, or nobody wants the rest: threads that wait for an answer need not wait any longer.
            # A generator that is closed after its last result comes here, too, with nothing to kill.
            running = [future for future in ahead if not (future.cancel() or future.done())]
            for twin in twins if running else ():
                twin.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            for twin in twins[1:]:
                twin.close()


def _first(ahead: deque[Future[list[Record]]]) -> list[Record]:
    """Wait for the first result; it stays in line until it is there."""
    rows = ahead[0].result()
    ahead.popleft()
    return rows
