"""NumPy: the reference implementation, written to be read beside the specification.

``_numpy_formulas`` holds the definitions and their gradients, ``_numpy_derivatives`` what goes beyond;
``_numpy_blocks`` runs them over large arrays. What stands here is which formula answers for which function,
and how it is reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from lossproof import Call

from ._numpy_blocks import (
    Array,
    map_elements,
    map_rows,
    narrowed,
    per_row,
    row_costs,
    row_count,
    scattered,
    sum_elements,
    wide,
)
from ._numpy_derivatives import NumpyDerivatives
from ._numpy_formulas import (
    binary_cross_entropy,
    binary_cross_entropy_gradient,
    counting,
    cross_entropy,
    cross_entropy_gradient,
    euclidean_distance,
    euclidean_distance_gradient,
    l2,
    l2_gradient,
    label_weight,
    log_sigmoid,
    log_sigmoid_gradient,
    log_softmax,
    log_softmax_gradient,
    own_masks,
    predicted,
    reduced,
    reduced_gradient,
    resized_labels,
    selected_masks,
    sigmoid,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_gradient,
    sigmoid_gradient,
    smoothed_sparse_softmax_cross_entropy,
    smoothed_sparse_softmax_cross_entropy_gradient,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
    softmax_gradient,
    sparse_softmax_cross_entropy,
    sparse_softmax_cross_entropy_gradient,
)
from ._numpy_weights import gradient_of_weight

Gradients = dict[str, Array]


class NumpyAdapter(NumpyDerivatives):
    """The functions of the specification; for each ``f`` with gradients, ``_grad_f``.

    ``_grad_f(v, *arrays, **parameters)`` returns the gradients with respect to the function's
    differentiable arrays for the cotangent v, an array of the result's shape.
    """

    name = "numpy"
    version = np.__version__
    weight_gradients = True
    # They are of these gradients: a subclass that gives others has none of them.
    jvp, hvp = NumpyDerivatives.jvp, NumpyDerivatives.hvp

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Array],
        wrt: tuple[str, ...],
        *,
        cotangent: Array | None = None,
    ) -> tuple[Array, Gradients]:
        value = function(*arrays.values())
        # Ones that take no memory.
        ones = np.broadcast_to(wide(np.ones((), np.asarray(value).dtype)), np.shape(value))
        gradient = getattr(self, f"_grad_{function.function}")
        v = ones if cotangent is None else wide(cotangent)
        own, parameters = function.apart(arrays)
        slopes = gradient(v, *own.values(), **parameters)
        if "target" in wrt and "target" not in slopes:
            slopes = {**slopes, "target": self.gradient_of_target(function, own, v)}
        slopes |= {
            name: gradient_of_weight(function.function, name, v, own, parameters) for name in function.moved
        }
        return value, {name: slopes[name].astype(arrays[name].dtype, copy=False) for name in wrt}

    # -- l2 ----------------------------------------------------------------------------------

    def l2_loss(self, prediction: Array, target: Array, *, reduction: str, half: bool) -> Array:
        return _elementwise_loss(partial(l2, half=half), reduction, prediction, target)

    def _grad_l2_loss(
        self, v: Array, prediction: Array, target: Array, *, reduction: str, half: bool
    ) -> Gradients:
        share = reduced_gradient(v, reduction, prediction.size)
        slope = map_elements(partial(l2_gradient, half=half), prediction, target, share)
        return {"prediction": slope, "target": -slope}

    def euclidean_distance(self, prediction: Array, target: Array, *, axis: int) -> Array:
        return row_costs(euclidean_distance, axis, prediction, target).astype(prediction.dtype)

    def _grad_euclidean_distance(self, v: Array, prediction: Array, target: Array, *, axis: int) -> Gradients:
        slope = map_rows(euclidean_distance_gradient, axis, prediction, target, per_row(v, axis))
        return {"prediction": slope, "target": -slope}

    # -- sigmoid and softmax -----------------------------------------------------------------

    def sigmoid(self, logits: Array) -> Array:
        return map_elements(sigmoid, logits)

    def _grad_sigmoid(self, v: Array, logits: Array) -> Gradients:
        return {"logits": map_elements(sigmoid_gradient, logits, v)}

    def log_sigmoid(self, logits: Array) -> Array:
        return map_elements(log_sigmoid, logits)

    def _grad_log_sigmoid(self, v: Array, logits: Array) -> Gradients:
        return {"logits": map_elements(log_sigmoid_gradient, logits, v)}

    def softmax(self, logits: Array, *, axis: int) -> Array:
        return map_rows(softmax, axis, logits)

    def _grad_softmax(self, v: Array, logits: Array, *, axis: int) -> Gradients:
        return {"logits": map_rows(softmax_gradient, axis, logits, narrowed(v, axis))}

    def log_softmax(self, logits: Array, *, axis: int) -> Array:
        return map_rows(log_softmax, axis, logits)

    def _grad_log_softmax(self, v: Array, logits: Array, *, axis: int) -> Gradients:
        return {"logits": map_rows(log_softmax_gradient, axis, logits, v)}

    # -- cross entropy -----------------------------------------------------------------------

    def cross_entropy(self, probabilities: Array, target: Array, *, axis: int, reduction: str) -> Array:
        costs = row_costs(cross_entropy, axis, probabilities, target)
        return reduced(costs, reduction).astype(probabilities.dtype)

    def _grad_cross_entropy(
        self, v: Array, probabilities: Array, target: Array, *, axis: int, reduction: str
    ) -> Gradients:
        share = _row_share(v, reduction, row_count(probabilities, axis), axis)
        return {"probabilities": map_rows(cross_entropy_gradient, axis, probabilities, target, share)}

    def softmax_cross_entropy(
        self, logits: Array, target: Array, *, axis: int, label_smoothing: float, reduction: str
    ) -> Array:
        cost = partial(softmax_cross_entropy, label_smoothing=label_smoothing)
        return reduced(row_costs(cost, axis, logits, target), reduction).astype(logits.dtype)

    def _grad_softmax_cross_entropy(
        self,
        v: Array,
        logits: Array,
        target: Array,
        *,
        axis: int,
        label_smoothing: float,
        reduction: str,
    ) -> Gradients:
        share = _row_share(v, reduction, row_count(logits, axis), axis)
        gradient = partial(softmax_cross_entropy_gradient, label_smoothing=label_smoothing)
        return {"logits": map_rows(gradient, axis, logits, target, share)}

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
        weight = None if weight is None else wide(weight)
        counts = counting(labels, logits.shape[axis], ignore_index)
        cost = partial(sparse_softmax_cross_entropy, weight=weight)
        if label_smoothing:
            cost = partial(
                smoothed_sparse_softmax_cross_entropy, label_smoothing=label_smoothing, weight=weight
            )
        costs = row_costs(cost, axis, logits, per_row(labels, axis), counts=counts)
        return reduced(costs, reduction, label_weight(labels, counts, weight)).astype(logits.dtype)

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
    ) -> Gradients:
        weight = None if weight is None else wide(weight)
        counts = counting(labels, logits.shape[axis], ignore_index)
        share = _row_share(v, reduction, label_weight(labels, counts, weight), axis)
        gradient = partial(sparse_softmax_cross_entropy_gradient, weight=weight)
        if label_smoothing:
            gradient = partial(
                smoothed_sparse_softmax_cross_entropy_gradient,
                label_smoothing=label_smoothing,
                weight=weight,
            )
        return {"logits": map_rows(gradient, axis, logits, per_row(labels, axis), share, counts=counts)}

    def binary_cross_entropy(
        self, probabilities: Array, target: Array, *, weight: Array | None, reduction: str
    ) -> Array:
        return _elementwise_loss(binary_cross_entropy, reduction, probabilities, target, weight)

    def _grad_binary_cross_entropy(
        self, v: Array, probabilities: Array, target: Array, *, weight: Array | None, reduction: str
    ) -> Gradients:
        share = reduced_gradient(v, reduction, probabilities.size)
        slope = map_elements(binary_cross_entropy_gradient, probabilities, target, share, weight)
        return {"probabilities": slope}

    def sigmoid_cross_entropy(
        self,
        logits: Array,
        target: Array,
        *,
        weight: Array | None,
        pos_weight: Array | None,
        reduction: str,
    ) -> Array:
        return _elementwise_loss(sigmoid_cross_entropy, reduction, logits, target, weight, pos_weight)

    def _grad_sigmoid_cross_entropy(
        self,
        v: Array,
        logits: Array,
        target: Array,
        *,
        weight: Array | None,
        pos_weight: Array | None,
        reduction: str,
    ) -> Gradients:
        share = reduced_gradient(v, reduction, logits.size)
        slope = map_elements(sigmoid_cross_entropy_gradient, logits, target, share, weight, pos_weight)
        return {"logits": slope}

    # -- PSPNet ------------------------------------------------------------------------------

    def pspnet_resize_labels(self, labels: Array, *, size: tuple[int, int]) -> Array:
        return resized_labels(labels, *size)

    def pspnet_loss(self, logits: Array, labels: Array, *, num_classes: int, reduction: str) -> Array:
        return self.sparse_softmax_cross_entropy(
            logits, **self._pspnet_head(logits, labels, num_classes), reduction=reduction
        )

    def _grad_pspnet_loss(
        self, v: Array, logits: Array, labels: Array, *, num_classes: int, reduction: str
    ) -> Gradients:
        return self._grad_sparse_softmax_cross_entropy(
            v, logits, **self._pspnet_head(logits, labels, num_classes), reduction=reduction
        )

    def _pspnet_head(self, logits: Array, labels: Array, num_classes: int) -> dict[str, Any]:
        """Resized labels, those of no class replaced by num_classes, which is ignored (PSP-3)."""
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
        main = self.pspnet_loss(wide(logits), labels, num_classes=num_classes, reduction="mean")
        auxiliary = self.pspnet_loss(wide(aux_logits), labels, num_classes=num_classes, reduction="mean")
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
    ) -> Gradients:
        heads = {"logits": (logits, v), "aux_logits": (aux_logits, v * aux_weight)}
        return {
            name: self._grad_pspnet_loss(weight, head, labels, num_classes=num_classes, reduction="mean")[
                "logits"
            ]
            for name, (head, weight) in heads.items()
        }

    def pspnet_predict(self, logits: Array) -> Array:
        return predicted(logits)

    # -- Mask R-CNN --------------------------------------------------------------------------

    def mask_rcnn_mask_loss(self, target_masks: Array, target_class_ids: Array, pred_masks: Array) -> Array:
        _, p, y = own_masks(target_masks, target_class_ids, pred_masks)
        return _elementwise_loss(binary_cross_entropy, "mean" if p.size else "sum", p, y)

    def _grad_mask_rcnn_mask_loss(
        self, v: Array, target_masks: Array, target_class_ids: Array, pred_masks: Array
    ) -> Gradients:
        where, p, y = own_masks(target_masks, target_class_ids, pred_masks)
        share = reduced_gradient(v, "mean", max(p.size, 1))
        slope = map_elements(binary_cross_entropy_gradient, p, y, share)
        return {"pred_masks": scattered(slope, where, pred_masks)}

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Array, target_class_ids: Array, mask_logits: Array
    ) -> Array:
        _, x, y = own_masks(target_masks, target_class_ids, mask_logits)
        return _elementwise_loss(sigmoid_cross_entropy, "mean" if x.size else "sum", x, y)

    def _grad_mask_rcnn_mask_loss_with_logits(
        self, v: Array, target_masks: Array, target_class_ids: Array, mask_logits: Array
    ) -> Gradients:
        where, x, y = own_masks(target_masks, target_class_ids, mask_logits)
        share = reduced_gradient(v, "mean", max(x.size, 1))
        slope = map_elements(sigmoid_cross_entropy_gradient, x, y, share)
        return {"mask_logits": scattered(slope, where, mask_logits)}

    def mask_rcnn_select_masks(self, pred_masks: Array, class_ids: Array) -> Array:
        return selected_masks(pred_masks, class_ids)


def _elementwise_loss(cost: Callable[..., Array], reduction: str, x: Array, *others: Array | None) -> Array:
    """The cost of every element, reduced; in the dtype of the first array."""
    if reduction == "none":
        return map_elements(cost, x, *others)
    return reduced(sum_elements(cost, x, *others), reduction, x.size).astype(x.dtype)


def _row_share(v: Array, reduction: str, count: Any, axis: int) -> Array:
    """What a unit of each row's cost counts: a scalar, or with an axis of length 1."""
    share = reduced_gradient(v, reduction, count)
    return per_row(share, axis) if reduction == "none" else share
