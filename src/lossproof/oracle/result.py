"""What the oracle says about one output: its exact elements, and how far off a result may be.

The bound of an element is ``u``·(unit roundoff of the dtype) + ``a``·(unit roundoff of the
accumulator) + ``h``·(smallest subnormal of the dtype); see spec/tolerances.md for the derivations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Tolerance, block_slices
from lossproof.case.random import signs
from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.oracle.balls import Quantity, Undecided, nearest, total

Floats = npt.NDArray[np.float64]

# Tensors larger than this are stored as sums.
LISTED_ELEMENTS = 128
SKETCH_SEED, SKETCH_PATTERNS, SKETCH_BLOCKS = 1, 2, 32


@dataclass
class Bound:
    """Coefficients of the error bound, one per element (flattened), or one for all."""

    u: Floats | float
    a: Floats | float = 0.0
    h: Floats | float = 1.0

    def at(self, dtype: FloatType, shape: tuple[int, ...]) -> Floats:
        bound = np.asarray(
            self.u * dtype.unit_roundoff
            + self.a * dtype.accumulation_roundoff
            + self.h * dtype.smallest_subnormal
        )
        return np.broadcast_to(bound.ravel() if bound.ndim else bound, (math.prod(shape),))


@dataclass
class Output:
    """One output of a case.

    ``exact`` holds the elements in C order, ``absent`` marks those that the definition leaves
    out (an ignored pixel's gradient), which have to be exactly zero.
    """

    shape: tuple[int, ...]
    exact: list[Quantity]
    bound: Bound
    absent: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        self.rounded = np.array([nearest(x) for x in self.exact], dtype=np.float64)

    @property
    def listed(self) -> bool:
        return len(self.exact) <= LISTED_ELEMENTS or self.constant is not None

    @property
    def constant(self) -> float | None:
        """The value that all of a large output's elements share, if they do."""
        if len(self.exact) > LISTED_ELEMENTS and np.unique(self.rounded).size == 1:
            return float(self.rounded[0])
        return None

    def array(self) -> Floats:
        return self.rounded.reshape(self.shape)

    def sketch(self) -> list[list[float]]:
        """Certified sums over blocks against fixed patterns of signs."""
        size = len(self.exact)
        return [
            [
                _sum(self.exact[i] * float(pattern[i]) for i in range(size)[block])
                for block in block_slices(size, SKETCH_BLOCKS)
            ]
            for pattern in (signs(SKETCH_SEED + p, size) for p in range(SKETCH_PATTERNS))
        ]

    def tolerance(self, dtype_name: str) -> Tolerance:
        """The bounds of all elements, covered by one ``rel`` and one ``abs``."""
        dtype = FLOAT_TYPES[dtype_name]
        with np.errstate(invalid="ignore", over="ignore"):
            # The expectation is itself rounded to float64.
            bounds = self.bound.at(dtype, self.shape) + np.abs(self.rounded) * 2.0**-53
        if self.absent is not None:
            bounds = np.where(self.absent, 0.0, bounds)
        # Beyond the dtype's range the expectation is infinity, which has no error.
        finite = np.isfinite(self.rounded) & (np.abs(self.rounded) < dtype.overflow_threshold)
        if not self.listed:
            return Tolerance(0.0, _round_up(self._sketch_bound(bounds, dtype)))
        zeros = self.absent is not None and bool(self.absent[self.rounded == 0].all() and self.absent.any())
        checked = finite & ~self.absent if self.absent is not None and zeros else finite
        rel, abs_ = cover(bounds[checked], np.abs(self.rounded[checked]))
        return Tolerance(_round_up(rel), _round_up(abs_), zeros)

    def _sketch_bound(self, bounds: Floats, dtype: FloatType) -> float:
        # Subnormal elements may be flushed (G-8), which a sum cannot tell from an error.
        size = np.abs(self.rounded)
        bounds = bounds + np.where(size < dtype.smallest_normal, size, 0.0)
        # A block with an infinity or NaN is compared for having one.
        finite = np.isfinite(size) & np.isfinite(bounds)
        bounds, size = np.where(finite, bounds, 0.0), np.where(finite, size, 0.0)
        worst = 0.0
        for block in block_slices(len(self.exact), SKETCH_BLOCKS):
            errors = math.fsum(bounds[block])
            # The harness adds the block up in float64, pairwise.
            summing = math.fsum(size[block]) * 2.0**-53 * 24
            worst = max(worst, errors + summing)
        return worst


def _sum(terms: Iterable[Quantity]) -> float:
    """The sum of a block, rounded; 0 where the terms cancel to less than 2**-100 of their size.

    Sums of equal probabilities, or over whole rows of a gradient, are exactly 0, which no precision
    can show; the bound of any float64 computation is 2**47 times wider than what is left open.
    """
    parts = list(terms)
    sum_ = total(parts)
    try:
        return nearest(sum_)
    except Undecided:
        size = math.fsum(abs(nearest(part)) for part in parts)
        if float(sum_.abs_upper()) <= 2.0**-100 * size:
            return 0.0
        raise


def cover(bounds: Floats, magnitudes: Floats) -> tuple[float, float]:
    """The pair (rel, abs) with abs + rel·magnitude ≥ bound everywhere and the least slack.

    Tried are a purely absolute, a purely relative and mixed bounds; slack is the largest ratio of
    what is allowed to what is needed.
    """
    positive = bounds > 0
    bounds, magnitudes = bounds[positive], magnitudes[positive]
    if not bounds.size:
        return 0.0, 0.0
    candidates = [0.0]
    if (magnitudes > 0).any():
        ratios = np.sort(bounds[magnitudes > 0] / magnitudes[magnitudes > 0])
        candidates += [float(ratios[(ratios.size - 1) * k // 8]) for k in range(9)]
    best = (math.inf, 0.0, float(bounds.max()))
    for rel in filter(math.isfinite, candidates):
        rest = bounds - rel * magnitudes
        # What is left where the relative part is all of the bound is a rounding error of ours.
        rest = rest[rest > 2.0**-45 * bounds]
        abs_ = float(rest.max()) if rest.size else 0.0
        with np.errstate(over="ignore"):
            slack = float(np.max((abs_ + rel * magnitudes) / bounds))
        best = min(best, (slack, rel, abs_))
    return best[1], best[2]


def _round_up(value: float) -> float:
    """Three significant digits, upwards: readable, and the same on every machine."""
    if value == 0:
        return 0.0
    text = f"{value:.2e}"
    if float(text) >= value:
        return float(text)
    mantissa, exponent = text.split("e")
    return float(f"{round(float(mantissa) + 0.01, 2)}e{exponent}")
