"""Cross entropy of rows of logits: what the losses with dense, integer and resized labels share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossproof.oracle.balls import NAN, Quantity, arb, weighed
from lossproof.oracle.bounds import DIVISION, Bound, Floats, accumulating, rounding, summing
from lossproof.oracle.columns import Balls, column, combinations, sums_of_rows, totals
from lossproof.oracle.definitions.softmax import Rows
from lossproof.oracle.reduction import reduced
from lossproof.oracle.result import Output
from lossproof.oracle.rows import row_sums


@dataclass
class CrossEntropy:
    """Cross entropy of rows of logits against rows of non-negative targets.

    Row r costs Σ_c target[r][c]·(−log p_c); rows whose ``counts`` is False are left out, rows that
    are ``invalid`` (a label outside the classes) cost NaN. The mean divides by the sum of
    ``divisors``. ``scale`` multiplies the finished loss (PSPNet's auxiliary weight).
    """

    rows: Rows
    target: Balls
    counts: npt.NDArray[np.bool_]
    invalid: npt.NDArray[np.bool_]
    divisors: Floats
    reduction: str
    extra: float = 0.0  # roundings spent on preparing the target (smoothing, weights)
    scale: float = 1.0

    def __post_init__(self) -> None:
        self.number = len(self.counts)
        self.q = self.target.rounded.reshape(self.rows.p.shape)
        self.known = self.counts & ~self.invalid & ~self.rows.nan
        self.costs = Balls(self._costs())
        self.sizes = self.costs.rounded
        self.count = math.fsum(self.divisors[self.counts].tolist())

    def _costs(self) -> list[Quantity]:
        # A target of 0 costs nothing, whatever the logit.
        there = np.array([not _is_zero(t) for t in self.target.values], dtype=bool)[self.target.at]
        there &= np.repeat(self.known, self.rows.classes)
        row = np.repeat(np.arange(self.number), self.rows.classes)[there]
        log_p, target = self.rows.log_p.take(there), self.target.take(there)
        first, at = combinations(log_p, target)
        terms = (weighed(t, -q) for t, q in zip(target.take(first), log_p.take(first), strict=True))
        sums = totals(self.number, row[first], terms, np.bincount(at, minlength=len(first)))
        return [
            sum_ if known else NAN if counts else 0.0
            for sum_, known, counts in zip(sums, self.known.tolist(), self.counts.tolist(), strict=True)
        ]

    def _row_bounds(self) -> Bound:
        """Of each row's cost: T-6."""
        each = self.rows.log_softmax_absolute()
        sizes = np.where(np.isfinite(self.sizes), self.sizes, 0.0)
        u, a, h = (row_sums(self.q * part)[:, 0] for part in (each.u, each.a, each.h + 1))
        terms = Bound(u, a, h + 1)
        # The costs of classes share ln S, whose digits beyond those of the logits they round alike.
        shared = np.maximum(np.count_nonzero(self.q, axis=1) - 1.0, 0.0)
        summing = accumulating(np.maximum(np.ravel(self.rows.summing.a), shared))
        return terms + (rounding(3 + self.extra) + summing) * sizes

    @property
    def empty(self) -> bool:
        """Whether nothing counts, so that a mean is 0/0."""
        return self.count == 0

    def value(self, shape: tuple[int, ...]) -> Output:
        """The loss; ``shape`` is that of the labels, used for reduction none."""
        rows = self._row_bounds()
        if self.reduction == "none":
            return Output(shape, self.costs, rows, absent=~self.counts)
        if self.reduction == "mean" and self.empty:
            return Output((), [NAN], Bound(0.0))
        kept = rows.take(self.counts)
        return reduced(
            self.costs.sum(),
            kept,
            self.sizes[self.counts],
            self.count if self.reduction == "mean" else None,
            self.scale,
        )

    def gradient(self, cotangent: Floats | None, shape: tuple[int, ...]) -> Output:
        """s·(p·Σtarget − target) with the row's share s of the reduction, in C order."""
        classes = self.rows.classes
        divide = self.reduction == "mean"
        given = column(np.broadcast_to(1.0 if cotangent is None else cotangent.ravel(), (self.number,)))
        shares = Balls(
            [arb(v) * arb(self.scale) / arb(self.count) if divide else arb(v) for v in given.values], given.at
        )
        masses = [s * mass for s, mass in zip(shares, sums_of_rows(self.target, self.number), strict=True)]
        rows = np.repeat(np.arange(self.number), classes)
        known = self.known[rows]
        p, target = self.rows.exact.take(known), self.target.take(known)
        first, at = combinations(p, target)
        rows = rows[known][first]
        slopes: list[Quantity] = []
        parts = (p.take(first), target.take(first), shares.take(rows), rows.tolist())
        for q, t, s, r in zip(*parts, strict=True):
            slope = q * masses[r]
            slopes.append(slope if _is_zero(t) else slope - s * t)
        exact = Balls([0.0, NAN, *slopes], np.where(self.counts, 1, 0).repeat(classes))
        exact.at[known] = at + 2
        sizes = exact.sizes.reshape(self.rows.p.shape)
        s_ = np.abs(shares.rounded).reshape(-1, 1)
        mass_ = row_sums(self.q)
        size_p = np.where(np.isfinite(self.rows.p), self.rows.p, 0.0)
        relative = self.rows.through_logarithm() + rounding(2)
        divided = DIVISION + summing(self.number) if divide else Bound()
        bound = (
            relative * (s_ * size_p * mass_)
            + rounding((2 + self.extra) * s_ * self.q)
            + (rounding(2) + divided) * sizes
            # A share that is subnormal errs by η itself.
            + Bound(h=1 + s_ * mass_ + np.abs(size_p * mass_ - self.q))
        )
        absent = np.repeat(~self.counts, classes)
        return Output(shape, exact, bound, absent=absent)


def _is_zero(target: Quantity) -> bool:
    return isinstance(target, float) and target == 0.0
