"""Arithmetics that hardware and libraries have, each as correct as spec/tolerances.md asks (T-1 to T-3).

An ``Arithmetic`` is what ``tests/textbook.py`` computes with: operations that round, elementary functions
and sums. Its subclasses differ in the order of sums, in how exponentials and logarithms are made, in
contraction, in flushing, and in errors as large as OpenCL permits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lossproof.core.dtypes import FLOAT_TYPES

Array = Any
Order = Callable[[Array], Array]
"""The sum of an array (n, …) over its first axis, which is not empty."""


# -- orders of summation --------------------------------------------------------------------


def in_order(terms: Array) -> Array:
    """From the first to the last."""
    return np.add.accumulate(terms, axis=0)[-1]


def in_reverse(terms: Array) -> Array:
    """From the last to the first."""
    return in_order(terms[::-1])


def permuted(terms: Array) -> Array:
    """In a random order, the same for every length."""
    return in_order(terms[np.random.default_rng(len(terms)).permutation(len(terms))])


def by_magnitude(terms: Array) -> Array:
    """From the smallest to the largest."""
    return in_order(np.take_along_axis(terms, np.argsort(np.abs(terms), axis=0), axis=0))


def tree(terms: Array) -> Array:
    """Neighbours are added until one is left."""
    while len(terms) > 1:
        rest = terms[len(terms) // 2 * 2 :]
        terms = np.concatenate([terms[: len(terms) // 2 * 2 : 2] + terms[1 : len(terms) // 2 * 2 : 2], rest])
    return terms[0]


# -- operations -------------------------------------------------------------------------------


class Arithmetic:
    """Every operation is NumPy's in the operands' dtype; sums run in order, in float32 at least.

    ``wide`` works on half precision in float32; otherwise every elementwise operation rounds to the
    dtype. ``log1p_of_rest`` takes ln(1 − p) by log1p.
    """

    wide = False
    order: Order = staticmethod(in_order)
    log1p_of_rest = False

    def working(self, x: Array) -> Array:
        """An array in the dtype that it is worked on in."""
        return x.astype(self.accumulator(x)) if self.wide else x

    def accumulator(self, x: Array) -> np.dtype[Any]:
        return np.promote_types(x.dtype, np.float32)

    def done(self, result: Array) -> Array:
        """What is left of the result of an operation."""
        return result

    def round(self, x: Array, like: Array) -> Array:
        """``x`` in the dtype of another array."""
        return self.done(np.asarray(x).astype(like.dtype))

    def add(self, x: Array, y: Array) -> Array:
        return self.done(x + y)

    def subtract(self, x: Array, y: Array) -> Array:
        return self.done(x - y)

    def multiply(self, x: Array, y: Array) -> Array:
        return self.done(x * y)

    def divide(self, x: Array, y: Array) -> Array:
        return self.done(x / y)

    def multiply_add(self, x: Array, y: Array, z: Array) -> Array:
        """x · y + z."""
        return self.add(self.multiply(x, y), z)

    def exp(self, x: Array) -> Array:
        return self.done(np.exp(x))

    def log(self, x: Array) -> Array:
        return self.done(np.log(x))

    def log1p(self, x: Array) -> Array:
        return self.done(np.log1p(x))

    def sqrt(self, x: Array) -> Array:
        return self.done(np.sqrt(x))

    def sum(self, x: Array) -> Array:
        """Along the last axis, in the accumulator's dtype; 0 of nothing."""
        terms = np.moveaxis(x, -1, 0).astype(self.accumulator(x))
        return self.order(terms) if len(terms) else np.zeros(terms.shape[1:], terms.dtype)

    def dot(self, x: Array, y: Array) -> Array:
        """Σ x · y along the last axis, in the accumulator's dtype."""
        return self.sum(self.multiply(x, y))


class Reversed(Arithmetic):
    """Sums run from the last term to the first."""

    order = staticmethod(in_reverse)


class Permuted(Arithmetic):
    """Sums run in a random order."""

    order = staticmethod(permuted)
    log1p_of_rest = True


