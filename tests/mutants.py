"""Wrong implementations: the NumPy reference with one plausible bug each.

Every class is one mutant; its docstring says the bug. `MUTANTS` maps each to the functions it breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lossproof.adapters import numpy as ref
from lossproof.adapters.numpy import NumpyAdapter

MUTANTS: dict[type[NumpyAdapter], tuple[str, ...]] = {}


def mutant(*functions: str) -> Callable[[type[NumpyAdapter]], type[NumpyAdapter]]:
    def register(cls: type[NumpyAdapter]) -> type[NumpyAdapter]:
        MUTANTS[cls] = functions
        cls.name = cls.__name__
        return cls

    return register


def wide(x: Any) -> Any:
    return x.astype(np.promote_types(x.dtype, np.float32))


# -- softmax and log-softmax ------------------------------------------------------------------


@mutant("softmax")
class SoftmaxWithoutMax(NumpyAdapter):
    """The maximum is not subtracted."""

    def softmax(self, logits, *, axis):
        e = np.exp(wide(logits))
        return (e / e.sum(axis=axis, keepdims=True)).astype(logits.dtype)


@mutant("softmax")
class SoftmaxGlobalMax(NumpyAdapter):
    """The maximum of the whole array is subtracted."""

    def softmax(self, logits, *, axis):
        x = wide(logits)
        e = np.exp(x - np.max(x, initial=-np.inf))
        return (e / e.sum(axis=axis, keepdims=True)).astype(logits.dtype)


@mutant("softmax")
class SoftmaxLastAxis(NumpyAdapter):
    """The axis is ignored."""

    def softmax(self, logits, *, axis):
        return super().softmax(logits, axis=-1)


@mutant("softmax")
class SoftmaxTwice(NumpyAdapter):
    """Softmax is applied twice."""

    def softmax(self, logits, *, axis):
        return super().softmax(super().softmax(logits, axis=axis), axis=axis)


@mutant("softmax")
class SoftmaxBaseTwo(NumpyAdapter):
    """Powers of 2 instead of e."""

    def softmax(self, logits, *, axis):
        return super().softmax((wide(logits) * np.log(2)).astype(logits.dtype), axis=axis)


@mutant("softmax")
class SoftmaxNarrowSum(NumpyAdapter):
    """The sum of exponentials is accumulated in the dtype of the logits."""

    def softmax(self, logits, *, axis):
        if not logits.size:
            return logits
        e = np.exp(logits - np.max(logits, axis=axis, keepdims=True))
        total = np.add.accumulate(e, axis=axis, dtype=logits.dtype).take([-1], axis=axis)
        return (e / total).astype(logits.dtype)


@mutant("softmax")
class SoftmaxSkipsNan(NumpyAdapter):
    """The maximum and the sum skip NaN."""

    def softmax(self, logits, *, axis):
        x = wide(logits)
        e = np.exp(x - np.fmax.reduce(x, axis=axis, keepdims=True, initial=-np.inf))
        return (e / np.nansum(e, axis=axis, keepdims=True)).astype(logits.dtype)


@mutant("softmax")
class SoftmaxEpsilon(NumpyAdapter):
    """An epsilon is added to the denominator."""

    def softmax(self, logits, *, axis):
        e = np.exp(ref._shifted(wide(logits), axis))
        return (e / (e.sum(axis=axis, keepdims=True) + 1e-6)).astype(logits.dtype)


@mutant("softmax")
class SoftmaxInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def softmax(self, logits, *, axis):
        return super().softmax(logits.astype(np.float32), axis=axis).astype(logits.dtype)


@mutant("softmax")
class SoftmaxMemoryOrder(NumpyAdapter):
    """The array is read in memory order whatever its strides."""

    def softmax(self, logits, *, axis):
        flat = logits.ravel(order="K").reshape(logits.shape)
        return super().softmax(flat, axis=axis)


@mutant("softmax")
class SoftmaxGradientDiagonal(NumpyAdapter):
    """Only the diagonal p(1 − p) of the Jacobian is used."""

    def _grad_softmax(self, v, logits, *, axis):
        p = ref._softmax(wide(logits), axis)
        return {"logits": p * (1 - p) * v}


@mutant("log_softmax")
class LogOfSoftmax(NumpyAdapter):
    """The logarithm of the rounded softmax."""

    def log_softmax(self, logits, *, axis):
        return np.log(ref._softmax(wide(logits), axis)).astype(logits.dtype)


@mutant("log_softmax")
class LogSoftmaxEpsilon(NumpyAdapter):
    """An epsilon inside the logarithm."""

    def log_softmax(self, logits, *, axis):
        return np.log(ref._softmax(wide(logits), axis) + 1e-12).astype(logits.dtype)


@mutant("log_softmax")
class LogSoftmaxGradientUnscaled(NumpyAdapter):
    """The gradient forgets the sum of the cotangent."""

    def _grad_log_softmax(self, v, logits, *, axis):
        return {"logits": v - ref._softmax(wide(logits), axis)}


# -- sigmoid ----------------------------------------------------------------------------------


@mutant("sigmoid")
class SigmoidByTanh(NumpyAdapter):
    """(1 + tanh(x/2))/2 loses the left tail."""

    def sigmoid(self, logits):
        return (0.5 + 0.5 * np.tanh(0.5 * wide(logits))).astype(logits.dtype)


@mutant("sigmoid")
class SigmoidOverflow(NumpyAdapter):
    """eˣ/(1 + eˣ) is inf/inf on the right."""

    def sigmoid(self, logits):
        e = np.exp(wide(logits))
        return (e / (1 + e)).astype(logits.dtype)


@mutant("sigmoid")
class SigmoidClipped(NumpyAdapter):
    """The result is clipped to [1e-7, 1 − 1e-7]."""

    def sigmoid(self, logits):
        return np.clip(wide(super().sigmoid(logits)), 1e-7, 1 - 1e-7).astype(logits.dtype)


@mutant("sigmoid")
class SigmoidGradientSquared(NumpyAdapter):
    """The gradient is σ² instead of σ(1 − σ)."""

    def _grad_sigmoid(self, v, logits):
        return {"logits": v * ref._sigmoid(wide(logits)) ** 2}


@mutant("log_sigmoid")
class LogOfSigmoid(NumpyAdapter):
    """The logarithm of the rounded sigmoid."""

    def log_sigmoid(self, logits):
        return np.log(wide(super().sigmoid(logits))).astype(logits.dtype)


@mutant("log_sigmoid")
class LogSigmoidOverflow(NumpyAdapter):
    """x − ln(1 + eˣ) is inf − inf on the right."""

    def log_sigmoid(self, logits):
        x = wide(logits)
        return (x - np.log1p(np.exp(x))).astype(logits.dtype)


# -- l2 and Euclidean distance ----------------------------------------------------------------


@mutant("l2_loss")
class HalfForgotten(NumpyAdapter):
    """half has no effect."""

    def l2_loss(self, prediction, target, *, reduction, half):
        return super().l2_loss(prediction, target, reduction=reduction, half=False)


@mutant("l2_loss")
class MeanOverBatch(NumpyAdapter):
    """The mean divides by the batch only."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction != "mean" or prediction.ndim < 2:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        total = super().l2_loss(wide(prediction), wide(target), reduction="sum", half=half)
        return (total / len(prediction)).astype(prediction.dtype)


