"""Ranks from 0 to 5, axes that are not the last, and axes of length 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lossproof.core.functions import Function

from .. import reference as ref
from .generated import AVERAGED, BY_AXIS, FLOATING, Given, float_arrays, generate, parameters_of

TOPICS = ("ranks", "axis", "ordinary")


def _misread(
    row: Function, when: Callable[[int, int], bool], order: Callable[[Any, int], Any]
) -> Callable[[Given, Given], None]:
    """Floating-point arrays are read in another order where ``when`` says so of rank and axis."""

    def change(arrays: Given, parameters: Given) -> None:
        for name in float_arrays(row):
            x = arrays[name]
            axis = parameters["axis"] % x.ndim if x.ndim else 0
            if when(x.ndim, axis):
                arrays[name] = order(x, axis)

    return change


def as_last(x: Any, axis: int) -> Any:
    """The elements in memory's order, as if the axis were the last."""
    shape = np.moveaxis(x, axis, -1).shape
    return np.moveaxis(np.ascontiguousarray(x).reshape(shape), -1, axis)


def as_first(x: Any, axis: int) -> Any:
    shape = np.moveaxis(x, axis, 0).shape
    return np.moveaxis(np.ascontiguousarray(x).reshape(shape), 0, axis)


def as_second(x: Any, axis: int) -> Any:
    """As if the axis were the second (channels first)."""
    shape = np.moveaxis(x, axis, 1).shape
    return np.moveaxis(np.ascontiguousarray(x).reshape(shape), 1, axis)


for _row in BY_AXIS:
    for _suffix, _bug, _when, _order in (
        ("AxisAsLast", "Above rank 2 the axis is taken for the last.",
         lambda rank, axis: rank > 2 and axis != rank - 1, as_last),
        ("FirstAxisAsLast", "Above rank 2 a first axis is taken for the last.",
         lambda rank, axis: rank > 2 and axis == 0, as_last),
        ("MiddleAxisAsLast", "A middle axis is flattened as if it were the last.",
         lambda rank, axis: 0 < axis < rank - 1, as_last),
        ("MiddleAxisAsFirst", "A middle axis is flattened as if it were the first.",
         lambda rank, axis: 0 < axis < rank - 1, as_first),
        ("LastAxisAsFirst", "Above rank 2 the last axis is taken for the first.",
         lambda rank, axis: rank > 2 and axis == rank - 1, as_first),
        ("AxisAsSecond", "Above rank 3 the axis is taken for the second.",
         lambda rank, axis: rank > 3 and axis != 1, as_second),
        ("AxisAsLastAboveRankFour", "Above rank 4 the axis is taken for the last.",
         lambda rank, axis: rank > 4 and axis != rank - 1, as_last),
    ):  # fmt: skip
        generate(_row.name, _suffix, _bug, kind="ranks", topics=TOPICS, change=_misread(_row, _when, _order))


def _first_block(row: Function) -> Callable[[Given, Given], None]:
    """Above rank 4 every block is taken for the first one."""

    def change(arrays: Given, parameters: Given) -> None:
        for name in float_arrays(row):
            x = arrays[name]
            if x.ndim > 4 and x.size:
                arrays[name] = np.broadcast_to(x[:1], x.shape)

    return change


def _squeezed(found: Any, arrays: Given, parameters: Given) -> Any:
    return np.squeeze(found)


def _of_rank_one(row: Function) -> Callable[[Any, Given, Given], Any]:
    """A scalar of one row becomes an array of one element."""

    def result(found: Any, arrays: Given, parameters: Given) -> Any:
        scalar = not np.ndim(found) and arrays[row.leading.name].ndim <= ("axis" in parameters)
        return np.reshape(found, 1) if scalar else found

    return result


for _row in FLOATING:
    _any_rank = _row.leading.shape in ("*", "... C", "... D")
    if _any_rank:
        generate(
            _row.name, "FirstBlockAboveRankFour", "Above rank 4 all blocks are taken for the first.",
            kind="ranks", topics=TOPICS, change=_first_block(_row),
        )  # fmt: skip
    # Functions of a result per element of a row give no scalar.
    if _any_rank and _row.name not in ("softmax", "log_softmax"):
        generate(
            _row.name, "ScalarOfRankOne", "The smallest rank there is gives an array of one element.",
            kind="ranks", topics=TOPICS, result=_of_rank_one(_row),
        )  # fmt: skip
    if _row.result:
        generate(
            _row.name, "Squeezed", "Axes of length 1 are lost.",
            kind="ranks", topics=TOPICS, result=_squeezed,
        )  # fmt: skip


def _mean_over(row: Function, rank: Callable[[int], bool], divisor: Callable[[Any, int], float]) -> Any:
    """The mean divides by another number where the rank is such: ``divisor`` of the shape and the count."""

    def result(found: Any, arrays: Given, parameters: Given) -> Any:
        x = arrays[row.leading.name]
        if parameters["reduction"] != "mean" or not rank(x.ndim) or not x.size:
            return found
        count = x.size // x.shape[parameters["axis"]] if "axis" in parameters else x.size
        with np.errstate(all="ignore"):
            factor = np.float64(count) / divisor(x.shape, count)
            return (ref.wide(found) * factor).astype(found.dtype)

    return result


for _row in AVERAGED:
    if "reduction" not in parameters_of(_row) or _row.leading.shape not in ("*", "... C"):
        continue
    generate(
        _row.name, "MeanOverFirstAxis", "Above rank 2 the mean divides by the length of the first axis.",
        kind="ranks", topics=TOPICS,
        result=_mean_over(_row, lambda rank: rank > 2, lambda shape, n: shape[0]),
    )  # fmt: skip
    generate(
        _row.name, "MeanOverLastAxes", "Above rank 3 the mean leaves the first axis out of its divisor.",
        kind="ranks", topics=TOPICS,
        result=_mean_over(_row, lambda rank: rank > 3, lambda shape, n: n / shape[0]),
    )  # fmt: skip
    if "axis" in parameters_of(_row):
        generate(
            _row.name, "RowOfRankOneAsColumn", "The mean of a single row of rank 1 divides by its classes.",
            kind="ranks", topics=TOPICS,
            result=_mean_over(_row, lambda rank: rank == 1, lambda shape, n: shape[0]),
        )  # fmt: skip


def _shifted_axis(row: Function) -> Callable[[Given, Given], None]:
    """Where an axis of length 1 comes before the axis, another axis is taken: the last one left."""

    def change(arrays: Given, parameters: Given) -> None:
        for name in float_arrays(row):
            x = arrays[name]
            axis = parameters["axis"] % max(x.ndim, 1)
            if 1 in x.shape[:axis] and axis < x.ndim - 1:
                arrays[name] = as_last(x, axis)

    return change


for _row in BY_AXIS:
    generate(
        _row.name, "AxisAfterSqueezing", "Axes of length 1 are dropped before the axis is counted.",
        kind="ranks", topics=TOPICS, change=_shifted_axis(_row),
    )  # fmt: skip
