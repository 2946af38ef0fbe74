"""Functions that act on elements, and Euclidean distance (spec/l2.md, spec/sigmoid.md, …)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from flint import arb

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import Quantity, nearest, product, total
from lossproof.oracle.bounds import DIVISION, LOG, LOG1P, SQRT, Bound, Floats, exp_of, rounding, summing
from lossproof.oracle.result import Output
from lossproof.oracle.softmax import NAN, SUBNORMAL, reduced


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


def _sigmoid_relative(size: Floats, other: Floats) -> Bound:
    """Relative error of σ(x) for |x| = ``size`` and 1 − σ(x) = ``other``, in both tails."""
    return exp_of(size) * other + rounding(2) + DIVISION


def sigmoid(x: Sequence[float], shape: tuple[int, ...], coarsest: FloatType) -> Output:
    exact = [logistic(v) for v in x]
    y = np.array([nearest(q) for q in exact])
    relative = _sigmoid_relative(_magnitudes(x), 1 - y).compounded(coarsest)
    return Output(shape, exact, relative * y + SUBNORMAL)


def sigmoid_gradient(x: Sequence[float], cotangent: Floats, shape: tuple[int, ...]) -> Output:
    exact = [
        product(arb(v), logistic(z) * logistic(-z))
        for z, v in zip(x, cotangent.ravel().tolist(), strict=True)
    ]
    y = np.array([nearest(logistic(z)) for z in x])
    other = np.array([nearest(logistic(-z)) for z in x])
    size, v = _magnitudes(x), np.abs(cotangent.ravel())
    ours, others = _sigmoid_relative(size, other), _sigmoid_relative(size, y)
    # 1 − y may be formed from the rounded y.
    bound = (ours + others + rounding(3)) * (y * other) + ours * (y * y)
    return Output(shape, exact, bound * v + Bound(h=2 + v))


def log_sigmoid(x: Sequence[float], shape: tuple[int, ...]) -> Output:
    exact = [-softplus(-z) for z in x]
    size = _magnitudes(x)
    # −max(−x, 0) − log1p(e^−|x|): relative where x is positive.
    tail = _tails(x)
    bound = (exp_of(size) + LOG1P) * tail + rounding(2 * _sizes(exact))
    return Output(shape, exact, bound + SUBNORMAL)


def log_sigmoid_gradient(x: Sequence[float], cotangent: Floats, shape: tuple[int, ...]) -> Output:
    exact = [product(arb(v), logistic(-z)) for z, v in zip(x, cotangent.ravel().tolist(), strict=True)]
    s = np.array([nearest(logistic(z)) for z in x])
    other = np.array([nearest(logistic(-z)) for z in x])
    size, v = _magnitudes(x), np.abs(cotangent.ravel())
    relative = _sigmoid_relative(size, s) + _through_logarithm(-np.array(x)) + rounding(1)
    return Output(shape, exact, relative * (other * v) + Bound(h=2 + v))


def _through_logarithm(x: Floats) -> Bound:
    """What σ(x) errs by more where it is the exponential of a rounded ln σ(x), as x − ln(1 + e^x)."""
    size, tail = _magnitudes(x), _tails(x)
    # Where x is large, ln(1 + e^x) rounds to x: what is lost is the tail.
    lost = np.where(np.asarray(x) > 0, np.minimum(size, tail * 2.0**53), size)
    return exp_of(size) + rounding(lost)


def l2_loss(
    p: Sequence[float], t: Sequence[float], half: bool, reduction: str, shape: tuple[int, ...]
) -> Output:
    factor = arb(0.5) if half else arb(1)
    exact = [product(factor, _square(_minus(a, b))) for a, b in zip(p, t, strict=True)]
    size = _sizes(exact)
    return reduce_elements(exact, each(rounding(3) * size + Bound(h=2.0), size), reduction, shape)


def l2_gradient(
    p: Sequence[float],
    t: Sequence[float],
    half: bool,
    reduction: str,
    cotangent: Floats | None,
    shape: tuple[int, ...],
) -> Output:
    """Gradient with respect to the first argument; the other's is its negative."""
    shares = element_shares(len(p), reduction, cotangent)
    factor = 1 if half else 2
    exact = [product(s * factor, _minus(a, b)) for a, b, s in zip(p, t, shares, strict=True)]
    size = _sizes(exact)
    inner = np.array([abs(nearest(_minus(a, b))) for a, b in zip(p, t, strict=True)])
    inner = np.where(np.isfinite(inner), inner, 0.0)
    return Output(shape, exact, (rounding(3) + DIVISION) * size + Bound(h=2 + 2 * inner))