@mutant("l2_loss")
class AbsoluteDifference(NumpyAdapter):
    """The difference is not squared."""

    def l2_loss(self, prediction, target, *, reduction, half):
        loss = np.abs(wide(prediction) - wide(target)) * (0.5 if half else 1)
        return ref._reduce(loss, reduction).astype(prediction.dtype)


@mutant("l2_loss")
class ExpandedSquare(NumpyAdapter):
    """p² − 2pt + t² cancels."""

    def l2_loss(self, prediction, target, *, reduction, half):
        p, t = wide(prediction), wide(target)
        loss = (p * p - 2 * p * t + t * t) * p.dtype.type(0.5 if half else 1)
        return ref._reduce(loss, reduction).astype(prediction.dtype)


@mutant("l2_loss")
class NarrowMean(NumpyAdapter):
    """The sum is accumulated in the dtype of the prediction."""

    def l2_loss(self, prediction, target, *, reduction, half):
        loss = super().l2_loss(prediction, target, reduction="none", half=half)
        if reduction == "none" or not loss.size:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        total = np.add.accumulate(loss.ravel(), dtype=loss.dtype)[-1]
        return np.asarray(total / loss.size if reduction == "mean" else total, dtype=loss.dtype)


@mutant("l2_loss")
class TargetGradientSign(NumpyAdapter):
    """The target's gradient has the prediction's sign."""

    def _grad_l2_loss(self, v, *arrays, **parameters):
        slopes = super()._grad_l2_loss(v, *arrays, **parameters)
        return {"prediction": slopes["prediction"], "target": slopes["prediction"]}


