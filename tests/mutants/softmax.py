"""Softmax and log-softmax."""

from __future__ import annotations

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .. import reference as ref
from .registry import mutant, wide


@mutant("softmax", kind="stability", upstream="https://github.com/uTensor/uTensor/issues/175")
class SoftmaxWithoutMax(NumpyAdapter):
    """The maximum is not subtracted."""

    def softmax(self, logits, *, axis):
        e = np.exp(wide(logits))
        return (e / e.sum(axis=axis, keepdims=True)).astype(logits.dtype)


@mutant("softmax", kind="stability")
class SoftmaxGlobalMax(NumpyAdapter):
    """The maximum of the whole array is subtracted."""

    def softmax(self, logits, *, axis):
        x = wide(logits)
        e = np.exp(x - np.max(x, initial=-np.inf))
        return (e / e.sum(axis=axis, keepdims=True)).astype(logits.dtype)


@mutant("softmax", kind="axis")
class SoftmaxLastAxis(NumpyAdapter):
    """The axis is ignored."""

    def softmax(self, logits, *, axis):
        return super().softmax(logits, axis=-1)


@mutant(
    "softmax", kind="double",
    upstream="https://github.com/Lightning-Universe/lightning-bolts/issues/654",
)  # fmt: skip
class SoftmaxTwice(NumpyAdapter):
    """Softmax is applied twice."""

    def softmax(self, logits, *, axis):
        return super().softmax(super().softmax(logits, axis=axis), axis=axis)


@mutant("softmax", kind="formula")
class SoftmaxBaseTwo(NumpyAdapter):
    """Powers of 2 instead of e."""

    def softmax(self, logits, *, axis):
        return super().softmax((wide(logits) * np.log(2)).astype(logits.dtype), axis=axis)


@mutant("softmax", kind="precision", upstream="https://github.com/google-research/last/pull/43")
class SoftmaxNarrowSum(NumpyAdapter):
    """The sum of exponentials is accumulated in the dtype of the logits."""

    def softmax(self, logits, *, axis):
        if not logits.size:
            return logits
        e = np.exp(logits - np.max(logits, axis=axis, keepdims=True))
        total = np.add.accumulate(e, axis=axis, dtype=logits.dtype).take([-1], axis=axis)
        return (e / total).astype(logits.dtype)


@mutant("softmax", kind="special", upstream="https://github.com/ohdearquant/lattice/issues/740")
class SoftmaxSkipsNan(NumpyAdapter):
    """The maximum and the sum skip NaN."""

    def softmax(self, logits, *, axis):
        x = wide(logits)
        e = np.exp(x - np.fmax.reduce(x, axis=axis, keepdims=True, initial=-np.inf))
        return (e / np.nansum(e, axis=axis, keepdims=True)).astype(logits.dtype)


@mutant("softmax", kind="epsilon")
class SoftmaxEpsilon(NumpyAdapter):
    """An epsilon is added to the denominator."""

    def softmax(self, logits, *, axis):
        e = np.exp(ref.shifted(wide(logits), axis))
        return (e / (e.sum(axis=axis, keepdims=True) + 1e-6)).astype(logits.dtype)


@mutant("softmax", kind="precision")
class SoftmaxInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def softmax(self, logits, *, axis):
        return super().softmax(logits.astype(np.float32), axis=axis).astype(logits.dtype)


@mutant("softmax", kind="memory", upstream="https://github.com/NVIDIA/TransformerEngine/issues/2734")
class SoftmaxMemoryOrder(NumpyAdapter):
    """Arrays are read in memory order whatever their strides."""

    def softmax(self, logits, *, axis):
        flat = logits.ravel(order="K").reshape(logits.shape)
        return super().softmax(flat, axis=axis)


@mutant("softmax", kind="gradient")
class SoftmaxGradientDiagonal(NumpyAdapter):
    """Only the diagonal p(1 − p) of the Jacobian is used."""

    def _grad_softmax(self, v, logits, *, axis):
        p = ref.softmax(wide(logits), axis)
        return {"logits": p * (1 - p) * v}


@mutant("log_softmax", kind="stability", upstream="https://github.com/apache/tvm/pull/11141")
class LogOfSoftmax(NumpyAdapter):
    """The logarithm of the rounded softmax."""

    def log_softmax(self, logits, *, axis):
        return np.log(ref.softmax(wide(logits), axis)).astype(logits.dtype)


@mutant("log_softmax", kind="epsilon")
class LogSoftmaxEpsilon(NumpyAdapter):
    """An epsilon inside the logarithm."""

    def log_softmax(self, logits, *, axis):
        return np.log(ref.softmax(wide(logits), axis) + 1e-12).astype(logits.dtype)


