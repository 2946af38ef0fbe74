"""Arrays of every rank, every axis of them, and axes of length 1 and 0."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from tests.families import DTYPES, Topic

# Lengths that differ, so that two axes cannot be taken for one another unnoticed.
SHAPES = ((5,), (2, 5), (2, 3, 4), (2, 3, 2, 4), (2, 1, 3, 2, 2))
# First, middle and last axis from both ends; rank 3 has all spellings.
AXES: dict[int, tuple[int, ...]] = {
    1: (0, -1),
    2: (0, -1),
    3: (0, 1, 2, -3, -2, -1),
    4: (0, -3, 3),
    5: (-5, 2, -1),
}
# The axis of length 1, and axes of length 1 around it.
ONES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((1, 3, 2), 0),
    ((3, 1, 2), 1),
    ((3, 2, 1), -1),
    ((1, 3, 1), 1),
    ((1, 1, 3), -1),
    ((1, 1, 1), -2),
)
EMPTY: tuple[tuple[tuple[int, ...], int], ...] = (((0, 3), 1), ((3, 0), 0), ((2, 3, 0), -2))
# By the axis functions: the clause of the axis, and the clause of a single class where there is one.
WITH_AXIS = {
    "softmax": "SM-6", "log_softmax": "LSM-1", "euclidean_distance": "ED-2", "cross_entropy": "CE-17",
    "softmax_cross_entropy": "CE-17", "sparse_softmax_cross_entropy": "CE-17",
}  # fmt: skip
# Compilers make a program of each, so that the quick set takes few.
QUICK = ("rank-2-axis-0", "rank-3-axis-1", "weight-of-a-row")
# Functions in which every element stands for itself.
ELEMENTWISE = {"sigmoid": "SG-1", "log_sigmoid": "LSG-1"}
LOSSES = {"l2_loss": "L2-1", "binary_cross_entropy": "BCE-1", "sigmoid_cross_entropy": "BCE-8"}
# Weights with fewer axes than the elements, all of one length, so that either end fits.
CUBE, FEWER = (3, 3, 3), {"a-row": (3,), "a-matrix": (3, 3), "a-column": (3, 1)}


def topics() -> Iterator[Topic]:
    for function, clause in ELEMENTWISE.items():
        yield Topic(
            function,
            "ranks",
            "An array of any rank gives one of the same shape.",
            [_elementwise(clause, shape) for shape in SHAPES],
        )
    for function, clause in LOSSES.items():
        cases = [_loss(function, clause, f"rank-{len(s)}", _rank_why(s), s) for s in SHAPES]
        if function != "l2_loss":
            cases += [
                _loss(
                    function, "BCE-6", f"weight-of-{name}", "a weight of fewer axes has the last ones", CUBE,
                    {"weight": _random("choice", shape, 5, of=[0.5, 2, 3, 0.25])},
                )
                for name, shape in FEWER.items()
            ]  # fmt: skip
        yield Topic(function, "ranks", "An array of any rank has a loss per element.", _quick(cases))
    for function, clause in WITH_AXIS.items():
        yield Topic(
            function,
            "ranks",
            "The axis is any axis of an array of any rank, counted from the front or from the end.",
            _quick([*_axes(function, clause)]),
        )


def _quick(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [case if case["id"] in QUICK else case | {"thorough": True} for case in cases]


def _elementwise(clause: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "id": f"rank-{len(shape)}",
        "clause": clause,
        "level": "required",
        "why": _rank_why(shape),
        "dtypes": DTYPES,
        "inputs": {"logits": {"random": "normal", "shape": list(shape), "seed": 20 + len(shape), "scale": 2}},
    }


def _rank_why(shape: tuple[int, ...]) -> str:
    return f"an implementation for other ranks than {len(shape)} refuses this or flattens it"


def _loss(
    function: str, clause: str, name: str, why: str, shape: tuple[int, ...], weights: Any = None
) -> dict[str, Any]:
    fractions = {"low": 0.125, "high": 0.875}
    inputs = {
        "l2_loss": {
            "prediction": _random("normal", shape, 1, scale=2),
            "target": _random("normal", shape, 4),
        },
        "binary_cross_entropy": {
            "probabilities": _random("uniform", shape, 1, **fractions),
            "target": _random("uniform", shape, 4, **fractions),
        },
        "sigmoid_cross_entropy": {
            "logits": _random("normal", shape, 1, scale=2),
            "target": _random("uniform", shape, 4, **fractions),
        },
    }[function]
    return {
        "id": name, "clause": clause, "level": "required", "why": why, "dtypes": DTYPES,
        "inputs": inputs, "parameters": {**(weights or {}), "reduction": "none"},
    }  # fmt: skip


def _axes(function: str, clause: str) -> Iterator[dict[str, Any]]:
    for rank, axes in AXES.items():
        for axis in axes:
            why = f"another axis than {_words(axis, rank)} of rank {rank} gives other rows"
            yield _case(function, clause, f"rank-{rank}-{_spelled(axis)}", why, SHAPES[rank - 1], axis)
    for shape, axis in ONES:
        name = f"{_lengths(shape)}-{_spelled(axis)}"
        why = "an axis of length 1 is an axis like others, and is not squeezed away"
        yield _case(function, clause, name, why, shape, axis)
    for shape, axis in EMPTY:
        name = f"{_lengths(shape)}-{_spelled(axis)}"
        yield _case(function, "G-1", name, "no rows give no results, of the shape that is left", shape, axis)


def _case(
    function: str, clause: str, name: str, why: str, shape: tuple[int, ...], axis: int
) -> dict[str, Any]:
    place = axis % len(shape)
    parameters: dict[str, Any] = {"axis": axis}
    if "cross_entropy" in function:
        parameters["reduction"] = "none"
    return {
        "id": name, "clause": clause, "level": "required", "why": why, "dtypes": DTYPES,
        "inputs": _inputs(function, shape, place), "parameters": parameters,
        # A constant cotangent has no gradient through a softmax.
        **({"cotangent": _random("choice", shape, 3, of=[1, -0.5, 2])} if function == "softmax" else {}),
    }  # fmt: skip


def _inputs(function: str, shape: tuple[int, ...], place: int) -> dict[str, Any]:
    rows, classes = shape[:place] + shape[place + 1 :], shape[place]
    numbers = _random("normal", shape, 1, scale=2)
    if function == "euclidean_distance":
        return {"prediction": numbers, "target": _random("normal", shape, 4)}
    if function.endswith("cross_entropy") and not function.startswith("sparse"):
        # Rows that add up to 1: three quarters of one class and a quarter of the next as the target.
        classes_of = np.arange(prod(rows)) % classes
        one, next_one = np.eye(classes)[classes_of], np.eye(classes)[(classes_of + 1) % classes]
        target = _along(0.75 * one + 0.25 * next_one, rows, place)
        if function == "softmax_cross_entropy":
            return {"logits": numbers, "target": target}
        return {
            "probabilities": _along(next_one + (1 - classes * next_one) / 8, rows, place),
            "target": target,
        }
    if function == "sparse_softmax_cross_entropy":
        labels: dict[str, Any] = _random("integers", rows, 6, high=classes)
        return {"logits": numbers, "labels": labels}
    return {"logits": numbers}


def _along(each: Any, rows: tuple[int, ...], place: int) -> Any:
    """Rows (n, C) as an array with its classes at a place; an empty one is described."""
    array = np.moveaxis(each.reshape((*rows, each.shape[-1])), -1, place)
    return array if array.size else {"full": 0, "shape": list(array.shape)}


def _random(kind: str, shape: tuple[int, ...], seed: int, **rest: Any) -> dict[str, Any]:
    return {"random": kind, "shape": list(shape), "seed": 10 * seed + len(shape), **rest}


def _lengths(shape: tuple[int, ...]) -> str:
    return "-by-".join(map(str, shape))


def _spelled(axis: int) -> str:
    return f"axis-{axis}" if axis >= 0 else f"axis-minus-{-axis}"


def _words(axis: int, rank: int) -> str:
    place = axis % rank
    return "the first" if place == 0 else "the last" if place == rank - 1 else "the middle one"
