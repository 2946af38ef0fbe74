"""Which clause decides a call, and how strictly: read off the data, so that any input can be judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import RAISES_ON_NAN, Variant
from lossproof.core.dtypes import FLOAT_TYPES, FloatType

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """The clause of a call; ``defined`` is False where the specification is silent.

    ``raises`` and ``infinite`` name permitted variants, ``nan`` says that what raises is a NaN (CH-9);
    where ``gradients`` is False none are specified.
    """

    clause: str
    level: str = "required"
    defined: bool = True
    raises: bool = False
    infinite: bool = False
    nan: bool = False
    gradients: bool = True

    def variants(self) -> tuple[Variant, ...]:
        found = []
        if self.raises:
            found.append(Variant(RAISES_ON_NAN if self.nan else "raises", raises=True))
        if self.infinite:
            found.append(Variant("infinite", outputs={"value": np.array(np.inf)}))
        return tuple(found)


Reader = Callable[[Arrays, Parameters, FloatType], Reading]

SILENT = Reading("G-1", defined=False)


def always(clause: str) -> Reader:
    """For functions that one clause decides, whatever they are given."""
    return lambda arrays, parameters, dtype: Reading(clause)


# -- what readers ask, overflows and invalid operations being ignored --------------------------


def subnormal(array: Array, dtype: FloatType) -> bool:
    return bool(((array != 0) & (np.abs(array) < dtype.smallest_normal)).any())


def nan(*arrays: Array) -> bool:
    return any(bool(np.isnan(a).any()) for a in arrays)


def outside(p: Array) -> bool:
    """Whether a probability is outside of [0, 1]."""
    return bool(((p < 0) | (p > 1)).any())


def negative_zero(p: Array) -> bool:
    """Whether a probability is −0, which says from which side a slope goes to infinity."""
    return bool(((p == 0) & np.signbit(p)).any())


def zero_weight(weight: Any) -> bool:
    """Whether a weight is 0: its product with an infinite cost is NaN or 0 (G-12)."""
    return weight is not None and bool((np.asarray(weight) == 0).any())


def steep(p: Array, dtype: FloatType) -> bool:
    """Whether 1/p, an intermediate of the gradient, may leave the accumulator's range (G-4)."""
    slopes = 1 / p[(p > 0) & np.isfinite(p)]
    return bool((slopes > accumulator(dtype).largest / 2.0**12).any())


def sum_overflows(costs: Array, dtype: FloatType) -> bool:
    """Whether a reduction may leave the accumulator's range although the mean stays inside (G-4).

    Costs of finite inputs that are themselves infinite have left it.
    """
    known = costs[~np.isnan(costs)]
    return bool(known.size) and not float(np.sum(np.abs(known))) < accumulator(dtype).largest / 4


def leaves_half(costs: Array, dtype: FloatType) -> bool:
    """Whether the sum of the costs is beyond a half-precision dtype, but not its accumulator."""
    finite = costs[np.isfinite(costs)]
    return dtype.precision < 24 and float(np.sum(np.abs(finite), initial=0.0)) > dtype.largest / 2


def accumulator(dtype: FloatType) -> FloatType:
    return FLOAT_TYPES["float64" if dtype.precision == 53 else "float32"]


def spread(x: Array, axis: int) -> Array:
    """How large costs may become: the distance of every logit from its row's largest."""
    if not x.size:
        return x
    distances: Array = np.abs(x - x.max(axis=axis, keepdims=True))
    return distances
