"""Cross entropy of rows of logits: what the losses with dense, integer and resized labels share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossproof.oracle.balls import NAN, Quantity, arb, nearest, total, weighed
from lossproof.oracle.bounds import DIVISION, Bound, Floats, accumulating, rounding, summing
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
            weighed(t, -row.log_p(c))
            for c, t in enumerate(self.target[r])
            if not (isinstance(t, float) and t == 0.0)
        ]
        return total(terms)

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
            v = 1.0 if cotangent is None else float(cotangent.flat[r if self.reduction == "none" else 0])
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
        mass_ = row_sums(self.q)
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
