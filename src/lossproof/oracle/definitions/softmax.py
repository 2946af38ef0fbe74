"""Softmax and its logarithm (spec/softmax.md)."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, finite, is_nan, product
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
from lossproof.oracle.columns import (
    Balls,
    Column,
    column,
    combinations,
    elementwise,
    sums_of_rows,
    totals,
)
from lossproof.oracle.definition import Arguments, Inputs, Outputs, define
from lossproof.oracle.definitions.sigmoid import logits_read
from lossproof.oracle.result import Output
from lossproof.oracle.rows import Back, row_sums, rows_of


@define("softmax", logits_read("SM-2", "SM-4", "SM-3"), symmetric=True, shift_invariant=True, normalised=True)
def _softmax(arrays: Inputs, arguments: Arguments) -> Outputs:
    rows, v, back = _given(arrays, arguments)
    outputs = {"value": back(softmax(rows))}
    if arguments.wants("gradients.logits"):
        outputs["gradients.logits"] = back(softmax_gradient(rows, v))
    return outputs


@define("log_softmax", logits_read("LSM-2", "LSM-4", "LSM-3"), symmetric=True, shift_invariant=True)
def _log_softmax(arrays: Inputs, arguments: Arguments) -> Outputs:
    rows, v, back = _given(arrays, arguments)
    outputs = {"value": back(log_softmax(rows))}
    if arguments.wants("gradients.logits"):
        outputs["gradients.logits"] = back(log_softmax_gradient(rows, v))
    return outputs


def _given(arrays: Inputs, arguments: Arguments) -> tuple[Rows, Floats, Back]:
    """Rows of logits, rows of the cotangent, and the way back to the array's order."""
    x = arrays["logits"]
    flat, back = rows_of(x, arguments["axis"])
    v, _ = rows_of(np.ones_like(x) if arguments.cotangent is None else arguments.cotangent, arguments["axis"])
    return Rows(flat, arguments.coarsest), v, back


class Rows:
    """The softmax of every row of x (R × C), limits included (clauses SM-1 … SM-6).

    Attributes:
        nan: which rows are NaN: one with a NaN, or with infinities that have no limit.
        exact: the probabilities, in C order.
        p, d: per element, the rounded probability, and max x − x; 0 for what is not finite.
        w, ln_s: per row, as columns, Σ p·d and ln Σ e^−d.
    """

    def __init__(self, x: Floats, coarsest: FloatType) -> None:
        self.coarsest = coarsest
        count, self.classes = x.shape
        top = x.max(axis=1, initial=-math.inf, keepdims=True)
        lost = np.isnan(top[:, 0]) | (np.isposinf(x).sum(axis=1) > 1)
        self.nan = lost | (np.isneginf(top[:, 0]) if self.classes else np.zeros(count, bool))
        shifted, spread = _shifted(x, top, self.nan)
        # The distinct elements of each row, by their row and their number in ``shifted``.
        distinct = max(len(shifted.values), 1)
        number = np.repeat(np.arange(count), self.classes) * distinct + shifted.at
        number, at = np.unique(number, return_inverse=True)
        self._row, which = np.divmod(number, distinct)
        powers = [d.exp() if not isinstance(d, float) else 0.0 for d in shifted.values]
        picked = which.tolist()
        sums = totals(count, self._row, (powers[i] for i in picked), np.bincount(at))
        nan = self.nan.tolist()
        self._log_sums = [
            0.0 if lost or not self.classes else sum_.log() for lost, sum_ in zip(nan, sums, strict=True)
        ]
        self.exact = Balls(
            [NAN if nan[r] else powers[i] / sums[r] for r, i in zip(self._row.tolist(), picked, strict=True)],
            at,
        )
        self._distances = [shifted.values[i] for i in picked]
        self.p = self.exact.rounded.reshape(x.shape)
        # A class of probability 0 by its −inf logit adds no error.
        self.d = np.where(np.isfinite(spread), -spread, 0.0)
        self.w = row_sums(np.nan_to_num(self.p) * self.d)
        self.ln_s = Balls(self._log_sums).rounded.reshape(-1, 1)
        # e^0 is exactly 1, and so is its sum with others.
        self.summing = summing_rows(self.d)
        # Exponentials that underflow lose half a subnormal each beside S ≥ 1.
        self.underflow = Bound(h=self.classes / 2)

    @cached_property
    def log_p(self) -> Balls:
        """The logarithms of the probabilities, in C order."""
        nan, log_sums = self.nan.tolist(), self._log_sums
        return Balls(
            [
                NAN if nan[r] else d - log_sums[r] if finite(d) else d
                for r, d in zip(self._row.tolist(), self._distances, strict=True)
            ],
            self.exact.at,
        )

    def _common(self) -> Bound:
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
        relative = own + self._common() + rounding(2) + DIVISION
        return relative.compounded(self.coarsest)

    def log_softmax_absolute(self) -> Bound:
        """The absolute error of log p: T-5."""
        if self.classes == 1:
            return Bound()  # ln 1
        size = self.d + self.ln_s
        return rounding(self.d + 1 + size) + self._common() + LOG * self.ln_s

    def through_logarithm(self) -> Bound:
        """The relative error of p where it may be the exponential of a rounded log p: T-6."""
        if self.classes == 1:
            return Bound()
        relative = self.log_softmax_absolute() + exp_of(self.d + self.ln_s)
        return relative.compounded(self.coarsest)