@mutant("l2_loss")
class NanMean(NumpyAdapter):
    """The mean skips NaN."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction != "mean":
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        loss = super().l2_loss(wide(prediction), wide(target), reduction="none", half=half)
        return np.asarray(np.nanmean(loss)).astype(prediction.dtype)


@mutant("l2_loss")
class EmptyMeanZero(NumpyAdapter):
    """The mean over nothing is 0."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if not prediction.size and reduction == "mean":
            return np.zeros((), prediction.dtype)
        return super().l2_loss(prediction, target, reduction=reduction, half=half)


@mutant("l2_loss")
class PairsOnly(NumpyAdapter):
    """The last element of an odd number is dropped."""

    def l2_loss(self, prediction, target, *, reduction, half):
        if reduction == "none" or prediction.ndim != 1 or prediction.size < 2:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        n = prediction.size // 2 * 2
        return super().l2_loss(prediction[:n], target[:n], reduction=reduction, half=half)


@mutant("l2_loss")
class ArrayForScalar(NumpyAdapter):
    """A reduced result keeps one dimension."""

    def l2_loss(self, prediction, target, *, reduction, half):
        return np.atleast_1d(super().l2_loss(prediction, target, reduction=reduction, half=half))


@mutant("euclidean_distance")
class DistanceEpsilon(NumpyAdapter):
    """1e-6 is added to every difference."""

    def euclidean_distance(self, prediction, target, *, axis):
        shifted = (wide(prediction) + 1e-6).astype(wide(prediction).dtype)
        result = super().euclidean_distance(shifted, wide(target), axis=axis)
        return result.astype(prediction.dtype)


@mutant("euclidean_distance")
class SquaredDistance(NumpyAdapter):
    """The square root is missing."""

    def euclidean_distance(self, prediction, target, *, axis):
        return super().euclidean_distance(prediction, target, axis=axis) ** 2


@mutant("euclidean_distance")
class DistanceGradientAtZero(NumpyAdapter):
    """The gradient at distance 0 is 0/0."""

    def _grad_euclidean_distance(self, v, prediction, target, *, axis):
        d = wide(prediction) - wide(target)
        slope = np.expand_dims(v, axis) * d / np.sqrt((d * d).sum(axis=axis, keepdims=True))
        return {"prediction": slope, "target": -slope}


@mutant("euclidean_distance")
class DistanceLastAxis(NumpyAdapter):
    """The axis is ignored."""

    def euclidean_distance(self, prediction, target, *, axis):
        return super().euclidean_distance(prediction, target, axis=-1)


# -- cross entropy ----------------------------------------------------------------------------


def _probability_loss(log: Callable[[Any], Any]) -> Callable[..., Any]:
    def cross_entropy(self, probabilities, target, *, axis, reduction):
        p, y = wide(probabilities), wide(target)
        loss = -np.sum(ref._product(y, log(p)), axis=axis)
        return ref._reduce(loss, reduction).astype(probabilities.dtype)

    return cross_entropy


@mutant("cross_entropy")
class LogEpsilon(NumpyAdapter):
    """1e-7 is added inside the logarithm."""

    cross_entropy = _probability_loss(lambda p: np.log(p + 1e-7))


@mutant("cross_entropy")
class LogClipped(NumpyAdapter):
    """Probabilities are clipped at 1e-12."""

    cross_entropy = _probability_loss(lambda p: np.log(np.clip(p, 1e-12, 1)))


@mutant("cross_entropy")
class LogBaseTwo(NumpyAdapter):
    """Bits instead of nats."""

    cross_entropy = _probability_loss(lambda p: np.log2(np.where(p > 1, np.nan, p)))


@mutant("cross_entropy")
class DomainUnchecked(NumpyAdapter):
    """A probability above 1 earns a negative loss."""

    cross_entropy = _probability_loss(np.log)


@mutant("cross_entropy")
class ZeroTimesInfinity(NumpyAdapter):
    """0 · ln 0 is NaN."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        loss = -np.sum(wide(target) * np.log(wide(probabilities)), axis=axis)
        return ref._reduce(loss, reduction).astype(probabilities.dtype)


@mutant("cross_entropy")
class Renormalised(NumpyAdapter):
    """Probabilities are divided by their sum."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        p = wide(probabilities)
        p = p / p.sum(axis=axis, keepdims=True)
        result = super().cross_entropy(p, wide(target), axis=axis, reduction=reduction)
        return result.astype(probabilities.dtype)


