"""Cross entropy of logits with integer labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .. import reference as ref
from .registry import mutant, wide


class Sparse(NumpyAdapter):
    """Base of mutants that change the arguments of the sparse cross entropy."""

    def change(self, logits: Any, labels: Any, p: dict[str, Any]) -> tuple[Any, Any]:
        return logits, labels

    def sparse_softmax_cross_entropy(self, logits, labels, **parameters):
        logits, labels = self.change(logits, labels, parameters)
        return super().sparse_softmax_cross_entropy(logits, labels, **parameters)


@mutant("sparse_softmax_cross_entropy", kind="labels")
class LabelOffByOne(Sparse):
    """Labels are counted from 1."""

    def change(self, logits, labels, p):
        return logits, np.where(labels == p["ignore_index"], labels, labels - 1)


@mutant(
    "sparse_softmax_cross_entropy", kind="labels",
    upstream="https://github.com/pytorch/pytorch/issues/43840",
)  # fmt: skip
class LabelClamped(Sparse):
    """Invalid labels are clamped into the classes."""

    def change(self, logits, labels, p):
        inside = np.clip(labels, 0, logits.shape[p["axis"]] - 1)
        return logits, np.where(labels == p["ignore_index"], labels, inside)


@mutant("sparse_softmax_cross_entropy", kind="labels")
class LabelWraps(Sparse):
    """Negative labels count from the end."""

    def change(self, logits, labels, p):
        wrapped = np.where(labels < 0, labels + logits.shape[p["axis"]], labels)
        return logits, np.where(labels == p["ignore_index"], labels, wrapped)


@mutant("sparse_softmax_cross_entropy", kind="labels")
class LabelInt8(Sparse):
    """Labels are cast to int8."""

    def change(self, logits, labels, p):
        narrow = labels.astype(np.int8).astype(np.int64) % logits.shape[p["axis"]]
        return logits, np.where(labels == p["ignore_index"], labels, narrow)


@mutant("sparse_softmax_cross_entropy", kind="labels")
class IgnoreIndexNotApplied(Sparse):
    """Only −100 is ever ignored; other ignored labels become class 0."""

    def change(self, logits, labels, p):
        return logits, np.where((labels == p["ignore_index"]) & (labels != -100), 0, labels)


@mutant("sparse_softmax_cross_entropy", kind="smoothing")
class SmoothingIgnored(Sparse):
    """Label smoothing has no effect."""

    def change(self, logits, labels, p):
        p["label_smoothing"] = 0.0
        return logits, labels


@mutant("sparse_softmax_cross_entropy", kind="axis")
class SparseLastAxis(Sparse):
    """Channels-first logits are reshaped, not transposed."""

    def change(self, logits, labels, p):
        logits = logits.reshape(*labels.shape, logits.shape[p["axis"]])
        p["axis"] = -1
        return logits, labels


@mutant("sparse_softmax_cross_entropy", kind="memory")
class LastRowDropped(Sparse):
    """The last row of an odd batch is dropped."""

    def change(self, logits, labels, p):
        odd = labels.ndim == 1 and labels.size % 2 and labels.size > 1 and p["axis"] == -1
        if odd and p["reduction"] != "none":
            return logits[:-1], labels[:-1]
        return logits, labels


@mutant(
    "sparse_softmax_cross_entropy", kind="normaliser",
    upstream="https://github.com/PaddlePaddle/Paddle/issues/48663",
)  # fmt: skip
class IgnoredCounted(NumpyAdapter):
    """The mean divides by all rows, ignored ones included."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        if p["reduction"] != "mean" or p["weight"] is not None:
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        total = super().sparse_softmax_cross_entropy(wide(logits), labels, **{**p, "reduction": "sum"})
        return (total / np.float32(labels.size)).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy", kind="normaliser")
class WeightedMeanByCount(NumpyAdapter):
    """The weighted mean divides by the number of rows."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        if p["reduction"] != "mean" or p["weight"] is None:
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        total = super().sparse_softmax_cross_entropy(wide(logits), labels, **{**p, "reduction": "sum"})
        return (total / np.sum(labels != p["ignore_index"])).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy", kind="ignored")
class IgnoredTimesZero(NumpyAdapter):
    """Ignored rows are multiplied by 0, which keeps a NaN."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        result = super().sparse_softmax_cross_entropy(logits, labels, **p)
        ignored = np.moveaxis(wide(logits), p["axis"], -1)[labels == p["ignore_index"]]
        return (result + 0 * ignored.sum()).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy", kind="ignored")
