"""Strides that are ignored, for each array argument alone and for the cotangent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.functions import FUNCTIONS

from .generated import Given, camel, generate
from .registry import mutant

# Bytes that memory is aligned to wherever NumPy gets some.
VECTOR = 16
TOPICS = ("layouts", "layout", "ordinary", "axis")


def read(x: Any, strides: tuple[int, ...], start: int = 0) -> Any:
    """What lies in memory at other strides (in bytes), ``start`` bytes from the first element.

    Beyond the memory that belongs to the array there are zeros, so that what is read is as defined as it
    is wrong.
    """
    memory, first = _memory(x)
    if not memory.size:
        return x
    offsets = np.full(x.shape, first + start, np.int64)
    for axis, (length, stride) in enumerate(zip(x.shape, strides, strict=True)):
        steps = np.arange(length) * stride
        offsets += steps.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    places = offsets[..., None] + np.arange(x.itemsize)
    inside = (places >= 0) & (places < memory.size)
    found = np.where(inside, memory[np.where(inside, places, 0)], np.uint8(0))
    return np.ascontiguousarray(found).view(x.dtype)[..., 0]


def _memory(x: Any) -> tuple[Any, int]:
    """The bytes of the memory that an array is a view of, and where in it the first element lies."""
    owner, base = x, x.base
    while base is not None:
        # Between a view that as_strided makes and its array is an object that is no array.
        owner, base = (base if isinstance(base, np.ndarray) else owner), getattr(base, "base", None)
    flat = owner.ravel(order="K") if owner.flags.forc else np.ascontiguousarray(owner).ravel()
    first = x.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return flat.view(np.uint8), first


def contiguous(x: Any) -> tuple[int, ...]:
    """The strides of an array in C order."""
    return tuple(x.itemsize * int(np.prod(x.shape[axis + 1 :])) for axis in range(x.ndim))


def all_strides(x: Any) -> Any:
    return read(x, contiguous(x))


def last_stride(x: Any) -> Any:
    return read(x, (*x.strides[:-1], x.itemsize)) if x.ndim else x


def row_strides(x: Any) -> Any:
    """Rows are taken to follow each other, elements keep their own stride."""
    return read(x, (*contiguous(x)[:-1], x.strides[-1])) if x.ndim else x


def fortran(x: Any) -> Any:
    return read(x, contiguous(x)) if x.flags.f_contiguous else x


def broadcast(x: Any) -> Any:
    pairs = zip(x.strides, contiguous(x), x.shape, strict=True)
    return read(x, tuple(c if not s and n > 1 else s for s, c, n in pairs))


def negative(x: Any) -> Any:
    """Forwards from the lowest address, as if no stride were negative."""
    if all(stride >= 0 for stride in x.strides):
        return x
    start = sum(s * (n - 1) for s, n in zip(x.strides, x.shape, strict=True) if s < 0)
    return read(x, tuple(map(abs, x.strides)), start)


def aligned(x: Any) -> Any:
    """From the next lower address that a vector load can start at; the last elements are the first then."""
    off = x.__array_interface__["data"][0] % VECTOR
    return np.roll(x.ravel(), off // x.itemsize).reshape(x.shape) if x.flags.c_contiguous else x


_BUGS: tuple[tuple[str, Callable[[Any], Any], str], ...] = (
    ("AllStrides", all_strides, "is read as if it were contiguous"),
    ("LastStride", last_stride, "is read without the stride of its last axis"),
    ("RowStrides", row_strides, "is read as if its rows followed each other"),
    ("Fortran", fortran, "is read in C order where it is in Fortran order"),
    ("Broadcast", broadcast, "is read as if it were contiguous along an axis of stride 0"),
    ("Negative", negative, "is read forwards along negative strides"),
    ("Aligned", aligned, "is read from an aligned address where it starts at another"),
)
# Where a mistake of these happened for real.
_UPSTREAM = {("softmax", "AllStrides"): "https://github.com/ROCm/rocm-libraries/pull/5240"}


def _misread(name: str, how: Callable[[Any], Any]) -> Callable[[Given, Given], None]:
    def change(arrays: Given, parameters: Given) -> None:
        x = arrays[name]
        if x.size and not (x.flags.c_contiguous and x.__array_interface__["data"][0] % VECTOR == 0):
            arrays[name] = how(x)

    return change


class _CotangentMisread:
    """The cotangent's strides are ignored."""

    def value_and_gradients(self, function: Any, arrays: Any, wrt: Any, *, cotangent: Any = None) -> Any:
        if cotangent is not None and cotangent.size and not cotangent.flags.c_contiguous:
            cotangent = all_strides(cotangent)
        return super().value_and_gradients(  # type: ignore[misc]
            function, arrays, wrt, cotangent=cotangent
        )


for _row in FUNCTIONS.values():
    for _array in _row.arrays:
        for _suffix, _how, _what in _BUGS:
            generate(
                _row.name, f"{camel(_array.name)}{_suffix}", f"{_array.name} {_what}.",
                kind="layouts", topics=TOPICS, change=_misread(_array.name, _how),
                upstream=_UPSTREAM.get((_row.name, _suffix)),
            )  # fmt: skip
    if _row.wrt and _row.result:
        _name = camel(_row.name) + "CotangentStrides"
        mutant(_row.name, kind="layouts", topics=(*TOPICS, "cotangents"))(
            type(_name, (_CotangentMisread, NumpyAdapter),
                 {"__doc__": _CotangentMisread.__doc__, "__module__": __name__})
        )  # fmt: skip
