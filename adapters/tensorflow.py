"""TensorFlow: tf.nn and tf.math as their users call them; eager, compiled by XLA, and on a GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the notices that importing it prints

import tensorflow as tf

from lossproof import Adapter, Call, Unavailable, Unsupported

from ._pspnet import PspnetTotalLoss
from ._tensorflow_modes import MODES, Xla

_REDUCE = {"none": lambda loss: loss, "sum": tf.reduce_sum, "mean": tf.reduce_mean}


class TensorFlowArrays(Adapter):
    """Arrays, gradients and version of TensorFlow, on the CPU."""

    backend = "tensorflow"
    version = tf.__version__
    device = "cpu"
    modes = MODES
    weight_gradients = True

    placed = "/CPU:0"
    """TensorFlow's name of the device."""

    def from_numpy(self, array: Any) -> Any:
        with tf.device(self.placed):
            return tf.constant(array)

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
        with tf.device(self.placed), tf.GradientTape() as tape:
            watched = [arrays[name] for name in wrt]
            tape.watch(watched)
            value = function(*arrays.values())
        gradients = tape.gradient(
            value,
            watched,
            output_gradients=cotangent,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return value, dict(zip(wrt, map(tf.convert_to_tensor, gradients), strict=True))

    def backward_twice(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        with tf.device(self.placed), tf.GradientTape(persistent=True) as tape:
            watched = [arrays[name] for name in wrt]
            tape.watch(watched)
            value = function(*arrays.values())
        for _ in range(2):
            gradients = tape.gradient(
                value,
                watched,
                output_gradients=cotangent,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
        return value, dict(zip(wrt, map(tf.convert_to_tensor, gradients), strict=True))

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        primals = [arrays[name] for name in tangents]
        with (
            tf.device(self.placed),
            tf.autodiff.ForwardAccumulator(primals, list(tangents.values())) as accumulator,
        ):
            value = function(*arrays.values())
        return accumulator.jvp(value, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        watched = [arrays[name] for name in tangents]
        zero = tf.UnconnectedGradients.ZERO
        with tf.device(self.placed), tf.GradientTape() as outer:
            outer.watch(watched)
            with tf.GradientTape() as tape:
                tape.watch(watched)
                value = function(*arrays.values())
            gradients = tape.gradient(value, watched, output_gradients=cotangent, unconnected_gradients=zero)
            gradients = list(map(tf.convert_to_tensor, gradients))
        curved = outer.gradient(
            gradients, watched, output_gradients=list(tangents.values()), unconnected_gradients=zero
        )
        return dict(zip(tangents, map(tf.convert_to_tensor, curved), strict=True))


class TensorFlowAdapter(PspnetTotalLoss, TensorFlowArrays):
    """Eager TensorFlow. Reductions are tf.reduce_mean and tf.reduce_sum, since tf.nn has none."""

    name = "tensorflow"

    # -- functions that TensorFlow has ---------------------------------------------------------

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        if half and reduction == "sum":
            return tf.nn.l2_loss(prediction - target)
        loss = _REDUCE[reduction](tf.math.squared_difference(prediction, target))
        return 0.5 * loss if half else loss

    def euclidean_distance(self, prediction: Any, target: Any, *, axis: int) -> Any:
        return tf.norm(prediction - target, axis=axis)

    def sigmoid(self, logits: Any) -> Any:
        return tf.math.sigmoid(logits)

    def log_sigmoid(self, logits: Any) -> Any:
        return tf.math.log_sigmoid(logits)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return tf.nn.softmax(logits, axis=axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return tf.nn.log_softmax(logits, axis=axis)

    def softmax_cross_entropy(
        self, logits: Any, target: Any, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        if label_smoothing:
            raise Unsupported("tf.nn.softmax_cross_entropy_with_logits has no label smoothing")
        loss = tf.nn.softmax_cross_entropy_with_logits(labels=target, logits=logits, axis=axis)
        return _REDUCE[reduction](loss)

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
        if weight is not None or ignore_index is not None or label_smoothing:
            raise Unsupported(
                "tf.nn.sparse_softmax_cross_entropy_with_logits has no class weights, "
                "ignored label or label smoothing"
            )
        # The classes have to be last.
        order = list(range(len(logits.shape)))
        order.append(order.pop(axis))
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=labels, logits=tf.transpose(logits, order)
        )
        return _REDUCE[reduction](loss)

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        if weight is not None:
            raise Unsupported("tf.nn.sigmoid_cross_entropy_with_logits has no element weights")
        if pos_weight is None:
            loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=logits)
        else:
            loss = tf.nn.weighted_cross_entropy_with_logits(
                labels=target, logits=logits, pos_weight=pos_weight
            )
        return _REDUCE[reduction](loss)

    # -- functions that its users compose ------------------------------------------------------

    def cross_entropy(self, probabilities: Any, target: Any, *, axis: int, reduction: str) -> Any:
        loss = -tf.reduce_sum(tf.math.xlogy(target, probabilities), axis=axis)
        return _REDUCE[reduction](loss)

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        loss = -(tf.math.xlogy(target, probabilities) + tf.math.xlog1py(1 - target, -probabilities))
        return _REDUCE[reduction](loss if weight is None else weight * loss)

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        # The kernel that PSPNet for TensorFlow was written with; tf.image.resize samples at
        # half-pixel centres.
        return tf.compat.v1.image.resize_nearest_neighbor(labels[..., None], size)[..., 0]

    def pspnet_loss(self, logits: Any, labels: Any, *, num_classes: int, reduction: str) -> Any:
        resized = self.pspnet_resize_labels(labels, size=tuple(logits.shape[1:3]))
        kept = tf.where(resized < num_classes)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.gather_nd(resized, kept), logits=tf.gather_nd(logits, kept)
        )
        if reduction == "none":
            return tf.scatter_nd(kept, loss, tf.shape(resized, out_type=tf.int64))
        return _REDUCE[reduction](loss)

    def pspnet_predict(self, logits: Any) -> Any:
        return tf.argmax(logits, axis=-1)

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        own, target = self._positive_masks(target_masks, target_class_ids, pred_masks)
        return tf.cond(
            tf.size(own) > 0,
            lambda: self.binary_cross_entropy(own, target, weight=None, reduction="mean"),
            lambda: tf.constant(0, pred_masks.dtype),
        )

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Any, target_class_ids: Any, mask_logits: Any
    ) -> Any:
        own, target = self._positive_masks(target_masks, target_class_ids, mask_logits)
        return tf.cond(
            tf.size(own) > 0,
            lambda: self.sigmoid_cross_entropy(own, target, weight=None, pos_weight=None, reduction="mean"),
            lambda: tf.constant(0, mask_logits.dtype),
        )

    def _positive_masks(self, target_masks: Any, target_class_ids: Any, masks: Any) -> tuple[Any, Any]:
        positive = tf.where(target_class_ids > 0)
        ids = tf.gather_nd(target_class_ids, positive)
        by_class = tf.transpose(masks, [0, 1, 4, 2, 3])
        own = tf.gather_nd(by_class, tf.concat([positive, ids[:, None]], axis=1))
        return own, tf.gather_nd(target_masks, positive)

    def mask_rcnn_select_masks(self, pred_masks: Any, class_ids: Any) -> Any:
        return tf.gather(tf.transpose(pred_masks, [0, 1, 4, 2, 3]), class_ids, batch_dims=2)


class TensorFlowXlaAdapter(Xla, TensorFlowAdapter):
    """The same functions inside tf.function(jit_compile=True): the mode ``xla`` by the name it had first."""

    name = "tensorflow-xla"


class TensorFlowGpuAdapter(TensorFlowAdapter):
    """Eager TensorFlow on the first GPU."""

    name = "tensorflow-gpu"
    device = "cuda"
    placed = "/GPU:0"

    def __init__(self) -> None:
        if not tf.config.list_physical_devices("GPU"):
            raise Unavailable("no GPU is available to TensorFlow")