class ByMagnitude(Arithmetic):
    """Sums run from the smallest term to the largest."""

    order = staticmethod(by_magnitude)


class Tree(Arithmetic):
    """Sums are trees of pairs."""

    order = staticmethod(tree)
    log1p_of_rest = True


class Wide(Arithmetic):
    """Half precision is worked on in float32 and rounded once."""

    wide = True


class PowersOfTwo(Arithmetic):
    """exp(x) = exp2(x · log2 e) with a rounded product, ln x = log2 x · ln 2, in float32 at least."""

    wide = True

    def exp(self, x: Array) -> Array:
        return self.done(np.exp2(self.multiply(x, x.dtype.type(math.log2(math.e)))))

    def log(self, x: Array) -> Array:
        return self.multiply(self.done(np.log2(x)), x.dtype.type(math.log(2)))

    def log1p(self, x: Array) -> Array:
        """ln(u) · x/(u − 1) with u = 1 + x rounded (Kahan; Higham, Accuracy and Stability, problem 1.5)."""
        u = self.add(x.dtype.type(1), x)
        rest = self.subtract(u, x.dtype.type(1))
        same = (u == 1) | ~np.isfinite(u)
        factor = self.divide(self.log(u), np.where(same, 1, rest).astype(x.dtype))
        return np.where(u == 1, x, np.where(same, self.log(u), self.multiply(x, factor)))


class Fused(Arithmetic):
    """Products are contracted with the sum that they enter, as compilers do it: one rounding for both."""

    wide = True
    threads = 128

    def multiply_add(self, x: Array, y: Array, z: Array) -> Array:
        return self.done(fused(x, y, z))

    def dot(self, x: Array, y: Array) -> Array:
        """One running sum, or above 128 terms as many, as the threads of a block have them."""
        x, y = (np.moveaxis(part, -1, 0) for part in np.broadcast_arrays(x, y))
        total = np.zeros((min(self.threads, len(x)), *x.shape[1:]), self.accumulator(x))
        if len(x) <= self.threads:
            running = np.zeros(x.shape[1:], total.dtype)
            for a, b in zip(x, y, strict=True):
                running = self.multiply_add(a.astype(total.dtype), b.astype(total.dtype), running)
            return running
        for start in range(0, len(x), self.threads):
            a, b = (part[start : start + self.threads].astype(total.dtype) for part in (x, y))
            total[: len(a)] = self.multiply_add(a, b, total[: len(a)])
        return tree(total)


class Flushing(Arithmetic):
    """Subnormal intermediates and results become 0, as with ``-ftz=true``; half works in float32."""

    wide = True

    def done(self, result: Array) -> Array:
        result = np.asarray(result)
        tiny = FLOAT_TYPES[result.dtype.name].smallest_normal
        return np.where(np.abs(result) < tiny, np.zeros((), result.dtype), result)

    def sum(self, x: Array) -> Array:
        return self.done(super().sum(x))


# ULPs of float32, which are taken for float64 as well, and of half precision (OpenCL C 3.0, full profile).
LIMITS = {"exp": (3.0, 2.0), "log": (3.0, 2.0), "log1p": (3.0, 2.0), "divide": (2.5, 1.0), "sqrt": (3.0, 1.0)}


