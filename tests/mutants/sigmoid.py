"""Sigmoid and log-sigmoid."""

from __future__ import annotations

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from .. import reference as ref
from .registry import mutant, wide


@mutant("sigmoid", kind="stability")
class SigmoidByTanh(NumpyAdapter):
    """(1 + tanh(x/2))/2 loses the left tail."""

    def sigmoid(self, logits):
        return (0.5 + 0.5 * np.tanh(0.5 * wide(logits))).astype(logits.dtype)


@mutant("sigmoid", kind="stability")
class SigmoidOverflow(NumpyAdapter):
    """eˣ/(1 + eˣ) is inf/inf on the right."""

    def sigmoid(self, logits):
        e = np.exp(wide(logits))
        return (e / (1 + e)).astype(logits.dtype)


@mutant("sigmoid", kind="epsilon")
class SigmoidClipped(NumpyAdapter):
    """The result is clipped to [1e-7, 1 − 1e-7]."""

    def sigmoid(self, logits):
        return np.clip(wide(super().sigmoid(logits)), 1e-7, 1 - 1e-7).astype(logits.dtype)


@mutant("sigmoid", kind="gradient")
class SigmoidGradientSquared(NumpyAdapter):
    """The gradient is σ² instead of σ(1 − σ)."""

    def _grad_sigmoid(self, v, logits):
        return {"logits": v * ref.sigmoid(wide(logits)) ** 2}


@mutant("log_sigmoid", kind="stability", upstream="https://github.com/pytorch/pytorch/issues/1835")
class LogOfSigmoid(NumpyAdapter):
    """The logarithm of the rounded sigmoid."""

    def log_sigmoid(self, logits):
        return np.log(wide(super().sigmoid(logits))).astype(logits.dtype)


@mutant("log_sigmoid", kind="stability")
class LogSigmoidOverflow(NumpyAdapter):
    """x − ln(1 + eˣ) is inf − inf on the right."""

    def log_sigmoid(self, logits):
        x = wide(logits)
        return (x - np.log1p(np.exp(x))).astype(logits.dtype)


@mutant("sigmoid", kind="formula")
class SigmoidHard(NumpyAdapter):
    """The piecewise linear hard sigmoid."""

    def sigmoid(self, logits):
        return np.clip(wide(logits) / 6 + np.float32(0.5), 0, 1).astype(logits.dtype)


@mutant("sigmoid", kind="double")
class SigmoidTwice(NumpyAdapter):
    """Sigmoid is applied twice."""

    def sigmoid(self, logits):
        return super().sigmoid(super().sigmoid(logits))


@mutant("sigmoid", kind="epsilon")
class SigmoidSaturates(NumpyAdapter):
    """Beyond ±16 the result is exactly 0 or 1."""

    def sigmoid(self, logits):
        y = super().sigmoid(logits)
        return np.where(np.abs(wide(logits)) > 16, np.rint(y), y).astype(logits.dtype)


@mutant("sigmoid", kind="precision")
class SigmoidInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def sigmoid(self, logits):
        return super().sigmoid(logits.astype(np.float32)).astype(logits.dtype)


@mutant("sigmoid", kind="precision")
class SigmoidTensorFloat(NumpyAdapter):
    """Inputs are truncated to 11 bits of significand (TF32)."""

    def sigmoid(self, logits):
        mantissa, exponent = np.frexp(wide(logits))
        cut = np.ldexp(np.trunc(np.ldexp(mantissa, 11)), exponent - 11)
        return super().sigmoid(cut.astype(logits.dtype))


@mutant("sigmoid", kind="memory")
class SigmoidMemoryOrder(NumpyAdapter):
    """Arrays are read in memory order whatever their strides."""

    def sigmoid(self, logits):
        return super().sigmoid(logits.ravel(order="K").reshape(logits.shape))


@mutant("sigmoid", kind="special")
class SigmoidNanToHalf(NumpyAdapter):
    """A NaN gives one half."""

    def sigmoid(self, logits):
        return np.where(np.isnan(logits), logits.dtype.type(0.5), super().sigmoid(logits))


@mutant("sigmoid", kind="gradient")
class SigmoidGradientOfResult(NumpyAdapter):
    """The gradient takes the sigmoid of the result once more."""

    def _grad_sigmoid(self, v, logits):
        return super()._grad_sigmoid(v, ref.sigmoid(wide(logits)))


@mutant("sigmoid", kind="gradient")
class SigmoidGradientIgnoresCotangent(NumpyAdapter):
    """The gradient is that of a cotangent of ones."""

    def _grad_sigmoid(self, v, logits):
        return super()._grad_sigmoid(np.ones_like(v), logits)


@mutant("log_sigmoid", kind="formula")
class LogSigmoidMirrored(NumpyAdapter):
    """−ln(1 + eˣ), the logarithm of 1 − σ."""

    def log_sigmoid(self, logits):
        return super().log_sigmoid(-logits)


@mutant("log_sigmoid", kind="epsilon")
class LogSigmoidEpsilon(NumpyAdapter):
    """1e-8 is added inside the logarithm."""

    def log_sigmoid(self, logits):
        x = wide(logits)
        return np.log(ref.sigmoid(x) + x.dtype.type(1e-8)).astype(logits.dtype)


@mutant("log_sigmoid", kind="epsilon")
class LogSigmoidThreshold(NumpyAdapter):
    """Above 20 the result is exactly 0."""

    def log_sigmoid(self, logits):
        return np.where(wide(logits) > 20, logits.dtype.type(0), super().log_sigmoid(logits))


@mutant("log_sigmoid", kind="precision")
class LogSigmoidInFloat32(NumpyAdapter):
    """float64 is computed in float32."""

    def log_sigmoid(self, logits):
        return super().log_sigmoid(logits.astype(np.float32)).astype(logits.dtype)


@mutant("log_sigmoid", kind="gradient")
class LogSigmoidGradientMirrored(NumpyAdapter):
    """The gradient is σ(x) instead of σ(−x)."""

    def _grad_log_sigmoid(self, v, logits):
        return super()._grad_log_sigmoid(v, -logits)


@mutant("log_sigmoid", kind="stability")
class LogSigmoidWithoutLog1p(NumpyAdapter):
    """ln(1 + e^−x) by log instead of log1p: on the right the small exponential is rounded away."""

    def log_sigmoid(self, logits):
        x = wide(logits)
        return -(np.maximum(-x, 0) + np.log(1 + np.exp(-np.abs(x)))).astype(logits.dtype)


@mutant("log_sigmoid", kind="gradient")
class LogSigmoidGradientFromOne(NumpyAdapter):
    """The gradient is 1 − σ(x), which is lost where σ(x) rounds to 1."""

    def _grad_log_sigmoid(self, v, logits):
        return {"logits": v * (1 - wide(super().sigmoid(logits)))}