def euclidean_distance(
    p: Floats, t: Floats, cotangent: Floats | None, shape: tuple[int, ...]
) -> tuple[Output, list[Quantity], Bound]:
    """Distances of rows (R × D), and the gradient with respect to ``p`` with its bound (R × D).

    Where a row's distance is 0 the gradient given is the subgradient 0 (clause ED-4).
    """
    values: list[Quantity] = []
    gradient: list[Quantity] = []
    for r, (a_row, b_row) in enumerate(zip(p.tolist(), t.tolist(), strict=True)):
        differences = [_minus(a, b) for a, b in zip(a_row, b_row, strict=True)]
        squares = total(_square(d) for d in differences)
        distance = squares.sqrt() if not isinstance(squares, float) else math.sqrt(squares)
        values.append(distance)
        v = arb(float(cotangent.flat[r])) if cotangent is not None else arb(1)
        if isinstance(distance, float):
            gradient += [NAN] * len(differences)
        elif distance.is_zero():
            gradient += [0.0] * len(differences)
        else:
            gradient += [v * d / distance for d in differences]
    size, slope = _sizes(values), _sizes(gradient)
    # Differences and squares, the root of their sum; by a scale that is divided out and in again.
    relative = rounding(3) + DIVISION + SQRT + summing(p.shape[1]) * 0.5
    value = Output(shape, values, relative * size + SUBNORMAL)
    return value, gradient, (relative + DIVISION + rounding(2)) * slope + Bound(h=2.0)


def cross_entropy_rows(p: Floats, target: Floats) -> tuple[list[Quantity], Bound]:
    """Costs −Σ y·ln p of rows (R × C) and their bounds."""
    costs: list[Quantity] = []
    sizes: list[float] = []
    for p_row, y_row in zip(p.tolist(), target.tolist(), strict=True):
        terms = [_log_cost(y, q) for q, y in zip(p_row, y_row, strict=True)]
        costs.append(total(terms))
        sizes.append(math.fsum(abs(nearest(term)) for term in terms))
    size = np.array(sizes)
    size = np.where(np.isfinite(size), size, 0.0)
    return costs, each((LOG + rounding(3) + summing(p.shape[1])) * size + Bound(h=2.0), size)


def cross_entropy_gradient(
    p: Floats, target: Floats, shares: list[Quantity], shape: tuple[int, ...]
) -> Output:
    """−y/p, and 0 where y is 0; the row's share of the reduction is in ``shares``."""
    exact: list[Quantity] = []
    for p_row, y_row, s in zip(p.tolist(), target.tolist(), shares, strict=True):
        for q, y in zip(p_row, y_row, strict=True):
            if not 0 <= q <= 1 or math.isnan(y):
                exact.append(NAN)
            elif y == 0:
                exact.append(0.0)
            else:
                exact.append(product(s, -arb(y) / arb(q) if q > 0 else -math.inf))
    size = _sizes(exact)
    return Output(shape, exact, (rounding(3) + DIVISION * 2) * size + Bound(h=2.0 + size))


def _log_cost(y: float, p: float) -> Quantity:
    """−y·ln p with 0·ln 0 = 0; NaN outside the domain."""
    if math.isnan(y) or not 0 <= p <= 1:
        return NAN
    if y == 0:
        return 0.0
    return product(arb(y), -arb(p).log() if p > 0 else math.inf)


