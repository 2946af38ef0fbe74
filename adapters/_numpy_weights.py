"""Gradients of the NumPy adapter with respect to weights, written out from spec/ (CE-21, BCE-16).

Whole arrays, not blocks, as in ``_numpy_derivatives``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._numpy_blocks import Array, wide
from ._numpy_formulas import (
    binary_cross_entropy,
    counting,
    label_weight,
    log_softmax,
    reduced_gradient,
    sigmoid_cross_entropy,
    smoothed,
    softplus,
    weighted,
)

Arrays = Mapping[str, Array]


def gradient_of_weight(
    function: str, name: str, v: Array, arrays: Arrays, parameters: Mapping[str, Any]
) -> Array:
    """The gradient of a loss with respect to ``weight`` or ``pos_weight``, for the cotangent v."""
    given: dict[str, Any] = {
        key: wide(x) if isinstance(x, np.ndarray) else x for key, x in parameters.items()
    }
    floats: dict[str, Any] = {key: x if x.dtype.kind in "iu" else wide(x) for key, x in arrays.items()}
    if function == "sparse_softmax_cross_entropy":
        return _of_classes(v, **floats, **given)
    share = reduced_gradient(v, given["reduction"], next(iter(floats.values())).size)
    if name == "pos_weight":
        slope = weighted(floats["target"] * softplus(-floats["logits"]), given["weight"])
    elif function == "binary_cross_entropy":
        slope = binary_cross_entropy(floats["probabilities"], floats["target"])
    else:
        slope = sigmoid_cross_entropy(floats["logits"], floats["target"], None, given["pos_weight"])
    return _added_up(slope * share, given[name].shape)


def _of_classes(
    v: Array,
    *,
    logits: Array,
    labels: Array,
    axis: int,
    weight: Array,
    ignore_index: int | None,
    label_smoothing: float,
    reduction: str,
) -> Array:
    """Σ s y′ (−ln p) of every class over the rows that count; a mean divides by their weights, too."""
    x = np.moveaxis(logits, axis, -1)
    counts = counting(labels, x.shape[-1], ignore_index)
    kept = np.ones(labels.shape, bool) if counts is None else counts
    rows, k = x[kept], labels[kept]
    own = np.zeros(rows.shape, rows.dtype)
    own[np.arange(len(k)), k] = 1
    y = smoothed(own, label_smoothing)
    costs = np.where(y == 0, 0, -y * np.asarray(log_softmax(rows)))
    if reduction != "mean":
        return ((v[kept][:, None] if v.ndim else v) * costs).sum(axis=0)
    divisor = label_weight(labels, counts, weight)
    level = (costs * weight).sum() / divisor
    return (costs.sum(axis=0) - level * own.sum(axis=0)) * (v / divisor)


def _added_up(slope: Array, shape: tuple[int, ...]) -> Array:
    """The sum over what a weight of this shape was broadcast to."""
    slope = slope.sum(axis=tuple(range(slope.ndim - len(shape))))
    once = tuple(axis for axis, length in enumerate(shape) if length == 1)
    return slope.sum(axis=once, keepdims=True)
