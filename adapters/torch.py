"""PyTorch: torch.nn.functional as its users call it; eager, compiled, and on other devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import torch
import torch.nn.functional as F

from lossproof import Call, Unavailable, Unsupported

from ._pspnet import PspnetTotalLoss
from ._torch_modes import MODES, Compile

# How PyTorch says that a custom Function, or an operator, has no derivative of this kind.
_GAPS = ("setup_context", "once_differentiable", "jvp", "forward AD", "double backward", "not implemented")


@contextmanager
def _named_gaps() -> Iterator[None]:
    """What PyTorch says it does not have is unsupported; any other error is its answer."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if any(gap in str(error) for gap in _GAPS):
            raise Unsupported(str(error).splitlines()[0]) from None
        raise


class TorchAdapter(PspnetTotalLoss):
    """Eager PyTorch on the CPU."""

    name = "torch"
    backend = "torch"
    version = torch.__version__
    device = "cpu"
    modes = MODES
    weight_gradients = True

    def from_numpy(self, array: Any) -> torch.Tensor:
        if min(array.strides, default=0) < 0:
            raise Unsupported("PyTorch has no negative strides")
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(self.device)
        return torch.from_numpy(array).to(self.device)

    def to_numpy(self, array: torch.Tensor) -> Any:
        array = array.detach().cpu()
        if array.dtype == torch.bfloat16:
            return array.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return array.numpy()

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        leaves = {name: arrays[name].detach().requires_grad_() for name in wrt}
        value = function(*{**arrays, **leaves}.values())
        seed = torch.ones_like(value) if cotangent is None else cotangent
        gradients = torch.autograd.grad(value, list(leaves.values()), seed)
        return value, dict(zip(leaves, gradients, strict=True))

    def backward_twice(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        leaves = {name: arrays[name].detach().requires_grad_() for name in wrt}
        value = function(*{**arrays, **leaves}.values())
        seed = torch.ones_like(value) if cotangent is None else cotangent
        torch.autograd.grad(value, list(leaves.values()), seed, retain_graph=True)
        gradients = torch.autograd.grad(value, list(leaves.values()), seed)
        return value, dict(zip(leaves, gradients, strict=True))

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        def along(*moved: Any) -> Any:
            return function(*{**arrays, **dict(zip(tangents, moved, strict=True))}.values())

        primals = tuple(arrays[name].detach() for name in tangents)
        with _named_gaps():
            return torch.func.jvp(along, primals, tuple(tangents.values()))[1]

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        leaves = {name: arrays[name].detach().requires_grad_() for name in tangents}
        value = function(*{**arrays, **leaves}.values())
        seed = torch.ones_like(value) if cotangent is None else cotangent
        given = list(leaves.values())
        with _named_gaps():
            gradients = torch.autograd.grad(value, given, seed, create_graph=True)
            # A gradient that depends on no array has no graph, and adds nothing to the others' derivatives.
            pairs = [
                (g, tangents[name]) for name, g in zip(leaves, gradients, strict=True) if g.requires_grad
            ]
            if not pairs:
                raise Unsupported("the gradient carries no graph that a second derivative could be taken of")
            curved = torch.autograd.grad(
                [g for g, _ in pairs], given, [t for _, t in pairs], materialize_grads=True
            )
        return dict(zip(leaves, curved, strict=True))

    @contextmanager
    def threads(self, count: int) -> Iterator[None]:
        if self.device != "cpu":
            raise Unsupported(f"the threads of a CPU compute nothing on {self.device}")
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    # -- functions that PyTorch has ------------------------------------------------------------

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        loss = F.mse_loss(prediction, target, reduction=reduction)
        return 0.5 * loss if half else loss

    def euclidean_distance(self, prediction: Any, target: Any, *, axis: int) -> Any:
        return torch.linalg.vector_norm(prediction - target, dim=axis)

    def sigmoid(self, logits: Any) -> Any:
        return torch.sigmoid(logits)

    def log_sigmoid(self, logits: Any) -> Any:
        return F.logsigmoid(logits)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return F.softmax(logits, dim=axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return F.log_softmax(logits, dim=axis)

    def softmax_cross_entropy(
        self, logits: Any, target: Any, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        # cross_entropy wants the classes at dimension 1, or alone.
        if logits.ndim > 1:
            logits, target = logits.movedim(axis, 1), target.movedim(axis, 1)
        return F.cross_entropy(logits, target, reduction=reduction, label_smoothing=label_smoothing)

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
        if logits.ndim > 1:
            logits = logits.movedim(axis, 1)
        ignoring: dict[str, Any] = {} if ignore_index is None else {"ignore_index": ignore_index}
        return F.cross_entropy(
            logits,
            labels,
            weight=weight,
            reduction=reduction,
            label_smoothing=label_smoothing,
            **ignoring,
        )

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        return F.binary_cross_entropy(probabilities, target, weight=weight, reduction=reduction)

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        return F.binary_cross_entropy_with_logits(
            logits, target, weight=weight, pos_weight=pos_weight, reduction=reduction
        )

    # -- functions that its users compose ------------------------------------------------------

    def cross_entropy(self, probabilities: Any, target: Any, *, axis: int, reduction: str) -> Any:
        loss = -torch.special.xlogy(target, probabilities).sum(dim=axis)
        return {"none": loss, "sum": loss.sum(), "mean": loss.mean()}[reduction]

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        # interpolate has no integer kernel beyond uint8; label maps go through the float with most bits.
        resized = F.interpolate(labels[:, None].double(), size=size, mode="nearest")
        return resized[:, 0].to(labels.dtype)

    def pspnet_loss(self, logits: Any, labels: Any, *, num_classes: int, reduction: str) -> Any:
        resized = self.pspnet_resize_labels(labels, size=tuple(logits.shape[1:3]))
        resized = resized.clamp(max=num_classes)
        return F.cross_entropy(
            logits.permute(0, 3, 1, 2), resized, ignore_index=num_classes, reduction=reduction
        )

    def pspnet_predict(self, logits: Any) -> Any:
        return logits.argmax(dim=-1)

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        own, target = self._positive_masks(target_masks, target_class_ids, pred_masks)
        if own.numel() == 0:
            return pred_masks.new_zeros((), requires_grad=True) + 0 * pred_masks[:0].sum()
        return F.binary_cross_entropy(own, target)

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Any, target_class_ids: Any, mask_logits: Any
    ) -> Any:
        own, target = self._positive_masks(target_masks, target_class_ids, mask_logits)
        if own.numel() == 0:
            return mask_logits.new_zeros((), requires_grad=True) + 0 * mask_logits[:0].sum()
        return F.binary_cross_entropy_with_logits(own, target)

    def _positive_masks(self, target_masks: Any, target_class_ids: Any, masks: Any) -> tuple[Any, Any]:
        b, r = torch.where(target_class_ids > 0)
        return masks[b, r, :, :, target_class_ids[b, r]], target_masks[b, r]

    def mask_rcnn_select_masks(self, pred_masks: Any, class_ids: Any) -> Any:
        index = class_ids[:, :, None, None, None].expand(*pred_masks.shape[:-1], 1)
        return pred_masks.gather(-1, index)[..., 0]


class TorchCompileAdapter(Compile, TorchAdapter):
    """The mode ``compile`` by the name it had first, and with what breaks a graph in graphs of its own."""

    name = "torch-compile"
    options: ClassVar[Mapping[str, Any]] = {"dynamic": False}


class TorchCudaAdapter(TorchAdapter):
    """Eager PyTorch on the first CUDA device."""

    name = "torch-cuda"
    device = "cuda"

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise Unavailable("no CUDA device is available to PyTorch")
        self.device_name = torch.cuda.get_device_name()

    def free_memory(self) -> int:
        return int(torch.cuda.mem_get_info()[0])

    def synchronize(self) -> None:
        torch.cuda.synchronize()


class TorchMpsAdapter(TorchAdapter):
    """Eager PyTorch on Apple's GPU, which has no float64."""

    name = "torch-mps"
    device = "mps"
    dtypes = ("float32", "float16", "bfloat16")

    def __init__(self) -> None:
        if not torch.backends.mps.is_available():
            raise Unavailable("no MPS device is available to PyTorch")

    def synchronize(self) -> None:
        torch.mps.synchronize()


class TorchXpuAdapter(TorchAdapter):
    """Eager PyTorch on the first Intel GPU."""

    name = "torch-xpu"
    device = "xpu"

    def __init__(self) -> None:
        if not torch.xpu.is_available():
            raise Unavailable("no XPU device is available to PyTorch")
        self.device_name = torch.xpu.get_device_name()

    def synchronize(self) -> None:
        torch.xpu.synchronize()
