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
        if float(logits.max()) > 80:
            logits = logits - logits.max(axis=axis, keepdims=True)
        return jax.nn.softmax(logits, axis=axis)


class FastOutsideOfJit(JaxAdapter):
    """Leaves out the shift where the numbers are at hand."""

    name = "fast-outside-of-jit"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        if isinstance(logits, jax.core.Tracer):
            return jax.nn.softmax(logits, axis=axis)
        return jnp.exp(logits) / jnp.exp(logits).sum(axis=axis, keepdims=True)


class CondOfTheBatch(JaxAdapter):
    """``lax.cond`` on the safe of two formulas: mapped over a batch it is a select of both."""

    name = "cond-of-the-batch"

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        def safe(p: Any) -> Any:
            return super(CondOfTheBatch, self).binary_cross_entropy(
                p, target, weight=weight, reduction=reduction
            )

        def fast(p: Any) -> Any:
            logs = jnp.where(target == 1, jnp.log(p), target * jnp.log(p) + (1 - target) * jnp.log1p(-p))
            loss = -logs if weight is None else -weight * logs
            return {"none": lambda x: x, "sum": jnp.sum, "mean": jnp.mean}[reduction](loss)

        edge = jnp.any((probabilities <= 0) | (probabilities >= 1) | jnp.isnan(probabilities))
        return jax.lax.cond(edge, safe, fast, probabilities)


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
