"""Exact values of what is swept, in float64: each within 2**-48, relative (docs/sweeps.md, S-4).

Everything is made of one exponential or logarithm of ``elementary`` and a few basic operations, in forms
that do not cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from lossproof.sweeps.elementary import Floats, exp_of_minus, log, log1p

# Relative error of every formula (S-4); absolute, and below 2**-1000, where e^−|x| is.
ERROR = 2.0**-48


class Point:
    """Values x, all of one sign, with what the formulas share."""

    def __init__(self, x: Floats) -> None:
        self.x = x
        self.right = not np.signbit(x[0])

    @cached_property
    def size(self) -> Floats:
        return self.x if self.right else -self.x

    @cached_property
    def power(self) -> Floats:
        """e^−|x|"""
        return exp_of_minus(self.size)

    @cached_property
    def larger(self) -> Floats:
        """1/(1 + e^−|x|)"""
        return 1.0 / (1.0 + self.power)

    @cached_property
    def smaller(self) -> Floats:
        """e^−|x|/(1 + e^−|x|)"""
        return self.power * self.larger

    @cached_property
    def tail(self) -> Floats:
        """ln(1 + e^−|x|)"""
        return log1p(self.power)

    @property
    def sigma(self) -> Floats:
        return self.larger if self.right else self.smaller

    @property
    def other(self) -> Floats:
        """σ(−x)"""
        return self.smaller if self.right else self.larger

    @cached_property
    def slope(self) -> Floats:
        return self.smaller * self.larger

    @cached_property
    def softplus(self) -> Floats:
        """ln(1 + e^x)"""
        return self.size + self.tail if self.right else self.tail

    @cached_property
    def softplus_of_opposite(self) -> Floats:
        """ln(1 + e^−x)"""
        return self.tail if self.right else self.size + self.tail

    @cached_property
    def cost_of_one(self) -> Floats:
        """−ln x for x in [0, 1], of at most 24 bits."""
        with np.errstate(invalid="ignore"):
            return np.where(self.x > 0, -log(np.maximum(self.x, 2.0**-1000)), np.inf)

    @cached_property
    def cost_of_zero(self) -> Floats:
        """−ln(1 − x) for x in [0, 1], of at most 24 bits; 1 − x is exact from 1/2 on."""
        if self.x.max() <= 0.5:
            return -log1p(-self.x)
        near = -log1p(-np.minimum(self.x, 0.5))
        left = 1.0 - self.x
        far = np.where(left > 0, -log(np.maximum(left, 2.0**-1000)), np.inf)
        return np.where(self.x > 0.5, far, near)


def _quotient(numerator: float, x: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return numerator / x


FORMULAS: Mapping[str, Callable[[Point], Floats]] = {
    "sigma": lambda p: p.sigma,
    "other": lambda p: p.other,
    "minus_other": lambda p: -p.other,
    "slope": lambda p: p.slope,
    "minus_slope": lambda p: -p.slope,
    "softplus": lambda p: p.softplus,
    "softplus_of_opposite": lambda p: p.softplus_of_opposite,
    "log_sigma": lambda p: -p.softplus_of_opposite,
    "log_other": lambda p: -p.softplus,
    "cost_of_one": lambda p: p.cost_of_one,
    "cost_of_zero": lambda p: p.cost_of_zero,
    "slope_of_one": lambda p: _quotient(-1.0, p.x),
    "slope_of_zero": lambda p: _quotient(1.0, 1.0 - p.x),
    "square": lambda p: p.x * p.x,
    "twice": lambda p: p.x + p.x,
}

# Those that are exact in float64 for inputs of at most 24 bits.
EXACT = frozenset({"square", "twice"})
