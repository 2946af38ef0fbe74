"""Spread the cases of one adapter over several processes of it."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock

from lossproof.case.model import Case
from lossproof.core.verdicts import ProcessFault
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
    twins = _Twins([first, *(first.twin() for _ in range(processes - 1))])

    def run_next(pair: tuple[Case, str]) -> list[Record]:
        twin = twins.take()
        try:
            return run_pair(loaded, twin, *pair)
        finally:
            twins.give_back(twin)

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
            for twin in twins.all if running else ():
                twin.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            for twin in twins.all[1:]:
                twin.close()


class _Twins:
    """The processes of one adapter: those that wait for work, each started by the thread that needs it."""

    def __init__(self, twins: Sequence[RemoteAdapter]) -> None:
        self.all = tuple(twins)
        self._idle: SimpleQueue[RemoteAdapter] = SimpleQueue()
        self._left = len(twins)
        self._lock = Lock()
        for twin in twins:
            self._idle.put(twin)

    def take(self) -> RemoteAdapter:
        """One that has a process; or the last one, to say why none has.

        One that does not start is left out, so that another gets the work; it would be the quickest to be
        done with any.
        """
        while True:
            twin = self._idle.get()
            try:
                twin.ready()
            except ProcessFault:
                with self._lock:
                    last = self._left == 1
                    if not last:
                        self._left -= 1
                if not last:
                    continue
            return twin

    def give_back(self, twin: RemoteAdapter) -> None:
        self._idle.put(twin)


def _first(ahead: deque[Future[list[Record]]]) -> list[Record]:
    """Wait for the first result; it stays in line until it is there."""
    rows = ahead[0].result()
    ahead.popleft()
    return rows
