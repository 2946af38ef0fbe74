"""Tiles of one long row: the running maximum, the running sum, and what each tile sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lossproof.adapters import _numpy_blocks as blocks
from lossproof.adapters import _numpy_formulas as formulas

from lossproof.core.functions import Function

from .generated import LABELLED, SOFTMAXES, Given, along_axis, generate

TILES = (32, 64, 128, 1024, 65_536)
# The look-ups as they are: what replaces them calls them.
_at_label, _added_at_label = blocks.at_label, blocks.added_at_label
TOPICS = ("tiles", "lanes", "long", "range")


def _heads(arrays: Given) -> list[str]:
    return [name for name in arrays if name.endswith("logits")]


def _nan_where(row: Function, masked: Callable[[Any], Any]) -> Callable[[Given, Given], None]:
    """Rows become NaN where ``masked`` says so of their tiles that hold −∞ alone, (…, tiles)."""

    def change(arrays: Given, parameters: Given) -> None:
        axis = along_axis(row, parameters)
        assert axis is not None
        for name in _heads(arrays):
            x = np.moveaxis(arrays[name], axis, -1)
            spoilt = masked(x)
            if spoilt is not None:
                x = np.where(spoilt[..., None], np.array(np.nan, x.dtype), x)
                arrays[name] = np.moveaxis(x, -1, axis)

    return change


def _empty_tiles(x: Any, tile: int) -> Any:
    """Which tiles of rows hold −∞ alone, (…, tiles); None for a single tile or rows of −∞ alone."""
    n = x.shape[-1]
    if n <= tile or not x.size or not np.isneginf(x).any():
        return None
    starts = range(0, n, tile)
    empty = np.stack([np.isneginf(x[..., i : i + tile]).all(axis=-1) for i in starts], axis=-1)
    return empty & ~empty.all(axis=-1, keepdims=True)


def _first(tile: int) -> Callable[[Any], Any]:
    def masked(x: Any) -> Any:
        empty = _empty_tiles(x, tile)
        return None if empty is None else empty[..., 0]

    return masked


def _middle(tile: int) -> Callable[[Any], Any]:
    def masked(x: Any) -> Any:
        empty = _empty_tiles(x, tile)
        return None if empty is None or empty.shape[-1] < 3 else empty[..., 1:-1].any(axis=-1)

    return masked


def _last(tile: int) -> Callable[[Any], Any]:
    def masked(x: Any) -> Any:
        empty = _empty_tiles(x, tile)
        return None if empty is None else empty[..., -1]

    return masked


def _of_totals(total: Callable[[Any], Any], top: Callable[[Any], Any] = formulas.shifted) -> dict[str, Any]:
    """The formulas of softmax with another sum of exponentials of (shifted) rows, as a column."""

    def scaled(s: Any, x: Any) -> Any:
        d = top(np.asarray(x))
        return np.exp(d) * (s / total(d))

    def log_softmax(x: Any) -> Any:
        d = top(np.asarray(x))
        return d - np.log(total(d))

    def cost(x: Any, k: Any, weight: Any = None) -> Any:
        found = -_at_label(log_softmax(x), k)
        return found if weight is None else formulas.product(weight[k], found)

    return {
        "softmax": lambda x: scaled(1, x),
        "scaled_softmax": scaled,
        "log_softmax": log_softmax,
        "sparse_softmax_cross_entropy": cost,
    }


def _not_rescaled(tile: int) -> Callable[[Any], Any]:
    def total(d: Any) -> Any:
        """Each tile's exponentials relative to the maximum so far, added as if it had never grown."""
        sum_, top = np.zeros((*d.shape[:-1], 1), d.dtype), np.full((*d.shape[:-1], 1), -np.inf, d.dtype)
        for i in range(0, d.shape[-1], tile):
            part = d[..., i : i + tile]
            top = np.maximum(top, part.max(axis=-1, keepdims=True))
            sum_ = sum_ + np.exp(part - np.where(np.isneginf(top), 0, top)).sum(axis=-1, keepdims=True)
        return sum_

    return total


def _first_maximum(tile: int) -> Callable[[Any], Any]:
    """Rows less the maximum of their first tile."""
    return lambda x: x - np.max(x[..., :tile], axis=-1, keepdims=True, initial=-np.inf)


def _plain_total(d: Any) -> Any:
    return np.exp(d).sum(axis=-1, keepdims=True)


def _label_in_first(tile: int) -> dict[str, Any]:
    return {
        "at_label": lambda x, k: np.where(k < tile, _at_label(x, k), x.dtype.type(0)),
        "added_at_label": lambda x, k, amount: _added_at_label(
            np.asarray(x), k, np.where(k < tile, amount, 0)
        ),
    }


def _target_in_first(row: Function, tile: int) -> Callable[[Given, Given], None]:
    def change(arrays: Given, parameters: Given) -> None:
        y = np.moveaxis(arrays["target"], parameters["axis"], -1).copy()
        y[..., tile:] = 0
        arrays["target"] = np.moveaxis(y, -1, parameters["axis"])

    return change


for _row in SOFTMAXES:
    for _tile in TILES:
        # Of softmax itself the specification only recommends what becomes of −∞ (SM-4, LSM-4).
        if _row.name not in ("softmax", "log_softmax"):
            for _suffix, _which in (("First", _first), ("Middle", _middle), ("Last", _last)):
                generate(
                    _row.name, f"{_suffix}TileOf{_tile}Infinite",
                    f"NaN where the {_suffix.lower()} tile of {_tile} logits holds −∞ alone.",
                    kind="tiles", topics=TOPICS, change=_nan_where(_row, _which(_tile)),
                )  # fmt: skip
        generate(
            _row.name, f"NotRescaledBy{_tile}",
            f"The running sum is not rescaled when a later tile of {_tile} has a larger maximum.",
            kind="tiles", topics=TOPICS, patches=_of_totals(_not_rescaled(_tile)),
        )  # fmt: skip
        generate(
            _row.name, f"MaximumOfFirst{_tile}",
            f"The maximum is that of the first tile of {_tile} logits.",
            kind="tiles", topics=TOPICS, patches=_of_totals(_plain_total, _first_maximum(_tile)),
        )  # fmt: skip
        if _row in LABELLED:
            generate(
                _row.name, f"LabelInFirst{_tile}", f"The label is sought in the first tile of {_tile} only.",
                kind="tiles", topics=TOPICS, patches=_label_in_first(_tile),
            )  # fmt: skip
        elif _row.name == "softmax_cross_entropy":
            generate(
                _row.name, f"TargetInFirst{_tile}", f"Targets behind the first tile of {_tile} are not read.",
                kind="tiles", topics=TOPICS, change=_target_in_first(_row, _tile),
            )  # fmt: skip
