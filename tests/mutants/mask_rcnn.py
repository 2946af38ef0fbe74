"""Mask R-CNN: mask losses and mask selection."""

from __future__ import annotations

from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .. import reference as ref
from .registry import mutant, wide


class Masks(NumpyAdapter):
    """Base of mutants that change the arguments of the mask loss."""

    def change(self, target: Any, ids: Any, masks: Any) -> tuple[Any, Any, Any]:
        return target, ids, masks

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        return super().mask_rcnn_mask_loss(*self.change(target_masks, target_class_ids, pred_masks))


@mutant("mask_rcnn_mask_loss", kind="masks")
class ClassOffByOne(Masks):
    """Masks are indexed by the class id minus 1."""

    def change(self, target, ids, masks):
        return target, ids, np.roll(masks, 1, axis=-1)


@mutant("mask_rcnn_mask_loss", kind="masks")
class BackgroundCounted(Masks):
    """RoIs of class 0 count, on mask 0."""

    def change(self, target, ids, masks):
        shifted = np.concatenate([np.zeros_like(masks[..., :1]), masks], axis=-1)
        return target, np.where(ids >= 0, ids + 1, ids), shifted


@mutant("mask_rcnn_mask_loss", kind="axis")
class MasksTransposed(Masks):
    """Height and width of the prediction are exchanged."""

    def change(self, target, ids, masks):
        return target, ids, np.swapaxes(masks, 2, 3).reshape(masks.shape)


@mutant("mask_rcnn_mask_loss", kind="masks")
class ClassClamped(Masks):
    """Class ids are clamped to the last mask."""

    def change(self, target, ids, masks):
        return target, np.minimum(ids, masks.shape[-1] - 1), masks


@mutant("mask_rcnn_mask_loss", kind="formula")
class TargetsThresholded(Masks):
    """Target masks are rounded to 0 and 1."""

    def change(self, target, ids, masks):
        return np.rint(target), ids, masks


@mutant("mask_rcnn_mask_loss", kind="masks")
class NegativeIdsCounted(Masks):
    """Ids below 0 index masks from the end."""

    def change(self, target, ids, masks):
        return target, np.where(ids < 0, ids + masks.shape[-1], ids), masks


@mutant(
    "mask_rcnn_mask_loss", kind="reduction",
    upstream="https://github.com/fizyr/keras-maskrcnn/issues/26",
)  # fmt: skip
class NonePositiveNan(NumpyAdapter):
    """Without a positive RoI the mean is NaN."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        result = super().mask_rcnn_mask_loss(target_masks, target_class_ids, pred_masks)
        return result if (target_class_ids > 0).any() else result * np.nan


@mutant("mask_rcnn_mask_loss", kind="normaliser")
class RoisOfImagesAveraged(NumpyAdapter):
    """Means of images are averaged."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        means = [
            super(RoisOfImagesAveraged, self).mask_rcnn_mask_loss(t[None], i[None], wide(m)[None])
            for t, i, m in zip(target_masks, target_class_ids, pred_masks, strict=True)
        ]
        return np.asarray(np.mean(means)).astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss", kind="normaliser")
class PaddingCounted(NumpyAdapter):
    """The mean divides by all RoIs."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        result = super().mask_rcnn_mask_loss(target_masks, target_class_ids, wide(pred_masks))
        share = (target_class_ids > 0).mean() if target_class_ids.size else 1
        return (result * share).astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss", kind="ignored")
class OtherClassesLeak(NumpyAdapter):
    """Masks are picked by a product with one-hot classes, which keeps a NaN."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        result = super().mask_rcnn_mask_loss(target_masks, target_class_ids, pred_masks)
        return (result + 0 * wide(pred_masks).sum()).astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss", kind="ignored")
class GradientLeaksIntoClasses(NumpyAdapter):
    """The other classes' masks receive a gradient."""

    def _grad_mask_rcnn_mask_loss(self, v, *arrays):
        slope = super()._grad_mask_rcnn_mask_loss(v, *arrays)["pred_masks"]
        return {"pred_masks": slope + slope.sum(axis=-1, keepdims=True) / 1024}


@mutant("mask_rcnn_mask_loss_with_logits", kind="masks")
class SoftmaxOverClasses(NumpyAdapter):
    """Classes compete in a softmax."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        p = ref.softmax(wide(mask_logits), -1)
        result = super().mask_rcnn_mask_loss(wide(target_masks), target_class_ids, p)
        return result.astype(mask_logits.dtype)


@mutant("mask_rcnn_mask_loss_with_logits", kind="epsilon")
class MaskSigmoidClipped(NumpyAdapter):
    """The loss of a sigmoid clipped at 1e-7."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        p = np.clip(ref.sigmoid(wide(mask_logits)), 1e-7, 1 - 1e-7)
        result = super().mask_rcnn_mask_loss(wide(target_masks), target_class_ids, p)
        return result.astype(mask_logits.dtype)


