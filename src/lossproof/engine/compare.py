"""Compare an actual output with the expected one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Expected, Sketch, Tolerance, block_slices
from lossproof.core.dtypes import FLOAT_TYPES, FloatType

Floats = npt.NDArray[np.float64]

# What a sum against a pattern of signs allows: so many times the root of the squares (T-8).
SIGNED_SUM = 6.0


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


def compare(
    actual: npt.NDArray[Any], expected: Expected, tolerance: Tolerance | None, dtype: str
) -> Comparison:
    """Compare one output of the given dtype.

    Shape, dtype and the places of NaN, infinities and (where demanded) zeros have to agree;
    finite elements may differ by the tolerance. ``flushed`` says that the output is right only
    if subnormal results may be zero.
    """
    shape = expected.shape
    if actual.shape != shape:
        return Comparison(False, f"shape {actual.shape} where {shape} is due")
    if dtype not in FLOAT_TYPES or tolerance is None:
        return _compare_integers(actual, expected)
    if actual.dtype != FLOAT_TYPES[dtype].numpy:
        return _of_another_dtype(actual, expected, tolerance, dtype)
    if isinstance(expected, Sketch):
        return _compare_sketch(actual, expected, tolerance, FLOAT_TYPES[dtype])
    return _compare_floats(actual.astype(np.float64), expected, tolerance, FLOAT_TYPES[dtype])


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
    wrong = actual != expected
    if not wrong.any():
        return Comparison(True)
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    return Comparison(
        False,
        f"{int(wrong.sum())} of {wrong.size} elements differ, "
        f"first at {_place(where)}: {actual[where]} where {expected[where]} is due",
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
        return replace(sample, message=f"of {expected.sample.size} sampled elements {sample.message}")
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


def _compare_floats(actual: Floats, expected: Floats, tolerance: Tolerance, dtype: FloatType) -> Comparison:
    if not actual.size:
        return Comparison(True)
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = tolerance.bounds(expected, dtype)
        error = np.abs(actual - expected)
        # Most outputs are finite and close everywhere; only the others need a closer look.
        share = error / np.maximum(allowed, 5e-324)
        worst = int(share.argmax())
        if share.flat[worst] < 1:
            return _at(worst, actual, expected, error, allowed, dtype)
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
        return replace(_at(worst, actual, expected, error, allowed, dtype), flushed=flushed)
    worst_wrong = _worst(error, allowed, wrong)
    found = _at(worst_wrong, actual, expected, error, allowed, dtype)
    message = f"{int(wrong.sum())} of {wrong.size} elements are wrong, worst at {found.worst}"
    if found.error is not None:
        must = f"must be exactly {expected.flat[worst_wrong]:.9g}" if found.allowed == 0 else (
            f"off by {found.error:.3g} ({found.error_ulp:.3g} ULP), {found.allowed:.3g} is allowed"
        )  # fmt: skip
        message += f", {must}"
    return replace(found, ok=False, message=message)


def _worst(error: Floats, allowed: Floats, judged: npt.NDArray[np.bool_]) -> int:
    """Of the judged: not finite where a number is due first, then by share of the allowed error."""
    with np.errstate(over="ignore"):
        return int(np.where(judged, error / np.maximum(allowed, 5e-324), -1.0).argmax())


def _at(
    worst: int, actual: Floats, expected: Floats, error: Floats, allowed: Floats, dtype: FloatType
) -> Comparison:
    """The comparison at one element, by its place in the flattened tensor."""
    off, due = float(error.flat[worst]), float(expected.flat[worst])
    seen = ""
    if off:
        place = _place(tuple(map(int, np.unravel_index(worst, expected.shape))))
        seen = f"{place}: {_pair(float(actual.flat[worst]), due)} is due"
    if not math.isfinite(off):
        return Comparison(True, worst=seen)
    return Comparison(True, "", off, float(allowed.flat[worst]), off / dtype.ulp(due), worst=seen)


def _place(index: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, index)) + "]" if index else "the scalar"


def _pair(actual: float, expected: float) -> str:
    """Both numbers with as many digits as tell them apart."""
    digits = 9 if f"{actual:.9g}" != f"{expected:.9g}" else 17
    return f"{actual:.{digits}g} where {expected:.{digits}g}"
