"""Rows whose errors are judged together: all bits of each are rounded, and no two of them alike.

Logits are small, so that no exponential vanishes beside another and a rounded constant (log₂ e, as which some
exponentials take it) stays below what chance allows; weights and shares are powers of two, which round
nothing that all rows share. A difference that is exact has to be rounded by its product or its square: its
inputs have as many bits as the dtype.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.families import DTYPES, Topic

ROWS = 256
NONE = {"reduction": "none"}
Case = dict[str, Any]

WHY = "results that are cut off instead of rounded are within each bound, and all too close to 0"
ABOUT = "Errors that each are within their bound do not lie to one side as a whole (T-13)."


def topics() -> Iterator[Topic]:
    for function, (clause, calls) in CALLS.items():
        yield Topic(function, "distribution", ABOUT, [
            {
                "id": name, "clause": clause, "level": "recommended", "thorough": True, "distribution": True,
                "why": WHY, "dtypes": DTYPES, **call,
            }
            for name, call in calls.items()
        ])  # fmt: skip


def _numbers(seed: int, *shape: int, scale: float = 0.5, bits: int = 8) -> Case:
    return {"random": "normal", "shape": [ROWS, *shape], "seed": seed, "scale": scale, "bits": bits}


def _fractions(seed: int, *shape: int, low: float = 0.125, high: float = 0.875, bits: int = 8) -> Case:
    """Numbers that are not near 0 or 1."""
    span = {"low": low, "high": high, "bits": bits}
    return {"random": "uniform", "shape": [ROWS, *shape], "seed": seed, **span}


def _classes(*shape: int) -> Case:
    return {"random": "integers", "shape": [ROWS, *shape], "seed": 3, "high": 2}


def _differences() -> dict[str, Case]:
    """Of numbers with as many bits as the dtype; of float32's so far apart that float64 rounds the square."""
    float16 = {"prediction": _numbers(1, scale=1.0, bits=11), "target": _numbers(2, scale=0.5, bits=11)}
    # Sums of two such have a bit more, so that every other one is half-way between two.
    bfloat16 = {"prediction": _fractions(1, low=1, high=2), "target": _fractions(2, low=-2, high=-1)}
    wide = {
        "prediction": _fractions(1, low=0.1, high=1.9, bits=24),
        "target": _fractions(2, low=0.01, high=0.03, bits=24),
    }
    cases = {
        "wide": {"dtypes": ["float64", "float32"], "inputs": wide},
        "float16": {"dtypes": ["float16"], "inputs": float16},
        "bfloat16": {"dtypes": ["bfloat16"], "inputs": bfloat16},
    }
    return {name: {**case, "parameters": NONE, "wrt": ["prediction"]} for name, case in cases.items()}


CALLS: dict[str, tuple[str, dict[str, Case]]] = {
    "l2_loss": ("L2-1", _differences()),
    "euclidean_distance": ("ED-1", {"rows": {
        "inputs": {"prediction": _numbers(1, 2), "target": _numbers(2, 2)}, "wrt": ["prediction"],
    }}),
    "sigmoid": ("SG-1", {"elements": {"inputs": {"logits": _numbers(1)}}}),
    "log_sigmoid": ("LSG-1", {"elements": {"inputs": {"logits": _numbers(1)}}}),
    "softmax": ("SM-1", {"rows": {"inputs": {"logits": _numbers(1, 2)}, "cotangent": _numbers(2, 2)}}),
    "log_softmax": ("LSM-1", {"rows": {"inputs": {"logits": _numbers(1, 2)}, "cotangent": _numbers(2, 2)}}),
    "cross_entropy": ("CE-1", {"rows": {
        "inputs": {"probabilities": _fractions(1, 4), "target": _fractions(2, 4)},
        "parameters": NONE, "wrt": [],
    }}),
    "softmax_cross_entropy": ("CE-5", {"rows": {
        "inputs": {"logits": _numbers(1, 8), "target": _fractions(2, 8)},
        "parameters": NONE, "wrt": [],
    }}),
    "sparse_softmax_cross_entropy": ("CE-6", {"rows": {
        "inputs": {"logits": _numbers(1, 2), "labels": _classes()}, "parameters": NONE,
    }}),
    "binary_cross_entropy": ("BCE-1", {"elements": {
        "inputs": {"probabilities": _fractions(1), "target": _fractions(2)}, "parameters": NONE,
    }}),
    "sigmoid_cross_entropy": ("BCE-8", {"elements": {
        "inputs": {"logits": _numbers(1), "target": _fractions(2)}, "parameters": NONE,
    }}),
    "pspnet_loss": ("PSP-2", {"images": {
        "inputs": {"logits": _numbers(1, 1, 1, 2), "labels": _classes(1, 1)},
        "parameters": {"num_classes": 2, **NONE},
    }}),
    "pspnet_total_loss": ("PSP-6", {"images": {
        "inputs": {
            "logits": _numbers(1, 1, 1, 2), "aux_logits": _numbers(2, 1, 1, 2), "labels": _classes(1, 1),
        },
        "parameters": {"num_classes": 2, "aux_weight": 0.5},
        "wrt": ["aux_logits"],
    }}),
    "mask_rcnn_mask_loss": ("MRC-1", {"rois": {"inputs": {
        "target_masks": _fractions(2, 1, 1, 1), "target_class_ids": {"full": 1, "shape": [ROWS, 1]},
        "pred_masks": _fractions(1, 1, 1, 1, 2),
    }}}),
    "mask_rcnn_mask_loss_with_logits": ("MRC-6", {"rois": {"inputs": {
        "target_masks": _fractions(2, 1, 1, 1), "target_class_ids": {"full": 1, "shape": [ROWS, 1]},
        "mask_logits": _numbers(1, 1, 1, 1, 2),
    }}}),
}  # fmt: skip
