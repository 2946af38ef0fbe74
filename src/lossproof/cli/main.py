"""The command line: a table of commands, whose modules are imported when they are asked for."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Container, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NamedTuple, NoReturn

from lossproof.cli import shell
from lossproof.cli.output import say
from lossproof.core.escape import visible
from lossproof.errors import LossproofError


class Command(NamedTuple):
    """The module in this folder that declares the command's arguments and runs it, and a line of help.

    The module has ``add_arguments(parser)`` and ``main(options)``, which returns the exit status, and
    may have a ``DESCRIPTION``. What takes time to import (NumPy, rich, frameworks) it imports in
    ``main``.
    """

    module: str
    help: str


COMMANDS = {
    "run": Command("run", "run cases on backends and say which conform"),
    "list": Command("list", "functions, cases, adapters, workloads, clauses and edge cases, by a word"),
    "explain": Command("explain", "show a case: inputs, clause, expected, tolerance, what backends give"),
    "repro": Command("repro", "print a standalone script that shows what a backend does, to file upstream"),
    "report": Command(
        "report", "build a static site from results: matrix, edge-case atlas, accuracy, speed, history"
    ),
    "diff": Command("diff", "what changed between two runs or releases"),
    "export": Command("export", "write cases as vectors, for runners in any language"),
    "verify": Command("verify", "check results that somebody publishes, and judge again what they keep"),
    "bench": Command(
        "bench", "time backends on workloads, forward and with gradients, against the speed of memory"
    ),
    "new-adapter": Command("new_adapter", "write a commented skeleton of an adapter that runs"),
    "fuzz": Command("fuzz", "search for inputs on which a backend is wrong, with the oracle live"),
    "sweep": Command(
        "sweep", "try every input of functions of one variable: worst errors, bias, where bounds break"
    ),
    "certify": Command("certify", "recompute stored expectations and tolerances with the oracle"),
}


# What these have backends compile is kept for the next run; what is timed is compiled anew.
COMPILING = frozenset({"run", "explain", "fuzz", "sweep"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``lossproof``; returns the exit status: 0 conforms, 1 something fails, 2 bad usage."""
    if "_ARGCOMPLETE" in os.environ:
        # The shell asks what the word under the cursor may become; this does not return.
        from lossproof.cli.completion import complete

        complete(build_parser(os.environ.get("COMP_LINE", "").split()))
    if arguments is not None:
        return _run(arguments)
    with shell.terminal() as output:
        try:
            status = _run(sys.argv[1:])
        except SystemExit as end:  # help, or usage that is none
            status = end.code if isinstance(end.code, int) else 2
    if output.failure is None:
        return status
    say(f"lossproof: standard output: cannot be written: {output.failure}", error=True)
    return 2


def _run(words: Sequence[str]) -> int:
    """Run a command; every error that is not one of lossproof's own making ends in one line."""
    try:
        options = build_parser(words[:1]).parse_args(words)
        return int(options.main(options))
    except LossproofError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except shell.Terminated as signal:
        say("lossproof: terminated", error=True)
        return signal.status
    except KeyboardInterrupt:
        say("lossproof: interrupted", error=True)
        return 130
    say(f"lossproof: {message}", error=True)
    return 2


def command() -> NoReturn:
    """The program ``lossproof``; threads that an adapter has left running do not keep it from ending."""
    if sys.argv[1:2] and sys.argv[1] in COMPILING:
        from lossproof.cli import compiled

        compiled.keep()
    status = main()
    left = [thread for thread in threading.enumerate() if not thread.daemon]
    if left == [threading.main_thread()]:
        sys.exit(status)
    say(f"lossproof: not waiting for {len(left) - 1} threads that an adapter left", error=True)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line, whatever stands in it."""

    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def build_parser(wanted: Container[str]) -> argparse.ArgumentParser:
    """The parser of all commands; only those ``wanted`` get their arguments, for which they are imported."""
    from lossproof import __version__

    parser = _Parser(
        prog="lossproof",
        description="Conformance test suite and specification for neural-network loss functions.",
    )
    parser.add_argument("--version", action="version", version=f"lossproof {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        if name not in wanted:
            commands.add_parser(name, help=command.help)
            continue
        module = import_module(f"lossproof.cli.{command.module}")
        description = getattr(module, "DESCRIPTION", command.help)
        own = commands.add_parser(name, help=command.help, description=description)
        module.add_arguments(own)
        own.set_defaults(main=module.main)
    return parser


if __name__ == "__main__":
    command()
