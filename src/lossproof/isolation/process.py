"""A child process that answers one line with one line; whatever it does, the parent goes on."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress

from lossproof.core.verdicts import ProcessFault, Verdict
from lossproof.errors import LossproofError

_CHUNK = 2**18
_STDERR_KEPT = 4096
# Seconds that a process has to exit after its farewell; tearing a framework down takes some.
GRACE = 5.0


class LineProcess:
    """A running command with pipes. After a ``ProcessFault`` it is of no more use: discard it."""

    def __init__(self, command: Sequence[str], farewell: bytes = b"") -> None:
        """Start it; ``farewell`` is the line that it is sent in the end.

        Raises:
            LossproofError: there is no such program.
        """
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # A group of its own: Ctrl-C is the parent's to handle, and a kill reaches all of it.
                start_new_session=True,
            )
        except OSError as error:
            raise LossproofError(
                f"adapter command {command[0]!r} cannot be started: {error.strerror}"
            ) from None
        # Also when this object is forgotten or the interpreter exits.
        self._end = weakref.finalize(self, _end, self._process, farewell)
        self._buffer = bytearray()
        self._stderr = bytearray()
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            os.set_blocking(stream.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._selector.register(self._process.stderr, selectors.EVENT_READ)

    def ask(self, line: bytes, timeout: float, limit: int) -> bytes:
        """Send a line and wait for one.

        Reading and writing alternate, so that neither side can block the other with a full pipe.

        Raises:
            ProcessFault: it ended, took longer than ``timeout`` seconds, or wrote more than
                ``limit`` bytes.
        """
        if self._buffer:
            raise self._fault(Verdict.ERROR, f"wrote without being asked: {self._seen()}")
        unsent = memoryview(line)
        deadline = time.monotonic() + timeout
        self._selector.register(self._stdin, selectors.EVENT_WRITE)
        writing = True
        try:
            while b"\n" not in self._buffer:
                left = deadline - time.monotonic()
                if left <= 0:
                    half = f"; so far it wrote {self._seen()}" if self._buffer else ""
                    raise self._fault(Verdict.TIMEOUT, f"no answer within {timeout:g} s{half}")
                for key, _ in self._selector.select(left):
                    if key.fileobj is self._stdin:
                        unsent = self._write(unsent)
                        if not unsent:
                            self._selector.unregister(self._stdin)
                            writing = False
                    elif key.fileobj is self._stdout:
                        self._read(limit)
                    else:
                        self._read_stderr()
        finally:
            if writing:
                self._selector.unregister(self._stdin)
        end = self._buffer.index(b"\n")
        answer = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if self._buffer:
            raise self._fault(Verdict.ERROR, f"wrote more after its answer: {self._seen()}")
        return answer

    def _write(self, unsent: memoryview) -> memoryview:
        try:
            return unsent[os.write(self._stdin.fileno(), unsent[:_CHUNK]) :]
        except BlockingIOError:
            return unsent
        except OSError:
            raise self._fault(Verdict.CRASH, self._death("it closed its input")) from None

    def _read(self, limit: int) -> None:
        chunk = os.read(self._stdout.fileno(), _CHUNK)
        if not chunk:
            half = f" after {self._seen()}" if self._buffer else ""
            raise self._fault(Verdict.CRASH, self._death("it closed its output") + half)
        self._buffer += chunk
        if len(self._buffer) > limit:
            raise self._fault(
                Verdict.ERROR, f"wrote more than {limit} bytes where an answer was due: {self._seen()}"
            )

    def _read_stderr(self) -> None:
        assert self._process.stderr
        chunk = os.read(self._process.stderr.fileno(), _CHUNK)
        if not chunk and self._process.stderr in self._selector.get_map():
            self._selector.unregister(self._process.stderr)
        self._stderr = (self._stderr + chunk)[-_STDERR_KEPT:]

    def _seen(self) -> str:
        text = bytes(self._buffer[:80]).decode("utf-8", "replace")
        return repr(text) + (f" and {len(self._buffer) - 80} more bytes" if len(self._buffer) > 80 else "")

    def _death(self, otherwise: str) -> str:
        """How the process ended, or ``otherwise`` while it still runs."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(2)
            if code >= 0:
                return f"the process ended with exit status {code}"
            name = signal.Signals(-code).name
            hint = " (out of memory, perhaps)" if name == "SIGKILL" else ""
            return f"the process was killed by {name}{hint}"
        return otherwise

    def _fault(self, verdict: Verdict, message: str) -> ProcessFault:
        with suppress(OSError, ValueError):
            self._read_stderr()
        said = [line for line in self._stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        if said:
            message += f"; its last words: {said[-1].strip()[:200]}"
        return ProcessFault(verdict, message)

    def kill(self) -> None:
        """Kill it and all that it started; whoever waits in ``ask`` sees a crash."""
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the process: politely, then with all that it started."""
        self._end()
        self._selector.close()

    def discard(self) -> None:
        """End it without a farewell: it is out of step."""
        self.kill()
        self.stop()


def _end(process: subprocess.Popen[bytes], farewell: bytes) -> None:
    assert process.stdin
    with suppress(OSError, subprocess.TimeoutExpired):
        if farewell:
            # The pipe is empty between a request and the next, so this neither waits nor is cut short.
            os.write(process.stdin.fileno(), farewell)
            process.stdin.close()
            process.wait(GRACE)
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
