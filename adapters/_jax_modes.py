"""JAX's transformations; each is mixed in before an adapter whose arrays are JAX's.

Under all of them but ``eager`` the whole is jitted, as the adapters of JAX are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lossproof import Adapter, Call

from ._compiled import Compiled
from ._jax_shards import SHARDED
from ._modes import Mode, batched


class Jit(Compiled):
    """jax.jit around the call, and around the call with its gradients."""

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        if not wrt:
            forward = jax.jit(function)
            return lambda arrays: forward(*arrays.values())

        @partial(jax.jit, static_argnums=0)
        def compiled(names: tuple[str, ...], values: tuple[Any, ...], seed: Any) -> Any:
            return _differentiated(function, dict(zip(names, values, strict=True)), wrt, seed)

        return lambda arrays, cotangent=None: compiled(tuple(arrays), tuple(arrays.values()), cotangent)

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        return jax.jit(_moved(function, arrays, forward=True))(dict(arrays), dict(tangents), None)

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        compiled = jax.jit(_moved(function, arrays, forward=False))
        found: Mapping[str, Any] = compiled(dict(arrays), dict(tangents), cotangent)
        return found


def _moved(function: Call, names: Iterable[str], *, forward: bool) -> Callable[..., Any]:
    """jax.jvp of a call, or of its gradients; of arrays, tangents and the cotangent."""

    def run(given: Mapping[str, Any], moved: Mapping[str, Any], seed: Any) -> Any:
        def call(leaves: Mapping[str, Any]) -> Any:
            # jit hands a dict back in another order.
            return function(*({**given, **leaves}[name] for name in names))

        def gradients(leaves: Mapping[str, Any]) -> Any:
            value, pull_back = jax.vjp(call, leaves)
            return pull_back(jnp.ones_like(value) if seed is None else seed)[0]

        primals = {name: given[name] for name in moved}
        return jax.jvp(call if forward else gradients, (primals,), (dict(moved),))[1]

    return run


def _differentiated(
    function: Callable[..., Any], arrays: Mapping[str, Any], wrt: tuple[str, ...], seed: Any
) -> tuple[Any, Mapping[str, Any]]:
    """The value and its gradients, by reverse mode."""

    def call(leaves: Mapping[str, Any]) -> Any:
        return function(*{**arrays, **leaves}.values())

    value, pull_back = jax.vjp(call, {name: arrays[name] for name in wrt})
    return value, pull_back(jnp.ones_like(value) if seed is None else seed)[0]


class Eager(Adapter):
    """Operation by operation, without jax.jit."""

    weight_gradients = True

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return function(*arrays.values())

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        return _differentiated(function, arrays, wrt, cotangent)

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        return _moved(function, arrays, forward=True)(arrays, tangents, None)

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        found: Mapping[str, Any] = _moved(function, arrays, forward=False)(arrays, tangents, cotangent)
        return found


class GradOfVmap(Mode):
    """jax.vmap over the rows, or over two calls; differentiated from outside."""

    weight_gradients = False  # they are not mapped over

    def through(self, function: Call) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            batch = batched(function, arrays, jnp)
            return batch.pick(jax.vmap(batch.call)(*batch.arrays))

        return run


class Vmap(GradOfVmap, Jit):
    """The same with the gradients inside: vmap of what jax.vjp gives for each row, or each of two calls."""

    # Differentiated from outside.
    jvp, hvp = GradOfVmap.jvp, GradOfVmap.hvp

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        if not wrt:
            return super().step(function, wrt)

        @partial(jax.jit, static_argnums=0)
        def compiled(names: tuple[str, ...], values: tuple[Any, ...], seed: Any) -> Any:
            batch = batched(function, values, jnp)

            def one(items: tuple[Any, ...], part: Any) -> Any:
                named = {str(place): item for place, item in enumerate(items)}
                leaves = tuple(str(names.index(name)) for name in wrt)
                value, gradients = _differentiated(batch.call, named, leaves, part)
                return value, tuple(gradients[leaf] for leaf in leaves)

            seeds = None if seed is None else batch.spread(seed)
            value, gradients = jax.vmap(one)(batch.arrays, seeds)
            return batch.pick(value), dict(zip(wrt, map(batch.pick, gradients), strict=True))

        return lambda arrays, cotangent=None: compiled(tuple(arrays), tuple(arrays.values()), cotangent)

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        return Jit.value_and_gradients(self, function, arrays, wrt, cotangent=cotangent)


class Scan(Mode):
    """jax.lax.scan over the rows, or over two calls; differentiated from outside."""

    weight_gradients = False  # they are not mapped over

    def through(self, function: Call) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            batch = batched(function, arrays, jnp)

            def one(carried: None, items: tuple[Any, ...]) -> tuple[None, Any]:
                return carried, batch.call(*items)

            return batch.pick(jax.lax.scan(one, None, batch.arrays)[1])

        return run


MODES: dict[str, type[Adapter]] = {
    "jit": Jit,
    "eager": Eager,
    "vmap": Vmap,
    "grad-of-vmap": GradOfVmap,
    "scan": Scan,
    **SHARDED,
}
