"""Error against input as plots: geometry that a template draws as SVG, in colours of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lossproof.core.mathematics import unicode
from lossproof.sweeps.inputs import Patterns
from lossproof.sweeps.report import Binade, OutputReport, Span
from lossproof.sweeps.tally import UNITS

WIDTH, HEIGHT = 420, 190
LEFT, RIGHT, TOP, BOTTOM = 40, 412, 8, 164
# Between the negative and the positive half, where both are drawn.
MIDDLE = 12
# Errors below it, in ULP, are drawn as it: a logarithm has no 0.
LEAST = 0.01
# The label of an input takes as much.
ROOM = 30
# A band is at least as wide.
THIN = 2.0


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and what it says."""

    place: float
    text: str


@dataclass(frozen=True)
class Band:
    """A piece of the axis of inputs."""

    left: float
    width: float


def rms(binade: Binade) -> float:
    """Root mean square of the errors of a binade, in ULP."""
    return math.sqrt(binade.squares / max(binade.count, 1)) / UNITS


@dataclass(frozen=True)
class Frame:
    """The axes that plots side by side have in common.

    Inputs: binades as wide as each other, from ``first`` to ``last`` by exponent field, negative ones to the
    left. Errors: powers of 10 from ``LEAST`` to ``top``.
    """

    dtype: str
    first: int
    last: int
    negative: bool
    positive: bool
    top: int

    @cached_property
    def patterns(self) -> Patterns:
        return Patterns(self.dtype)

    def x(self, magnitude: float, negative: bool) -> float:
        """The place of a magnitude's bit pattern; what lies outside is put on the edge."""
        left, right = self._half(negative)
        share = (magnitude / self.patterns.per_binade - self.first) / (self.last + 1 - self.first)
        share = min(max(share, 0.0), 1.0)
        return round(right - share * (right - left) if negative else left + share * (right - left), 1)

    def _half(self, negative: bool) -> tuple[float, float]:
        if self.negative != self.positive:
            return LEFT, RIGHT
        centre = (LEFT + RIGHT) / 2
        return (LEFT, centre - MIDDLE / 2) if negative else (centre + MIDDLE / 2, RIGHT)

    def y(self, error: float) -> float:
        """The place of an error in ULP."""
        low = math.log10(LEAST)
        share = (math.log10(max(error, LEAST)) - low) / (self.top - low)
        return round(BOTTOM - min(share, 1.0) * (BOTTOM - TOP), 1)

    @property
    def x_ticks(self) -> list[Tick]:
        """0, and powers of 10 that leave each other room."""
        ticks = []
        if self.first == 0:
            middle = self.negative and self.positive
            ticks.append(Tick((LEFT + RIGHT) / 2 if middle else self.x(0, self.negative), "0"))
        low, high = (math.log10(self._value(index)) for index in (max(self.first, 1), self.last + 1))
        step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if (high - low) / s <= 5)
        for exponent in range(math.floor(high / step) * step, math.ceil(low) - 1, -step):
            for negative in (True, False):
                place = self.x(self._magnitude(exponent), negative)
                drawn = self.negative if negative else self.positive
                if drawn and all(abs(place - tick.place) >= ROOM for tick in ticks):
                    ticks.append(Tick(place, _power(exponent, negative)))
        return ticks

    @property
    def y_ticks(self) -> Iterator[Tick]:
        step = max(1, math.ceil((self.top + 2) / 5))
        for exponent in range(-2, self.top + 1, step):
            text = f"≤ {LEAST}" if exponent == -2 else _power(exponent, False)
            yield Tick(self.y(10.0**exponent), text)

    def _value(self, index: int) -> float:
        """The power of 2 that a binade begins with."""
        return math.ldexp(1.0, index - (self.patterns.one // self.patterns.per_binade))

    def _magnitude(self, exponent: int) -> float:
        """Where a power of 10 is among bit patterns."""
        fraction, power = math.frexp(10.0**exponent)
        index = power - 1 + self.patterns.one // self.patterns.per_binade
        return (index + 2 * fraction - 1) * self.patterns.per_binade


def _power(exponent: int, negative: bool) -> str:
    sign = "−" if negative else ""
    if -1 <= exponent <= 2:
        return f"{sign}{10.0**exponent:g}"
    return sign + unicode(f"10^{{{exponent}}}")


def frame(dtype: str, outputs: Iterable[OutputReport]) -> Frame | None:
    """Axes that hold all errors of some outputs; None where there are none to draw."""
    patterns = Patterns(dtype)
    places: list[int] = []
    worst = 10.0
    for output in outputs:
        places += [binade.pattern for binade in output.binades if binade.worst_ulp >= LEAST]
        places += [end for span in (*output.exceeded, *output.flushed) for end in _ends(span)]
        worst = max([worst, *(binade.worst_ulp for binade in output.binades)])
    places = [place for place in places if place % patterns.sign < patterns.infinity]
    if not places:
        return None
    indices = [place % patterns.sign // patterns.per_binade for place in places]
    return Frame(
        dtype,
        first=min(indices),
        last=max(indices),
        negative=any(place & patterns.sign for place in places),
        positive=any(not place & patterns.sign for place in places),
        top=math.ceil(math.log10(worst)),
    )


def _ends(span: Span) -> tuple[int, int]:
    return span.first.pattern, span.last.pattern


@dataclass(frozen=True)
class Plot:
    """One output of one backend, drawn within a frame."""

    frame: Frame
    output: OutputReport

    @property
    def worst(self) -> str:
        """The path of the largest error of each binade."""
        return self._path(
            {binade.pattern: (binade.worst_ulp, binade.count) for binade in self.output.binades}
        )

    @property
    def mean(self) -> str:
        """The path of the root mean square of each binade."""
        return self._path({binade.pattern: (rms(binade), binade.count) for binade in self.output.binades})

    @property
    def exceeded(self) -> list[Band]:
        return self._bands(self.output.exceeded)

    @property
    def flushed(self) -> list[Band]:
        return self._bands(self.output.flushed)

    def _path(self, errors: dict[int, tuple[float, int]]) -> str:
        """Steps from binade to binade, as long as the inputs are many; what the file leaves out is 0."""
        patterns = self.frame.patterns
        parts = []
        for negative in (True, False):
            if not (self.frame.negative if negative else self.frame.positive):
                continue
            pen = "M"
            for index in range(self.frame.first, self.frame.last + 1):
                magnitude = index * patterns.per_binade
                pattern = magnitude | (patterns.sign if negative else 0)
                error, count = errors.get(pattern, (0.0, patterns.per_binade))
                start, end = (self.frame.x(m, negative) for m in (magnitude, magnitude + count))
                parts.append(f"{pen}{start:g} {self.frame.y(error):g}H{end:g}")
                pen = "L"
        return "".join(parts)

    def _bands(self, spans: Sequence[Span]) -> list[Band]:
        bands = []
        sign = self.frame.patterns.sign
        for span in spans:
            first, last = _ends(span)
            # Patterns of positive numbers are below those of negative ones; a range may hold some of both.
            halves = [(first, last)] if (first ^ last) < sign else [(first, sign - 1), (sign, last)]
            for low, high in halves:
                drawn = self.frame.negative if low & sign else self.frame.positive
                if not drawn or low % sign >= self.frame.patterns.infinity:
                    continue
                ends = sorted(self.frame.x(place % sign, bool(low & sign)) for place in (low, high))
                left = min(ends[0], RIGHT - THIN)
                bands.append(Band(left, round(max(ends[1] - left, THIN), 1)))
        return bands
