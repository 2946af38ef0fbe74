"""NumPy: the reference implementation, written to be read beside the specification.

Plain vectorised NumPy, numerically stable, with analytic gradients. Half-precision inputs are
worked on in float32, since NumPy's own half-precision reductions stagnate; every result is rounded
once to the dtype of the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossproof import Adapter, Call

Array = Any  # np.ndarray of any floating-point dtype, bfloat16 included


class NumpyAdapter(Adapter):
    """The functions of the specification; for each ``f`` with gradients, ``_grad_f``.

    ``_grad_f(v, *arrays, **parameters)`` returns the gradients with respect to the function's
    differentiable arrays for the cotangent v, an array of the result's shape.
    """

    name = "numpy"
    version = np.__version__

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Array],
        wrt: tuple[str, ...],
        *,
        cotangent: Array = None,
    ) -> tuple[Array, Mapping[str, Array]]:
        value = function(*arrays.values())
        v = np.ones(np.shape(value), np.float64) if cotangent is None else cotangent
        gradient = getattr(self, f"_grad_{function.function}")
        slopes = gradient(v.astype(np.float64), *arrays.values(), **function.parameters)
        return value, {name: slopes[name].astype(arrays[name].dtype) for name in wrt}

    # -- l2 ----------------------------------------------------------------------------------

    def l2_loss(self, prediction: Array, target: Array, *, reduction: str, half: bool) -> Array:
        loss = (_wide(prediction) - _wide(target)) ** 2
        return _reduce(loss * 0.5 if half else loss, reduction).astype(prediction.dtype)

    def _grad_l2_loss(
        self, v: Array, prediction: Array, target: Array, *, reduction: str, half: bool
    ) -> Mapping[str, Array]:
        difference = _wide(prediction) - _wide(target)
        slope = _share(v, reduction, difference.size) * (difference if half else 2 * difference)
        return {"prediction": slope, "target": -slope}

    def euclidean_distance(self, prediction: Array, target: Array, *, axis: int) -> Array:
        # Scaled by the largest difference, so that its square neither overflows nor vanishes.
        difference = np.abs(_wide(prediction) - _wide(target))
        scale = np.max(difference, axis=axis, keepdims=True, initial=0)
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1).astype(difference.dtype)
        distance = np.sqrt(np.sum((difference / scale) ** 2, axis=axis))
        return (distance * np.squeeze(scale, axis)).astype(prediction.dtype)

    def _grad_euclidean_distance(
        self, v: Array, prediction: Array, target: Array, *, axis: int
    ) -> Mapping[str, Array]:
        difference = _wide(prediction) - _wide(target)
        distance = self.euclidean_distance(_wide(prediction), _wide(target), axis=axis)
        distance = np.expand_dims(distance, axis)
        unit = np.divide(difference, distance, out=np.zeros_like(difference), where=distance != 0)
        slope = np.expand_dims(v, axis) * unit
        return {"prediction": slope, "target": -slope}

    # -- sigmoid and softmax -----------------------------------------------------------------

    def sigmoid(self, logits: Array) -> Array:
        return _sigmoid(_wide(logits)).astype(logits.dtype)

    def _grad_sigmoid(self, v: Array, logits: Array) -> Mapping[str, Array]:
        x = _wide(logits)
        return {"logits": v * _sigmoid(x) * _sigmoid(-x)}

    def log_sigmoid(self, logits: Array) -> Array:
        return (-_softplus(-_wide(logits))).astype(logits.dtype)

    def _grad_log_sigmoid(self, v: Array, logits: Array) -> Mapping[str, Array]:
        return {"logits": v * _sigmoid(-_wide(logits))}

    def softmax(self, logits: Array, *, axis: int) -> Array:
        return _softmax(_wide(logits), axis).astype(logits.dtype)

    def _grad_softmax(self, v: Array, logits: Array, *, axis: int) -> Mapping[str, Array]:
        p = _softmax(_wide(logits), axis)
        return {"logits": p * (v - np.sum(p * v, axis=axis, keepdims=True))}

    def log_softmax(self, logits: Array, *, axis: int) -> Array:
        return _log_softmax(_wide(logits), axis).astype(logits.dtype)

    def _grad_log_softmax(self, v: Array, logits: Array, *, axis: int) -> Mapping[str, Array]:
        return {"logits": v - _softmax(_wide(logits), axis) * np.sum(v, axis=axis, keepdims=True)}

    # -- cross entropy -----------------------------------------------------------------------

    def cross_entropy(self, probabilities: Array, target: Array, *, axis: int, reduction: str) -> Array:
        p, y = _wide(probabilities), _wide(target)
        loss = np.sum(_times_log(y, p), axis=axis)
        return _reduce(-loss, reduction).astype(probabilities.dtype)

    def _grad_cross_entropy(
        self, v: Array, probabilities: Array, target: Array, *, axis: int, reduction: str
    ) -> Mapping[str, Array]:
        p, y = _wide(probabilities), _wide(target)
        rows = p.size // p.shape[axis] if p.size else 0
        share = _row_share(v, reduction, rows, axis)
        slope = np.where((y == 0) & (p >= 0) & (p <= 1), 0, -y / np.where(p < 0, np.nan, p))
        return {"probabilities": share * slope}

    def softmax_cross_entropy(
        self, logits: Array, target: Array, *, axis: int, label_smoothing: float, reduction: str
    ) -> Array:
        y = _smoothed(_wide(target), axis, label_smoothing)
        loss = -np.sum(_product(y, _log_softmax(_wide(logits), axis)), axis=axis)
        return _reduce(loss, reduction).astype(logits.dtype)

    def _grad_softmax_cross_entropy(
        self,
        v: Array,
        logits: Array,
        target: Array,
        *,
        axis: int,
        label_smoothing: float,
        reduction: str,
    ) -> Mapping[str, Array]:
        y = _smoothed(_wide(target), axis, label_smoothing)
        rows = y.size // y.shape[axis] if y.size else 0
        share = _row_share(v, reduction, rows, axis)
        p = _softmax(_wide(logits), axis)
        return {"logits": share * (p * np.sum(y, axis=axis, keepdims=True) - y)}

    def sparse_softmax_cross_entropy(
        self,
        logits: Array,
        labels: Array,
        *,
        axis: int,
        weight: Array | None,
        ignore_index: int | None,
        label_smoothing: float,
        reduction: str,
    ) -> Array:
        x = np.moveaxis(_wide(logits), axis, -1)
        counts, y = _label_rows(x, labels, weight, ignore_index, label_smoothing)
        loss = np.zeros(labels.shape, x.dtype)
        loss[counts] = -np.sum(_product(y, _log_softmax(x[counts], -1)), axis=-1)
        if reduction != "mean":
            return _reduce(loss, reduction).astype(logits.dtype)
        total = _label_weights(labels[counts], weight, x.dtype).sum()
        return np.asarray(np.sum(loss) / total).astype(logits.dtype)

    def _grad_sparse_softmax_cross_entropy(
        self,
        v: Array,
        logits: Array,
        labels: Array,
        *,
        axis: int,
        weight: Array | None,
        ignore_index: int | None,
        label_smoothing: float,
        reduction: str,
    ) -> Mapping[str, Array]:
        x = np.moveaxis(_wide(logits), axis, -1)
        counts, y = _label_rows(x, labels, weight, ignore_index, label_smoothing)
        total = _label_weights(labels[counts], weight, x.dtype).sum()
        share = np.broadcast_to(_share(v, reduction, total), labels.shape)[counts]
        slope = np.zeros(x.shape, np.float64)
        mass = np.sum(y, axis=-1, keepdims=True)
        slope[counts] = share[..., None] * (_softmax(x[counts], -1) * mass - y)
        return {"logits": np.moveaxis(slope, -1, axis)}

    def binary_cross_entropy(
        self, probabilities: Array, target: Array, *, weight: Array | None, reduction: str
    ) -> Array:
        loss = _binary_cross_entropy(_wide(probabilities), _wide(target))
        return _reduce(_weighted(loss, weight), reduction).astype(probabilities.dtype)

    def _grad_binary_cross_entropy(
        self, v: Array, probabilities: Array, target: Array, *, weight: Array | None, reduction: str
    ) -> Mapping[str, Array]:
        p, y = _wide(probabilities), _wide(target)
        share = _share(v, reduction, p.size)
        return {"probabilities": share * _weighted(_binary_slope(p, y), weight)}

    def sigmoid_cross_entropy(
        self,
        logits: Array,
        target: Array,
        *,
        weight: Array | None,
        pos_weight: Array | None,
        reduction: str,
    ) -> Array:
        x, y = _wide(logits), _wide(target)
        positive = y if pos_weight is None else y * _wide(pos_weight)
        loss = _product(positive, _softplus(-x)) + _product(1 - y, _softplus(x))
        return _reduce(_weighted(loss, weight), reduction).astype(logits.dtype)

    def _grad_sigmoid_cross_entropy(
        self,
        v: Array,
        logits: Array,
        target: Array,
        *,
        weight: Array | None,
        pos_weight: Array | None,
        reduction: str,
    ) -> Mapping[str, Array]:
        x, y = _wide(logits), _wide(target)
        positive = y if pos_weight is None else y * _wide(pos_weight)
        slope = (1 - y) * _sigmoid(x) - positive * _sigmoid(-x)
        return {"logits": _share(v, reduction, x.size) * _weighted(slope, weight)}

    # -- PSPNet ------------------------------------------------------------------------------

    def pspnet_resize_labels(self, labels: Array, *, size: tuple[int, int]) -> Array:
        height, width = size
        rows = np.arange(height) * labels.shape[1] // height
        columns = np.arange(width) * labels.shape[2] // width
        return labels[:, rows[:, None], columns]

    def pspnet_loss(self, logits: Array, labels: Array, *, num_classes: int, reduction: str) -> Array:
        return self.sparse_softmax_cross_entropy(
            logits, **self._pspnet_head(logits, labels, num_classes), reduction=reduction
        )

    def _grad_pspnet_loss(
        self, v: Array, logits: Array, labels: Array, *, num_classes: int, reduction: str
    ) -> Mapping[str, Array]:
        return self._grad_sparse_softmax_cross_entropy(
            v, logits, **self._pspnet_head(logits, labels, num_classes), reduction=reduction
        )

    def _pspnet_head(self, logits: Array, labels: Array, num_classes: int) -> dict[str, Any]:
        """Resized labels, those of no class replaced by num_classes, which is ignored."""
        size = (logits.shape[1], logits.shape[2])
        resized = np.minimum(self.pspnet_resize_labels(labels, size=size), num_classes)
        return {
            "labels": resized,
            "axis": -1,
            "weight": None,
            "ignore_index": num_classes,
            "label_smoothing": 0.0,
        }

    def pspnet_total_loss(
        self,
        logits: Array,
        aux_logits: Array,
        labels: Array,
        *,
        num_classes: int,
        aux_weight: float,
    ) -> Array:
        main = self.pspnet_loss(_wide(logits), labels, num_classes=num_classes, reduction="mean")
        auxiliary = self.pspnet_loss(_wide(aux_logits), labels, num_classes=num_classes, reduction="mean")
        return (main + aux_weight * auxiliary).astype(logits.dtype)

    def _grad_pspnet_total_loss(
        self,
        v: Array,
        logits: Array,
        aux_logits: Array,
        labels: Array,
        *,
        num_classes: int,
        aux_weight: float,
    ) -> Mapping[str, Array]:
        heads = {"logits": (logits, v), "aux_logits": (aux_logits, v * aux_weight)}
        return {
            name: self._grad_pspnet_loss(weight, head, labels, num_classes=num_classes, reduction="mean")[
                "logits"
            ]
            for name, (head, weight) in heads.items()
        }

    def pspnet_predict(self, logits: Array) -> Array:
        return np.argmax(logits, axis=-1)

    # -- Mask R-CNN --------------------------------------------------------------------------

    def mask_rcnn_mask_loss(self, target_masks: Array, target_class_ids: Array, pred_masks: Array) -> Array:
        _, p, y = _positive_masks(target_masks, target_class_ids, pred_masks)
        loss = _binary_cross_entropy(p, y)
        return _reduce(loss, "mean" if loss.size else "sum").astype(pred_masks.dtype)

    def _grad_mask_rcnn_mask_loss(
        self, v: Array, target_masks: Array, target_class_ids: Array, pred_masks: Array
    ) -> Mapping[str, Array]:
        where, p, y = _positive_masks(target_masks, target_class_ids, pred_masks)
        slope = np.zeros(pred_masks.shape, np.float64)
        slope[where] = v * _binary_slope(p, y) / max(p.size, 1)
        return {"pred_masks": slope}

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Array, target_class_ids: Array, mask_logits: Array
    ) -> Array:
        _, x, y = _positive_masks(target_masks, target_class_ids, mask_logits)
        loss = _product(y, _softplus(-x)) + _product(1 - y, _softplus(x))
        return _reduce(loss, "mean" if loss.size else "sum").astype(mask_logits.dtype)

    def _grad_mask_rcnn_mask_loss_with_logits(
        self, v: Array, target_masks: Array, target_class_ids: Array, mask_logits: Array
    ) -> Mapping[str, Array]:
        where, x, y = _positive_masks(target_masks, target_class_ids, mask_logits)
        slope = np.zeros(mask_logits.shape, np.float64)
        slope[where] = v * ((1 - y) * _sigmoid(x) - y * _sigmoid(-x)) / max(x.size, 1)
        return {"mask_logits": slope}

    def mask_rcnn_select_masks(self, pred_masks: Array, class_ids: Array) -> Array:
        return np.take_along_axis(pred_masks, class_ids[:, :, None, None, None], axis=-1)[..., 0]


# -- building blocks -------------------------------------------------------------------------


def _wide(x: Array) -> Array:
    """``x`` in float32 at least."""
    return x.astype(np.promote_types(x.dtype, np.float32), copy=False)


def _reduce(loss: Array, reduction: str) -> Array:
    if reduction == "none":
        return np.asarray(loss)
    return np.asarray(loss.sum() if reduction == "sum" else loss.sum() / np.float64(loss.size))


def _share(v: Array, reduction: str, count: Any) -> Array:
    """What a unit of loss counts in the result, times its cotangent."""
    return v / np.float64(count) if reduction == "mean" else v


def _row_share(v: Array, reduction: str, rows: Any, axis: int) -> Array:
    """The same per row, ready to be multiplied with what has the axis."""
    share = _share(v, reduction, rows)
    return np.expand_dims(share, axis) if reduction == "none" else share


def _product(weight: Array, cost: Array) -> Array:
    """weight · cost with 0 · ±inf = 0, and 0 · NaN = NaN."""
    return weight * np.where((weight == 0) & np.isinf(cost), 0, cost)


def _times_log(y: Array, p: Array) -> Array:
    """y · ln p with 0 · ln 0 = 0, and NaN for p outside [0, 1]."""
    return _product(y, np.log(np.where(p > 1, np.nan, p)))


def _weighted(loss: Array, weight: Array | None) -> Array:
    return loss if weight is None else loss * _wide(weight)


def _sigmoid(x: Array) -> Array:
    # Only exponentials of negative numbers: nothing overflows, small results keep their digits.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _softplus(x: Array) -> Array:
    """ln(1 + e^x)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _shifted(x: Array, axis: int) -> Array:
    """x − max x; a +inf is treated as the limit: 0 for it, −inf for the finite."""
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    # Two infinities (or none but −inf) have no limit: ∞ − ∞ makes the row NaN.
    alone = np.isposinf(top) & (np.sum(np.isposinf(x), axis=axis, keepdims=True) == 1)
    return np.where(alone & np.isposinf(x), 0, x - top)


