"""Binary cross entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .. import reference as ref
from .registry import mutant, wide


def _binary(loss: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def binary_cross_entropy(self, probabilities, target, *, weight, reduction):
        cost = ref.weighted(loss(wide(probabilities), wide(target)), weight)
        return ref.reduced(cost, reduction).astype(probabilities.dtype)

    return binary_cross_entropy


@mutant("binary_cross_entropy", kind="epsilon")
class LogClampedAtHundred(NumpyAdapter):
    """Logarithms are clamped at −100."""

    binary_cross_entropy = _binary(
        lambda p, y: -(y * np.maximum(np.log(p), -100) + (1 - y) * np.maximum(np.log1p(-p), -100))
    )


@mutant("binary_cross_entropy", kind="epsilon", upstream="https://github.com/keras-team/keras/issues/9247")
class BinaryClipped(NumpyAdapter):
    """Probabilities are clipped to [1e-6, 1 − 1e-6]."""

    binary_cross_entropy = _binary(lambda p, y: ref.binary_cross_entropy(np.clip(p, 1e-6, 1 - 1e-6), y))


@mutant("binary_cross_entropy", kind="formula")
class NegativesForgotten(NumpyAdapter):
    """The term of 1 − y is missing."""

    binary_cross_entropy = _binary(lambda p, y: -ref.times_log(y, p))


@mutant("binary_cross_entropy", "sigmoid_cross_entropy", kind="normaliser")
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


@mutant("binary_cross_entropy", kind="epsilon")
class BinaryGradientEpsilon(NumpyAdapter):
    """The gradient divides by max(p(1 − p), 1e-12)."""

    def _grad_binary_cross_entropy(self, v, probabilities, target, *, weight, reduction):
        p, y = wide(probabilities), wide(target)
        slope = ref.weighted((p - y) / np.maximum(p * (1 - p), 1e-12), weight)
        return {"probabilities": ref.reduced_gradient(v, reduction, p.size) * slope}


@mutant(
    "sigmoid_cross_entropy", kind="epsilon",
    upstream="https://github.com/keras-team/keras-core/issues/196",
)  # fmt: skip
class LogOfClippedSigmoid(NumpyAdapter):
    """The binary cross entropy of a sigmoid clipped at 1e-7."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        p = np.clip(ref.sigmoid(wide(logits)), 1e-7, 1 - 1e-7)
        y = wide(target)
        positive = y if pos_weight is None else y * wide(pos_weight)
        loss = -(positive * np.log(p) + (1 - y) * np.log1p(-p))
        return ref.reduced(ref.weighted(loss, weight), reduction).astype(logits.dtype)


@mutant("sigmoid_cross_entropy", kind="weights")
class PosWeightOnNegatives(NumpyAdapter):
    """pos_weight multiplies the term of 1 − y."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        x, y = wide(logits), wide(target)
        w = 1 if pos_weight is None else wide(pos_weight)
        loss = ref.product(y, ref.softplus(-x)) + ref.product((1 - y) * w, ref.softplus(x))
        return ref.reduced(ref.weighted(loss, weight), reduction).astype(logits.dtype)


@mutant("sigmoid_cross_entropy", kind="weights")
class PosWeightOnBoth(NumpyAdapter):
    """pos_weight multiplies both terms."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        if pos_weight is not None:
            weight = pos_weight * (1 if weight is None else weight)
        return super().sigmoid_cross_entropy(
            logits, target, weight=weight, pos_weight=None, reduction=reduction
        )


@mutant("sigmoid_cross_entropy", kind="formula")
class TargetsSwapped(NumpyAdapter):
    """Positives and negatives are exchanged."""

    def sigmoid_cross_entropy(self, logits, target, **p):
        return super().sigmoid_cross_entropy(-logits, target, **p)


@mutant(
    "binary_cross_entropy", kind="epsilon", upstream="https://github.com/tensorflow/tensorflow/pull/41595"
)
class BinaryEpsilonTwice(NumpyAdapter):
    """Probabilities are clipped at 1e-7, and 1e-7 is added inside the logarithm."""

    binary_cross_entropy = _binary(
        lambda p, y: (
            -(
                y * np.log(np.clip(p, 1e-7, 1 - 1e-7) + 1e-7)
                + (1 - y) * np.log(1 - np.clip(p, 1e-7, 1 - 1e-7) + 1e-7)
            )
        )
    )


@mutant("binary_cross_entropy", kind="special", upstream="https://github.com/keras-team/keras/issues/4744")
class BinaryDomainClipped(NumpyAdapter):
    """Probabilities are clipped to [0, 1], which hides invalid ones."""

    binary_cross_entropy = _binary(lambda p, y: ref.binary_cross_entropy(np.clip(p, 0, 1), y))


