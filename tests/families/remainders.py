"""Ordinary numbers with all bits of a dtype, in lengths that no vector divides.

What is left behind the last whole vector is worked on by other code than the rest, which may round it to
another format (a tail that is loaded as bfloat16, or through TF32). Each length leaves something behind
blocks of 4 to 64 elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.families import Topic

# Significant bits and the dtypes that have as many.
BITS = {53: ["float64"], 24: ["float64", "float32"], 11: ["float64", "float32", "float16"]}
# The longest rest of blocks of 4 to 64; a single element; what is between, too short for a block of 32.
QUICK = 127
SIZES = ((QUICK, 53), (QUICK, 24), (QUICK, 11), (65, 24), (21, 53))
NONE = {"reduction": "none"}
Case = dict[str, Any]


def topics() -> Iterator[Topic]:
    about = "Every element is taken with all bits of its dtype, those behind the last whole vector as well."
    for function, (clause, call) in CALLS.items():
        yield Topic(function, "remainders", about, [
            {
                "id": f"{length}-of-{bits}-bits", "clause": clause, "level": "required",
                **({} if length == QUICK else {"thorough": True}),
                "why": f"bfloat16 keeps eight of {bits} bits of what is left of {length} elements",
                "dtypes": _dtypes(function, bits), **call(length, bits),
            }
            for length, bits in SIZES
            if _dtypes(function, bits)
        ])  # fmt: skip


def _dtypes(function: str, bits: int) -> list[str]:
    """A row that adds up to 1 has numbers of more bits than its last."""
    return BITS[bits] if function != "cross_entropy" else BITS[bits][:2] if bits == 11 else []


def _numbers(bits: int, seed: int, *shape: int) -> Case:
    return {"random": "normal", "shape": list(shape), "seed": seed, "scale": 1.7, "bits": bits}


def _fractions(bits: int, seed: int, *shape: int) -> Case:
    return {"random": "uniform", "shape": list(shape), "seed": seed, "low": 0.1, "high": 0.9, "bits": bits}


def _slopes(*shape: int) -> Case:
    """A constant cotangent has no gradient through a softmax."""
    return {"random": "choice", "shape": list(shape), "seed": 33, "of": [1, -0.5, 2]}


def _logits(n: int, bits: int) -> Case:
    return {"inputs": {"logits": _numbers(bits, 31, n)}}


def _row(n: int, bits: int) -> Case:
    return {"inputs": {"logits": _numbers(bits, 31, n)}, "cotangent": _slopes(n)}


def _difference(*shape: int, **parameters: Any) -> Callable[[int, int], Case]:
    def call(n: int, bits: int) -> Case:
        both = {"prediction": _numbers(bits, 31, *shape, n), "target": _numbers(bits, 32, *shape, n)}
        return {"inputs": both, **({"parameters": parameters} if parameters else {})}

    return call


def _binary(first: str, draw: Callable[..., Case]) -> Callable[[int, int], Case]:
    return lambda n, bits: {
        "inputs": {first: draw(bits, 31, n), "target": _fractions(bits, 32, n)}, "parameters": NONE,
    }  # fmt: skip


def _cross_entropy(n: int, bits: int) -> Case:
    """A last probability just above a power of two, of which bfloat16 makes that power."""
    small = 2.0**-8
    last = small * (1 + 2.0**-9)
    return {
        "inputs": {
            "probabilities": {"full": small, "shape": [1, n], "set": [
                [[0, 0], 1 - (n - 2) * small - last], [[0, n - 1], last],
            ]},
            "target": {"full": 0, "shape": [1, n], "set": [[[0, n - 1], 1]]},
        },
        "parameters": NONE,
    }  # fmt: skip


def _dense(n: int, bits: int) -> Case:
    target = {"full": 0, "shape": [2, n], "set": [[[0, 1], 1], [[1, n - 1], 1]]}
    return {"inputs": {"logits": _numbers(bits, 31, 2, n), "target": target}, "parameters": NONE}


def _sparse(n: int, bits: int) -> Case:
    return {"inputs": {"logits": _numbers(bits, 31, 2, n), "labels": [1, n - 1]}, "parameters": NONE}


def _pspnet(n: int, bits: int) -> Case:
    return {
        "inputs": {"logits": _numbers(bits, 31, 1, 1, 2, n), "labels": [[[1, n - 1]]]},
        "parameters": {"num_classes": n, **NONE},
    }


def _total(n: int, bits: int) -> Case:
    return {
        "inputs": {
            "logits": _numbers(bits, 31, 1, 1, 2, n), "aux_logits": _numbers(bits, 32, 1, 1, 2, n),
            "labels": [[[1, n - 1]]],
        },
        "parameters": {"num_classes": n},
    }  # fmt: skip


def _predict(n: int, bits: int) -> Case:
    """At every place the winner is ahead by the last bit."""
    return {"inputs": {"logits": {"full": 1.25, "shape": [1, 1, n, n], "diagonal": 1.25 + 2.0 ** (1 - bits)}}}


def _masks(name: str, draw: Callable[..., Case]) -> Callable[[int, int], Case]:
    return lambda n, bits: {
        "inputs": {
            "target_masks": _fractions(bits, 32, 1, 1, 1, n), "target_class_ids": [[1]],
            name: draw(bits, 31, 1, 1, 1, n, 2),
        }
    }  # fmt: skip


def _select(n: int, bits: int) -> Case:
    return {"inputs": {"pred_masks": _fractions(bits, 31, 1, 1, 1, n, 2), "class_ids": [[1]]}}


CALLS: dict[str, tuple[str, Callable[[int, int], Case]]] = {
    "l2_loss": ("L2-1", _difference(reduction="none")),
    "euclidean_distance": ("ED-1", _difference(2)),
    "sigmoid": ("SG-1", _logits),
    "log_sigmoid": ("LSG-1", _logits),
    "softmax": ("SM-1", _row),
    "log_softmax": ("LSM-1", _row),
    "cross_entropy": ("CE-1", _cross_entropy),
    "softmax_cross_entropy": ("CE-5", _dense),
    "sparse_softmax_cross_entropy": ("CE-6", _sparse),
    "binary_cross_entropy": ("BCE-1", _binary("probabilities", _fractions)),
    "sigmoid_cross_entropy": ("BCE-8", _binary("logits", _numbers)),
    "pspnet_loss": ("PSP-2", _pspnet),
    "pspnet_total_loss": ("PSP-6", _total),
    "pspnet_predict": ("PSP-7", _predict),
    "mask_rcnn_mask_loss": ("MRC-1", _masks("pred_masks", _fractions)),
    "mask_rcnn_mask_loss_with_logits": ("MRC-6", _masks("mask_logits", _numbers)),
    "mask_rcnn_select_masks": ("MRC-7", _select),
}
