"""The calls that the laws of a case's call need, and on which cases of the suite they are made.

The sample is the same on every machine (spec/general.md, "Laws of a call").
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter
from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.core.resources import folder
from lossproof.engine.answer import Answer, ask_second_backward, with_threads
from lossproof.engine.call import ask, prepare
from lossproof.engine.laws import Due, Further, orders

EVERY = 16
"""One of so many cases and dtypes is asked again, beside the first ordinary one of each function."""


def sampled(case: Case, dtype: str) -> bool:
    """Whether a case is asked again in a dtype, for the laws that need more than one call."""
    if case.huge:
        return False  # a second call takes as much memory again
    first = [one.id for one in _ordinary(case.function.name)[:1]]
    return case.id in first or zlib.crc32(f"{case.id} {dtype}".encode()) % EVERY == 0


def due(case: Case, dtype: str) -> Due:
    """What is demanded of a case's outputs."""
    rows = case.shape_of(case.function.leading.name)[0] if case.distribution else 0
    return Due(case.expected or {}, case.tolerances, dtype, case.function.weights, rows)


def further(adapter: Adapter, case: Case, dtype: str) -> Further | None:
    """The calls beside a case's own, if the case is sampled."""
    if not sampled(case, dtype):
        return None
    other, other_dtype = other_call(case, dtype, adapter)

    def threads(count: int) -> Answer:
        with with_threads(adapter, count):
            return ask(adapter, case, dtype)

    summed = replace(case, parameters={**case.parameters, "reduction": "sum"})
    is_sum = case.parameters.get("reduction") == "sum"
    count = count_of_parts(case)
    return Further(
        alone=(lambda: ask(adapter, case, dtype, ["value"])) if len(case.expected or ()) > 1 else None,
        other=lambda: ask(adapter, other, other_dtype),
        what=f"{other.id} in {other_dtype}",
        again=lambda: ask(adapter, case, dtype),
        second_backward=lambda wrt: ask_second_backward(adapter, lambda: prepare(adapter, case, dtype), wrt),
        threads=threads,
        rows={
            when: (order, lambda order=order: ask(adapter, _taken(case, order), dtype))  # type: ignore[misc]
            for when, order in orders(rows_of(case, "none")).items()
        },
        parts=None
        if count < 2
        else (
            None if is_sum else lambda: ask(adapter, summed, dtype),
            lambda: ask(adapter, _taken(summed, [0]), dtype),
            lambda: ask(adapter, _taken(summed, range(1, count)), dtype),
        ),
    )


def count_of_parts(case: Case) -> int:
    """How many rows a case has that it sums up, or averages over; or 0."""
    return max(rows_of(case, "sum"), rows_of(case, "mean"))


def rows_of(case: Case, reduction: str) -> int:
    """How many rows along the first axis a case has that are independent of each other; or 0.

    They are where the reduction is this one, or where ``none`` is meant and the function has no other.
    """
    assert case.expected is not None
    first = case.shape_of(case.function.leading.name)
    shapes = [case.shape_of(array.name) for array in case.function.arrays]
    if reduction == "none":
        shapes.append(case.expected["value"].shape)
    elif case.parameters.get("reduction") != reduction:
        return 0
    separate = all(shape[:1] == first[:1] != () for shape in shapes)
    axis = case.parameters.get("axis")
    across = axis is not None and axis % len(first) == 0
    return first[0] if separate and not across and not case.layout and not _by_row(case) - {first} else 0


def _by_row(case: Case) -> set[tuple[int, ...]]:
    """The shapes of weights with as many axes as the inputs: of each row, that is."""
    rank = len(case.shape_of(case.function.leading.name))
    shapes = {np.shape(_array(value)) for _, value in _weights(case)}
    return {shape for shape in shapes if len(shape) >= rank}


def _weights(case: Case) -> list[tuple[str, Any]]:
    names = [parameter.name for parameter in case.function.parameters if parameter.kind == "array"]
    return [(name, case.parameters[name]) for name in names if case.parameters[name] is not None]


def weights_of_rows(case: Case) -> tuple[str, ...]:
    """The weights that have a number for each row, or each element of it."""
    rank = len(case.shape_of(case.function.leading.name))
    return tuple(name for name, value in _weights(case) if _array(value).ndim == rank)


def _array(spec: Any) -> npt.NDArray[Any]:
    return materialize(spec, integer=False)


def _taken(case: Case, order: Sequence[int]) -> Case:
    """The case with some of its rows."""
    inputs = {name: array[list(order)] for name, array in case.exact_arrays.items()}
    by_row = weights_of_rows(case)
    weights = {name: _array(value) for name, value in _weights(case)}
    weights |= {name: weights[name][list(order)] for name in by_row}
    cotangent = None if case.cotangent is None else _array(case.cotangent)
    if cotangent is not None and cotangent.ndim:
        cotangent = cotangent[list(order)]
    tangents = {name: _array(spec)[list(order)] for name, spec in case.tangents.items()}
    return replace(
        case,
        inputs=inputs,
        parameters={**case.parameters, **weights},
        cotangent=cotangent,
        tangents=tangents,
    )


@lru_cache(maxsize=32)
def _ordinary(function: str) -> tuple[Case, ...]:
    """Plain cases of a function."""
    files = sorted((folder("cases") / function).glob("*.yaml"), key=lambda path: path.stem != "ordinary")
    return tuple(load_file(files[0])) if files else ()


def other_call(case: Case, dtype: str, adapter: Adapter) -> tuple[Case, str]:
    """A call of the same function with other shapes or parameters, and in another dtype if there is one."""
    every = _ordinary(case.function.name) or (case,)
    names = [array.name for array in case.function.arrays]

    def kind(one: Case) -> object:
        return [one.shape_of(name) for name in names], repr(sorted(one.parameters.items()))

    other = next((one for one in every if kind(one) != kind(case)), every[0])
    dtypes = [name for name in other.dtypes if name != dtype and name in adapter.dtypes]
    return other, dtypes[0] if dtypes else dtype
