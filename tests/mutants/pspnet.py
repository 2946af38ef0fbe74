"""PSPNet: label preparation, losses and prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .registry import mutant, wide


class Resize(NumpyAdapter):
    """Base of mutants with another source index."""

    def index(self, i: Any, ratio: float) -> Any:
        return np.floor(i * ratio)

    def pspnet_resize_labels(self, labels, *, size):
        picked = [
            np.clip(self.index(np.arange(n), length / n), 0, length - 1).astype(int)
            for n, length in zip(size, labels.shape[1:], strict=True)
        ]
        return labels[:, picked[0][:, None], picked[1]]


@mutant("pspnet_resize_labels", kind="resize", upstream="https://github.com/opencv/opencv/issues/9096")
class HalfPixelCentres(Resize):
    """Pixels are sampled at their centres."""

    def index(self, i, ratio):
        return np.floor((i + 0.5) * ratio)


@mutant("pspnet_resize_labels", kind="resize")
class RoundedIndex(Resize):
    """The source index is rounded."""

    def index(self, i, ratio):
        return np.rint(i * ratio)


@mutant("pspnet_resize_labels", kind="resize")
class Float32Ratio(Resize):
    """The ratio is rounded to float32."""

    def index(self, i, ratio):
        return np.floor(i.astype(np.float32) * np.float32(ratio))


@mutant("pspnet_resize_labels", kind="resize")
class AlignedCorners(NumpyAdapter):
    """The corners of both maps are aligned."""

    def pspnet_resize_labels(self, labels, *, size):
        picked = [
            np.linspace(0, length - 1, n).astype(int)
            for n, length in zip(size, labels.shape[1:], strict=True)
        ]
        return labels[:, picked[0][:, None], picked[1]]


@mutant("pspnet_resize_labels", kind="labels")
class LabelsThroughBytes(NumpyAdapter):
    """Labels pass through uint8."""

    def pspnet_resize_labels(self, labels, *, size):
        return super().pspnet_resize_labels(labels.astype(np.uint8), size=size).astype(labels.dtype)


@mutant("pspnet_loss", kind="labels", upstream="https://github.com/PaddlePaddle/PaddleSeg/pull/1499")
class Only255Dropped(NumpyAdapter):
    """Only the label 255 is dropped; others are clamped to the last class."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        clamped = np.where(labels >= num_classes, num_classes - 1, labels)
        labels = np.where(labels == 255, labels, clamped)
        return super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)


@mutant(
    "pspnet_loss", kind="normaliser",
    upstream="https://github.com/qubvel-org/segmentation_models.pytorch/issues/852",
)  # fmt: skip
class DroppedCounted(NumpyAdapter):
    """The mean divides by all pixels."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        p = {"num_classes": num_classes}
        if reduction != "mean":
            return super().pspnet_loss(logits, labels, reduction=reduction, **p)
        costs = super().pspnet_loss(wide(logits), labels, reduction="none", **p)
        return np.asarray(costs.mean()).astype(logits.dtype)


@mutant("pspnet_loss", kind="normaliser", upstream="https://github.com/ml-explore/mlx-lm/pull/1413")
class MeanPerImage(NumpyAdapter):
    """Means of images are averaged."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        p = {"num_classes": num_classes, "reduction": reduction}
        if reduction != "mean":
            return super().pspnet_loss(logits, labels, **p)
        means = [
            super(MeanPerImage, self).pspnet_loss(wide(x)[None], y[None], **p)
            for x, y in zip(logits, labels, strict=True)
        ]
        return np.asarray(np.mean(means)).astype(logits.dtype)


