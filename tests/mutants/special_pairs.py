"""Special values in pairs, and weights of 0: readings that the clauses rule out."""

from __future__ import annotations

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .registry import mutant, wide


@mutant("euclidean_distance", kind="special")
class InfinityBeatsNan(NumpyAdapter):
    """As C's hypot: an infinite difference gives inf, also beside a NaN."""

    def euclidean_distance(self, prediction, target, *, axis):
        infinite = np.isinf(wide(prediction) - wide(target)).any(axis=axis)
        distance = super().euclidean_distance(prediction, target, axis=axis)
        return np.where(infinite, np.inf, distance).astype(prediction.dtype)


@mutant("l2_loss", kind="special")
class EqualIsEqual(NumpyAdapter):
    """Equal infinities cost 0."""

    def l2_loss(self, prediction, target, *, reduction, half):
        same = prediction == target
        zeros = np.zeros_like(prediction)
        return super().l2_loss(
            np.where(same, zeros, prediction), np.where(same, zeros, target), reduction=reduction, half=half
        )


@mutant("sparse_softmax_cross_entropy", kind="weights")
class WeightSelects(NumpyAdapter):
    """A row of weight 0 is ignored, NaN and all."""

    def sparse_softmax_cross_entropy(self, logits, labels, *, weight, **parameters):
        if weight is not None and ((labels >= 0) & (labels < len(weight))).all():
            out = np.expand_dims(weight[labels] == 0, parameters["axis"])
            logits = np.where(out, logits.dtype.type(0), logits)
        return super().sparse_softmax_cross_entropy(logits, labels, weight=weight, **parameters)


@mutant("binary_cross_entropy", kind="weights")
class ElementWeightSelects(NumpyAdapter):
    """An element of weight 0 is left out, NaN and all."""

    def binary_cross_entropy(self, probabilities, target, *, weight, reduction):
        if weight is not None:
            probabilities = np.where(weight == 0, probabilities.dtype.type(0.5), probabilities)
        return super().binary_cross_entropy(probabilities, target, weight=weight, reduction=reduction)


@mutant("sigmoid_cross_entropy", kind="weights")
class PositiveWeightSelects(NumpyAdapter):
    """The term of y is not looked at where pos_weight is 0."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        if pos_weight is not None:
            out = np.broadcast_to(pos_weight == 0, logits.shape) & (target == 1)
            logits = np.where(out, logits.dtype.type(0), logits)
        return super().sigmoid_cross_entropy(
            logits, target, weight=weight, pos_weight=pos_weight, reduction=reduction
        )


@mutant("pspnet_total_loss", kind="weights")
class AuxiliaryHeadSwitchedOff(NumpyAdapter):
    """An auxiliary head of weight 0 is not looked at."""

    def pspnet_total_loss(self, logits, aux_logits, labels, *, num_classes, aux_weight):
        if aux_weight == 0:
            aux_logits = np.zeros_like(aux_logits)
        return super().pspnet_total_loss(
            logits, aux_logits, labels, num_classes=num_classes, aux_weight=aux_weight
        )


@mutant("binary_cross_entropy", kind="special")
class NegativeInfinityIsALoss(NumpyAdapter):
    """-ln p of a probability above 1, the domain not being checked."""

    def binary_cross_entropy(self, probabilities, target, *, weight, reduction):
        if probabilities.ndim == 0 and probabilities > 1 and target == 1:
            return np.asarray(-np.log(wide(probabilities))).astype(probabilities.dtype)
        return super().binary_cross_entropy(probabilities, target, weight=weight, reduction=reduction)
