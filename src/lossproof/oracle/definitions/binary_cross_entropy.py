"""Binary cross entropy of probabilities and of logits (spec/binary-cross-entropy.md)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, is_nan, product, total, weighed
from lossproof.oracle.bounds import DIVISION, LOG, LOG1P, Bound, Floats, each, exp_of, rounding
from lossproof.oracle.columns import Balls, column, elementwise
from lossproof.oracle.definition import Arguments, Inputs, Outputs, define
from lossproof.oracle.definitions.sigmoid import Logits, sigmoid_relative
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
        return Reading("BCE-13", raises=True, nan=True, gradients=gradients)
    if certain.any():
        return Reading("BCE-3", gradients=gradients)
    if ((p == 0) | (p == 1)).any():
        return Reading("BCE-2", gradients=gradients)
    return Reading("BCE-6" if weight is not None else "BCE-1", gradients=gradients)


@define("binary_cross_entropy", _read_probabilities, symmetric=True)
def _binary_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    return loss_of_probabilities(arrays, arguments, BinaryCrossEntropy)


def loss_of_probabilities(
    arrays: Inputs, arguments: Arguments, cost: Callable[..., BinaryCrossEntropy]
) -> Outputs:
    """Value and gradient of a loss that adds up what ``cost`` says of each element."""
    p = arrays["probabilities"]
    weight = arguments.array("weight", p.shape)
    loss = cost(p.ravel(), arrays["target"].ravel(), weight)
    return _outputs(loss, "probabilities", arguments, p.shape)


def _read_logits(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    x, y = arrays["logits"], arrays["target"]
    if outside(y):
        return SILENT if x.ndim or nan(x, y) else INVALID_TARGET
    # Beside a NaN an infinite logit has no limit to take.
    if (np.isinf(x) & ~np.isnan(y)).any():
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
    loss = SigmoidCrossEntropy(x.ravel(), arrays["target"].ravel(), weight, positive)
    return _outputs(loss, "logits", arguments, x.shape)


def _outputs(
    loss: BinaryCrossEntropy | SigmoidCrossEntropy, name: str, arguments: Arguments, shape: tuple[int, ...]
) -> Outputs:
    costs, bound = loss.costs()
    outputs = {"value": reduce_elements(costs, bound, arguments["reduction"], shape)}
    # The gradient of a mean over nothing is not defined (clause G-5).
    if arguments.wants(f"gradients.{name}") and (len(costs) or arguments["reduction"] != "mean"):
        shares = element_shares(len(costs), arguments["reduction"], arguments.cotangent)
        outputs[f"gradients.{name}"] = loss.gradient(shares, shape)
    return outputs


class BinaryCrossEntropy:
    """−y·ln p − (1−y)·ln(1−p) per element, weighted."""

    def __init__(self, p: Floats, y: Floats, w: Floats | None = None) -> None:
        self.p, self.y, self.w = p, y, np.ones(len(p)) if w is None else w
        self.columns = column(self.p), column(self.y)
        self.weights = column(self.w)
        self.valid = (y >= 0) & (y <= 1) & (p >= 0) & (p <= 1)

    def costs(self) -> tuple[Balls, Bound]:
        def cost(p: float, y: float, w: float) -> Quantity:
            if not _valid(p, y):
                return NAN
            one = product(arb(y), -arb(p).log() if p > 0 else math.inf)
            zero = product(1 - arb(y), -(1 - arb(p)).log() if p < 1 else math.inf)
            return weighed(arb(w), total([one, zero]))

        exact = elementwise(cost, *self.columns, self.weights)
        # The plain form ln(1 − p) rounds 1 − p.
        plain = np.where(self.valid, self.w * (1 - self.y), 0.0)
        size = exact.sizes
        return exact, each((LOG + rounding(5)) * size + rounding(plain) + Bound(h=2.0), size)

    def gradient(self, shares: Balls, shape: tuple[int, ...]) -> Output:
        def toward_one(p: float, y: float) -> Quantity:
            if not _valid(p, y):
                return NAN
            return -arb(y) / arb(p) if p > 0 else (-math.inf if y != 0 else 0.0)

        def toward_zero(p: float, y: float) -> Quantity:
            if not _valid(p, y):
                return NAN
            return (1 - arb(y)) / (1 - arb(p)) if p < 1 else (math.inf if y != 1 else 0.0)

        def slope(one: Quantity, zero: Quantity, w: float, s: Quantity) -> Quantity:
            return product(arb(w) * s, total([one, zero]))

        one, zero = elementwise(toward_one, *self.columns), elementwise(toward_zero, *self.columns)
        exact = elementwise(slope, one, zero, self.weights, shares)
        # With a soft target the two quotients cancel.
        parts = np.abs(one.rounded) + np.abs(zero.rounded)
        soft = self.valid & (self.y > 0) & (self.y < 1) & np.isfinite(parts)
        cancelling = np.where(soft, parts, 0.0) * np.abs(self.w * shares.rounded)
        size = exact.sizes
        bound = (rounding(4) + DIVISION * 2) * size + (rounding(2) + DIVISION) * cancelling
        return Output(shape, exact, bound + Bound(h=2 + size))


def _valid(p: float, y: float) -> bool:
    return 0 <= y <= 1 and 0 <= p <= 1


class SigmoidCrossEntropy:
    """pos_weight·y·softplus(−x) + (1−y)·softplus(x) per element, weighted."""

    def __init__(
        self, x: Floats, y: Floats, w: Floats | None = None, pos_weight: Floats | None = None
    ) -> None:
        self.x, self.y = Logits(x), y
        self.w = np.ones(len(y)) if w is None else w
        self.pos = np.ones(len(y)) if pos_weight is None else pos_weight
        self.columns = column(self.y), column(self.pos), column(self.w)

    def costs(self) -> tuple[Balls, Bound]:
        def cost(opposite: Quantity, own: Quantity, y: float, pos: float, w: float) -> Quantity:
            if not 0 <= y <= 1:
                return NAN
            one = weighed(arb(pos), product(arb(y), opposite))
            zero = product(1 - arb(y), own)
            return weighed(arb(w), total([one, zero]))

        x, y, w, pos = self.x, self.y, self.w, self.pos
        exact = elementwise(cost, x.softplus_of_opposite, x.softplus, *self.columns)
        usual = np.isfinite(x.x) & np.isfinite(exact.rounded)
        mass = w * (pos * y + 1 - y)
        # max(x, 0) − x·y cancels when the target is soft.
        soft = np.where(usual & (y > 0) & (y < 1), mass * x.size, 0.0)
        mass = np.where(usual, w * pos * y, 0.0) + np.where(usual, w * (1 - y), 0.0)
        tail = (exp_of(x.size) + LOG1P + rounding(1)) * (x.tails * mass)
        bound = tail + rounding(4 * exact.sizes + 3 * soft) + Bound(h=2.0 + mass)
        return exact, each(bound, exact.sizes)

    def gradient(self, shares: Balls, shape: tuple[int, ...]) -> Output:
        def slope(sigma: Quantity, other: Quantity, y: float, pos: float, scale: Quantity) -> Quantity:
            if not 0 <= y <= 1 or is_nan(sigma):
                return NAN
            # (1−y)·σ(x) − pos·y·σ(−x): no cancellation for hard targets.
            return scale * ((1 - arb(y)) * sigma - arb(pos) * arb(y) * other)

        x, y, pos = self.x, self.y, self.pos
        targets, positive, weights = self.columns
        scale = elementwise(lambda w, s: arb(w) * s, weights, shares)
        exact = elementwise(slope, x.sigma, x.other, targets, positive, scale)
        usual = ~np.isnan(x.x) & (y >= 0) & (y <= 1)
        factor, sigma, other = np.abs(scale.rounded), x.sigma.rounded, x.other.rounded
        ours = np.where(usual, factor * (1 - y) * sigma, 0.0)
        others = np.where(usual, factor * pos * y * other, 0.0)
        # σ − y loses digits where σ is near y, so the bound is absolute unless y is 0.
        cancelling = np.where(usual & (y != 0), factor * (sigma * (1 - y + pos * y) + pos * y), 0.0)
        sigma = np.where(np.isnan(sigma), 0.0, sigma)
        relative = sigmoid_relative(x.size, 1 - sigma)
        bound = (
            (relative + x.through_logarithm()) * ours
            + (sigmoid_relative(x.size, sigma) + x.through_logarithm(-1.0)) * others
            + (rounding(3) + DIVISION) * exact.sizes
            + (relative + rounding(3)) * cancelling
        )
        return Output(shape, exact, bound + Bound(h=3 + factor))