@mutant("mask_rcnn_select_masks", kind="ignored")
class SelectedByProduct(NumpyAdapter):
    """A product with one-hot classes spreads the other masks' NaN."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        one_hot = np.eye(pred_masks.shape[-1], dtype=pred_masks.dtype)[class_ids]
        return (pred_masks * one_hot[:, :, None, None, :]).sum(axis=-1).astype(pred_masks.dtype)


@mutant("mask_rcnn_select_masks", kind="masks")
class SelectedClassOffByOne(NumpyAdapter):
    """The mask of the class below is selected."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        return super().mask_rcnn_select_masks(pred_masks, np.maximum(class_ids - 1, 0))


@mutant("mask_rcnn_mask_loss", kind="masks")
class FirstMaskAlways(Masks):
    """The loss is taken on the mask of class 0."""

    def change(self, target, ids, masks):
        return target, ids, np.broadcast_to(masks[..., :1], masks.shape)


@mutant("mask_rcnn_mask_loss", kind="masks")
class ClassAgnostic(Masks):
    """The loss is taken on the average of all masks."""

    def change(self, target, ids, masks):
        mean = wide(masks).mean(axis=-1, keepdims=True).astype(masks.dtype)
        return target, ids, np.broadcast_to(mean, masks.shape)


@mutant("mask_rcnn_mask_loss", kind="axis")
class MasksChannelsFirst(Masks):
    """Masks are reshaped from (B, R, C, H, W)."""

    def change(self, target, ids, masks):
        b, r, height, width, classes = masks.shape
        return target, ids, np.moveaxis(masks.reshape(b, r, classes, height, width), 2, -1)


@mutant("mask_rcnn_mask_loss", kind="axis", upstream="https://github.com/stelzner/monet/issues/1")
class TargetsTransposed(Masks):
    """Height and width of the targets are exchanged."""

    def change(self, target, ids, masks):
        return np.swapaxes(target, 2, 3).reshape(target.shape), ids, masks


@mutant("mask_rcnn_mask_loss", kind="normaliser")
class PixelsAdded(NumpyAdapter):
    """Pixels are added, and only RoIs averaged."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        result = super().mask_rcnn_mask_loss(target_masks, target_class_ids, wide(pred_masks))
        return (result * (pred_masks.shape[2] * pred_masks.shape[3])).astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss", kind="memory")
class LastRoiDropped(Masks):
    """The last of an odd number of RoIs is left out."""

    def change(self, target, ids, masks):
        if ids.shape[1] % 2 and ids.shape[1] > 1:
            ids = ids.copy()
            ids[:, -1] = 0
        return target, ids, masks


@mutant("mask_rcnn_mask_loss", kind="epsilon")
class MaskProbabilitiesClipped(Masks):
    """Probabilities are clipped to [1e-7, 1 − 1e-7]."""

    def change(self, target, ids, masks):
        return target, ids, np.clip(wide(masks), 1e-7, 1 - 1e-7)

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        result = super().mask_rcnn_mask_loss(target_masks, target_class_ids, pred_masks)
        return result.astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss", kind="precision")
class MaskNarrowMean(NumpyAdapter):
    """Costs are added in the dtype of the masks."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        if (target_class_ids >= pred_masks.shape[-1]).any() or not (target_class_ids > 0).any():
            return super().mask_rcnn_mask_loss(target_masks, target_class_ids, pred_masks)
        _, p, y = ref.own_masks(target_masks, target_class_ids, pred_masks)
        costs = ref.binary_cross_entropy(wide(p), wide(y)).astype(pred_masks.dtype).ravel()
        total = np.add.accumulate(costs, dtype=costs.dtype)[-1]
        return np.asarray(total / costs.size, dtype=costs.dtype)


@mutant("mask_rcnn_mask_loss", kind="gradient")
class MaskGradientCountsAll(NumpyAdapter):
    """The gradient divides by the pixels of all RoIs."""

    def _grad_mask_rcnn_mask_loss(self, v, target_masks, target_class_ids, pred_masks):
        arrays = (target_masks, target_class_ids, pred_masks)
        slope = super()._grad_mask_rcnn_mask_loss(v, *arrays)["pred_masks"]
        share = (target_class_ids > 0).mean() if target_class_ids.size else 1
        return {"pred_masks": slope * share}


