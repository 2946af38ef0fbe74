"""Paddle: paddle.nn.functional as its users call it, in dynamic graph mode on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
import paddle.nn.functional as F

from lossproof import Call

from ._pspnet import PspnetTotalLoss

_REDUCE = {"none": lambda loss: loss, "sum": paddle.sum, "mean": paddle.mean}


class PaddleAdapter(PspnetTotalLoss):
    """paddle.nn.functional, and Paddle's primitives where it has no function."""

    name = "paddle"
    backend = "paddle"
    version = paddle.__version__
    device = "cpu"
    # Of half precision the CPU has few kernels: neither square, softmax nor cross entropy.
    dtypes = ("float64", "float32")
    weight_gradients = True

    def __init__(self) -> None:
        paddle.set_device("cpu")

    def from_numpy(self, array: Any) -> Any:
        return paddle.to_tensor(array)

    def to_numpy(self, array: Any) -> Any:
        return array.numpy()

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        leaves = {name: arrays[name].detach() for name in wrt}
        for leaf in leaves.values():
            leaf.stop_gradient = False
        value = function(*{**arrays, **leaves}.values())
        gradients = paddle.grad([value], list(leaves.values()), [cotangent])
        return value, dict(zip(leaves, gradients, strict=True))

    # -- functions that Paddle has -------------------------------------------------------------

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        loss = F.mse_loss(prediction, target, reduction=reduction)
        return 0.5 * loss if half else loss

    def euclidean_distance(self, prediction: Any, target: Any, *, axis: int) -> Any:
        return paddle.linalg.norm(prediction - target, p=2, axis=axis)

    def sigmoid(self, logits: Any) -> Any:
        return F.sigmoid(logits)

    def log_sigmoid(self, logits: Any) -> Any:
        return F.log_sigmoid(logits)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return F.softmax(logits, axis=axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return F.log_softmax(logits, axis=axis)

    def softmax_cross_entropy(
        self, logits: Any, target: Any, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        loss = F.cross_entropy(
            logits,
            target,
            soft_label=True,
            axis=axis,
            label_smoothing=label_smoothing,
            reduction=reduction,
        )
        # Without a reduction Paddle keeps the axis, with length 1.
        return loss.squeeze(axis) if reduction == "none" else loss

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
        ignoring: dict[str, Any] = {} if ignore_index is None else {"ignore_index": ignore_index}
        return F.cross_entropy(
            logits,
            labels,
            weight=weight,
            axis=axis,
            label_smoothing=label_smoothing,
            reduction=reduction,
            **ignoring,
        )

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        return F.binary_cross_entropy(probabilities, target, weight=weight, reduction=reduction)

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        return F.binary_cross_entropy_with_logits(
            logits, target, weight=weight, reduction=reduction, pos_weight=pos_weight
        )

    # -- functions that its users compose ------------------------------------------------------

    def cross_entropy(self, probabilities: Any, target: Any, *, axis: int, reduction: str) -> Any:
        loss = -paddle.sum(target * paddle.log(probabilities), axis=axis)
        return _REDUCE[reduction](loss)

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        # Of the integers interpolate has a kernel for int64 alone.
        resized = F.interpolate(labels.unsqueeze(1).astype("int64"), size=list(size), mode="nearest")
        return resized.squeeze(1).astype(labels.dtype)

    def pspnet_loss(self, logits: Any, labels: Any, *, num_classes: int, reduction: str) -> Any:
        resized = self.pspnet_resize_labels(labels, size=(logits.shape[1], logits.shape[2]))
        resized = paddle.clip(resized, max=num_classes)
        return F.cross_entropy(logits, resized, ignore_index=num_classes, axis=-1, reduction=reduction)

    def pspnet_predict(self, logits: Any) -> Any:
        return paddle.argmax(logits, axis=-1)

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        own, target = self._positive_masks(target_masks, target_class_ids, pred_masks)
        if own is None:
            return paddle.sum(0.0 * pred_masks[:0])
        return F.binary_cross_entropy(own, target)

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Any, target_class_ids: Any, mask_logits: Any
    ) -> Any:
        own, target = self._positive_masks(target_masks, target_class_ids, mask_logits)
        if own is None:
            return paddle.sum(0.0 * mask_logits[:0])
        return F.binary_cross_entropy_with_logits(own, target)

    def _positive_masks(self, target_masks: Any, target_class_ids: Any, masks: Any) -> tuple[Any, Any]:
        positive = paddle.nonzero(target_class_ids > 0)
        if positive.shape[0] == 0:
            return None, None
        b, r = positive[:, 0], positive[:, 1]
        own = masks.transpose([0, 1, 4, 2, 3])[b, r, target_class_ids[b, r]]
        return own, target_masks[b, r]

    def mask_rcnn_select_masks(self, pred_masks: Any, class_ids: Any) -> Any:
        index = class_ids.reshape([*class_ids.shape, 1, 1, 1])
        index = index.expand([*pred_masks.shape[:-1], 1])
        return paddle.take_along_axis(pred_masks, index, axis=-1).squeeze(-1)
