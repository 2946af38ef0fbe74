"""Compare an actual output with the expected one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Expected, Sketch, Tolerance, block_slices
from lossproof.core.dtypes import FLOAT_TYPES, FloatType

Floats = npt.NDArray[np.float64]

# What a sum against a pattern of signs allows: so many times the root of the squares (T-8).
SIGNED_SUM = 6.0
# So many elements of a repeated output are compared at a time: what is needed on the way is float64.
AT_ONCE = 2**20

Index = Callable[[int], tuple[int, ...]]
"""Of an element by its place in a flattened tensor."""


@dataclass(frozen=True)
class Comparison:
    """Outcome for one output, with its worst element.

    ``error`` and ``allowed`` are absolute; ``error_ulp`` is in ULPs of the dtype at the expected
    value. All three are None where no finite error exists (wrong shape, NaN for a number, exact
    integers, sums of large tensors for the ULPs). ``worst`` says where it is, and what stands there.
    """

    ok: bool
    message: str = ""
    error: float | None = None
    allowed: float | None = None
    error_ulp: float | None = None
    flushed: bool = False
    worst: str = ""
    wrong: int = 0
    """How many elements are wrong, where that is known."""


def compare(
    actual: npt.NDArray[Any], expected: Expected, tolerance: Tolerance | None, dtype: str, times: int = 1
) -> Comparison:
    """Compare one output of the given dtype.

    Shape, dtype and the places of NaN, infinities and (where demanded) zeros have to agree;
    finite elements may differ by the tolerance. ``flushed`` says that the output is right only
    if subnormal results may be zero.

    With ``times`` above 1 what is expected, and tolerated, lies so many times one behind the other along the
    first axis. All elements are compared even so, in little memory beside that of ``actual``.
    """
    shape = expected.shape if times == 1 else (times * expected.shape[0], *expected.shape[1:])
    if actual.shape != shape:
        return Comparison(False, f"shape {actual.shape} where {shape} is due")
    if times > 1:
        assert not isinstance(expected, Sketch)  # the loader refuses one that is repeated
        return _compare_repeated(actual.reshape(times, *expected.shape), expected, tolerance, dtype)
    if dtype not in FLOAT_TYPES or tolerance is None:
        return _compare_integers(actual, expected)
    if actual.dtype != FLOAT_TYPES[dtype].numpy:
        return _of_another_dtype(actual, expected, tolerance, dtype)
    if isinstance(expected, Sketch):
        return _compare_sketch(actual, expected, tolerance, FLOAT_TYPES[dtype])
    found = _compare_floats(actual.astype(np.float64), expected, tolerance, FLOAT_TYPES[dtype])
    return _counted(found, actual.size)


def _counted(found: Comparison, size: int) -> Comparison:
    """With the number of elements that are wrong in the message."""
    return (
        replace(found, message=f"{found.wrong} of {size} elements {found.message}") if found.wrong else found
    )


def _compare_repeated(
    copies: npt.NDArray[Any], pattern: npt.NDArray[Any], tolerance: Tolerance | None, dtype: str
) -> Comparison:
    """Compare each copy with the pattern; one that has the bits of the first is as right as that is."""
    integers = dtype not in FLOAT_TYPES or tolerance is None
    if integers and not np.issubdtype(copies.dtype, np.integer):
        return Comparison(False, f"dtype {copies.dtype} where an integer dtype is due")
    if not integers and copies.dtype != FLOAT_TYPES[dtype].numpy:
        return Comparison(False, f"dtype {copies.dtype} where {dtype} is due")
    bits = np.dtype(f"u{copies.dtype.itemsize}")
    first = copies[0].view(bits)
    alike, found = 0, Comparison(True)
    for start in range(0, len(copies), step := max(1, AT_ONCE // pattern.size)):
        block = copies[start : start + step]
        others = (block.view(bits) != first).reshape(len(block), -1).any(axis=1)
        alike += len(block) - int(np.count_nonzero(others))
        others[0] |= start == 0
        if others.any():
            numbers = start + np.flatnonzero(others)
            one = _compare_copies(block[others], numbers, pattern, tolerance, dtype)
            if start == 0:
                of_first = _compare_copies(copies[:1], numbers[:1], pattern, tolerance, dtype)
            found = _worse(found, one)
    wrong = found.wrong + (alike - 1) * of_first.wrong
    return _counted(replace(found, wrong=wrong), copies.size)


def _compare_copies(
    copies: npt.NDArray[Any],
    numbers: npt.NDArray[np.int64],
    pattern: npt.NDArray[Any],
    tolerance: Tolerance | None,
    dtype: str,
) -> Comparison:
    """Compare some of the copies, which are those of these numbers."""

    def index(place: int) -> tuple[int, ...]:
        copy, within = divmod(place, pattern.size)
        row, *rest = (int(i) for i in np.unravel_index(within, pattern.shape))
        return int(numbers[copy]) * len(pattern) + row, *rest

    due = np.broadcast_to(pattern, copies.shape)
    if tolerance is None or dtype not in FLOAT_TYPES:
        return _compare_equal(copies, due, index)
    return _compare_floats(copies.astype(np.float64), due, tolerance, FLOAT_TYPES[dtype], index)


def _worse(one: Comparison, two: Comparison) -> Comparison:
    """The worse of two comparisons of parts, for both."""

    def badness(part: Comparison) -> tuple[bool, float]:
        if part.error is None or part.allowed is None:
            return not part.ok, math.inf if part.wrong else -1.0
        return not part.ok, part.error / max(part.allowed, 5e-324)

    worse = max(one, two, key=badness)
    flushed = worse.ok and (one.flushed or two.flushed)
    return replace(worse, flushed=flushed, wrong=one.wrong + two.wrong)


def _of_another_dtype(
    actual: npt.NDArray[Any], expected: Expected, tolerance: Tolerance, dtype: str
) -> Comparison:
    """A result of a wrong dtype fails; the message says whether the values are right all the same."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = compare(actual.astype(FLOAT_TYPES[dtype].numpy), expected, tolerance, dtype)
    values = "its values are right" if cast.ok else f"and {cast.message}"
    return replace(cast, ok=False, message=f"dtype {actual.dtype} where {dtype} is due, {values}")


