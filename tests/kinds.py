"""What a case tries, read off its inputs, parameters and outcomes: the kinds of ``tests.coverage``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import Function, Values

Array = Any
# Significant bits of a dtype, and of the next narrower one.
BITS = {"float64": (53, 24), "float32": (24, 11), "float16": (11, 8), "bfloat16": (8, 4)}
# Below these a number is subnormal.
SMALLEST = {name: 2.0 ** {"float64": -1022, "float16": -14}.get(name, -126) for name in FLOAT_TYPES}
_TARGETS = (Values.TARGETS, Values.DISTRIBUTIONS)
_IDS = (Values.LABELS, Values.CLASS_IDS)


def has_rows(function: Function) -> bool:
    """Whether a result takes a whole row of elements."""
    return any(p.name == "axis" for p in function.parameters) or function.leading.shape == "N h w C"


class Look:
    """A case, its predictions, and which of their elements count.

    ``parts`` holds the leading array, or those of both heads, each with a mask of the elements that the
    result depends on.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.function = case.function
        self.arrays = case.exact_arrays
        self.leading = self.arrays[self.function.leading.name]
        parameters = {parameter.name for parameter in self.function.parameters}
        self.reduction = self._parameter("reduction") if "reduction" in parameters else "no reduction"
        self.axis = int(self._parameter("axis")) if "axis" in parameters else -1

    def _parameter(self, name: str) -> Any:
        given = {p.name: p.default for p in self.function.parameters} | dict(self.case.parameters)
        return given[name]

    def parameter(self, name: str) -> Any:
        """What a parameter is in this case, None where the function has none of this name."""
        return self._parameter(name) if any(p.name == name for p in self.function.parameters) else None

    def weights(self, name: str) -> Array | None:
        given = self.parameter(name)
        return None if given is None else materialize(given, integer=False)

    @cached_property
    def ids(self) -> Array:
        """Labels or class ids, None where the function has none."""
        return next((self.arrays[a.name] for a in self.function.arrays if a.values in _IDS), None)

    @cached_property
    def parts(self) -> list[tuple[Array, Array]]:
        names = [name for name in self.arrays if name == self.function.leading.name or name == "aux_logits"]
        return [(self.arrays[name], self._counting(self.arrays[name])) for name in names]

    def _counting(self, x: Array) -> Array:
        name, ids = self.function.name, self.ids
        keep: Array
        if name == "sparse_softmax_cross_entropy":
            ignored = self.parameter("ignore_index")
            keep = np.ones(ids.shape, np.bool_) if ignored is None else ids != ignored
            return np.broadcast_to(np.expand_dims(keep, self.axis), x.shape)
        if name in ("pspnet_loss", "pspnet_total_loss"):
            (_, h, w), (height, width) = ids.shape, x.shape[1:3]
            rows, columns = np.arange(height) * h // max(height, 1), np.arange(width) * w // max(width, 1)
            keep = ids[:, rows[:, None], columns] < self.parameter("num_classes")
            return np.broadcast_to(keep[..., None], x.shape)
        if name.startswith("mask_rcnn"):
            least = 0 if name == "mask_rcnn_select_masks" else 1
            keep = (ids >= least) & (ids < x.shape[-1])
            own = np.arange(x.shape[-1]) == np.expand_dims(ids, -1)
            return np.broadcast_to((own & keep[..., None])[:, :, None, None, :], x.shape)
        return np.broadcast_to(np.True_, x.shape)

    @cached_property
    def counted(self) -> Array:
        return np.concatenate([x[counts].ravel() for x, counts in self.parts])

    @cached_property
    def others(self) -> Array:
        return np.concatenate([x[~counts].ravel() for x, counts in self.parts])

    @cached_property
    def floats(self) -> list[Array]:
        return [self.arrays[a.name] for a in self.function.arrays if not a.integer]

    @cached_property
    def units(self) -> int:
        """Elements, rows, pixels or RoIs that count."""
        if self.function.name.startswith("mask_rcnn"):
            return int(sum(counts.any(axis=(2, 3, 4)).sum() for _, counts in self.parts))
        per_row = self.row_length if has_rows(self.function) else 1
        return max(int(counts.sum()) // max(per_row, 1) for _, counts in self.parts)

    @cached_property
    def row_length(self) -> int:
        return self.leading.shape[self.axis] if self.leading.ndim else 1


def ordinary(look: Look) -> Iterator[str]:
    x = look.counted
    if x.size > 1 and np.isfinite(x).all() and np.abs(x).max() <= 100 and look.case.level == "required":
        yield "ordinary"


def offset(look: Look) -> Iterator[str]:
    for x, counts in look.parts:
        held = x[counts]
        if held.size > 1 and np.isfinite(held).all() and np.abs(held).min() >= 100:
            spread = np.ptp(held)
            if 0 < spread < np.abs(held).min():
                yield "offset"


def extreme(look: Look) -> Iterator[str]:
    x = look.counted[np.isfinite(look.counted)]
    if look.function.leading.values is Values.PROBABILITIES:
        if ((x > 0) & (x <= 2.0**-13)).any():
            yield "extreme"
    elif (np.abs(x) >= 1000).any():
        yield "extreme"


def nan_counts(look: Look) -> Iterator[str]:
    if np.isnan(look.counted).any():
        yield "NaN"


def nan_elsewhere(look: Look) -> Iterator[str]:
    if np.isnan(look.others).any() and not np.isnan(look.counted).all():
        yield "NaN"


def infinite(look: Look) -> Iterator[str]:
    if np.isneginf(look.counted).any():
        yield "−∞"
    if np.isposinf(look.counted).any():
        yield "+∞"


def partly(look: Look) -> Iterator[str]:
    if look.function.name.startswith("mask_rcnn"):
        ids = look.ids
        if (ids > 0).any() and (ids <= 0).any():
            yield "some"
    elif look.counted.size and look.others.size:
        yield "some"


def nothing(look: Look) -> Iterator[str]:
    if not look.counted.size:
        yield look.reduction


def invalid(look: Look) -> Iterator[str]:
    if (
        look.function.leading.values is Values.PROBABILITIES
        and ((look.counted < 0) | (look.counted > 1)).any()
    ):
        yield "probability"
    ids = look.ids
    if ids is not None and ids.size:
        if look.function.name == "sparse_softmax_cross_entropy":
            there = (
                ids if look.parameter("ignore_index") is None else ids[ids != look.parameter("ignore_index")]
            )
            wrong = (there < 0) | (there >= look.row_length)
        else:
            wrong = ids < 0 if look.function.name.startswith("pspnet") else ids >= look.row_length
        if wrong.any():
            yield "label"
    for array in look.function.arrays:
        y = look.arrays[array.name]
        if array.values in _TARGETS and ((y < 0) | (y > 1)).any():
            yield "target"


def smoothed(look: Look) -> Iterator[str]:
    if 0 < (look.parameter("label_smoothing") or 0) < 1:
        yield "smoothed"


def weighted(look: Look) -> Iterator[str]:
    yield from _weights(look.weights("weight"))


def positively_weighted(look: Look) -> Iterator[str]:
    yield from _weights(look.weights("pos_weight"))


def _weights(weights: Array | None) -> Iterator[str]:
    if weights is not None:
        if ((weights != 0) & (weights != 1)).any():
            yield "weights"
        if (weights == 0).any():
            yield "weight 0"


def reduction(look: Look) -> Iterator[str]:
    if look.counted.size > 1:
        yield look.reduction


def tangents(look: Look) -> Iterator[str]:
    """What is asked for along tangents."""
    for output in look.case.expected or ():
        kind, _, name = output.partition(".")
        if kind in ("jvp", "hvp"):
            yield f"hvp of {name}" if name else kind


def to_target(look: Look) -> Iterator[str]:
    """Whether the target is differentiated that is not by default."""
    if set(look.case.wrt) & set(look.function.also):
        yield "target"


def to_weight(look: Look) -> Iterator[str]:
    """The weights that are differentiated."""
    yield from look.case.weights_moved


def cotangent(look: Look) -> Iterator[str]:
    given = look.case.cotangent if look.case.wrt and look.counted.size else None
    if given is not None and (materialize(given, integer=False) != 1).any():
        yield look.reduction


def significands(look: Look) -> Iterator[str]:
    x = np.abs(look.counted[np.isfinite(look.counted)])
    if not x.size or x.dtype.kind != "f":
        return
    for dtype in look.case.dtypes:
        narrower = BITS[dtype][1]
        mantissa = np.frexp(x)[0]
        if (np.ldexp(mantissa, narrower) % 1 != 0).any():
            yield dtype


def ranks(look: Look) -> Iterator[str]:
    rank = look.leading.ndim
    yield f"rank {rank}"
    if has_rows(look.function) and rank:
        place = look.axis % rank
        if rank > 1:
            yield "first axis" if place == 0 else "last axis" if place == rank - 1 else "middle axis"
        if look.axis < 0:
            yield "negative axis"


def sizes(look: Look) -> Iterator[str]:
    if not look.leading.size:
        yield "empty"
    if look.leading.size == 1 or (look.function.name.startswith("mask_rcnn") and look.counted.size == 1):
        yield "single"


def long_rows(look: Look) -> Iterator[str]:
    if look.row_length >= 1000:
        yield "long"


def counts(look: Look) -> Iterator[str]:
    for number in (256, 65536):
        if look.units >= number:
            yield f"of {number:,}"
        ids = look.ids
        if ids is not None and ((ids >= number) & (ids < look.row_length)).any():
            yield f"class {number:,}"


def targets(look: Look) -> Iterator[str]:
    for array in look.function.arrays:
        if array.values in _TARGETS:
            y = look.arrays[array.name]
            yield from ("0",) * bool((y == 0).any()) + ("1",) * bool((y == 1).any())
            if ((y > 0) & (y < 1)).any():
                yield "between"


def subnormals(look: Look) -> Iterator[str]:
    given = [*look.floats]
    for expected in (look.case.expected or {}).values():
        if isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
            given.append(expected)
    for x in given:
        size = np.abs(x[np.isfinite(x)])
        if any(
            ((size > 0) & (size < SMALLEST[dtype])).any() for dtype in look.case.dtypes if dtype in SMALLEST
        ):
            yield "subnormal"


def lengths(look: Look) -> Iterator[str]:
    if look.function.name.startswith("mask_rcnn"):
        yield str(look.leading.shape[3])
    elif look.function.name == "pspnet_resize_labels":
        yield str(look.leading.shape[2])
    else:
        yield str(look.row_length if has_rows(look.function) else look.leading.size)


def behind_tiles(look: Look) -> Iterator[str]:
    if not look.leading.size or look.row_length <= 32:
        return
    x = np.where(np.isnan(look.leading), -np.inf, look.leading)
    place = int(x.argmax(axis=look.axis).max())
    for tile in (32, 64, 128, 1024, 65536):
        if place >= tile:
            yield f"behind {tile:,}"


def layouts(look: Look) -> Iterator[str]:
    yield from look.case.layout.values()


def wide_labels(look: Look) -> Iterator[str]:
    integers = [look.arrays[a.name] for a in look.function.arrays if a.integer]
    for labels in integers:
        if (labels >= 2**16).any():
            yield "16 bits"
        if (labels >= 2**32).any():
            yield "32 bits"