@mutant("binary_cross_entropy", kind="special")
class BinaryNanIsZero(NumpyAdapter):
    """A cost that is NaN becomes 0."""

    binary_cross_entropy = _binary(
        lambda p, y: np.nan_to_num(ref.binary_cross_entropy(p, y), nan=0, posinf=np.inf)
    )


@mutant("binary_cross_entropy", kind="special")
class BinaryZeroTimesInfinity(NumpyAdapter):
    """0 · ln 0 is NaN."""

    binary_cross_entropy = _binary(lambda p, y: -(y * np.log(p) + (1 - y) * np.log1p(-p)))


@mutant("binary_cross_entropy", kind="formula")
class BinaryTargetsThresholded(NumpyAdapter):
    """Soft targets are rounded."""

    binary_cross_entropy = _binary(lambda p, y: ref.binary_cross_entropy(p, np.rint(y)))


@mutant("binary_cross_entropy", kind="formula")
class BinaryBaseTwo(NumpyAdapter):
    """Bits instead of nats."""

    binary_cross_entropy = _binary(lambda p, y: ref.binary_cross_entropy(p, y) / np.float32(np.log(2)))


@mutant("binary_cross_entropy", kind="normaliser")
class BinaryMeanOfPositives(NumpyAdapter):
    """The mean divides by the sum of the targets."""

    def binary_cross_entropy(self, probabilities, target, **p):
        if p["reduction"] != "mean" or not probabilities.size:
            return super().binary_cross_entropy(probabilities, target, **p)
        total = super().binary_cross_entropy(wide(probabilities), wide(target), **{**p, "reduction": "sum"})
        return np.asarray(total / np.maximum(wide(target).sum(), 1)).astype(probabilities.dtype)


@mutant("binary_cross_entropy", kind="result")
class BinaryMeanOfLastAxis(NumpyAdapter):
    """Without a reduction the last axis is averaged, as Keras does it."""

    def binary_cross_entropy(self, probabilities, target, **p):
        loss = super().binary_cross_entropy(probabilities, target, **p)
        return loss.mean(axis=-1) if p["reduction"] == "none" and loss.ndim else loss


@mutant("binary_cross_entropy", kind="weights")
class BinaryWeightSquared(NumpyAdapter):
    """The weight is applied twice."""

    def binary_cross_entropy(self, probabilities, target, *, weight, reduction):
        weight = None if weight is None else weight * weight
        return super().binary_cross_entropy(probabilities, target, weight=weight, reduction=reduction)


@mutant("binary_cross_entropy", kind="gradient", upstream="https://github.com/keras-team/keras/issues/9664")
class BinaryClippedGradientZero(NumpyAdapter):
    """A probability that would be clipped at 1e-7 has the gradient 0."""

    def _grad_binary_cross_entropy(self, v, probabilities, target, **p):
        slope = super()._grad_binary_cross_entropy(v, probabilities, target, **p)["probabilities"]
        x = wide(probabilities)
        return {"probabilities": np.where((x < 1e-7) | (x > 1 - 1e-7), 0, slope)}


@mutant("binary_cross_entropy", kind="precision")
class BinaryInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def binary_cross_entropy(self, probabilities, target, *, weight, reduction):
        p, y = probabilities.astype(np.float32), target.astype(np.float32)
        loss = super().binary_cross_entropy(p, y, weight=weight, reduction=reduction)
        return loss.astype(probabilities.dtype)


@mutant("binary_cross_entropy", kind="precision")
class BinaryNarrowMean(NumpyAdapter):
    """Costs are added in the dtype of the probabilities."""

    def binary_cross_entropy(self, probabilities, target, **p):
        loss = super().binary_cross_entropy(probabilities, target, **{**p, "reduction": "none"}).ravel()
        if p["reduction"] == "none" or not loss.size:
            return super().binary_cross_entropy(probabilities, target, **p)
        total = np.add.accumulate(loss, dtype=loss.dtype)[-1]
        return np.asarray(total / loss.size if p["reduction"] == "mean" else total, dtype=loss.dtype)


