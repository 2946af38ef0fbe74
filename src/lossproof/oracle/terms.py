"""Numbers as an implementation has them: exact, with the size of what they are made of and an error bound.

Derivatives are polynomials in a few quantities (probabilities, targets, tangents), which implementations
multiply out, and factor, in ways of their own. So every operation is charged its rounding at the ``size``
of a number, which is what it would be if all of its terms had one sign: an implementation that cancels
later, or earlier, does not err by more (spec/tolerances.md, T-12).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, Undecided, arb, finite, is_nan, nearest, total
from lossproof.oracle.bounds import DIVISION, SUBNORMAL, Bound, Floats, summing_row
from lossproof.oracle.columns import Balls
from lossproof.oracle.result import Output

# What is left of terms that cancel to less than this share of their size is 0 (as T-8 has it for sums).
CANCELLED = 2.0**-100


@dataclass(frozen=True, slots=True)
class Term:
    """An exact number, the size of its terms, and the coefficients of its absolute error."""

    exact: Quantity
    size: float = 0.0
    u: float = 0.0
    a: float = 0.0
    h: float = 0.0

    @property
    def nothing(self) -> bool:
        """Whether it is 0 and nothing else: what it multiplies contributes nothing (G-3)."""
        zero = self.exact == 0 if isinstance(self.exact, float) else self.exact.is_zero()
        return bool(zero) and self.size == 0 and self.u == 0 and self.a == 0 and self.h == 0

    @property
    def _unit(self) -> bool:
        """Whether it is 1 or −1, which multiplies without rounding."""
        return self.size == 1 and self.u == 0 and self.a == 0 and self.h == 0

    def __neg__(self) -> Term:
        return Term(-self.exact, self.size, self.u, self.a, self.h)

    def __add__(self, other: Term) -> Term:
        return added((self, other))

    def __sub__(self, other: Term) -> Term:
        return added((self, -other))

    def __mul__(self, other: Term) -> Term:
        if self.nothing or other.nothing:
            return Term(NAN) if is_nan(self.exact) or is_nan(other.exact) else NOTHING
        if not finite(self.exact) or not finite(other.exact):
            return Term(_limit(self.exact, other.exact))
        size = self.size * other.size
        rounded = 0.0 if self._unit or other._unit else 1.0
        return Term(
            self.exact * other.exact,
            size,
            self.u * other.size + other.u * self.size + rounded * size,
            self.a * other.size + other.a * self.size,
            self.h * other.size + other.h * self.size + rounded,
        )

    def __truediv__(self, other: Term) -> Term:
        """By what is not 0, unless this is ``nothing``."""
        if self.nothing and not is_nan(other.exact):
            return NOTHING
        if not finite(self.exact) or not finite(other.exact):
            return Term(NAN)
        if other._unit:
            return self * other
        divisor = abs(nearest(other.exact))
        size = self.size / divisor
        relative = other.size / divisor
        return Term(
            self.exact / other.exact,
            size,
            self.u / divisor + size * (other.u / divisor * relative + float(DIVISION.u)),
            self.a / divisor + size * (other.a / divisor * relative + float(DIVISION.a)),
            self.h / divisor + size * other.h / divisor + 1,
        )

    def erring(self, bound: Bound) -> Term:
        """The same with a relative error more."""
        u, a = float(bound.u) * self.size, float(bound.a) * self.size
        return Term(self.exact, self.size, self.u + u, self.a + a, self.h)


NOTHING = Term(0.0)


def _limit(one: Quantity, two: Quantity) -> float:
    """The product of numbers one of which is infinite or NaN, and none 0."""
    if is_nan(one) or is_nan(two):
        return NAN
    return math.copysign(math.inf, 1.0 if (one > 0) == (two > 0) else -1.0)


def given(x: float) -> Term:
    """An input, which nothing has rounded."""
    return Term(arb(x), abs(x)) if math.isfinite(x) and x else NOTHING if x == 0 else Term(x)


def inputs(array: Floats) -> list[Term]:
    return [given(x) for x in np.ravel(array).tolist()]


def bounded(balls: Balls, bound: Bound, shape: tuple[int, ...] | None = None) -> list[Term]:
    """Elements with absolute bounds, which are given for all elements or broadcast to their ``shape``."""
    size = balls.sizes
    usual = np.isfinite(balls.rounded)
    parts = []
    for part in (bound.u, bound.a, bound.h):
        flat = np.broadcast_to(part, (len(balls),) if shape is None else shape).ravel()
        parts.append(np.where(usual & (size > 0), flat, 0.0).tolist())
    exact = [balls.values[i] for i in balls.at.tolist()]
    return [Term(*each) for each in zip(exact, size.tolist(), *parts, strict=True)]


def added(terms: Iterable[Term]) -> Term:
    """The sum in any order, in the accumulator's precision, rounded to the dtype."""
    found = [term for term in terms if not term.nothing]
    if len(found) < 2:
        return found[0] if found else NOTHING
    exact = total(term.exact for term in found)
    if not finite(exact):
        return Term(exact)
    sizes = np.array([term.size for term in found])
    size = math.fsum(sizes)
    return Term(
        exact,
        size,
        math.fsum(term.u for term in found) + size,
        math.fsum(term.a for term in found) + float(summing_row(sizes).a) * size,
        math.fsum(term.h for term in found),
    )


def dot(one: Sequence[Term], two: Sequence[Term]) -> Term:
    return added(a * b for a, b in zip(one, two, strict=True))


def output(
    terms: Sequence[Term],
    shape: tuple[int, ...],
    coarsest: FloatType,
    absent: npt.NDArray[np.bool_] | None = None,
) -> Output:
    """Terms in C order as an output, their bounds taken to all orders."""
    u, a, h, size = (
        np.array([getattr(term, part) for term in terms], dtype=np.float64)
        for part in ("u", "a", "h", "size")
    )
    divisor = np.where(size > 0, size, 1.0)
    relative = Bound(u / divisor, a / divisor).compounded(coarsest)
    bound = Bound(relative.u * divisor, relative.a * divisor, h) + SUBNORMAL
    nothing = np.array([term.nothing for term in terms], dtype=bool)
    left_out = nothing if absent is None else nothing | absent
    return Output(shape, Balls([_settled(term) for term in terms]), bound, left_out)


def _settled(term: Term) -> Quantity:
    """What is exact; 0 where terms cancel to nothing, which no precision can show."""
    try:
        nearest(term.exact)
    except Undecided:
        if float(term.exact.abs_upper()) <= CANCELLED * term.size:
            return 0.0
        raise
    return term.exact
