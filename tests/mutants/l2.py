"""L2 loss and Euclidean distance."""

from __future__ import annotations

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .. import reference as ref
from .registry import mutant, wide


@mutant("l2_loss", kind="formula")
class HalfForgotten(NumpyAdapter):
    """half has no effect."""

    def l2_loss(self, prediction, target, *, reduction, half):
        return super().l2_loss(prediction, target, reduction=reduction, half=False)


@mutant("l2_loss", kind="normaliser")
class MeanOverBatch(NumpyAdapter):
    """The mean divides by the batch only."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction != "mean" or prediction.ndim < 2:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        total = super().l2_loss(wide(prediction), wide(target), reduction="sum", half=half)
        return (total / len(prediction)).astype(prediction.dtype)


@mutant("l2_loss", kind="formula", upstream="https://github.com/fastai/fastbook/pull/327")
class AbsoluteDifference(NumpyAdapter):
    """The difference is not squared."""

    def l2_loss(self, prediction, target, *, reduction, half):
        loss = np.abs(wide(prediction) - wide(target)) * (0.5 if half else 1)
        return ref.reduced(loss, reduction).astype(prediction.dtype)


@mutant("l2_loss", kind="stability")
class ExpandedSquare(NumpyAdapter):
    """p² − 2pt + t² cancels."""

    def l2_loss(self, prediction, target, *, reduction, half):
        p, t = wide(prediction), wide(target)
        loss = (p * p - 2 * p * t + t * t) * p.dtype.type(0.5 if half else 1)
        return ref.reduced(loss, reduction).astype(prediction.dtype)


@mutant("l2_loss", kind="precision", upstream="https://github.com/numpy/numpy/issues/7930")
class NarrowMean(NumpyAdapter):
    """The sum is accumulated in the dtype of the prediction."""

    def l2_loss(self, prediction, target, *, reduction, half):
        loss = super().l2_loss(prediction, target, reduction="none", half=half)
        if reduction == "none" or not loss.size:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        total = np.add.accumulate(loss.ravel(), dtype=loss.dtype)[-1]
        return np.asarray(total / loss.size if reduction == "mean" else total, dtype=loss.dtype)


@mutant("l2_loss", kind="gradient")
class TargetGradientSign(NumpyAdapter):
    """The target's gradient has the prediction's sign."""

    def _grad_l2_loss(self, v, *arrays, **parameters):
        slopes = super()._grad_l2_loss(v, *arrays, **parameters)
        return {"prediction": slopes["prediction"], "target": slopes["prediction"]}


@mutant("l2_loss", kind="special")
class NanMean(NumpyAdapter):
    """The mean skips NaN."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction != "mean":
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        loss = super().l2_loss(wide(prediction), wide(target), reduction="none", half=half)
        return np.asarray(np.nanmean(loss)).astype(prediction.dtype)