class AtTheLimits(Arithmetic):
    """Division, square root, exponentials and logarithms err by all that OpenCL permits, always upwards."""

    @staticmethod
    def sign(exact: Array) -> Array:
        """Upwards (1) or downwards (−1)."""
        return 1.0

    def _off(self, operation: str, like: Array, exact: Array) -> Array:
        """The furthest number of the dtype that is not beyond the limit of the operation."""
        kind = FLOAT_TYPES[like.dtype.name]
        limit = LIMITS[operation][like.dtype.itemsize < 4]
        with np.errstate(all="ignore"):
            _, exponent = np.frexp(np.where(np.isfinite(exact), exact, 1))
            ulp = np.ldexp(exact.dtype.type(1), exponent - kind.precision)
            sign = self.sign(exact)
            off = (exact + sign * (limit - 0.5) * ulp).astype(like.dtype)
            # Beyond a power of 2 numbers are further apart.
            beyond = np.abs(off.astype(exact.dtype) - exact) > limit * ulp
            off = np.where(beyond, (exact + sign * (limit - 1) * ulp).astype(like.dtype), off)
            normal = np.isfinite(exact) & (np.abs(exact) >= 4 * kind.smallest_normal)
            # No result is pushed beyond the range.
            stays = normal & (np.abs(exact) < kind.largest / 2)
            return self.done(np.where(stays, off, exact.astype(like.dtype)))

    def _exact(self, x: Array) -> Array:
        return np.asarray(x).astype(np.longdouble if x.dtype == np.float64 else np.float64)

    def divide(self, x: Array, y: Array) -> Array:
        like = np.zeros((), np.result_type(x, y))
        quotient = self._off("divide", like, self._exact(np.asarray(x)) / self._exact(np.asarray(y)))
        return np.where(np.asarray(y) == 1, np.asarray(x).astype(like.dtype), quotient)

    def exp(self, x: Array) -> Array:
        return np.where(x == 0, np.ones((), x.dtype), self._off("exp", x, np.exp(self._exact(x))))

    def log(self, x: Array) -> Array:
        return self._off("log", x, np.log(self._exact(x)))

    def log1p(self, x: Array) -> Array:
        return self._off("log1p", x, np.log1p(self._exact(x)))

    def sqrt(self, x: Array) -> Array:
        return self._off("sqrt", x, np.sqrt(self._exact(x)))


class AtTheLowerLimits(AtTheLimits):
    """The same, always downwards."""

    @staticmethod
    def sign(exact: Array) -> Array:
        return -1.0


class AtRandomLimits(AtTheLimits):
    """The same, up or down as the bits of the exact result say, so that equal inputs err equally."""

    @staticmethod
    def sign(exact: Array) -> Array:
        bits = np.asarray(exact).astype(np.float64).view(np.int64)
        return np.where((bits ^ (bits >> 7) ^ (bits >> 23)) & 1, 1.0, -1.0)


class LikeAGpu(PowersOfTwo, Fused, Flushing, AtRandomLimits):
    """All at once: powers of two, contraction, flushing, division and square root at random limits."""

    order = staticmethod(tree)


# -- exactly rounded x · y + z ------------------------------------------------------------------


def fused(x: Array, y: Array, z: Array) -> Array:
    """x · y + z, rounded once.

    Args:
        x, y, z: float32 arrays, or all float64.
    """
    x, y, z = np.broadcast_arrays(x, y, z)
    with np.errstate(all="ignore"):
        if x.dtype == np.float32:
            # The product is exact in float64, and rounding its sum to odd makes the second rounding right.
            product, addend = x.astype(np.float64) * y, z.astype(np.float64)
            return _odd(*_two_sum(product, addend)).astype(np.float32)
        # Boldo and Melquiond, Emulation of FMA and correctly rounded sums, IEEE Trans. Comput. 57 (2008).
        product = x * y
        low = _product_error(x, y, product)
        middle, rest = _two_sum(z, low)
        high, carry = _two_sum(product, middle)
        result = high + _odd(*_two_sum(rest, carry))
        return np.where(np.isfinite(result), result, product + z)


def _two_sum(x: Array, y: Array) -> tuple[Array, Array]:
    """A rounded sum and its error (Knuth)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _product_error(x: Array, y: Array, product: Array) -> Array:
    """x · y less the rounded product (Dekker), of float64."""
    (a, b), (c, d) = _halves(x), _halves(y)
    return ((a * c - product) + a * d + b * c) + b * d


def _halves(x: Array) -> tuple[Array, Array]:
    """Veltkamp's split into 26 bits each."""
    scaled = x * 134217729.0
    high = scaled - (scaled - x)
    return high, x - high


def _odd(total: Array, error: Array) -> Array:
    """A rounded sum as rounding to odd gives it, in float64."""
    even = (total.view(np.int64) & 1) == 0
    moved = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where(even & (error != 0) & np.isfinite(error), moved, total)
