"""Which documented choices a backend makes (spec/choices.md), and in how many of the cases that show them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from lossproof.core.dtypes import HALF_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import UNJUDGED
from lossproof.engine.record import Record
from lossproof.engine.verdict import FLOAT32_RESULT


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
    """The choices in the records of one backend, those of a case and dtype one after the other."""

    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: Counter[tuple[str, str]] = field(default_factory=Counter)
    _counted: set[tuple[str, str]] = field(default_factory=set)
    """What is counted already of the case and dtype that the last record was of: what is shown, and made."""
    _last: tuple[str, str] = ("", "")

    def add(self, record: Record, shown: Iterable[str]) -> None:
        """Count a record; ``shown`` names the choices that its case shows in its dtype."""
        if record.verdict in UNJUDGED:
            return
        if self._last != (record.case, record.dtype):
            self._last = record.case, record.dtype
            self._counted.clear()
        names = {*shown, *_by_dtype(record)}
        for name in names:
            self._count("shown", self.shown, name, record.function)
        if record.variant in names:
            self._count("made", self.made, record.variant, record.function)

    def _count(self, what: str, counts: Counter[tuple[str, str]], choice: str, function: str) -> None:
        """Once for each case and dtype."""
        if (what, choice) not in self._counted:
            self._counted.add((what, choice))
            counts[choice, function] += 1

    def __iter__(self) -> Iterator[Made]:
        for (choice, function), made in sorted(self.made.items()):
            yield Made(choice, function, made, self.shown[choice, function])

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
