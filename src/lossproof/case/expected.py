"""What is demanded of an output: elements or their sums, how far off they may be, what else is permitted.

Needs NumPy and the generator alone, so that standalone scripts can carry its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case import random


@dataclass(frozen=True)
class Sketch:
    """What is stored of a tensor too large to list.

    ``sums[p][b]`` is the sum over the b-th of equally long blocks of the flattened tensor of its
    elements times the p-th pattern of signs (seeds ``seed``, ``seed + 1``, …).
    """

    shape: tuple[int, ...]
    seed: int
    sums: npt.NDArray[np.float64]

    def of(self, tensor: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The same sums of another tensor of the same shape."""
        flat = np.asarray(tensor, dtype=np.float64).ravel()
        patterns, blocks = self.sums.shape
        signed = [flat * random.signs(self.seed + p, flat.size) for p in range(patterns)]
        return np.array([[row[block].sum() for block in block_slices(flat.size, blocks)] for row in signed])


def block_slices(size: int, blocks: int) -> list[slice]:
    """The ``blocks`` nearly equal blocks of a flattened tensor."""
    return [slice(b * size // blocks, (b + 1) * size // blocks) for b in range(blocks)]


Expected = npt.NDArray[Any] | Sketch


@dataclass(frozen=True)
class Tolerance:
    """|actual − expected| ≤ abs + rel·|expected|; with ``zeros``, an expected 0 must be exactly 0."""

    rel: float
    abs: float
    zeros: bool = False


@dataclass(frozen=True)
class Variant:
    """Another outcome that the specification permits, by name."""

    name: str
    raises: bool = False
    outputs: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
