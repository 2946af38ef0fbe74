"""What the specification permits each output to err, for arrays of inputs (spec/tolerances.md).

The oracle derives bounds from exact values in ball arithmetic; here they come from those of
``reference``, for millions of inputs. Parts that the oracle has as formulas of arrays are used as they
are, and a test holds the rest against its bounds. Coefficients are not rounded up as stored ones are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Tolerance
from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.oracle.bounds import (
    DIVISION,
    LOG,
    LOG1P,
    SUBNORMAL,
    Bound,
    Floats,
    accumulating,
    exp_of,
    rounding,
)
from lossproof.oracle.definitions.sigmoid import Logits, sigmoid_relative
from lossproof.oracle.definitions.softmax import Rows
from lossproof.oracle.reading import accumulator
from lossproof.sweeps.reference import Point
from lossproof.sweeps.subjects import Subject, Target

Mask = npt.NDArray[np.bool_]
Bounds = dict[str, Bound]


class _Logits(Logits):
    """Logits whose tails are those of the reference."""

    def __init__(self, point: Point) -> None:
        self.x, self.size = point.x, point.size
        vars(self)["tails"] = point.tail


class _Rows(Rows):
    """Rows (x, 0), whose probabilities are those of the reference: n × 2."""

    def __init__(self, point: Point, coarsest: FloatType) -> None:
        self.coarsest, self.classes = coarsest, 2
        self.p = np.stack([point.sigma, point.other], axis=1)
        nothing = np.zeros_like(point.size)
        lower = point.size
        self.d = np.stack([nothing, lower] if point.right else [lower, nothing], axis=1)
        self.w = (point.smaller * point.size).reshape(-1, 1)
        self.ln_s = point.tail.reshape(-1, 1)
        self.summing = accumulating(1.0)  # one addition
        self.underflow = Bound(h=1.0)


def _column(bound: Bound, which: int) -> Bound:
    """The bound of one class."""
    parts = (np.asarray(part) for part in (bound.u, bound.a, bound.h))
    return Bound(*(part if part.ndim == 0 else part[:, which % part.shape[1]] for part in parts))


def _sigmoid(p: Point, dtype: FloatType) -> Bounds:
    y, other = p.sigma, p.other
    ours, others = sigmoid_relative(p.size, other), sigmoid_relative(p.size, y)
    return {
        "value": ours.compounded(dtype) * y + SUBNORMAL,
        "gradients.logits": (ours + others + rounding(3)) * (y * other) + ours * (y * y) + Bound(h=3.0),
    }


def _log_sigmoid(p: Point, dtype: FloatType) -> Bounds:
    slope = sigmoid_relative(p.size, p.sigma) + _Logits(p).through_logarithm(-1.0) + rounding(1)
    return {
        "value": (exp_of(p.size) + LOG1P) * p.tail + rounding(2 * p.softplus_of_opposite) + SUBNORMAL,
        "gradients.logits": slope * p.other + Bound(h=3.0),
    }


def _sigmoid_cross_entropy(target: int) -> Callable[[Point, FloatType], Bounds]:
    def bounds(p: Point, dtype: FloatType) -> Bounds:
        x, y, other = _Logits(p), p.sigma, p.other
        cost, size = (p.softplus_of_opposite, other) if target else (p.softplus, y)
        ours = sigmoid_relative(p.size, other)
        if target:
            slope = (sigmoid_relative(p.size, y) + x.through_logarithm(-1.0)) * other
            slope += (ours + rounding(3)) * (y + 1)
        else:
            slope = (ours + x.through_logarithm()) * y
        tail = (exp_of(p.size) + LOG1P + rounding(1)) * p.tail
        return {
            "value": tail + rounding(4 * cost) + Bound(h=3.0),
            "gradients.logits": slope + (rounding(3) + DIVISION) * size + Bound(h=4.0),
        }

    return bounds


def _binary_cross_entropy(target: int) -> Callable[[Point, FloatType], Bounds]:
    def bounds(p: Point, dtype: FloatType) -> Bounds:
        cost = p.cost_of_one if target else p.cost_of_zero
        with np.errstate(divide="ignore"):
            slope = 1 / (p.x if target else 1 - p.x)
        cost, slope = (np.where(np.isfinite(size), size, 0.0) for size in (cost, slope))
        return {
            "value": (LOG + rounding(5)) * cost + rounding(1.0 - target) + Bound(h=2.0),
            "gradients.probabilities": (rounding(4) + DIVISION * 2) * slope + Bound(h=2 + slope),
        }

    return bounds


def _softmax(p: Point, dtype: FloatType) -> Bounds:
    rows = _Rows(p, dtype)
    relative = rows.softmax_relative()
    value = relative * rows.p + SUBNORMAL
    # p·(v − D) with v = (1, 0) and D = p₀.
    v, dot = np.array([1.0, 0.0]), rows.p[:, :1]
    own = _column(relative, 0)
    dot_error = (
        Bound(dot * (np.reshape(own.u, (-1, 1)) + 1) + dot, dot * np.reshape(own.a, (-1, 1)))
        + rows.summing * dot
    )
    parts = dot_error + rounding(2 * (v + dot))
    slope = (relative + rounding(2)) * p.slope.reshape(-1, 1) + parts * rows.p + Bound(h=2 + v[None])
    return _both(value, slope)


def _log_softmax(p: Point, dtype: FloatType) -> Bounds:
    rows = _Rows(p, dtype)
    value = rows.log_softmax_absolute() + SUBNORMAL
    slope = (rows.through_logarithm() + rounding(2)) * rows.p + rows.summing * rows.p
    return _both(value, slope + rounding(p.other.reshape(-1, 1)) + Bound(h=2.0))


def _both(value: Bound, slope: Bound) -> Bounds:
    return {f"value[{c}]": _column(value, c) for c in (0, 1)} | {
        f"gradients.logits[{c}]": _column(slope, c) for c in (0, 1)
    }


def _cross_entropy(p: Point, dtype: FloatType) -> Bounds:
    rows = _Rows(p, dtype)
    own, cost = _column(rows.log_softmax_absolute(), 0), p.softplus_of_opposite
    q = np.array([1.0, 0.0])
    slope = (rows.through_logarithm() + rounding(2)) * rows.p + rounding(2 * q)
    slope += rounding(2) * p.other.reshape(-1, 1) + Bound(h=2 + np.abs(rows.p - q))
    value = Bound(own.u, own.a, own.h + 2) + (rounding(3) + accumulating(1.0)) * cost
    return {"value": value} | {f"gradients.logits[{c}]": _column(slope, c) for c in (0, 1)}


def _l2_loss(p: Point, dtype: FloatType) -> Bounds:
    return {
        "value": rounding(3 * p.x * p.x) + Bound(h=2.0),
        "gradients.prediction": (rounding(3) + DIVISION) * (2 * p.size) + Bound(h=2 + 2 * p.size),
    }


_OF: Mapping[str, Callable[[Point, FloatType], Bounds]] = {
    "sigmoid": _sigmoid,
    "log_sigmoid": _log_sigmoid,
    "sigmoid_cross_entropy/target-0": _sigmoid_cross_entropy(0),
    "sigmoid_cross_entropy/target-1": _sigmoid_cross_entropy(1),
    "binary_cross_entropy/target-0": _binary_cross_entropy(0),
    "binary_cross_entropy/target-1": _binary_cross_entropy(1),
    "softmax/two-classes": _softmax,
    "log_softmax/two-classes": _log_softmax,
    "softmax_cross_entropy/two-classes": _cross_entropy,
    "sparse_softmax_cross_entropy/two-classes": _cross_entropy,
    "l2_loss/target-0": _l2_loss,
}


def bounds(subject: Subject, x: Floats, dtype: str) -> Bounds:
    """The bound of every output for finite inputs of one sign."""
    with np.errstate(over="ignore"):
        return _OF[subject.name](Point(x), FLOAT_TYPES[dtype])


def allowed(bound: Bound, expected: Floats, dtype: FloatType) -> Floats:
    """The right side of T-9, of coefficients that are not rounded up."""
    h = np.maximum(bound.h, Tolerance.ETA)
    own = Bound(bound.u, bound.a, h).at(dtype, expected.size)
    return own + np.abs(expected) * 2.0**-53


def recommended(subject: Subject, x: Floats, dtype: FloatType) -> Mask:
    """Where the specification only recommends a result: subnormal and infinite inputs, overflows (G-4)."""
    size = np.abs(x)
    rows = subject.function.endswith("softmax_cross_entropy")
    infinite = np.isposinf(x) if rows else np.isinf(x)  # −inf is a class of probability 0 (CE-15)
    lax = infinite | ((size > 0) & (size < dtype.smallest_normal))
    limit = accumulator(dtype).largest / 4
    if subject.function == "l2_loss":
        # Of infinite inputs L2-5 asks for an infinite cost.
        finite = np.isfinite(x)
        lax = (lax & finite) | (finite & ((size > dtype.largest / 4) | (size * size >= limit)))
    elif subject.function == "sigmoid_cross_entropy":
        lax |= size * 16 >= limit
    elif rows:
        spread = size if subject.function.startswith("sparse") else size * 4
        lax |= np.isfinite(x) & (spread >= limit)
    return np.asarray(lax)


def unspecified(subject: Subject, target: Target, x: Floats, dtype: FloatType) -> Mask:
    """Where the specification leaves a gradient open: 1/p that leaves the accumulator's range (G-4)."""
    if subject.function != "binary_cross_entropy" or target.source == "value":
        return np.zeros(x.shape, bool)
    with np.errstate(divide="ignore"):
        return (x > 0) & (1 / x > accumulator(dtype).largest / 2.0**12)
