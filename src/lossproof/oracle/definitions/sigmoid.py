"""Sigmoid and its logarithm (spec/sigmoid.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, nearest, product, sizes
from lossproof.oracle.bounds import DIVISION, LOG1P, SUBNORMAL, Bound, Floats, exp_of, rounding
from lossproof.oracle.definition import Arguments, Inputs, Outputs, define
from lossproof.oracle.reading import Arrays, Parameters, Reader, Reading, nan
from lossproof.oracle.result import Output


def logits_read(clause: str, infinite: str, not_a_number: str) -> Reader:
    """The reader of a function whose only array holds logits, with its three clauses."""

    def read(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
        x = arrays["logits"]
        if np.isinf(x).any():
            return Reading(infinite, level="recommended")
        return Reading(not_a_number if nan(x) else clause)

    return read


@define("sigmoid", logits_read("SG-2", "SG-3", "SG-5"), symmetric=True)
def _sigmoid(arrays: Inputs, arguments: Arguments) -> Outputs:
    flat, v, shape = _given(arrays, arguments)
    return {
        "value": sigmoid(flat, shape, arguments.coarsest),
        "gradients.logits": sigmoid_gradient(flat, v, shape),
    }


@define("log_sigmoid", logits_read("LSG-2", "LSG-3", "LSG-4"), symmetric=True)
def _log_sigmoid(arrays: Inputs, arguments: Arguments) -> Outputs:
    flat, v, shape = _given(arrays, arguments)
    return {"value": log_sigmoid(flat, shape), "gradients.logits": log_sigmoid_gradient(flat, v, shape)}


def _given(arrays: Inputs, arguments: Arguments) -> tuple[list[float], Floats, tuple[int, ...]]:
    """Logits in C order, the cotangent, and the shape of both."""
    x = arrays["logits"]
    v = np.ones(x.shape) if arguments.cotangent is None else arguments.cotangent
    return x.ravel().tolist(), v, x.shape


def logistic(x: float) -> Quantity:
    """1/(1 + e^−x), with its limits at ±inf."""
    if math.isnan(x):
        return NAN
    if math.isinf(x):
        return 1.0 if x > 0 else 0.0
    if x == 0:
        return 0.5
    return 1 / (1 + (-arb(x)).exp())


def softplus(x: float) -> Quantity:
    """ln(1 + e^x), with its limits at ±inf."""
    if math.isnan(x):
        return NAN
    if math.isinf(x):
        return math.inf if x > 0 else 0.0
    if x > 0:
        return arb(x) + (-arb(x)).exp().log1p()
    return arb(x).exp().log1p()


def sigmoid(x: Sequence[float], shape: tuple[int, ...], coarsest: FloatType) -> Output:
    exact = [logistic(v) for v in x]
    y = np.array([nearest(q) for q in exact])
    relative = sigmoid_relative(magnitudes(x), 1 - y).compounded(coarsest)
    return Output(shape, exact, relative * y + SUBNORMAL)


def sigmoid_gradient(x: Sequence[float], cotangent: Floats, shape: tuple[int, ...]) -> Output:
    exact = [
        product(arb(v), logistic(z) * logistic(-z))
        for z, v in zip(x, cotangent.ravel().tolist(), strict=True)
    ]
    y = np.array([nearest(logistic(z)) for z in x])
    other = np.array([nearest(logistic(-z)) for z in x])
    size, v = magnitudes(x), np.abs(cotangent.ravel())
    ours, others = sigmoid_relative(size, other), sigmoid_relative(size, y)
    # 1 − y may be formed from the rounded y.
    bound = (ours + others + rounding(3)) * (y * other) + ours * (y * y)
    return Output(shape, exact, bound * v + Bound(h=2 + v))


def log_sigmoid(x: Sequence[float], shape: tuple[int, ...]) -> Output:
    exact = [-softplus(-z) for z in x]
    size = magnitudes(x)
    # −max(−x, 0) − log1p(e^−|x|): relative where x is positive.
    tail = tails(x)
    bound = (exp_of(size) + LOG1P) * tail + rounding(2 * sizes(exact))
    return Output(shape, exact, bound + SUBNORMAL)


def log_sigmoid_gradient(x: Sequence[float], cotangent: Floats, shape: tuple[int, ...]) -> Output:
    exact = [product(arb(v), logistic(-z)) for z, v in zip(x, cotangent.ravel().tolist(), strict=True)]
    s = np.array([nearest(logistic(z)) for z in x])
    other = np.array([nearest(logistic(-z)) for z in x])
    size, v = magnitudes(x), np.abs(cotangent.ravel())
    relative = sigmoid_relative(size, s) + through_logarithm(-np.array(x)) + rounding(1)
    return Output(shape, exact, relative * (other * v) + Bound(h=2 + v))


def sigmoid_relative(size: Floats, other: Floats) -> Bound:
    """Relative error of σ(x) for |x| = ``size`` and 1 − σ(x) = ``other``, in both tails."""
    return exp_of(size) * other + rounding(2) + DIVISION


def through_logarithm(x: Floats) -> Bound:
    """What σ(x) errs by more where it is the exponential of a rounded ln σ(x), as x − ln(1 + e^x)."""
    size, tail = magnitudes(x), tails(x)
    # Where x is large, ln(1 + e^x) rounds to x: what is lost is the tail.
    lost = np.where(np.asarray(x) > 0, np.minimum(size, tail * 2.0**53), size)
    return exp_of(size) + rounding(lost)


def magnitudes(x: Sequence[float] | Floats) -> Floats:
    """|x|; 0 for what is not finite."""
    size = np.abs(np.array(x, dtype=np.float64))
    return np.where(np.isfinite(size), size, 0.0)


def tails(x: Sequence[float] | Floats) -> Floats:
    """ln(1 + e^−|x|)."""
    finite = [v if math.isfinite(v) else 0.0 for v in map(float, x)]
    return np.array([nearest(softplus(-abs(v))) for v in finite])
