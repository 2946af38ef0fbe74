"""Commands with standard streams of every kind, each in a process of its own that is there at once.

``python -m tests.forked`` imports what commands need and forks for each of them: a line of JSON says the
command, the folder it runs in, what its output is and how that is encoded; a line answers with its exit
status, what it printed and what it said on standard error.
"""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Commands:
    """The process that forks; a context manager."""

    def __enter__(self) -> Commands:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def run(
        self, words: Sequence[str], folder: Path, output: str = "file", encoding: str = "utf-8"
    ) -> tuple[int, bytes, str]:
        """Run one; ``output`` is a file, closed, full (a disk) or head (a pipe that nobody reads)."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps([[*words], str(folder), output, encoding]), file=self._process.stdin, flush=True)
        status, printed, said = json.loads(self._process.stdout.readline())
        return status, printed.encode("latin-1"), said


def _prepare() -> None:
    """Import and load once what all commands share."""
    from functools import cache
    from importlib import import_module

    import lossproof.cli.main as cli
    import lossproof.fuzz.search
    import lossproof.site.pages  # noqa: F401
    from lossproof.cli import bench_view, case_view, diff_view, terminal  # noqa: F401
    from lossproof.isolation.load import load_adapter

    cli.build_parser(cli.COMMANDS)
    load_adapter("numpy")
    model: Any = import_module("lossproof.site.model")
    model.load_cases = cache(model.load_cases)
    model.load_cases()
    gc.freeze()  # shared with all that is forked


def _start(words: list[str], folder: str, output: str, encoding: str, errors: int, printed: int) -> None:
    """Become the command."""
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(errors, 2)
    if output == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    elif output == "head":
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
    elif output == "file":
        os.dup2(printed, 1)
    else:
        os.close(1)
    # As an interpreter that starts finds them.
    streams: Any = sys
    streams.stdout = None if output == "closed" else _text(1, encoding, "strict")
    streams.stderr = _text(2, encoding, "backslashreplace")
    sys.argv = ["lossproof", *words]
    from lossproof.cli.main import main

    code = main()
    # What is still to be written is; the rest of an interpreter's end would free all that was prepared.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _text(number: int, encoding: str, errors: str) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(io.FileIO(number, "wb", closefd=False))
    return io.TextIOWrapper(buffer, encoding, errors, line_buffering=number == 2)


def _serve() -> None:
    _prepare()
    for line in sys.stdin:
        words, folder, output, encoding = json.loads(line)
        with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as printed:
            child = os.fork()
            if child == 0:
                _start(words, folder, output, encoding, errors.fileno(), printed.fileno())
            _, status = os.waitpid(child, 0)
            found: list[Any] = [os.waitstatus_to_exitcode(status)]
            for file in (printed, errors):
                file.seek(0)
                found.append(file.read().decode("latin-1" if file is printed else "utf-8", "replace"))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    _serve()
