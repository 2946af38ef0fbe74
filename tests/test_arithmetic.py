"""The arithmetics of the correct implementations do what they say: no more error, and as much as they say."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from . import arithmetic

RANDOM = np.random.default_rng(16)


def nearest(exact: Fraction, dtype: type[np.floating]) -> float:
    """An exact number rounded once to float32 or float64."""
    if dtype is np.float64 or not exact:
        return exact.numerator / exact.denominator
    exponent = math.floor(math.log2(abs(exact)))
    exponent += (abs(exact) >= Fraction(2) ** (exponent + 1)) - (abs(exact) < Fraction(2) ** exponent)
    unit = Fraction(2) ** (exponent - 23)
    return float(round(exact / unit) * unit)  # round() of a fraction goes to even


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fused_product_and_sum_is_rounded_once(dtype: type[np.floating]) -> None:
    x, y = (RANDOM.standard_normal(4000).astype(dtype) for _ in range(2))
    # Sums that cancel, that are far apart, and that lie half way between two numbers.
    z = np.concatenate([-(x[:2000] * y[:2000]), RANDOM.standard_normal(2000).astype(dtype) * dtype(2.0**-20)])
    z[::7] = np.ldexp(dtype(1), RANDOM.integers(-70, 30, z[::7].size)).astype(dtype)
    found = arithmetic.fused(x, y, z)
    due = [
        nearest(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)), dtype)
        for a, b, c in zip(x, y, z, strict=True)
    ]
    assert found.dtype == dtype
    assert found.tolist() == due


def test_double_rounding_is_avoided() -> None:
    # 1 + 2⁻²⁴ + 2⁻⁶⁰ is above the middle of two float32, and 1 + 2⁻²⁴ of float64 is the middle itself.
    x, y, z = (np.array([v], np.float32) for v in (2.0**-30, 2.0**-30, 1 + 2.0**-23))
    assert arithmetic.fused(x, y, z).tolist() == [1 + 2.0**-23]
    half = np.array([2.0**-24], np.float32)
    one = np.array([1.0], np.float32)
    assert arithmetic.fused(half, one + np.float32(2.0**-23), one).tolist() == [1 + 2.0**-23]


@pytest.mark.parametrize(
    "kind", [arithmetic.AtTheLimits, arithmetic.AtTheLowerLimits, arithmetic.AtRandomLimits]
)
@pytest.mark.parametrize("operation", ["exp", "log", "log1p", "sqrt", "divide"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_errors_reach_the_limits_and_not_more(
    kind: type[arithmetic.Arithmetic], operation: str, dtype: type[np.floating]
) -> None:
    x = RANDOM.uniform(0.01, 4, 5000).astype(dtype)
    others = (RANDOM.uniform(0.01, 4, 5000).astype(dtype),) if operation == "divide" else ()
    found = getattr(kind(), operation)(x, *others).astype(np.float64)
    exact = getattr(np, operation)(*(a.astype(np.float64) for a in (x, *others)))
    _, exponent = np.frexp(exact)
    error = np.abs(found - exact) / np.ldexp(1.0, exponent - np.finfo(dtype).nmant - 1)
    limit = arithmetic.LIMITS[operation][dtype is np.float16]
    assert error.max() <= limit * (1 + 1e-6)
    assert np.median(error) > limit / 3


def test_orders_add_the_same_terms() -> None:
    terms = RANDOM.integers(-1000, 1000, (1023, 3)).astype(np.float64)
    for order in (arithmetic.in_order, arithmetic.in_reverse, arithmetic.permuted, arithmetic.by_magnitude,
                  arithmetic.tree):  # fmt: skip
        assert order(terms).tolist() == terms.sum(axis=0).tolist()


def test_subnormals_are_flushed() -> None:
    x = np.array([1e-30, 2.0**-126, -1e-39], np.float32)
    assert arithmetic.Flushing().multiply(x, np.float32(1)).tolist() == [np.float32(1e-30), 2.0**-126, 0.0]
    assert arithmetic.Flushing().multiply(x, np.float32(2.0**-60)).tolist() == [0.0, 0.0, 0.0]
