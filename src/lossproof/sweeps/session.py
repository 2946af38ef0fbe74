"""A sweep from the plan to the report: ranges that were measured before are taken from the journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from lossproof.core.files import lock, unwritable
from lossproof.errors import InputError, LossproofError
from lossproof.isolation.load import load_once
from lossproof.registry.choice import Choice
from lossproof.registry.loaded import AdapterInfo
from lossproof.sweeps.execute import Execute, Task, here, on_cluster, processes
from lossproof.sweeps.inputs import Patterns
from lossproof.sweeps.report import Sweep, sweep_of
from lossproof.sweeps.subjects import Subject
from lossproof.sweeps.work import Range, Tallies, empty, merge

T = TypeVar("T")


class Entry(msgspec.Struct):
    """A line of the journal: what a range gave on a version of a backend."""

    adapter: AdapterInfo
    range: Range
    tallies: Tallies


class Journal:
    """Ranges that are done, beside the file that they are for, until that is written.

    Args:
        path: of the file.
        resume: keep what an interrupted sweep has left.

    Raises:
        InputError: it cannot be read or written.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path.with_name(path.name + ".ranges")
        self.done: dict[tuple[AdapterInfo, Range], Tallies] = {}
        try:
            self._file: IO[bytes] = self.path.open("ab")
            if not lock(self._file):
                raise InputError(self.path, None, "another sweep is writing it")
            self._file.truncate(self._read() if resume else 0)
        except OSError as error:
            raise InputError(self.path, None, f"cannot be opened: {error.strerror}") from None

    def _read(self) -> int:
        """Take what is there, and say how many bytes of it are whole lines."""
        whole = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError:
                break  # the line that was being written when it ended
            self.done[(entry.adapter, entry.range)] = entry.tallies
            whole += len(line)
        return whole

    def add(self, info: AdapterInfo, range_: Range, tallies: Tallies) -> None:
        """Keep what a range gave.

        Raises:
            InputError: it cannot be written.
        """
        try:
            self._file.write(msgspec.json.encode(Entry(info, range_, tallies)) + b"\n")
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from None

    def close(self, complete: bool) -> None:
        self._file.close()
        if complete or not self.path.stat().st_size:
            self.path.unlink(missing_ok=True)


def executor(jobs: int, scheduler: str | None) -> AbstractContextManager[Execute[Task]]:
    """Where ranges run: here, on processes, or on Dask.

    Raises:
        LossproofError: there is no such scheduler.
    """
    if scheduler is not None:
        return on_cluster(scheduler, jobs)
    return nullcontext(here) if jobs == 1 else processes(jobs)


def swept(
    choice: Choice,
    info: AdapterInfo,
    subject: Subject,
    dtype: str,
    execute: Execute[Task],
    journal: Journal | None = None,
    *,
    isolate: bool | None = None,
    timeout: float = 60.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """Every input of a dtype, on the adapter that is asked for by name.

    Raises:
        LossproofError: a range's worker dies again and again.
    """

    def task(range_: Range) -> Task:
        return Task(choice.reference, choice.python, isolate, timeout, range_)

    return measured(info, subject, dtype, execute, task, journal, progress)


def measured(
    info: AdapterInfo,
    subject: Subject,
    dtype: str,
    execute: Execute[T],
    task: Callable[[Range], T],
    journal: Journal | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """Every input of a dtype, range by range in any order."""
    found = empty(subject, dtype)
    ranges = [Range(subject.name, dtype, *ends) for ends in Patterns(dtype).ranges(subject)]
    tasks: dict[T, Range] = {}
    for range_ in ranges:
        earlier = None if journal is None else journal.done.get((info, range_))
        if earlier is None:
            tasks[task(range_)] = range_
        else:
            merge(found, earlier)
    done = len(ranges) - len(tasks)
    progress(done, len(ranges))
    for one, tallies in execute(tasks):
        if journal is not None:
            journal.add(info, tasks[one], tallies)
        merge(found, tallies)
        done += 1
        progress(done, len(ranges))
    return sweep_of(info, subject, dtype, found)


def adapter_info(choice: Choice, isolate: bool | None, timeout: float) -> AdapterInfo:
    """What an adapter says it is, where it can run.

    Raises:
        LossproofError: there is none, or it cannot run here.
    """
    loaded = load_once(choice.reference, choice.python, isolate, timeout)
    if loaded.adapter is None:
        raise LossproofError(f"adapter {choice.reference!r} cannot run: {loaded.info.skipped}")
    return loaded.info
