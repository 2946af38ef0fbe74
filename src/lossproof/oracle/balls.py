"""Ball arithmetic: enclosures that are a float (decided by definition) or an arb (computed)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from flint import arb

# python-flint ships no type hints; a quantity is an arb or a float that is exact or a limit.
Quantity = Any


class Undecided(ArithmeticError):
    """A ball spans two neighbouring float64 numbers: the precision has to be raised."""


def nearest(x: Quantity) -> float:
    """The float64 that every number in the ball rounds to.

    Raises:
        Undecided: there is no single one.
    """
    if isinstance(x, float):
        return x
    low = float(x.lower())
    if low != float(x.upper()):
        raise Undecided
    return low


def total(terms: Iterable[Quantity]) -> Quantity:
    """The sum; NaN, and infinities of both signs, give NaN."""
    finite, special = arb(0), 0.0
    for term in terms:
        if isinstance(term, float) and not math.isfinite(term):
            special += term
        else:
            finite += term
    return finite if special == 0.0 else special


def product(weight: Quantity, cost: Quantity) -> Quantity:
    """weight · cost with 0·∞ = 0 (the limit of clause G-3) and NaN kept."""
    if isinstance(cost, float) and not math.isfinite(cost):
        if math.isnan(cost):
            return cost
        zero = weight == 0 if isinstance(weight, float) else weight.is_zero()
        if zero:
            return 0.0
        return cost if weight > 0 else -cost
    return weight * cost