@mutant("cross_entropy")
class MeanOverElements(NumpyAdapter):
    """The mean divides by rows times classes."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        loss = super().cross_entropy(probabilities, target, axis=axis, reduction=reduction)
        return loss / loss.dtype.type(probabilities.shape[axis]) if reduction == "mean" else loss


@mutant("softmax_cross_entropy")
class DenseZeroTimesInfinity(NumpyAdapter):
    """A masked class with target 0 makes the loss NaN."""

    def softmax_cross_entropy(self, logits, target, *, axis, label_smoothing, reduction):
        y = ref._smoothed(wide(target), axis, label_smoothing)
        loss = -np.sum(y * ref._log_softmax(wide(logits), axis), axis=axis)
        return ref._reduce(loss, reduction).astype(logits.dtype)


@mutant("softmax_cross_entropy")
class UnitMassGradient(NumpyAdapter):
    """The gradient is p − y whatever the target's mass."""

    def _grad_softmax_cross_entropy(self, v, logits, target, *, axis, label_smoothing, reduction):
        y = ref._smoothed(wide(target), axis, label_smoothing)
        rows = y.size // y.shape[axis] if y.size else 0
        share = ref._row_share(v, reduction, rows, axis)
        return {"logits": share * (ref._softmax(wide(logits), axis) - y)}


@mutant("softmax_cross_entropy")
class HardTargets(NumpyAdapter):
    """Only the class of the largest target counts."""

    def softmax_cross_entropy(self, logits, target, *, axis, label_smoothing, reduction):
        largest = np.expand_dims(np.argmax(target, axis=axis), axis) if target.size else None
        hard = np.zeros_like(target)
        if largest is not None:
            np.put_along_axis(hard, largest, 1, axis=axis)
        return super().softmax_cross_entropy(
            logits, hard, axis=axis, label_smoothing=label_smoothing, reduction=reduction
        )


def _wrong_smoothing(smooth: Callable[[Any, int, float], Any]) -> Callable[..., Any]:
    def softmax_cross_entropy(self, logits, target, *, axis, label_smoothing, reduction):
        y = smooth(wide(target), axis, label_smoothing) if label_smoothing else wide(target)
        loss = -np.sum(ref._product(y, ref._log_softmax(wide(logits), axis)), axis=axis)
        return ref._reduce(loss, reduction).astype(logits.dtype)

    return softmax_cross_entropy


@mutant("softmax_cross_entropy")
class SmoothingOverOthers(NumpyAdapter):
    """The smoothed mass goes to the C − 1 other classes."""

    softmax_cross_entropy = _wrong_smoothing(
        lambda y, axis, e: (1 - e) * y + (1 - y) * e / max(y.shape[axis] - 1, 1)
    )


@mutant("softmax_cross_entropy")
class SmoothingAddsMass(NumpyAdapter):
    """The smoothed mass is added without taking any from the target."""

    softmax_cross_entropy = _wrong_smoothing(lambda y, axis, e: y + e / y.shape[axis])


@mutant("softmax_cross_entropy")
class ClippedSoftmax(NumpyAdapter):
    """The loss of a softmax clipped at 1e-7."""

    def softmax_cross_entropy(self, logits, target, *, axis, label_smoothing, reduction):
        p = np.clip(ref._softmax(wide(logits), axis), 1e-7, 1)
        y = ref._smoothed(wide(target), axis, label_smoothing)
        loss = -np.sum(y * np.log(p), axis=axis)
        return ref._reduce(loss, reduction).astype(logits.dtype)


class Sparse(NumpyAdapter):
    """Base of mutants that change the arguments of the sparse cross entropy."""

    def change(self, logits: Any, labels: Any, p: dict[str, Any]) -> tuple[Any, Any]:
        return logits, labels

    def sparse_softmax_cross_entropy(self, logits, labels, **parameters):
        logits, labels = self.change(logits, labels, parameters)
        return super().sparse_softmax_cross_entropy(logits, labels, **parameters)


@mutant("sparse_softmax_cross_entropy")
class LabelOffByOne(Sparse):
    """Labels are counted from 1."""

    def change(self, logits, labels, p):
        return logits, np.where(labels == p["ignore_index"], labels, labels - 1)


