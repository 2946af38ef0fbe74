"""Optax: the loss functions of JAX's users, under jax.jit."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from lossproof import Unsupported

from .jax import JaxArrays

_REDUCE = {"none": lambda loss: loss, "sum": jnp.sum, "mean": jnp.mean}


class OptaxAdapter(JaxArrays):
    """optax.losses; reductions are jnp.sum and jnp.mean, since Optax has none."""

    name = "optax"
    backend = "optax"
    version = optax.__version__

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        loss = optax.l2_loss if half else optax.squared_error
        return _REDUCE[reduction](loss(prediction, target))

    def softmax_cross_entropy(
        self, logits: Any, target: Any, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        if label_smoothing:
            if axis not in (-1, logits.ndim - 1):
                raise Unsupported("optax.smooth_labels smooths along the last axis")
            target = optax.smooth_labels(target, label_smoothing)
        return _REDUCE[reduction](optax.softmax_cross_entropy(logits, target, axis=axis))

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
                "optax.softmax_cross_entropy_with_integer_labels has no class weights, "
                "ignored label or label smoothing"
            )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels, axis=axis)
        return _REDUCE[reduction](loss)

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        if weight is not None or pos_weight is not None:
            raise Unsupported("optax.sigmoid_binary_cross_entropy has no weights")
        return _REDUCE[reduction](optax.sigmoid_binary_cross_entropy(logits, target))
