"""What a case is: inputs, the outputs that the definition demands, and what else is permitted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lossproof.case.expected import DocumentedChoice, Expected, Tolerance, Variant
from lossproof.case.inputs import is_description, materialize
from lossproof.core.functions import Function
from lossproof.core.text import display
from lossproof.errors import InputError

# The arrays of a case of at most so many elements are built once; a case that is kept must not keep more.
MAX_KEPT = 2**14


@dataclass(frozen=True, eq=False)
class Case:
    """One case: inputs, the outputs that the definition demands, and what else is permitted.

    Outputs are called ``value``, ``gradients.<array>``, ``jvp`` and ``hvp.<array>``. ``expected`` is None
    for a case that has not been certified yet. ``vacuous`` names outputs that nonsense would pass, with the
    reason; ``choices`` are the outcomes of other definitions that the field documents. A ``thorough`` case
    is left out of the quick set.

    A case is ``huge`` whose arrays, what is expected among them, lie one behind the other ``times`` times
    along their first axis. Everything here is of one of these copies.
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
    tolerances: Mapping[str, Tolerance]
    variants: tuple[Variant, ...]
    vacuous: Mapping[str, str]
    choices: tuple[DocumentedChoice, ...]
    path: Path
    line: int
    about: str
    thorough: bool = False
    times: int = 1
    tangents: Mapping[str, Any] = field(default_factory=dict)
    """The directions of ``jvp`` and ``hvp``, by array; without any, neither is asked for."""
    distribution: bool = False
    """Whether its errors are judged together, too (T-13)."""

    @property
    def huge(self) -> bool:
        return self.times > 1

    @property
    def weights_moved(self) -> tuple[str, ...]:
        """The weights that gradients are asked for with respect to."""
        return tuple(name for name in self.wrt if name in self.function.weights)

    @property
    def exact_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The inputs as float64 and int64 arrays, before the rounding-free cast to a dtype."""
        small = sum(math.prod(self.shape_of(name)) for name in self.inputs) <= MAX_KEPT
        return self._kept_arrays if small else self._built_arrays()

    @cached_property
    def _kept_arrays(self) -> dict[str, npt.NDArray[Any]]:
        return self._built_arrays()

    def _built_arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            array.name: materialize(self.inputs[array.name], array.integer) for array in self.function.arrays
        }

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of an input, which need not be built for it."""
        spec = self.inputs[name]
        return tuple(spec["shape"]) if is_description(spec) else spec.shape

    def in_copy(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """Where an element of an array of the whole lies in one copy; outside of that if of the whole."""
        if not self.huge or not index:
            return index
        row, *rest = index
        rows = self.shape_of(self.function.leading.name)[0]
        return row % rows if row < rows * self.times else row, *rest

    def complain(self, message: str) -> InputError:
        return InputError(display(self.path), self.line, f"case {self.id}: {message}")
