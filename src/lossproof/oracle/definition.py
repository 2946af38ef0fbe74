"""What a definition is, and the register that definitions enter themselves in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.inputs import materialize
from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.oracle.bounds import Floats
from lossproof.oracle.reading import Array, Arrays, Parameters, Reader, Reading, subnormal
from lossproof.oracle.result import Output

Inputs = dict[str, npt.NDArray[Any]]
Outputs = dict[str, Output]


class Arguments:
    """What one evaluation depends on beside the arrays, and which outputs it is wanted for.

    Attributes:
        parameters: by name.
        cotangent: of the result's shape; None for ones.
        coarsest: the dtype of the largest roundoff.
        wanted: names of outputs.
        tangents: directions of ``jvp`` and ``hvp`` by array.
    """

    def __init__(
        self,
        parameters: Parameters,
        cotangent: Floats | None,
        coarsest: FloatType,
        wanted: Collection[str],
        tangents: Mapping[str, Floats] | None = None,
    ) -> None:
        self.parameters = parameters
        self.cotangent = cotangent
        self.coarsest = coarsest
        self.wanted = wanted
        self.tangents = tangents or {}

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    def wants(self, output: str) -> bool:
        """Whether an output is asked for; what is not may be left out."""
        return output in self.wanted

    def array(self, name: str, shape: tuple[int, ...]) -> Floats | None:
        """An array-valued parameter, broadcast to ``shape`` and flattened."""
        value = self.parameters[name]
        if value is None:
            return None
        return np.broadcast_to(materialize(value, integer=False), shape).ravel()


Evaluate = Callable[[Inputs, Arguments], Outputs]
Ignored = Callable[[Arrays, Parameters], Array]


@dataclass(frozen=True)
class Definition:
    """A function of the specification, executable, with what is known about it.

    The facts are what the laws of ``lossproof.fuzz`` rest on; one that is not stated is not tested.

    Attributes:
        evaluate: outputs in ball arithmetic, of float64 and int64 arrays.
        reader: which clause decides a call, and how strictly.
        symmetric: reordering the classes (or the elements, where there is no axis) reorders the
            outputs alike.
        shift_invariant: a common offset of a row's logits changes nothing.
        normalised: the rows of the result add up to 1.
        ignored: which elements of the leading array contribute nothing.
        one_hot: the function of dense targets that this one is for one-hot rows of its labels.
        composed: the function of the logits and the function of its result that this one is.
    """

    evaluate: Evaluate
    reader: Reader
    symmetric: bool = False
    shift_invariant: bool = False
    normalised: bool = False
    ignored: Ignored | None = None
    one_hot: str | None = None
    composed: tuple[str, str] | None = None

    def read(self, arrays: Arrays, parameters: Parameters, dtype: str) -> Reading:
        """The clause that decides a call in a dtype, of exact arrays (float64 and int64)."""
        # Of integers a reader asks nothing that depends on their dtype.
        float_type = FLOAT_TYPES.get(dtype, FLOAT_TYPES["float64"])
        with np.errstate(all="ignore"):
            reading = self.reader(arrays, parameters, float_type)
        floats = [array for array in arrays.values() if array.dtype.kind == "f"]
        strict = reading.defined and reading.level == "required"
        if strict and any(subnormal(array, float_type) for array in floats):
            # That a subnormal input is taken as it is, is recommended only (G-8). What else the
            # specification permits, or leaves open, stays so.
            return replace(reading, clause="G-8", level="recommended")
        return reading


# By function; ``lossproof.oracle.definitions`` fills it.
REGISTER: dict[str, Definition] = {}


def define(name: str, reader: Reader, **facts: Any) -> Callable[[Evaluate], Evaluate]:
    """Register what is decorated as the definition of a function of the table."""

    def register(evaluate: Evaluate) -> Evaluate:
        REGISTER[name] = Definition(evaluate, reader, **facts)
        return evaluate

    return register


# By function what it gives beyond value and usual gradients: ``jvp``, ``hvp.<array>`` and the gradients of
# the arrays that a case may name beside them.
DERIVATIVES: dict[str, Evaluate] = {}


def differentiate(*names: str) -> Callable[[Evaluate], Evaluate]:
    """Register what is decorated as the further derivatives of functions of the table."""

    def register(evaluate: Evaluate) -> Evaluate:
        DERIVATIVES.update(dict.fromkeys(names, evaluate))
        return evaluate

    return register
