"""Forward mode and second derivatives of the NumPy adapter, written out from spec/ (G-19).

For each function ``f`` there are two methods. ``_jvp_f(arrays, tangents, **parameters)`` gives the
derivative of the result along the tangents, ``_hvp_f(v, arrays, tangents, **parameters)`` that of the
gradients for the cotangent v, by array. Arrays and tangents come by name in the dtype in which formulas
work; an array without a tangent has zeros. Whole arrays, not blocks: a derivative is asked for once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossproof import Adapter, Call

from ._numpy_blocks import Array, scattered, wide
from ._numpy_formulas import (
    counting,
    label_weight,
    log_softmax,
    own_masks,
    product,
    quotient,
    reduced,
    reduced_gradient,
    resized_labels,
    sigmoid,
    sigmoid_cross_entropy_gradient,
    sigmoid_gradient,
    smoothed,
    softmax,
    softplus,
    weighted,
)

Arrays = Mapping[str, Array]


class NumpyDerivatives(Adapter):
    """``jvp`` and ``hvp`` of an adapter of NumPy arrays."""

    def jvp(self, function: Call, arrays: Arrays, tangents: Arrays) -> Array:
        given, moved = _widened(arrays, tangents)
        along = getattr(self, f"_jvp_{function.function}")(given, moved, **function.parameters)
        return np.asarray(along).astype(_leading(tangents).dtype)

    def hvp(
        self, function: Call, arrays: Arrays, tangents: Arrays, *, cotangent: Array | None = None
    ) -> Arrays:
        given, moved = _widened(arrays, tangents)
        v = wide(np.ones((), _leading(tangents).dtype) if cotangent is None else cotangent)
        curved = getattr(self, f"_hvp_{function.function}")(v, given, moved, **function.parameters)
        return {name: np.asarray(curved[name]).astype(arrays[name].dtype) for name in tangents}

    def gradient_of_target(self, function: Call, arrays: Arrays, v: Array) -> Array:
        """The gradient of a cross entropy with respect to its target, for the cotangent v."""
        given, _ = _widened(arrays, {})
        slope: Array = getattr(self, f"_target_{function.function}")(v, given, **function.parameters)
        return slope

    # -- l2 ----------------------------------------------------------------------------------

    def _jvp_l2_loss(self, a: Arrays, t: Arrays, *, reduction: str, half: bool) -> Array:
        d, e = (x["prediction"] - x["target"] for x in (a, t))
        return reduced(d * e if half else 2 * d * e, reduction)

    def _hvp_l2_loss(self, v: Array, a: Arrays, t: Arrays, *, reduction: str, half: bool) -> Arrays:
        e = t["prediction"] - t["target"]
        slope = (e if half else 2 * e) * reduced_gradient(v, reduction, e.size)
        return {"prediction": slope, "target": -slope}

    def _jvp_euclidean_distance(self, a: Arrays, t: Arrays, *, axis: int) -> Array:
        n, e, _ = _directions(a, t, axis)
        return (n * e).sum(axis=axis)

    def _hvp_euclidean_distance(self, v: Array, a: Arrays, t: Arrays, *, axis: int) -> Arrays:
        n, e, distance = _directions(a, t, axis)
        across = e - n * (n * e).sum(axis=axis, keepdims=True)
        slope = across / distance * (np.expand_dims(v, axis) if v.ndim else v)
        return {"prediction": slope, "target": -slope}

    # -- sigmoid and softmax -----------------------------------------------------------------

    def _jvp_sigmoid(self, a: Arrays, t: Arrays) -> Array:
        return sigmoid_gradient(a["logits"], t["logits"])

    def _hvp_sigmoid(self, v: Array, a: Arrays, t: Arrays) -> Arrays:
        x = a["logits"]
        return {"logits": sigmoid_gradient(x, t["logits"]) * (sigmoid(-x) - sigmoid(x)) * v}

    def _jvp_log_sigmoid(self, a: Arrays, t: Arrays) -> Array:
        return sigmoid(-a["logits"]) * t["logits"]

    def _hvp_log_sigmoid(self, v: Array, a: Arrays, t: Arrays) -> Arrays:
        return {"logits": -sigmoid_gradient(a["logits"], t["logits"]) * v}

    def _jvp_softmax(self, a: Arrays, t: Arrays, *, axis: int) -> Array:
        p, e = _softmax(a, axis), _rows(t["logits"], axis)
        return _back(p * _from_mean(p, e), a["logits"], axis)

    def _hvp_softmax(self, v: Array, a: Arrays, t: Arrays, *, axis: int) -> Arrays:
        p, e = _softmax(a, axis), _rows(t["logits"], axis)
        both = _from_mean(p, e) * _from_mean(p, _rows(np.broadcast_to(v, a["logits"].shape), axis))
        return {"logits": _back(p * _from_mean(p, both), a["logits"], axis)}

    def _jvp_log_softmax(self, a: Arrays, t: Arrays, *, axis: int) -> Array:
        return _back(_from_mean(_softmax(a, axis), _rows(t["logits"], axis)), a["logits"], axis)

    def _hvp_log_softmax(self, v: Array, a: Arrays, t: Arrays, *, axis: int) -> Arrays:
        p, e = _softmax(a, axis), _rows(t["logits"], axis)
        mass = _rows(np.broadcast_to(v, a["logits"].shape), axis).sum(axis=-1, keepdims=True)
        return {"logits": _back(-mass * p * _from_mean(p, e), a["logits"], axis)}

    # -- cross entropy -----------------------------------------------------------------------

    def _jvp_cross_entropy(self, a: Arrays, t: Arrays, *, axis: int, reduction: str) -> Array:
        p, y, e, r = a["probabilities"], a["target"], t["probabilities"], t["target"]
        along = quotient(y, p) * np.where(y == 0, 0, e) + product(r, np.log(p))
        return reduced(-along.sum(axis=axis), reduction)

    def _hvp_cross_entropy(self, v: Array, a: Arrays, t: Arrays, *, axis: int, reduction: str) -> Arrays:
        p, y, e, r = a["probabilities"], a["target"], t["probabilities"], t["target"]
        share = _share(v, reduction, p.size // max(p.shape[axis], 1), axis)
        own = quotient(np.where(y == 0, 0, e * quotient(y, p)), p)
        return {"probabilities": (own - quotient(r, p)) * share, "target": -quotient(e, p) * share}

    def _target_cross_entropy(self, v: Array, a: Arrays, *, axis: int, reduction: str) -> Array:
        p = a["probabilities"]
        return -np.log(p) * _share(v, reduction, p.size // max(p.shape[axis], 1), axis)

    def _jvp_softmax_cross_entropy(
        self, a: Arrays, t: Arrays, *, axis: int, label_smoothing: float, reduction: str
    ) -> Array:
        p, q, e, r = _dense(a, t, axis, label_smoothing)
        along = -(q * _from_mean(p, e)).sum(axis=-1) - product(r, log_softmax(_rows(a["logits"], axis))).sum(
            axis=-1
        )
        return reduced(_per_row(along, a["logits"], axis), reduction)

    def _hvp_softmax_cross_entropy(
        self, v: Array, a: Arrays, t: Arrays, *, axis: int, label_smoothing: float, reduction: str
    ) -> Arrays:
        p, q, e, r = _dense(a, t, axis, label_smoothing)
        x = a["logits"]
        share = _share(v, reduction, len(p), axis)
        own, mass = q.sum(axis=-1, keepdims=True), r.sum(axis=-1, keepdims=True)
        curved = own * p * _from_mean(p, e) + p * mass - r
        target = -(1 - label_smoothing) * _from_mean(p, e)
        return {"logits": _back(curved, x, axis) * share, "target": _back(target, x, axis) * share}

    def _target_softmax_cross_entropy(
        self, v: Array, a: Arrays, *, axis: int, label_smoothing: float, reduction: str
    ) -> Array:
        log_p = np.asarray(log_softmax(_rows(a["logits"], axis)))
        slope = -(1 - label_smoothing) * _back(log_p, a["logits"], axis)
        return slope * _share(v, reduction, len(log_p), axis)

    def _jvp_sparse_softmax_cross_entropy(
        self, a: Arrays, t: Arrays, *, axis: int, reduction: str, **parameters: Any
    ) -> Array:
        p, q, e, count = _labelled(a, t, axis, **parameters)
        along = -(q * _from_mean(p, e)).sum(axis=-1)
        return reduced(_per_row(along, a["logits"], axis), reduction, count)

    def _hvp_sparse_softmax_cross_entropy(
        self, v: Array, a: Arrays, t: Arrays, *, axis: int, reduction: str, **parameters: Any
    ) -> Arrays:
        p, q, e, count = _labelled(a, t, axis, **parameters)
        curved = q.sum(axis=-1, keepdims=True) * p * _from_mean(p, e)
        return {"logits": _back(curved, a["logits"], axis) * _share(v, reduction, count, axis)}

    # -- binary cross entropy ----------------------------------------------------------------

    def _jvp_binary_cross_entropy(
        self, a: Arrays, t: Arrays, *, weight: Array | None, reduction: str
    ) -> Array:
        return reduced(weighted(_of_probabilities(a, t)[0], _wide(weight)), reduction)

    def _hvp_binary_cross_entropy(
        self, v: Array, a: Arrays, t: Arrays, *, weight: Array | None, reduction: str
    ) -> Arrays:
        _, of_p, of_y = _of_probabilities(a, t)
        share = weighted(reduced_gradient(v, reduction, of_p.size), _wide(weight))
        return {"probabilities": of_p * share, "target": of_y * share}

    def _target_binary_cross_entropy(
        self, v: Array, a: Arrays, *, weight: Array | None, reduction: str
    ) -> Array:
        p = a["probabilities"]
        share = weighted(reduced_gradient(v, reduction, p.size), _wide(weight))
        return (np.log1p(-p) - np.log(p)) * share

    def _jvp_sigmoid_cross_entropy(
        self, a: Arrays, t: Arrays, *, weight: Array | None, pos_weight: Array | None, reduction: str
    ) -> Array:
        along, _, _ = _of_logits(a, t, _wide(pos_weight))
        return reduced(weighted(along, _wide(weight)), reduction)

    def _hvp_sigmoid_cross_entropy(
        self,
        v: Array,
        a: Arrays,
        t: Arrays,
        *,
        weight: Array | None,
        pos_weight: Array | None,
        reduction: str,
    ) -> Arrays:
        _, of_x, of_y = _of_logits(a, t, _wide(pos_weight))
        share = weighted(reduced_gradient(v, reduction, of_x.size), _wide(weight))
        return {"logits": of_x * share, "target": of_y * share}

    def _target_sigmoid_cross_entropy(
        self, v: Array, a: Arrays, *, weight: Array | None, pos_weight: Array | None, reduction: str
    ) -> Array:
        x = a["logits"]
        positive = weighted(softplus(-x), _wide(pos_weight))
        share = weighted(reduced_gradient(v, reduction, x.size), _wide(weight))
        return (positive - softplus(x)) * share

    # -- PSPNet ------------------------------------------------------------------------------

    def _jvp_pspnet_loss(self, a: Arrays, t: Arrays, *, num_classes: int, reduction: str) -> Array:
        head = _head(a, num_classes)
        return self._jvp_sparse_softmax_cross_entropy(head, t, **_dropping(num_classes), reduction=reduction)

    def _hvp_pspnet_loss(self, v: Array, a: Arrays, t: Arrays, *, num_classes: int, reduction: str) -> Arrays:
        head = _head(a, num_classes)
        return self._hvp_sparse_softmax_cross_entropy(
            v, head, t, **_dropping(num_classes), reduction=reduction
        )

    def _jvp_pspnet_total_loss(self, a: Arrays, t: Arrays, *, num_classes: int, aux_weight: float) -> Array:
        main, auxiliary = (
            self._jvp_pspnet_loss(
                {"logits": a[name], "labels": a["labels"]},
                {"logits": t[name]},
                num_classes=num_classes,
                reduction="mean",
            )
            for name in ("logits", "aux_logits")
        )
        return main + aux_weight * auxiliary

    def _hvp_pspnet_total_loss(
        self, v: Array, a: Arrays, t: Arrays, *, num_classes: int, aux_weight: float
    ) -> Arrays:
        return {
            name: self._hvp_pspnet_loss(
                v * weight,
                {"logits": a[name], "labels": a["labels"]},
                {"logits": t[name]},
                num_classes=num_classes,
                reduction="mean",
            )["logits"]
            for name, weight in (("logits", 1.0), ("aux_logits", aux_weight))
        }

    # -- Mask R-CNN --------------------------------------------------------------------------

    def _jvp_mask_rcnn_mask_loss(self, a: Arrays, t: Arrays) -> Array:
        return _mean(_of_own_masks(a, t, "pred_masks", _of_probabilities)[1])

    def _hvp_mask_rcnn_mask_loss(self, v: Array, a: Arrays, t: Arrays) -> Arrays:
        return _own_curves(v, a, t, "pred_masks", _of_probabilities)

    def _jvp_mask_rcnn_mask_loss_with_logits(self, a: Arrays, t: Arrays) -> Array:
        return _mean(_of_own_masks(a, t, "mask_logits", _of_logits)[1])

    def _hvp_mask_rcnn_mask_loss_with_logits(self, v: Array, a: Arrays, t: Arrays) -> Arrays:
        return _own_curves(v, a, t, "mask_logits", _of_logits)


def _widened(arrays: Arrays, tangents: Arrays) -> tuple[Arrays, Arrays]:
    given = {name: x if x.dtype.kind in "iu" else wide(x) for name, x in arrays.items()}
    moved = {
        name: wide(tangents[name]) if name in tangents else np.zeros(x.shape, x.dtype)
        for name, x in given.items()
    }
    return given, moved


def _leading(tangents: Arrays) -> Array:
    return next(iter(tangents.values()))


def _wide(weight: Array | None) -> Array | None:
    return None if weight is None else wide(weight)


def _rows(x: Array, axis: int) -> Array:
    moved = np.moveaxis(x, axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _back(rows: Array, x: Array, axis: int) -> Array:
    """Rows in the order of the array that they are of."""
    return np.moveaxis(rows.reshape(np.moveaxis(x, axis, -1).shape), -1, axis)


def _per_row(column: Array, x: Array, axis: int) -> Array:
    return column.reshape(np.moveaxis(x, axis, -1).shape[:-1])


def _share(v: Array, reduction: str, count: Any, axis: int) -> Array:
    share = reduced_gradient(v, reduction, count)
    return np.expand_dims(share, axis) if share.ndim else share


def _softmax(a: Arrays, axis: int) -> Array:
    return np.asarray(softmax(_rows(a["logits"], axis)))


def _from_mean(p: Array, t: Array) -> Array:
    """t − Σ p t of every row."""
    return t - (p * t).sum(axis=-1, keepdims=True)


def _directions(a: Arrays, t: Arrays, axis: int) -> tuple[Array, Array, Array]:
    """The unit vector from target to prediction, the tangent of their difference, and the distance."""
    d, e = (x["prediction"] - x["target"] for x in (a, t))
    distance = np.sqrt((d * d).sum(axis=axis, keepdims=True))
    return d / distance, e, distance


def _dense(a: Arrays, t: Arrays, axis: int, label_smoothing: float) -> tuple[Array, Array, Array, Array]:
    """Probabilities, smoothed targets, and the tangents of logits and smoothed targets, as rows."""
    q = smoothed(_rows(a["target"], axis), label_smoothing)
    r = (1 - label_smoothing) * _rows(t["target"], axis)
    return _softmax(a, axis), q, _rows(t["logits"], axis), r


def _labelled(
    a: Arrays,
    t: Arrays,
    axis: int,
    *,
    weight: Array | None,
    ignore_index: int | None,
    label_smoothing: float,
) -> tuple[Array, Array, Array, Any]:
    """Probabilities, weighted targets and tangents as rows, 0 where ignored, and what a mean divides by."""
    x, k = _rows(a["logits"], axis), a["labels"].ravel()
    weight = _wide(weight)
    counts = counting(k, x.shape[-1], ignore_index)
    kept = np.ones(k.shape, bool) if counts is None else counts
    q = np.zeros(x.shape, x.dtype)
    q[kept, k[kept]] = 1
    q = weighted(smoothed(q, label_smoothing), weight)
    # What is ignored may hold anything.
    p = np.asarray(softmax(np.where(kept[:, None], x, 0)))
    return p, np.where(kept[:, None], q, 0), _rows(t["logits"], axis), label_weight(k, counts, weight)


def _of_probabilities(a: Arrays, t: Arrays) -> tuple[Array, Array, Array]:
    """Of binary cross entropy, per element: along the tangents, and of both gradients."""
    p, y, e, r = a["probabilities"], a["target"], t["probabilities"], t["target"]
    one, zero = quotient(y, p), quotient(1 - y, 1 - p)
    steep = -(1 / p + 1 / (1 - p))
    along = (zero - one) * e + np.where(r == 0, 0, r * (np.log1p(-p) - np.log(p)))
    return along, (one / p + zero / (1 - p)) * e + np.where(r == 0, 0, r * steep), e * steep


def _of_logits(a: Arrays, t: Arrays, pos_weight: Array | None = None) -> tuple[Array, Array, Array]:
    """The same of sigmoid cross entropy."""
    x, y, e, r = a["logits"], a["target"], t["logits"], t["target"]
    weight = np.ones_like(x) if pos_weight is None else np.broadcast_to(pos_weight, x.shape)
    toward, steep = weight * softplus(-x) - softplus(x), -(sigmoid(x) + weight * sigmoid(-x))
    along = sigmoid_cross_entropy_gradient(x, y, e, None, pos_weight) + np.where(r == 0, 0, r * toward)
    return along, (1 - y + weight * y) * sigmoid_gradient(x, e) + r * steep, e * steep


def _head(a: Arrays, num_classes: int) -> Arrays:
    x = a["logits"]
    return {"logits": x, "labels": np.minimum(resized_labels(a["labels"], *x.shape[1:3]), num_classes)}


def _dropping(num_classes: int) -> dict[str, Any]:
    return {"axis": -1, "weight": None, "ignore_index": num_classes, "label_smoothing": 0.0}


_Costs = Callable[[Arrays, Arrays], tuple[Array, Array, Array]]


def _of_own_masks(a: Arrays, t: Arrays, name: str, costs: _Costs) -> tuple[tuple[Array, ...], Array, Array]:
    """Where the own masks are, and their derivatives along the tangents, and of the gradients."""
    where, x, y = own_masks(a["target_masks"], a["target_class_ids"], a[name])
    e, still = t[name][where], np.zeros_like(y)
    inner = "probabilities" if name == "pred_masks" else "logits"
    along, curved, _ = costs({inner: x, "target": y}, {inner: e, "target": still})
    return where, along, curved


def _mean(costs: Array) -> Array:
    """0 over nothing (MRC-4)."""
    return reduced(costs, "mean" if costs.size else "sum")


def _own_curves(v: Array, a: Arrays, t: Arrays, name: str, costs: _Costs) -> Arrays:
    where, _, curved = _of_own_masks(a, t, name, costs)
    return {name: scattered(curved * reduced_gradient(v, "mean", max(curved.size, 1)), where, a[name])}
