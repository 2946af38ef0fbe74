"""Ball arithmetic: enclosures that are a float (decided by definition) or an arb (computed)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lossproof.core.install import install
from lossproof.errors import LossproofError

arb: Any
ctx: Any
try:
    import flint
except ImportError:  # what is defined can be listed and read without it
    arb = ctx = None
else:
    arb, ctx = flint.arb, flint.ctx

# An arb, or a float that is exact or a limit.
Quantity = Any
NAN = float("nan")


def require_flint() -> None:
    """Say what to install where nothing can be computed.

    Raises:
        LossproofError: python-flint is not installed.
    """
    if arb is None:
        raise LossproofError(f"the oracle needs python-flint: {install('certify')}")


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
        raise Undecided("a number, or the sum of many, is too close to a rounding boundary to decide")
    return low


def is_nan(x: Quantity) -> bool:
    return isinstance(x, float) and math.isnan(x)


def finite(x: Quantity) -> bool:
    return not isinstance(x, float) or math.isfinite(x)


def total(terms: Iterable[Quantity]) -> Quantity:
    """The sum; NaN, and infinities of both signs, give NaN."""
    sum_, special = arb(0), 0.0
    for term in terms:
        if finite(term):
            sum_ += term
        else:
            special += term
    return sum_ if special == 0.0 else special


def product(weight: Quantity, cost: Quantity) -> Quantity:
    """weight · cost with 0·∞ = 0 (the limit of clause G-3) and NaN kept."""
    if not finite(cost):
        if math.isnan(cost):
            return cost
        zero = weight == 0 if isinstance(weight, float) else weight.is_zero()
        if zero:
            return 0.0
        return cost if weight > 0 else -cost
    return weight * cost


def weighed(weight: Quantity, cost: Quantity) -> Quantity:
    """A weight times a cost: 0 times an infinite cost is NaN (clause G-12)."""
    zero = weight == 0 if isinstance(weight, float) else weight.is_zero()
    if zero and isinstance(cost, float) and math.isinf(cost):
        return NAN
    return product(weight, cost)
