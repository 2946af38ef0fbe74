"""What the required cases say of an implementation that narrows one of its arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.case.random import round_significand
from lossproof.core.functions import Function
from lossproof.core.verdicts import FAILURES
from lossproof.engine.call import ask
from lossproof.engine.judge import records
from lossproof.registry.deviations import Deviations
from tests.detection import required

# The significant bits that are left of each dtype's: those of float32, TF32, bfloat16 and an 8-bit float.
BITS = {"float64": 24, "float32": 11, "float16": 8, "bfloat16": 4}
_ADAPTER, _NONE = NumpyAdapter(), Deviations([], "", "", "")


def float_arguments(function: Function) -> Iterator[str]:
    """The floating-point arrays that a call takes: arguments, parameters and the cotangent."""
    if function.has_float_arrays:
        yield from (array.name for array in function.arrays if not array.integer)
    yield from (parameter.name for parameter in function.parameters if parameter.kind == "array")
    if function.wrt:
        yield "cotangent"


def narrowed(case: Case, argument: str, dtype: str) -> Case | None:
    """The case with one array rounded, or None where it has not the array or that changes nothing."""
    if argument == "cotangent":
        given = case.cotangent
    elif argument in case.parameters:
        given = case.parameters[argument]
    else:
        given = case.inputs[argument]
    if given is None:
        return None
    exact = materialize(given, integer=False)
    rounded = round_significand(exact, BITS[dtype])
    if np.array_equal(exact, rounded, equal_nan=True):
        return None
    if argument == "cotangent":
        return replace(case, cotangent=rounded)
    if argument in case.parameters:
        return replace(case, parameters={**case.parameters, argument: rounded})
    return replace(case, inputs={**case.inputs, argument: rounded})


def fails(case: Case, argument: str, dtype: str) -> bool:
    """Whether an implementation that is right but for narrowing the argument fails the case."""
    other = narrowed(case, argument, dtype)
    if other is None:
        return False
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        judged = records(case, dtype, "narrowing", ask(_ADAPTER, other, dtype), _NONE)
    return any(record.verdict in FAILURES for record in judged)


@cache
def _cases(function: str, dtype: str) -> list[Any]:
    """Those of the family first, as they fail soonest."""
    own = [case for case in required() if case.function.name == function and dtype in case.dtypes]
    return sorted(own, key=lambda case: "/narrowing/" not in case.id)


def narrowing_caught(function: str, argument: str, dtype: str) -> str | None:
    """A required case that fails where an argument of a dtype is narrowed, by its id."""
    return next((case.id for case in _cases(function, dtype) if fails(case, argument, dtype)), None)
