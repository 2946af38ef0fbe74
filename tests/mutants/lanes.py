"""Vector lanes and tails: mistakes at some positions of some lengths only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from lossproof.core.functions import Function

from .generated import FLOATING, Given, along_axis, cast, float_arrays, generate

WIDTHS = (4, 8, 16, 32, 64)
TOPICS = ("lanes", "ordinary", "long", "special")
# Which of n elements are wrong: (indices, n) to booleans.
Where = Callable[[Any, int], Any]


def zero(x: Any) -> Any:
    return np.zeros_like(x)


def without_nan(x: Any) -> Any:
    return np.where(np.isnan(x), np.zeros((), x.dtype), x)


def rounded(x: Any) -> Any:
    return cast(x, ml_dtypes.bfloat16)


def prime(n: int) -> bool:
    return n > 1 and all(n % i for i in range(2, int(n**0.5) + 1))


def _at(row: Function, where: Where, become: Callable[[Any], Any]) -> Callable[[Given, Given], None]:
    """Some elements of the floating-point arrays become others, along the axis or of all in order."""

    def change(arrays: Given, parameters: Given) -> None:
        axis = along_axis(row, parameters)
        for name in float_arrays(row):
            x = arrays[name]
            if not x.size:
                continue
            if axis is None:
                wrong = where(np.arange(x.size), x.size).reshape(x.shape)
            else:
                n = x.shape[axis]
                rows = np.moveaxis(x, axis, -1).shape
                wrong = np.moveaxis(np.broadcast_to(where(np.arange(n), n), rows), -1, axis)
            arrays[name] = np.where(wrong, become(x), x)

    return change


def tail(width: int) -> Where:
    return lambda i, n: (i >= n // width * width) & (n > width)


def lane(width: int) -> Where:
    return lambda i, n: (i % width == width - 1) & (n >= width)


def last_where(condition: Callable[[int], bool]) -> Where:
    return lambda i, n: (i == n - 1) & condition(n)


_MISTAKES: list[tuple[str, str, Where, Callable[[Any], Any]]] = [
    *((f"TailOf{w}Zero", f"What is left after blocks of {w} is taken for 0.", tail(w), zero) for w in WIDTHS),
    *((f"TailOf{w}Nan", f"A NaN behind the blocks of {w} is lost.", tail(w), without_nan) for w in WIDTHS),
    *((f"TailOf{w}Rounded", f"What is left after blocks of {w} is rounded to bfloat16.", tail(w), rounded)
      for w in WIDTHS),
    *((f"Lane{w}Nan", f"A NaN in the last of {w} lanes is lost.", lane(w), without_nan) for w in WIDTHS),
    ("LastNan", "A NaN at the last position is lost.", last_where(lambda n: n > 1), without_nan),
    ("LastOf31", "The last element is taken for 0 where the length is 31 modulo 32.",
     last_where(lambda n: n % 32 == 31), zero),
    ("LastOfPrime", "The last element is taken for 0 where the length is a prime above 16.",
     last_where(lambda n: n > 16 and prime(n)), zero),
    *((f"LastOf{low}To{high}", f"The last element is taken for 0 at lengths of {low} to {high}.",
       last_where(lambda n, low=low, high=high: low <= n <= high), zero)  # type: ignore[misc]
      for low, high in ((17, 63), (65, 1023), (1025, 8192))),
]  # fmt: skip

for _row in FLOATING:
    for _suffix, _bug, _where, _become in _MISTAKES:
        generate(_row.name, _suffix, _bug, kind="lanes", topics=TOPICS, change=_at(_row, _where, _become))


def _lost_in_order(arrays: Given, parameters: Given) -> None:
    """A NaN is replaced by a number that is below all: what ``a > b ? a : b`` leaves of it."""
    x = arrays["logits"]
    arrays["logits"] = np.where(np.isnan(x), np.array(-np.inf, x.dtype), x)


generate(
    "pspnet_predict", "NanNeverWins", "NaN never wins, as in a > b ? a : b.",
    kind="lanes", topics=TOPICS, change=_lost_in_order,
)  # fmt: skip
