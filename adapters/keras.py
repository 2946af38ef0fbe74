"""Keras 3 on its TensorFlow backend: keras.losses and keras.ops."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from keras import ops

from lossproof import Unavailable, Unsupported

from ._pspnet import PspnetTotalLoss
from .tensorflow import TensorFlowArrays

# What Keras calls the reductions.
_KERAS = {"none": "none", "sum": "sum", "mean": "sum_over_batch_size"}
_REDUCE = {"none": lambda loss: loss, "sum": ops.sum, "mean": ops.mean}


class KerasAdapter(PspnetTotalLoss, TensorFlowArrays):
    """Losses are given the dtype of their inputs; Keras would cast them to float32 otherwise."""

    name = "keras"
    backend = "keras"
    version = keras.__version__

    def __init__(self) -> None:
        if keras.backend.backend() != "tensorflow":
            raise Unavailable(f"KERAS_BACKEND is {keras.backend.backend()}; this adapter needs tensorflow")

    def _dtype(self, array: Any) -> str:
        return keras.backend.standardize_dtype(array.dtype)

    # -- functions that Keras has --------------------------------------------------------------

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        if reduction != "mean":
            raise Unsupported("keras.losses.MeanSquaredError averages over the last axis first")
        if half:
            raise Unsupported("keras.losses has no half squared error")
        loss = keras.losses.MeanSquaredError(dtype=self._dtype(prediction))
        return loss(target, prediction)

    def sigmoid(self, logits: Any) -> Any:
        return ops.sigmoid(logits)

    def log_sigmoid(self, logits: Any) -> Any:
        return ops.log_sigmoid(logits)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return ops.softmax(logits, axis=axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return ops.log_softmax(logits, axis=axis)

    def euclidean_distance(self, prediction: Any, target: Any, *, axis: int) -> Any:
        return ops.norm(prediction - target, axis=axis)

    def cross_entropy(self, probabilities: Any, target: Any, *, axis: int, reduction: str) -> Any:
        loss = keras.losses.CategoricalCrossentropy(
            axis=axis, reduction=_KERAS[reduction], dtype=self._dtype(probabilities)
        )
        return loss(target, probabilities)

    def softmax_cross_entropy(
        self, logits: Any, target: Any, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=True,
            label_smoothing=label_smoothing,
            axis=axis,
            reduction=_KERAS[reduction],
            dtype=self._dtype(logits),
        )
        return loss(target, logits)

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
        if weight is not None or label_smoothing:
            raise Unsupported(
                "keras.losses.SparseCategoricalCrossentropy has no class weights or label smoothing"
            )
        if axis != -1:
            order = list(range(len(logits.shape)))
            order.append(order.pop(axis))
            logits = ops.transpose(logits, order)
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True,
            ignore_class=ignore_index,
            reduction=_KERAS[reduction],
            dtype=self._dtype(logits),
        )
        return loss(labels, logits)

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        if weight is not None:
            raise Unsupported("keras.ops.binary_crossentropy has no element weights")
        return _REDUCE[reduction](ops.binary_crossentropy(target, probabilities))

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        if weight is not None or pos_weight is not None:
            raise Unsupported("keras.ops.binary_crossentropy has no weights")
        return _REDUCE[reduction](ops.binary_crossentropy(target, logits, from_logits=True))

    # -- functions that its users compose ------------------------------------------------------

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        # keras.ops.image.resize samples at half-pixel centres, PSPNet at corners: index instead.
        rows = ops.arange(size[0], dtype="int64") * labels.shape[1] // size[0]
        columns = ops.arange(size[1], dtype="int64") * labels.shape[2] // size[1]
        return ops.take(ops.take(labels, rows, axis=1), columns, axis=2)

    def pspnet_loss(self, logits: Any, labels: Any, *, num_classes: int, reduction: str) -> Any:
        resized = self.pspnet_resize_labels(labels, size=tuple(logits.shape[1:3]))
        # Keras rounds labels to the dtype of the loss, in which num_classes may be the last class.
        dropped = 2 * num_classes
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True,
            ignore_class=dropped,
            reduction=_KERAS[reduction],
            dtype=self._dtype(logits),
        )
        return loss(ops.where(resized >= num_classes, dropped, resized), logits)

    def pspnet_predict(self, logits: Any) -> Any:
        return ops.argmax(logits, axis=-1)

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        return self._mask_loss(target_masks, target_class_ids, pred_masks, from_logits=False)

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Any, target_class_ids: Any, mask_logits: Any
    ) -> Any:
        return self._mask_loss(target_masks, target_class_ids, mask_logits, from_logits=True)

    def _mask_loss(self, target_masks: Any, target_class_ids: Any, masks: Any, *, from_logits: bool) -> Any:
        # As mrcnn_mask_loss_graph does it: flatten to RoIs, one row per RoI and class.
        height, width, classes = masks.shape[2:]
        ids = ops.reshape(target_class_ids, (-1,))
        (positive,) = ops.nonzero(ids > 0)
        if positive.shape[0] == 0:
            return ops.zeros((), dtype=masks.dtype)
        by_class = ops.reshape(ops.transpose(masks, (0, 1, 4, 2, 3)), (-1, height, width))
        index = ops.cast(positive, ids.dtype) * classes + ops.take(ids, positive)
        own = ops.take(by_class, index, axis=0)
        target = ops.take(ops.reshape(target_masks, (-1, height, width)), positive, axis=0)
        return ops.mean(ops.binary_crossentropy(target, own, from_logits=from_logits))

    def mask_rcnn_select_masks(self, pred_masks: Any, class_ids: Any) -> Any:
        index = class_ids[:, :, None, None, None]
        return ops.take_along_axis(pred_masks, index, axis=-1)[..., 0]
