"""A fused cross entropy of integer labels for PyTorch: forward and backward in one pass over the logits.

The softmax that the backward pass needs is made in the forward pass and kept, so that the logits are
read once. Sums are made in float32 at least.
"""

from __future__ import annotations

from typing import Any

import torch


class FusedCrossEntropy(torch.autograd.Function):
    """Mean over rows of -log softmax(logits)[label]; logits (N, C), labels (N)."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if ((labels < 0) | (labels >= logits.shape[1])).any():
            raise IndexError("a label lies outside of the classes")
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        shifted = wide - wide.amax(dim=1, keepdim=True)
        powers = shifted.exp()
        sums = powers.sum(dim=1, keepdim=True)
        picked = shifted.gather(1, labels[:, None])
        ctx.save_for_backward(powers / sums, labels)
        ctx.dtype = logits.dtype
        return (sums.log() - picked).mean().to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None]:
        probabilities, labels = ctx.saved_tensors
        gradient = probabilities.clone()
        gradient[torch.arange(len(labels)), labels] -= 1
        gradient *= cotangents[0].to(gradient.dtype) / len(labels)
        return gradient.to(ctx.dtype), None


def fused_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return FusedCrossEntropy.apply(logits, labels)
