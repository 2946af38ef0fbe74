"""PyTorch's DTensor: arrays are split over processes, ranks, each of which makes the call on its part.

A class of these is one rank, in a process that was told which by the variables that ``torchrun`` sets; who
asks for the call starts the processes (``lossproof.isolation.ranks``).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.distributed as dist

from lossproof import Adapter, Call, Unavailable, Unsupported
from lossproof.core.functions import FUNCTIONS, Values

from ._modes import class_axes, row_axes, rules


class _Rank(Adapter):
    """What a call gives on one of ``ranks`` processes whose arrays are split along ``axes``.

    The adapter's own functions and gradients are given DTensors. What they give is put together on every
    rank, so that each has an answer of its own.
    """

    ranks: ClassVar[int]
    axes: ClassVar[Any]
    """Gives of a call and its arrays by which axis each is split."""

    def __init__(self) -> None:
        why = self._missing()
        if why:
            raise Unavailable(why)
        super().__init__()
        _ = self.mesh  # ranks that do not find each other do not start

    def _missing(self) -> str:
        """Why this process is no such rank, if it is none."""
        if not dist.is_available() or not dist.is_gloo_available():
            return "this PyTorch is built without torch.distributed or gloo"
        if self.device != "cpu":
            return f"the ranks speak gloo, whose tensors are the CPU's, not {self.device}'s"
        world = os.environ.get("WORLD_SIZE", "")
        if "RANK" not in os.environ or not world:
            return (
                f"it takes {self.ranks} processes, which are started for an adapter that is given by its "
                "name or file, as lossproof run -a file.py:Class --mode M"
            )
        return "" if world == str(self.ranks) else f"it takes {self.ranks} ranks, and there are {world}"

    @cached_property
    def mesh(self) -> Any:
        """All ranks, in a row."""
        from torch.distributed.device_mesh import init_device_mesh

        why = self._missing()
        if why:
            raise Unsupported(why)
        if not dist.is_initialized():
            loopback = {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}
            if loopback:
                # The name of this machine may be of no address that is here.
                os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback.pop())
            dist.init_process_group("gloo")
        return init_device_mesh("cpu", (self.ranks,))

    def around(self, function: Call) -> AbstractContextManager[None]:
        """What a call and its gradients have to be made in."""
        return nullcontext()

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        with self._parts(function, arrays) as (call, parts, _):
            return _whole(super().evaluate(call, parts))

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        return self._differentiated(super().value_and_gradients, function, arrays, wrt, cotangent)

    def backward_twice(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        return self._differentiated(super().backward_twice, function, arrays, wrt, cotangent)

    def _differentiated(
        self,
        ask: Callable[..., tuple[Any, Mapping[str, Any]]],
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        cotangent: Any,
    ) -> tuple[Any, Mapping[str, Any]]:
        with self._parts(function, arrays, cotangent) as (call, parts, extra):
            value, gradients = ask(call, parts, wrt, **extra)
            return _whole(value), _all_whole(gradients)

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        with self._parts(function, arrays) as (call, parts, _):
            return _whole(super().jvp(call, parts, self._tangents(function, arrays, tangents)))

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        with self._parts(function, arrays, cotangent) as (call, parts, extra):
            moved = self._tangents(function, arrays, tangents)
            return _all_whole(super().hvp(call, parts, moved, **extra))

    @contextmanager
    def _parts(
        self, function: Call, arrays: Mapping[str, Any], cotangent: Any = None
    ) -> Iterator[tuple[Call, dict[str, Any], dict[str, Any]]]:
        """The call, its arrays and its cotangent, if there is one, as DTensors.

        What the call writes into them is afterwards in what they were made of, to be seen there.
        """
        axes = type(self).axes(function, arrays)
        weights = {n: item for n, item in function.parameters.items() if isinstance(item, torch.Tensor)}
        extra = {} if cotangent is None else {"cotangent": cotangent}
        given = {**arrays, **weights, **extra}
        parts = {name: self._part(tensor, axes.get(name)) for name, tensor in given.items()}
        of_weights = {name: parts[name] for name in weights}
        call = Call(function.adapter, function.function, {**function.parameters, **of_weights})
        with rules(*_NO_RULE), self.around(function):
            yield call, {name: parts[name] for name in arrays}, {name: parts[name] for name in extra}
        for name, tensor in given.items():
            now = _whole(parts[name])
            if self.to_numpy(now).tobytes() != self.to_numpy(tensor).tobytes():
                tensor.copy_(now)

    def _part(self, tensor: torch.Tensor, axis: int | None) -> Any:
        from torch.distributed.tensor import Replicate, Shard, distribute_tensor

        return distribute_tensor(tensor, self.mesh, [Replicate() if axis is None else Shard(axis)])

    def _tangents(
        self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]
    ) -> dict[str, Any]:
        axes = type(self).axes(function, arrays)
        return {name: self._part(tensor, axes.get(name)) for name, tensor in tangents.items()}


def _whole(tensor: Any) -> Any:
    """What all ranks together hold; what is no DTensor is this rank's own answer."""
    from torch.distributed.tensor import DTensor

    if not isinstance(tensor, DTensor):
        return tensor
    whole: Any = tensor.detach()
    return whole.full_tensor()


def _all_whole(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _whole(tensor) for name, tensor in tensors.items()}


# How DTensor says that it does not know how to split an operator, or does not want to.
_NO_RULE = (
    "does not have a sharding strategy",
    "Sharding propagation failed",
    "got mixed torch.Tensor and DTensor",
)


@contextmanager
def _loss_parallel() -> Iterator[None]:
    """PyTorch's ``loss_parallel``, which an exception that passes it would leave in force."""
    from torch.distributed.tensor.parallel import loss_parallel

    raised: Exception | None = None
    with loss_parallel():
        try:
            yield
        except Exception as error:
            raised = error
    if raised is not None:
        raise raised


class DTensorRows(_Rank):
    """Split over the rows."""

    axes = staticmethod(row_axes)


class DTensorClasses(_Rank):
    """Split over the classes; losses of labels as in tensor-parallel training, under ``loss_parallel``.

    It is for these alone: under it the gradient of ``log_softmax`` is silently wrong.
    """

    axes = staticmethod(class_axes)

    def around(self, function: Call) -> AbstractContextManager[None]:
        labels = any(array.values is Values.LABELS for array in FUNCTIONS[function.function].arrays)
        return _loss_parallel() if labels else nullcontext()


RANKS: dict[str, type[_Rank]] = {
    f"{name}-{count}": type(f"{cls.__name__}{count}", (cls,), {"ranks": count, "__module__": __name__})
    for name, cls in (("dtensor-rows", DTensorRows), ("dtensor-classes", DTensorClasses))
    for count in (2, 4)
}
