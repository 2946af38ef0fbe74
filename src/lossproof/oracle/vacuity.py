"""Whether a case's tolerances decide anything: nonsense has to fail (spec/tolerances.md, T-10, T-13)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lossproof.case.expected import Expected, Sketch, Tolerance
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.engine.compare import compare
from lossproof.engine.distribution import unlike_roundings
from lossproof.oracle.bounds import Floats

# What no implementation may get away with, as multiples of the expectation.
NONSENSE = {"zero": 0.0, "the negative": -1.0, "half": 0.5, "twice": 2.0}


def passing_nonsense(exact: Floats, expected: Expected, tolerance: Tolerance, dtype: str) -> Iterator[str]:
    """Which multiples of a tensor pass in a dtype where that tensor is due.

    What rounds to the expectation itself, or passes as flushed subnormals only (G-8), is none.
    """
    target = FLOAT_TYPES[dtype].numpy
    finite = np.isfinite(exact)
    listed = (
        None if isinstance(expected, Sketch) else (expected, tolerance.bounds(expected, FLOAT_TYPES[dtype]))
    )
    with np.errstate(over="ignore", invalid="ignore"):
        right = exact.astype(target)
        for name, factor in NONSENSE.items():
            wrong = np.where(finite, exact * factor, exact).astype(target)
            if np.array_equal(wrong, right, equal_nan=True):
                continue
            if listed is not None:
                due, allowed = listed
                error = np.abs(wrong.astype(np.float64) - due)
                if (np.isfinite(error) & (error > allowed)).any():
                    continue  # it fails, or passes as flushed
            found = compare(wrong, expected, tolerance, dtype)
            if found.ok and not found.flushed:
                yield name


def undecided_by_distribution(exact: Floats, tolerance: Tolerance, dtype: str) -> str | None:
    """Why the errors of an output in a dtype decide nothing when they are judged together, if they do not.

    What the exact elements are rounded to has to pass, and what they are cut off to has to fail. In float64,
    as which they are stored, neither is known.
    """
    if dtype == "float64":
        return None
    with np.errstate(over="ignore"):
        rounded = exact.astype(FLOAT_TYPES[dtype].numpy)
        beyond = np.abs(rounded.astype(np.float64)) > np.abs(exact)
        cut = np.where(beyond, np.nextafter(rounded, np.zeros_like(rounded)), rounded)
    for array, wrong in ((rounded, True), (cut, False)):
        found = list(unlike_roundings(array.astype(np.float64), exact, tolerance, FLOAT_TYPES[dtype]))
        if bool(found) is wrong:
            what = f"what is right {found[0]}" if wrong else "what is cut off toward 0 would not be seen"
            return f"{what} in {dtype}"
    return None
