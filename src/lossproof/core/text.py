"""Text for people: suggestions for near misses, numbers of things, and paths as they are typed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lossproof.errors import LossproofError

# As much of what someone gave is shown.
MAX_SHOWN = 60


def suggest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)`` for a near miss, else nothing."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def require(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is none.

    Raises:
        LossproofError: ``name`` is not among ``known``; the message names the nearest that is.
    """
    names = list(known)
    if name not in names:
        raise LossproofError(f"unknown {what} {name!r}{suggest(name, names)}")


def counted(number: int, what: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def display(path: Path) -> str:
    """``path`` as people would type it: relative to the working folder where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def shortened(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