class IgnoredGradientTimesZero(NumpyAdapter):
    """The gradient of ignored rows is 0 times their softmax."""

    def _grad_sparse_softmax_cross_entropy(self, v, logits, labels, **p):
        slope = super()._grad_sparse_softmax_cross_entropy(v, logits, labels, **p)["logits"]
        mask = np.expand_dims(labels == p["ignore_index"], p["axis"])
        return {"logits": slope + np.where(mask, 0 * wide(logits), 0)}


@mutant("sparse_softmax_cross_entropy", kind="ignored")
class GradientLeaksIntoIgnored(NumpyAdapter):
    """Ignored rows receive a tiny gradient."""

    def _grad_sparse_softmax_cross_entropy(self, v, logits, labels, **p):
        slope = super()._grad_sparse_softmax_cross_entropy(v, logits, labels, **p)["logits"]
        mask = np.expand_dims(labels == p["ignore_index"], p["axis"])
        return {"logits": np.where(mask, 2.0**-20, slope)}


@mutant(
    "sparse_softmax_cross_entropy",
    kind="double",
    upstream="https://github.com/nfmcclure/tensorflow_cookbook/issues/86",
)
class SparseSoftmaxTwice(Sparse):
    """The logits have been through a softmax already."""

    def change(self, logits, labels, p):
        return self.softmax(logits, axis=p["axis"]), labels


@mutant("sparse_softmax_cross_entropy", kind="reduction")
class SparseSumIsMean(Sparse):
    """sum gives the mean."""

    def change(self, logits, labels, p):
        p["reduction"] = "mean" if p["reduction"] == "sum" else p["reduction"]
        return logits, labels


@mutant("sparse_softmax_cross_entropy", kind="labels")
class LabelUint8(Sparse):
    """Labels are cast to uint8."""

    def change(self, logits, labels, p):
        narrow = labels.astype(np.uint8).astype(np.int64)
        return logits, np.where(labels == p["ignore_index"], labels, narrow)


@mutant(
    "sparse_softmax_cross_entropy", kind="labels", upstream="https://github.com/flagos-ai/FlagGems/pull/73"
)
class IgnoreDefaultNotApplied(Sparse):
    """An ignore_index of −100, the usual default, counts as none given."""

    def change(self, logits, labels, p):
        if p["ignore_index"] == -100:
            labels = np.where(labels == -100, 0, labels)
        return logits, labels


@mutant("sparse_softmax_cross_entropy", kind="labels", upstream="https://github.com/sony/nnabla/pull/945")
class NegativeLabelsIgnored(Sparse):
    """Every negative label is ignored."""

    def change(self, logits, labels, p):
        if p["ignore_index"] is None:
            p["ignore_index"] = -1
        return logits, np.where(labels < 0, p["ignore_index"], labels)


@mutant(
    "sparse_softmax_cross_entropy", kind="labels", upstream="https://github.com/pytorch/pytorch/issues/49882"
)
class InvalidLabelsCostNothing(Sparse):
    """A label beyond the classes is ignored."""

    def change(self, logits, labels, p):
        if p["ignore_index"] is None:
            p["ignore_index"] = 2**30
        beyond = labels >= logits.shape[p["axis"]]
        return logits, np.where(beyond, p["ignore_index"], labels)


@mutant(
    "sparse_softmax_cross_entropy", kind="ignored", upstream="https://github.com/awslabs/sockeye/issues/200"
)
class IgnoreInverted(Sparse):
    """Only the rows that should be ignored count."""

    def change(self, logits, labels, p):
        if p["ignore_index"] is None or not (labels == p["ignore_index"]).any():
            return logits, labels
        ignored = labels == p["ignore_index"]
        return logits, np.where(ignored, 0, p["ignore_index"])


