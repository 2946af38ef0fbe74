"""NumPy: the reference implementation, written to be read beside the specification.

Plain vectorised NumPy, numerically stable, with analytic gradients. Half-precision inputs are
worked on in float32, since NumPy's own half-precision reductions stagnate; every result is rounded
once to the dtype of the prediction. Large arrays are worked on in blocks, whose temporaries stay in
a core's cache: what is read and written in memory is little more than inputs and results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lossproof import Adapter, Call

# Elements of a block.
BLOCK = 2**17

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
        # Ones that take no memory.
        ones = np.broadcast_to(_wide(np.ones((), np.asarray(value).dtype)), np.shape(value))
        gradient = getattr(self, f"_grad_{function.function}")
        slopes = gradient(
            ones if cotangent is None else _wide(cotangent), *arrays.values(), **function.parameters
        )
        return value, {name: slopes[name].astype(arrays[name].dtype, copy=False) for name in wrt}

    # -- l2 ----------------------------------------------------------------------------------

    def l2_loss(self, prediction: Array, target: Array, *, reduction: str, half: bool) -> Array:
        def cost(p: Array, y: Array) -> Array:
            squared = (p - y) ** 2
            return squared * p.dtype.type(0.5) if half else squared

        return _elementwise_loss(cost, reduction, prediction.dtype, prediction, target)

    def _grad_l2_loss(
        self, v: Array, prediction: Array, target: Array, *, reduction: str, half: bool
    ) -> Mapping[str, Array]:
        share = _share(v if half else 2 * v, reduction, prediction.size)
        slope = _map_slopes(np.subtract, share, prediction.dtype, prediction, target)
        return {"prediction": slope, "target": -slope}

    def euclidean_distance(self, prediction: Array, target: Array, *, axis: int) -> Array:
        # Scaled by the largest difference, so that its square neither overflows nor vanishes.
        difference = np.abs(_wide(prediction) - _wide(target))
        scale = np.max(difference, axis=axis, keepdims=True, initial=0)
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1).astype(difference.dtype)
        distance = np.sqrt(_sum((difference / scale) ** 2, axis=axis))
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
        return _map(_sigmoid, logits.dtype, logits)

    def _grad_sigmoid(self, v: Array, logits: Array) -> Mapping[str, Array]:
        return {"logits": _map_slopes(_sigmoid_slope, v, logits.dtype, logits)}

    def log_sigmoid(self, logits: Array) -> Array:
        return _map(lambda x: -_softplus(-x), logits.dtype, logits)

    def _grad_log_sigmoid(self, v: Array, logits: Array) -> Mapping[str, Array]:
        return {"logits": _map_slopes(lambda x: _sigmoid(-x), v, logits.dtype, logits)}

    def softmax(self, logits: Array, *, axis: int) -> Array:
        return _map_rows(lambda x, out: _softmax(x, -1, out), axis, logits.dtype, logits)

    def _grad_softmax(self, v: Array, logits: Array, *, axis: int) -> Mapping[str, Array]:
        def slope(x: Array, v: Array, out: Array | None) -> Array:
            p = _softmax(x, -1, out)
            # A cotangent that is the same along the axis needs no product with every element.
            same = v.strides[-1] == 0
            v = v[:, :1] if same else v
            p *= v - (v * _row_sum(p) if same else _row_sum(p * v))
            return p

        return {"logits": _map_rows(slope, axis, logits.dtype, logits, v)}

    def log_softmax(self, logits: Array, *, axis: int) -> Array:
        return _map_rows(lambda x, out: _log_softmax(x, -1, out), axis, logits.dtype, logits)

    def _grad_log_softmax(self, v: Array, logits: Array, *, axis: int) -> Mapping[str, Array]:
        def slope(x: Array, v: Array, out: Array | None) -> Array:
            return np.subtract(v, _softmax(x, -1, out, _row_sum(v)), out=out)

        return {"logits": _map_rows(slope, axis, logits.dtype, logits, v)}

    # -- cross entropy -----------------------------------------------------------------------

    def cross_entropy(self, probabilities: Array, target: Array, *, axis: int, reduction: str) -> Array:
        loss = _row_losses(lambda p, y: -_sum(_times_log(y, p), axis=-1), axis, probabilities, target)
        return _reduce(loss, reduction).astype(probabilities.dtype)

    def _grad_cross_entropy(
        self, v: Array, probabilities: Array, target: Array, *, axis: int, reduction: str
    ) -> Mapping[str, Array]:
        def slope(p: Array, y: Array, out: Array | None) -> Array:
            return np.where((y == 0) & (p >= 0) & (p <= 1), 0, -y / np.where(p < 0, np.nan, p))

        share = _row_share(v, reduction, _row_count(probabilities, axis), axis)
        return {
            "probabilities": _map_rows(slope, axis, probabilities.dtype, probabilities, target, share=share)
        }

    def softmax_cross_entropy(
        self, logits: Array, target: Array, *, axis: int, label_smoothing: float, reduction: str
    ) -> Array:
        def cost(x: Array, y: Array) -> Array:
            return -_product_sum(_smoothed(y, -1, label_smoothing), _log_softmax(x, -1))

        return _reduce(_row_losses(cost, axis, logits, target), reduction).astype(logits.dtype)

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
        def slope(x: Array, target: Array, out: Array | None) -> Array:
            y = _smoothed(target, -1, label_smoothing)
            p = _softmax(x, -1, out, _row_sum(y))
            p -= y
            return p

        share = _row_share(v, reduction, _row_count(logits, axis), axis)
        return {"logits": _map_rows(slope, axis, logits.dtype, logits, target, share=share)}

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
        loss = np.zeros(labels.size, _wide(logits[:0]).dtype)
        for rows, x, k in _labelled_rows(logits, labels, axis, ignore_index):
            if label_smoothing:
                y = _label_targets(k, x, weight, label_smoothing)
                loss[rows] = -_product_sum(y, _log_softmax(x, -1))
            else:
                cost = _label_cost(x, k)
                loss[rows] = cost if weight is None else _product(_wide(weight)[k], cost)
        if reduction == "mean":
            total = _label_weight(labels, weight, ignore_index)
            return np.asarray(_sum(loss) / total).astype(logits.dtype)
        return _reduce(loss.reshape(labels.shape), reduction).astype(logits.dtype)

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
        total = _label_weight(labels, weight, ignore_index)
        share = np.broadcast_to(_share(v, reduction, total), labels.shape).reshape(-1)
        moved = _axis_last(logits, axis).shape
        slope = np.zeros((labels.size, moved[-1]), logits.dtype)
        for rows, x, k in _labelled_rows(logits, labels, axis, ignore_index):
            out = _in_place(slope, rows)
            if label_smoothing:
                y = _label_targets(k, x, weight, label_smoothing)
                p = _softmax(x, -1, out, _row_sum(y))
                p -= y
            else:
                p = _softmax(x, -1, out)
                p[np.arange(len(k)), k] -= 1
                if weight is not None:
                    p *= _wide(weight)[k][:, None]
            p *= share[rows].astype(p.dtype)[:, None]
            if p is not out:
                slope[rows] = p
        return {"logits": _axis_back(slope.reshape(moved), axis)}

    def binary_cross_entropy(
        self, probabilities: Array, target: Array, *, weight: Array | None, reduction: str
    ) -> Array:
        def cost(p: Array, y: Array, weight: Array | None = None) -> Array:
            return _weighted(_binary_cross_entropy(p, y), weight)

        return _elementwise_loss(cost, reduction, probabilities.dtype, probabilities, target, weight=weight)

    def _grad_binary_cross_entropy(
        self, v: Array, probabilities: Array, target: Array, *, weight: Array | None, reduction: str
    ) -> Mapping[str, Array]:
        def slope(p: Array, y: Array, weight: Array | None = None) -> Array:
            return _weighted(_binary_slope(p, y), weight)

        share = _share(v, reduction, probabilities.size)
        slopes = _map_slopes(slope, share, probabilities.dtype, probabilities, target, weight=weight)
        return {"probabilities": slopes}

    def sigmoid_cross_entropy(
        self,
        logits: Array,
        target: Array,
        *,
        weight: Array | None,
        pos_weight: Array | None,
        reduction: str,
    ) -> Array:
        def cost(x: Array, y: Array, weight: Array | None = None, pos_weight: Array | None = None) -> Array:
            return _weighted(_logistic_cost(x, _weighted(y, pos_weight), 1 - y), weight)

        return _elementwise_loss(
            cost, reduction, logits.dtype, logits, target, weight=weight, pos_weight=pos_weight
        )

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
        def slope(x: Array, y: Array, weight: Array | None = None, pos_weight: Array | None = None) -> Array:
            return _weighted(_logistic_slope(x, _weighted(y, pos_weight), 1 - y), weight)

        share = _share(v, reduction, logits.size)
        return {
            "logits": _map_slopes(
                slope, share, logits.dtype, logits, target, weight=weight, pos_weight=pos_weight
            )
        }

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
        reduction = "mean" if p.size else "sum"
        return _elementwise_loss(_binary_cross_entropy, reduction, pred_masks.dtype, p, y)

    def _grad_mask_rcnn_mask_loss(
        self, v: Array, target_masks: Array, target_class_ids: Array, pred_masks: Array
    ) -> Mapping[str, Array]:
        where, p, y = _positive_masks(target_masks, target_class_ids, pred_masks)
        slope = np.zeros(pred_masks.shape, pred_masks.dtype)
        share = _share(v, "mean", max(p.size, 1))
        slope[where] = _map_slopes(_binary_slope, share, pred_masks.dtype, p, y)
        return {"pred_masks": slope}

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Array, target_class_ids: Array, mask_logits: Array
    ) -> Array:
        _, x, y = _positive_masks(target_masks, target_class_ids, mask_logits)
        reduction = "mean" if x.size else "sum"
        return _elementwise_loss(lambda x, y: _logistic_cost(x, y, 1 - y), reduction, mask_logits.dtype, x, y)

    def _grad_mask_rcnn_mask_loss_with_logits(
        self, v: Array, target_masks: Array, target_class_ids: Array, mask_logits: Array
    ) -> Mapping[str, Array]:
        where, x, y = _positive_masks(target_masks, target_class_ids, mask_logits)
        slope = np.zeros(mask_logits.shape, mask_logits.dtype)
        share = _share(v, "mean", max(x.size, 1))
        slope[where] = _map_slopes(lambda x, y: _logistic_slope(x, y, 1 - y), share, mask_logits.dtype, x, y)
        return {"mask_logits": slope}

    def mask_rcnn_select_masks(self, pred_masks: Array, class_ids: Array) -> Array:
        return np.take_along_axis(pred_masks, class_ids[:, :, None, None, None], axis=-1)[..., 0]


# -- blocks ----------------------------------------------------------------------------------


def _blocks(length: int, width: int = 1) -> Iterator[slice]:
    """Slices of a first axis, of ``BLOCK`` elements where each entry has ``width`` of them."""
    step = max(1, BLOCK // max(width, 1))
    return (slice(start, start + step) for start in range(0, length, step))


def _elements(
    function: Callable[..., Array], arrays: tuple[Array, ...], optional: Mapping[str, Array | None]
) -> Iterator[tuple[slice, Array]]:
    """Results of an elementwise function for blocks of the broadcast and flattened arrays."""
    named = {name: array for name, array in optional.items() if array is not None}
    flat = [array.reshape(-1) for array in np.broadcast_arrays(*arrays, *named.values())]
    for part in _blocks(flat[0].size):
        given = [_wide(array[part]) for array in flat]
        yield part, function(*given[: len(arrays)], **dict(zip(named, given[len(arrays) :], strict=True)))


def _map(function: Callable[..., Array], dtype: Any, *arrays: Array, **optional: Array | None) -> Array:
    """The function of every element."""
    result = np.empty(np.shape(arrays[0]), dtype)
    flat = result.reshape(-1)
    for part, values in _elements(function, arrays, optional):
        flat[part] = values
    return result


def _map_slopes(
    function: Callable[..., Array], share: Array, dtype: Any, *arrays: Array, **optional: Array | None
) -> Array:
    """The function of every element, times its share."""
    if np.ndim(share):
        return _map(
            lambda s, *given, **named: s * function(*given, **named), dtype, share, *arrays, **optional
        )
    return _map(
        lambda *given, **named: function(*given, **named) * given[0].dtype.type(share),
        dtype, *arrays, **optional,
    )  # fmt: skip


def _elementwise_loss(
    function: Callable[..., Array], reduction: str, dtype: Any, *arrays: Array, **optional: Array | None
) -> Array:
    """The function of every element, reduced; sums of blocks are added up in float64."""
    if reduction == "none":
        return _map(function, dtype, *arrays, **optional)
    total = np.float64(0)
    for _, losses in _elements(function, arrays, optional):
        total += _sum(losses)
    return np.asarray(total / np.float64(arrays[0].size) if reduction == "mean" else total).astype(dtype)


def _axis_last(x: Array, axis: int) -> Array:
    """``np.moveaxis(x, axis, -1)``, which takes its time even where there is nothing to move."""
    return x if axis in (-1, x.ndim - 1) else np.moveaxis(x, axis, -1)


def _axis_back(x: Array, axis: int) -> Array:
    """The reverse of ``_axis_last``."""
    return x if axis in (-1, x.ndim - 1) else np.moveaxis(x, -1, axis)


def _as_rows(x: Array, axis: int) -> Array:
    """Shape (rows, elements along the axis)."""
    moved = _axis_last(x, axis)
    return moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])


def _row_count(x: Array, axis: int) -> int:
    return x.size // x.shape[axis] if x.size else 0


def _in_place(result: Array, rows: Any) -> Array | None:
    """The rows of a result to work in, where they are a view of a dtype that is worked in."""
    return result[rows] if isinstance(rows, slice) and _wide(result[:0]).dtype == result.dtype else None


def _map_rows(
    function: Callable[..., Array], axis: int, dtype: Any, *arrays: Array, share: Array | None = None
) -> Array:
    """The function of every row, times the row's share, which has the axis with length 1 or is a scalar.

    The function may work in ``out``, rows of the result, where that is not None.
    """
    moved = _axis_last(arrays[0], axis).shape
    rows = [_as_rows(array, axis) for array in arrays]
    result = np.empty(rows[0].shape, dtype)
    if share is not None:
        lengths = [1 if i == axis % len(moved) else n for i, n in enumerate(arrays[0].shape)]
        share = _as_rows(np.broadcast_to(share, lengths), axis)
    for part in _blocks(*result.shape):
        out = _in_place(result, part)
        values = function(*(_wide(array[part]) for array in rows), out)
        if share is not None:
            values *= share[part].astype(values.dtype)
        if values is not out:
            result[part] = values
    return _axis_back(result.reshape(moved), axis)


def _row_losses(function: Callable[..., Array], axis: int, *arrays: Array) -> Array:
    """The function of every row: one loss each."""
    rows = [_as_rows(array, axis) for array in arrays]
    losses = np.empty(len(rows[0]), _wide(arrays[0][:0]).dtype)
    for part in _blocks(*rows[0].shape):
        losses[part] = function(*(_wide(array[part]) for array in rows))
    return losses.reshape(_axis_last(arrays[0], axis).shape[:-1])


def _labelled_rows(
    logits: Array, labels: Array, axis: int, ignore_index: int | None
) -> Iterator[tuple[Any, Array, Array]]:
    """Blocks of the rows that count: their places, logits and labels.

    Raises:
        ValueError: a label that counts is outside the classes.
    """
    x, flat = _as_rows(logits, axis), labels.reshape(-1)
    counts = _counting(flat, ignore_index)
    if (counts & ((flat < 0) | (flat >= x.shape[-1]))).any():
        raise ValueError(f"labels must be in [0, {x.shape[-1]}) or ignore_index")
    for part in _blocks(*x.shape):
        rows = part if counts[part].all() else part.start + np.flatnonzero(counts[part])
        yield rows, _wide(x[rows]), flat[rows]


# -- building blocks -------------------------------------------------------------------------


def _wide(x: Array) -> Array:
    """``x`` in float32 at least."""
    return x if x.dtype.itemsize >= 4 else x.astype(np.float32)


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
    product = weight * cost
    if np.isnan(product).any():
        return weight * np.where((weight == 0) & np.isinf(cost), 0, cost)
    return product


def _product_sum(weight: Array, cost: Array) -> Array:
    """Σ weight · cost along rows, in the same sense."""
    total = _sum(weight * cost, axis=-1)
    # A product that is NaN makes its sum NaN, and there are fewer sums to look at.
    return _sum(_product(weight, cost), axis=-1) if np.isnan(total).any() else total


def _sum(x: Array, **options: Any) -> Array:
    """``np.sum``; the method saves a microsecond."""
    return x.sum(**options)


def _row_sum(x: Array) -> Array:
    return _sum(x, axis=-1, keepdims=True)


def _inside(p: Array) -> Array:
    """p, and NaN where it is outside of [0, 1]."""
    outside = (p < 0) | (p > 1)
    return np.where(outside, np.nan, p) if outside.any() else p


def _times_log(y: Array, p: Array) -> Array:
    """y · ln p with 0 · ln 0 = 0, and NaN for p outside [0, 1]."""
    return _product(y, np.log(_inside(p)))


def _quotient(a: Array, b: Array) -> Array:
    """a / b with 0 / 0 = 0."""
    quotient = a / b
    if np.isnan(quotient).any():
        return np.where((a == 0) & (b == 0), 0, quotient)
    return quotient


def _weighted(loss: Array, weight: Array | None) -> Array:
    return loss if weight is None else loss * _wide(weight)


def _sigmoid(x: Array) -> Array:
    # Only exponentials of negative numbers: nothing overflows, small results keep their digits.
    # The numerator is 1 where x >= 0, and e elsewhere.
    e = np.exp(-np.abs(x))
    return np.maximum(e, x >= 0) / (1 + e)


def _sigmoid_slope(x: Array) -> Array:
    """sigmoid(x) · sigmoid(−x)."""
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


def _softplus(x: Array) -> Array:
    """ln(1 + e^x)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _logistic_cost(x: Array, positive: Array, negative: Array) -> Array:
    """positive · softplus(−x) + negative · softplus(x)."""
    tail = np.log1p(np.exp(-np.abs(x)))
    return _product(positive, np.maximum(-x, 0) + tail) + _product(negative, np.maximum(x, 0) + tail)