@mutant("sparse_softmax_cross_entropy")
class LabelClamped(Sparse):
    """Invalid labels are clamped into the classes."""

    def change(self, logits, labels, p):
        inside = np.clip(labels, 0, logits.shape[p["axis"]] - 1)
        return logits, np.where(labels == p["ignore_index"], labels, inside)


@mutant("sparse_softmax_cross_entropy")
class LabelWraps(Sparse):
    """Negative labels count from the end."""

    def change(self, logits, labels, p):
        wrapped = np.where(labels < 0, labels + logits.shape[p["axis"]], labels)
        return logits, np.where(labels == p["ignore_index"], labels, wrapped)


@mutant("sparse_softmax_cross_entropy")
class LabelInt8(Sparse):
    """Labels are cast to int8."""

    def change(self, logits, labels, p):
        narrow = labels.astype(np.int8).astype(np.int64) % logits.shape[p["axis"]]
        return logits, np.where(labels == p["ignore_index"], labels, narrow)


@mutant("sparse_softmax_cross_entropy")
class StaleIgnoreIndex(Sparse):
    """Without an ignore_index, −100 is ignored."""

    def change(self, logits, labels, p):
        p["ignore_index"] = -100 if p["ignore_index"] is None else p["ignore_index"]
        return logits, labels


@mutant("sparse_softmax_cross_entropy")
class IgnoreIndexNotApplied(Sparse):
    """Only −100 is ever ignored; other ignored labels become class 0."""

    def change(self, logits, labels, p):
        return logits, np.where((labels == p["ignore_index"]) & (labels != -100), 0, labels)


@mutant("sparse_softmax_cross_entropy")
class SmoothingIgnored(Sparse):
    """Label smoothing has no effect."""

    def change(self, logits, labels, p):
        p["label_smoothing"] = 0.0
        return logits, labels


@mutant("sparse_softmax_cross_entropy")
class SparseLastAxis(Sparse):
    """Channels-first logits are reshaped, not transposed."""

    def change(self, logits, labels, p):
        logits = logits.reshape(*labels.shape, logits.shape[p["axis"]])
        p["axis"] = -1
        return logits, labels


@mutant("sparse_softmax_cross_entropy")
class LastRowDropped(Sparse):
    """The last row of an odd batch is dropped."""

    def change(self, logits, labels, p):
        odd = labels.ndim == 1 and labels.size % 2 and labels.size > 1 and p["axis"] == -1
        if odd and p["reduction"] != "none":
            return logits[:-1], labels[:-1]
        return logits, labels


@mutant("sparse_softmax_cross_entropy")
class IgnoredCounted(NumpyAdapter):
    """The mean divides by all rows, ignored ones included."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        if p["reduction"] != "mean" or p["weight"] is not None:
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        total = super().sparse_softmax_cross_entropy(wide(logits), labels, **{**p, "reduction": "sum"})
        return (total / np.float32(labels.size)).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy")
class WeightedMeanByCount(NumpyAdapter):
    """The weighted mean divides by the number of rows."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        if p["reduction"] != "mean" or p["weight"] is None:
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        total = super().sparse_softmax_cross_entropy(wide(logits), labels, **{**p, "reduction": "sum"})
        return (total / np.sum(labels != p["ignore_index"])).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy")
class AllIgnoredZero(NumpyAdapter):
    """The mean over no row is 0."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        if (labels == p["ignore_index"]).all():
            p["reduction"] = "sum" if p["reduction"] == "mean" else p["reduction"]
        return super().sparse_softmax_cross_entropy(logits, labels, **p)


@mutant("sparse_softmax_cross_entropy")
class IgnoredTimesZero(NumpyAdapter):
    """Ignored rows are multiplied by 0, which keeps a NaN."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        result = super().sparse_softmax_cross_entropy(logits, labels, **p)
        ignored = np.moveaxis(wide(logits), p["axis"], -1)[labels == p["ignore_index"]]
        return (result + 0 * ignored.sum()).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy")
class IgnoredGradientTimesZero(NumpyAdapter):
    """The gradient of ignored rows is 0 times their softmax."""

    def _grad_sparse_softmax_cross_entropy(self, v, logits, labels, **p):
        slope = super()._grad_sparse_softmax_cross_entropy(v, logits, labels, **p)["logits"]
        mask = np.expand_dims(labels == p["ignore_index"], p["axis"])
        return {"logits": slope + np.where(mask, 0 * wide(logits), 0)}


