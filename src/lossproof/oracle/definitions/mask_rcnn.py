"""The mask losses of Mask R-CNN (spec/mask-rcnn.md)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN
from lossproof.oracle.bounds import Bound, each
from lossproof.oracle.columns import Balls
from lossproof.oracle.definition import Arguments, Ignored, Inputs, Outputs, define
from lossproof.oracle.definitions.binary_cross_entropy import BinaryCrossEntropy, SigmoidCrossEntropy
from lossproof.oracle.reading import (
    SILENT,
    Array,
    Arrays,
    Parameters,
    Reading,
    leaves_half,
    nan,
    negative_zero,
    outside,
    steep,
    sum_overflows,
)
from lossproof.oracle.reduction import element_shares, reduce_elements
from lossproof.oracle.result import Output, integers


def own_masks(arrays: Arrays, name: str) -> tuple[Array, Array, Array]:
    """Where class ids are positive, the masks of their own classes, and their target masks."""
    ids = arrays["target_class_ids"]
    positive = ids > 0
    b, r = np.nonzero(positive)
    return positive, arrays[name][b, r, :, :, ids[b, r]], arrays["target_masks"][b, r]


def _invalid(arrays: Arrays, name: str) -> bool:
    return bool((arrays["target_class_ids"] >= arrays[name].shape[-1]).any())


def _read_probabilities(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    if _invalid(arrays, "pred_masks"):
        return Reading("MRC-10", raises=True, gradients=False)
    positive, p, y = own_masks(arrays, "pred_masks")
    if not positive.any():
        return Reading("MRC-4")
    gradients = not negative_zero(p) and not steep(p, dtype)
    if outside(p):
        return SILENT
    if nan(p, y):
        return Reading("MRC-9", raises=True, nan=True, gradients=gradients)
    return Reading("MRC-9" if ((p == 0) | (p == 1)).any() else "MRC-2", gradients=gradients)


def _read_logits(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    if _invalid(arrays, "mask_logits"):
        return Reading("MRC-10", raises=True, gradients=False)
    positive, x, y = own_masks(arrays, "mask_logits")
    if not positive.any():
        return Reading("MRC-4")
    if np.isinf(x).any():
        return SILENT if nan(x, y) else Reading("BCE-11", level="recommended")
    if sum_overflows(np.abs(x) * 16, dtype):
        return Reading("G-4", level="recommended")
    if nan(x, y):
        return Reading("BCE-13")
    return Reading("G-4" if leaves_half(x, dtype) else "MRC-6")


def _read_select(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    ids = arrays["class_ids"]
    outside_classes = (ids < 0) | (ids >= arrays["pred_masks"].shape[-1])
    return SILENT if outside_classes.any() else Reading("MRC-7")


def _ignored(name: str) -> Ignored:
    """Padding and background, and of a positive RoI the masks of the classes that are not its own."""

    def ignored(arrays: Arrays, parameters: Parameters) -> Array:
        ids, shape = arrays["target_class_ids"][:, :, None, None, None], arrays[name].shape
        return np.broadcast_to((ids <= 0) | (ids != np.arange(shape[-1])), shape)

    return ignored


@define("mask_rcnn_mask_loss", _read_probabilities, ignored=_ignored("pred_masks"))
def _mask_rcnn_mask_loss(arrays: Inputs, arguments: Arguments) -> Outputs:
    return mask_loss(arrays, arguments, "pred_masks", BinaryCrossEntropy)


@define("mask_rcnn_mask_loss_with_logits", _read_logits, ignored=_ignored("mask_logits"))
def _mask_rcnn_mask_loss_with_logits(arrays: Inputs, arguments: Arguments) -> Outputs:
    return mask_loss(arrays, arguments, "mask_logits", SigmoidCrossEntropy)


def mask_loss(
    arrays: Inputs,
    arguments: Arguments,
    name: str,
    cost: Callable[..., BinaryCrossEntropy | SigmoidCrossEntropy],
) -> Outputs:
    """Value and gradient of the mean over the pixels that count of what ``cost`` says of each."""
    masks, ids, target = arrays[name], arrays["target_class_ids"], arrays["target_masks"]
    classes = masks.shape[-1]
    positions: list[int] = []
    y: list[float] = []
    index = np.arange(masks.size).reshape(masks.shape)
    for b, r in np.argwhere(ids > 0).tolist():
        c = int(ids[b, r])
        if c >= classes:
            return {"value": Output((), [NAN], Bound())}
        positions += index[b, r, :, :, c].ravel().tolist()
        y += target[b, r].ravel().tolist()
    loss = cost(masks.ravel()[positions], np.array(y))
    # The mean over no RoI is 0 by this function's own definition.
    value = reduce_elements(*loss.costs(), "mean" if positions else "sum", ())
    inner = loss.gradient(element_shares(len(y), "mean", arguments.cotangent), (len(y),))
    absent = np.ones(masks.size, bool)
    absent[positions] = False
    # What is not the mask of its RoI's class is the last of the distinct elements.
    at = np.full(masks.size, len(inner.exact.values))
    at[positions] = inner.exact.at
    placed = each(inner.bound, np.zeros(len(y)))
    parts = [np.zeros(masks.size) for _ in range(3)]
    for part, values in zip(parts, (placed.u, placed.a, placed.h), strict=True):
        part[positions] = values
    gradient = Output(masks.shape, Balls([*inner.exact.values, 0.0], at), Bound(*parts), absent)
    return {"value": value, f"gradients.{name}": gradient}


@define("mask_rcnn_select_masks", _read_select)
def _mask_rcnn_select_masks(arrays: Inputs, arguments: Arguments) -> Outputs:
    masks, ids = arrays["pred_masks"], arrays["class_ids"]
    picked = np.stack(
        [
            np.stack([masks[b, r, :, :, ids[b, r]] for r in range(masks.shape[1])])
            for b in range(masks.shape[0])
        ]
    ) if masks.size else np.zeros(masks.shape[:-1])  # fmt: skip
    return {"value": integers(picked)}
