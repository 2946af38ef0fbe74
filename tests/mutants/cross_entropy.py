"""Cross entropy of probabilities, and of logits with dense targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .. import reference as ref
from .registry import mutant, wide


def _probability_loss(log: Callable[[Any], Any]) -> Callable[..., Any]:
    def cross_entropy(self, probabilities, target, *, axis, reduction):
        p, y = wide(probabilities), wide(target)
        loss = -np.sum(ref.product(y, log(p)), axis=axis)
        return ref.reduced(loss, reduction).astype(probabilities.dtype)

    return cross_entropy


@mutant("cross_entropy", kind="epsilon", upstream="https://github.com/awslabs/sockeye/pull/376")
class LogEpsilon(NumpyAdapter):
    """1e-7 is added inside the logarithm."""

    cross_entropy = _probability_loss(lambda p: np.log(p + 1e-7))


@mutant("cross_entropy", kind="epsilon")
class LogClipped(NumpyAdapter):
    """Probabilities are clipped at 1e-12."""

    cross_entropy = _probability_loss(lambda p: np.log(np.clip(p, 1e-12, 1)))


@mutant("cross_entropy", kind="formula")
class LogBaseTwo(NumpyAdapter):
    """Bits instead of nats."""

    cross_entropy = _probability_loss(lambda p: np.log2(np.where(p > 1, np.nan, p)))


@mutant("cross_entropy", kind="special")
class DomainUnchecked(NumpyAdapter):
    """A probability above 1 earns a negative loss."""

    cross_entropy = _probability_loss(np.log)


@mutant("cross_entropy", kind="special")
class ZeroTimesInfinity(NumpyAdapter):
    """0 · ln 0 is NaN."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        loss = -np.sum(wide(target) * np.log(wide(probabilities)), axis=axis)
        return ref.reduced(loss, reduction).astype(probabilities.dtype)


@mutant("cross_entropy", kind="formula")
class Renormalised(NumpyAdapter):
    """Probabilities are divided by their sum."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        p = wide(probabilities)
        p = p / p.sum(axis=axis, keepdims=True)
        result = super().cross_entropy(p, wide(target), axis=axis, reduction=reduction)
        return result.astype(probabilities.dtype)


@mutant("cross_entropy", kind="normaliser", upstream="https://github.com/facebookresearch/deit/issues/61")
class MeanOverElements(NumpyAdapter):
    """The mean divides by rows times classes."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        loss = super().cross_entropy(probabilities, target, axis=axis, reduction=reduction)
        return loss / loss.dtype.type(probabilities.shape[axis]) if reduction == "mean" else loss


@mutant("softmax_cross_entropy", kind="special")
class DenseZeroTimesInfinity(NumpyAdapter):
    """A masked class with target 0 makes the loss NaN."""

    def softmax_cross_entropy(self, logits, target, *, axis, label_smoothing, reduction):
        y = ref.smoothed(wide(target), axis, label_smoothing)
        loss = -np.sum(y * ref.log_softmax(wide(logits), axis), axis=axis)
        return ref.reduced(loss, reduction).astype(logits.dtype)


@mutant("softmax_cross_entropy", kind="gradient")
class UnitMassGradient(NumpyAdapter):
    """The gradient is p − y whatever the target's mass."""

    def _grad_softmax_cross_entropy(self, v, logits, target, *, axis, label_smoothing, reduction):
        y = ref.smoothed(wide(target), axis, label_smoothing)
        rows = y.size // y.shape[axis] if y.size else 0
        share = ref.row_share(v, reduction, rows, axis)
        return {"logits": share * (ref.softmax(wide(logits), axis) - y)}


@mutant("softmax_cross_entropy", kind="formula")
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
        loss = -np.sum(ref.product(y, ref.log_softmax(wide(logits), axis)), axis=axis)
        return ref.reduced(loss, reduction).astype(logits.dtype)

    return softmax_cross_entropy


@mutant("softmax_cross_entropy", kind="smoothing", upstream="https://github.com/fastai/fastai/pull/1814")
class SmoothingOverOthers(NumpyAdapter):
    """The smoothed mass goes to the C − 1 other classes."""

    softmax_cross_entropy = _wrong_smoothing(
        lambda y, axis, e: (1 - e) * y + (1 - y) * e / max(y.shape[axis] - 1, 1)
    )


@mutant("softmax_cross_entropy", kind="smoothing")
class SmoothingAddsMass(NumpyAdapter):
    """The smoothed mass is added without taking any from the target."""

    softmax_cross_entropy = _wrong_smoothing(lambda y, axis, e: y + e / y.shape[axis])


