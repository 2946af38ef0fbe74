"""Softmax, log-softmax and the cross entropies of a softmax (spec/softmax.md, spec/cross-entropy.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from flint import arb

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import Quantity, nearest, product, total
from lossproof.oracle.bounds import DIVISION, EXP, LOG, Bound, Floats, accumulating, exp_of, rounding, summing
from lossproof.oracle.result import Output

NAN = float("nan")
# A result that is subnormal errs by η.
SUBNORMAL = Bound(h=1.0)


@dataclass
class Row:
    """Softmax of one row: probabilities ``p`` and, per class, what log p is made of.

    ``kind`` is "finite", "nan" (a NaN, or infinities without a limit) or "limit" (one +inf).
    ``spread`` holds x − max x as floats, ``weighted`` Σ p·|x − max x|, ``log_sum`` ln Σ e^(x − max x).
    """

    kind: str
    p: list[Quantity]
    shifted: list[Quantity]
    spread: list[float]
    log_sum: Quantity = 0.0
    weighted: float = 0.0
    rounded: list[float] = field(default_factory=list)

    def log_p(self, c: int) -> Quantity:
        if self.kind == "nan":
            return NAN
        if self.kind == "limit":
            return 0.0 if self.p[c] == 1.0 else -math.inf
        if self.spread[c] == -math.inf:
            return -math.inf
        return self.shifted[c] - self.log_sum


def softmax_row(x: Sequence[float]) -> Row:
    """Softmax of one row of logits, limits included (clauses SM-1 … SM-6)."""
    n = len(x)
    if n == 0:
        return Row("finite", [], [], [])
    top = max(x)
    if any(math.isnan(v) for v in x) or top == -math.inf or list(x).count(math.inf) > 1:
        return Row("nan", [NAN] * n, [NAN] * n, [NAN] * n, rounded=[NAN] * n)
    if top == math.inf:
        p: list[Quantity] = [1.0 if v == math.inf else 0.0 for v in x]
        return Row("limit", p, p, [0.0] * n, rounded=[float(v) for v in p])
    ball = arb(top)
    shifted: list[Quantity] = [arb(v) - ball if v != -math.inf else -math.inf for v in x]
    powers = [d.exp() if not isinstance(d, float) else 0.0 for d in shifted]
    sum_ = total(powers)
    p = [e / sum_ if not isinstance(e, float) else 0.0 for e in powers]
    spread = [v - top for v in x]
    rounded = [nearest(q) for q in p]
    weighted = math.fsum(q * -d for q, d in zip(rounded, spread, strict=True) if q > 0)
    return Row("finite", p, shifted, spread, sum_.log(), weighted, rounded)


@dataclass
class Rows:
    """All rows of a call, and per row (columns of length R) or element (R × C) what bounds need."""

    rows: list[Row]
    classes: int
    coarsest: FloatType

    def __post_init__(self) -> None:
        shape = (len(self.rows), self.classes)
        self.p = np.array([row.rounded for row in self.rows], dtype=np.float64).reshape(shape)
        spread = np.array([row.spread for row in self.rows], dtype=np.float64).reshape(shape)
        # A class of probability 0 by its −inf logit adds no error.
        self.d = np.where(np.isfinite(spread), -spread, 0.0)
        self.w = np.array([row.weighted for row in self.rows]).reshape(-1, 1)
        self.ln_s = np.array([nearest(row.log_sum) for row in self.rows], dtype=np.float64).reshape(-1, 1)
        self.summing = summing(self.classes)
        # Exponentials that underflow lose half a subnormal each beside S ≥ 1.
        self.underflow = Bound(h=self.classes / 2)

    def _shifted(self) -> Bound:
        """What rounded differences and the sum's exponentials add to every relative error."""
        # e^0 is exactly 1.
        exponentials = EXP * _row_sums(np.where(self.d > 0, np.nan_to_num(self.p), 0.0))
        return rounding(self.w) + exponentials + accumulating(2 * self.w) + self.summing + self.underflow

    def softmax_relative(self) -> Bound:
        """The relative error of p: T-4."""
        if self.classes == 1:
            return Bound()  # 1/1
        own = (rounding(self.d) + exp_of(self.d)) * np.where(self.d > 0, 1.0, 0.0)
        # The sum is rounded, and the quotient may be a product with a rounded reciprocal.
        relative = own + self._shifted() + rounding(2) + DIVISION
        return relative.compounded(self.coarsest)

    def log_softmax_absolute(self) -> Bound:
        """The absolute error of log p: T-5."""
        if self.classes == 1:
            return Bound()  # ln 1
        size = self.d + self.ln_s
        return rounding(self.d + 1 + size) + self._shifted() + LOG * self.ln_s

    def through_logarithm(self) -> Bound:
        """The relative error of p where it may be the exponential of a rounded log p: T-6."""
        if self.classes == 1:
            return Bound()
        relative = self.log_softmax_absolute() + exp_of(self.d + self.ln_s)
        return relative.compounded(self.coarsest)


