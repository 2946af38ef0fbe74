"""How an array lies in memory: the layouts that cases name, and the layout that an array has.

Needs NumPy alone, so that standalone scripts can carry its source.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Layout(NamedTuple):
    """What a layout is, and the fewest axes that it takes."""

    axes: int
    what: str


LAYOUTS = {
    "transposed": Layout(2, "Fortran order: the first axis is the one that is contiguous"),
    "strided": Layout(1, "every other element of a last axis twice as long"),
    "sliced": Layout(2, "rows cut out of longer rows"),
    "unaligned": Layout(1, "begins one element after a multiple of 64 bytes"),
    "reversed": Layout(1, "a negative stride along the last axis"),
    "broadcast": Layout(1, "stride 0 along each axis along which all elements are equal"),
    "channels-first": Layout(3, "the last axis lies behind the first one in memory"),
    "channels-last": Layout(3, "the second axis is the one that is contiguous"),
}
ALIGNMENT = 64
# What lies between the elements, which must not be read.
_GAP = 77


def laid_out(array: Array, layout: str | None) -> Array:
    """The same array with the strides that a case or a message names, or as it is.

    Raises:
        ValueError: the array has no such layout.
    """
    if layout is None:
        return array
    if array.ndim < LAYOUTS[layout].axes:
        raise ValueError(f"{layout} takes {LAYOUTS[layout].axes} axes at least")
    match layout:
        case "transposed":
            return np.asfortranarray(array)
        case "strided":
            return _within(array, 2 * array.shape[-1], slice(None, None, 2))
        case "sliced":
            return _within(array, array.shape[-1] + 3, slice(1, -2))
        case "reversed":
            return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
        case "unaligned":
            return _unaligned(array)
        case "broadcast":
            return _broadcast(array)
        case "channels-first":
            return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 1)), 1, -1)
        case _:
            return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def _within(array: Array, length: int, part: slice) -> Array:
    """The array as a part of one whose last axis is longer."""
    wide = np.full((*array.shape[:-1], length), _GAP, dtype=array.dtype)
    wide[..., part] = array
    return wide[..., part]


def _unaligned(array: Array) -> Array:
    size = array.dtype.itemsize
    spare = np.empty(array.nbytes + size + ALIGNMENT, np.uint8)
    start = -spare.__array_interface__["data"][0] % ALIGNMENT + size
    moved: Array = spare[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def _broadcast(array: Array) -> Array:
    axes = equal_axes(array)
    if not axes:
        raise ValueError("broadcast takes an axis along which all elements are equal")
    part = tuple(slice(1) if axis in axes else slice(None) for axis in range(array.ndim))
    # A copy: behind a view of the whole array lies what a reader that takes it for contiguous is due.
    kept = array[part].copy()
    strides = [0 if axis in axes else kept.strides[axis] for axis in range(array.ndim)]
    # Unlike that of np.broadcast_to it may be written to, as frameworks demand of what they share.
    return np.lib.stride_tricks.as_strided(kept, array.shape, strides)


def equal_axes(array: Array) -> list[int]:
    """The axes, longer than 1, along which all elements are equal."""
    return [axis for axis in range(array.ndim) if array.shape[axis] > 1 and _same_along(array, axis)]


def _same_along(array: Array, axis: int) -> bool:
    first = np.take(array, [0], axis=axis)
    return bool(((array == first) | ((array != array) & (first != first))).all())


def layout_of(array: Array) -> str | None:
    """The layout that an array has, or that comes nearest; None where it is in C order and aligned."""
    if not array.size:
        return None
    strides = [stride for stride, length in zip(array.strides, array.shape) if length > 1]
    if any(stride == 0 for stride in strides):
        return "broadcast"
    if any(stride < 0 for stride in strides):
        return "reversed"
    if array.flags.c_contiguous:
        past = array.__array_interface__["data"][0] % ALIGNMENT
        return "unaligned" if past == array.dtype.itemsize else None
    if array.flags.f_contiguous:
        return "transposed"
    if array.ndim >= 3:
        if np.moveaxis(array, -1, 1).flags.c_contiguous:
            return "channels-first"
        if np.moveaxis(array, 1, -1).flags.c_contiguous:
            return "channels-last"
    return "strided" if array.strides[-1] != array.dtype.itemsize else "sliced"
