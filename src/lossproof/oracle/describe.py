"""Large arrays that few numbers describe: one but for some places or the diagonal, or some repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Larger arrays are stored as sums and a sample unless a description stands for them.
LISTED_ELEMENTS = 128
# So many elements may differ from what is repeated, and so many are repeated.
EXCEPTIONS, PERIOD = 16, 16


def description(array: npt.NDArray[Any]) -> dict[str, Any] | None:
    """The fields of a description (spec/cases.md) that stands for exactly this array, if there is one.

    Args:
        array: of one element at least.
    """
    flat = array.ravel()
    shape = {"shape": list(array.shape)}
    for period in range(1, min(PERIOD, flat.size - 1) + 1):
        # Compared with itself shifted, which is the same where it is repeated.
        if _same(flat[period:], flat[:-period]).all():
            return {"full": flat[0], **shape} if period == 1 else {"cycle": flat[:period], **shape}
    common = _most_common(flat)
    other = ~_same(array, common)
    if np.count_nonzero(other) <= EXCEPTIONS:
        places = [[[int(i) for i in index], array[tuple(index)]] for index in np.argwhere(other)]
        return {"full": common, **shape, "set": places}
    if array.ndim >= 2 and min(array.shape[-2:]):
        along = np.arange(min(array.shape[-2:]))
        diagonal = array[..., along, along]
        rest = other.copy()
        rest[..., along, along] = False
        if not rest.any() and _same(diagonal, diagonal.flat[0]).all():
            return {"full": common, **shape, "diagonal": diagonal.flat[0]}
    return None


def _same(x: Any, y: Any) -> npt.NDArray[np.bool_]:
    return np.asarray((x == y) | ((x != x) & (y != y)))


def _most_common(flat: npt.NDArray[Any]) -> Any:
    """The element that most are equal to, if more than half are; else any."""
    return np.sort(flat)[flat.size // 2]