def _compare_integers(actual: npt.NDArray[Any], expected: Expected) -> Comparison:
    if not np.issubdtype(actual.dtype, np.integer):
        whole = np.asarray(actual, dtype=np.float64)
        same = not isinstance(expected, Sketch) and np.array_equal(whole, expected)
        values = "its values are right" if same else "and its values are not those that are due"
        return Comparison(False, f"dtype {actual.dtype} where an integer dtype is due, {values}")
    if isinstance(expected, Sketch):
        sums = expected.of(actual)
        if np.array_equal(sums, expected.sums):
            return Comparison(True)
        return Comparison(False, f"{int((sums != expected.sums).sum())} block sums differ")
    return _counted(_compare_equal(actual, expected), actual.size)


def _compare_equal(
    actual: npt.NDArray[Any], expected: npt.NDArray[Any], index: Index | None = None
) -> Comparison:
    wrong = actual != expected
    if not wrong.any():
        return Comparison(True)
    first = int(wrong.argmax())
    there = f"{_place(_index(first, expected.shape, index))}: {actual.flat[first]}"
    return Comparison(
        False,
        f"differ, first at {there} where {expected.flat[first]} is due",
        wrong=int(wrong.sum()),
    )


def _compare_sketch(
    actual: npt.NDArray[Any], expected: Sketch, tolerance: Tolerance, dtype: FloatType
) -> Comparison:
    """The sampled elements by their own bounds, then the sums over blocks."""
    assert tolerance.sample is not None
    sample = _compare_floats(
        expected.sample_of(actual).astype(np.float64), expected.sample, tolerance.sample, dtype
    )
    sums = _compare_sums(actual, expected, tolerance, dtype)
    if not sample.ok:
        said = _counted(sample, expected.sample.size).message
        return replace(sample, message=f"of {expected.sample.size} sampled elements {said}")
    return replace(sums, flushed=sums.flushed or sample.flushed)


def _compare_sums(
    actual: npt.NDArray[Any], expected: Sketch, tolerance: Tolerance, dtype: FloatType
) -> Comparison:
    sums = expected.of(actual)
    same = (sums == expected.sums) | (np.isnan(sums) & np.isnan(expected.sums))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(sums - expected.sums))
    allowed = tolerance.bounds(np.where(np.isfinite(expected.sums), expected.sums, 0.0), dtype)
    if not np.isfinite(error).all():
        count = int((~np.isfinite(actual.astype(np.float64))).sum())
        blocks = int((~np.isfinite(error)).any(axis=0).sum())
        return Comparison(
            False,
            f"{count} of {actual.size} elements are not finite, wrongly so in {blocks} of the blocks",
        )
    flushed = False
    if (error > allowed).any():
        # An element that is 0 may have been subnormal before it was flushed (G-8).
        zeros = [np.count_nonzero(actual.ravel()[b] == 0) for b in block_slices(actual.size, sums.shape[1])]
        allowed = allowed + SIGNED_SUM * dtype.smallest_normal * np.sqrt(zeros)
        flushed = True
    worst = np.unravel_index(int(np.argmax(error - allowed)), error.shape)
    ok = bool((error <= allowed).all())
    result = Comparison(ok, error=float(error[worst]), allowed=float(allowed[worst]), flushed=ok and flushed)
    if result.ok:
        return result
    pattern, block = (int(i) for i in worst)
    message = (
        f"the sum of block {block} against sign pattern {pattern} is off by {error[worst]:.3g}, "
        f"{allowed[worst]:.3g} is allowed"
    )
    return Comparison(False, message, result.error, result.allowed)


