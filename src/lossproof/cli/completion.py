"""What the shell offers for the word under the cursor, by argcomplete (the extra ``completion``)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from lossproof.core.functions import FUNCTIONS
from lossproof.core.install import install
from lossproof.core.resources import folder


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, and end the process."""
    try:
        import argcomplete
        from argcomplete.completers import FilesCompleter
    except ModuleNotFoundError:
        sys.exit(f"completion needs argcomplete: {install('completion')}")
    files = FilesCompleter()

    def offer(prefix: str, action: argparse.Action, **rest: Any) -> Iterable[str]:
        named = names(action.dest, prefix)
        if action.dest in ("function", "dtype", "needs", "mode"):
            return named
        return [*named, *files(prefix=prefix, action=action, **rest)]

    completer: Any = offer
    argcomplete.autocomplete(parser, default_completer=completer)


def names(argument: str, prefix: str) -> list[str]:
    """What an argument may name; of cases, the next step towards an id.

    The steps are ``softmax/``, then ``softmax/special/``, then the ids in that file, the only one read.
    """
    if argument == "function":
        return list(FUNCTIONS)
    if argument == "dtype":
        from lossproof.adapter import ALL_DTYPES

        return list(ALL_DTYPES)
    if argument == "needs":
        from lossproof.case.needs import FLAGS

        return list(FLAGS)
    if argument == "mode":
        from lossproof.registry.modes import known_modes

        return known_modes()
    if argument == "adapter":
        from lossproof.registry.find import available_names

        return available_names()
    return _cases(prefix) if argument in ("case", "cases") else []


def _cases(prefix: str) -> list[str]:
    function, *rest = prefix.split("/")
    if not rest or function not in FUNCTIONS:
        return [f"{name}/" for name in FUNCTIONS]
    own = folder("cases") / function
    file = own / f"{rest[0]}.yaml"
    if len(rest) == 1 or not file.is_file():
        return [f"{function}/{path.stem}/" for path in sorted(own.glob("*.yaml"))]
    from lossproof.case.read import load_file

    return [case.id for case in load_file(file)]