def softmax(rows: Rows, shape: tuple[int, ...]) -> Output:
    exact = [q for row in rows.rows for q in row.p]
    return Output(shape, exact, rows.softmax_relative() * rows.p + SUBNORMAL)


def log_softmax(rows: Rows, shape: tuple[int, ...]) -> Output:
    exact = [row.log_p(c) for row in rows.rows for c in range(rows.classes)]
    return Output(shape, exact, rows.log_softmax_absolute() + SUBNORMAL)


def softmax_gradient(rows: Rows, cotangent: Floats, shape: tuple[int, ...]) -> Output:
    """p·(v − Σ p·v) for the cotangent v (R × C); exactly 0 where v is constant over the row."""
    exact: list[Quantity] = []
    inner = np.zeros((len(rows.rows), 1))
    for r, row in enumerate(rows.rows):
        v = cotangent[r].tolist()
        if row.kind == "nan":
            exact += [NAN] * rows.classes
            continue
        if len(set(v)) == 1:
            exact += [0.0] * rows.classes
            inner[r] = v[0]
            continue
        dot = total(product(q, vc) for q, vc in zip(row.p, v, strict=True))
        inner[r] = nearest(dot)
        exact += [q * (arb(vc) - dot) for q, vc in zip(row.p, v, strict=True)]
    size_g = np.abs(np.array([nearest(x) for x in exact]).reshape(rows.p.shape))
    size_v, size_dot = np.abs(cotangent), np.abs(inner)
    relative = rows.softmax_relative()
    terms = rows.p * size_v
    dot_error = Bound(
        _row_sums(terms * (relative.u + 1)) + size_dot, _row_sums(terms * relative.a)
    ) + rows.summing * _row_sums(terms)
    parts = dot_error + rounding(2 * (size_v + size_dot))
    bound = (relative + rounding(2)) * size_g + parts * rows.p + Bound(h=2 + size_v)
    return Output(shape, exact, bound)


def log_softmax_gradient(rows: Rows, cotangent: Floats, shape: tuple[int, ...]) -> Output:
    """v − p·Σv for the cotangent v (R × C)."""
    exact: list[Quantity] = []
    for r, row in enumerate(rows.rows):
        v = cotangent[r].tolist()
        sum_v = total(arb(vc) for vc in v)
        exact += (
            [NAN] * rows.classes
            if row.kind == "nan"
            else [arb(vc) - q * sum_v for q, vc in zip(row.p, v, strict=True)]
        )
    size_g = np.abs(np.array([nearest(x) for x in exact]).reshape(rows.p.shape))
    sums, sizes = np.abs(_row_sums(cotangent)), _row_sums(np.abs(cotangent))
    product_error = (rows.through_logarithm() + rounding(2)) * (rows.p * sums)
    bound = product_error + rows.summing * (rows.p * sizes) + rounding(size_g) + Bound(h=2.0)
    return Output(shape, exact, bound)


