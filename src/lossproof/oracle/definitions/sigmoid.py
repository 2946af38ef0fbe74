"""Sigmoid and its logarithm (spec/sigmoid.md)."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, product
from lossproof.oracle.bounds import DIVISION, LOG1P, SUBNORMAL, Bound, Floats, exp_of, rounding
from lossproof.oracle.columns import Balls, column, elementwise
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
    x, v, shape = _given(arrays, arguments)
    return {
        "value": sigmoid(x, shape, arguments.coarsest),
        "gradients.logits": sigmoid_gradient(x, v, shape),
    }


@define("log_sigmoid", logits_read("LSG-2", "LSG-3", "LSG-4"), symmetric=True)
def _log_sigmoid(arrays: Inputs, arguments: Arguments) -> Outputs:
    x, v, shape = _given(arrays, arguments)
    return {"value": log_sigmoid(x, shape), "gradients.logits": log_sigmoid_gradient(x, v, shape)}


def _given(arrays: Inputs, arguments: Arguments) -> tuple[Logits, Floats, tuple[int, ...]]:
    """Logits in C order, the cotangent, and the shape of both."""
    x = arrays["logits"]
    v = np.ones(x.shape) if arguments.cotangent is None else arguments.cotangent
    return Logits(x), v.ravel(), x.shape


class Logits:
    """Logits x with what the losses are made of, all from one exponential each.

    Attributes:
        column: the logits.
        x: the same as an array.
        size: |x|; 0 for what is not finite.
    """

    def __init__(self, x: Floats) -> None:
        self.x = x.ravel()
        self.column = column(x)
        self.size = np.where(np.isfinite(self.x), np.abs(self.x), 0.0)

    @cached_property
    def _powers(self) -> list[Quantity]:
        """e^−|x|, with its limit; NaN is left to what is made of it."""
        return [(-abs(arb(x))).exp() if math.isfinite(x) else 0.0 for x in self.column.values]

    @cached_property
    def _tails(self) -> list[Quantity]:
        """ln(1 + e^−|x|), with its limit."""
        return [arb(power).log1p() for power in self._powers]

    @cached_property
    def tails(self) -> Floats:
        """ln(1 + e^−|x|), and for what is not finite that of 0, which is compared for equality."""
        at_zero = arb(2).log()
        values = [
            tail if math.isfinite(x) else at_zero
            for x, tail in zip(self.column.values, self._tails, strict=True)
        ]
        return Balls(values, self.column.at).rounded

    @cached_property
    def sigma(self) -> Balls:
        """1/(1 + e^−x), with its limits at ±inf."""
        return Balls(list(map(_logistic, self.column.values, self._powers)), self.column.at)

    @cached_property
    def other(self) -> Balls:
        """1/(1 + e^x), which is 1 − σ(x)."""
        opposite = [-x for x in self.column.values]
        return Balls(list(map(_logistic, opposite, self._powers)), self.column.at)

    @cached_property
    def softplus(self) -> Balls:
        """ln(1 + e^x), with its limits at ±inf."""
        return Balls(list(map(_softplus, self.column.values, self._tails)), self.column.at)

    @cached_property
    def softplus_of_opposite(self) -> Balls:
        """ln(1 + e^−x), with its limits at ±inf."""
        opposite = [-x for x in self.column.values]
        return Balls(list(map(_softplus, opposite, self._tails)), self.column.at)

    def through_logarithm(self, sign: float = 1.0) -> Bound:
        """What σ(x) errs by more where it is the exponential of a rounded ln σ(x), as x − ln(1 + e^x).

        The same of σ(−x) for ``sign`` −1.
        """
        # Where x is large, ln(1 + e^x) rounds to x: what is lost is the tail.
        lost = np.where(sign * self.x > 0, np.minimum(self.size, self.tails * 2.0**53), self.size)
        return exp_of(self.size) + rounding(lost)


def _logistic(x: float, power: Quantity) -> Quantity:
    """1/(1 + e^−x) from e^−|x|."""
    if math.isnan(x):
        return NAN
    if math.isinf(x):
        return 1.0 if x > 0 else 0.0
    if x == 0:
        return 0.5
    return (1 if x > 0 else power) / (1 + power)


def _softplus(x: float, tail: Quantity) -> Quantity:
    """ln(1 + e^x) from ln(1 + e^−|x|)."""
    if math.isnan(x):
        return NAN
    if math.isinf(x):
        return math.inf if x > 0 else 0.0
    return arb(x) + tail if x > 0 else tail


def sigmoid(x: Logits, shape: tuple[int, ...], coarsest: FloatType) -> Output:
    y = x.sigma.rounded
    relative = sigmoid_relative(x.size, 1 - y).compounded(coarsest)
    return Output(shape, x.sigma, relative * y + SUBNORMAL)


def sigmoid_gradient(x: Logits, cotangent: Floats, shape: tuple[int, ...]) -> Output:
    slopes = elementwise(lambda sigma, other: sigma * other, x.sigma, x.other)
    exact = elementwise(lambda v, slope: product(arb(v), slope), column(cotangent), slopes)
    y, other, v = x.sigma.rounded, x.other.rounded, np.abs(cotangent)
    # 1 − y may be formed from the rounded y.
    ours, others = sigmoid_relative(x.size, other), sigmoid_relative(x.size, y)
    bound = (ours + others + rounding(3)) * (y * other) + ours * (y * y)
    return Output(shape, exact, bound * v + Bound(h=2 + v))


def log_sigmoid(x: Logits, shape: tuple[int, ...]) -> Output:
    exact = Balls([-cost for cost in x.softplus_of_opposite.values], x.column.at)
    # −max(−x, 0) − log1p(e^−|x|): relative where x is positive.
    bound = (exp_of(x.size) + LOG1P) * x.tails + rounding(2 * exact.sizes)
    return Output(shape, exact, bound + SUBNORMAL)


def log_sigmoid_gradient(x: Logits, cotangent: Floats, shape: tuple[int, ...]) -> Output:
    exact = elementwise(lambda v, other: product(arb(v), other), column(cotangent), x.other)
    v = np.abs(cotangent)
    relative = sigmoid_relative(x.size, x.sigma.rounded) + x.through_logarithm(-1.0) + rounding(1)
    return Output(shape, exact, relative * (x.other.rounded * v) + Bound(h=2 + v))


def sigmoid_relative(size: Floats, other: Floats) -> Bound:
    """Relative error of σ(x) for |x| = ``size`` and 1 − σ(x) = ``other``, in both tails."""
    return exp_of(size) * other + rounding(2) + DIVISION
