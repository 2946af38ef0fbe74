"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lossproof.core.text import shortened
from lossproof.errors import LossproofError
from lossproof.registry.choice import Choice
from lossproof.registry.modes import known_modes

N = TypeVar("N", int, float)


def add_cases(parser: argparse.ArgumentParser) -> None:
    """``CASES…``"""
    parser.add_argument(
        "cases", nargs="*", metavar="CASES",
        help="ids or beginnings of ids, or case files and folders (default: all of lossproof's own); what "
        "names cases is a name even where a file is called so: write ./softmax for the file",
    )  # fmt: skip


def add_case(parser: argparse.ArgumentParser, several: bool) -> None:
    """``CASE``; ``several`` says that a pattern will do."""
    pattern = ", the beginning of ids or a pattern" if several else ""
    parser.add_argument("case", metavar="CASE", help=f"a case's id{pattern}")


def add_adapter(parser: argparse.ArgumentParser) -> None:
    """The one ``--adapter`` of a command that needs it."""
    parser.add_argument(
        "--adapter", "-a", required=True, metavar="A", help="the adapter (lossproof list --adapters)"
    )


def add_adapters(parser: argparse.ArgumentParser) -> None:
    """``--adapter A [--python PATH]``, any number of times; ``options.adapter`` is a list of ``Choice``."""
    parser.add_argument(
        "--adapter", "-a", action=_AddAdapter, default=[], metavar="A",
        help="a name (lossproof list --adapters), path/to/file.py[:Class], package.module:Class, or a "
        "command that speaks JSON lines: several words, or ./executable (may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--python", action=_SetPython, metavar="PATH",
        help="interpreter of the virtual environment in which the --adapter before it runs",
    )  # fmt: skip


def add_modes(parser: argparse.ArgumentParser) -> None:
    """``--mode M``, any number of times."""
    parser.add_argument(
        "--mode", "-m", action="append", default=[], metavar="M",
        help="run each adapter under this transformation of its framework instead of as it is: "
        f"{', '.join(known_modes())} (may be repeated; one adapter alone: -a ADAPTER+MODE)",
    )  # fmt: skip


def add_functions(parser: argparse.ArgumentParser) -> None:
    """``--function F``, any number of times."""
    parser.add_argument(
        "--function", "-f", action="append", default=[], metavar="F",
        help="only this function (may be repeated; default: all)",
    )  # fmt: skip


def add_dtypes(parser: argparse.ArgumentParser) -> None:
    """``--dtype D``, any number of times."""
    parser.add_argument(
        "--dtype", "-d", action="append", default=[], metavar="D",
        help="only this dtype: float64, float32, float16, bfloat16 (may be repeated; default: all)",
    )  # fmt: skip


def add_thorough(parser: argparse.ArgumentParser) -> None:
    """``--thorough``"""
    parser.add_argument(
        "--thorough", action="store_true",
        help="run the long and the redundant cases, too, which the quick set leaves out (a case, topic or "
        "file that is named runs all the same)",
    )  # fmt: skip


def add_huge(parser: argparse.ArgumentParser) -> None:
    """``--huge``"""
    parser.add_argument(
        "--huge", action="store_true",
        help="run the huge cases, too, of arrays past 2**31 elements; one for which there is too little "
        "memory is skipped (without this none runs, named or not)",
    )  # fmt: skip


def add_scheduler(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help=f"spread {what} over a cluster of Dask: tcp://HOST:PORT, or local for one of --jobs processes "
        "(needs 'lossproof[dask]')",
    )  # fmt: skip


def add_isolation(parser: argparse.ArgumentParser, which: str, timeout: float | None, default: str) -> None:
    """``--isolate`` and ``--no-isolate``, by default for which, and ``--timeout``, by default what."""
    parser.add_argument(
        "--isolate", action=argparse.BooleanOptionalAction, default=None,
        help="run an adapter in a process of its own, where a crash or a hang costs one case; by default "
        f"{which} (commands always are)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=seconds, default=timeout, metavar="S",
        help="seconds that a process of its own may take to start, and for each call "
        f"(default: {default}; inf: any)",
    )  # fmt: skip


def path(text: str) -> Path:
    """A type of argument: a name that a file can have, whether there is one or not."""
    try:
        os.stat(text)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise argparse.ArgumentTypeError("is too long for the name of a file") from None
    except ValueError:
        raise argparse.ArgumentTypeError("is nothing that a file can be called") from None
    return Path(text)


def json_files(paths: Sequence[Path]) -> list[Path]:
    """Files that were given, a folder being the JSON files in it.

    Raises:
        LossproofError: a folder has none.
    """
    files: list[Path] = []
    for given in paths:
        found = sorted(given.glob("*.json")) if given.is_dir() else [given]
        if not found:
            raise LossproofError(f"{given}: there is no .json file in this folder")
        files += found
    return files


def seconds(text: str) -> float:
    """A type of argument: a time above 0, maybe infinite."""
    value = _number(float, text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def positive(text: str) -> int:
    """A type of argument: a whole number above 0."""
    return _whole(text, 1, 10**9)


def processes(text: str) -> int:
    """A type of argument: as many processes as a machine may have."""
    return _whole(text, 1, 1024)


def seed(text: str) -> int:
    """A type of argument: where random numbers begin."""
    return _whole(text, -(2**63), 2**63 - 1)


def _whole(text: str, least: int, most: int) -> int:
    value = _number(int, text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
    return value


def _number(kind: Callable[[str], N], text: str) -> N:
    try:
        return kind(text)
    except ValueError:  # or more digits than Python reads
        raise argparse.ArgumentTypeError(f"{shortened(text)!r} is no such number") from None


class _AddAdapter(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        namespace.adapter = [*namespace.adapter, Choice(values)]


class _SetPython(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        if not namespace.adapter or namespace.adapter[-1].python is not None:
            parser.error("--python belongs after the --adapter that it is for")
        namespace.adapter = [*namespace.adapter[:-1], Choice(namespace.adapter[-1].reference, values)]