def _from_logits(loss: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A sigmoid cross entropy from a cost of logit and target; pos_weight as in the reference."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        if pos_weight is not None:
            return NumpyAdapter.sigmoid_cross_entropy(
                self, logits, target, weight=weight, pos_weight=pos_weight, reduction=reduction
            )
        cost = ref.weighted(loss(wide(logits), wide(target)), weight)
        return ref.reduced(cost, reduction).astype(logits.dtype)

    return sigmoid_cross_entropy


@mutant(
    "sigmoid_cross_entropy", kind="stability", upstream="https://github.com/huggingface/candle/issues/2561"
)
class LogsOfSigmoid(NumpyAdapter):
    """−y ln σ − (1 − y) ln(1 − σ): the sigmoid is rounded to 1 first."""

    sigmoid_cross_entropy = _from_logits(
        lambda x, y: -(y * np.log(ref.sigmoid(x)) + (1 - y) * np.log(1 - ref.sigmoid(x)))
    )


@mutant("sigmoid_cross_entropy", kind="stability", upstream="https://github.com/borgwang/tinynn/pull/7")
class SoftplusOverflows(NumpyAdapter):
    """ln(1 + eˣ) − xy overflows."""

    sigmoid_cross_entropy = _from_logits(lambda x, y: np.log(1 + np.exp(x)) - x * y)


@mutant("sigmoid_cross_entropy", kind="stability")
class OtherSoftplusOverflows(NumpyAdapter):
    """x − xy + ln(1 + e⁻ˣ) overflows on the left."""

    sigmoid_cross_entropy = _from_logits(lambda x, y: x - x * y + np.log1p(np.exp(-x)))


@mutant("sigmoid_cross_entropy", kind="stability")
class PosWeightCancels(NumpyAdapter):
    """(1 − y)x + (1 + (w − 1)y)(ln(1 + e^−|x|) + max(−x, 0)) cancels where it should vanish."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        if pos_weight is None or not np.isfinite(logits).all():
            return super().sigmoid_cross_entropy(
                logits, target, weight=weight, pos_weight=pos_weight, reduction=reduction
            )
        x, y = wide(logits), wide(target)
        log_weight = 1 + (wide(pos_weight) - 1) * y
        loss = (1 - y) * x + log_weight * (np.log1p(np.exp(-np.abs(x))) + np.maximum(-x, 0))
        return ref.reduced(ref.weighted(loss, weight), reduction).astype(logits.dtype)


@mutant("sigmoid_cross_entropy", kind="formula")
class SoftplusLeftOut(NumpyAdapter):
    """max(x, 0) − xy, without ln(1 + e^−|x|)."""

    sigmoid_cross_entropy = _from_logits(lambda x, y: np.maximum(x, 0) - x * y)


@mutant("sigmoid_cross_entropy", kind="double")
class SigmoidCrossTwice(NumpyAdapter):
    """The logits have been through a sigmoid already."""

    sigmoid_cross_entropy = _from_logits(
        lambda x, y: y * ref.softplus(-ref.sigmoid(x)) + (1 - y) * ref.softplus(ref.sigmoid(x))
    )


@mutant("sigmoid_cross_entropy", kind="weights")
class WeightWithoutEffect(NumpyAdapter):
    """The weight has no effect."""

    def sigmoid_cross_entropy(self, logits, target, **p):
        return super().sigmoid_cross_entropy(logits, target, **{**p, "weight": None})


@mutant("sigmoid_cross_entropy", kind="weights")
class OnePosWeightForAll(NumpyAdapter):
    """The first pos_weight is used for every class."""

    def sigmoid_cross_entropy(self, logits, target, **p):
        if p["pos_weight"] is not None:
            p["pos_weight"] = np.full_like(p["pos_weight"], p["pos_weight"].flat[0])
        return super().sigmoid_cross_entropy(logits, target, **p)


@mutant("sigmoid_cross_entropy", kind="gradient")
class GradientWithoutPosWeight(NumpyAdapter):
    """The gradient leaves out pos_weight."""

    def _grad_sigmoid_cross_entropy(self, v, logits, target, **p):
        return super()._grad_sigmoid_cross_entropy(v, logits, target, **{**p, "pos_weight": None})


@mutant("sigmoid_cross_entropy", kind="precision")
class LogitsInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def sigmoid_cross_entropy(self, logits, target, **p):
        x, y = logits.astype(np.float32), target.astype(np.float32)
        return super().sigmoid_cross_entropy(x, y, **p).astype(logits.dtype)


@mutant("sigmoid_cross_entropy", kind="special")
class TargetNanIsNegative(NumpyAdapter):
    """A NaN target counts as 0."""

    def sigmoid_cross_entropy(self, logits, target, **p):
        return super().sigmoid_cross_entropy(logits, np.nan_to_num(target, nan=0), **p)


@mutant("sigmoid_cross_entropy", kind="stability")
class SigmoidCrossEntropyWithoutLog1p(NumpyAdapter):
    """ln(1 + e^−|x|) by log instead of log1p: the cost of a confident right answer is 0."""

    def sigmoid_cross_entropy(self, logits, target, *, weight, pos_weight, reduction):
        x, y = wide(logits), wide(target)
        tail = np.log(1 + np.exp(-np.abs(x)))
        positive = y if pos_weight is None else y * wide(pos_weight)
        loss = ref.product(positive, np.maximum(-x, 0) + tail)
        loss = loss + ref.product(1 - y, np.maximum(x, 0) + tail)
        return ref.reduced(ref.weighted(loss, weight), reduction).astype(logits.dtype)
