"""What a case is: inputs, the outputs that the definition demands, and what else is permitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case import random
from lossproof.case.inputs import is_description, materialize
from lossproof.core.functions import Function
from lossproof.core.text import display
from lossproof.errors import InputError


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


@dataclass(frozen=True, eq=False)
class Case:
    """One case: inputs, the outputs that the definition demands, and what else is permitted.

    Outputs are called ``value`` and ``gradients.<array>``. ``expected`` is None for a case that
    has not been certified yet.
    """

    id: str
    function: Function
    clause: str
    level: str
    why: str
    dtypes: tuple[str, ...]
    inputs: Mapping[str, Any]
    parameters: Mapping[str, Any]
    cotangent: Any
    layout: Mapping[str, str]
    wrt: tuple[str, ...]
    expected: Mapping[str, Expected] | None
    tolerances: Mapping[str, Mapping[str, Tolerance]]
    variants: tuple[Variant, ...]
    path: Path
    line: int
    about: str

    @cached_property
    def exact_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The inputs as float64 and int64 arrays, before the rounding-free cast to a dtype."""
        return {
            array.name: materialize(self.inputs[array.name], array.integer) for array in self.function.arrays
        }

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of an input, which need not be built for it."""
        spec = self.inputs[name]
        return tuple(spec["shape"]) if is_description(spec) else spec.shape

    def complain(self, message: str) -> InputError:
        return InputError(display(self.path), self.line, f"case {self.id}: {message}")
