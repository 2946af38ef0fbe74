"""JAX kernels that are right as a whole and wrong under one of its transformations, and one that is right."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from lossproof.adapters.jax import JaxAdapter


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _softmax(logits: Any, axis: int) -> Any:
    shifted = jnp.exp(logits - jnp.max(logits, axis=axis, keepdims=True, initial=-jnp.inf))
    return shifted / jnp.sum(shifted, axis=axis, keepdims=True)


def _forward(logits: Any, axis: int) -> Any:
    probabilities = _softmax(logits, axis)
    return probabilities, probabilities


def _backward(axis: int, probabilities: Any, seed: Any) -> Any:
    return (probabilities * (seed - jnp.sum(seed * probabilities, axis=axis, keepdims=True)),)


_softmax.defvjp(_forward, _backward)


class Right(JaxAdapter):
    """A backward pass of its own; holds under all of them."""

    name = "right"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _softmax(logits, axis)


class BranchesOnAValue(JaxAdapter):
    """A tracer has no value to branch on."""

    name = "branches-on-a-value"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        if float(jax.lax.stop_gradient(logits).max()) > 80:
            logits = logits - logits.max(axis=axis, keepdims=True)
        return jax.nn.softmax(logits, axis=axis)


class FastOutsideOfJit(JaxAdapter):
    """Has another path where the numbers are at hand, which takes the last of equal logits."""

    name = "fast-outside-of-jit"

    def pspnet_predict(self, logits: Any) -> Any:
        if isinstance(logits, jax.core.Tracer):
            return jnp.argmax(logits, axis=-1)
        return logits.shape[-1] - 1 - jnp.argmax(logits[..., ::-1], axis=-1)


class CondOfTheBatch(JaxAdapter):
    """``lax.cond`` keeps from what overflows; mapped over a batch it is a select, and both are differentiated."""

    name = "cond-of-the-batch"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        def safe(x: Any) -> Any:
            return jax.nn.softmax(x, axis=axis)

        def fast(x: Any) -> Any:
            return jnp.exp(x) / jnp.exp(x).sum(axis=axis, keepdims=True)

        return jax.lax.cond(jnp.all(jnp.abs(logits) < 80), fast, safe, logits)


class Squeezing(JaxAdapter):
    """Drops every axis of length 1, where it means to drop the one that it has added."""

    name = "squeezing"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return jnp.squeeze(jax.nn.softmax(logits[None], axis=axis % logits.ndim + 1))


MUTANTS = {
    "jit": (BranchesOnAValue,),
    "eager": (FastOutsideOfJit,),
    "vmap": (CondOfTheBatch, Squeezing),
    "grad-of-vmap": (CondOfTheBatch, Squeezing),
    "scan": (Squeezing,),
}