@mutant("sparse_softmax_cross_entropy")
class GradientLeaksIntoIgnored(NumpyAdapter):
    """Ignored rows receive a tiny gradient."""

    def _grad_sparse_softmax_cross_entropy(self, v, logits, labels, **p):
        slope = super()._grad_sparse_softmax_cross_entropy(v, logits, labels, **p)["logits"]
        mask = np.expand_dims(labels == p["ignore_index"], p["axis"])
        return {"logits": np.where(mask, 2.0**-20, slope)}


# -- binary cross entropy ---------------------------------------------------------------------


def _binary(loss: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def binary_cross_entropy(self, probabilities, target, *, weight, reduction):
        cost = ref._weighted(loss(wide(probabilities), wide(target)), weight)
        return ref._reduce(cost, reduction).astype(probabilities.dtype)

    return binary_cross_entropy


@mutant("binary_cross_entropy")
class LogClampedAtHundred(NumpyAdapter):
    """Logarithms are clamped at −100."""

    binary_cross_entropy = _binary(
        lambda p, y: -(y * np.maximum(np.log(p), -100) + (1 - y) * np.maximum(np.log1p(-p), -100))
    )


@mutant("binary_cross_entropy")
class BinaryClipped(NumpyAdapter):
    """Probabilities are clipped to [1e-6, 1 − 1e-6]."""

    binary_cross_entropy = _binary(lambda p, y: ref._binary_cross_entropy(np.clip(p, 1e-6, 1 - 1e-6), y))


@mutant("binary_cross_entropy")
class NegativesForgotten(NumpyAdapter):
    """The term of 1 − y is missing."""

    binary_cross_entropy = _binary(lambda p, y: -ref._times_log(y, p))


@mutant("binary_cross_entropy", "sigmoid_cross_entropy")
class BinaryMeanByWeights(NumpyAdapter):
    """The weighted mean divides by the sum of the weights."""

    def _by_weights(self, function, x, target, p):
        if p["weight"] is None or p["reduction"] != "mean":
            return function(x, target, **p)
        total = function(wide(x), wide(target), **{**p, "reduction": "sum"})
        return (total / wide(p["weight"]).sum()).astype(x.dtype)

    def binary_cross_entropy(self, probabilities, target, **p):
        return self._by_weights(super().binary_cross_entropy, probabilities, target, p)

    def sigmoid_cross_entropy(self, logits, target, **p):
        return self._by_weights(super().sigmoid_cross_entropy, logits, target, p)


@mutant("binary_cross_entropy")
class BinaryGradientEpsilon(NumpyAdapter):
    """The gradient divides by max(p(1 − p), 1e-12)."""

    def _grad_binary_cross_entropy(self, v, probabilities, target, *, weight, reduction):
        p, y = wide(probabilities), wide(target)
        slope = ref._weighted((p - y) / np.maximum(p * (1 - p), 1e-12), weight)
        return {"probabilities": ref._share(v, reduction, p.size) * slope}


@mutant("sigmoid_cross_entropy")
class LogOfClippedSigmoid(NumpyAdapter):
    """The binary cross entropy of a sigmoid clipped at 1e-7."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        p = np.clip(ref._sigmoid(wide(logits)), 1e-7, 1 - 1e-7)
        y = wide(target)
        positive = y if pos_weight is None else y * wide(pos_weight)
        loss = -(positive * np.log(p) + (1 - y) * np.log1p(-p))
        return ref._reduce(ref._weighted(loss, weight), reduction).astype(logits.dtype)


@mutant("sigmoid_cross_entropy")
class PosWeightOnNegatives(NumpyAdapter):
    """pos_weight multiplies the term of 1 − y."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        x, y = wide(logits), wide(target)
        w = 1 if pos_weight is None else wide(pos_weight)
        loss = ref._product(y, ref._softplus(-x)) + ref._product((1 - y) * w, ref._softplus(x))
        return ref._reduce(ref._weighted(loss, weight), reduction).astype(logits.dtype)


@mutant("sigmoid_cross_entropy")
class PosWeightOnBoth(NumpyAdapter):
    """pos_weight multiplies both terms."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        if pos_weight is not None:
            weight = pos_weight * (1 if weight is None else weight)
        return super().sigmoid_cross_entropy(
            logits, target, weight=weight, pos_weight=None, reduction=reduction
        )


@mutant("sigmoid_cross_entropy")
class TargetsSwapped(NumpyAdapter):
    """Positives and negatives are exchanged."""

    def sigmoid_cross_entropy(self, logits, target, **p):
        return super().sigmoid_cross_entropy(-logits, target, **p)


# -- PSPNet -----------------------------------------------------------------------------------


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


@mutant("pspnet_resize_labels")
class HalfPixelCentres(Resize):
    """Pixels are sampled at their centres."""

    def index(self, i, ratio):
        return np.floor((i + 0.5) * ratio)


@mutant("pspnet_resize_labels")
class RoundedIndex(Resize):
    """The source index is rounded."""

    def index(self, i, ratio):
        return np.rint(i * ratio)


@mutant("pspnet_resize_labels")
class Float32Ratio(Resize):
    """The ratio is rounded to float32."""

    def index(self, i, ratio):
        return np.floor(i.astype(np.float32) * np.float32(ratio))


@mutant("pspnet_resize_labels")
class AlignedCorners(NumpyAdapter):
    """The corners of both maps are aligned."""

    def pspnet_resize_labels(self, labels, *, size):
        picked = [
            np.linspace(0, length - 1, n).astype(int)
            for n, length in zip(size, labels.shape[1:], strict=True)
        ]
        return labels[:, picked[0][:, None], picked[1]]


@mutant("pspnet_resize_labels")
class LabelsThroughBytes(NumpyAdapter):
    """Labels pass through uint8."""

    def pspnet_resize_labels(self, labels, *, size):
        return super().pspnet_resize_labels(labels.astype(np.uint8), size=size).astype(labels.dtype)


@mutant("pspnet_loss")
class Only255Dropped(NumpyAdapter):
    """Only the label 255 is dropped; others are clamped to the last class."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        clamped = np.where(labels >= num_classes, num_classes - 1, labels)
        labels = np.where(labels == 255, labels, clamped)
        return super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)