@mutant("softmax_cross_entropy", kind="epsilon")
class ClippedSoftmax(NumpyAdapter):
    """The loss of a softmax clipped at 1e-7."""

    def softmax_cross_entropy(self, logits, target, *, axis, label_smoothing, reduction):
        p = np.clip(ref.softmax(wide(logits), axis), 1e-7, 1)
        y = ref.smoothed(wide(target), axis, label_smoothing)
        loss = -np.sum(y * np.log(p), axis=axis)
        return ref.reduced(loss, reduction).astype(logits.dtype)


@mutant("cross_entropy", kind="formula")
class EntropyReversed(NumpyAdapter):
    """−Σ p ln y, with prediction and target exchanged."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        return super().cross_entropy(target, probabilities, axis=axis, reduction=reduction)


@mutant("cross_entropy", kind="formula")
class SignForgotten(NumpyAdapter):
    """The minus sign is missing."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        return -super().cross_entropy(probabilities, target, axis=axis, reduction=reduction)


@mutant("cross_entropy", kind="axis")
class ProbabilitiesLastAxis(NumpyAdapter):
    """The axis is ignored."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        return super().cross_entropy(probabilities, target, axis=-1, reduction=reduction)


@mutant("cross_entropy", kind="special")
class DomainClipped(NumpyAdapter):
    """Probabilities are clipped to [0, 1], which hides invalid ones."""

    cross_entropy = _probability_loss(lambda p: np.log(np.clip(p, 0, 1)))


@mutant("cross_entropy", kind="special")
class ProbabilitiesNanSkipped(NumpyAdapter):
    """Terms that are NaN are left out."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        p, y = wide(probabilities), wide(target)
        loss = -np.nansum(ref.times_log(y, p), axis=axis)
        return ref.reduced(loss, reduction).astype(probabilities.dtype)


@mutant("cross_entropy", kind="gradient")
class ClippedGradientZero(NumpyAdapter):
    """A probability that would be clipped at 1e-7 has the gradient 0."""

    def _grad_cross_entropy(self, v, probabilities, target, *, axis, reduction):
        slope = super()._grad_cross_entropy(v, probabilities, target, axis=axis, reduction=reduction)
        return {"probabilities": np.where(wide(probabilities) < 1e-7, 0, slope["probabilities"])}


