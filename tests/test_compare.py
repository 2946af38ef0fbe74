"""Comparisons: what passes, what does not, and what is said about it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from lossproof.case.expected import Sketch, Tolerance, sampled
from lossproof.case.random import signs
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.engine.compare import compare

NAN, INF = float("nan"), float("inf")
U = FLOAT_TYPES["float32"].unit_roundoff


def bound(
    u: object, a: object = 0.0, eta: float = Tolerance.ETA, sample: Tolerance | None = None
) -> Tolerance:
    return Tolerance(np.array(u, np.float64), np.array(a, np.float64), eta, sample)


# About 1.2e-6 in float32.
TIGHT = bound(20)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_within_and_beyond_the_tolerance() -> None:
    expected = np.array([1.0, 2.0, 0.0])
    assert compare(f32(1.0000005, 2, 0), expected, TIGHT, "float32").ok
    result = compare(f32(1, 2.0001, 0), expected, TIGHT, "float32")
    assert not result.ok
    assert result.error == pytest.approx(1e-4, rel=1e-2)
    assert result.allowed == pytest.approx(20 * U, rel=1e-2)
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


def test_each_element_has_its_own_bound() -> None:
    expected = np.array([1.0, 1.0])
    own = bound([1, 100])
    assert compare(f32(1, 1 + 50 * U), expected, own, "float32").ok
    assert not compare(f32(1 + 50 * U, 1), expected, own, "float32").ok


def test_an_element_without_a_bound_has_to_be_exact() -> None:
    expected = np.array([0.0, 1.0])
    assert compare(f32(1e-10, 1), expected, bound([1, 1]), "float32").ok
    result = compare(f32(1e-10, 1), expected, bound([0, 1]), "float32")
    assert not result.ok and "must be exactly 0" in result.message
    assert compare(f32(0, 1), expected, bound([0, 1]), "float32").ok
    assert not compare(f32(1e-45, 1), expected, bound([0, 1]), "float32").ok


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_the_bound_is_the_sum_of_three_terms_and_the_rounding_of_the_expectation(dtype: str) -> None:
    kind = FLOAT_TYPES[dtype]
    (allowed,) = bound(3, 5, 7).bounds(np.array([4.0]), kind)
    exact = 3 * kind.unit_roundoff + 5 * kind.accumulation_roundoff + 7 * kind.smallest_subnormal + 2.0**-51
    assert allowed == exact


def test_flushed_subnormals_are_told_apart() -> None:
    expected = np.array([1e-40, 1.0])
    result = compare(f32(0, 1), expected, bound([1e-40, 20]), "float32")
    assert result.ok and result.flushed
    assert not compare(f32(0, 1), np.array([1e-37, 1.0]), bound([1e-40, 20]), "float32").ok


def test_shape_dtype_and_type() -> None:
    expected = np.array([1.0])
    assert "shape ()" in compare(np.asarray(np.float32(1)), expected, TIGHT, "float32").message
    assert "dtype float64" in compare(np.array([1.0]), expected, TIGHT, "float32").message


def test_integers() -> None:
    expected = np.array([[1, 2]])
    assert compare(np.array([[1, 2]], np.uint8), expected, None, "float32").ok
    wrong = compare(np.array([[1, 3]]), expected, None, "int64")
    assert not wrong.ok and "first at [0, 1]: 3 where 2 is due" in wrong.message
    assert "integer dtype is due" in compare(np.array([[1.0, 2.0]]), expected, None, "int64").message


def sketch_of(tensor: np.ndarray, blocks: int = 8) -> Sketch:
    empty = Sketch(tensor.shape, 1, np.zeros((2, blocks)), np.zeros(16))
    return Sketch(tensor.shape, 1, empty.of(tensor), empty.sample_of(tensor).astype(np.float64))


# Sums to 1e-9, sampled elements to 1e-9.
LARGE = bound(1e-9 / 2**-53, sample=bound(1e-9 / 2**-53))


def test_sums_of_large_tensors() -> None:
    tensor = np.random.default_rng(1).normal(size=(40, 50))
    sketch = sketch_of(tensor)
    assert compare(tensor, sketch, LARGE, "float64").ok
    tensor[20, 3] += 1e-6
    result = compare(tensor, sketch, LARGE, "float64")
    assert not result.ok and "block" in result.message
    tensor[1, 0] = NAN
    assert "1 of 2000 elements are not finite" in compare(tensor, sketch, LARGE, "float64").message


def test_sampled_elements_have_bounds_of_their_own() -> None:
    tensor = np.random.default_rng(1).normal(size=(40, 50))
    sketch = sketch_of(tensor)
    loose = bound(1e3 / 2**-53, sample=bound(1e-9 / 2**-53))
    for place in sampled(1, tensor.size, 16).tolist():
        wrong = tensor.copy()
        wrong.flat[place] += 1e-6
        assert "sampled elements" in compare(wrong, sketch, loose, "float64").message
    assert sampled(1, tensor.size, 16)[:2].tolist() == [0, tensor.size - 1]


def test_a_sum_of_float64_does_not_err_itself() -> None:
    tensor = np.concatenate([[2.0**60], np.ones(2**12), [-(2.0**60)]])
    sketch = Sketch(tensor.shape, 1, np.zeros((1, 1)), np.zeros(2))
    exact = sum(int(x) * int(s) for x, s in zip(tensor.tolist(), signs(1, tensor.size).tolist(), strict=True))
    assert sketch.of(tensor)[0, 0] == float(exact)


def test_sums_that_are_not_finite() -> None:
    tensor = np.ones((64,))
    tensor[3], tensor[40] = NAN, INF
    sketch = sketch_of(tensor)
    assert compare(tensor, sketch, LARGE, "float64").ok
    moved = np.ones((64,))
    moved[20], moved[40] = NAN, INF
    wide = bound(1.0, sample=bound(2.0**1000))
    sketch = Sketch(sketch.shape, 1, sketch.sums, sketch.sample[:2])
    assert "wrongly so in 2 of the blocks" in compare(moved, sketch, wide, "float64").message


def test_elements_of_a_sketch_may_be_flushed() -> None:
    tiny = FLOAT_TYPES["float16"].smallest_normal / 4
    tensor = np.full(4096, tiny)
    sketch, sharp = sketch_of(tensor), bound(1e-6, sample=bound(1e-6))
    assert not compare(tensor.astype(np.float16), sketch, sharp, "float16").flushed
    assert compare(np.zeros(4096, np.float16), sketch, sharp, "float16").flushed
    assert not compare(np.zeros(4096, np.float16), sketch_of(tensor * 1000), sharp, "float16").ok


def test_what_the_tolerance_leaves_subnormal_may_be_flushed() -> None:
    smallest = FLOAT_TYPES["float32"].smallest_normal
    due = np.array([1.5 * smallest])
    zero = np.zeros(1, np.float32)
    assert compare(zero, due, bound(0.75 * smallest / U), "float32").flushed
    assert not compare(zero, due, bound(0.25 * smallest / U), "float32").ok


def test_float_types() -> None:
    assert FLOAT_TYPES["float16"].overflow_threshold == 65520
    assert FLOAT_TYPES["bfloat16"].unit_roundoff == 2**-8
    assert FLOAT_TYPES["float32"].smallest_subnormal == 2.0**-149
    for name, kind in FLOAT_TYPES.items():
        following = np.nextafter(kind.numpy.type(1), kind.numpy.type(2))
        assert kind.ulp(1.0) == float(following) - 1, name
    assert float(ml_dtypes.bfloat16(3.4e38)) == INF