@mutant("pspnet_loss")
class DroppedCounted(NumpyAdapter):
    """The mean divides by all pixels."""

    def pspnet_loss(self, logits, labels, *, num_classes, reduction):
        p = {"num_classes": num_classes}
        if reduction != "mean":
            return super().pspnet_loss(logits, labels, reduction=reduction, **p)
        costs = super().pspnet_loss(wide(logits), labels, reduction="none", **p)
        return np.asarray(costs.mean()).astype(logits.dtype)


@mutant("pspnet_loss")
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


@mutant("pspnet_loss")
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


@mutant("pspnet_total_loss")
class AuxiliaryUnweighted(Total):
    """The auxiliary loss counts fully."""

    def weigh(self, main, auxiliary, weight):
        return main + auxiliary


@mutant("pspnet_total_loss")
class BothWeighted(Total):
    """The weight multiplies both losses."""

    def weigh(self, main, auxiliary, weight):
        return weight * (main + auxiliary)


@mutant("pspnet_total_loss")
class AuxiliaryWeightHalf(Total):
    """The auxiliary weight is 0.5 whatever is given."""

    def weigh(self, main, auxiliary, weight):
        return main + 0.5 * auxiliary


@mutant("pspnet_predict")
class LastOfTies(NumpyAdapter):
    """Of equal logits the last class is returned."""

    def pspnet_predict(self, logits):
        return logits.shape[-1] - 1 - np.argmax(logits[..., ::-1], axis=-1)


@mutant("pspnet_predict")
class ArgmaxSkipsNan(NumpyAdapter):
    """A NaN is skipped."""

    def pspnet_predict(self, logits):
        return np.argmax(np.where(np.isnan(logits), -np.inf, wide(logits)), axis=-1)


# -- Mask R-CNN -------------------------------------------------------------------------------


class Masks(NumpyAdapter):
    """Base of mutants that change the arguments of the mask loss."""

    def change(self, target: Any, ids: Any, masks: Any) -> tuple[Any, Any, Any]:
        return target, ids, masks

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        return super().mask_rcnn_mask_loss(*self.change(target_masks, target_class_ids, pred_masks))


@mutant("mask_rcnn_mask_loss")
class ClassOffByOne(Masks):
    """Masks are indexed by the class id minus 1."""

    def change(self, target, ids, masks):
        return target, ids, np.roll(masks, 1, axis=-1)


@mutant("mask_rcnn_mask_loss")
class BackgroundCounted(Masks):
    """RoIs of class 0 count, on mask 0."""

    def change(self, target, ids, masks):
        shifted = np.concatenate([np.zeros_like(masks[..., :1]), masks], axis=-1)
        return target, np.where(ids >= 0, ids + 1, ids), shifted


