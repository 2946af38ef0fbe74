"""Arrays as rows along an axis, and outputs back in the array's order."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lossproof.oracle.bounds import Bound, Floats
from lossproof.oracle.result import Output

Back = Callable[[Output], Output]


def rows_of(x: Floats, axis: int) -> tuple[Floats, Back]:
    """``x`` as rows along ``axis``, and the way back for an output of the same elements."""
    moved = np.moveaxis(x, axis, -1)
    count, classes = math.prod(moved.shape[:-1]), moved.shape[-1]
    positions = np.moveaxis(np.arange(x.size).reshape(x.shape), axis, -1).ravel()

    def expand(part: Floats | float) -> Floats:
        array = np.asarray(part, dtype=np.float64)
        if array.size == count * classes:
            return array.reshape(count, classes)
        return np.broadcast_to(array, (count, classes))

    def back(output: Output) -> Output:
        order = np.empty_like(positions)
        order[positions] = np.arange(positions.size)
        bound = output.bound
        parts = [expand(part).ravel()[order] for part in (bound.u, bound.a, bound.h)]
        return Output(
            x.shape,
            output.exact.take(order),
            Bound(*parts),
            None if output.absent is None else output.absent[order],
        )

    return moved.reshape(count, classes), back


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape of what is left when the axis is summed over."""
    rest = list(shape)
    del rest[axis]
    return tuple(rest)


def row_sums(values: Floats) -> Floats:
    """Sums over rows as a column, correctly rounded so that tolerances do not depend on SIMD width."""
    return np.array([math.fsum(row) for row in values.tolist()]).reshape(-1, 1)
