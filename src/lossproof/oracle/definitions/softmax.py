"""Softmax and its logarithm (spec/softmax.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, nearest, product, total
from lossproof.oracle.bounds import (
    DIVISION,
    EXP,
    LOG,
    SUBNORMAL,
    Bound,
    Floats,
    accumulating,
    exp_of,
    rounding,
    summing_rows,
)
from lossproof.oracle.definition import Arguments, Inputs, Outputs, define
from lossproof.oracle.definitions.sigmoid import logits_read
from lossproof.oracle.result import Output
from lossproof.oracle.rows import Back, row_sums, rows_of


@define("softmax", logits_read("SM-2", "SM-4", "SM-3"), symmetric=True, shift_invariant=True, normalised=True)
def _softmax(arrays: Inputs, arguments: Arguments) -> Outputs:
    rows, v, back = _given(arrays, arguments)
    return {"value": back(softmax(rows)), "gradients.logits": back(softmax_gradient(rows, v))}


@define("log_softmax", logits_read("LSM-2", "LSM-4", "LSM-3"), symmetric=True, shift_invariant=True)
def _log_softmax(arrays: Inputs, arguments: Arguments) -> Outputs:
    rows, v, back = _given(arrays, arguments)
    return {"value": back(log_softmax(rows)), "gradients.logits": back(log_softmax_gradient(rows, v))}


def _given(arrays: Inputs, arguments: Arguments) -> tuple[Rows, Floats, Back]:
    """Rows of logits, rows of the cotangent, and the way back to the array's order."""
    x = arrays["logits"]
    flat, back = rows_of(x, arguments["axis"])
    v, _ = rows_of(np.ones_like(x) if arguments.cotangent is None else arguments.cotangent, arguments["axis"])
    return softmax_rows(flat, arguments.coarsest), v, back


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
        # e^0 is exactly 1, and so is its sum with others.
        self.summing = summing_rows(self.d)
        # Exponentials that underflow lose half a subnormal each beside S ≥ 1.
        self.underflow = Bound(h=self.classes / 2)

    def _shifted(self) -> Bound:
        """What rounded differences and the sum's exponentials add to every relative error."""
        # e^0 is exactly 1.
        exponentials = EXP * row_sums(np.where(self.d > 0, np.nan_to_num(self.p), 0.0))
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


def softmax_rows(x: Floats, coarsest: FloatType) -> Rows:
    """The softmax of every row (R × C)."""
    return Rows([softmax_row(row) for row in x.tolist()], x.shape[1], coarsest)


def softmax(rows: Rows) -> Output:
    exact = [q for row in rows.rows for q in row.p]
    return Output(rows.p.shape, exact, rows.softmax_relative() * rows.p + SUBNORMAL)


def log_softmax(rows: Rows) -> Output:
    exact = [row.log_p(c) for row in rows.rows for c in range(rows.classes)]
    return Output(rows.p.shape, exact, rows.log_softmax_absolute() + SUBNORMAL)


def softmax_gradient(rows: Rows, cotangent: Floats) -> Output:
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
        row_sums(terms * (relative.u + 1)) + size_dot, row_sums(terms * relative.a)
    ) + rows.summing * row_sums(terms)
    parts = dot_error + rounding(2 * (size_v + size_dot))
    bound = (relative + rounding(2)) * size_g + parts * rows.p + Bound(h=2 + size_v)
    return Output(rows.p.shape, exact, bound)


def log_softmax_gradient(rows: Rows, cotangent: Floats) -> Output:
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
    sums, sizes = np.abs(row_sums(cotangent)), row_sums(np.abs(cotangent))
    product_error = (rows.through_logarithm() + rounding(2)) * (rows.p * sums)
    bound = product_error + rows.summing * (rows.p * sizes) + rounding(size_g) + Bound(h=2.0)
    return Output(rows.p.shape, exact, bound)
