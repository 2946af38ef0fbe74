"""Metamorphic laws: what must hold between calls, whatever the values are.

A law makes other cases of a case that passed, has them run, and says what disagrees. The other cases
are judged against the oracle as well, so a law that is broken where all of them pass has found an error
in the specification or the oracle, or a result that is not bit for bit independent of what is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Tolerance
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS, Function
from lossproof.fuzz.strategies import rounded
from lossproof.oracle.definition import Definition
from lossproof.oracle.definitions import definition

Array = npt.NDArray[Any]
# Outputs by name: float64 values, and what the case allows each element to be off by.
Measured = Mapping[str, tuple[Array, Array]]
Run = Callable[[Case], Measured]
Law = Callable[[Case, Measured, Run, np.random.Generator], str | None]


class Inapplicable(Exception):
    """A law says nothing about a case (or about one that it was made into)."""


def _other(case: Case, inputs: Mapping[str, Any], function: Function | None = None, **fields: Any) -> Case:
    """The case with other inputs, perhaps of another function; its expectation is dropped."""
    chosen = function or case.function
    changes: dict[str, Any] = {
        "function": chosen,
        "inputs": {
            array.name: inputs.get(array.name, case.inputs.get(array.name)) for array in chosen.arrays
        },
        "parameters": {p.name: case.parameters.get(p.name, p.default) for p in chosen.parameters},
        "expected": None,
        "tolerances": {},
        "variants": (),
    }
    if function is not None:
        changes |= {"layout": {}, "wrt": tuple(name for name in case.wrt if name in chosen.wrt)}
    return replace(case, **changes, **fields)


def _apply(condition: bool) -> None:
    if not condition:
        raise Inapplicable


def _disagreement(
    name: str, left: tuple[Array, Array], right: tuple[Array, Array], slack: Array | float = 0.0
) -> str | None:
    (a, allowed_a), (b, allowed_b) = left, right
    if a.shape != b.shape:
        return f"{name} has shape {a.shape} in one and {b.shape} in the other"
    with np.errstate(invalid="ignore"):
        close = (np.abs(a - b) <= allowed_a + allowed_b + slack) | (a == b) | (np.isnan(a) & np.isnan(b))
    if close.all():
        return None
    worst = tuple(int(i) for i in np.argwhere(~close)[0])
    place = f"{name}{list(worst) if worst else ''}"
    return f"{place} is {float(a[worst])!r} in one and {float(b[worst])!r} in the other"


def _outputs_disagree(left: Measured, right: Measured) -> str | None:
    found = (_disagreement(name, left[name], right[name]) for name in left if name in right)
    return next((message for message in found if message), None)


def _defined(case: Case) -> Definition:
    return definition(case.function.name)


def _class_axis(case: Case) -> int:
    return int(case.parameters.get("axis", -1))


def shift_invariance(case: Case, outputs: Measured, run: Run, generator: np.random.Generator) -> str | None:
    """A common offset of all logits changes nothing."""
    _apply(_defined(case).shift_invariant)
    (dtype,) = case.dtypes
    name = case.function.leading.name
    x = case.exact_arrays[name]
    step = float(generator.choice([1.0, -2.0, 8.0, 64.0, -512.0]))
    with np.errstate(invalid="ignore"):
        shifted = x + step
        # What the addition lost (Knuth's two-sum).
        lost = (x - (shifted - (shifted - x))) + (step - (shifted - x))
    exact = (lost == 0) | ~np.isfinite(x)
    # Only where the sums are exact is the shifted row the same row.
    _apply(bool(exact.all()) and np.array_equal(rounded(shifted, dtype), shifted, equal_nan=True))
    return _outputs_disagree(outputs, run(_other(case, {name: shifted})))


def permutation(case: Case, outputs: Measured, run: Run, generator: np.random.Generator) -> str | None:
    """Reordering the classes, or the elements of an elementwise function, reorders the outputs alike."""
    _apply(_defined(case).symmetric and case.cotangent is None and not _has_array_parameters(case))
    first = case.exact_arrays[case.function.leading.name]
    _apply(first.ndim > 0 and first.size > 1 and case.parameters.get("ignore_index") is None)
    axis = int(case.parameters.get("axis", generator.integers(first.ndim)))
    order = generator.permutation(first.shape[axis])
    inputs: dict[str, Array] = {}
    for array in case.function.arrays:
        values = case.exact_arrays[array.name]
        if array.integer:
            _apply(bool(((values >= 0) & (values < len(order))).all()))
            # Labels name classes: class order[i] is now called i.
            inputs[array.name] = np.argsort(order)[values]
        else:
            inputs[array.name] = values.take(order, axis=axis)
    others = run(_other(case, inputs))
    reordered = {
        name: (value.take(order, axis), allowed.take(order, axis))
        if value.shape == first.shape
        else (value, allowed)
        for name, (value, allowed) in outputs.items()
    }
    return _outputs_disagree(reordered, others)


def rows_sum(case: Case, outputs: Measured, run: Run, generator: np.random.Generator) -> str | None:
    """Rows of a softmax add up to 1, rows of the gradient of what is shift-invariant to 0."""
    defined, axis = _defined(case), _class_axis(case)
    _apply(defined.normalised or defined.shift_invariant)
    for name, (values, allowed) in outputs.items():
        applies = defined.normalised if name == "value" else defined.shift_invariant
        if not applies or not values.size:
            continue
        due = 1.0 if name == "value" else 0.0
        sums = values.sum(axis=axis)
        summing = 2.0**-52 * values.shape[axis] * np.abs(values).sum(axis=axis)
        with np.errstate(invalid="ignore"):
            wrong = np.abs(sums - due) > allowed.sum(axis=axis) + summing
        if wrong.any():
            found = float(np.asarray(sums)[wrong].flat[0])
            return f"a row of {name} adds up to {found!r}, not {due:g}"
    return None


def rows(case: Case) -> Iterator[Case]:
    """Each row of a case of several alone, where the first axis of all arrays is of rows."""
    arrays = case.exact_arrays
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or case.cotangent is not None or _has_array_parameters(case):
        return
    for row in range(*lengths.pop() or (0,)):
        yield _other(case, {name: array[row : row + 1] for name, array in arrays.items()})


def splitting(case: Case, outputs: Measured, run: Run, generator: np.random.Generator) -> str | None:
    """The losses of a batch's parts, one after the other or added up, are those of the batch."""
    _apply(case.parameters.get("reduction") in ("none", "sum"))
    _apply(case.cotangent is None and not _has_array_parameters(case))
    arrays = case.exact_arrays
    first = arrays[case.function.arrays[0].name]
    _apply(first.ndim > 0 and first.shape[0] > 1)
    _apply("axis" not in case.parameters or case.parameters["axis"] % first.ndim != 0)
    cut = int(generator.integers(1, first.shape[0]))
    low, high = (
        run(_other(case, {name: array[part] for name, array in arrays.items()}))
        for part in (slice(None, cut), slice(cut, None))
    )
    for name, measured in outputs.items():
        _apply(name in low and name in high)
        (a, allowed_a), (b, allowed_b) = low[name], high[name]
        if name == "value" and case.parameters["reduction"] == "sum":
            with np.errstate(invalid="ignore"):
                joined = (a + b, allowed_a + allowed_b)
        else:
            joined = (np.concatenate([a, b]), np.concatenate([allowed_a, allowed_b]))
        message = _disagreement(name, measured, joined)
        if message:
            return message
    return None


