"""How a user names an adapter; imports nothing, for the command line's sake."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """An adapter asked for; ``python`` is the interpreter of its own environment, if any."""

    reference: str
    python: str | None = None