@mutant("mask_rcnn_mask_loss", kind="gradient")
class NonePositiveGradientNan(NumpyAdapter):
    """Without a positive RoI the gradient is NaN."""

    def _grad_mask_rcnn_mask_loss(self, v, target_masks, target_class_ids, pred_masks):
        arrays = (target_masks, target_class_ids, pred_masks)
        slope = super()._grad_mask_rcnn_mask_loss(v, *arrays)["pred_masks"]
        return {"pred_masks": slope if (target_class_ids > 0).any() else slope * np.nan}


@mutant("mask_rcnn_mask_loss_with_logits", kind="double")
class MaskSigmoidLeftOut(NumpyAdapter):
    """Logits are taken for probabilities (and clipped to them)."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        p = np.clip(wide(mask_logits), 1e-7, 1 - 1e-7)
        return super().mask_rcnn_mask_loss(wide(target_masks), target_class_ids, p).astype(mask_logits.dtype)


@mutant("mask_rcnn_mask_loss_with_logits", kind="double")
class MaskSigmoidTwice(NumpyAdapter):
    """The logits have been through a sigmoid already."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        p = ref.sigmoid(wide(mask_logits)).astype(mask_logits.dtype)
        return super().mask_rcnn_mask_loss_with_logits(target_masks, target_class_ids, p)


@mutant("mask_rcnn_mask_loss_with_logits", kind="masks")
class LogitsClassOffByOne(NumpyAdapter):
    """Masks are indexed by the class id minus 1."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        rolled = np.roll(mask_logits, 1, axis=-1)
        return super().mask_rcnn_mask_loss_with_logits(target_masks, target_class_ids, rolled)


@mutant("mask_rcnn_mask_loss_with_logits", kind="reduction")
class LogitsNonePositiveNan(NumpyAdapter):
    """Without a positive RoI the mean is NaN."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        result = super().mask_rcnn_mask_loss_with_logits(target_masks, target_class_ids, mask_logits)
        return result if (target_class_ids > 0).any() else result * np.nan


@mutant("mask_rcnn_mask_loss_with_logits", kind="precision")
class MaskLogitsInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        narrow = mask_logits.astype(np.float32)
        result = super().mask_rcnn_mask_loss_with_logits(target_masks, target_class_ids, narrow)
        return result.astype(mask_logits.dtype)


@mutant("mask_rcnn_mask_loss_with_logits", kind="ignored")
class LogitsGradientLeaks(NumpyAdapter):
    """The other classes' masks receive a gradient."""

    def _grad_mask_rcnn_mask_loss_with_logits(self, v, *arrays):
        slope = super()._grad_mask_rcnn_mask_loss_with_logits(v, *arrays)["mask_logits"]
        return {"mask_logits": slope + slope.sum(axis=-1, keepdims=True) / 1024}


@mutant("mask_rcnn_select_masks", kind="masks")
class SelectedByLargestMask(NumpyAdapter):
    """The mask of the largest mean is selected, whatever the class."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        best = np.argmax(wide(pred_masks).mean(axis=(2, 3)), axis=-1)
        return super().mask_rcnn_select_masks(pred_masks, best)


@mutant("mask_rcnn_select_masks", kind="masks")
class BackgroundSelectsNothing(NumpyAdapter):
    """A RoI of class 0 gets an empty mask."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        picked = super().mask_rcnn_select_masks(pred_masks, class_ids)
        return np.where(class_ids[:, :, None, None] > 0, picked, picked.dtype.type(0))


@mutant("mask_rcnn_select_masks", kind="masks")
class SelectedByFirstImage(NumpyAdapter):
    """The classes of the first image are used for all."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        return super().mask_rcnn_select_masks(pred_masks, np.broadcast_to(class_ids[:1], class_ids.shape))


@mutant("mask_rcnn_select_masks", kind="double")
class SelectedThroughSigmoid(NumpyAdapter):
    """A sigmoid is applied to the selected mask."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        return self.sigmoid(super().mask_rcnn_select_masks(pred_masks, class_ids))


@mutant("mask_rcnn_select_masks", kind="precision")
class SelectedInHalf(NumpyAdapter):
    """Masks pass through float16."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        picked = super().mask_rcnn_select_masks(pred_masks, class_ids)
        return picked.astype(np.float16).astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss_with_logits", kind="masks")
class LogitsClassClamped(NumpyAdapter):
    """Class ids are clamped to the last mask."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        ids = np.minimum(target_class_ids, mask_logits.shape[-1] - 1)
        return super().mask_rcnn_mask_loss_with_logits(target_masks, ids, mask_logits)
