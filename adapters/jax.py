"""JAX: jax.nn under jax.jit. JAX itself has no losses; they are composed as its users do."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave memory to the others

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlog1py, xlogy

from lossproof import Unavailable, Unsupported

from ._jax_modes import MODES, Jit
from ._pspnet import PspnetTotalLoss

# Without it JAX turns float64 and int64 arrays into 32-bit ones.
jax.config.update("jax_enable_x64", True)

_REDUCE = {"none": lambda loss: loss, "sum": jnp.sum, "mean": jnp.mean}


class JaxArrays(Jit):
    """Arrays and gradients of JAX on its default device; every call is jitted."""

    backend = "jax"
    version = jax.__version__
    modes = MODES

    platform: str | None = None
    """What JAX calls the kind of device; its default one if None."""

    def __init__(self) -> None:
        try:
            self.jax_device = jax.devices(self.platform)[0]
        except RuntimeError as error:
            raise Unavailable(f"JAX has no {self.platform} here: {error}") from None
        self.device = {"cpu": "cpu", "tpu": "tpu"}.get(self.jax_device.platform, "cuda")
        self.device_name = self.jax_device.device_kind

    def from_numpy(self, array: Any) -> Any:
        return jax.device_put(jnp.asarray(array), self.jax_device)

    def to_numpy(self, array: Any) -> Any:
        return np.asarray(array)

    def synchronize(self) -> None:
        jax.effects_barrier()


class JaxAdapter(PspnetTotalLoss, JaxArrays):
    """jax.nn and jax.numpy."""

    name = "jax"

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        loss = _REDUCE[reduction](jnp.square(prediction - target))
        return 0.5 * loss if half else loss

    def euclidean_distance(self, prediction: Any, target: Any, *, axis: int) -> Any:
        return jnp.linalg.norm(prediction - target, axis=axis)

    def sigmoid(self, logits: Any) -> Any:
        return jax.nn.sigmoid(logits)

    def log_sigmoid(self, logits: Any) -> Any:
        return jax.nn.log_sigmoid(logits)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return jax.nn.softmax(logits, axis=axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return jax.nn.log_softmax(logits, axis=axis)

    # -- functions that its users compose ------------------------------------------------------

    def cross_entropy(self, probabilities: Any, target: Any, *, axis: int, reduction: str) -> Any:
        return _REDUCE[reduction](-jnp.sum(xlogy(target, probabilities), axis=axis))

    def softmax_cross_entropy(
        self, logits: Any, target: Any, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        if label_smoothing:
            raise Unsupported("jax.nn has no label smoothing")
        loss = -jnp.sum(target * jax.nn.log_softmax(logits, axis=axis), axis=axis)
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
            raise Unsupported("jax.nn has no class weights, ignored label or label smoothing")
        log_p = jax.nn.log_softmax(logits, axis=axis)
        picked = jnp.take_along_axis(log_p, jnp.expand_dims(labels, axis), axis=axis)
        return _REDUCE[reduction](-jnp.squeeze(picked, axis))

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        loss = -(xlogy(target, probabilities) + xlog1py(1 - target, -probabilities))
        return _REDUCE[reduction](loss if weight is None else weight * loss)

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        positive = target if pos_weight is None else pos_weight * target
        loss = -positive * jax.nn.log_sigmoid(logits) - (1 - target) * jax.nn.log_sigmoid(-logits)
        return _REDUCE[reduction](loss if weight is None else weight * loss)

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        # jax.image.resize samples at half-pixel centres, PSPNet at corners: index instead.
        rows = jnp.arange(size[0]) * labels.shape[1] // size[0]
        columns = jnp.arange(size[1]) * labels.shape[2] // size[1]
        return labels[:, rows[:, None], columns]

    def pspnet_loss(self, logits: Any, labels: Any, *, num_classes: int, reduction: str) -> Any:
        resized = self.pspnet_resize_labels(labels, size=logits.shape[1:3])
        kept = resized < num_classes
        # Shapes are static under jit, so dropped pixels are masked; the inner where keeps a NaN
        # under the mask out of the gradient.
        log_p = jax.nn.log_softmax(jnp.where(kept[..., None], logits, 0), axis=-1)
        index = jnp.where(kept, resized, 0)[..., None]
        loss = jnp.where(kept, -jnp.take_along_axis(log_p, index, axis=-1)[..., 0], 0)
        if reduction == "mean":
            return jnp.sum(loss) / jnp.sum(kept).astype(loss.dtype)
        return _REDUCE[reduction](loss)

    def pspnet_predict(self, logits: Any) -> Any:
        return jnp.argmax(logits, axis=-1)

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        positive, own = self._own_masks(target_class_ids, pred_masks, neutral=0.5)
        loss = -(xlogy(target_masks, own) + xlog1py(1 - target_masks, -own))
        return self._mean_over(positive, loss)

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Any, target_class_ids: Any, mask_logits: Any
    ) -> Any:
        positive, own = self._own_masks(target_class_ids, mask_logits, neutral=0)
        loss = -target_masks * jax.nn.log_sigmoid(own) - (1 - target_masks) * jax.nn.log_sigmoid(-own)
        return self._mean_over(positive, loss)

    def _own_masks(self, target_class_ids: Any, masks: Any, neutral: float) -> tuple[Any, Any]:
        """Which RoIs are positive, and each one's own-class mask, ``neutral`` for the others."""
        positive = target_class_ids > 0
        own = jnp.take_along_axis(masks, target_class_ids[:, :, None, None, None], axis=-1)[..., 0]
        return positive, jnp.where(positive[:, :, None, None], own, neutral)

    def _mean_over(self, positive: Any, loss: Any) -> Any:
        loss = jnp.where(positive[:, :, None, None], loss, 0)
        count = jnp.sum(positive) * loss.shape[2] * loss.shape[3]
        return jnp.sum(loss) / jnp.maximum(count, 1).astype(loss.dtype)

    def mask_rcnn_select_masks(self, pred_masks: Any, class_ids: Any) -> Any:
        return jnp.take_along_axis(pred_masks, class_ids[:, :, None, None, None], axis=-1)[..., 0]


class JaxGpuAdapter(JaxAdapter):
    """The same on the first GPU."""

    name = "jax-gpu"
    platform = "gpu"


class JaxTpuAdapter(JaxAdapter):
    """The same on the first TPU, which has no float64."""

    name = "jax-tpu"
    platform = "tpu"
