"""What is demanded of an output: elements or their sums, how far off they may be, what else is permitted.

Needs NumPy, the generator and the dtypes alone, so that standalone scripts can carry its source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lossproof.case import random
from lossproof.core.dtypes import FloatType

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is stored of a tensor too large to list.

    ``sums[p][b]`` is the sum over the b-th of equally long blocks of the flattened tensor of its
    elements times the p-th pattern of signs (seeds ``seed``, ``seed + 1``, …); ``sample`` holds the
    elements at ``sampled(seed, size, len(sample))``.
    """

    shape: tuple[int, ...]
    seed: int
    sums: Floats
    sample: Floats

    def of(self, tensor: npt.NDArray[Any]) -> Floats:
        """The same sums of another tensor of the same shape; those of float64 are correctly rounded."""
        exact = tensor.dtype == np.float64
        flat = tensor.ravel()
        patterns, blocks = self.sums.shape
        sums = np.empty((patterns, blocks))
        # Block by block, so that a large tensor is never there as float64 as a whole.
        for p in range(patterns):
            pattern = random.signs(self.seed + p, flat.size)
            for b, block in enumerate(block_slices(flat.size, blocks)):
                sums[p, b] = _total(flat[block].astype(np.float64) * pattern[block], exact)
        return sums

    def sample_of(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The sampled elements of another tensor of the same shape."""
        return tensor.ravel()[sampled(self.seed, tensor.size, self.sample.size)]


def _total(part: Floats, exact: bool) -> float:
    return math.fsum(part.tolist()) if exact and np.isfinite(part).all() else float(part.sum())


def block_slices(size: int, blocks: int) -> list[slice]:
    """The ``blocks`` nearly equal blocks of a flattened tensor."""
    return [slice(b * size // blocks, (b + 1) * size // blocks) for b in range(blocks)]


def sampled(seed: int, size: int, count: int) -> npt.NDArray[np.int64]:
    """Which elements of a flattened tensor are sampled: the first, the last, and others at random."""
    places = random.scaled(random.splitmix64(seed, count), size)
    places[: min(count, 2)] = [0, size - 1][: min(count, 2)]
    return places


Expected = npt.NDArray[Any] | Sketch


@dataclass(frozen=True, eq=False)
class Tolerance:
    """How far off each element may be (spec/tolerances.md, T-9).

    |actual − expected| ≤ ``u``·(unit roundoff of the dtype) + ``a``·(unit roundoff of the accumulator)
    + ``eta``·(smallest subnormal) + 2**−53·|expected|, where the first two are not both 0; elsewhere
    actual and expected are equal. ``u`` and ``a`` are one number or have the shape of what they bound: an
    output, or the blocks of a sketch, whose sampled elements are bound by ``sample``.
    """

    ETA: ClassVar[float] = 8.0

    u: Floats
    a: Floats
    eta: float = ETA
    sample: Tolerance | None = None

    def bounds(self, expected: Floats, dtype: FloatType) -> Floats:
        """The bounds of all elements in a dtype."""
        with np.errstate(invalid="ignore", over="ignore"):
            bound = (
                self.u * dtype.unit_roundoff
                + self.a * dtype.accumulation_roundoff
                + self.eta * dtype.smallest_subnormal
                + np.abs(expected) * 2.0**-53
            )
        held = (self.u == 0) & (self.a == 0)
        if held.any():
            bound = np.where(held, 0.0, bound)
        return bound if bound.shape == expected.shape else np.broadcast_to(bound, expected.shape)

    def same_as(self, other: Tolerance) -> bool:
        """Whether both are stored alike."""
        if self.sample is None or other.sample is None:
            alike = self.sample is other.sample
        else:
            alike = self.sample.same_as(other.sample)
        return (
            alike and self.eta == other.eta
            and np.array_equal(self.u, other.u) and np.array_equal(self.a, other.a)
        )  # fmt: skip


RAISES_ON_NAN = "raises-on-nan"
"""The choice of a function of probabilities that documents their range, to raise on a NaN (CH-9)."""


@dataclass(frozen=True)
class Variant:
    """Another outcome that the specification permits, by name."""

    name: str
    raises: bool = False
    outputs: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DocumentedChoice:
    """The outcome of another definition that the field documents (spec/choices.md), certified on its own.

    It is met by an answer all of whose outputs meet it, in the dtypes in which it differs from the
    specification's definition and its constants exist.
    """

    name: str
    dtypes: tuple[str, ...]
    expected: Mapping[str, Expected]
    tolerances: Mapping[str, Tolerance]
