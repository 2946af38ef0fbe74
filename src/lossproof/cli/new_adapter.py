"""``lossproof new-adapter``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from lossproof.cli.output import say
from lossproof.errors import LossproofError

DESCRIPTION = "Write NAME_adapter.py to the working folder: an adapter, every function in comments."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what the backend is called")


def main(options: argparse.Namespace) -> int:
    """Write the skeleton to ``NAME_adapter.py`` in the working folder and say how to go on."""
    from lossproof.core.files import write
    from lossproof.registry.find import available_names
    from lossproof.registry.skeleton import skeleton

    name = options.name.removesuffix(".py")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise LossproofError(f"{name!r} is no name for an adapter: letters, digits, - and _")
    if name in available_names():
        raise LossproofError(f"there is an adapter called {name!r} already")
    path = Path(f"{name.replace('-', '_')}_adapter.py")
    try:
        write(path, skeleton(name, str(path)), new=True)
    except FileExistsError:
        raise LossproofError(f"{path} is there already; remove it or choose another name") from None
    say(f"{path} is written. Fill in a function, then: lossproof run --adapter {path}")
    return 0
