"""JAX on several devices: arrays are split over them, and each works on its part.

Where there is one processor only, JAX splits it into as many devices as it is told before it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lossproof import Call, Unavailable, Unsupported
from lossproof.core.functions import FUNCTIONS

from ._modes import Mode, by_rows, class_axes, has_rows, row_axes

AXIS = "shards"
"""What the devices are called in a partition."""

shard_map: Any
try:
    shard_map = jax.shard_map
except AttributeError:  # before JAX 0.6
    from jax.experimental.shard_map import shard_map as shard_map


class _OnDevices(Mode):
    """The arrays of an adapter on ``devices`` devices, whole on each of them."""

    devices: ClassVar[int]
    platform: str | None

    def __init__(self) -> None:
        if self.platform in (None, "cpu"):
            ask_for_devices(self.devices)
        super().__init__()
        why = self._missing()
        if why:
            raise Unavailable(why)

    def _missing(self) -> str:
        """Why there are too few devices, if there are."""
        there = jax.devices(self.platform)
        if len(there) >= self.devices:
            return ""
        kind = there[0].platform
        how = (
            f"; name the adapter or give its file, for which a process is started that has them, or set "
            f"JAX_NUM_CPU_DEVICES={self.devices} before JAX starts"
            if kind == "cpu"
            else "; JAX_PLATFORMS=cpu makes as many of the CPU"
        )
        return f"it takes {self.devices} devices, and JAX has {len(there)} ({kind}) in this process{how}"

    @cached_property
    def mesh(self) -> Any:
        """The devices, in a row."""
        why = self._missing()
        if why:
            raise Unsupported(why)
        return Mesh(np.array(jax.devices(self.platform)[: self.devices]), (AXIS,))

    def from_numpy(self, array: Any) -> Any:
        return jax.device_put(jnp.asarray(array), NamedSharding(self.mesh, PartitionSpec()))


def _named(function: Call, arrays: tuple[Any, ...]) -> dict[str, Any]:
    names = (array.name for array in FUNCTIONS[function.function].arrays)
    return dict(zip(names, arrays, strict=True))


def ask_for_devices(count: int) -> None:
    """Have JAX make so many devices of the CPU, if it has not started yet and is not told of more."""
    try:
        if getattr(jax.config, "jax_num_cpu_devices") < count:  # noqa: B009
            jax.config.update("jax_num_cpu_devices", count)
    except (AttributeError, RuntimeError):
        pass  # an older JAX, or one that has started: there are as many as there are


class _Partitioned(_OnDevices):
    """The arrays are split along ``axes``; how the call is split XLA works out (GSPMD, Shardy).

    Lengths need not divide: XLA pads, and has to keep what it pads with out of every result.
    """

    axes: ClassVar[Any]
    """Gives of a call and its arrays by which axis each is split."""

    def through(self, function: Call) -> Callable[..., Any]:
        def split(array: Any, axis: int | None) -> Any:
            if axis is None:
                return array
            places = PartitionSpec(*(AXIS if place == axis else None for place in range(array.ndim)))
            return jax.lax.with_sharding_constraint(array, NamedSharding(self.mesh, places))

        def run(*arrays: Any) -> Any:
            named = _named(function, arrays)
            axes = type(self).axes(function, named)
            parameters = {
                name: split(value, axes[name]) if name in axes else value
                for name, value in function.parameters.items()
            }
            parts = [split(array, axes.get(name)) for name, array in named.items()]
            return Call(function.adapter, function.function, parameters)(*parts)

        return run


class ShardedRows(_Partitioned):
    """Split over the rows."""

    axes = staticmethod(row_axes)


class ShardedClasses(_Partitioned):
    """Split over the classes."""

    axes = staticmethod(class_axes)


class ShardMap(_OnDevices):
    """jax.shard_map over the rows, or over as many calls; differentiated from outside.

    Each device makes the call on its rows, behind which there are valid ones where they do not divide; a sum
    is summed over the devices. Another call is the last of as many, one on each device, of the same shapes
    and of inputs with which nothing is wrong.
    """

    def through(self, function: Call) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            rows = has_rows(function, arrays)
            if rows and by_rows(function, arrays):
                return self._by_rows(function, arrays, summed=False)
            divides = rows and arrays[0].shape[0] % self.devices == 0
            if divides and function.parameters.get("reduction") == "sum":
                return self._by_rows(function, arrays, summed=True)
            return self._beside_others(function, arrays)

        return run

    def _by_rows(self, function: Call, arrays: tuple[Any, ...], *, summed: bool) -> Any:
        named = _named(function, arrays)
        weights = {name: function.parameters[name] for name in row_axes(function, named) if name not in named}

        def part(*items: Any) -> Any:
            own = dict(zip(weights, items[len(arrays) :], strict=True))
            call = Call(function.adapter, function.function, {**function.parameters, **own})
            result = call(*items[: len(arrays)])
            return jax.lax.psum(result, AXIS) if summed else result

        filled = [self._filled(array) for array in (*arrays, *weights.values())]
        out = PartitionSpec() if summed else PartitionSpec(AXIS)
        result = self._mapped(part, len(filled), out)(*filled)
        return result if summed else result[: arrays[0].shape[0]]

    def _filled(self, array: Any) -> Any:
        """With rows behind it that nothing is wrong with, up to a multiple of the devices."""
        more = -array.shape[0] % self.devices
        valid = 0 if jnp.issubdtype(array.dtype, jnp.integer) else 0.5
        return jnp.concatenate([array, jnp.full((more, *array.shape[1:]), valid, array.dtype)])

    def _beside_others(self, function: Call, arrays: tuple[Any, ...]) -> Any:
        def part(*items: Any) -> Any:
            return function(*(item[0] for item in items))[None]

        stacked = []
        for array in arrays:
            valid = 0 if jnp.issubdtype(array.dtype, jnp.integer) else 0.5
            other = jnp.full_like(array, valid)
            stacked.append(jnp.stack([*[other] * (self.devices - 1), array]))
        return self._mapped(part, len(stacked), PartitionSpec(AXIS))(*stacked)[-1]

    def _mapped(self, part: Callable[..., Any], count: int, out: Any) -> Callable[..., Any]:
        places = tuple(PartitionSpec(AXIS) for _ in range(count))
        return shard_map(part, mesh=self.mesh, in_specs=places, out_specs=out)


SHARDED: dict[str, type[_OnDevices]] = {
    f"{name}-{count}": type(f"{cls.__name__}{count}", (cls,), {"devices": count, "__module__": __name__})
    for name, cls in (
        ("sharded-rows", ShardedRows),
        ("sharded-classes", ShardedClasses),
        ("shard-map", ShardMap),
    )
    for count in (2, 4, 8)
}