@mutant("pspnet_loss", kind="labels")
class NegativeIgnored(NumpyAdapter):
    """Negative labels are dropped too."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        labels = np.where(labels < 0, 255, labels)
        return super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)


class Total(NumpyAdapter):
    """Base of mutants that weigh the heads otherwise."""

    def weigh(self, main: Any, auxiliary: Any, weight: float) -> Any:
        raise NotImplementedError

    def pspnet_total_loss(self, logits, aux_logits, labels, *, num_classes, aux_weight):
        p = {"num_classes": num_classes, "reduction": "mean"}
        main = super().pspnet_loss(wide(logits), labels, **p)
        auxiliary = super().pspnet_loss(wide(aux_logits), labels, **p)
        return np.asarray(self.weigh(main, auxiliary, aux_weight)).astype(logits.dtype)


@mutant(
    "pspnet_total_loss", kind="weights",
    upstream="https://github.com/open-mmlab/mmsegmentation/issues/802",
)  # fmt: skip
class AuxiliaryUnweighted(Total):
    """The auxiliary loss counts fully."""

    def weigh(self, main, auxiliary, weight):
        return main + auxiliary


@mutant("pspnet_total_loss", kind="weights")
class BothWeighted(Total):
    """The weight multiplies both losses."""

    def weigh(self, main, auxiliary, weight):
        return weight * (main + auxiliary)


@mutant("pspnet_total_loss", kind="weights")
class AuxiliaryWeightHalf(Total):
    """The auxiliary weight is 0.5 whatever is given."""

    def weigh(self, main, auxiliary, weight):
        return main + 0.5 * auxiliary


@mutant("pspnet_predict", kind="prediction", upstream="https://github.com/pytorch/pytorch/issues/41998")
class LastOfTies(NumpyAdapter):
    """Of equal logits the last class is returned."""

    def pspnet_predict(self, logits):
        return logits.shape[-1] - 1 - np.argmax(logits[..., ::-1], axis=-1)


@mutant("pspnet_predict", kind="prediction", upstream="https://github.com/ml-explore/mlx/issues/4274")
class ArgmaxSkipsNan(NumpyAdapter):
    """A NaN is skipped."""

    def pspnet_predict(self, logits):
        return np.argmax(np.where(np.isnan(logits), -np.inf, wide(logits)), axis=-1)


@mutant("pspnet_resize_labels", kind="resize")
class CeiledIndex(Resize):
    """The source index is rounded up."""

    def index(self, i, ratio):
        return np.ceil(i * ratio)


@mutant("pspnet_resize_labels", kind="resize", upstream="https://github.com/opencv/opencv/pull/29825")
class FixedPointIndex(Resize):
    """The ratio is rounded to 16 binary places."""

    def index(self, i, ratio):
        return np.floor(i * np.floor(ratio * 65536) / 65536)


@mutant("pspnet_resize_labels", kind="resize", upstream="https://github.com/opencv/opencv/issues/11250")
class LabelsAveraged(NumpyAdapter):
    """Labels are interpolated, which invents classes."""

    def pspnet_resize_labels(self, labels, *, size):
        values = labels.astype(np.float64)
        for axis, n in ((1, size[0]), (2, size[1])):
            where = np.minimum(np.arange(n) * labels.shape[axis] / n, labels.shape[axis] - 1)
            low = np.floor(where).astype(int)
            high = np.minimum(low + 1, labels.shape[axis] - 1)
            share = np.expand_dims(where - low, 1 if axis == 2 else (1,))
            share = share.reshape((n, 1) if axis == 1 else (n,))
            values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
        return values.astype(labels.dtype)


@mutant("pspnet_resize_labels", kind="axis")
class WidthForHeight(NumpyAdapter):
    """Height and width of the target size are exchanged."""

    def pspnet_resize_labels(self, labels, *, size):
        return super().pspnet_resize_labels(labels, size=size[::-1]).reshape(len(labels), *size)


@mutant("pspnet_loss", kind="ignored")
class BackgroundDropped(NumpyAdapter):
    """Label 0 is dropped too."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        labels = np.where(labels == 0, num_classes, labels)
        return super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)


@mutant("pspnet_loss", kind="labels")
class OnlyFirstVoidDropped(NumpyAdapter):
    """Only the label num_classes is dropped; higher ones are clamped to the last class."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        labels = np.where(labels > num_classes, num_classes - 1, labels)
        return super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)


@mutant("pspnet_loss", kind="formula")
class LogitsResized(NumpyAdapter):
    """The logits are resized to the labels instead of the labels to the logits."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        if reduction == "none" or not logits.size:
            return super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)
        rows = np.arange(labels.shape[1]) * logits.shape[1] // labels.shape[1]
        columns = np.arange(labels.shape[2]) * logits.shape[2] // labels.shape[2]
        big = logits[:, rows][:, :, columns]
        return super().pspnet_loss(big, labels, num_classes=num_classes, reduction=reduction)


