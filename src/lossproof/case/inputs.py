"""The arrays that a case's inputs stand for, exact, before the cast to a dtype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case import random
from lossproof.core.dtypes import FLOAT_TYPES, numpy_dtype


def is_description(spec: Any) -> bool:
    """Whether an input is described (``random``, ``full``, ``cycle``) rather than listed."""
    return isinstance(spec, Mapping)


def materialize(spec: Any, integer: bool) -> npt.NDArray[Any]:
    """Build the array that an input stands for: float64, or int64 where ``integer``."""
    dtype = np.int64 if integer else np.float64
    if not is_description(spec):
        return np.asarray(spec, dtype=dtype)
    if "random" in spec:
        array = random.generate(spec).astype(dtype)
    elif "cycle" in spec:
        shape = tuple(spec["shape"])
        array = np.resize(np.array(spec["cycle"], dtype=dtype), shape)
    else:
        array = np.full(tuple(spec["shape"]), spec["full"], dtype=dtype)
    if "diagonal" in spec:
        along = np.arange(min(array.shape[-2:]))
        array[..., along, along] = spec["diagonal"]
    for ranges, value in spec.get("blocks", ()):
        array[tuple(slice(*ends) for ends in ranges)] = value
    for index, value in spec.get("set", ()):
        array[tuple(index)] = value
    return array


def shape_of(spec: Any) -> tuple[int, ...]:
    """Shape of an input, without building it where it is described."""
    return tuple(spec["shape"]) if is_description(spec) else np.shape(spec)


def not_representable(array: npt.NDArray[Any], dtype: str, integer: bool) -> Any:
    """The first element that ``dtype`` cannot hold exactly, or None.

    Labels of a function that has floating-point arrays too are always int64.
    """
    if integer and dtype in FLOAT_TYPES:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        back = array.astype(numpy_dtype(dtype)).astype(array.dtype)
    bad = (back != array) & ~((back != back) & (array != array))
    return array[bad].flat[0].item() if bad.any() else None