def _shifted(x: Floats, top: Floats, nan: npt.NDArray[np.bool_]) -> tuple[Column[Quantity], Floats]:
    """x − max x, in C order, and rounded; where the maximum is +inf, 0 there and −inf elsewhere."""
    limit = np.isposinf(top)
    x = np.where(nan[:, None], 0.0, np.where(limit, np.where(x == top, 0.0, -math.inf), x))
    top = np.where(nan[:, None] | limit, 0.0, top)
    rounded = x - top
    there = np.isfinite(x)
    lost = (x - (rounded - (rounded - x))) - (top + (rounded - x))
    if (lost[there] == 0).all():
        differences = column(rounded)
        return Balls([_ball(d) for d in differences.values], differences.at), rounded
    pairs = column(x), column(np.broadcast_to(top, x.shape))
    return elementwise(lambda a, b: arb(a) - arb(b) if math.isfinite(a) else a, *pairs), rounded


def _ball(d: float) -> Quantity:
    return arb(d) if math.isfinite(d) else d


def softmax(rows: Rows) -> Output:
    return Output(rows.p.shape, rows.exact, rows.softmax_relative() * rows.p + SUBNORMAL)


def log_softmax(rows: Rows) -> Output:
    return Output(rows.p.shape, rows.log_p, rows.log_softmax_absolute() + SUBNORMAL)


def softmax_gradient(rows: Rows, cotangent: Floats) -> Output:
    """p·(v − Σ p·v) for the cotangent v (R × C); exactly 0 where v is constant over the row."""
    count = len(rows.nan)
    constant = (cotangent == cotangent[:, :1]).all(axis=1)
    varies = np.repeat(~rows.nan & ~constant, rows.classes)
    p, v = rows.exact.take(varies), column(cotangent.ravel()[varies])
    first, at = combinations(p, v)
    row = np.repeat(np.arange(count), rows.classes)[varies][first]
    pairs = list(zip(p.take(first), v.take(first), strict=True))
    dots = totals(count, row, (product(q, vc) for q, vc in pairs), np.bincount(at, minlength=len(pairs)))
    slopes = [q * (arb(vc) - dots[r]) for r, (q, vc) in zip(row.tolist(), pairs, strict=True)]
    exact = Balls([NAN, 0.0, *slopes], np.repeat(np.where(rows.nan, 0, 1), rows.classes))
    exact.at[varies] = at + 2
    inner = np.where(constant, cotangent[:, 0], Balls(dots).rounded) if rows.classes else np.zeros(count)
    inner = np.where(rows.nan, 0.0, inner).reshape(-1, 1)
    size_g = exact.sizes.reshape(rows.p.shape)
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
    count = len(rows.nan)
    given = column(cotangent)
    v = Balls([arb(vc) for vc in given.values], given.at)
    sums = Column(sums_of_rows(v, count), np.repeat(np.arange(count), rows.classes))
    exact = elementwise(lambda vc, q, sum_v: NAN if is_nan(q) else vc - q * sum_v, v, rows.exact, sums)
    size_g = exact.sizes.reshape(rows.p.shape)
    sums_, sizes = np.abs(row_sums(cotangent)), row_sums(np.abs(cotangent))
    product_error = (rows.through_logarithm() + rounding(2)) * (rows.p * sums_)
    bound = product_error + rows.summing * (rows.p * sizes) + rounding(size_g) + Bound(h=2.0)
    return Output(rows.p.shape, exact, bound)