def _logistic_slope(x: Array, positive: Array, negative: Array) -> Array:
    """negative · sigmoid(x) − positive · sigmoid(−x)."""
    e = np.exp(-np.abs(x))
    return (negative * np.maximum(e, x >= 0) - positive * np.maximum(e, x <= 0)) / (1 + e)


def _shifted(x: Array, axis: int, out: Array | None = None) -> Array:
    """x − max x; a +inf is treated as the limit: 0 for it, −inf for the finite."""
    top = x.max(axis=axis, keepdims=True, initial=-np.inf)
    if not np.isinf(top).any():
        return np.subtract(x, top, out=out)
    # Two infinities (or none but −inf) have no limit: ∞ − ∞ makes the row NaN.
    alone = np.isposinf(top) & (np.sum(np.isposinf(x), axis=axis, keepdims=True) == 1)
    return np.where(alone & np.isposinf(x), 0, x - top)


def _softmax(x: Array, axis: int, out: Array | None = None, scale: Array | None = None) -> Array:
    """The softmax, times a scale of every row; may work in ``out``."""
    powers = _shifted(x, axis, out)
    np.exp(powers, out=powers)
    total = _sum(powers, axis=axis, keepdims=True)
    if scale is None:
        powers /= total
    else:
        powers *= scale / total
    return powers


