"""Comparisons: what passes, what does not, and what is said about it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from lossproof.case.expected import Sketch, Tolerance
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.engine.compare import compare

NAN, INF = float("nan"), float("inf")
TIGHT = Tolerance(rel=1e-6, abs=1e-9)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_within_and_beyond_the_tolerance() -> None:
    expected = np.array([1.0, 2.0, 0.0])
    assert compare(f32(1.0000005, 2, 0), expected, TIGHT, "float32").ok
    result = compare(f32(1, 2.0001, 0), expected, TIGHT, "float32")
    assert not result.ok
    assert result.error == pytest.approx(1e-4, rel=1e-2)
    assert result.allowed == pytest.approx(2e-6, rel=1e-2)
    assert result.error_ulp == pytest.approx(1e-4 / 2**-22, rel=1e-2)
    assert "worst at [1]: 2.0000999" in result.message


@pytest.mark.parametrize(
    ("actual", "expected", "ok"),
    [
        ([NAN], [NAN], True), ([NAN], [1.0], False), ([1.0], [NAN], False),
        ([INF], [INF], True), ([-INF], [INF], False), ([INF], [1.0], False),
        ([INF], [1e39], True), ([-INF], [1e39], False), ([3e38], [1e39], False),
        ([-0.0], [0.0], True), ([100.0], [INF], False), ([INF], [3.4e38], False),
    ],
)  # fmt: skip
def test_special_values(actual: list[float], expected: list[float], ok: bool) -> None:
    assert compare(f32(*actual), np.array(expected), TIGHT, "float32").ok is ok


def test_zeros_have_to_be_exact_where_demanded() -> None:
    expected = np.array([0.0, 1.0])
    assert compare(f32(1e-10, 1), expected, Tolerance(0, 1e-9), "float32").ok
    result = compare(f32(1e-10, 1), expected, Tolerance(0, 1e-9, zeros=True), "float32")
    assert not result.ok and "must be exactly 0" in result.message


def test_flushed_subnormals_are_told_apart() -> None:
    expected = np.array([1e-40, 1.0])
    result = compare(f32(0, 1), expected, Tolerance(1e-6, 1e-45), "float32")
    assert result.ok and result.flushed
    assert not compare(f32(0, 1), np.array([1e-37, 1.0]), Tolerance(1e-6, 1e-45), "float32").ok


def test_shape_dtype_and_type() -> None:
    expected = np.array([1.0])
    assert "shape ()" in compare(np.float32(1), expected, TIGHT, "float32").message
    assert "dtype float64" in compare(np.array([1.0]), expected, TIGHT, "float32").message


def test_integers() -> None:
    expected = np.array([[1, 2]])
    assert compare(np.array([[1, 2]], np.uint8), expected, None, "float32").ok
    wrong = compare(np.array([[1, 3]]), expected, None, "int64")
    assert not wrong.ok and "first at [0, 1]: 3 where 2 is due" in wrong.message
    assert "integer dtype is due" in compare(np.array([[1.0, 2.0]]), expected, None, "int64").message


def test_sums_of_large_tensors() -> None:
    tensor = np.random.default_rng(1).normal(size=(40, 50))
    sketch = Sketch((40, 50), 1, np.zeros((2, 8)))
    sketch = Sketch((40, 50), 1, sketch.of(tensor))
    good = Tolerance(0.0, 1e-9)
    assert compare(tensor, sketch, good, "float64").ok
    tensor[20, 3] += 1e-6
    result = compare(tensor, sketch, good, "float64")
    assert not result.ok and "block" in result.message
    tensor[0, 0] = NAN
    assert "1 of 2000 elements are not finite" in compare(tensor, sketch, good, "float64").message


def test_sums_that_are_not_finite() -> None:
    tensor = np.ones((64,))
    tensor[3], tensor[40] = NAN, INF
    sketch = Sketch((64,), 1, Sketch((64,), 1, np.zeros((2, 8))).of(tensor))
    good = Tolerance(0.0, 1e-9)
    assert compare(tensor, sketch, good, "float64").ok
    moved = np.ones((64,))
    moved[20], moved[40] = NAN, INF
    assert "wrongly so in 2 of the blocks" in compare(moved, sketch, good, "float64").message


def test_what_the_tolerance_leaves_subnormal_may_be_flushed() -> None:
    smallest = FLOAT_TYPES["float32"].smallest_normal
    due = np.array([1.5 * smallest])
    zero = np.zeros(1, np.float32)
    assert compare(zero, due, Tolerance(0.5, 0.0), "float32").flushed
    assert not compare(zero, due, Tolerance(0.25, 0.0), "float32").ok


def test_float_types() -> None:
    assert FLOAT_TYPES["float16"].overflow_threshold == 65520
    assert FLOAT_TYPES["bfloat16"].unit_roundoff == 2**-8
    assert FLOAT_TYPES["float32"].smallest_subnormal == 2.0**-149
    for name, kind in FLOAT_TYPES.items():
        following = np.nextafter(kind.numpy.type(1), kind.numpy.type(2))
        assert kind.ulp(1.0) == float(following) - 1, name
    assert float(ml_dtypes.bfloat16(3.4e38)) == INF
