"""Reductions: what a mean divides by, and how the bounds of terms add up (spec/tolerances.md, T-7)."""

from __future__ import annotations

import math

import numpy as np

from lossproof.oracle.balls import NAN, Quantity, arb, nearest, weighed
from lossproof.oracle.bounds import DIVISION, SUBNORMAL, Bound, Floats, rounding, summing, summing_row
from lossproof.oracle.columns import Balls, column
from lossproof.oracle.result import Output


def element_shares(count: int, reduction: str, cotangent: Floats | None) -> Balls:
    """What one element's cost counts in the result, times the cotangent of the result."""
    if reduction == "none" and cotangent is not None:
        given = column(cotangent)
        return Balls([arb(v) for v in given.values], given.at)
    v = arb(1) if cotangent is None else arb(cotangent.item())
    return Balls([v / arb(count) if reduction == "mean" and count else v], np.zeros(count, dtype=np.int64))


def reduce_elements(costs: Balls, bound: Bound, reduction: str, shape: tuple[int, ...]) -> Output:
    """Output of the costs of elements of an array of that shape, each with its bound."""
    if reduction == "none":
        return Output(shape, costs, bound)
    if reduction == "mean" and not len(costs):
        return Output((), [NAN], Bound())
    count = float(len(costs)) if reduction == "mean" else None
    return reduced(costs.sum(), bound, costs.sizes, count)


def reduced(
    sum_: Quantity, each: Bound, magnitudes: Floats, count: float | None, scale: float = 1.0
) -> Output:
    """Output of a sum (``count`` None) or mean of terms with the given bounds: T-7."""
    magnitude = math.fsum(np.abs(magnitudes[np.isfinite(magnitudes)]))
    terms = Bound(_finite_sum(each.u), _finite_sum(each.a), _finite_sum(each.h))
    terms += summing_row(magnitudes) * magnitude
    divisor = count if count is not None else 1.0
    exact = weighed(arb(scale), sum_ / arb(divisor) if not isinstance(sum_, float) else sum_)
    size = abs(nearest(exact))
    size = size if math.isfinite(size) else 0.0
    finished = rounding(1)
    if count is not None:
        # The divisor is a sum of weights as well.
        finished += DIVISION + rounding(1) + summing(len(magnitudes))
    if scale != 1.0:
        finished += rounding(2)
    return Output((), [exact], terms * (abs(scale) / divisor) + finished * size + SUBNORMAL)


def _finite_sum(part: Floats | float) -> float:
    return math.fsum(np.ravel(part).tolist())