def _softmax(x: Array, axis: int) -> Array:
    powers = np.exp(_shifted(x, axis))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = _shifted(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _smoothed(target: Array, axis: int, label_smoothing: float) -> Array:
    if not label_smoothing:
        return target
    return (1 - label_smoothing) * target + label_smoothing / target.shape[axis]


def _label_rows(
    x: Array,
    labels: Array,
    weight: Array | None,
    ignore_index: int | None,
    label_smoothing: float,
) -> tuple[Array, Array]:
    """Which rows count, and the weighted target distribution of those that do.

    Raises:
        ValueError: a label that counts is outside the classes.
    """
    classes = x.shape[-1]
    counts = np.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index
    used = labels[counts]
    if ((used < 0) | (used >= classes)).any():
        raise ValueError(f"labels must be in [0, {classes}) or ignore_index")
    y = np.zeros((*used.shape, classes), x.dtype)
    np.put_along_axis(y, used[..., None], 1, axis=-1)
    y = _smoothed(y, -1, label_smoothing)
    return counts, y if weight is None else y * _wide(weight)


def _label_weights(labels: Array, weight: Array | None, dtype: Any) -> Array:
    return np.ones(labels.shape, dtype) if weight is None else _wide(weight)[labels]


def _binary_cross_entropy(p: Array, y: Array) -> Array:
    with_one = _times_log(y, p)
    return -(with_one + _product(1 - y, np.log1p(-np.where(p < 0, np.nan, p))))


def _binary_slope(p: Array, y: Array) -> Array:
    """(1−y)/(1−p) − y/p, where a term whose target is 0 is absent."""
    inside = np.where((p < 0) | (p > 1), np.nan, p)
    one = np.where(y == 0, inside * 0, y / inside)
    return np.where(y == 1, inside * 0, (1 - y) / (1 - inside)) - one


def _positive_masks(
    target_masks: Array, target_class_ids: Array, masks: Array
) -> tuple[tuple[Array, ...], Array, Array]:
    """Index, own-class masks (K, H, W) and target masks (K, H, W) of the positive RoIs.

    Raises:
        ValueError: a class id is beyond the classes.
    """
    b, r = np.nonzero(target_class_ids > 0)
    c = target_class_ids[b, r]
    if (c >= masks.shape[-1]).any():
        raise ValueError(f"class ids must be below {masks.shape[-1]}")
    rows, columns = np.ogrid[: masks.shape[2], : masks.shape[3]]
    where = (b[:, None, None], r[:, None, None], rows, columns, c[:, None, None])
    return where, _wide(masks[where]), _wide(target_masks[b, r])
