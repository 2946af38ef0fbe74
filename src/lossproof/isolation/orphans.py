"""No process outlives lossproof: a guard kills what is left when lossproof is gone, however it went.

The guard is a small process at the other end of a pipe, which says what groups of processes there are. The
end of the pipe is the sign, and it comes even where lossproof was killed and could do nothing. (Linux's
signal on a parent's death comes when the *thread* that started the process ends; elsewhere there is none.)

Where there are no groups of processes (Windows), nothing is guarded: what is started there has to end by
itself when its input does, as the protocol demands.

The guard runs this file without lossproof: it needs nothing but the standard library.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress


class Guard:
    """Starts the guard when there is something to guard, and anew if it should be gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, group: int) -> None:
        """Have a group of processes killed when this process is gone."""
        with self._lock:
            self._groups.add(group)
            self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Leave a group alone: it has ended, and its number may be given to another."""
        with self._lock:
            self._groups.discard(group)
            self._tell(f"-{group}\n")

    def _tell(self, message: str) -> None:
        with suppress(OSError):
            if self._process is not None and self._process.poll() is None:
                assert self._process.stdin
                self._process.stdin.write(message.encode())
                return
        if self._groups and hasattr(os, "killpg") and sys.executable:
            self._start()

    def _start(self) -> None:
        # In a group of its own, so that neither Ctrl-C nor what kills all of ours ends it first.
        with suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
            assert self._process.stdin
            self._process.stdin.write("".join(f"+{group}\n" for group in self._groups).encode())


GUARD = Guard()


def watch(lines: Iterable[str]) -> None:
    """Follow what is said until it ends, then kill the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        (groups.add if line[0] == "+" else groups.discard)(group)
    for group in groups:
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    watch(sys.stdin)
