"""Random inputs, specified to the bit in spec/generator.md so that any language can rebuild them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
# So many are made at a time: what is needed on the way takes many times the memory of the result.
_AT_ONCE = 2**16


def splitmix64(seed: int, count: int, first: int = 0) -> npt.NDArray[np.uint64]:
    """Outputs of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) from ``seed``: ``count``, from ``first``."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(first + 1, first + count + 1, dtype=np.uint64) * _GAMMA
        z = (z ^ (z >> np.uint64(30))) * _MIX1
        z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


def round_significand(values: npt.NDArray[np.float64], bits: int) -> npt.NDArray[np.float64]:
    """Round to ``bits`` significant bits, ties to even (8 bits fit every dtype under test)."""
    mantissa, exponent = np.frexp(values)
    rounded: npt.NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return rounded


def generate(spec: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Build the array that a ``{random: …}`` description stands for.

    Returns float64, or int64 for ``integers`` and for a ``choice`` of integers, in C order.
    """
    kind, shape = spec["random"], tuple(spec["shape"])
    count = math.prod(shape)
    if kind == "one_hot":
        *rows, classes = shape
        picked = scaled(splitmix64(spec["seed"], math.prod(rows)), classes)
        hot = np.zeros((len(picked), classes))
        hot[np.arange(len(picked)), picked] = 1.0
        return hot.reshape(shape)
    options = np.asarray(spec["of"]) if kind == "choice" else None
    whole_numbers = kind == "integers" or (options is not None and options.dtype.kind == "i")
    elements = np.empty(count, dtype=np.int64 if whole_numbers else np.float64)
    for start in range(0, count, _AT_ONCE):
        part = elements[start : start + _AT_ONCE]
        part[...] = _elements(spec, options, splitmix64(spec["seed"], part.size, start))
    return elements.reshape(shape)


def _elements(
    spec: Mapping[str, Any], options: npt.NDArray[Any] | None, z: npt.NDArray[np.uint64]
) -> npt.NDArray[Any]:
    """The elements that these outputs make; ``options`` are those of a choice."""
    if options is not None:
        picks: npt.NDArray[Any] = options[scaled(z, len(options))]
        return picks
    if spec["random"] == "integers":
        first, end = int(spec.get("low", 0)), int(spec["high"])
        return first + scaled(z, end - first)
    if spec["random"] == "uniform":
        low, high = float(spec.get("low", 0.0)), float(spec.get("high", 1.0))
        steps = (2 * (z >> np.uint64(48)).astype(np.float64) + 1) / 2.0**17
        values = low + (high - low) * steps
    else:
        # The sum of four 16-bit fields (Irwin-Hall) needs no transcendental function, so every
        # language gets the same bits.
        fields = [(z >> np.uint64(16 * i)) & np.uint64(0xFFFF) for i in range(4)]
        total = np.sum([field.astype(np.float64) for field in fields], axis=0)
        values = (total - 131070.0) * (float(spec.get("scale", 1.0)) / 32768.0)
        values = values + float(spec.get("shift", 0.0))
    return round_significand(values, int(spec.get("bits", 8)))


def scaled(z: npt.NDArray[np.uint64], n: int) -> npt.NDArray[np.int64]:
    """Map 64-bit outputs to 0 … n−1 by the high 32 bits times n."""
    return (((z >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)).astype(np.int64)


@lru_cache(maxsize=4)
def signs(seed: int, count: int) -> npt.NDArray[np.int8]:
    """A pattern of +1 and −1 (the top bit of each output), for the sums that stand for big tensors."""
    pattern = np.empty(count, dtype=np.int8)
    for first in range(0, count, _AT_ONCE):
        part = pattern[first : first + _AT_ONCE]
        part[...] = 1 - 2 * (splitmix64(seed, part.size, first) >> np.uint64(63)).astype(np.int8)
    return pattern
