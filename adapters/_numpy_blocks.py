"""How the NumPy adapter runs its formulas: in blocks, in memory that is there already, in place.

Large arrays are worked on in blocks, whose temporaries stay in a core's cache: what is read and
written in memory is little more than inputs and results. Half precision is widened to float32 block
by block, since NumPy's own half-precision reductions stagnate, and every result is rounded once to
the dtype of the prediction.

The formulas know nothing of this. They are pure functions of elements (n,), or of rows (R, C): R rows
of C classes, with columns (R, 1) of what there is one of in a row. What they take from here, sums and
look-ups along rows, are pure functions as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

# Elements of a block.
BLOCK = 2**17
# Elements from which the ways of large arrays are worth their own cost.
LARGE = 2**14
# Bytes.
CACHE_LINE = 64
# Elements that are added one after another at most.
PIECE = 2**8

_FLOAT32 = np.dtype(np.float32)

Array = npt.NDArray[Any]  # of any floating-point dtype, bfloat16 included, or of integers
Formula = Callable[..., Array]


def working_dtype(x: Array) -> np.dtype[Any]:
    """The dtype in which formulas work on an array: its own, but float32 at least."""
    return x.dtype if x.dtype.itemsize >= 4 else _FLOAT32


def wide(x: Array) -> Array:
    """``x`` in the dtype in which formulas work on it."""
    return x.astype(working_dtype(x), copy=False)


# -- what formulas are written with ------------------------------------------------------------


def row_max(x: Array) -> Array:
    """The largest element of every row (R, C), −inf of no classes: a column (R, 1)."""
    return x.max(axis=-1, keepdims=True, initial=-np.inf)


def row_sum(x: Array, of: np.ufunc | None = None) -> Array:
    """The sum of every row (R, C), or of a function of its elements: a column (R, 1)."""
    x = np.asarray(x)
    if of is not None:
        x = of(x, out=_memory(x.shape, x.dtype))
    if x.size < LARGE:
        return x.sum(axis=-1, keepdims=True)
    return _sum_in_pieces(x) if x.strides[-1] else x[:, :1] * x.shape[-1]


def row_dot(x: Array, y: Array) -> Array:
    """The sum of x · y along every row, of (R, C) and (R, C), (C,) or (R, 1): a column (R, 1)."""
    x, y = np.asarray(x), np.asarray(y)
    if y.shape[-1] == 1:
        return row_sum(x) * y
    if x.size < LARGE:
        return (x * y).sum(axis=-1, keepdims=True)
    return _sum_in_pieces(x, np.broadcast_to(y, x.shape))


def _sum_in_pieces(*factors: Array) -> Array:
    """The sum of products along rows by einsum: it stores none, but adds them one after another."""
    rows, classes = factors[0].shape
    whole = classes - classes % PIECE
    total = np.einsum(f"{','.join(['rc'] * len(factors))}->r", *(x[:, whole:] for x in factors))
    if whole:
        pieces = (x[:, :whole].reshape(rows, whole // PIECE, PIECE) for x in factors)
        total += np.einsum(f"{','.join(['rpc'] * len(factors))}->rp", *pieces).sum(axis=-1)
    return total[:, None]


def at_label(x: Array, labels: Array) -> Array:
    """The element of every row (R, C) at its label (R, 1): a column (R, 1)."""
    return x[np.arange(len(labels))[:, None], labels]


def added_at_label(x: Array, labels: Array, amount: Array) -> Array:
    """Rows (R, C) with an amount (R, 1) added at the label (R, 1) of each."""
    result = x.room_with_values() if isinstance(x, Donated) else np.array(x)
    result[np.arange(len(labels))[:, None], labels] += amount
    return result


# -- in place ----------------------------------------------------------------------------------


class Donated(NDArrayOperatorsMixin):
    """Rows, with memory for what is computed of them: ``jax.jit`` calls such arguments donated.

    To a formula this is an array. The first arithmetic on it is done in the given memory instead of
    new one; the result owns that memory, and the next arithmetic overwrites it. What was overwritten
    raises when it is used once more, so a formula either gives what it gives for an array, or fails.
    """

    __slots__ = ("_room", "_values")

    def __init__(self, values: Array, room: Array) -> None:
        """``values`` are read, ``room`` is written; they may be the same array."""
        self._values: Array | None = values
        self._room: Array | None = room

    def read(self) -> Array:
        """The values.

        Raises:
            RuntimeError: they have been overwritten.
        """
        if self._values is None:
            raise RuntimeError(
                "a formula on rows uses an intermediate result again that the arithmetic on it has "
                "overwritten: sum or look up what is needed of it before, or compute it anew"
            )
        return self._values

    def room_with_values(self) -> Array:
        """Memory that holds the values and belongs to the caller from now on."""
        values, room = self.read(), self._room
        if room is None:
            return np.array(values)
        if values is room:
            self._values = None
        else:
            room[...] = values
        self._room = None
        return room

    def _in_room(self, ufunc: np.ufunc, *others: Any) -> Any:
        room = self._room
        if room is None:
            return ufunc(self.read(), *others)
        values = self._values
        if values is room:
            self._values = None
        self._room = None
        return Donated(ufunc(values, *others, room), room)

    def __sub__(self, other: Any) -> Any:
        return self._in_room(np.subtract, other)

    def __mul__(self, other: Any) -> Any:
        return self._in_room(np.multiply, other)

    def __add__(self, other: Any) -> Any:
        return self._in_room(np.add, other)

    def __truediv__(self, other: Any) -> Any:
        return self._in_room(np.divide, other)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.exp and method == "__call__" and not options:
            return self._in_room(ufunc)
        if any(isinstance(out, Donated) for out in options.get("out", ())):
            return NotImplemented  # formulas write to nothing
        plain = [x.read() if isinstance(x, Donated) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.read(), dtype=dtype) if copy or dtype else self.read()

    def __getitem__(self, index: Any) -> Any:
        return self.read()[index]

    def max(self, **options: Any) -> Any:
        return self.read().max(**options)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.read().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.read().dtype


# -- memory ------------------------------------------------------------------------------------


def _memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array to be written to; a large one begins at a cache line, which NumPy's do by chance.

    Vector stores that straddle two lines take up to half as long again.
    """
    size = math.prod(shape)
    if size < LARGE:
        return np.empty(shape, dtype)
    spare = np.empty(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -spare.__array_interface__["data"][0] % CACHE_LINE
    return spare[start : start + size * dtype.itemsize].view(dtype).reshape(shape)


# -- elements ----------------------------------------------------------------------------------


def _flat(x: Array | None, shape: tuple[int, ...]) -> Array | None:
    """An array in one dimension, broadcast to a shape; scalars and None as they are."""
    if x is None or not x.ndim:
        return x
    return (x if x.shape == shape else np.broadcast_to(x, shape)).reshape(-1)


def _elements(formula: Formula, x: Array, others: Sequence[Array | None]) -> Iterator[tuple[slice, Array]]:
    """Results for blocks of the flattened arrays."""
    dtype = working_dtype(x)
    flat = [_flat(a, x.shape) for a in others]
    first = x.reshape(-1)
    for start in range(0, first.size, BLOCK):
        part = slice(start, start + BLOCK)
        given = [None if a is None else _part(a, part, dtype) for a in flat]
        yield part, formula(_part(first, part, dtype), *given)


def map_elements(formula: Formula, x: Array, *others: Array | None) -> Array:
    """The formula of every element, in shape and dtype of ``x``.

    Args:
        formula: of blocks (n,) of the arrays, with scalars and None as they are.
        others: they are broadcast to ``x``.
    """
    result = _memory(x.shape, x.dtype)
    flat = result.reshape(-1)
    for part, values in _elements(formula, x, others):
        flat[part] = values
    return result


def sum_elements(formula: Formula, x: Array, *others: Array | None) -> Array:
    """The same, summed over all elements; the sums of blocks are added up in float64."""
    total = np.zeros(())
    for _, values in _elements(formula, x, others):
        part = values.sum()
        # A mean may stay in the range that its sum leaves (G-4).
        total += values.sum(dtype=np.float64) if np.isinf(part) else part
    return total


def scattered(values: Array, where: tuple[Array, ...], x: Array) -> Array:
    """Zeros in shape and dtype of ``x`` with values at some places."""
    result = np.zeros(x.shape, x.dtype)
    result[where] = values
    return result


# -- rows --------------------------------------------------------------------------------------


def row_count(x: Array, axis: int) -> int:
    """How many rows there are along an axis; none where they have no elements."""
    return x.size // x.shape[axis] if x.size else 0


def per_row(x: Array, axis: int) -> Array:
    """One number per row, with an axis of length 1 in the place of the row's."""
    return x[..., None] if axis in (-1, x.ndim) else np.expand_dims(x, axis)


def narrowed(v: Array, axis: int) -> Array:
    """``v`` with length 1 along an axis along which it is the same, as in a scalar that was broadcast."""
    if v.strides[axis] or not v.shape[axis]:
        return v
    return v[tuple(slice(1) if i == axis % v.ndim else slice(None) for i in range(v.ndim))]


def map_rows(formula: Formula, axis: int, x: Array, *others: Array, counts: Array | None = None) -> Array:
    """The formula of every row, in shape and dtype of the first array.

    Args:
        formula: of blocks of rows of the arrays, (R, C) or (R, 1); it gives rows (R, C).
        axis: along which rows are taken.
        others: in the shape of ``x``, or with length 1 along the axis, or scalars.
        counts: which rows count, in the shape of ``x`` without the axis. The others give 0, and what
            they hold is not looked at.
    """
    rows = _all_rows(axis, x, others)
    result = (_memory if counts is None else np.zeros)(rows[0].shape, x.dtype)
    for where, given in _row_blocks(rows, counts, result):
        values = formula(*given)
        array = values.read() if isinstance(values, Donated) else values
        if not np.may_share_memory(array, result):
            result[where] = array
    return _axis_back(result.reshape(_axis_last(x, axis).shape), axis)


def row_costs(formula: Formula, axis: int, x: Array, *others: Array, counts: Array | None = None) -> Array:
    """The formula of every row, in the shape of ``x`` without the axis, and float32 at least.

    Args:
        formula: of blocks of rows of the arrays, (R, C) or (R, 1); it gives a column (R, 1).
        axis: along which rows are taken.
        others: in the shape of ``x``, or with length 1 along the axis, or scalars.
        counts: which rows count, in the shape of the result. The others cost 0, and what they hold is
            not looked at.
    """
    rows = _all_rows(axis, x, others)
    first, dtype = rows[0], working_dtype(x)
    costs = np.zeros((len(first), 1), dtype)
    scratch = _memory((min(len(first), _rows_of(first)), first.shape[1]), dtype)
    for where, given in _row_blocks(rows, counts, scratch):
        costs[where] = formula(*given)
    return costs.reshape(_axis_last(x, axis).shape[:-1])


def _rows_of(x: Array) -> int:
    """How many rows make a block."""
    return max(1, BLOCK // max(x.shape[1], 1))


def _row_blocks(rows: Sequence[Array], counts: Array | None, room: Array) -> Iterator[tuple[Any, list[Any]]]:
    """Blocks of the rows that count: where they are, and the arrays as a formula takes them.

    ``room`` is memory for what is computed of the first array's rows: as many, or those of a block.
    """
    first, *others = rows
    dtype = working_dtype(first)
    step = _rows_of(first)
    counts = None if counts is None else counts.reshape(-1)
    for start in range(0, len(first), step):
        where: Any = slice(start, start + step)
        if counts is not None and not counts[where].all():
            where = start + np.flatnonzero(counts[where])
            picked = _memory((len(where), first.shape[1]), first.dtype)
            first.take(where, axis=0, out=picked, mode="clip")
        else:
            picked = first[where]
        x: Any = picked.astype(dtype, copy=False)
        if x.size >= LARGE:
            if x is picked and isinstance(where, slice):
                x = Donated(x, room[where] if len(room) == len(first) else room[: len(x)])
            else:
                x = Donated(x, x)  # a copy, which can be worked in itself
        yield where, [x, *[_part(other, where, dtype) for other in others]]


def _all_rows(axis: int, x: Array, others: Sequence[Array]) -> list[Array]:
    """All arrays as rows, scalars as they are."""
    return [_as_rows(x, axis), *(_as_rows(other, axis) if other.ndim else other for other in others)]


def _part(x: Array, where: Any, dtype: np.dtype[Any]) -> Array:
    """Some rows of an argument, or the scalar that it is; integers keep their dtype."""
    part = x[where] if x.ndim else x
    return part if part.dtype.kind in "iu" else part.astype(dtype, copy=False)


def _axis_last(x: Array, axis: int) -> Array:
    """``np.moveaxis(x, axis, -1)``, which takes its time even where there is nothing to move."""
    return x if axis in (-1, x.ndim - 1) else np.moveaxis(x, axis, -1)


def _axis_back(x: Array, axis: int) -> Array:
    """The reverse of ``_axis_last``."""
    return x if axis in (-1, x.ndim - 1) else np.moveaxis(x, -1, axis)


def _as_rows(x: Array, axis: int) -> Array:
    """Shape (rows, elements along the axis)."""
    moved = _axis_last(x, axis)
    return moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])