@mutant("log_softmax", kind="gradient")
class LogSoftmaxGradientUnscaled(NumpyAdapter):
    """The gradient forgets the sum of the cotangent."""

    def _grad_log_softmax(self, v, logits, *, axis):
        return {"logits": v - ref.softmax(wide(logits), axis)}


# -- more of the same, one idea each ----------------------------------------------------------


def _by_powers(powers):
    """A softmax made of other exponentials: ``powers(x, axis)``."""

    def softmax(self, logits, *, axis):
        e = powers(wide(logits), axis)
        return (e / e.sum(axis=axis, keepdims=True)).astype(logits.dtype)

    return softmax


def _truncated(x, bits):
    """``x`` with so many bits of significand left, as tensor cores take it."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.trunc(np.ldexp(mantissa, bits)), exponent - bits).astype(x.dtype)


@mutant("softmax", kind="stability", upstream="https://github.com/uTensor/uTensor/pull/176")
class SoftmaxMaxFromZero(NumpyAdapter):
    """The search for the maximum starts at 0, so that rows far below 0 vanish."""

    softmax = _by_powers(lambda x, axis: np.exp(x - np.max(x, axis=axis, keepdims=True, initial=0)))


@mutant("softmax", kind="epsilon")
class SoftmaxFloor(NumpyAdapter):
    """Differences from the maximum are cut at −20."""

    softmax = _by_powers(lambda x, axis: np.exp(np.maximum(ref.shifted(x, axis), -20)))


@mutant("softmax", kind="precision", upstream="https://github.com/Maratyszcza/NNPACK/issues/174")
class SoftmaxFastExp(NumpyAdapter):
    """The exponential is a polynomial that is off by up to 1e-4."""

    softmax = _by_powers(
        lambda x, axis: np.exp(ref.shifted(x, axis)) * (1 + 1e-4 * np.sin(ref.shifted(x, axis)))
    )


@mutant("softmax", kind="precision")
class SoftmaxTensorFloat(NumpyAdapter):
    """Inputs are truncated to 11 bits of significand (TF32)."""

    softmax = _by_powers(lambda x, axis: np.exp(ref.shifted(_truncated(x, 11), axis)))


@mutant("softmax", kind="axis", upstream="https://github.com/robertknight/rten/pull/1414")
class SoftmaxFirstAxis(NumpyAdapter):
    """Classes are taken to be on axis 1 (channels first)."""

    def softmax(self, logits, *, axis):
        return super().softmax(logits, axis=1 if logits.ndim > 1 else axis)


@mutant("softmax", kind="normaliser", upstream="https://github.com/openvinotoolkit/openvino/issues/26519")
class SoftmaxOverAll(NumpyAdapter):
    """The exponentials of the whole array are divided by their common sum."""

    def softmax(self, logits, *, axis):
        e = np.exp(ref.shifted(wide(logits), axis))
        return (e / e.sum()).astype(logits.dtype)


@mutant("softmax", kind="memory", upstream="https://github.com/verl-project/verl/issues/2899")
class SoftmaxPaddedToEight(NumpyAdapter):
    """Rows are padded with zeros to a multiple of 8, and the padding is summed."""

    def softmax(self, logits, *, axis):
        x = np.moveaxis(wide(logits), axis, -1)
        pad = [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % 8)]
        p = ref.softmax(np.pad(x, pad), -1)[..., : x.shape[-1]]
        return np.moveaxis(p, -1, axis).astype(logits.dtype)


@mutant("softmax", kind="memory")
class SoftmaxTailOfFour(NumpyAdapter):
    """The sum leaves out what remains after blocks of four."""

    def softmax(self, logits, *, axis):
        e = np.moveaxis(np.exp(ref.shifted(wide(logits), axis)), axis, -1)
        whole = e.shape[-1] // 4 * 4 or e.shape[-1]
        return np.moveaxis(e / e[..., :whole].sum(axis=-1, keepdims=True), -1, axis).astype(logits.dtype)


@mutant("softmax", kind="memory", upstream="https://github.com/xmos/ai_tools/pull/902")
class SoftmaxFewClasses(NumpyAdapter):
    """With two or three classes the last one is left out of the sum."""

    def softmax(self, logits, *, axis):
        e = np.moveaxis(np.exp(ref.shifted(wide(logits), axis)), axis, -1)
        summed = e[..., :-1] if e.shape[-1] in (2, 3) else e
        return np.moveaxis(e / summed.sum(axis=-1, keepdims=True), -1, axis).astype(logits.dtype)


@mutant("softmax", kind="special", upstream="https://github.com/tenstorrent/tt-metal/issues/56056")
class SoftmaxNanToZero(NumpyAdapter):
    """A NaN among the results is replaced by 0."""

    def softmax(self, logits, *, axis):
        return np.nan_to_num(super().softmax(logits, axis=axis), nan=0.0)


@mutant("softmax", kind="gradient")
class SoftmaxGradientIgnoresCotangent(NumpyAdapter):
    """The gradient is that of a cotangent of ones."""

    def _grad_softmax(self, v, logits, *, axis):
        return super()._grad_softmax(np.ones_like(v), logits, axis=axis)


@mutant("softmax", kind="gradient")
class SoftmaxGradientFromNarrow(NumpyAdapter):
    """The gradient is formed from a softmax rounded to bfloat16."""

    def _grad_softmax(self, v, logits, *, axis):
        p = _truncated(ref.softmax(wide(logits), axis), 8)
        return {"logits": p * (v - np.sum(p * v, axis=axis, keepdims=True))}


@mutant("softmax", kind="result")
class SoftmaxReturnsFloat32(NumpyAdapter):
    """Half precision comes back as float32."""

    def softmax(self, logits, *, axis):
        return wide(super().softmax(logits, axis=axis))


@mutant("log_softmax", kind="stability", upstream="https://github.com/pytorch/pytorch/issues/11752")
class LogSoftmaxShiftedLate(NumpyAdapter):
    """x − (max + ln S) cancels when the logits are far from 0."""

    def log_softmax(self, logits, *, axis):
        x = wide(logits)
        top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
        total = top + np.log(np.exp(x - top).sum(axis=axis, keepdims=True))
        return (x - total.astype(logits.dtype).astype(x.dtype)).astype(logits.dtype)


@mutant("log_softmax", kind="stability", upstream="https://github.com/tenstorrent/tt-metal/pull/10001")
class LogSoftmaxWithoutMax(NumpyAdapter):
    """x − ln Σ eˣ overflows."""

    def log_softmax(self, logits, *, axis):
        x = wide(logits)
        return (x - np.log(np.exp(x).sum(axis=axis, keepdims=True))).astype(logits.dtype)


@mutant("log_softmax", kind="formula")
class LogSoftmaxBaseTwo(NumpyAdapter):
    """The logarithm has base 2."""

    def log_softmax(self, logits, *, axis):
        return (ref.log_softmax(wide(logits), axis) / np.float32(np.log(2))).astype(logits.dtype)


@mutant("log_softmax", kind="axis")
class LogSoftmaxLastAxis(NumpyAdapter):
    """The axis is ignored."""

    def log_softmax(self, logits, *, axis):
        return super().log_softmax(logits, axis=-1)


@mutant("log_softmax", kind="epsilon")
class LogSoftmaxClamped(NumpyAdapter):
    """The result is clamped at −100."""

    def log_softmax(self, logits, *, axis):
        return np.maximum(super().log_softmax(logits, axis=axis), logits.dtype.type(-100))


@mutant("log_softmax", kind="precision")
class LogSoftmaxNarrowSum(NumpyAdapter):
    """The sum is accumulated in the dtype of the logits."""

    def log_softmax(self, logits, *, axis):
        if not logits.size:
            return logits
        d = ref.shifted(wide(logits), axis)
        e = np.exp(d).astype(logits.dtype)
        total = np.add.accumulate(e, axis=axis, dtype=logits.dtype).take([-1], axis=axis)
        return (d - np.log(wide(total))).astype(logits.dtype)


@mutant("log_softmax", kind="precision")
class LogSoftmaxInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def log_softmax(self, logits, *, axis):
        return super().log_softmax(logits.astype(np.float32), axis=axis).astype(logits.dtype)


@mutant("log_softmax", kind="memory")
class LogSoftmaxMemoryOrder(NumpyAdapter):
    """Arrays are read in memory order whatever their strides."""

    def log_softmax(self, logits, *, axis):
        return super().log_softmax(logits.ravel(order="K").reshape(logits.shape), axis=axis)


@mutant("log_softmax", kind="special")
class LogSoftmaxSkipsNan(NumpyAdapter):
    """The normaliser skips NaN."""

    def log_softmax(self, logits, *, axis):
        x = wide(logits)
        d = x - np.fmax.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
        return (d - np.log(np.nansum(np.exp(d), axis=axis, keepdims=True))).astype(logits.dtype)


@mutant("log_softmax", kind="gradient")
class LogSoftmaxGradientOfSoftmax(NumpyAdapter):
    """The gradient is the softmax's."""

    def _grad_log_softmax(self, v, logits, *, axis):
        return super()._grad_softmax(v, logits, axis=axis)
