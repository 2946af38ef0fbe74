"""Rows longer than the tiles in which kernels work on them: what an online softmax gets wrong.

A kernel that keeps a running maximum m and a running sum must multiply the sum by exp(m_old − m_new) when
a tile brings a larger maximum, which is exp(−inf + inf) where nothing finite was seen before, and must
leave out of later tiles nothing that an earlier one had (Milakov and Gimelshein 2018, Online normalizer
calculation for softmax; Dao et al. 2022, FlashAttention, algorithm 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tests.families import DTYPES, Topic

TILES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
QUICK = (64,)
# From this size on one row is tried, and not by every function: what is certified takes its time.
LARGE = 2048
AT_LARGE = {
    "softmax": 4096, "log_softmax": 1024, "softmax_cross_entropy": 1024, "pspnet_loss": 1024,
    "pspnet_total_loss": 1024,
}  # fmt: skip
# The size that a block of a GPU, or an index of 16 bits, ends at: tried by all functions.
LARGEST = TILES[-1]

Case = dict[str, Any]
# Where the logits are that are not in tiles of −inf: the tile, and how many there are.
PLACES = {"first": (0, 3), "last": (2, 3), "middle": (1, 3)}
# What fills the tiles: no probability at all, or none that a dtype can hold.
FILLS = {"minus-infinity": -math.inf, "very-negative": -30720.0}
FUNCTIONS = {
    "softmax": ("SM-4", "SM-2", "SM-9"),
    "log_softmax": ("LSM-4", "LSM-2", "LSM-6"),
    "softmax_cross_entropy": ("CE-15", "CE-14", "CE-18"),
    "sparse_softmax_cross_entropy": ("CE-15", "CE-14", "CE-18"),
    "pspnet_loss": ("PSP-2", "PSP-2", "PSP-2"),
    "pspnet_total_loss": ("PSP-6", "PSP-6", "PSP-6"),
}


def topics() -> Iterator[Topic]:
    about = "The result does not depend on the tiles in which a long row is worked on."
    for function, clauses in FUNCTIONS.items():
        yield Topic(function, "tiles", about, list(_cases(function, *clauses)))


def places(tile: int) -> list[str]:
    """The tiles that hold what is finite, by name."""
    return [*PLACES] if tile < LARGE else ["first", "last"] if tile == LARGEST else ["last"]


def _cases(function: str, infinite: str, finite: str, long: str) -> Iterator[Case]:
    for tile in TILES:
        if AT_LARGE.get(function, LARGEST) < tile < LARGEST:
            continue
        if tile == LARGEST and function in ("softmax", "log_softmax"):
            yield _behind(function, finite, tile)
            continue
        rows, length = places(tile), 3 * tile + 1
        quick = {} if tile in QUICK else {"thorough": True}
        # Labels of PSPNet are powers of two, as Keras rounds them to half precision, which others show.
        offset = 0 if function.startswith("pspnet") else 5
        at = [PLACES[name][0] * tile + offset for name in rows]
        for fill, clause in (("minus-infinity", infinite), ("very-negative", finite)):
            if LARGE <= tile < LARGEST and fill == "very-negative":
                continue
            logits = {
                "full": FILLS[fill], "shape": [len(rows), length],
                "set": [[[row, column + i], value] for row, column in enumerate(at)
                        for i, value in enumerate((1, -0.5, 2))],
            }  # fmt: skip
            recommended = fill == "minus-infinity" and "softmax" in function and "cross" not in function
            yield {
                "id": f"{fill}-{tile}", "clause": clause,
                "level": "recommended" if recommended else "required", **quick,
                "why": f"tiles of {tile} without a probability before, after and around one that has some",
                "dtypes": DTYPES, **_rest(function, logits, at),
            }  # fmt: skip
        # A maximum in the first tile, in the last partial one, and one after the other.
        peaks = [(3, 20)], [(3 * tile, 20)], [(3, 10), (3 * tile, 20)], [(3, 20), (3 * tile, 10)]
        chosen = list(peaks) if tile < LARGE else [peaks[2]]
        logits = {
            "full": 0.5, "shape": [len(chosen), length],
            "set": [[[row, column], value] for row, peak in enumerate(chosen) for column, value in peak],
        }  # fmt: skip
        yield {
            "id": f"maximum-{tile}", "clause": long, "level": "required", **quick,
            "why": f"the largest logit in the first and the last tile of {tile}: sums before it are scaled",
            "dtypes": DTYPES, **_rest(function, logits, [peak[0][0] for peak in chosen]),
        }  # fmt: skip


def _behind(function: str, clause: str, tile: int) -> Case:
    """All that has a probability stands behind the first tile."""
    values = enumerate((1, -0.5, 2))
    logits = {
        "full": FILLS["very-negative"], "shape": [1, tile + 3],
        "set": [[[0, tile + i], value] for i, value in values],
    }  # fmt: skip
    return {
        "id": f"very-negative-{tile}", "clause": clause, "level": "required", "thorough": True,
        "why": f"the largest logit is behind the first {tile}: less their maximum it overflows",
        "dtypes": DTYPES, **_rest(function, logits, [tile + 2]),
    }  # fmt: skip


def _rest(function: str, logits: Any, labels: list[int]) -> Case:
    """The inputs and the parameters of a function of these logits."""
    shape = logits["shape"]
    if function.startswith("pspnet"):
        pixels = _pixels(logits)
        inputs = {"logits": pixels, "labels": [[labels]]}
        if function == "pspnet_total_loss":
            inputs |= {"aux_logits": pixels}
            return {"inputs": inputs, "parameters": {"num_classes": shape[-1]}}
        return {"inputs": inputs, "parameters": {"num_classes": shape[-1], "reduction": "none"}}
    ones = [[row, label] for row, label in enumerate(labels)]
    if function == "sparse_softmax_cross_entropy":
        return {"inputs": {"logits": logits, "labels": labels}, "parameters": {"reduction": "none"}}
    if function == "softmax_cross_entropy":
        target = {"full": 0, "shape": shape, "set": [[place, 1] for place in ones]}
        return {"inputs": {"logits": logits, "target": target}, "parameters": {"reduction": "none"}}
    cotangent = {"full": 1, "shape": shape, "set": [[place, 3] for place in ones]}
    return {"inputs": {"logits": logits}, "cotangent": cotangent}


def _pixels(logits: Any) -> Any:
    """Rows as the pixels of one line of one image."""
    places = [[[0, 0, *place], value] for place, value in logits["set"]]
    return logits | {"shape": [1, 1, *logits["shape"]], "set": places}
