"""Arrays as the protocol has them (spec/protocol.md): ``{"shape", "dtype", "data"}``.

Needs NumPy and the dtypes alone, so that standalone scripts can carry its source.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.core.dtypes import ARRAY_TYPES, FLOAT_TYPES
from lossproof.core.layout import layout_of

# Longest lists of numbers that are sent as text; beyond it base64 is quicker and shorter.
MAX_TEXT = 64


def encode_array(array: npt.NDArray[Any] | np.generic, encoding: str = "any") -> dict[str, Any]:
    """One array as ``{"shape", "dtype", "data"}``, and ``layout`` where it has one.

    Raises:
        TypeError: the dtype is none that the protocol has.
    """
    array = np.asarray(array)
    name = array.dtype.name
    if name not in ARRAY_TYPES:
        raise TypeError(f"an array of dtype {name} cannot be sent")
    message: dict[str, Any] = {"shape": list(array.shape), "dtype": name}
    if encoding == "base64" or (encoding == "any" and array.size > MAX_TEXT):
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        message["data"] = base64.b64encode(little.tobytes()).decode("ascii")
    elif name in FLOAT_TYPES:
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN, too
            message["data"] = [_number_to_json(x) for x in array.astype(np.float64).ravel().tolist()]
    else:
        message["data"] = [int(x) for x in array.ravel().tolist()]
    layout = layout_of(array)
    if layout is not None:
        message["layout"] = layout
    return message


def _number_to_json(number: float) -> float | str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return "-0" if number == 0 and math.copysign(1, number) < 0 else number
