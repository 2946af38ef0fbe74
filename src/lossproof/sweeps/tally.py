"""What is measured of one output, in whole numbers, so that parts add up to the same in any order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

# Errors are counted in units of 2**-16 ULP, and up to 2**15 ULP; beyond it they count as that.
UNITS = 2**16
LARGEST = 2**31
# The histogram: errors from −2 to 2 ULP in steps of 1/8, and what lies beyond on either side.
STEP, REACH = 8, 2
BINS = 2 * REACH * STEP + 2

Patterns = npt.NDArray[np.int64]


class Span(msgspec.Struct):
    """Inputs of a kind that lie close together: bit patterns, how many, and the worst of them in ULP."""

    first: int
    last: int
    count: int
    worst: float = 0.0


class Ranges(msgspec.Struct):
    """Inputs of a kind, by bit pattern, as ranges; those closer than ``gap`` are one."""

    gap: int
    spans: list[Span] = []

    def add(self, patterns: Patterns, sizes: npt.NDArray[np.float64] | None = None) -> None:
        """Note ascending patterns, and how large the error is at each."""
        if not patterns.size:
            return
        cuts = np.flatnonzero(np.diff(patterns) > self.gap) + 1
        starts = np.concatenate([[0], cuts])
        worst = np.zeros(len(starts)) if sizes is None else np.maximum.reduceat(sizes, starts)
        counts = np.diff(np.append(starts, patterns.size))
        lasts = patterns[np.append(cuts, patterns.size) - 1]
        self.merge(
            Span(*fields)
            for fields in zip(
                patterns[starts].tolist(), lasts.tolist(), counts.tolist(), worst.tolist(), strict=True
            )
        )

    def merge(self, spans: Iterable[Span]) -> None:
        """Join with others; which were there first makes no difference."""
        joined: list[Span] = []
        for span in sorted([*self.spans, *spans], key=lambda s: s.first):
            if joined and span.first - joined[-1].last <= self.gap:
                last = joined[-1]
                joined[-1] = Span(
                    last.first, max(last.last, span.last), last.count + span.count,
                    max(last.worst, span.worst),
                )  # fmt: skip
            else:
                joined.append(span)
        self.spans = joined

    @property
    def count(self) -> int:
        return sum(span.count for span in self.spans)


class Binade(msgspec.Struct, array_like=True):
    """Inputs between two powers of 2, of one sign: how many, the sum of errors and of their squares.

    In units of 2**-16 ULP, and squares of it; ``worst`` is the largest error in ULP, without its sign.
    """

    count: int = 0
    sum: int = 0
    squares: int = 0
    worst: float = 0.0

    def merge(self, other: Binade) -> None:
        self.count += other.count
        self.sum += other.sum
        self.squares += other.squares
        self.worst = max(self.worst, other.worst)


class Worst(msgspec.Struct):
    """The largest error in ULP, with its sign, and where it is."""

    error: float
    pattern: int
    actual: float

    def before(self, other: Worst) -> bool:
        """Whether this one is to be told: it is larger, or at a smaller pattern."""
        return (-abs(self.error), self.pattern) < (-abs(other.error), other.pattern)


class Edge(msgspec.Struct):
    """The ends of a run of inputs of one sign, with the results there, as text: JSON has no infinities."""

    first: int
    last: int
    first_value: str
    last_value: str


class Steps(msgspec.Struct):
    """How often a result falls where the exact one grows, from an input to the next; and first where."""

    direction: tuple[int, int]
    """1 or −1 where it is to grow or fall with |x|, for negative and for positive x; 0: not asked."""
    sign: int
    """The bit of a negative pattern."""
    count: int = 0
    first: int | None = None
    edges: list[Edge] = []

    def _wrong(self, pattern: int, count: int) -> None:
        self.count += count
        if self.first is None or pattern < self.first:
            self.first = pattern

    def _direction(self, pattern: int) -> int:
        return self.direction[0 if pattern & self.sign else 1]

    def add(self, first: int, values: npt.NDArray[Any]) -> None:
        """Note the results at ``first`` and the patterns after it, in order."""
        wanted = self._direction(first)
        if wanted:
            later, earlier = values[1:], values[:-1]
            wrong = later < earlier if wanted > 0 else later > earlier
            count = int(np.count_nonzero(wrong))
            if count:
                self._wrong(first + 1 + int(wrong.argmax()), count)
        self.merge([Edge(first, first + len(values) - 1, *(repr(float(values[i])) for i in (0, -1)))])

    def merge(self, edges: Iterable[Edge]) -> None:
        """Join runs that meet."""
        joined: list[Edge] = []
        for edge in sorted([*self.edges, *edges], key=lambda e: e.first):
            meets = joined and joined[-1].last + 1 == edge.first
            if not meets or (edge.first & self.sign) != (joined[-1].last & self.sign):
                joined.append(edge)
                continue
            before, wanted = joined[-1], self._direction(edge.first)
            before_value, value = float(before.last_value), float(edge.first_value)
            if value < before_value if wanted > 0 else wanted and value > before_value:
                self._wrong(edge.first, 1)
            joined[-1] = Edge(before.first, edge.last, before.first_value, edge.last_value)
        self.edges = joined


class Tally(msgspec.Struct):
    """What one output of one subject gave, for some inputs."""

    gap: int
    steps: Steps
    inputs: int = 0
    """Numbers that were tried."""
    measured: int = 0
    """Of them, those with a finite result where one is due."""
    correct: int = 0
    """Of them, those that are correctly rounded."""
    faithful: int = 0
    """Of them, those that err by less than 1 ULP."""
    decided: int = 0
    """Questions that float64 left open and ball arithmetic decided."""
    histogram: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)
    binades: dict[int, Binade] = {}
    """By the pattern that they begin with."""
    worst: Worst | None = None
    mirrored: int = 0
    """Pairs of x and −x whose results are not alike, where the exact ones are."""
    mirrored_at: int | None = None
    flushed: Ranges | None = None
    """Where 0 stands for a result that is not rounded to it."""
    exceeded: Ranges | None = None
    """Where the error is larger than the specification permits, or a NaN or an infinity is wrong."""
    lax: Ranges | None = None
    """The same, where the specification only recommends a result."""
    special: Ranges | None = None
    """Where a NaN or an infinity is wrong, or is missing."""
    unanswered: int = 0
    problem_at: int | None = None
    problem: str = ""
    """What was raised first, or is wrong with the form of the result."""

    def __post_init__(self) -> None:
        self.flushed = self.flushed or Ranges(self.gap)
        self.exceeded = self.exceeded or Ranges(self.gap)
        self.lax = self.lax or Ranges(self.gap)
        self.special = self.special or Ranges(self.gap)

    def note_worst(self, found: Worst) -> None:
        if self.worst is None or found.before(self.worst):
            self.worst = found

    def note_mirrored(self, pattern: int, count: int) -> None:
        self.mirrored += count
        if self.mirrored_at is None or pattern < self.mirrored_at:
            self.mirrored_at = pattern

    def note_problem(self, pattern: int, count: int, text: str) -> None:
        self.unanswered += count
        if self.problem_at is None or pattern < self.problem_at:
            self.problem_at, self.problem = pattern, text

    def note_binade(self, pattern: int, found: Binade) -> None:
        self.binades.setdefault(pattern, Binade()).merge(found)

    def multiply(self, times: int) -> None:
        """As if every input had come so often, next to each other."""
        for name in ("inputs", "measured", "correct", "faithful"):
            setattr(self, name, getattr(self, name) * times)
        self.histogram = [count * times for count in self.histogram]
        for binade in self.binades.values():
            binade.count, binade.sum, binade.squares = (
                number * times for number in (binade.count, binade.sum, binade.squares)
            )

    def merge(self, other: Tally) -> None:
        """Add what other inputs gave; ``other`` is used up."""
        for name in ("inputs", "measured", "correct", "faithful", "decided"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.histogram = [a + b for a, b in zip(self.histogram, other.histogram, strict=True)]
        for pattern, binade in other.binades.items():
            self.note_binade(pattern, binade)
        if other.worst is not None:
            self.note_worst(other.worst)
        if other.mirrored_at is not None:
            self.note_mirrored(other.mirrored_at, other.mirrored)
        if other.problem_at is not None:
            self.note_problem(other.problem_at, other.unanswered, other.problem)
        if other.steps.first is not None:
            self.steps._wrong(other.steps.first, other.steps.count)
        self.steps.merge(other.steps.edges)
        for ours, theirs in zip(self.ranges, other.ranges, strict=True):
            ours.merge(theirs.spans)

    @property
    def ranges(self) -> tuple[Ranges, Ranges, Ranges, Ranges]:
        assert self.flushed and self.exceeded and self.lax and self.special
        return self.flushed, self.exceeded, self.lax, self.special


def moments(units: npt.NDArray[np.float64], largest: float) -> tuple[int, int]:
    """The exact sum of whole numbers, which are float64, and of their squares."""
    if largest * largest * units.size < 2.0**53:
        return int(units.sum()), int(units.dot(units))
    clipped = np.clip(units, -LARGEST, LARGEST).astype(np.int64)
    high, low = clipped >> 16, clipped & 0xFFFF
    squares = (int(high.dot(high)) << 32) + (int(high.dot(low)) << 17) + int(low.dot(low))
    return int(clipped.sum()), squares
