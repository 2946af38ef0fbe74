"""Functions that act on elements, and Euclidean distance (spec/l2.md, spec/sigmoid.md, …)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from flint import arb

from lossproof.oracle.balls import Quantity, nearest, product, total
from lossproof.oracle.result import Bound, Floats, Output
from lossproof.oracle.softmax import NAN, E, reduced


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


def sigmoid(x: Sequence[float], shape: tuple[int, ...]) -> Output:
    exact = [logistic(v) for v in x]
    y = np.array([nearest(q) for q in exact])
    return Output(shape, exact, Bound(y * (E * (1 - y) + 3), h=1.0))


def sigmoid_gradient(x: Sequence[float], cotangent: Floats, shape: tuple[int, ...]) -> Output:
    exact = [
        product(arb(v), logistic(z) * logistic(-z))
        for z, v in zip(x, cotangent.ravel().tolist(), strict=True)
    ]
    y = np.array([nearest(logistic(z)) for z in x])
    v = np.abs(cotangent.ravel())
    relative = E * (1 - y) + 3
    bound = Bound(v * (y * (1 - y) * (2 * E + 4) + y * y * relative), h=2 + v)
    return Output(shape, exact, bound)


def log_sigmoid(x: Sequence[float], shape: tuple[int, ...]) -> Output:
    exact = [-softplus(-z) for z in x]
    size = _sizes(exact)
    tail = np.minimum(size, math.log(2))
    return Output(shape, exact, Bound(2 * E * tail + 1 + 2 * size, h=1.0))


def log_sigmoid_gradient(x: Sequence[float], cotangent: Floats, shape: tuple[int, ...]) -> Output:
    exact = [product(arb(v), logistic(-z)) for z, v in zip(x, cotangent.ravel().tolist(), strict=True)]
    s = np.array([nearest(logistic(z)) for z in x])
    v = np.abs(cotangent.ravel())
    # Formed as 1 − σ(x), or as the exponential of a rounded logarithm of size |x|.
    size = np.where(np.isfinite(x), np.abs(x), 0.0)
    bound = Bound(v * ((1 - s) * (E + 4 + size) + s * (E * (1 - s) + 3)), h=2 + v)
    return Output(shape, exact, bound)


def l2_loss(
    p: Sequence[float], t: Sequence[float], half: bool, reduction: str, shape: tuple[int, ...]
) -> Output:
    factor = arb(0.5) if half else arb(1)
    exact = [product(factor, _square(_minus(a, b))) for a, b in zip(p, t, strict=True)]
    size = _sizes(exact)
    return reduce_elements(exact, (3 * size, np.zeros_like(size), np.full_like(size, 2.0)), reduction, shape)


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
    return Output(shape, exact, Bound(4 * size, h=2 + 2 * inner))


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
    root = math.sqrt(p.shape[1]) / 2
    value = Output(shape, values, Bound(4 * size, root * size, 1.0))
    return value, gradient, Bound(7 * slope, root * slope, 2.0)


def cross_entropy_rows(p: Floats, target: Floats) -> tuple[list[Quantity], tuple[Floats, ...]]:
    """Costs −Σ y·ln p of rows (R × C) and their bounds (u, a, h)."""
    costs: list[Quantity] = []
    sizes: list[float] = []
    for p_row, y_row in zip(p.tolist(), target.tolist(), strict=True):
        terms = [_log_cost(y, q) for q, y in zip(p_row, y_row, strict=True)]
        costs.append(total(terms))
        sizes.append(math.fsum(abs(nearest(term)) for term in terms))
    size = np.array(sizes)
    size = np.where(np.isfinite(size), size, 0.0)
    root = math.sqrt(p.shape[1])
    return costs, ((E + 3) * size, root * size, np.full_like(size, 2.0))


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
    return Output(shape, exact, Bound(4 * size, h=2.0 + size))


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

    def costs(self) -> tuple[list[Quantity], tuple[Floats, ...]]:
        exact: list[Quantity] = []
        u: list[float] = []
        for p, y, w in zip(self.p, self.y, self.w, strict=True):
            if math.isnan(y) or not 0 <= p <= 1:
                exact.append(NAN)
                u.append(0.0)
                continue
            one = product(arb(y), -arb(p).log() if p > 0 else math.inf)
            zero = product(1 - arb(y), -(1 - arb(p)).log() if p < 1 else math.inf)
            cost = product(arb(w), total([one, zero]))
            exact.append(cost)
            size = abs(nearest(cost))
            # The plain form ln(1 − p) rounds 1 − p.
            u.append((E + 5) * (size if math.isfinite(size) else 0.0) + w * (1 - y))
        bounds = np.array(u)
        return exact, (bounds, np.zeros_like(bounds), np.full_like(bounds, 2.0))

    def gradient(self, shares: Sequence[Quantity], shape: tuple[int, ...]) -> Output:
        exact: list[Quantity] = []
        u: list[float] = []
        for p, y, w, s in zip(self.p, self.y, self.w, shares, strict=True):
            if math.isnan(y) or not 0 <= p <= 1:
                exact.append(NAN)
                u.append(0.0)
                continue
            one = -arb(y) / arb(p) if p > 0 else (-math.inf if y != 0 else 0.0)
            zero = (1 - arb(y)) / (1 - arb(p)) if p < 1 else (math.inf if y != 1 else 0.0)
            slope = product(arb(w) * s, total([one, zero]))
            exact.append(slope)
            size = abs(nearest(slope))
            size = size if math.isfinite(size) else 0.0
            # With a soft target the two quotients cancel.
            parts = abs(nearest(one)) + abs(nearest(zero)) if 0 < y < 1 else 0.0
            parts = parts if math.isfinite(parts) else 0.0
            u.append(7 * size + 4 * parts * abs(w * nearest(s)))
        sizes = _sizes(exact)
        return Output(shape, exact, Bound(np.array(u), h=2 + sizes))


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

    def costs(self) -> tuple[list[Quantity], tuple[Floats, ...]]:
        exact: list[Quantity] = []
        u: list[float] = []
        for x, y, w, pos in zip(self.x, self.y, self.w, self.pos, strict=True):
            if math.isnan(y):
                exact.append(NAN)
                u.append(0.0)
                continue
            one = product(arb(pos) * arb(y), softplus(-x))
            zero = product(1 - arb(y), softplus(x))
            cost = product(arb(w), total([one, zero]))
            exact.append(cost)
            size = abs(nearest(cost))
            if not math.isfinite(size):
                u.append(0.0)
                continue
            mass = w * (pos * y + 1 - y)
            tail = math.log(2) if math.isinf(x) else nearest(softplus(-abs(x)))
            # max(x, 0) − x·y cancels when the target is soft.
            soft = 3 * mass * abs(x) if 0 < y < 1 else 0.0
            u.append(mass * (2 * E * tail + 1) + 4 * size + soft)
        bounds = np.array(u)
        return exact, (bounds, np.zeros_like(bounds), np.full_like(bounds, 2.0))

    def gradient(self, shares: Sequence[Quantity], shape: tuple[int, ...]) -> Output:
        exact: list[Quantity] = []
        u: list[float] = []
        for x, y, w, pos, s in zip(self.x, self.y, self.w, self.pos, shares, strict=True):
            if math.isnan(y) or math.isnan(x):
                exact.append(NAN)
                u.append(0.0)
                continue
            sigma, other = logistic(x), logistic(-x)
            # (1−y)·σ(x) − pos·y·σ(−x): no cancellation for hard targets.
            slope = (1 - arb(y)) * sigma - arb(pos) * arb(y) * other
            scale = arb(w) * s
            exact.append(scale * slope)
            size, rounded = abs(nearest(scale * slope)), nearest(sigma)
            factor = abs(nearest(scale))
            mass = 1 - y + pos * y
            # σ − y loses digits where σ is near y, so the bound is absolute unless y is 0.
            cancel = factor * (rounded * mass * (2 * E + 3) + 3 * pos * y) if y != 0 else 0.0
            # Each sigmoid may be the exponential of a rounded logarithm of size |x|.
            parts = (1 - y) * rounded + pos * y * nearest(other)
            logarithm = factor * parts * abs(x) if math.isfinite(x) else 0.0
            u.append(size * (2 * E + 6) + cancel + logarithm)
        h = 2 + np.array([abs(nearest(arb(w) * s)) for w, s in zip(self.w, shares, strict=True)])
        return Output(shape, exact, Bound(np.array(u), h=h + 1))


def element_shares(
    count: int, reduction: str, cotangent: Floats | None, divisor: float | None = None
) -> list[Quantity]:
    """What one element's cost counts in the result: its cotangent, 1 or 1/n."""
    if reduction == "none" and cotangent is not None:
        return [arb(v) for v in cotangent.ravel().tolist()]
    n = divisor if divisor is not None else count
    return [1 / arb(n) if reduction == "mean" and n else arb(1)] * count


def reduce_elements(
    costs: list[Quantity],
    bounds: tuple[Floats, ...],
    reduction: str,
    shape: tuple[int, ...],
) -> Output:
    u, a, h = bounds
    if reduction == "none":
        return Output(shape, costs, Bound(u, a, h))
    if reduction == "mean" and not costs:
        return Output((), [NAN], Bound(0.0))
    count = float(len(costs)) if reduction == "mean" else None
    return reduced(total(costs), (u, a, h), _sizes(costs), count)


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
