"""Compare results with the reference, a chunk of inputs at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.core.dtypes import FloatType
from lossproof.oracle.bounds import Floats
from lossproof.sweeps import exact
from lossproof.sweeps.allowed import allowed, bounds, recommended, unspecified
from lossproof.sweeps.reference import ERROR, EXACT, FORMULAS, Point
from lossproof.sweeps.subjects import Subject, Target
from lossproof.sweeps.tally import BINS, REACH, STEP, UNITS, Binade, Steps, Tally, Worst, moments

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

_EXPONENT = 0x7FF << 52
# What bounds err by that are made of the reference, relative.
_CLOSE = 2.0**-40


@dataclass(frozen=True)
class Measure:
    """What tells one output of one subject in one dtype right from wrong."""

    subject: Subject
    target: Target
    dtype: str
    kind: FloatType

    def chunk(self, tally: Tally, first: int, x: Floats, y: Floats, actual: Floats) -> None:
        """Add finite inputs, all in one binade, whose bit patterns begin at ``first``.

        Args:
            tally: where it is added.
            first: the pattern of the first input; the others follow it.
            x: inputs.
            y: the reference there.
            actual: results there; float64, as the others.
        """
        count = len(x)
        with np.errstate(invalid="ignore", over="ignore"):
            error = actual - y
            low, high = float(error.min()), float(error.max())
        left_out = None
        limit = self.kind.overflow_threshold
        if not (low > -limit and high < limit):
            actual, y, left_out = self._without_infinities(tally, first, x, y, actual)
            with np.errstate(over="ignore"):
                error = actual - y
        lowest, highest = float(y.min()), float(y.max())
        alike = low == high and lowest == highest and count > 1
        if alike and actual.min() == actual.max() and self._repeated(tally, first, count, x, y, actual):
            return
        tally.inputs += count
        unit = self._ulp(y, lowest, highest)
        scaled = error * (1 / unit)
        self._accumulate(tally, first, scaled, actual, left_out)
        correct = self._rounded(tally, x, y, unit)
        if max(-lowest, highest) > self.kind.largest:
            beyond = np.abs(correct) > self.kind.largest
            correct[beyond] = np.copysign(np.inf, correct[beyond])
        tally.correct += int(np.count_nonzero(correct == actual)) - (0 if left_out is None else len(left_out))
        if lowest < self.kind.smallest_normal and highest > -self.kind.smallest_normal:
            zeros = (actual == 0) & (correct != 0) & (np.abs(y) < self.kind.smallest_normal)
            tally.ranges[0].add(first + np.flatnonzero(zeros))
        if max(-float(scaled.min()), float(scaled.max())) > self.target.least:
            self._judge(tally, first, x, y, actual, scaled)

    def block(self, tally: Tally, first: int, ends: Floats, values: npt.NDArray[Any]) -> bool:
        """Add a block within a binade at once, where the reference and all results are the same.

        The exact function goes one way, so that between two ends with the same reference it is that within
        its error everywhere. Half of all inputs of a sigmoid are so large that it is 0 or 1, and a quarter
        so small that it is 1/2.

        Args:
            tally: where it is added.
            first: the pattern of the first input.
            ends: the first and the last input.
            values: results, in a dtype that NumPy compares quickly.

        Returns:
            Whether it was added; else it is to be added in chunks.
        """
        if not self.target.order[1] or values.min() != values.max():
            return False
        y = FORMULAS[self.target.formula](Point(ends))
        if y[0] != y[1]:
            return False
        return self._repeated(tally, first, len(values), ends[:1], y[:1], as_float64(values[:1]))

    def _repeated(self, tally: Tally, first: int, count: int, x: Floats, y: Floats, actual: Floats) -> bool:
        """Add inputs that have all the same result, and the same reference, unless it is wrong."""
        one = Tally(tally.gap, Steps((0, 0), 0))
        self.chunk(one, first, x[:1], y[:1], actual[:1])
        if one.decided or any(ranges.spans for ranges in one.ranges):
            return False
        one.multiply(count)
        tally.merge(one)
        return True

    # -- numbers --------------------------------------------------------------------------------

    def _ulp(self, y: Floats, low: float, high: float) -> Floats | float:
        """The ULP at each exact value between two; one number where all are the same."""
        if low * high > 0 or low == high:
            one, other = self.kind.ulp(low), self.kind.ulp(high)
            if one == other:
                return one
        bits = y.view(np.int64) & _EXPONENT
        power = bits.view(np.float64)
        power *= 2.0 ** (1 - self.kind.precision)
        np.maximum(power, self.kind.smallest_subnormal, out=power)
        return np.minimum(power, self.kind.ulp(self.kind.largest), out=power)

    def _accumulate(
        self, tally: Tally, first: int, scaled: Floats, actual: Floats, left_out: Indices | None
    ) -> None:
        """Sums, histogram and the worst error."""
        units = scaled * UNITS
        np.rint(units, out=units)
        low, high = float(units.min()), float(units.max())
        largest = max(-low, high)
        count = len(scaled)
        omitted = 0 if left_out is None else len(left_out)
        found = Binade(count - omitted)
        if low == high == 0:
            tally.histogram[self._bin(0.0)] += count - omitted
            tally.faithful += count - omitted
        else:
            found.sum, found.squares = moments(units, largest)
            self._histogram(tally, units, largest)
            tally.histogram[self._bin(0.0)] -= omitted
            tally.faithful += count - omitted
            if largest >= UNITS:
                tally.faithful -= int(np.count_nonzero(np.abs(scaled) >= 1))
        tally.measured += count - omitted
        worst = int(np.abs(scaled).argmax()) if largest or tally.worst is None else 0
        found.worst = abs(float(scaled[worst]))
        if omitted < count:
            kept = worst
            if left_out is not None and worst in left_out:
                kept = int(np.setdiff1d(np.arange(count), left_out)[0])
            tally.note_worst(Worst(float(scaled[kept]), first + kept, float(actual[kept])))
        tally.note_binade(first & ~(self.per_binade - 1), found)

    @property
    def per_binade(self) -> int:
        return 1 << (self.kind.precision - 1)

    @staticmethod
    def _bin(units: float) -> int:
        return min(max(int(units * STEP // UNITS) + REACH * STEP + 1, 0), BINS - 1)

    def _histogram(self, tally: Tally, units: Floats, largest: float) -> None:
        places = units * (STEP / UNITS)
        np.floor(places, out=places)
        places += REACH * STEP + 1
        if largest >= REACH * UNITS:
            np.clip(places, 0, BINS - 1, out=places)
        for place, number in enumerate(np.bincount(places.astype(np.intp), minlength=BINS).tolist()):
            tally.histogram[place] += number

    def _rounded(self, tally: Tally, x: Floats, y: Floats, unit: Floats | float) -> Floats:
        """What the exact values round to, were there no largest number."""
        shift = unit * (1.5 * 2.0**52)
        near = y + shift
        near -= shift
        if self.target.formula in EXACT:
            return near
        distance = y - near
        # The reference errs by this much of an ULP.
        limit = 0.5 - 2.0**self.kind.precision * ERROR
        largest = max(-float(distance.min()), float(distance.max()))
        if isinstance(unit, float) and largest <= limit * unit:
            return near
        distance /= unit
        np.abs(distance, out=distance)
        for place in np.flatnonzero(distance > limit).tolist():
            tally.decided += 1
            near[place] = exact.rounded_to(self.subject, self.target.name, float(x[place]), self.dtype)
        return near

    # -- right or wrong -------------------------------------------------------------------------

    def _without_infinities(
        self, tally: Tally, first: int, x: Floats, y: Floats, actual: Floats
    ) -> tuple[Floats, Floats, Indices]:
        """The same with a match of numbers where there is no distance, and where that is no match.

        What is due and what is there are infinite alike, or the result is beyond the range already: these
        are right. All else is wrong, or early; it is left out of the sums.
        """
        kind = self.kind
        due = np.where(np.abs(y) >= kind.overflow_threshold, np.copysign(np.inf, y), y)
        alike = np.isinf(actual) & (actual == due)
        strange = ~np.isfinite(actual) & ~alike | (np.isinf(y) & np.isfinite(actual))
        places = np.flatnonzero(strange)
        if places.size:
            early = np.isinf(actual[places]) & (np.sign(actual[places]) == np.sign(y[places]))
            own, margin = self._allowed(x[places], y[places])
            # An overflow is a correct rounding of something within the bound.
            permitted = early & (np.abs(y[places]) + own + margin >= kind.overflow_threshold)
            self._wrong(tally, first, x, places[~permitted], None)
        neutral = alike | strange
        return np.where(neutral, 1.0, actual), np.where(neutral, 1.0, y), places

    def _allowed(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """What is permitted at some inputs of a chunk, and how much of it the reference may err."""
        own = allowed(bounds(self.subject, x, self.dtype)[self.target.name], y, self.kind)
        return own, _CLOSE * own + 2 * ERROR * np.abs(y)

    def _judge(self, tally: Tally, first: int, x: Floats, y: Floats, actual: Floats, scaled: Floats) -> None:
        """Errors of more than any bound permits at least, against the bound."""
        places = np.flatnonzero(np.abs(scaled) > self.target.least)
        x, y, actual = x[places], y[places], actual[places]
        error = np.abs(actual - y)
        own, margin = self._allowed(x, y)
        open_ = np.flatnonzero(np.abs(error - own) <= margin)
        if open_.size:
            tally.decided += open_.size
            sure = exact.certified(self.subject, x[open_], self.dtype)[self.target.name]
            error[open_] = np.abs(actual[open_] - sure.rounded)
            own[open_] = allowed(sure.bound, sure.rounded, self.kind)
        # A result within the bound may have been subnormal before it was flushed (G-8).
        flushed = (actual == 0) & (np.abs(y) - own < self.kind.smallest_normal)
        wrong = (error > own) & ~flushed
        self._wrong(tally, first, x, places[wrong], np.abs(scaled[places[wrong]]), among=wrong)

    def _wrong(
        self, tally: Tally, first: int, x: Floats, places: Indices, sizes: Floats | None,
        among: Mask | None = None,
    ) -> None:  # fmt: skip
        """Note what is wrong, by how strictly the specification asks for it."""
        if not places.size:
            return
        inputs = x[places] if among is None else x[among]
        lax = recommended(self.subject, inputs, self.kind)
        asked = ~unspecified(self.subject, self.target, inputs, self.kind)
        _, exceeded, lower, special = tally.ranges
        for ranges, which in ((exceeded, asked & ~lax), (lower, asked & lax)):
            ranges.add(first + places[which], None if sizes is None else sizes[which])
        if sizes is None:
            special.add(first + places[asked])

    def specials(self, tally: Tally, first: int, x: Floats, actual: Floats) -> None:
        """Add an infinity and NaN, whose patterns begin at ``first``."""
        due = np.full(len(x), np.nan)
        infinite = np.flatnonzero(np.isinf(x))
        if infinite.size:
            due[infinite] = exact.certified(self.subject, x[infinite], self.dtype)[self.target.name].rounded
        with np.errstate(invalid="ignore"):
            near = np.abs(actual - due) <= self.kind.smallest_normal
        right = (actual == due) | near | (np.isnan(actual) & np.isnan(due))
        tally.inputs += len(x)
        self._wrong(tally, first, x, np.flatnonzero(~right), None)


def as_float64(array: npt.NDArray[Any]) -> Floats:
    """The same numbers as float64, however narrow they are."""
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN, too
        return array.astype(np.float64)
