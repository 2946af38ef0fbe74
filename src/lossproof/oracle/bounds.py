"""Error bounds as sums of coefficients, written in code as spec/tolerances.md writes them.

A bound is ``u``·(unit roundoff of the dtype) + ``a``·(unit roundoff of the accumulator) +
``h``·(smallest subnormal of the dtype), for one element or an array of them. Bounds of relative
errors are added; times the size of what errs they are bounds of absolute errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossproof.core.dtypes import FloatType

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bound:
    """Coefficients of an error bound, one per element or one for all."""

    u: Floats | float = 0.0
    a: Floats | float = 0.0
    h: Floats | float = 0.0

    def __add__(self, other: Bound) -> Bound:
        return Bound(self.u + other.u, self.a + other.a, self.h + other.h)

    def __mul__(self, size: Floats | float) -> Bound:
        """The bound of what is ``size`` (not negative) times as large."""
        return Bound(self.u * size, self.a * size, self.h * size)

    __rmul__ = __mul__

    def take(self, which: npt.NDArray[np.bool_]) -> Bound:
        """The bounds of some elements."""
        u, a, h = (np.broadcast_to(part, which.shape)[which] for part in (self.u, self.a, self.h))
        return Bound(u, a, h)

    def compounded(self, coarsest: FloatType) -> Bound:
        """A relative bound to all orders: e^R − 1 instead of R, at the coarsest dtype of a case.

        In finer dtypes the same factor allows a little more than is needed.
        """
        first = np.asarray(self.u * coarsest.unit_roundoff + self.a * coarsest.accumulation_roundoff)
        # Beyond 1 the bound is as large as what it bounds: it decides nothing any more.
        first = np.clip(first, 1e-300, 1.0)
        factor = np.expm1(first) / first
        return Bound(self.u * factor, self.a * factor, self.h)

    def at(self, dtype: FloatType, size: int) -> Floats:
        """The bounds of ``size`` flattened elements in a dtype."""
        bound = np.asarray(
            self.u * dtype.unit_roundoff
            + self.a * dtype.accumulation_roundoff
            + self.h * dtype.smallest_subnormal
        )
        return np.broadcast_to(bound.ravel() if bound.ndim else bound, (size,))


def rounding(times: Floats | float = 1.0) -> Bound:
    """So many roundings to the dtype (T-1)."""
    return Bound(u=times)


def accumulating(coefficient: Floats | float) -> Bound:
    """So many units of the accumulator's roundoff."""
    return Bound(a=coefficient)


# Relative errors of operations (T-2): what OpenCL asks of half precision counts in u, what it asks of
# float32 beyond that in a, since narrower dtypes may be worked on in float32.
EXP = Bound(4.0, 2.0)
LOG = Bound(4.0, 2.0)
LOG1P = Bound(4.0, 2.0)
DIVISION = Bound(2.0, 3.0)
SQRT = Bound(2.0, 4.0)
# A result that is subnormal errs by η.
SUBNORMAL = Bound(h=1.0)


def exp_of(size: Floats | float) -> Bound:
    """Relative error of e^x for |x| = ``size``, also as 2 to the power of a rounded x·log2 e (T-2)."""
    return EXP + accumulating(2.0 * size)


def summing(terms: int) -> Bound:
    """Error of a sum of so many terms, relative to the sum of their magnitudes (T-3)."""
    return accumulating(min(max(terms - 1.0, 0.0), 3.0 * math.sqrt(terms)))


def summing_row(terms: Floats, exact: float = 0.0) -> Bound:
    """The same of given terms: equal ones round alike, but for those of ``exact``, which round nothing."""
    _, times = np.unique(terms[terms != exact], return_counts=True)
    squares = int((times**2).sum()) + terms.size - int(times.sum())
    return accumulating(min(max(terms.size - 1.0, 0.0), 3.0 * math.sqrt(squares)))


def summing_rows(terms: Floats, exact: float = 0.0) -> Bound:
    """The same of every row (R, n), as a column (R, 1)."""
    count, size = terms.shape
    values, at = np.unique(terms, return_inverse=True)
    keys = np.arange(count).reshape(-1, 1) * max(len(values), 1) + at.reshape(terms.shape)
    keys, times = np.unique(keys[terms != exact], return_counts=True)
    rows = keys // max(len(values), 1)
    squares = np.bincount(rows, times**2, count) + size - np.bincount(rows, times, count)
    return accumulating(np.minimum(max(size - 1.0, 0.0), 3.0 * np.sqrt(squares)).reshape(-1, 1))


def each(bound: Bound, sizes: Floats) -> Bound:
    """The bound with an entry per element."""
    parts = (
        np.broadcast_to(np.asarray(part, np.float64), sizes.shape) for part in (bound.u, bound.a, bound.h)
    )
    return Bound(*parts)
