"""JAX kernels that are right as a whole and wrong under one of its transformations, and one that is right."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.custom_partitioning import custom_partitioning
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


@cache
def _axis_lost(axis: int) -> Any:
    @jax.custom_batching.custom_vmap
    def softmax(logits: Any) -> Any:
        return jax.nn.softmax(logits, axis=axis)

    @softmax.def_vmap
    def rule(size: int, batched: Any, logits: Any) -> Any:
        # The axis counts from the front, and there is one more in front now.
        return jax.nn.softmax(logits, axis=axis), True

    @jax.custom_vjp
    def whole(logits: Any) -> Any:
        return softmax(logits)

    def forward(logits: Any) -> Any:
        probabilities = softmax(logits)
        return probabilities, probabilities

    whole.defvjp(forward, lambda probabilities, seed: _backward(axis, probabilities, seed))
    return whole


class AxisLost(JaxAdapter):
    """A rule for vmap that leaves a parameter as it is."""

    name = "axis-lost"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _axis_lost(axis % logits.ndim)(logits)


class Squeezing(JaxAdapter):
    """Drops every axis of length 1, where it means to drop the one that it has added."""

    name = "squeezing"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return jnp.squeeze(jax.nn.softmax(logits[None], axis=axis % logits.ndim + 1))


@cache
def _in_parts(axis: int, rank: int, squeezed: bool) -> Any:
    """A softmax that tells XLA that it may be split along any axis, and is called on each part alone."""

    def plain(logits: Any) -> Any:
        return jax.nn.softmax(logits, axis=axis)

    def partition(mesh: Any, given: Any, result: Any) -> Any:
        places = given[0].sharding
        return mesh, lambda part: jnp.squeeze(plain(part)) if squeezed else plain(part), places, (places,)

    names = " ".join("abcdefgh"[:rank])
    split = custom_partitioning(plain)
    split.def_partition(partition=partition, sharding_rule=f"{names} -> {names}")
    whole = jax.custom_vjp(split)

    def forward(logits: Any) -> Any:
        probabilities = split(logits)
        return probabilities, probabilities

    whole.defvjp(forward, lambda probabilities, seed: _backward(axis, probabilities, seed))
    return whole


class EachPartAlone(JaxAdapter):
    """A rule for partitions that is right for rows, and for classes makes a softmax of each part."""

    name = "each-part-alone"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _in_parts(axis % logits.ndim, logits.ndim, False)(logits)


class SqueezesItsPart(JaxAdapter):
    """Drops every axis of length 1, which the whole has none of, but a part may."""

    name = "squeezes-its-part"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _in_parts(axis % logits.ndim, logits.ndim, True)(logits)


MUTANTS: dict[str, tuple[type[JaxAdapter], ...]] = {
    "jit": (BranchesOnAValue,),
    "eager": (FastOutsideOfJit,),
    "vmap": (AxisLost, Squeezing),
    "grad-of-vmap": (AxisLost, Squeezing),
    "scan": (Squeezing,),
    **{f"sharded-rows-{count}": (SqueezesItsPart,) for count in (2, 4, 8)},
    **{f"sharded-classes-{count}": (EachPartAlone,) for count in (2, 4, 8)},
    **{f"shard-map-{count}": (Squeezing,) for count in (2, 4, 8)},
}
