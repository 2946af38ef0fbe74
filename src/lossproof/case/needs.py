"""What a case needs of an implementation, derived from the case: flags by which a runner leaves cases out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Sketch
from lossproof.case.model import Case
from lossproof.core.functions import Values

# Rows of more elements are long: more than a block of threads of any device has.
LONG_ROW = 1024

FLAGS = {
    "gradients": "gradients are expected beside the value",
    "cotangent": "the gradients are weighted by a given cotangent",
    "tangents": "derivatives along given tangents, jvp and hvp",
    "axis": "an axis that is not the last",
    "reduction-none": "a loss that is not reduced",
    "reduction-sum": "a loss that is summed up",
    "ignore-index": "a label that is ignored",
    "weights": "weights of classes or elements",
    "label-smoothing": "labels that are smoothed",
    "soft-targets": "targets that are neither 0 nor 1",
    "wide-labels": "labels beyond 32 bits",
    "non-finite": "infinities or NaN among the inputs",
    "invalid": "inputs on which raising is permitted",
    "empty": "an array without elements",
    "long-rows": f"more than {LONG_ROW:,} elements along the axis, or the last one",
    "layout": "an array that lies in memory otherwise than in C order",
    "huge": "arrays past 2**31 elements: a case whose rows are repeated",
    "sums": "an output that is judged by sums over it and a sample",
}


def needs(case: Case, arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[str, ...]:
    """The flags of a case, in their order.

    Args:
        case: a case with expectations.
        arrays: its inputs, in any dtype.
    """
    given = case.parameters
    expected = case.expected or {}
    leading = arrays[case.function.leading.name]
    axis = given.get("axis")
    row = leading.shape[-1 if axis is None else axis] if leading.ndim else 1
    floats = [array for array in arrays.values() if array.dtype.kind != "i" and array.dtype.kind != "u"]
    integers = [array for array in arrays.values() if array.dtype.kind in "iu"]
    truths = [
        arrays[array.name]
        for array in case.function.arrays
        if array.values in (Values.TARGETS, Values.DISTRIBUTIONS)
    ]
    has = {
        "gradients": any(name.startswith("gradients.") for name in expected),
        "cotangent": case.cotangent is not None,
        "tangents": bool(case.tangents),
        "axis": axis is not None and axis % max(leading.ndim, 1) != leading.ndim - 1,
        "reduction-none": given.get("reduction") == "none",
        "reduction-sum": given.get("reduction") == "sum",
        "ignore-index": given.get("ignore_index") is not None,
        "weights": any(given.get(name) is not None for name in ("weight", "pos_weight")),
        "label-smoothing": bool(given.get("label_smoothing")),
        "soft-targets": any(((array != 0) & (array != 1)).any() for array in truths),
        "wide-labels": any((np.abs(array.astype(np.float64)) >= 2**31).any() for array in integers),
        "non-finite": any(not np.isfinite(array).all() for array in floats),
        "invalid": any(variant.raises for variant in case.variants),
        "empty": any(not array.size for array in arrays.values()),
        "long-rows": row > LONG_ROW,
        "layout": bool(case.layout),
        "huge": case.huge,
        "sums": any(isinstance(due, Sketch) for due in expected.values()),
    }
    return tuple(flag for flag in FLAGS if has[flag])