@mutant("l2_loss", kind="memory")
class PairsOnly(NumpyAdapter):
    """The last element of an odd number is dropped."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction == "none" or prediction.ndim != 1 or prediction.size < 2:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        n = prediction.size // 2 * 2
        return super().l2_loss(prediction[:n], target[:n], reduction=reduction, half=half)


@mutant("l2_loss", kind="result")
class ArrayForScalar(NumpyAdapter):
    """A reduced result keeps one dimension."""

    def l2_loss(self, prediction, target, *, reduction, half):
        return np.atleast_1d(super().l2_loss(prediction, target, reduction=reduction, half=half))


@mutant("euclidean_distance", kind="epsilon", upstream="https://github.com/pytorch/pytorch/issues/61538")
class DistanceEpsilon(NumpyAdapter):
    """1e-6 is added to every difference."""

    def euclidean_distance(self, prediction, target, *, axis):
        shifted = (wide(prediction) + 1e-6).astype(wide(prediction).dtype)
        result = super().euclidean_distance(shifted, wide(target), axis=axis)
        return result.astype(prediction.dtype)


@mutant("euclidean_distance", kind="formula")
class SquaredDistance(NumpyAdapter):
    """The square root is missing."""

    def euclidean_distance(self, prediction, target, *, axis):
        return super().euclidean_distance(prediction, target, axis=axis) ** 2


@mutant("euclidean_distance", kind="gradient", upstream="https://github.com/tilman151/rul-adapt/pull/22")
class DistanceGradientAtZero(NumpyAdapter):
    """The gradient at distance 0 is 0/0."""

    def _grad_euclidean_distance(self, v, prediction, target, *, axis):
        d = wide(prediction) - wide(target)
        slope = np.expand_dims(v, axis) * d / np.sqrt((d * d).sum(axis=axis, keepdims=True))
        return {"prediction": slope, "target": -slope}


@mutant("euclidean_distance", kind="axis")
class DistanceLastAxis(NumpyAdapter):
    """The axis is ignored."""

    def euclidean_distance(self, prediction, target, *, axis):
        return super().euclidean_distance(prediction, target, axis=-1)


@mutant("l2_loss", kind="reduction")
class SumAndMeanSwapped(NumpyAdapter):
    """sum gives the mean and mean the sum."""

    def l2_loss(self, prediction, target, *, reduction, half):
        other = {"sum": "mean", "mean": "sum"}.get(reduction, reduction)
        return super().l2_loss(prediction, target, reduction=other, half=half)


@mutant("l2_loss", kind="reduction", upstream="https://github.com/linkedin/Liger-Kernel/issues/421")
class NoneIsReduced(NumpyAdapter):
    """none gives a single value."""

    def l2_loss(self, prediction, target, *, reduction, half):
        reduction = "sum" if reduction == "none" else reduction
        return super().l2_loss(prediction, target, reduction=reduction, half=half)


@mutant("l2_loss", kind="formula", upstream="https://github.com/d2l-ai/d2l-en/pull/1987")
class HalfAlways(NumpyAdapter):
    """The factor ½ is always there, as in Caffe's EuclideanLoss."""

    def l2_loss(self, prediction, target, *, reduction, half):
        return super().l2_loss(prediction, target, reduction=reduction, half=True)


@mutant("l2_loss", kind="formula")
class HuberInstead(NumpyAdapter):
    """Beyond 1 the loss grows linearly."""

    def l2_loss(self, prediction, target, *, reduction, half):
        d = np.abs(wide(prediction) - wide(target))
        loss = np.where(d < 1, d * d, 2 * d - 1) * d.dtype.type(0.5 if half else 1)
        return ref.reduced(loss, reduction).astype(prediction.dtype)


@mutant("l2_loss", kind="formula")
class RootOfMean(NumpyAdapter):
    """The square root of the mean."""

    def l2_loss(self, prediction, target, *, reduction, half):
        loss = super().l2_loss(prediction, target, reduction=reduction, half=half)
        return np.sqrt(loss) if reduction == "mean" else loss


@mutant("l2_loss", kind="precision")
class L2InFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def l2_loss(self, prediction, target, *, reduction, half):
        p, t = prediction.astype(np.float32), target.astype(np.float32)
        return super().l2_loss(p, t, reduction=reduction, half=half).astype(prediction.dtype)


@mutant("l2_loss", kind="precision", upstream="https://github.com/chainer/chainer/issues/7681")
class MeanOfNarrowSum(NumpyAdapter):
    """The sum is rounded to the dtype before it is divided."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction != "mean" or not prediction.size:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        total = super().l2_loss(prediction, target, reduction="sum", half=half)
        return np.asarray(wide(total) / np.float32(prediction.size)).astype(prediction.dtype)


@mutant("l2_loss", kind="precision")
class CountInDtype(NumpyAdapter):
    """The count that divides is rounded to the dtype."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction != "mean" or not prediction.size:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        total = super().l2_loss(wide(prediction), wide(target), reduction="sum", half=half)
        count = wide(np.asarray(prediction.size).astype(prediction.dtype))
        return np.asarray(total / count).astype(prediction.dtype)