def _compare_floats(
    actual: Floats, expected: Floats, tolerance: Tolerance, dtype: FloatType, index: Index | None = None
) -> Comparison:
    """The message of what is wrong lacks how many elements are; ``index`` says where one is."""
    if not actual.size:
        return Comparison(True)
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = tolerance.bounds(expected, dtype)
        error = np.abs(actual - expected)
        # Most outputs are finite and close everywhere; only the others need a closer look.
        share = error / np.maximum(allowed, 5e-324)
        worst = int(share.argmax())
        if share.flat[worst] < 1:
            return _at(worst, actual, expected, error, allowed, dtype, index)
        # Infinities have no distance; they are compared for equality below.
        finite = np.isfinite(error)
        close = finite & (error <= allowed)
        # Near the end of the range an overflow to infinity is a correct rounding.
        overflow = np.isinf(actual) & (np.sign(actual) == np.sign(expected))
        close |= overflow & (np.abs(expected) + allowed >= dtype.overflow_threshold)
        close |= np.isnan(actual) & np.isnan(expected)
        close |= actual == expected
        flush = (
            ~close
            & (actual == 0)
            # A result within the tolerance could have been subnormal before it was flushed.
            & (np.abs(expected) - allowed < dtype.smallest_normal)
        )
    error, allowed = np.where(finite, error, np.inf), np.where(finite, allowed, 0.0)
    wrong = ~close & ~flush
    if not wrong.any():
        judged, flushed = finite & ~flush, bool(flush.any())
        if not judged.any():
            return Comparison(True, flushed=flushed)
        worst = _worst(error, allowed, judged)
        return replace(_at(worst, actual, expected, error, allowed, dtype, index), flushed=flushed)
    worst_wrong = _worst(error, allowed, wrong)
    found = _at(worst_wrong, actual, expected, error, allowed, dtype, index)
    message = f"are wrong, worst at {found.worst}"
    if found.error is not None:
        must = f"must be exactly {expected.flat[worst_wrong]:.9g}" if found.allowed == 0 else (
            f"off by {found.error:.3g} ({found.error_ulp:.3g} ULP), {found.allowed:.3g} is allowed"
        )  # fmt: skip
        message += f", {must}"
    return replace(found, ok=False, message=message, wrong=int(wrong.sum()))


def _worst(error: Floats, allowed: Floats, judged: npt.NDArray[np.bool_]) -> int:
    """Of the judged: not finite where a number is due first, then by share of the allowed error."""
    with np.errstate(over="ignore"):
        return int(np.where(judged, error / np.maximum(allowed, 5e-324), -1.0).argmax())


def _at(
    worst: int,
    actual: Floats,
    expected: Floats,
    error: Floats,
    allowed: Floats,
    dtype: FloatType,
    index: Index | None,
) -> Comparison:
    """The comparison at one element, by its place in the flattened tensor."""
    off, due = float(error.flat[worst]), float(expected.flat[worst])
    seen = ""
    if off:
        place = _place(_index(worst, expected.shape, index))
        seen = f"{place}: {_pair(float(actual.flat[worst]), due)} is due"
    if not math.isfinite(off):
        return Comparison(True, worst=seen)
    return Comparison(True, "", off, float(allowed.flat[worst]), off / dtype.ulp(due), worst=seen)


def _index(place: int, shape: tuple[int, ...], index: Index | None) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(place, shape))) if index is None else index(place)


def _place(index: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, index)) + "]" if index else "the scalar"


def _pair(actual: float, expected: float) -> str:
    """Both numbers with as many digits as tell them apart."""
    digits = 9 if f"{actual:.9g}" != f"{expected:.9g}" else 17
    return f"{actual:.{digits}g} where {expected:.{digits}g}"
