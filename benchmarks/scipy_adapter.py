"""SciPy and scikit-learn where they do the same work as the NumPy adapter, to be timed beside it.

lossproof bench -a numpy -a benchmarks/scipy_adapter.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from scipy.special import expit, log_softmax, softmax, xlog1py, xlogy
from sklearn.metrics import log_loss

from lossproof import Adapter, Unsupported


class ScipyAdapter(Adapter):
    """scipy.special; reductions by NumPy. Gradients by the same formulas from its functions."""

    name = "scipy"
    version = scipy.__version__
    dtypes = ("float64", "float32")

    def value_and_gradients(
        self, function: Any, arrays: Any, wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value = function(*arrays.values())
        gradient = getattr(self, f"_grad_{function.function}", None)
        if gradient is None or cotangent is not None:
            raise Unsupported("scipy.special has no gradients")
        return value, {wrt[0]: gradient(*arrays.values(), **function.parameters)}

    def sigmoid(self, logits: Any) -> Any:
        return expit(logits)

    def _grad_sigmoid(self, logits: Any) -> Any:
        p = expit(logits)
        return p * (1 - p)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return softmax(logits, axis=axis)

    def _grad_softmax(self, logits: Any, *, axis: int) -> Any:
        p = softmax(logits, axis=axis)
        return p * (1 - p.sum(axis=axis, keepdims=True))

    def sparse_softmax_cross_entropy(self, logits: Any, labels: Any, *, axis: int, **_: Any) -> Any:
        log_p = np.take_along_axis(log_softmax(logits, axis=axis), labels[:, None], axis=axis)
        return np.asarray(-log_p.mean())

    def _grad_sparse_softmax_cross_entropy(self, logits: Any, labels: Any, *, axis: int, **_: Any) -> Any:
        p = softmax(logits, axis=axis)
        p[np.arange(len(labels)), labels] -= 1
        return p / p.dtype.type(len(labels))

    def softmax_cross_entropy(self, logits: Any, target: Any, *, axis: int, **_: Any) -> Any:
        return np.asarray(-(target * log_softmax(logits, axis=axis)).sum(axis=axis).mean())

    def _grad_softmax_cross_entropy(self, logits: Any, target: Any, *, axis: int, **_: Any) -> Any:
        # Targets need not add up to 1.
        slope = softmax(logits, axis=axis) * target.sum(axis=axis, keepdims=True) - target
        return slope / slope.dtype.type(len(target))

    def binary_cross_entropy(self, probabilities: Any, target: Any, **_: Any) -> Any:
        return np.asarray(-(xlogy(target, probabilities) + xlog1py(1 - target, -probabilities)).mean())

    def _grad_binary_cross_entropy(self, probabilities: Any, target: Any, **_: Any) -> Any:
        slope = (probabilities - target) / (probabilities * (1 - probabilities))
        return slope / slope.dtype.type(slope.size)


class SklearnAdapter(Adapter):
    """sklearn.metrics.log_loss, which takes labels and validates them."""

    name = "sklearn"
    dtypes = ("float64", "float32")

    def binary_cross_entropy(self, probabilities: Any, target: Any, **_: Any) -> Any:
        return np.asarray(log_loss(target, probabilities), probabilities.dtype)