@dataclass
class CrossEntropy:
    """Cross entropy of rows of logits against rows of non-negative targets.

    Row r costs Σ_c target[r][c]·(−log p_c); rows whose ``counts`` is False are left out, rows that
    are ``invalid`` (a label outside the classes) cost NaN. The mean divides by the sum of
    ``divisors``. ``scale`` multiplies the finished loss (PSPNet's auxiliary weight).
    """

    rows: Rows
    target: list[list[Quantity]]
    counts: list[bool]
    invalid: list[bool]
    divisors: list[float]
    reduction: str
    extra: float = 0.0  # roundings spent on preparing the target (smoothing, weights)
    scale: float = 1.0

    def __post_init__(self) -> None:
        self.q = np.array([[nearest(t) for t in row] for row in self.target], dtype=np.float64).reshape(
            self.rows.p.shape
        )
        self.costs = [self._cost(r) for r in range(len(self.rows.rows))]
        self.sizes = np.array([nearest(cost) for cost in self.costs])
        self.kept = np.array(self.counts, dtype=bool)
        self.count = math.fsum(w for w, kept in zip(self.divisors, self.counts, strict=True) if kept)

    def _cost(self, r: int) -> Quantity:
        if not self.counts[r]:
            return 0.0
        row = self.rows.rows[r]
        if self.invalid[r] or row.kind == "nan":
            return NAN
        terms = [
            product(t, -row.log_p(c))
            for c, t in enumerate(self.target[r])
            if not (isinstance(t, float) and t == 0.0)
        ]
        return total(terms)

    def _row_bounds(self) -> Bound:
        """Of each row's cost: T-6."""
        each = self.rows.log_softmax_absolute()
        sizes = np.where(np.isfinite(self.sizes), self.sizes, 0.0)
        u, a, h = (_row_sums(self.q * part)[:, 0] for part in (each.u, each.a, each.h + 1))
        terms = Bound(u, a, h + 1)
        return terms + (rounding(3 + self.extra) + self.rows.summing) * sizes

    @property
    def empty(self) -> bool:
        """Whether nothing counts, so that a mean is 0/0."""
        return self.count == 0

    def value(self, shape: tuple[int, ...]) -> Output:
        """The loss; ``shape`` is that of the labels, used for reduction none."""
        rows = self._row_bounds()
        if self.reduction == "none":
            return Output(shape, self.costs, rows, absent=~self.kept)
        sum_ = total(cost for cost, kept in zip(self.costs, self.counts, strict=True) if kept)
        if self.reduction == "mean" and self.empty:
            return Output((), [NAN], Bound(0.0))
        kept = rows.take(self.kept)
        return reduced(
            sum_, kept, self.sizes[self.kept], self.count if self.reduction == "mean" else None, self.scale
        )

    def gradient(self, cotangent: Floats | None, shape: tuple[int, ...]) -> Output:
        """s·(p·Σtarget − target) with the row's share s of the reduction, in C order."""
        classes = self.rows.classes
        exact: list[Quantity] = []
        share = np.ones(len(self.rows.rows))
        divide = self.reduction == "mean"
        for r, row in enumerate(self.rows.rows):
            v = 1.0 if cotangent is None or self.reduction != "none" else float(cotangent.flat[r])
            s = arb(v) * arb(self.scale) / arb(self.count) if divide else arb(v)
            share[r] = abs(nearest(s))
            if not self.counts[r]:
                exact += [0.0] * classes
            elif self.invalid[r] or row.kind == "nan":
                exact += [NAN] * classes
            else:
                target = self.target[r]
                mass = s * total(target)
                exact += [
                    q * mass - s * t if not (isinstance(t, float) and t == 0.0) else q * mass
                    for q, t in zip(row.p, target, strict=True)
                ]
        sizes = np.abs(np.array([nearest(x) for x in exact]).reshape(self.rows.p.shape))
        sizes = np.where(np.isfinite(sizes), sizes, 0.0)
        s_ = share.reshape(-1, 1)
        mass_ = _row_sums(self.q)
        p = np.where(np.isfinite(self.rows.p), self.rows.p, 0.0)
        relative = self.rows.through_logarithm() + rounding(2)
        divided = DIVISION + summing(len(self.rows.rows)) if divide else Bound()
        bound = (
            relative * (s_ * p * mass_)
            + rounding((2 + self.extra) * s_ * self.q)
            + (rounding(2) + divided) * sizes
            # A share that is subnormal errs by η itself.
            + Bound(h=1 + s_ * mass_ + np.abs(p * mass_ - self.q))
        )
        absent = np.repeat(~self.kept, classes)
        return Output(shape, exact, bound, absent=absent)


def reduced(sum_: Quantity, each: Bound, sizes: Floats, count: float | None, scale: float = 1.0) -> Output:
    """Output of a sum (``count`` None) or mean of terms with the given bounds: T-7."""
    magnitude = math.fsum(np.abs(sizes[np.isfinite(sizes)]))
    terms = Bound(_finite_sum(each.u), _finite_sum(each.a), _finite_sum(each.h))
    terms += summing(len(sizes)) * magnitude
    divisor = count if count is not None else 1.0
    exact = product(arb(scale), sum_ / arb(divisor) if not isinstance(sum_, float) else sum_)
    size = abs(nearest(exact))
    size = size if math.isfinite(size) else 0.0
    finished = rounding(1)
    if count is not None:
        # The divisor is a sum of weights as well.
        finished += DIVISION + rounding(1) + summing(len(sizes))
    if scale != 1.0:
        finished += rounding(2)
    return Output((), [exact], terms * (abs(scale) / divisor) + finished * size + SUBNORMAL)


def _finite_sum(part: Floats | float) -> float:
    return math.fsum(np.ravel(part).tolist())


def _row_sums(values: Floats) -> npt.NDArray[np.float64]:
    """Sums over rows as a column, correctly rounded so that tolerances do not depend on SIMD width."""
    return np.array([math.fsum(row) for row in values.tolist()]).reshape(-1, 1)
