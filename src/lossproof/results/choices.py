"""Which documented choices a backend makes (spec/choices.md), and in how many of the cases that show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from lossproof.core.dtypes import HALF_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import UNJUDGED
from lossproof.engine.record import Record
from lossproof.engine.verdict import FLOAT32_RESULT

_Places = dict[tuple[str, str], set[tuple[str, str]]]


class Made(NamedTuple):
    """A choice that a backend makes in a function; each case counts once per dtype."""

    choice: str
    function: str
    made: int
    shown: int

    @property
    def share(self) -> str:
        """``4 of 4``, or less where it is made in some cases only."""
        return f"{self.made} of {self.shown}"


@dataclass
class Choices:
    """The choices in the records of one backend."""

    made: _Places = field(default_factory=lambda: defaultdict(set))
    shown: _Places = field(default_factory=lambda: defaultdict(set))

    def add(self, record: Record, shown: Iterable[str]) -> None:
        """Count a record; ``shown`` names the choices that its case shows in its dtype."""
        if record.verdict in UNJUDGED:
            return
        names = {*shown, *_by_dtype(record)}
        for name in names:
            self.shown[name, record.function].add((record.case, record.dtype))
        if record.variant in names:
            self.made[record.variant, record.function].add((record.case, record.dtype))

    def __iter__(self) -> Iterator[Made]:
        for (choice, function), places in sorted(self.made.items()):
            yield Made(choice, function, len(places), len(self.shown[choice, function]))

    def lines(self) -> Iterator[str]:
        """One line per choice: where it is made, and how often where that is not always."""
        by_choice: dict[str, list[str]] = defaultdict(list)
        for one in self:
            often = "" if one.made == one.shown else f" in {one.share}"
            by_choice[one.choice].append(f"{one.function}{often}")
        for choice, functions in by_choice.items():
            yield f"{choice}: {', '.join(functions)}"


def _by_dtype(record: Record) -> tuple[str, ...]:
    """The choice that every loss shows in half precision."""
    function = FUNCTIONS.get(record.function)
    half = record.output == "value" and record.dtype in HALF_TYPES
    return (FLOAT32_RESULT,) if half and function is not None and function.widens else ()
