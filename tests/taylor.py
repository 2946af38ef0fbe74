"""The losses once more, over truncated series in ball arithmetic: what derivatives have to agree with.

Each function is written in its plainest form, of inputs x + s·ẋ as power series in s. The coefficient of s is
the derivative along ẋ, twice that of s² the second one, and H·ẋ follows by polarization. Nothing of the
oracle's formulas is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import flint
import numpy as np

from lossproof.case.inputs import materialize
from lossproof.case.model import Case

Series = Any
Arrays = Mapping[str, Any]


def series(x: float, along: float) -> Series:
    return flint.arb_series([flint.arb(x), flint.arb(along)])


def total(terms: Any) -> Series:
    return reduce(lambda a, b: a + b, terms, flint.arb_series([0]))


def _exp(x: Any) -> Series:
    """e^x, 0 for what is −∞."""
    return flint.arb_series([0]) if x is None else x.exp()


def _softmaxes(row: Any) -> list[Series]:
    powers = [_exp(x) for x in row]
    sum_ = total(powers)
    return [power / sum_ for power in powers]


def _costs(row: Any, target: Any) -> Series:
    """−Σ y·ln p, without the classes that have no target."""
    sum_ = total(_exp(x) for x in row)
    terms = [y * (sum_.log() - x) for x, y in zip(row, target, strict=True) if x is not None]
    return total(terms)


def _softplus(x: Series) -> Series:
    return (1 + x.exp()).log()


def _is_zero(y: Any) -> bool:
    return all(c.is_zero() for c in y.coeffs()) if isinstance(y, flint.arb_series) else y == 0


def _log_cost(y: Series, p: Series) -> Series:
    return flint.arb_series([0]) if _is_zero(y) else -(y * p.log())


# -- results as arrays of series ---------------------------------------------------------------


def _rows(array: Any, axis: int) -> Any:
    return np.moveaxis(array, axis, -1)


def _each(function: Callable[..., Any], *arrays: Any) -> Any:
    found = np.empty(arrays[0].shape, object)
    for place in np.ndindex(found.shape):
        found[place] = function(*(array[place] for array in arrays))
    return found


def _per_row(function: Callable[..., Any], *arrays: Any) -> Any:
    found = np.empty(arrays[0].shape[:-1], object)
    for place in np.ndindex(found.shape):
        found[place] = function(*(array[place] for array in arrays))
    return found


def _reduced(costs: Any, reduction: str, count: Any = None) -> Any:
    if reduction == "none":
        return costs
    sum_ = total(costs.ravel())
    return _scalar(sum_ if reduction == "sum" else sum_ / flint.arb(costs.size if count is None else count))


def _scalar(x: Series) -> Any:
    """An array of no dimensions; NumPy would take a series for a list."""
    found = np.empty((), object)
    found[()] = x
    return found


def l2_loss(a: Arrays, *, reduction: str, half: bool) -> Any:
    return _reduced(_each(lambda p, t: (p - t) * (p - t) / (2 if half else 1), *a.values()), reduction)


def euclidean_distance(a: Arrays, *, axis: int) -> Any:
    rows = (_rows(x, axis) for x in a.values())
    return _per_row(lambda p, t: total((q - u) * (q - u) for q, u in zip(p, t, strict=True)).sqrt(), *rows)


def sigmoid(a: Arrays) -> Any:
    return _each(lambda x: 1 / (1 + (-x).exp()), a["logits"])


def log_sigmoid(a: Arrays) -> Any:
    return _each(lambda x: -_softplus(-x), a["logits"])


def softmax(a: Arrays, *, axis: int) -> Any:
    rows = _rows(a["logits"], axis)
    found = np.empty(rows.shape, object)
    for place in np.ndindex(rows.shape[:-1]):
        found[place] = _softmaxes(rows[place])
    return np.moveaxis(found, -1, axis)


def log_softmax(a: Arrays, *, axis: int) -> Any:
    rows = _rows(a["logits"], axis)
    found = np.empty(rows.shape, object)
    for place in np.ndindex(rows.shape[:-1]):
        sum_ = total(_exp(x) for x in rows[place])
        # Of what is −∞ only its share in the others is looked at.
        found[place] = [-sum_.log() if x is None else x - sum_.log() for x in rows[place]]
    return np.moveaxis(found, -1, axis)


def cross_entropy(a: Arrays, *, axis: int, reduction: str) -> Any:
    rows = (_rows(x, axis) for x in a.values())
    costs = _per_row(lambda p, y: total(_log_cost(t, q) for q, t in zip(p, y, strict=True)), *rows)
    return _reduced(costs, reduction)


def softmax_cross_entropy(a: Arrays, *, axis: int, label_smoothing: float, reduction: str) -> Any:
    alpha = flint.arb(label_smoothing)

    def cost(x: Any, y: Any) -> Series:
        return _costs(x, [(1 - alpha) * t + alpha / len(y) for t in y])

    return _reduced(_per_row(cost, _rows(a["logits"], axis), _rows(a["target"], axis)), reduction)


def sparse_softmax_cross_entropy(
    a: Arrays, *, axis: int, weight: Any, ignore_index: int | None, label_smoothing: float, reduction: str
) -> Any:
    x, labels = _rows(a["logits"], axis), a["labels"]
    alpha, classes = flint.arb(label_smoothing), x.shape[-1]
    w = np.ones(classes) if weight is None else weight
    costs = np.empty(labels.shape, object)
    count = 0.0
    for place in np.ndindex(labels.shape):
        label = int(labels[place])
        if label == ignore_index:
            costs[place] = flint.arb_series([0])
            continue
        target = [flint.arb(w[c]) * ((1 - alpha) * (c == label) + alpha / classes) for c in range(classes)]
        costs[place] = _costs(x[place], target)
        count += float(w[label])
    return _reduced(costs, reduction, count)


def binary_cross_entropy(a: Arrays, *, weight: Any, reduction: str) -> Any:
    p, y = a.values()
    w = np.ones(p.shape) if weight is None else np.broadcast_to(weight, p.shape)
    cost = lambda q, t, f: flint.arb(f) * (_log_cost(t, q) + _log_cost(1 - t, 1 - q))  # noqa: E731
    return _reduced(_each(cost, p, y, w), reduction)


def sigmoid_cross_entropy(a: Arrays, *, weight: Any, pos_weight: Any, reduction: str) -> Any:
    x, y = a.values()
    w, pos = (
        np.ones(x.shape) if part is None else np.broadcast_to(part, x.shape) for part in (weight, pos_weight)
    )

    def cost(z: Series, t: Series, f: float, g: float) -> Series:
        return flint.arb(f) * (flint.arb(g) * t * _softplus(-z) + (1 - t) * _softplus(z))

    return _reduced(_each(cost, x, y, w, pos), reduction)


def pspnet_loss(a: Arrays, *, num_classes: int, reduction: str) -> Any:
    # The cases' heads are as large as their label maps.
    labels = np.where(a["labels"] >= num_classes, -1, a["labels"])
    return sparse_softmax_cross_entropy(
        {"logits": a["logits"], "labels": labels},
        axis=-1, weight=None, ignore_index=-1, label_smoothing=0.0, reduction=reduction,
    )  # fmt: skip


def pspnet_total_loss(a: Arrays, *, num_classes: int, aux_weight: float) -> Any:
    main, auxiliary = (
        pspnet_loss({"logits": a[name], "labels": a["labels"]}, num_classes=num_classes, reduction="mean")
        for name in ("logits", "aux_logits")
    )
    return _scalar(main[()] + flint.arb(aux_weight) * auxiliary[()])


def _own(a: Arrays, name: str) -> tuple[Any, Any]:
    x, y = [], []
    for b, r in np.argwhere(a["target_class_ids"] > 0):
        x += a[name][b, r, :, :, a["target_class_ids"][b, r]].ravel().tolist()
        y += a["target_masks"][b, r].ravel().tolist()
    found = np.empty(len(x), object), np.empty(len(x), object)
    found[0][:], found[1][:] = x, y
    return found


def mask_rcnn_mask_loss(a: Arrays) -> Any:
    p, y = _own(a, "pred_masks")
    return binary_cross_entropy({"p": p, "y": y}, weight=None, reduction="mean")


def mask_rcnn_mask_loss_with_logits(a: Arrays) -> Any:
    x, y = _own(a, "mask_logits")
    return sigmoid_cross_entropy({"x": x, "y": y}, weight=None, pos_weight=None, reduction="mean")


# -- a case along a direction --------------------------------------------------------------------


def along(case: Case, direction: Mapping[str, Any]) -> Any:
    """The result of a case as an array of series, its arrays moved along a direction."""
    arrays: dict[str, Any] = {}
    for array in case.function.arrays:
        exact = case.exact_arrays[array.name]
        if array.integer:
            arrays[array.name] = exact
            continue
        moved = direction.get(array.name, np.zeros(exact.shape))
        arrays[array.name] = _each(_moved, exact, np.broadcast_to(moved, exact.shape))
    kinds = {parameter.name: parameter.kind for parameter in case.function.parameters}
    parameters = {
        name: materialize(value, False) if kinds[name] == "array" and value is not None else value
        for name, value in case.parameters.items()
    }
    flint.ctx.prec, flint.ctx.cap = 1200, 3
    return globals()[case.function.name](arrays, **parameters)


def _moved(x: float, by: float) -> Series | None:
    """None stands for −∞; what is NaN is a number all the same, since nothing may come of it."""
    return None if x == -math.inf else series(0.5 if math.isnan(x) else x, by)


def coefficient(x: Series, order: int) -> Any:
    return x[order] if x.length() > order else flint.arb(0)
