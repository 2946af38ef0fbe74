"""Whether the errors of an output, taken together, are those of independent roundings (T-13).

Each of them may be within its bound and all of them lie to one side: results that are cut off instead of
rounded, an exponential that is biased, a sum that loses a little each time. Knows arrays and bounds alone, so
that standalone scripts can carry its source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Floats, Tolerance
from lossproof.core.dtypes import FloatType

# A sum of independent errors exceeds so many roots of the sum of their squares with probability 2·e^(−18),
# as a sum against a pattern of signs does (T-8).
ONE_SIDED = 6.0
# The mean square of errors that are no likelier to be large than small, as a share of the bound's square, and
# by how much that of n rows exceeds it with probability e^(−18), times the root of n.
MEAN_SQUARE, BEYOND = 1 / 3, 3.0
# What an error is counted as: by its own sign, and by whether it leads away from 0.
_SIDES = (("too large", "too small"), ("too far from 0", "too close to 0"))


def unlike_roundings(
    actual: npt.NDArray[np.float64], expected: Floats, tolerance: Tolerance, dtype: FloatType
) -> Iterator[str]:
    """What no independent roundings give, in words.

    Rows along the first axis err independently of each other, the elements of a row may share an error.

    Args:
        actual: an output that is right element by element.
        expected: what is due.
        tolerance: how far off each element may be.
        dtype: the dtype whose roundings they are.
    """
    bounds = tolerance.bounds(expected, dtype)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(bounds > 0, (actual - expected) / bounds, 0.0)
    # The same once more is no further error.
    count = len(expected)
    _, rows = np.unique(expected.reshape(count, -1), axis=0, return_index=True)
    due, shares, bounds = (array.reshape(count, -1)[rows] for array in (expected, shares, bounds))
    for signs, sides in zip((np.ones_like(due), np.sign(due)), _SIDES, strict=True):
        errors = (shares * signs).sum(axis=1)
        total, limit = float(errors.sum()), ONE_SIDED * math.sqrt(float((errors**2).sum()))
        if abs(total) > limit:
            yield (
                f"is {sides[total < 0]} as a whole: the mean error of {len(rows)} rows is "
                f"{total / len(rows):.3g} of what one is allowed, {limit / len(rows):.3g} would be chance"
            )
            break
    judged = shares[bounds > 0]
    limit = MEAN_SQUARE + BEYOND / math.sqrt(len(rows))
    square = float((judged**2).mean()) if judged.size else 0.0
    if square > limit:
        yield (
            f"errs too much as a whole: the mean square of the errors of {len(rows)} rows is {square:.3g} of "
            f"what one is allowed, {limit:.3g} would be chance"
        )