@mutant("cross_entropy", kind="gradient")
class GradientWithEpsilon(NumpyAdapter):
    """The gradient is −y/(p + 1e-7)."""

    def _grad_cross_entropy(self, v, probabilities, target, *, axis, reduction):
        p, y = wide(probabilities), wide(target)
        share = ref.row_share(v, reduction, p.size // p.shape[axis] if p.size else 0, axis)
        return {"probabilities": share * -y / (p + 1e-7)}


@mutant("cross_entropy", kind="precision")
class ProbabilitiesNarrowMean(NumpyAdapter):
    """Costs are added in the dtype of the probabilities."""

    def cross_entropy(self, probabilities, target, *, axis, reduction):
        loss = super().cross_entropy(probabilities, target, axis=axis, reduction="none").ravel()
        if reduction == "none" or not loss.size:
            return super().cross_entropy(probabilities, target, axis=axis, reduction=reduction)
        total = np.add.accumulate(loss, dtype=loss.dtype)[-1]
        return np.asarray(total / loss.size if reduction == "mean" else total, dtype=loss.dtype)


class Dense(NumpyAdapter):
    """Base of mutants that change the arguments of the cross entropy with dense targets."""

    def change(self, logits: Any, target: Any, p: dict[str, Any]) -> tuple[Any, Any]:
        return logits, target

    def softmax_cross_entropy(self, logits, target, **parameters):
        logits, target = self.change(logits, target, parameters)
        return super().softmax_cross_entropy(logits, target, **parameters)


@mutant("softmax_cross_entropy", kind="double", upstream="https://github.com/tflearn/tflearn/pull/562")
class DenseSoftmaxTwice(Dense):
    """The logits have been through a softmax already."""

    def change(self, logits, target, p):
        return self.softmax(logits, axis=p["axis"]), target


@mutant("softmax_cross_entropy", kind="double")
class DenseWithoutSoftmax(NumpyAdapter):
    """The logits are taken for log-probabilities."""

    def softmax_cross_entropy(self, logits, target, *, axis, label_smoothing, reduction):
        y = ref.smoothed(wide(target), axis, label_smoothing)
        loss = -np.sum(ref.product(y, wide(logits)), axis=axis)
        return ref.reduced(loss, reduction).astype(logits.dtype)


@mutant("softmax_cross_entropy", kind="axis")
class DenseLastAxis(Dense):
    """The axis is ignored."""

    def change(self, logits, target, p):
        p["axis"] = -1
        return logits, target


@mutant("softmax_cross_entropy", kind="formula")
class TargetsNormalised(Dense):
    """Targets are divided by their sum."""

    def change(self, logits, target, p):
        return logits, (wide(target) / wide(target).sum(axis=p["axis"], keepdims=True)).astype(target.dtype)


@mutant("softmax_cross_entropy", kind="normaliser", upstream="https://github.com/HikariTJU/LD/issues/74")
class DenseMeanOverElements(NumpyAdapter):
    """The mean divides by rows times classes."""

    def softmax_cross_entropy(self, logits, target, **p):
        if p["reduction"] != "mean":
            return super().softmax_cross_entropy(logits, target, **p)
        mean = super().softmax_cross_entropy(wide(logits), wide(target), **p)
        return np.asarray(mean / logits.shape[p["axis"]]).astype(logits.dtype)


@mutant("softmax_cross_entropy", kind="normaliser", upstream="https://github.com/apache/mxnet/issues/5981")
class DenseNotNormalised(Dense):
    """The mean of dense targets is their sum."""

    def change(self, logits, target, p):
        p["reduction"] = "sum" if p["reduction"] == "mean" else p["reduction"]
        return logits, target


@mutant(
    "softmax_cross_entropy",
    kind="stability",
    upstream="https://github.com/PAIR-code/tiny-transformers/pull/67",
)
class DenseWithoutMax(NumpyAdapter):
    """ln Σ eˣ is formed without subtracting the maximum."""

    def softmax_cross_entropy(self, logits, target, *, axis, label_smoothing, reduction):
        x, y = wide(logits), ref.smoothed(wide(target), axis, label_smoothing)
        log_p = x - np.log(np.exp(x).sum(axis=axis, keepdims=True))
        return ref.reduced(-np.sum(ref.product(y, log_p), axis=axis), reduction).astype(logits.dtype)


@mutant(
    "softmax_cross_entropy",
    kind="smoothing",
    upstream="https://github.com/tensorflow/tensorflow/issues/32231",
)
class SmoothingClassesOfAxisOne(NumpyAdapter):
    """The number of classes is taken from axis 1."""

    softmax_cross_entropy = _wrong_smoothing(
        lambda y, axis, e: (1 - e) * y + e / y.shape[1 if y.ndim > 1 else axis]
    )


@mutant("softmax_cross_entropy", kind="smoothing", upstream="https://github.com/TimDettmers/ConvE/issues/55")
class SmoothingWithoutFactor(NumpyAdapter):
    """1/C is added instead of ε/C."""

    softmax_cross_entropy = _wrong_smoothing(lambda y, axis, e: (1 - e) * y + 1 / y.shape[axis])


@mutant(
    "softmax_cross_entropy",
    kind="smoothing",
    upstream="https://github.com/ildoonet/pytorch-randaugment/issues/30",
)
class SmoothingKeepsTooMuch(NumpyAdapter):
    """The target keeps 1 − ε/C of its mass instead of 1 − ε."""

    softmax_cross_entropy = _wrong_smoothing(
        lambda y, axis, e: (1 - e / y.shape[axis]) * y + e / y.shape[axis]
    )


@mutant("softmax_cross_entropy", kind="smoothing", upstream="https://github.com/paiml/aprender/pull/2199")
class SmoothingComplement(NumpyAdapter):
    """Every class gets (1 − ε)/C."""

    softmax_cross_entropy = _wrong_smoothing(lambda y, axis, e: (1 - e) * y + (1 - e) / y.shape[axis])


@mutant("softmax_cross_entropy", kind="smoothing")
class SmoothingSkipsTarget(NumpyAdapter):
    """The classes of the target get no share of ε/C."""

    softmax_cross_entropy = _wrong_smoothing(
        lambda y, axis, e: (1 - e) * y + np.where(y > 0, 0, e / y.shape[axis])
    )


@mutant("softmax_cross_entropy", kind="gradient", upstream="https://github.com/paiml/aprender/pull/2199")
class GradientWithoutSmoothing(NumpyAdapter):
    """The gradient is that of unsmoothed targets."""

    def _grad_softmax_cross_entropy(self, v, logits, target, **p):
        return super()._grad_softmax_cross_entropy(v, logits, target, **{**p, "label_smoothing": 0.0})


@mutant("softmax_cross_entropy", kind="precision")
class DenseInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def softmax_cross_entropy(self, logits, target, **p):
        x, y = logits.astype(np.float32), target.astype(np.float32)
        return super().softmax_cross_entropy(x, y, **p).astype(logits.dtype)
