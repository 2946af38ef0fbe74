"""Binary cross entropy of probabilities and of logits (spec/binary-cross-entropy.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, nearest, product, sizes, total, weighed
from lossproof.oracle.bounds import DIVISION, LOG, LOG1P, Bound, each, exp_of, rounding
from lossproof.oracle.definition import Arguments, Inputs, Outputs, define
from lossproof.oracle.definitions.sigmoid import (
    logistic,
    magnitudes,
    sigmoid_relative,
    softplus,
    tails,
    through_logarithm,
)
from lossproof.oracle.reading import (
    SILENT,
    Arrays,
    Parameters,
    Reading,
    leaves_half,
    nan,
    negative_zero,
    outside,
    steep,
    subnormal,
    sum_overflows,
    zero_weight,
)
from lossproof.oracle.reduction import element_shares, reduce_elements
from lossproof.oracle.result import Output

INVALID_TARGET = Reading("BCE-15", level="recommended", raises=True, gradients=False)


def _read_probabilities(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    p, y = arrays["probabilities"], arrays["target"]
    weight, gradients = parameters["weight"], not negative_zero(p) and not steep(p, dtype)
    certain = ((p == 0) & (y > 0)) | ((p == 1) & (y < 1))
    if certain.any() and zero_weight(weight):
        # A weight of 0 may or may not cancel an infinite cost (G-12).
        return SILENT
    if outside(p) or outside(y):
        if p.ndim or nan(p, y):
            return SILENT
        if not outside(p):
            return INVALID_TARGET
        return Reading("BCE-4", raises=True, infinite=True, gradients=False)
    if nan(p, y):
        return Reading("BCE-13", raises=True, gradients=gradients)
    if certain.any():
        return Reading("BCE-3", gradients=gradients)
    if ((p == 0) | (p == 1)).any():
        return Reading("BCE-2", gradients=gradients)
    return Reading("BCE-6" if weight is not None else "BCE-1", gradients=gradients)


@define("binary_cross_entropy", _read_probabilities, symmetric=True)
def _binary_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    p = arrays["probabilities"]
    weight = arguments.array("weight", p.shape)
    loss = BinaryCrossEntropy(p.ravel().tolist(), arrays["target"].ravel().tolist(), weight)
    return _outputs(loss, "probabilities", arguments, p.shape)


def _read_logits(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    x, y = arrays["logits"], arrays["target"]
    if outside(y):
        return SILENT if x.ndim or nan(x, y) else INVALID_TARGET
    if np.isinf(x).any():
        silent = zero_weight(parameters["weight"]) or zero_weight(parameters["pos_weight"])
        return SILENT if silent else Reading("BCE-11", level="recommended")
    if nan(x, y):
        return Reading("BCE-13")
    if sum_overflows(np.abs(x) * 16, dtype):
        return Reading("G-4", level="recommended")
    has_weight = parameters["weight"] is not None or parameters["pos_weight"] is not None
    if has_weight and subnormal(np.exp(-np.abs(x)), dtype):
        # A cost that is flushed before its weight makes it normal.
        return Reading("G-8", level="recommended")
    if leaves_half(x, dtype):
        return Reading("BCE-14")
    if parameters["pos_weight"] is not None:
        return Reading("BCE-9")
    return Reading("BCE-10")


@define("sigmoid_cross_entropy", _read_logits, symmetric=True, composed=("sigmoid", "binary_cross_entropy"))
def _sigmoid_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    x = arrays["logits"]
    weight, positive = arguments.array("weight", x.shape), arguments.array("pos_weight", x.shape)
    loss = SigmoidCrossEntropy(x.ravel().tolist(), arrays["target"].ravel().tolist(), weight, positive)
    return _outputs(loss, "logits", arguments, x.shape)


def _outputs(
    loss: BinaryCrossEntropy | SigmoidCrossEntropy, name: str, arguments: Arguments, shape: tuple[int, ...]
) -> Outputs:
    costs, bound = loss.costs()
    outputs = {"value": reduce_elements(costs, bound, arguments["reduction"], shape)}
    # The gradient of a mean over nothing is not defined (clause G-5).
    if costs or arguments["reduction"] != "mean":
        shares = element_shares(len(costs), arguments["reduction"], arguments.cotangent)
        outputs[f"gradients.{name}"] = loss.gradient(shares, shape)
    return outputs


class BinaryCrossEntropy:
    """−y·ln p − (1−y)·ln(1−p) per element, weighted."""

    def __init__(self, p: Sequence[float], y: Sequence[float], w: Sequence[float] | None = None) -> None:
        self.p, self.y = list(p), list(y)
        self.w = list(w) if w is not None else [1.0] * len(self.p)

    def costs(self) -> tuple[list[Quantity], Bound]:
        exact: list[Quantity] = []
        plain: list[float] = []
        for p, y, w in zip(self.p, self.y, self.w, strict=True):
            if not 0 <= y <= 1 or not 0 <= p <= 1:
                exact.append(NAN)
                plain.append(0.0)
                continue
            one = product(arb(y), -arb(p).log() if p > 0 else math.inf)
            zero = product(1 - arb(y), -(1 - arb(p)).log() if p < 1 else math.inf)
            cost = weighed(arb(w), total([one, zero]))
            exact.append(cost)
            # The plain form ln(1 − p) rounds 1 − p.
            plain.append(w * (1 - y))
        size = sizes(exact)
        return exact, each((LOG + rounding(5)) * size + rounding(np.array(plain)) + Bound(h=2.0), size)

    def gradient(self, shares: Sequence[Quantity], shape: tuple[int, ...]) -> Output:
        exact: list[Quantity] = []
        cancelling: list[float] = []
        for p, y, w, s in zip(self.p, self.y, self.w, shares, strict=True):
            if not 0 <= y <= 1 or not 0 <= p <= 1:
                exact.append(NAN)
                cancelling.append(0.0)
                continue
            one = -arb(y) / arb(p) if p > 0 else (-math.inf if y != 0 else 0.0)
            zero = (1 - arb(y)) / (1 - arb(p)) if p < 1 else (math.inf if y != 1 else 0.0)
            slope = product(arb(w) * s, total([one, zero]))
            exact.append(slope)
            # With a soft target the two quotients cancel.
            parts = abs(nearest(one)) + abs(nearest(zero)) if 0 < y < 1 else 0.0
            parts = parts if math.isfinite(parts) else 0.0
            cancelling.append(parts * abs(w * nearest(s)))
        size = sizes(exact)
        bound = (rounding(4) + DIVISION * 2) * size + (rounding(2) + DIVISION) * np.array(cancelling)
        return Output(shape, exact, bound + Bound(h=2 + size))


class SigmoidCrossEntropy:
    """pos_weight·y·softplus(−x) + (1−y)·softplus(x) per element, weighted."""

    def __init__(
        self,
        x: Sequence[float],
        y: Sequence[float],
        w: Sequence[float] | None = None,
        pos_weight: Sequence[float] | None = None,
    ) -> None:
        self.x, self.y = list(x), list(y)
        self.w = list(w) if w is not None else [1.0] * len(self.x)
        self.pos = list(pos_weight) if pos_weight is not None else [1.0] * len(self.x)

    def costs(self) -> tuple[list[Quantity], Bound]:
        exact: list[Quantity] = []
        positive: list[float] = []
        negative: list[float] = []
        soft: list[float] = []
        for x, y, w, pos in zip(self.x, self.y, self.w, self.pos, strict=True):
            parts = (0.0, 0.0, 0.0)
            if not 0 <= y <= 1:
                exact.append(NAN)
            else:
                one = weighed(arb(pos), product(arb(y), softplus(-x)))
                zero = product(1 - arb(y), softplus(x))
                cost = weighed(arb(w), total([one, zero]))
                exact.append(cost)
                if math.isfinite(x) and math.isfinite(nearest(cost)):
                    # max(x, 0) − x·y cancels when the target is soft.
                    mass = w * (pos * y + 1 - y)
                    parts = (w * pos * y, w * (1 - y), mass * abs(x) if 0 < y < 1 else 0.0)
            for values, part in zip((positive, negative, soft), parts, strict=True):
                values.append(part)
        mass_ = np.array(positive) + np.array(negative)
        tail = (exp_of(magnitudes(self.x)) + LOG1P + rounding(1)) * (tails(self.x) * mass_)
        size = sizes(exact)
        bound = tail + rounding(4 * size + 3 * np.array(soft)) + Bound(h=2.0 + mass_)
        return exact, each(bound, size)

    def gradient(self, shares: Sequence[Quantity], shape: tuple[int, ...]) -> Output:
        exact: list[Quantity] = []
        ours: list[float] = []
        others: list[float] = []
        cancelling: list[float] = []
        for x, y, w, pos, s in zip(self.x, self.y, self.w, self.pos, shares, strict=True):
            parts = (0.0, 0.0, 0.0)
            if not 0 <= y <= 1 or math.isnan(x):
                exact.append(NAN)
            else:
                sigma, other = logistic(x), logistic(-x)
                # (1−y)·σ(x) − pos·y·σ(−x): no cancellation for hard targets.
                slope = (1 - arb(y)) * sigma - arb(pos) * arb(y) * other
                scale = arb(w) * s
                exact.append(scale * slope)
                factor = abs(nearest(scale))
                rounded = nearest(sigma)
                # σ − y loses digits where σ is near y, so the bound is absolute unless y is 0.
                cancel = factor * (rounded * (1 - y + pos * y) + pos * y) if y != 0 else 0.0
                parts = (factor * (1 - y) * rounded, factor * pos * y * nearest(other), cancel)
            for values, part in zip((ours, others, cancelling), parts, strict=True):
                values.append(part)
        size = magnitudes(self.x)
        s_ = np.array([nearest(logistic(x)) for x in self.x])
        s_ = np.where(np.isnan(s_), 0.0, s_)
        x_ = np.array(self.x, dtype=np.float64)
        bound = (
            (sigmoid_relative(size, 1 - s_) + through_logarithm(x_)) * np.array(ours)
            + (sigmoid_relative(size, s_) + through_logarithm(-x_)) * np.array(others)
            + (rounding(3) + DIVISION) * sizes(exact)
            + (sigmoid_relative(size, 1 - s_) + rounding(3)) * np.array(cancelling)
        )
        h = 3 + np.array([abs(nearest(arb(w) * s)) for w, s in zip(self.w, shares, strict=True)])
        return Output(shape, exact, bound + Bound(h=h))