def ignored_replaced(case: Case, outputs: Measured, run: Run, generator: np.random.Generator) -> str | None:
    """What is ignored may hold anything: the result keeps every bit."""
    which = _defined(case).ignored
    if which is None:
        raise Inapplicable
    name = case.function.leading.name
    values, dropped = case.exact_arrays[name].copy(), which(case.exact_arrays, case.parameters)
    _apply(bool(dropped.any()))
    values[dropped] = generator.choice([np.nan, np.inf, -np.inf, 0.0, 30000.0, 0.5], int(dropped.sum()))
    others = run(_other(case, {name: values}))
    for output, (value, _) in outputs.items():
        _apply(output in others)
        if not np.array_equal(value, others[output][0], equal_nan=True):
            return f"{output} depends on what is ignored"
    return None


def one_hot(case: Case, outputs: Measured, run: Run, generator: np.random.Generator) -> str | None:
    """Integer labels and their one-hot rows have the same loss and gradient."""
    dense = _defined(case).one_hot
    if dense is None:
        raise Inapplicable
    _apply(case.parameters["weight"] is None and case.parameters["ignore_index"] is None)
    labels, axis = case.exact_arrays["labels"], case.parameters["axis"]
    classes = case.exact_arrays[case.function.leading.name].shape[axis]
    _apply(bool(((labels >= 0) & (labels < classes)).all()))
    target = np.moveaxis(np.eye(classes)[labels], -1, axis)
    return _outputs_disagree(outputs, run(_other(case, {"target": target}, FUNCTIONS[dense])))


def probabilities(case: Case, outputs: Measured, run: Run, generator: np.random.Generator) -> str | None:
    """The loss from logits is that from the backend's own probabilities, but for their rounding."""
    composed = _defined(case).composed
    if composed is None:
        raise Inapplicable
    _apply(case.parameters["reduction"] != "mean")
    _apply(not case.parameters.get("label_smoothing") and not _has_array_parameters(case))
    y = case.exact_arrays["target"]
    _apply(bool(np.isfinite(case.exact_arrays["logits"]).all() and np.isfinite(y).all()))
    first, second = (FUNCTIONS[name] for name in composed)
    p, off = run(_other(case, {}, first, cotangent=None))["value"]
    binary = "axis" not in case.parameters
    # To first order the loss moves by y/p times the error of p; where p is too small for that, by more.
    masses = [(y, p), (1 - y, 1 - p)] if binary else [(y, p)]
    effect = np.zeros(y.shape)
    for mass, probability in masses:
        used = mass > 0
        _apply(bool((off[used] < probability[used] / 8).all()))
        effect[used] += 2 * mass[used] * off[used] / probability[used]
    if not binary:
        effect = effect.sum(axis=case.parameters["axis"])
    slack = effect.sum() if case.parameters["reduction"] == "sum" else effect
    others = run(_other(case, {"probabilities": p}, second, cotangent=None))
    return _disagreement("value", outputs["value"], others["value"], slack)


def _has_array_parameters(case: Case) -> bool:
    kinds = {p.name for p in case.function.parameters if p.kind == "array"}
    return any(case.parameters[name] is not None for name in kinds)


LAWS: Mapping[str, Law] = {
    "shift invariance": shift_invariance,
    "permutation": permutation,
    "rows sum to one, gradient rows to zero": rows_sum,
    "splitting a batch": splitting,
    "ignored elements replaced": ignored_replaced,
    "integer labels against one-hot": one_hot,
    "probabilities against logits": probabilities,
}


def allowance(expected: Array, tolerance: Tolerance, dtype: str) -> Array:
    """What a tolerance allows at each element; nothing where the expectation is not finite."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(expected), tolerance.bounds(expected, FLOAT_TYPES[dtype]), 0.0)
