"""Spread work over a cluster of Dask: one that is there, or one that is made for it on this machine.

Dask does again on another worker what a lost one had; work that has cost several of them their lives, and a
cluster that is gone, are one message.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from threading import Lock
from typing import Any, TypeVar

from lossproof.core.install import install
from lossproof.errors import LossproofError

T = TypeVar("T")
R = TypeVar("R")

# Each process has one core: frameworks that start a thread per core would get in each other's way.
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
# Pieces that lie ready for each thread of the workers, so that none of them waits.
_READY = 2
# How long a scheduler may take to answer, and to have a worker: those that died are being started again.
_SECONDS, _SECONDS_TO_WORK = 10, 60


def one_thread() -> None:
    """Let frameworks that this process, or one that it starts, imports from now on have one thread."""
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))


class Cluster:
    """Workers that do pieces of work; ``cluster`` makes it."""

    def __init__(self, client: Any, dask: Any, address: str) -> None:
        self._client, self._dask, self._address = client, dask, address

    def results(
        self, do: Callable[[T], R], pieces: Iterable[T], says: Callable[[T], str]
    ) -> Iterator[tuple[T, R]]:
        """What ``do`` gives for each piece, whichever comes first; ``says`` names a piece in words.

        Raises:
            LossproofError: a piece was given up, or the cluster is gone.
        """
        return ((piece, result) for _, piece, result in self._numbered(do, pieces, says))

    def in_order(self, do: Callable[[T], R], pieces: Iterable[T], says: Callable[[T], str]) -> Iterator[R]:
        """The same in the order of the pieces."""
        early: dict[int, R] = {}
        due = 0
        for number, _, result in self._numbered(do, pieces, says):
            early[number] = result
            while due in early:
                yield early.pop(due)
                due += 1

    def _numbered(
        self, do: Callable[[T], R], pieces: Iterable[T], says: Callable[[T], str]
    ) -> Iterator[tuple[int, T, R]]:
        left = enumerate(pieces)
        waiting: dict[Any, tuple[int, T]] = {}
        done = self._dask.as_completed(loop=self._client.loop)

        def fill() -> None:
            """Hand out pieces until there are enough; all of them might not fit into memory."""
            room = _READY * max(1, sum(self._client.nthreads().values())) - len(waiting)
            for number, piece in islice(left, max(0, room)):
                future = self._client.submit(_Alone(do), piece, pure=False, retries=0)
                waiting[future] = number, piece
                done.add(future)

        try:
            fill()
            for future in done:
                number, piece = waiting.pop(future)
                try:
                    result = future.result()
                except LossproofError:
                    raise
                except (Exception, asyncio.CancelledError) as error:  # KilledWorker among them
                    why = _first_line(error)
                    raise LossproofError(f"{says(piece)}: the cluster gave it up: {why}") from None
                future.release()
                yield number, piece, result
                fill()
        except (OSError, TimeoutError) as error:
            raise LossproofError(f"--scheduler {self._address}: the scheduler is gone: {error}") from None
        finally:
            with suppress(Exception):
                self._client.cancel(list(waiting), force=True)


class _Alone:
    """A function that has its process for itself: adapters, and settings of frameworks, are the process's."""

    lock = Lock()

    def __init__(self, do: Callable[[Any], Any]) -> None:
        self.do = do

    def __call__(self, piece: Any) -> Any:
        with self.lock:
            return self.do(piece)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def cluster(address: str, jobs: int) -> Iterator[Cluster]:
    """A cluster that is there, or with ``local`` one of so many processes, which ends here.

    Raises:
        LossproofError: Dask is not installed, or no scheduler with a worker answers at the address.
    """
    try:
        import distributed
    except ImportError as error:
        raise LossproofError(f"--scheduler needs {error.name}: {install('dask')}") from None
    dask: Any = distributed  # which is typed in part
    made: Any = None
    client: Any = None
    try:
        if address == "local":
            one_thread()
            made = dask.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
        client = dask.Client(made or address, timeout=f"{_SECONDS}s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        if made is not None:
            made.close()
        raise LossproofError(
            f"--scheduler {address}: no scheduler answers there: {_first_line(error)}"
        ) from None
    try:
        try:
            client.wait_for_workers(1, timeout=_SECONDS_TO_WORK)
        except TimeoutError:
            raise LossproofError(
                f"--scheduler {address}: it has no worker; dask worker {address} starts one"
            ) from None
        yield Cluster(client, dask, address)
    finally:
        # Of a scheduler that is gone there is nothing to close.
        with suppress(OSError, TimeoutError):
            client.close()
        if made is not None:
            made.close()
