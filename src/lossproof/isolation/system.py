"""What differs between operating systems: how a process starts and ends, and how a command is written."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from typing import Any

# Exit statuses beyond this are Windows' own, which are known by their hexadecimal form.
_LARGEST_STATUS = 255


def start_apart(command: list[str], **given: Any) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own: Ctrl-C is ours to handle, and a kill reaches all of the group.

    Raises:
        OSError: there is no such program, or it cannot be run.
        ValueError: a word holds what no word of a command can.
    """
    return subprocess.Popen(
        command,
        bufsize=0,
        start_new_session=True,  # on Windows without effect, where the flag does as much
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        **given,
    )


def kill_all(process: subprocess.Popen[bytes], started: float) -> None:
    """Kill a process and what it has started, also if it has ended itself.

    Args:
        process: as ``start_apart`` gave it.
        started: when that was, by ``time.time``.
    """
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        return
    below = _below(process.pid, started)
    with suppress(OSError):
        process.kill()
    for descendant in below:
        with suppress(OSError, *_gone()):
            descendant.kill()


def _below(pid: int, started: float) -> list[Any]:
    """The processes that a process has started and those that they have, where psutil is there to tell.

    Windows knows of each process the number of its parent, also of one that has ended; older processes
    may have had a parent of the same number.
    """
    try:
        import psutil
    except ImportError:
        return []
    found = []
    for process in psutil.process_iter(["ppid", "create_time"]):
        if process.info["ppid"] == pid and (process.info["create_time"] or 0.0) >= started - 1:
            found.append(process)
            with suppress(psutil.Error):
                found += process.children(recursive=True)
    return found


def _gone() -> tuple[type[Exception], ...]:
    try:
        import psutil
    except ImportError:
        return ()
    return (psutil.Error,)


def ending(code: int) -> str:
    """How a process ended, of the ``returncode`` that ``subprocess`` gives."""
    if code >= 0:
        own = f" (0x{code:X})" if code > _LARGEST_STATUS else ""
        return f"the process ended with exit status {code}{own}"
    name = _signal_name(-code)
    hint = " (out of memory, perhaps)" if name == "SIGKILL" else ""
    return f"the process was killed by {name}{hint}"


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    # Of the real-time signals only the first and the last have names.
    first, last = getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", 0)
    return f"SIGRTMIN+{number - first}" if first < number < last else f"signal {number}"


def words(command: str) -> list[str]:
    """The words of a command as ``shlex.split`` has them; on Windows a backslash is part of a path.

    Raises:
        ValueError: a quotation is not closed.
    """
    split = shlex.shlex(command, posix=True, punctuation_chars=False)
    split.whitespace_split = True
    split.commenters = ""
    if os.name == "nt":
        split.escape = ""
    return list(split)
