"""MLX: mlx.core and mlx.nn.losses, eager, on its default device."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import ml_dtypes
import mlx.core as mx
import mlx.nn as nn
import numpy as np

from lossproof import Call, Unsupported

from ._pspnet import PspnetTotalLoss

_REDUCE = {"none": lambda loss: loss, "sum": mx.sum, "mean": mx.mean}


def _as_large(weight: Any, target: Any) -> Any:
    """The weights of each element, which MLX does not broadcast itself."""
    return None if weight is None else mx.broadcast_to(weight, target.shape)


class MlxAdapter(PspnetTotalLoss):
    """mlx.nn's functions and losses, and mlx.core where there is none."""

    name = "mlx"
    backend = "mlx"
    version = version("mlx")
    weight_gradients = True

    def __init__(self) -> None:
        self.device = "cpu" if mx.default_device() == mx.cpu else "gpu"
        # mlx.nn compiles some functions once for all shapes; what a case gives must not depend on
        # the cases before it.
        mx.disable_compile()

    def from_numpy(self, array: Any) -> Any:
        if array.dtype == ml_dtypes.bfloat16:
            return mx.array(array.view(np.uint16)).view(mx.bfloat16)
        # Without a dtype MLX turns float64 into float32.
        return mx.array(array, dtype=getattr(mx, array.dtype.name))

    def to_numpy(self, array: Any) -> Any:
        if array.dtype == mx.bfloat16:
            return np.array(array.view(mx.uint16)).view(ml_dtypes.bfloat16)
        return np.array(array)

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        def call(*leaves: Any) -> list[Any]:
            return [function(*{**arrays, **dict(zip(wrt, leaves, strict=True))}.values())]

        primals = [arrays[name] for name in wrt]
        seed = mx.ones_like(call(*primals)[0]) if cotangent is None else cotangent
        (value,), gradients = mx.vjp(call, primals, [seed])
        return value, dict(zip(wrt, gradients, strict=True))

    def synchronize(self) -> None:
        mx.synchronize()

    # -- functions that MLX has ----------------------------------------------------------------

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        loss = nn.losses.mse_loss(prediction, target, reduction=reduction)
        return 0.5 * loss if half else loss

    def euclidean_distance(self, prediction: Any, target: Any, *, axis: int) -> Any:
        return mx.linalg.norm(prediction - target, axis=axis)

    def sigmoid(self, logits: Any) -> Any:
        return mx.sigmoid(logits)

    def log_sigmoid(self, logits: Any) -> Any:
        return nn.log_sigmoid(logits)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return mx.softmax(logits, axis=axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return nn.log_softmax(logits, axis=axis)

    def softmax_cross_entropy(
        self, logits: Any, target: Any, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        return nn.losses.cross_entropy(
            logits, target, axis=axis, label_smoothing=label_smoothing, reduction=reduction
        )

    def sparse_softmax_cross_entropy(
        self,
        logits: Any,
        labels: Any,
        *,
        axis: int,
        weight: Any,
        ignore_index: int | None,
        label_smoothing: float,
        reduction: str,
    ) -> Any:
        if weight is not None or ignore_index is not None:
            raise Unsupported("mlx.nn.losses.cross_entropy has no class weights and no ignored label")
        return nn.losses.cross_entropy(
            logits, labels, axis=axis, label_smoothing=label_smoothing, reduction=reduction
        )

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        return nn.losses.binary_cross_entropy(
            probabilities, target, weights=_as_large(weight, target), with_logits=False, reduction=reduction
        )

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        if pos_weight is not None:
            raise Unsupported("mlx.nn.losses.binary_cross_entropy has no pos_weight")
        return nn.losses.binary_cross_entropy(
            logits, target, weights=_as_large(weight, target), reduction=reduction
        )

    # -- functions that its users compose ------------------------------------------------------

    def cross_entropy(self, probabilities: Any, target: Any, *, axis: int, reduction: str) -> Any:
        return _REDUCE[reduction](-mx.sum(target * mx.log(probabilities), axis=axis))

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        # mlx.nn.Upsample takes a scale factor, not a size: index instead.
        # In 64 bits: i * H leaves 32 for large maps.
        rows = mx.arange(size[0], dtype=mx.int64) * labels.shape[1] // size[0]
        columns = mx.arange(size[1], dtype=mx.int64) * labels.shape[2] // size[1]
        return labels[:, rows[:, None], columns]

    def pspnet_loss(self, logits: Any, labels: Any, *, num_classes: int, reduction: str) -> Any:
        resized = self.pspnet_resize_labels(labels, size=(logits.shape[1], logits.shape[2]))
        kept = resized < num_classes
        # Shapes are fixed, so dropped pixels are masked; the inner where keeps a NaN under the
        # mask out of the gradient.
        logits = mx.where(kept[..., None], logits, mx.zeros_like(logits))
        loss = nn.losses.cross_entropy(logits, mx.where(kept, resized, 0))
        loss = mx.where(kept, loss, mx.zeros_like(loss))
        if reduction == "mean":
            return mx.sum(loss) / mx.sum(kept).astype(loss.dtype)
        return _REDUCE[reduction](loss)

    def pspnet_predict(self, logits: Any) -> Any:
        return mx.argmax(logits, axis=-1)

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        return self._mask_loss(target_masks, target_class_ids, pred_masks, 0.5, with_logits=False)

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Any, target_class_ids: Any, mask_logits: Any
    ) -> Any:
        return self._mask_loss(target_masks, target_class_ids, mask_logits, 0.0, with_logits=True)

    def _mask_loss(self, targets: Any, ids: Any, masks: Any, neutral: float, *, with_logits: bool) -> Any:
        positive = (ids > 0)[:, :, None, None]
        # take_along_axis checks no index: RoIs that do not count take the mask of class 0.
        own = mx.take_along_axis(masks, mx.maximum(ids, 0)[:, :, None, None, None], axis=-1)[..., 0]
        own = mx.where(positive, own, mx.full(own.shape, neutral, own.dtype))
        loss = nn.losses.binary_cross_entropy(own, targets, with_logits=with_logits, reduction="none")
        loss = mx.where(positive, loss, mx.zeros_like(loss))
        count = mx.sum(ids > 0) * loss.shape[2] * loss.shape[3]
        return mx.sum(loss) / mx.maximum(count, 1).astype(loss.dtype)

    def mask_rcnn_select_masks(self, pred_masks: Any, class_ids: Any) -> Any:
        return mx.take_along_axis(pred_masks, class_ids[:, :, None, None, None], axis=-1)[..., 0]