@mutant("sparse_softmax_cross_entropy", kind="ignored")
class IgnoredClassLeavesSoftmax(Sparse):
    """An ignored class takes no part in the softmax of other rows."""

    def change(self, logits, labels, p):
        k = p["ignore_index"]
        if k is not None and 0 <= k < logits.shape[p["axis"]]:
            logits = logits.copy()
            np.moveaxis(logits, p["axis"], -1)[..., k] = -np.inf
        return logits, labels


@mutant("sparse_softmax_cross_entropy", kind="result")
class IgnoredRowsRemoved(NumpyAdapter):
    """Without a reduction the ignored rows are left out of the result."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        loss = super().sparse_softmax_cross_entropy(logits, labels, **p)
        return loss[labels != p["ignore_index"]] if p["reduction"] == "none" else loss


@mutant("sparse_softmax_cross_entropy", kind="smoothing")
class SmoothingIgnoresWeights(NumpyAdapter):
    """The smoothed part of the loss is not weighted."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        e = p["label_smoothing"]
        if not e or p["weight"] is None or p["reduction"] != "sum":
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        hard = super().sparse_softmax_cross_entropy(wide(logits), labels, **{**p, "label_smoothing": 0.0})
        flat = {**p, "weight": None, "label_smoothing": 1.0}
        uniform = super().sparse_softmax_cross_entropy(wide(logits), labels, **flat)
        return np.asarray((1 - e) * hard + e * uniform).astype(logits.dtype)


@mutant(
    "sparse_softmax_cross_entropy",
    kind="smoothing",
    upstream="https://github.com/pytorch/pytorch/issues/73205",
)
class SmoothingOfIgnoredRows(NumpyAdapter):
    """Ignored rows keep the uniform part of the smoothed loss."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        result = super().sparse_softmax_cross_entropy(logits, labels, **p)
        ignored = labels == p["ignore_index"]
        if not p["label_smoothing"] or p["reduction"] != "sum" or not ignored.any():
            return result
        x = np.moveaxis(wide(logits), p["axis"], -1)[ignored]
        extra = -p["label_smoothing"] * ref.log_softmax(x, -1).mean(axis=-1).sum()
        return (wide(result) + extra).astype(logits.dtype)


@mutant(
    "sparse_softmax_cross_entropy", kind="smoothing", upstream="https://github.com/OpenNMT/OpenNMT/issues/570"
)
class SmoothingOverTwoFewer(Sparse):
    """The mass is ε C/(C − 2): shared among C − 2 classes."""

    def change(self, logits, labels, p):
        classes = logits.shape[p["axis"]]
        if p["label_smoothing"] and classes > 2:
            p["label_smoothing"] = min(p["label_smoothing"] * classes / (classes - 2), 1.0)
        return logits, labels


@mutant("sparse_softmax_cross_entropy", kind="weights")
class WeightsNormalised(Sparse):
    """Class weights are scaled to a mean of 1."""

    def change(self, logits, labels, p):
        if p["weight"] is not None:
            w = wide(p["weight"])
            p["weight"] = (w / w.mean()).astype(p["weight"].dtype)
        return logits, labels


@mutant("sparse_softmax_cross_entropy", kind="weights")
class WeightOfPrediction(Sparse):
    """Rows are weighted by the class of the largest logit."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        if p["weight"] is None or p["reduction"] != "none":
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        costs = super().sparse_softmax_cross_entropy(logits, labels, **{**p, "weight": None})
        return (wide(costs) * wide(p["weight"])[np.argmax(logits, axis=p["axis"])]).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy", kind="weights")