def _log_softmax(x: Array, axis: int, out: Array | None = None) -> Array:
    shifted = _shifted(x, axis, out)
    shifted -= np.log(_sum(np.exp(shifted), axis=axis, keepdims=True))
    return shifted


def _label_cost(x: Array, labels: Array) -> Array:
    """−log_softmax(x) at the label of every row."""
    powers = _shifted(x, -1)
    shifted = powers[np.arange(len(labels)), labels]
    np.exp(powers, out=powers)
    return np.log(_sum(powers, axis=-1)) - shifted


def _smoothed(target: Array, axis: int, label_smoothing: float) -> Array:
    if not label_smoothing:
        return target
    return (1 - label_smoothing) * target + label_smoothing / target.shape[axis]


def _label_targets(labels: Array, x: Array, weight: Array | None, label_smoothing: float) -> Array:
    """The weighted target distribution of rows of logits with their labels."""
    y = np.zeros_like(x)
    np.put_along_axis(y, labels[:, None], 1, axis=-1)
    y = _smoothed(y, -1, label_smoothing)
    return y if weight is None else y * _wide(weight)


def _counting(labels: Array, ignore_index: int | None) -> Array:
    """Which labels count."""
    return np.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index


def _label_weight(labels: Array, weight: Array | None, ignore_index: int | None) -> Any:
    """What a mean divides by: the weight of the labels that count."""
    counts = _counting(labels, ignore_index)
    if weight is None:
        return np.float64(np.count_nonzero(counts))
    return _sum(_wide(weight)[labels[counts]], dtype=np.float64)


def _binary_cross_entropy(p: Array, y: Array) -> Array:
    p = _inside(p)
    return -(_product(y, np.log(p)) + _product(1 - y, np.log1p(-p)))


def _binary_slope(p: Array, y: Array) -> Array:
    """(1−y)/(1−p) − y/p, where a term whose target is 0 is absent."""
    p = _inside(p)
    return _quotient(1 - y, 1 - p) - _quotient(y, p)


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
