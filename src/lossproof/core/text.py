"""Text for people: suggestions for near misses, and paths as they are typed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def suggest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)`` for a near miss, else nothing."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def display(path: Path) -> str:
    """``path`` as people would type it: relative to the working folder where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
