"""Inputs that are narrowed before they are used, each array argument alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from .generated import FLOATING, Given, camel, cast, float_arrays, generate, tensor_float

TOPICS = ("significand", "ordinary")


def to_bfloat16(x: Any) -> Any:
    return cast(x, ml_dtypes.bfloat16)


def to_float16(x: Any) -> Any:
    return cast(x, np.float16)


def to_float32(x: Any) -> Any:
    return cast(x, np.float32)


_FORMATS = (
    ("Bfloat16", to_bfloat16, "bfloat16"),
    ("TensorFloat", tensor_float, "TF32"),
    ("Float16", to_float16, "float16"),
    ("Float32", to_float32, "float32"),
)


def _narrow(name: str, to: Callable[[Any], Any]) -> Callable[[Given, Given], None]:
    def change(arrays: Given, parameters: Given) -> None:
        held = arrays if name in arrays else parameters
        if held[name] is not None:
            held[name] = to(held[name])

    return change


for _row in FLOATING:
    _arrays = [parameter.name for parameter in _row.parameters if parameter.kind == "array"]
    for _name in float_arrays(_row) + _arrays:
        for _suffix, _to, _format in _FORMATS:
            generate(
                _row.name, f"{camel(_name)}As{_suffix}", f"{_name} is rounded to {_format} as it is read.",
                kind="narrowing", topics=TOPICS, change=_narrow(_name, _to),
            )  # fmt: skip
