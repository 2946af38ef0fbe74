"""PyTorch kernels that are right eagerly and wrong under one of its transformations, and one that is right.

Each is named after what its author forgot. Where it happened, the upstream report stands beside it.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from lossproof.adapters.torch import TorchAdapter
from torch.distributed.tensor import DTensor, Replicate

# -- right ---------------------------------------------------------------------------------------


class _Softmax(torch.autograd.Function):
    """A softmax with a backward pass of its own, of operations that every transformation knows."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Any, axis: int) -> Any:
        shifted = torch.exp(logits - logits.amax(axis, keepdim=True))
        return shifted / shifted.sum(axis, keepdim=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.axis = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, seed: Any) -> Any:
        (probabilities,) = ctx.saved_tensors
        return probabilities * (seed - (seed * probabilities).sum(ctx.axis, keepdim=True)), None


class Right(TorchAdapter):
    """Holds under all of them."""

    name = "right"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _Softmax.apply(logits, axis)


# -- compile -------------------------------------------------------------------------------------


class BranchesOnAValue(TorchAdapter):
    """No single graph has both branches."""

    name = "branches-on-a-value"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        if logits.max().item() > 80:
            logits = logits - logits.amax(axis, keepdim=True)
        return F.softmax(logits, dim=axis)


@torch.library.custom_op("lossproof_tests::largest", mutates_args=())
def largest(rows: torch.Tensor) -> torch.Tensor:
    return rows.amax(-1, keepdim=True)


@largest.register_fake
def _largest_shape(rows: torch.Tensor) -> torch.Tensor:
    # The trailing 1 of keepdim is forgotten where tracing asks what comes out.
    return rows.new_empty(rows.shape[:-1])


class FakeOfAnotherShape(TorchAdapter):
    """The shape that an operator tells the compiler is not the one that it gives."""

    name = "fake-of-another-shape"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        rows = logits.movedim(axis, -1)
        shift = largest(rows.detach().contiguous())
        return F.softmax(rows - shift.reshape(*rows.shape[:-1], 1), dim=-1).movedim(-1, axis)


# The number of rows that the compiler saw first, by rank: a workspace for more is not asked for again.
# Like pytorch/pytorch#177116, where a second call of another shape read what the first had left.
_WORKSPACE: dict[int, int] = {}


@torch.library.custom_op("lossproof_tests::normalised", mutates_args=())
def normalised(rows: torch.Tensor) -> torch.Tensor:
    return rows - rows.amax(-1, keepdim=True)


@normalised.register_fake
def _normalised_shape(rows: torch.Tensor) -> torch.Tensor:
    first = rows.shape[0]
    if isinstance(first, torch.SymInt):
        return rows.new_empty(_WORKSPACE.setdefault(rows.ndim, first.node.hint), *rows.shape[1:])
    return torch.empty_like(rows)


class FirstShape(TorchAdapter):
    """With symbolic shapes an operator gives as many rows as it had the first time."""

    name = "first-shape"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        rows = logits.movedim(axis, -1)
        shift = (normalised(rows.detach().contiguous()) - rows).detach()
        return F.softmax(rows + shift, dim=-1).movedim(-1, axis)


# -- vmap ----------------------------------------------------------------------------------------


class _AxisLost(_Softmax):
    generate_vmap_rule = False

    @staticmethod
    def vmap(info: Any, in_dims: Any, logits: Any, axis: int) -> Any:
        # The axis counts from the front, and there is one more in front now.
        return torch.softmax(logits.movedim(in_dims[0], 0), axis), 0


class AxisLost(TorchAdapter):
    """A rule for vmap that leaves a parameter as it is (like pytorch/pytorch#105736, which lost one)."""

    name = "axis-lost"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _AxisLost.apply(logits, axis % logits.ndim)


class _OwnBackward(torch.autograd.Function):
    """The backward pass as a kernel of its own, with its own rule for vmap."""

    @staticmethod
    def forward(probabilities: Any, seed: Any, axis: int) -> Any:
        return probabilities * (seed - (seed * probabilities).sum(axis, keepdim=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        return None

    @staticmethod
    def vmap(info: Any, in_dims: Any, probabilities: Any, seed: Any, axis: int) -> Any:
        # Sums over all samples of the batch, as a kernel does that was written for one.
        inner = (seed * probabilities).sum((0, axis + 1), keepdim=True)
        return probabilities * (seed - inner), 0


class _Samples(_Softmax):
    @staticmethod
    def backward(ctx: Any, seed: Any) -> Any:
        (probabilities,) = ctx.saved_tensors
        return _OwnBackward.apply(probabilities, seed.expand_as(probabilities), ctx.axis), None


class SamplesMixed(TorchAdapter):
    """The gradients of one sample have those of the others in them."""

    name = "samples-mixed"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _Samples.apply(logits, axis % logits.ndim)


# -- autocast ------------------------------------------------------------------------------------


class _HalfUnderAutocast(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float16)
    def forward(ctx: Any, logits: Any, axis: int) -> Any:
        ctx.axis = axis
        probabilities = torch.softmax(logits, axis)
        ctx.save_for_backward(probabilities)
        return probabilities

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, seed: Any) -> Any:
        (probabilities,) = ctx.saved_tensors
        return torch.ops.aten._softmax_backward_data(seed, probabilities, ctx.axis, probabilities.dtype), None


class HalfUnderAutocast(TorchAdapter):
    """``custom_fwd(cast_inputs=…)``, which is for matrix products, on a function that is due in float32."""

    name = "half-under-autocast"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _HalfUnderAutocast.apply(logits, axis)


# -- checkpoint ----------------------------------------------------------------------------------

_CALLS = count()


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Any) -> Any:
        # Which bank the probabilities are kept in changes from call to call.
        ctx.bank = next(_CALLS) % 2
        probabilities = torch.softmax(logits, -1)
        ctx.save_for_backward(probabilities.roll(ctx.bank, -1))
        return probabilities

    @staticmethod
    def backward(ctx: Any, seed: Any) -> Any:
        (kept,) = ctx.saved_tensors
        probabilities = kept.roll(-ctx.bank, -1)
        return probabilities * (seed - (seed * probabilities).sum(-1, keepdim=True))


