"""A child process that answers one line with one line; whatever it does, the parent goes on.

Pipes are read and written by threads, which every operating system can do; nothing here waits for a pipe
itself.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import IO

from lossproof.core.verdicts import ProcessFault, Verdict
from lossproof.errors import LossproofError
from lossproof.isolation.orphans import GUARD
from lossproof.isolation.system import ending, kill_all, start_apart

_CHUNK = 2**18
# As much is kept of what a process says beside its answers: of its beginning, and of its end.
_FIRST_KEPT, _LAST_KEPT = 1024, 4096
# Lines of that, and characters of each, that a message quotes.
_FIRST_LINES, _LAST_LINES, _LINE = 2, 3, 200
# Seconds that a process has to exit after its farewell; tearing a framework down takes some.
GRACE = 5.0
# Seconds after which a waiting thread looks whether the process is still there. Its end shows at its pipes,
# unless something that it started holds them. (On Windows, Ctrl-C does not come through before either.)
_LOOK = 0.25
# Seconds that the threads have to read what a process wrote before it ended.
_CATCH_UP = 1.0

Stream = IO[bytes]


class LineProcess:
    """A running command with pipes. After a ``ProcessFault`` it is of no more use: discard it."""

    spent = False
    """Whether it is of no more use after an answer, either."""

    def __init__(
        self, command: Sequence[str], farewell: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it.

        Args:
            command: program and arguments.
            farewell: the line that it is sent in the end.
            environment: variables that it has beside ours, or with other values.

        Raises:
            LossproofError: there is no such program.
        """
        started = time.time()
        try:
            self._process = start_apart(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **environment} if environment else None,
            )
        except OSError as error:
            raise _not_started(command, error.strerror or str(error)) from None
        except ValueError as error:  # a NUL in the middle, say
            raise _not_started(command, str(error)) from None
        GUARD.add(self._process.pid)
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._unsent: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers = _Answers()
        self._words = _Words()
        # The threads know the pipes and not this object, which may be forgotten while they wait.
        _thread(_write, self._process.stdin, self._unsent, self._answers)
        _thread(self._answers.read, self._process.stdout)
        self._listening = _thread(self._words.read, self._process.stderr)
        # Also when this object is forgotten or the interpreter exits.
        self._end = weakref.finalize(self, _end, self._process, self._unsent, farewell, started)
        self._started = started
        self._asked = 0

    def ask(self, line: bytes, timeout: float, limit: int) -> bytes:
        """Send a line and wait for one.

        Raises:
            ProcessFault: it ended, took longer than ``timeout`` seconds, or wrote more than
                ``limit`` bytes.
        """
        answers = self._answers
        deadline = time.monotonic() + timeout
        self._asked += 1
        with answers.changed:
            answers.limit = limit
            self._unsent.put(line)
            while not (answers.complete or answers.endless):
                if answers.ended:
                    half = f" after {self._seen()}" if answers.held else ""
                    raise self._fault(Verdict.CRASH, self._death("it closed its output") + half)
                left = deadline - time.monotonic()
                if left <= 0:
                    half = f"; so far it wrote {self._seen()}" if answers.held else ""
                    raise self._fault(Verdict.TIMEOUT, f"no answer within {timeout:g} s{half}")
                answers.changed.wait(min(left, _LOOK))
                gone = self._process.poll() is not None
                if (gone or answers.deaf) and not answers.changed.wait_for(answers.settled, _CATCH_UP):
                    why = self._death("it closed its input")
                    held = ", and something that it started still holds its output" if gone else ""
                    raise self._fault(Verdict.CRASH, why + held)
            if answers.endless:
                seen = f"wrote more than {limit} bytes where an answer was due: {self._seen()}"
                raise self._fault(Verdict.ERROR, seen)
            answer = answers.take()
            if answers.held:
                raise self._fault(Verdict.ERROR, f"wrote more after its answer: {self._seen()}")
        return answer

    def _seen(self) -> str:
        held = self._answers.held
        text = bytes(held[:80]).decode("utf-8", "replace")
        return repr(text) + (f" and {len(held) - 80} more bytes" if len(held) > 80 else "")

    def _death(self, otherwise: str) -> str:
        """How the process ended, or ``otherwise`` while it still runs."""
        with suppress(subprocess.TimeoutExpired):
            return ending(self._process.wait(2))
        return otherwise

    def _fault(self, verdict: Verdict, message: str) -> ProcessFault:
        return ProcessFault(verdict, message + self.quoted())

    def quoted(self) -> str:
        """What it printed instead of an answer, to put behind a message.

        Of a process that has given no good answer yet, the beginning and the end; else the last line.
        """
        starting = self._asked < 2
        if starting:
            # What it said may be the first of its last words.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_CATCH_UP)
        if self._process.poll() is not None:
            self._listening.join(_CATCH_UP)
        said = self._words.lines()
        if not starting:
            return f"; its last words: {said[-1]}" if said else ""
        lines = [*_lines(bytes(self._answers.held[:_FIRST_KEPT])), *said]
        if len(lines) > _FIRST_LINES + _LAST_LINES:
            lines[_FIRST_LINES:-_LAST_LINES] = ["…"]
        return f"; it printed: {' | '.join(lines)}" if lines else ""

    def kill(self) -> None:
        """Kill it and all that it started; whoever waits in ``ask`` sees a crash."""
        kill_all(self._process, self._started)

    def stop(self) -> None:
        """End the process: politely, then with all that it started."""
        self._end()

    def discard(self) -> None:
        """End it without a farewell: it is out of step."""
        self.kill()
        self.stop()


