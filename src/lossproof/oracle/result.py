"""What the oracle says about one output: its exact elements, and how far off a result may be.

See spec/tolerances.md for the derivations of the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Expected, Sketch, Tolerance, block_slices, sampled
from lossproof.case.random import signs
from lossproof.oracle.balls import Quantity, Undecided, nearest
from lossproof.oracle.bounds import Bound, Floats
from lossproof.oracle.columns import Balls
from lossproof.oracle.describe import LISTED_ELEMENTS, description

SKETCH_SEED, SKETCH_PATTERNS, SKETCH_BLOCKS, SKETCH_SAMPLE = 1, 2, 32, 32
# A sum against a pattern of signs errs by more with probability 2·e^(−18) (T-8).
SIGNED_SUM = 6.0
# The accumulator's part is left out where it is no more than this share of the dtype's.
NEGLIGIBLE = 1 / 16


class Output:
    """One output of a case.

    ``exact`` holds the elements in C order, ``absent`` marks those that the definition leaves
    out (an ignored pixel's gradient), which have to be exactly zero.

    Raises:
        Undecided: an element is not known to the last bit of its float64.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        exact: Balls | Sequence[Quantity],
        bound: Bound,
        absent: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.shape = shape
        self.exact = exact if isinstance(exact, Balls) else Balls(exact)
        self.bound = bound
        self.absent = absent
        self.most = LISTED_ELEMENTS
        """So many elements are listed at most, where no description stands for them."""
        self.rounded = self.exact.rounded

    @cached_property
    def listed(self) -> bool:
        """Whether all elements and their bounds are stored: they are few, or few numbers describe them."""
        if len(self.exact) <= self.most:
            return True
        parts = (self.rounded, *(rounded_up(part) for part in self._coefficients))
        return all(description(part.reshape(self.shape)) is not None for part in parts)

    def array(self) -> Floats:
        return self.rounded.reshape(self.shape)

    def sketch(self) -> Sketch:
        """Certified sums over blocks against fixed patterns of signs, and certified elements."""
        size = len(self.exact)
        patterns = [signs(SKETCH_SEED + p, size) for p in range(SKETCH_PATTERNS)]
        sums = [
            [_sum(self.exact.take(block), pattern[block]) for block in block_slices(size, SKETCH_BLOCKS)]
            for pattern in patterns
        ]
        sample = self.rounded[sampled(SKETCH_SEED, size, SKETCH_SAMPLE)]
        return Sketch(self.shape, SKETCH_SEED, np.array(sums), sample)

    def tolerance(self) -> Tolerance:
        """The coefficients of the bound, rounded up to two digits.

        Raises:
            ArithmeticError: the bound of a finite element has left float64's range.
        """
        u, a, h = self._coefficients
        if self.listed:
            return _tolerance(u, a, h, self.shape)
        at = sampled(SKETCH_SEED, len(self.exact), SKETCH_SAMPLE)
        sample = _tolerance(u[at], a[at], h[at], (len(at),))
        blocks = block_slices(len(self.exact), SKETCH_BLOCKS)
        u, a, h = (
            np.array([SIGNED_SUM * math.sqrt(math.fsum(part[b] ** 2)) for b in blocks]) for part in (u, a, h)
        )
        tolerance = _tolerance(u, a, h, (len(blocks),))
        return Tolerance(tolerance.u, tolerance.a, tolerance.eta, sample)

    @cached_property
    def _coefficients(self) -> tuple[Floats, Floats, Floats]:
        """(u, a, h) per element: 0 where nothing may be off, above 0 elsewhere."""
        size = len(self.exact)
        # NaN and infinities are compared for being there.
        held = ~np.isfinite(self.rounded)
        if self.absent is not None:
            held |= self.absent
        parts = [
            np.broadcast_to(np.ravel(part), (size,)) for part in (self.bound.u, self.bound.a, self.bound.h)
        ]
        if not all(np.isfinite(part[~held]).all() for part in parts):
            raise ArithmeticError("the error bound of an element leaves float64's range")
        u, a, h = (np.where(held, 0.0, part) for part in parts)
        # An expectation that is 0 only because float64 ends there keeps its allowance of subnormals.
        return np.where(~held & (h > 0), np.maximum(u, TINY), u), a, h


def as_stored(output: Output) -> Expected:
    """What a case stores of an output: its elements or, where they are many, sums and a sample."""
    return output.array() if output.listed else output.sketch()


def integers(values: npt.NDArray[Any]) -> Output:
    """What is copied or counted: exact numbers, to be met exactly."""
    return Output(values.shape, [float(v) for v in values.ravel().tolist()], Bound())


# Too small to count, and not 0.
TINY = 1e-300


def _tolerance(u: Floats, a: Floats, h: Floats, shape: tuple[int, ...]) -> Tolerance:
    if (a <= NEGLIGIBLE * u).all():
        u, a = u + a, np.zeros_like(a)
    eta = max(float(np.max(h, initial=0.0)), Tolerance.ETA)
    return Tolerance(_stored(u, shape), _stored(a, shape), float(math.ceil(eta)))


def _stored(part: Floats, shape: tuple[int, ...]) -> Floats:
    """Rounded up; one number where all are the same."""
    rounded = rounded_up(part)
    if (rounded == rounded[:1]).all():
        return np.array(rounded[0] if rounded.size else 0.0)
    return rounded.reshape(shape)


def _sum(block: Balls, signs_: npt.NDArray[np.int8]) -> float:
    """The signed sum of a block, rounded; 0 where the terms cancel to less than 2**-100 of their size.

    Sums of equal probabilities, or over whole rows of a gradient, are exactly 0, which no precision
    can show; the bound of any float64 computation is 2**47 times wider than what is left open.
    """
    sum_ = block.sum(signs_)
    try:
        return nearest(sum_)
    except Undecided:
        if float(sum_.abs_upper()) <= 2.0**-100 * math.fsum(block.sizes):
            return 0.0
        raise


@cache
def _two_digits() -> Floats:
    """All positive numbers of two significant digits, and infinity."""
    numbers = {float(f"{digits}e{power}") for digits in range(10, 100) for power in range(-325, 308)}
    return np.array([*sorted(numbers - {0.0}), math.inf])


def rounded_up(part: Floats) -> Floats:
    """Two significant digits, upwards: readable, and the same on every machine."""
    table = _two_digits()
    return np.where(part == 0, 0.0, table[np.searchsorted(table, part * (1 - 1e-9))])