class StateBesideTheTensors(TorchAdapter):
    """What is made again in the backward pass is of another call than what was noted of the first."""

    name = "state-beside-the-tensors"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return _Rotated.apply(logits.movedim(axis, -1)).movedim(-1, axis)


# -- layouts and inference -----------------------------------------------------------------------


class MemoryTakenAsRows(TorchAdapter):
    """A fast path for dense memory that takes it to be in the order of the axes."""

    name = "memory-taken-as-rows"

    def sigmoid(self, logits: Any) -> Any:
        layout = torch.channels_last if logits.ndim == 4 else torch.channels_last_3d
        if logits.ndim in (4, 5) and logits.is_contiguous(memory_format=layout):
            order = (0, *range(2, logits.ndim), 1)
            return torch.sigmoid(logits.permute(order)).reshape(logits.shape)
        return torch.sigmoid(logits)


class FastInference(TorchAdapter):
    """Leaves out the shift by the largest logit where no gradient will be asked for."""

    name = "fast-inference"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        if torch.is_inference_mode_enabled():
            return logits.exp() / logits.exp().sum(axis, keepdim=True)
        return F.softmax(logits, dim=axis)


# -- ranks ---------------------------------------------------------------------------------------


class _AcrossRanks(torch.autograd.Function):
    """A softmax of what one rank has, with what the others add by collectives."""

    @staticmethod
    def forward(ctx: Any, rows: Any, largest: bool) -> Any:
        top = (
            rows.amax(-1, keepdim=True)
            if rows.shape[-1]
            else rows.new_full((*rows.shape[:-1], 1), -torch.inf)
        )
        if largest:
            dist.all_reduce(top, dist.ReduceOp.MAX)
        # A rank that has no class, or only some of −inf, has nothing to be shifted by.
        powers = torch.exp(rows - top.clamp(min=torch.finfo(rows.dtype).min))
        total = powers.sum(-1, keepdim=True)
        dist.all_reduce(total)
        ctx.save_for_backward(powers / total)
        return powers / total

    @staticmethod
    def backward(ctx: Any, seed: Any) -> Any:
        (probabilities,) = ctx.saved_tensors
        inner = (seed * probabilities).sum(-1, keepdim=True)
        dist.all_reduce(inner)
        return probabilities * (seed - inner), None


def _is_split(logits: Any, axis: int) -> bool:
    return isinstance(logits, DTensor) and logits.placements[0].is_shard(axis % logits.ndim)


def _across_ranks(logits: Any, axis: int, largest: bool) -> Any:
    mine = _AcrossRanks.apply(logits.to_local().movedim(axis, -1).contiguous(), largest)
    whole = {"shape": logits.shape, "stride": torch.empty(logits.shape).stride()}
    return DTensor.from_local(mine.movedim(-1, axis), logits.device_mesh, logits.placements, **whole)


class OverRanks(TorchAdapter):
    """One kernel that holds and others that do not, of a function each, as ranks take long to start."""

    name = "over-ranks"

    def softmax(self, logits: Any, *, axis: int) -> Any:
        """Of what this rank has, with a maximum and a sum over all: holds."""
        if _is_split(logits, axis):
            return _across_ranks(logits, axis, True)
        return _Softmax.apply(logits, axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        """Each rank shifts by the largest logit of its own."""
        if _is_split(logits, axis):
            return _across_ranks(logits, axis, False).log()
        return F.log_softmax(logits, dim=axis)

    def sigmoid(self, logits: Any) -> Any:
        """What this rank has of the result is handed back as if it were the same on all of them."""
        if not isinstance(logits, DTensor):
            return torch.sigmoid(logits)
        return DTensor.from_local(torch.sigmoid(logits.to_local()), logits.device_mesh, [Replicate()])

    def log_sigmoid(self, logits: Any) -> Any:
        """The last rank has another answer (in NVIDIA/Megatron-LM#7452 two ranks disagreed)."""
        whole = F.logsigmoid(logits)
        if isinstance(whole, DTensor):
            whole = whole.full_tensor()
            last = dist.get_rank() == dist.get_world_size() - 1
            return whole * (1 + torch.finfo(whole.dtype).eps) if last else whole
        return whole


MUTANTS = {
    "compile": (BranchesOnAValue, FakeOfAnotherShape),
    "compile-dynamic": (BranchesOnAValue, FirstShape),
    "vmap": (AxisLost,),
    "per-sample-gradients": (AxisLost, SamplesMixed),
    "autocast-float16": (HalfUnderAutocast,),
    "autocast-bfloat16": (HalfUnderAutocast,),
    "checkpoint": (StateBesideTheTensors,),
    "channels-last": (MemoryTakenAsRows,),
    "inference-mode": (FastInference,),
    **{f"dtensor-{axis}-{ranks}": (OverRanks,) for axis in ("rows", "classes") for ranks in (2, 4)},
}