@mutant("mask_rcnn_mask_loss")
class MasksTransposed(Masks):
    """Height and width of the prediction are exchanged."""

    def change(self, target, ids, masks):
        return target, ids, np.swapaxes(masks, 2, 3).reshape(masks.shape)


@mutant("mask_rcnn_mask_loss")
class ClassClamped(Masks):
    """Class ids are clamped to the last mask."""

    def change(self, target, ids, masks):
        return target, np.minimum(ids, masks.shape[-1] - 1), masks


@mutant("mask_rcnn_mask_loss")
class TargetsThresholded(Masks):
    """Target masks are rounded to 0 and 1."""

    def change(self, target, ids, masks):
        return np.rint(target), ids, masks


@mutant("mask_rcnn_mask_loss")
class NegativeIdsCounted(Masks):
    """Ids below 0 index masks from the end."""

    def change(self, target, ids, masks):
        return target, np.where(ids < 0, ids + masks.shape[-1], ids), masks


@mutant("mask_rcnn_mask_loss")
class NonePositiveNan(NumpyAdapter):
    """Without a positive RoI the mean is NaN."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        result = super().mask_rcnn_mask_loss(target_masks, target_class_ids, pred_masks)
        return result if (target_class_ids > 0).any() else result * np.nan


@mutant("mask_rcnn_mask_loss")
class RoisOfImagesAveraged(NumpyAdapter):
    """Means of images are averaged."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        means = [
            super(RoisOfImagesAveraged, self).mask_rcnn_mask_loss(t[None], i[None], wide(m)[None])
            for t, i, m in zip(target_masks, target_class_ids, pred_masks, strict=True)
        ]
        return np.asarray(np.mean(means)).astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss")
class PaddingCounted(NumpyAdapter):
    """The mean divides by all RoIs."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        result = super().mask_rcnn_mask_loss(target_masks, target_class_ids, wide(pred_masks))
        share = (target_class_ids > 0).mean() if target_class_ids.size else 1
        return (result * share).astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss")
class OtherClassesLeak(NumpyAdapter):
    """Masks are picked by a product with one-hot classes, which keeps a NaN."""

    def mask_rcnn_mask_loss(self, target_masks, target_class_ids, pred_masks):
        result = super().mask_rcnn_mask_loss(target_masks, target_class_ids, pred_masks)
        return (result + 0 * wide(pred_masks).sum()).astype(pred_masks.dtype)


@mutant("mask_rcnn_mask_loss")
class GradientLeaksIntoClasses(NumpyAdapter):
    """The other classes' masks receive a gradient."""

    def _grad_mask_rcnn_mask_loss(self, v, *arrays):
        slope = super()._grad_mask_rcnn_mask_loss(v, *arrays)["pred_masks"]
        return {"pred_masks": slope + slope.sum(axis=-1, keepdims=True) / 1024}


@mutant("mask_rcnn_mask_loss_with_logits")
class SoftmaxOverClasses(NumpyAdapter):
    """Classes compete in a softmax."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        p = ref._softmax(wide(mask_logits), -1)
        result = super().mask_rcnn_mask_loss(wide(target_masks), target_class_ids, p)
        return result.astype(mask_logits.dtype)


@mutant("mask_rcnn_mask_loss_with_logits")
class MaskSigmoidClipped(NumpyAdapter):
    """The loss of a sigmoid clipped at 1e-7."""

    def mask_rcnn_mask_loss_with_logits(self, target_masks, target_class_ids, mask_logits):
        p = np.clip(ref._sigmoid(wide(mask_logits)), 1e-7, 1 - 1e-7)
        result = super().mask_rcnn_mask_loss(wide(target_masks), target_class_ids, p)
        return result.astype(mask_logits.dtype)


@mutant("mask_rcnn_select_masks")
class SelectedByProduct(NumpyAdapter):
    """A product with one-hot classes spreads the other masks' NaN."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        one_hot = np.eye(pred_masks.shape[-1], dtype=pred_masks.dtype)[class_ids]
        return (pred_masks * one_hot[:, :, None, None, :]).sum(axis=-1).astype(pred_masks.dtype)


@mutant("mask_rcnn_select_masks")
class SelectedClassOffByOne(NumpyAdapter):
    """The mask of the class below is selected."""

    def mask_rcnn_select_masks(self, pred_masks, class_ids):
        return super().mask_rcnn_select_masks(pred_masks, np.maximum(class_ids - 1, 0))
