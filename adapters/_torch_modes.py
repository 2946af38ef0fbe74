"""PyTorch's transformations; each is mixed in before an adapter whose arrays are tensors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

import torch
from torch.utils.checkpoint import checkpoint

from lossproof import Adapter, Call, Unavailable, Unsupported

from ._compiled import Compiled
from ._modes import Mode, batched, has_rows, rules, transformed
from ._torch_ranks import RANKS


class Compile(Compiled):
    """torch.compile with its default backend, as one graph: what breaks it is an error.

    Every call is compiled for its shapes and strides, unless the last one had the same: past its
    recompilation limit torch.compile would fall back to eager silently.
    """

    # The next step forgets what the last has compiled.
    STEPS_KEPT = 1
    options: ClassVar[Mapping[str, Any]] = {"dynamic": False, "fullgraph": True}

    def __init__(self) -> None:
        if not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))):
            raise Unavailable("torch.compile needs a C++ compiler")
        super().__init__()

    def signature(self, arrays: Mapping[str, Any]) -> Hashable:
        return tuple((name, a.dtype, a.shape, a.stride()) for name, a in arrays.items())

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        torch.compiler.reset()
        compiled: Any = torch.compile(function, **self.options)
        # What runs the call and differentiates it is the adapter's own, behind this class.
        plain: Any = super(Compiled, self)
        call = transformed(function, compiled)
        if not wrt:
            return lambda arrays: plain.evaluate(call, arrays)

        def step(arrays: Mapping[str, Any], cotangent: Any = None) -> Any:
            extra = {} if cotangent is None else {"cotangent": cotangent}
            return plain.value_and_gradients(call, arrays, wrt, **extra)

        return step

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        raise Unsupported("forward mode is not compiled here; the adapter torch runs it eagerly")

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        raise Unsupported("torch.compile has no double backward")


class CompileDynamic(Compile):
    """The same with symbolic shapes; what is compiled has seen twice as many rows before, if it has rows."""

    options: ClassVar[Mapping[str, Any]] = {"dynamic": True, "fullgraph": True}

    def signature(self, arrays: Mapping[str, Any]) -> Hashable:
        # A length of 0 or 1 is never symbolic.
        return tuple((name, a.dtype, tuple(min(n, 2) for n in a.shape)) for name, a in arrays.items())

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        compiled = super().step(function, wrt)
        fresh = True

        def step(arrays: Mapping[str, Any], cotangent: Any = None) -> Any:
            nonlocal fresh
            if fresh and has_rows(function, tuple(arrays.values())):
                with suppress(Exception):  # what it makes of them is not what is asked
                    compiled({name: torch.cat([array, array]) for name, array in arrays.items()})
            fresh = False
            return compiled(arrays, cotangent) if wrt else compiled(arrays)

        return step


class Vmap(Mode):
    """torch.func.vmap over the rows, or over two calls; differentiated from outside."""

    weight_gradients = False  # they are not mapped over

    def through(self, function: Call) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            batch = batched(function, arrays, torch)
            with rules(*_NO_RULE):
                return batch.pick(torch.func.vmap(batch.call)(*batch.arrays))

        return run


class PerSampleGradients(Vmap):
    """The gradients inside: vmap of what torch.func.vjp gives for each row, or for each of two calls."""

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        batch = batched(function, tuple(arrays.values()), torch)
        places = [list(arrays).index(name) for name in wrt]
        seeds = None if cotangent is None else batch.spread(cotangent)

        def one(items: tuple[Any, ...], seed: Any) -> Any:
            def call(*leaves: Any) -> Any:
                given = dict(enumerate(items)) | dict(zip(places, leaves, strict=True))
                return batch.call(*given.values())

            pulled: Any = torch.func.vjp(call, *(items[place] for place in places))
            value, pull_back = pulled
            return value, pull_back(torch.ones_like(value) if seed is None else seed)

        with rules(*_NO_RULE):
            mapped = torch.func.vmap(one, in_dims=(0, None if seeds is None else 0))
            values, gradients = mapped(batch.arrays, seeds)
        return batch.pick(values), dict(zip(wrt, map(batch.pick, gradients), strict=True))


# How PyTorch says that a function has no rule for one of its transformations.
_NO_RULE = (
    "vmap: ",
    "Batching rule not implemented",
    "does not have vmap support",
    "must override the setup_context staticmethod",
)


class _Autocast(Mode):
    """torch.autocast around the call; the gradients are asked for outside, as its documentation says."""

    mixed = True
    half: ClassVar[torch.dtype]

    def through(self, function: Call) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            with torch.autocast(self.device, dtype=self.half):
                return function(*arrays)

        return run


class AutocastFloat16(_Autocast):
    """Automatic mixed precision with float16."""

    half = torch.float16


class AutocastBfloat16(_Autocast):
    """Automatic mixed precision with bfloat16."""

    half = torch.bfloat16


class Checkpoint(Mode):
    """torch.utils.checkpoint: the backward pass makes the call again."""

    def through(self, function: Call) -> Callable[..., Any]:
        return lambda *arrays: checkpoint(function, *arrays, use_reentrant=False)


class ChannelsLast(Mode):
    """Arrays with four or five axes lie in memory with the second one innermost."""

    def from_numpy(self, array: Any) -> Any:
        tensor = super().from_numpy(array)
        layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.ndim)
        return tensor if layout is None else tensor.to(memory_format=layout)

    def through(self, function: Call) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            if not any(array.ndim in (4, 5) for array in arrays):
                raise Unsupported("channels-last is a layout of arrays with four or five axes")
            return function(*arrays)

        return run


class InferenceMode(Mode):
    """torch.inference_mode: nothing is recorded, so there are no gradients."""

    def through(self, function: Call) -> Callable[..., Any]:
        return torch.inference_mode()(function.__call__)

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        raise Unsupported("inference mode records nothing to differentiate")

    def backward_twice(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        raise Unsupported("inference mode records nothing to differentiate")

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        raise Unsupported("inference mode records nothing to differentiate")

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        raise Unsupported("inference mode records nothing to differentiate")


MODES: dict[str, type[Adapter]] = {
    "compile": Compile,
    "compile-dynamic": CompileDynamic,
    "vmap": Vmap,
    "per-sample-gradients": PerSampleGradients,
    "autocast-float16": AutocastFloat16,
    "autocast-bfloat16": AutocastBfloat16,
    "checkpoint": Checkpoint,
    "channels-last": ChannelsLast,
    "inference-mode": InferenceMode,
    **RANKS,
}