class _Answers:
    """What a process wrote on standard output and nobody has taken yet."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.held = bytearray()
        self.limit = _CHUNK
        """As many bytes are held."""
        self.complete = False
        """Whether what is held begins with a whole line."""
        self.endless = False
        """Whether there is more than may be held; the rest is not read."""
        self.ended = False
        self.deaf = False
        """Whether the process has closed its input."""

    def read(self, stream: Stream) -> None:
        with stream, suppress(OSError):
            while not self.endless and (chunk := stream.read(_CHUNK)):
                with self.changed:
                    self.held += chunk
                    self.complete = self.complete or b"\n" in chunk
                    self.endless = len(self.held) > self.limit
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def settled(self) -> bool:
        """Whether waiting any longer changes nothing."""
        return self.complete or self.endless or self.ended

    def take(self) -> bytes:
        end = self.held.index(b"\n")
        line = bytes(self.held[:end])
        del self.held[: end + 1]
        self.complete = b"\n" in self.held
        return line


class _Words:
    """What a process says on standard error."""

    def __init__(self) -> None:
        self._first = b""
        self._last = b""
        self._lock = threading.Lock()

    def read(self, stream: Stream) -> None:
        with stream, suppress(OSError):
            while chunk := stream.read(_CHUNK):
                with self._lock:
                    room = _FIRST_KEPT - len(self._first)
                    self._first += chunk[:room]
                    self._last = (self._last + chunk[room:])[-_LAST_KEPT:]

    def lines(self) -> list[str]:
        """Lines with something in them: the first ones and the last ones."""
        with self._lock:
            return _lines(self._first + self._last)


def _lines(text: bytes) -> list[str]:
    """Lines with something in them, and of each the beginning."""
    lines = (line.strip() for line in text.decode("utf-8", "replace").splitlines())
    return [line[:_LINE] for line in lines if line]


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    # Daemons: one may wait for ever where something that has left its group holds a pipe.
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def _write(stream: Stream, unsent: SimpleQueue[bytes | None], answers: _Answers) -> None:
    """Send what is to be sent, up to a None."""
    with suppress(OSError):
        with stream:
            while (line := unsent.get()) is not None:
                rest = memoryview(line)
                while rest:
                    rest = rest[stream.write(rest) :]
        return
    with answers.changed:
        answers.deaf = True
        answers.changed.notify_all()


def _end(
    process: subprocess.Popen[bytes], unsent: SimpleQueue[bytes | None], farewell: bytes, started: float
) -> None:
    if farewell and process.poll() is None:
        unsent.put(farewell)
        unsent.put(None)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    kill_all(process, started)
    unsent.put(None)
    process.wait()
    GUARD.remove(process.pid)


def _not_started(command: Sequence[str], why: str) -> LossproofError:
    return LossproofError(f"adapter command {command[0]!r} cannot be started: {why}")
