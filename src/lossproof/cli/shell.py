"""What the shell gives a command and takes from it: standard streams of any kind, and signals."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO


class Terminated(KeyboardInterrupt):
    """A signal asked the process to end, which does what it does on Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


class Output(io.FileIO):
    """A standard stream of which the command does not end when it can no longer be written to.

    A run goes on to its verdict and its files when nobody reads its tables any more.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.failure: str | None = None
        """Why it could not be written; a reader that has seen enough (head, say) is no failure."""
        self._lost = False

    def write(self, data: Any) -> int:
        if not self._lost:
            try:
                return super().write(data)
            except BrokenPipeError:
                self._lost = True
            except OSError as error:
                self.lose(error.strerror or str(error))
        return memoryview(data).nbytes

    def lose(self, why: str) -> None:
        """Note that nothing more can be written."""
        self._lost, self.failure = True, why


@contextmanager
def terminal() -> Iterator[Output]:
    """The streams and signals of a command that a shell has started; yields its standard output.

    Characters that an output has not (an ASCII terminal, say) are written as escapes.
    """
    closed = _reserve()
    output, errors = Output(1), Output(2)
    for number, stream in ((1, output), (2, errors)):
        if number in closed:
            stream.lose("it is closed")
    sys.stdout = _text(output, sys.stdout)
    sys.stderr = _text(errors, sys.stderr)
    for name in ("SIGTERM", "SIGHUP"):
        asked = getattr(signal, name, None)
        # What nohup ignores stays ignored.
        if asked is not None and signal.getsignal(asked) is signal.SIG_DFL:
            signal.signal(asked, _end)
    try:
        yield output
    finally:
        sys.stdout.flush()


def _reserve() -> set[int]:
    """Take the numbers of closed streams, so that no file gets them and what is printed; returns them."""
    closed = set()
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            closed.add(number)
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    return closed


def _text(output: Output, like: TextIO | None) -> TextIO:
    if sys.platform == "win32" and isinstance(like, io.TextIOWrapper) and like.isatty():
        like.reconfigure(errors="backslashreplace")  # a console takes characters, not bytes
        return like
    buffer = io.BufferedWriter(output)
    encoding = getattr(like, "encoding", None) or "utf-8"
    lines = output.isatty() or output.fileno() == 2
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=lines)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # what there is is being written
    raise Terminated(number)