class IgnoredWeightCounted(NumpyAdapter):
    """The divisor includes the weight of class 0 for every ignored row."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        ignored = labels == p["ignore_index"]
        if p["weight"] is None or p["reduction"] != "mean" or not ignored.any():
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        total = super().sparse_softmax_cross_entropy(wide(logits), labels, **{**p, "reduction": "sum"})
        weights = wide(p["weight"])
        divisor = weights[labels[~ignored]].sum() + weights[0] * ignored.sum()
        return np.asarray(total / divisor).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy", kind="weights")
class WeightsLeftOut(Sparse):
    """Class weights have no effect."""

    def change(self, logits, labels, p):
        p["weight"] = None
        return logits, labels


@mutant(
    "sparse_softmax_cross_entropy",
    kind="stability",
    upstream="https://github.com/google-deepmind/optax/issues/1020",
)
class NormaliserRounded(NumpyAdapter):
    """max + ln S is rounded to the dtype before the label's logit is subtracted."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        x = np.moveaxis(wide(logits), p["axis"], -1)
        plain = p["weight"] is None and not p["label_smoothing"] and p["ignore_index"] is None
        if (
            not plain
            or not x.size
            or not np.isfinite(x).all()
            or ((labels < 0) | (labels >= x.shape[-1])).any()
        ):
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        top = x.max(axis=-1)
        normaliser = (top + np.log(np.exp(x - top[..., None]).sum(axis=-1))).astype(logits.dtype)
        picked = np.take_along_axis(x, np.asarray(labels)[..., None], -1)[..., 0]
        return ref.reduced(wide(normaliser) - picked, p["reduction"]).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy", kind="precision")
class SparseInFloat32(Sparse):
    """float64 is computed in float32."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        narrow = logits.astype(np.float32)
        return super().sparse_softmax_cross_entropy(narrow, labels, **p).astype(logits.dtype)


@mutant("sparse_softmax_cross_entropy", kind="precision")
class SparseNarrowMean(NumpyAdapter):
    """Costs are added in the dtype of the logits."""

    def sparse_softmax_cross_entropy(self, logits, labels, **p):
        plain = p["reduction"] == "mean" and p["weight"] is None and p["ignore_index"] is None
        if not plain or not labels.size:
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        costs = super().sparse_softmax_cross_entropy(logits, labels, **{**p, "reduction": "none"}).ravel()
        total = np.add.accumulate(costs, dtype=costs.dtype)[-1]
        return np.asarray(total / costs.size, dtype=costs.dtype)


@mutant("sparse_softmax_cross_entropy", kind="memory")
class LastBlockForgotten(Sparse):
    """Of more than 64 classes those after the last whole block of 64 are left out."""

    def change(self, logits, labels, p):
        classes = logits.shape[p["axis"]]
        if classes > 64 and classes % 64:
            logits = logits.copy()
            np.moveaxis(logits, p["axis"], -1)[..., classes // 64 * 64 :] = -np.inf
        return logits, labels


@mutant("sparse_softmax_cross_entropy", kind="gradient", upstream="https://github.com/apache/mxnet/pull/2231")
class GradientDividedTwice(NumpyAdapter):
    """The gradient of the mean is divided by the number of rows twice."""

    def _grad_sparse_softmax_cross_entropy(self, v, logits, labels, **p):
        slope = super()._grad_sparse_softmax_cross_entropy(v, logits, labels, **p)["logits"]
        return {"logits": slope / max(labels.size, 1) if p["reduction"] == "mean" else slope}


@mutant(
    "sparse_softmax_cross_entropy",
    kind="gradient",
    upstream="https://github.com/linkedin/Liger-Kernel/issues/968",
)
class GradientIgnoresCotangent(NumpyAdapter):
    """Without a reduction the gradient is that of the sum."""

    def _grad_sparse_softmax_cross_entropy(self, v, logits, labels, **p):
        return super()._grad_sparse_softmax_cross_entropy(np.ones_like(v), logits, labels, **p)


@mutant("sparse_softmax_cross_entropy", kind="gradient")
class GradientWithoutWeights(NumpyAdapter):
    """The gradient leaves out the class weights."""

    def _grad_sparse_softmax_cross_entropy(self, v, logits, labels, **p):
        return super()._grad_sparse_softmax_cross_entropy(v, logits, labels, **{**p, "weight": None})


@mutant("sparse_softmax_cross_entropy", kind="gradient")
class GradientFromNarrowSoftmax(NumpyAdapter):
    """The gradient is formed from a softmax rounded to bfloat16."""

    def _grad_sparse_softmax_cross_entropy(self, v, logits, labels, **p):
        slope = super()._grad_sparse_softmax_cross_entropy(v, logits, labels, **p)["logits"]
        mantissa, exponent = np.frexp(slope)
        return {"logits": np.ldexp(np.rint(mantissa * 256), exponent - 8)}
