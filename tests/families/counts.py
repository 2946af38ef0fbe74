"""Rows, classes, pixels and RoIs past what 8, 15 and 16 bits count, and where half precision stagnates.

65,537 is 1 modulo 2¹⁶ and modulo 2⁸ alike, is negative to no integer that it fits, has infinity as its
float16, and a counter that is a bfloat16 stays at 256 and a float16 one at 2,048.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tests.families import DTYPES, Topic

NAME = "counts"
COUNTS = (257, 65537)
# Three rows in turn: none of the counts is a multiple of 3, so that a row whose number wraps is another.
_LOGITS = [0.5, -1.25, 3, 0, -4, 2]
_PROBABILITIES = [0.5, 0.25, 0.75, 0.125, 0.0625, 0.875]
_TARGETS = [1, 0, 0.25, 0.75, 0, 1]


def topics() -> Iterator[Topic]:
    about = "Any number of rows, classes, pixels or RoIs is counted and found."
    for function, cases in _CASES.items():
        made = [_marked(case) for n in COUNTS for case in cases(n)]
        yield Topic(function, NAME, about, [case for case in made if not _is_enough(function, case)])


def _is_enough(function: str, case: dict[str, Any]) -> bool:
    """Whether others say it already: elements and plain rows have no index of their own to wrap."""
    with_index = (
        "softmax", "log_softmax", "euclidean_distance", "sparse_softmax_cross_entropy", "pspnet_loss",
    )  # fmt: skip
    return case["id"].startswith("each-of-65537") and function not in with_index


def _marked(case: dict[str, Any]) -> dict[str, Any]:
    """Long arrays are thorough, but for labels and means of few classes, which are quick."""
    long = max(math.prod(spec["shape"]) for spec in case["inputs"].values() if "shape" in spec) > 70_000
    return case | {"thorough": True} if long else case


def _cycle(numbers: list[float], *shape: int) -> dict[str, Any]:
    return {"cycle": numbers, "shape": list(shape)}


def _case(name: str, clause: str, why: str, inputs: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {
        "id": name, "clause": clause, "level": "required", "why": why, "dtypes": DTYPES, "inputs": inputs,
        **rest,
    }  # fmt: skip


def _counter(n: int) -> str:
    if n < 2**16:
        return "a counter of 8 bits is at 1"
    return "a counter of 8 or 16 bits is at 1, one in half precision stagnates"


def _index(n: int) -> str:
    return f"an index of {8 if n < 2**16 else 16} bits is back at the start"


def _l2(n: int) -> Iterator[dict[str, Any]]:
    arrays = {"prediction": _cycle(_LOGITS, n), "target": _cycle([1, 0.5, 0, -2, 0, 0.25], n)}
    yield _case(f"mean-of-{n}", "L2-2", _counter(n), arrays, parameters={"reduction": "mean"})
    yield _case(f"each-of-{n}", "L2-1", _index(n), arrays, parameters={"reduction": "none"}, wrt=[])


def _dense(clause: str, first: str, numbers: list[float]) -> Any:
    def cases(n: int) -> Iterator[dict[str, Any]]:
        arrays = {first: _cycle(numbers, n, 2), "target": _cycle(_TARGETS, n, 2)}
        yield _case(f"mean-of-{n}-rows", "CE-12", _counter(n), arrays, parameters={"reduction": "mean"})
        yield _case(f"each-of-{n}-rows", clause, _index(n), arrays, parameters={"reduction": "none"}, wrt=[])

    return cases


def _sparse(n: int) -> Iterator[dict[str, Any]]:
    arrays = {"logits": _cycle(_LOGITS, n, 2), "labels": _cycle([1, 0, 1], n)}
    yield _case(f"mean-of-{n}-rows", "CE-12", _counter(n), arrays, parameters={"reduction": "mean"})
    yield _case(f"each-of-{n}-rows", "CE-6", _index(n), arrays, parameters={"reduction": "none"}, wrt=[])
    more = {"logits": _cycle(_LOGITS, n + n // 2, 2), "labels": _cycle([1, 255, 0], n + n // 2)}
    yield _case(
        f"{n}-rows-that-count", "CE-7", _counter(n), more,
        parameters={"ignore_index": 255, "reduction": "mean"},
    )  # fmt: skip
    yield _case(
        f"class-{n - 1}", "CE-6", f"{_index(n)}, and the class is 0",
        {"logits": _cycle(_LOGITS, 1, n) | {"set": [[[0, n - 1], 6]]}, "labels": [n - 1]},
        parameters={"reduction": "none"}, wrt=[],
    )  # fmt: skip


def _rows(clause: str) -> Any:
    def cases(n: int) -> Iterator[dict[str, Any]]:
        yield _case(f"each-of-{n}-rows", clause, _index(n), {"logits": _cycle(_LOGITS, n, 2)})

    return cases


def _elements(clause: str) -> Any:
    def cases(n: int) -> Iterator[dict[str, Any]]:
        yield _case(f"each-of-{n}", clause, _index(n), {"logits": _cycle(_LOGITS, n)})

    return cases


def _distance(n: int) -> Iterator[dict[str, Any]]:
    arrays = {"prediction": _cycle(_LOGITS, n, 2), "target": _cycle([1, 0.5, 0, -2, 0, 0.25], n, 2)}
    yield _case(f"each-of-{n}-rows", "ED-1", _index(n), arrays)


def _binary(clause: str, mean: str, first: str, numbers: list[float]) -> Any:
    def cases(n: int) -> Iterator[dict[str, Any]]:
        arrays = {first: _cycle(numbers, n), "target": _cycle(_TARGETS, n)}
        yield _case(f"mean-of-{n}", mean, _counter(n), arrays, parameters={"reduction": "mean"})
        yield _case(f"each-of-{n}", clause, _index(n), arrays, parameters={"reduction": "none"}, wrt=[])

    return cases


def _pspnet(n: int) -> Iterator[dict[str, Any]]:
    arrays = {"logits": _cycle(_LOGITS, 1, 1, n, 2), "labels": _cycle([1, 255, 0], 1, 1, n)}
    for reduction, clause, why in (("mean", "PSP-10", _counter(n)), ("none", "PSP-2", _index(n))):
        name = f"{'mean-of' if reduction == 'mean' else 'each-of'}-{n}-pixels"
        yield _case(name, clause, why, arrays, parameters={"num_classes": 2, "reduction": reduction})
    more = n + n // 2
    yield _case(
        f"{n}-pixels-that-count", "PSP-10", _counter(n),
        {"logits": _cycle(_LOGITS, 1, 1, more, 2), "labels": _cycle([1, 255, 0], 1, 1, more)},
        parameters={"num_classes": 2, "reduction": "mean"},
    )  # fmt: skip
    yield _case(
        f"class-{n - 1}", "PSP-2", f"{_index(n)}, and the class is 0",
        {"logits": _cycle(_LOGITS, 1, 1, 1, n) | {"set": [[[0, 0, 0, n - 1], 6]]}, "labels": [[[n - 1]]]},
        parameters={"num_classes": n, "reduction": "none"}, wrt=[],
    )  # fmt: skip


def _total(n: int) -> Iterator[dict[str, Any]]:
    arrays = {
        "logits": _cycle(_LOGITS, 1, n, 1, 2), "aux_logits": _cycle(_LOGITS[::-1], 1, n, 1, 2),
        "labels": _cycle([1, 255, 0], 1, n, 1),
    }  # fmt: skip
    yield _case(f"{n}-pixels", "PSP-6", _counter(n), arrays, parameters={"num_classes": 2})
    more = n + n // 2
    yield _case(
        f"{n}-pixels-that-count", "PSP-6", _counter(n),
        {
            "logits": _cycle(_LOGITS, 1, more, 1, 2), "aux_logits": _cycle(_LOGITS[::-1], 1, more, 1, 2),
            "labels": _cycle([1, 255, 0], 1, more, 1),
        },
        parameters={"num_classes": 2},
    )  # fmt: skip
    yield _case(
        f"class-{n - 1}", "PSP-6", f"{_index(n)}, and the class is 0",
        {
            "logits": _cycle(_LOGITS, 1, 1, 1, n) | {"set": [[[0, 0, 0, n - 1], 6]]},
            "aux_logits": _cycle(_LOGITS[::-1], 1, 1, 1, n) | {"set": [[[0, 0, 0, n - 1], 6]]},
            "labels": [[[n - 1]]],
        },
        parameters={"num_classes": n}, wrt=[],
    )  # fmt: skip


def _predict(n: int) -> Iterator[dict[str, Any]]:
    yield _case(
        f"class-{n - 1}", "PSP-7", "an index of 8 or 16 bits is 0, one in half precision is another",
        {"logits": _cycle(_LOGITS, 1, 1, 1, n) | {"set": [[[0, 0, 0, n - 1], 6]]}},
    )  # fmt: skip
    yield _case(f"{n}-pixels", "PSP-7", _index(n), {"logits": _cycle(_LOGITS, 1, 1, n, 2)})


def _resize(n: int) -> Iterator[dict[str, Any]]:
    yield {
        "id": f"{n + 2}-rows-to-{n}", "clause": "PSP-1", "level": "required",
        "why": f"i·H passes {16 if n < 2**16 else 32} bits, and i·(H/h) in float32 is another row",
        "dtypes": ["int64", "int32"], "inputs": {"labels": _cycle([5, 3, 0, 1, 7, 2, 4], 1, n + 2, 1)},
        "parameters": {"size": [n, 1]},
    }  # fmt: skip


def _masks(clause: str, mean: str, name: str, numbers: list[float]) -> Any:
    def cases(n: int) -> Iterator[dict[str, Any]]:
        arrays = {
            "target_masks": _cycle([1, 0, 1, 1], 1, n, 1, 1),
            "target_class_ids": _cycle([1], 1, n),
            name: _cycle(numbers, 1, n, 1, 1, 2),
        }
        yield _case(f"{n}-rois", mean, _counter(n), arrays)
        yield _case(
            f"class-{n - 1}", clause, f"{_index(n)}, and the class is the background",
            {
                "target_masks": [[[[1]]]], "target_class_ids": [[n - 1]],
                name: _cycle(numbers, 1, 1, 1, 1, n) | {"set": [[[0, 0, 0, 0, n - 1], 0.375]]},
            }, wrt=[],
        )  # fmt: skip

    return cases


def _select(n: int) -> Iterator[dict[str, Any]]:
    yield _case(
        f"class-{n - 1}", "MRC-7", f"{_index(n)}, and the class is 0",
        {
            "pred_masks": _cycle(_PROBABILITIES, 1, 1, 1, 1, n) | {"set": [[[0, 0, 0, 0, n - 1], 0.375]]},
            "class_ids": [[n - 1]],
        },
    )  # fmt: skip
    yield _case(
        f"{n}-rois", "MRC-7", _index(n),
        {"pred_masks": _cycle(_PROBABILITIES, 1, n, 1, 1, 2), "class_ids": _cycle([1, 0, 0], 1, n)},
    )  # fmt: skip


_CASES: dict[str, Any] = {
    "l2_loss": _l2,
    "euclidean_distance": _distance,
    "sigmoid": _elements("SG-1"),
    "log_sigmoid": _elements("LSG-1"),
    "softmax": _rows("SM-1"),
    "log_softmax": _rows("LSM-1"),
    "cross_entropy": _dense("CE-1", "probabilities", [0.5, 0.5, 0.75, 0.25, 0.125, 0.875]),
    "softmax_cross_entropy": _dense("CE-5", "logits", _LOGITS),
    "sparse_softmax_cross_entropy": _sparse,
    "binary_cross_entropy": _binary("BCE-1", "BCE-6", "probabilities", _PROBABILITIES),
    "sigmoid_cross_entropy": _binary("BCE-8", "BCE-6", "logits", _LOGITS),
    "pspnet_loss": _pspnet,
    "pspnet_total_loss": _total,
    "pspnet_predict": _predict,
    "pspnet_resize_labels": _resize,
    "mask_rcnn_mask_loss": _masks("MRC-2", "MRC-5", "pred_masks", _PROBABILITIES),
    "mask_rcnn_mask_loss_with_logits": _masks("MRC-6", "MRC-5", "mask_logits", _LOGITS),
    "mask_rcnn_select_masks": _select,
}