@mutant("pspnet_loss", kind="normaliser")
class MeanOverImages(NumpyAdapter):
    """The sum is divided by the number of images."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        p = {"num_classes": num_classes}
        if reduction != "mean" or not len(logits):
            return super().pspnet_loss(logits, labels, reduction=reduction, **p)
        total = super().pspnet_loss(wide(logits), labels, reduction="sum", **p)
        return np.asarray(total / len(logits)).astype(logits.dtype)


@mutant("pspnet_loss", kind="axis")
class LogitsChannelsFirst(NumpyAdapter):
    """Logits are reshaped from channels first."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        n, height, width, classes = logits.shape
        logits = np.moveaxis(logits.reshape(n, classes, height, width), 1, -1)
        return super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)


@mutant("pspnet_loss", kind="gradient")
class GradientCountsDropped(NumpyAdapter):
    """The gradient of the mean divides by all pixels."""

    def _grad_pspnet_loss(self, v, logits, labels, *, num_classes, reduction):
        p = {"num_classes": num_classes}
        if reduction != "mean":
            return super()._grad_pspnet_loss(v, logits, labels, reduction=reduction, **p)
        slope = super()._grad_pspnet_loss(v, logits, labels, reduction="sum", **p)["logits"]
        return {"logits": slope / max(slope.size // max(slope.shape[-1], 1), 1)}


@mutant("pspnet_loss", kind="ignored")
class DroppedTimesZero(NumpyAdapter):
    """Dropped pixels are multiplied by 0, which keeps a NaN."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        loss = super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)
        resized = self.pspnet_resize_labels(labels, size=logits.shape[1:3])
        return (loss + 0 * wide(logits)[resized >= num_classes].sum()).astype(logits.dtype)


@mutant(
    "pspnet_total_loss",
    kind="formula",
    upstream="https://github.com/divamgupta/image-segmentation-keras/issues/92",
)
class AuxiliaryLeftOut(Total):
    """There is no auxiliary loss."""

    def weigh(self, main, auxiliary, weight):
        return main


@mutant("pspnet_total_loss", kind="weights")
class HeadsBlended(Total):
    """The main loss keeps 1 − weight."""

    def weigh(self, main, auxiliary, weight):
        return (1 - weight) * main + weight * auxiliary


@mutant("pspnet_total_loss", kind="gradient")
class AuxiliaryGradientUnweighted(NumpyAdapter):
    """The gradient of the auxiliary head is not weighted."""

    def _grad_pspnet_total_loss(self, v, *arrays, num_classes, aux_weight):
        return super()._grad_pspnet_total_loss(v, *arrays, num_classes=num_classes, aux_weight=1.0)


@mutant("pspnet_total_loss", kind="gradient")
class AuxiliaryDetached(NumpyAdapter):
    """The auxiliary head receives no gradient."""

    def _grad_pspnet_total_loss(self, v, *arrays, **p):
        slopes = super()._grad_pspnet_total_loss(v, *arrays, **p)
        return {"logits": slopes["logits"], "aux_logits": np.zeros_like(slopes["aux_logits"])}


@mutant(
    "pspnet_predict",
    kind="precision",
    upstream="https://github.com/huggingface/sentence-transformers/pull/3893",
)
class PredictFromProbabilities(NumpyAdapter):
    """The class of the largest softmax, which rounds different logits to ties."""

    def pspnet_predict(self, logits):
        return np.argmax(self.softmax(logits, axis=-1), axis=-1)


@mutant("pspnet_predict", kind="precision")
class PredictInHalf(NumpyAdapter):
    """Logits are compared in float16."""

    def pspnet_predict(self, logits):
        return np.argmax(logits.astype(np.float16), axis=-1)


@mutant("pspnet_predict", kind="axis")
class PredictChannelsFirst(NumpyAdapter):
    """Classes are taken to be on axis 1."""

    def pspnet_predict(self, logits):
        n, height, width, classes = logits.shape
        return np.argmax(logits.reshape(n, classes, height, width), axis=1)


@mutant("pspnet_predict", kind="labels")
class PredictFromOne(NumpyAdapter):
    """Classes are counted from 1."""

    def pspnet_predict(self, logits):
        return super().pspnet_predict(logits) + 1


@mutant("pspnet_predict", kind="prediction")
class PredictsLargestMagnitude(NumpyAdapter):
    """The class of the largest absolute logit."""

    def pspnet_predict(self, logits):
        return np.argmax(np.abs(logits), axis=-1)