@mutant("l2_loss", kind="memory")
class BlocksOfEightOnly(NumpyAdapter):
    """What remains after blocks of eight is not summed."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction == "none" or prediction.size < 8:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        whole = prediction.size // 8 * 8
        loss = super().l2_loss(wide(prediction), wide(target), reduction="none", half=half).ravel()[:whole]
        total = loss.sum() / (prediction.size if reduction == "mean" else 1)
        return np.asarray(total).astype(prediction.dtype)


@mutant("l2_loss", kind="memory")
class L2MemoryOrder(NumpyAdapter):
    """Arrays are read in memory order whatever their strides."""

    def l2_loss(self, prediction, target, *, reduction, half):
        p, t = (a.ravel(order="K").reshape(a.shape) for a in (prediction, target))
        return super().l2_loss(p, t, reduction=reduction, half=half)


@mutant("l2_loss", kind="gradient", upstream="https://github.com/davisking/dlib/issues/1169")
class L2GradientWithoutTwo(NumpyAdapter):
    """The gradient lacks the factor 2."""

    def _grad_l2_loss(self, v, *arrays, **parameters):
        return super()._grad_l2_loss(v, *arrays, **{**parameters, "half": True})


@mutant("l2_loss", kind="gradient")
class L2GradientNotDivided(NumpyAdapter):
    """The gradient of the mean is the sum's."""

    def _grad_l2_loss(self, v, *arrays, **parameters):
        reduction = "sum" if parameters["reduction"] == "mean" else parameters["reduction"]
        return super()._grad_l2_loss(v, *arrays, **{**parameters, "reduction": reduction})


@mutant("euclidean_distance", kind="formula")
class ManhattanDistance(NumpyAdapter):
    """The sum of absolute differences."""

    def euclidean_distance(self, prediction, target, *, axis):
        return np.abs(wide(prediction) - wide(target)).sum(axis=axis).astype(prediction.dtype)


@mutant("euclidean_distance", kind="normaliser")
class RootMeanSquareDistance(NumpyAdapter):
    """The squares are averaged instead of added."""

    def euclidean_distance(self, prediction, target, *, axis):
        d = wide(prediction) - wide(target)
        return np.sqrt((d * d).mean(axis=axis)).astype(prediction.dtype)


@mutant("euclidean_distance", kind="stability")
class DistanceExpanded(NumpyAdapter):
    """√(|p|² + |t|² − 2pt) cancels for points far from the origin."""

    def euclidean_distance(self, prediction, target, *, axis):
        p, t = wide(prediction), wide(target)
        square = (p * p).sum(axis=axis) + (t * t).sum(axis=axis) - 2 * (p * t).sum(axis=axis)
        return np.sqrt(np.maximum(square, 0)).astype(prediction.dtype)


@mutant("euclidean_distance", kind="precision")
class DistanceNarrowSquares(NumpyAdapter):
    """Squares are added in the dtype of the prediction."""

    def euclidean_distance(self, prediction, target, *, axis):
        d = prediction - target
        if not d.size:
            return super().euclidean_distance(prediction, target, axis=axis)
        total = np.add.accumulate(d * d, axis=axis, dtype=d.dtype).take(-1, axis=axis)
        return np.sqrt(wide(total)).astype(prediction.dtype)


@mutant("euclidean_distance", kind="special")
class DistanceSkipsNan(NumpyAdapter):
    """NaN differences are skipped."""

    def euclidean_distance(self, prediction, target, *, axis):
        d = wide(prediction) - wide(target)
        return np.sqrt(np.nansum(d * d, axis=axis)).astype(prediction.dtype)


@mutant("euclidean_distance", kind="gradient")
class DistanceGradientEpsilon(NumpyAdapter):
    """The gradient divides by the distance plus 1e-6."""

    def _grad_euclidean_distance(self, v, prediction, target, *, axis):
        d = wide(prediction) - wide(target)
        slope = np.expand_dims(v, axis) * d / (np.sqrt((d * d).sum(axis=axis, keepdims=True)) + 1e-6)
        return {"prediction": slope, "target": -slope}