class BinaryCrossEntropy:
    """−y·ln p − (1−y)·ln(1−p) per element, weighted."""

    def __init__(self, p: Sequence[float], y: Sequence[float], w: Sequence[float] | None = None) -> None:
        self.p, self.y = list(p), list(y)
        self.w = list(w) if w is not None else [1.0] * len(self.p)

    def costs(self) -> tuple[list[Quantity], Bound]:
        exact: list[Quantity] = []
        plain: list[float] = []
        for p, y, w in zip(self.p, self.y, self.w, strict=True):
            if math.isnan(y) or not 0 <= p <= 1:
                exact.append(NAN)
                plain.append(0.0)
                continue
            one = product(arb(y), -arb(p).log() if p > 0 else math.inf)
            zero = product(1 - arb(y), -(1 - arb(p)).log() if p < 1 else math.inf)
            cost = product(arb(w), total([one, zero]))
            exact.append(cost)
            # The plain form ln(1 − p) rounds 1 − p.
            plain.append(w * (1 - y))
        size = _sizes(exact)
        return exact, each((LOG + rounding(5)) * size + rounding(np.array(plain)) + Bound(h=2.0), size)

    def gradient(self, shares: Sequence[Quantity], shape: tuple[int, ...]) -> Output:
        exact: list[Quantity] = []
        cancelling: list[float] = []
        for p, y, w, s in zip(self.p, self.y, self.w, shares, strict=True):
            if math.isnan(y) or not 0 <= p <= 1:
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
        sizes = _sizes(exact)
        bound = (rounding(4) + DIVISION * 2) * sizes + (rounding(2) + DIVISION) * np.array(cancelling)
        return Output(shape, exact, bound + Bound(h=2 + sizes))


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
            if math.isnan(y):
                exact.append(NAN)
            else:
                one = product(arb(pos) * arb(y), softplus(-x))
                zero = product(1 - arb(y), softplus(x))
                cost = product(arb(w), total([one, zero]))
                exact.append(cost)
                if math.isfinite(x) and math.isfinite(nearest(cost)):
                    # max(x, 0) − x·y cancels when the target is soft.
                    mass = w * (pos * y + 1 - y)
                    parts = (w * pos * y, w * (1 - y), mass * abs(x) if 0 < y < 1 else 0.0)
            for values, part in zip((positive, negative, soft), parts, strict=True):
                values.append(part)
        mass_ = np.array(positive) + np.array(negative)
        tail = (exp_of(_magnitudes(self.x)) + LOG1P + rounding(1)) * (_tails(self.x) * mass_)
        size = _sizes(exact)
        bound = tail + rounding(4 * size + 3 * np.array(soft)) + Bound(h=2.0 + mass_)
        return exact, each(bound, size)

    def gradient(self, shares: Sequence[Quantity], shape: tuple[int, ...]) -> Output:
        exact: list[Quantity] = []
        ours: list[float] = []
        others: list[float] = []
        cancelling: list[float] = []
        for x, y, w, pos, s in zip(self.x, self.y, self.w, self.pos, shares, strict=True):
            parts = (0.0, 0.0, 0.0)
            if math.isnan(y) or math.isnan(x):
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
        size = _magnitudes(self.x)
        s_ = np.array([nearest(logistic(x)) for x in self.x])
        s_ = np.where(np.isnan(s_), 0.0, s_)
        x_ = np.array(self.x, dtype=np.float64)
        bound = (
            (_sigmoid_relative(size, 1 - s_) + _through_logarithm(x_)) * np.array(ours)
            + (_sigmoid_relative(size, s_) + _through_logarithm(-x_)) * np.array(others)
            + (rounding(3) + DIVISION) * _sizes(exact)
            + (_sigmoid_relative(size, 1 - s_) + rounding(3)) * np.array(cancelling)
        )
        h = 3 + np.array([abs(nearest(arb(w) * s)) for w, s in zip(self.w, shares, strict=True)])
        return Output(shape, exact, bound + Bound(h=h))


def element_shares(
    count: int, reduction: str, cotangent: Floats | None, divisor: float | None = None
) -> list[Quantity]:
    """What one element's cost counts in the result: its cotangent, 1 or 1/n."""
    if reduction == "none" and cotangent is not None:
        return [arb(v) for v in cotangent.ravel().tolist()]
    n = divisor if divisor is not None else count
    return [1 / arb(n) if reduction == "mean" and n else arb(1)] * count


def each(bound: Bound, sizes: Floats) -> Bound:
    """The bound with an entry per element."""
    parts = (
        np.broadcast_to(np.asarray(part, np.float64), sizes.shape) for part in (bound.u, bound.a, bound.h)
    )
    return Bound(*parts)


def reduce_elements(costs: list[Quantity], bound: Bound, reduction: str, shape: tuple[int, ...]) -> Output:
    if reduction == "none":
        return Output(shape, costs, bound)
    if reduction == "mean" and not costs:
        return Output((), [NAN], Bound())
    count = float(len(costs)) if reduction == "mean" else None
    return reduced(total(costs), bound, _sizes(costs), count)


def _minus(a: float, b: float) -> Quantity:
    if math.isfinite(a) and math.isfinite(b):
        return arb(a) - arb(b)
    return a - b


def _square(d: Quantity) -> Quantity:
    return d * d


def _sizes(exact: list[Quantity]) -> Floats:
    """Magnitudes; 0 for what is not finite (it is compared for equality, not with a bound)."""
    rounded = np.abs(np.array([nearest(x) for x in exact], dtype=np.float64))
    return np.where(np.isfinite(rounded), rounded, 0.0)


def _magnitudes(x: Sequence[float] | Floats) -> Floats:
    """|x|; 0 for what is not finite."""
    size = np.abs(np.array(x, dtype=np.float64))
    return np.where(np.isfinite(size), size, 0.0)


def _tails(x: Sequence[float] | Floats) -> Floats:
    """ln(1 + e^−|x|)."""
    finite = [v if math.isfinite(v) else 0.0 for v in map(float, x)]
    return np.array([nearest(softplus(-abs(v))) for v in finite])
