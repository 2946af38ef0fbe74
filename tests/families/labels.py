"""Labels and class ids that a narrower integer would wrap into a class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.families import DTYPES, Topic

NAME = "wide-labels"
# Modulo 2⁸, 2¹⁶ or 2³² each is the class 1 or 0; 2³¹ is the first that 32 bits have not.
ABOVE = {
    "8-bits": 2**8 + 1, "16-bits": 2**16 + 1, "31-bits": 2**31, "31-bits-and-one": 2**31 + 1,
    "32-bits": 2**32, "32-bits-and-one": 2**32 + 1, "largest": 2**63 - 1,
}  # fmt: skip
BELOW = {
    "minus-8-bits": 1 - 2**8, "minus-16-bits": 1 - 2**16, "minus-31-bits": -(2**31),
    "minus-32-bits": 1 - 2**32, "smallest": -(2**63),
}  # fmt: skip
RAISES = [{"name": "raises", "raises": True}]
_ROWS = [[0.5, -1.25, 2], [3, 0, -4], [1, 2, 0.5]]


def topics() -> Iterator[Topic]:
    yield Topic(
        "sparse_softmax_cross_entropy", NAME,
        "Labels are compared in their own dtype; none that is too large for fewer bits becomes a class.",
        [*_sparse_invalid(), *_sparse_ignored()],
    )  # fmt: skip
    yield Topic(
        "pspnet_loss", NAME,
        "A label of num_classes or above is dropped however large it is, and a negative one is invalid.",
        [_pspnet("pspnet_loss", name, label) for name, label in (ABOVE | BELOW).items()],
    )  # fmt: skip
    yield Topic(
        "pspnet_total_loss", NAME,
        "A label is dropped or invalid for both heads, however large it is.",
        [
            _pspnet("pspnet_total_loss", name, (ABOVE | BELOW)[name])
            for name in ("31-bits", "32-bits-and-one", "minus-32-bits")
        ],
    )  # fmt: skip
    yield Topic("pspnet_resize_labels", NAME, "Labels of 64 bits are copied unchanged.", [_resize()])
    for function, masks in (
        ("mask_rcnn_mask_loss", "pred_masks"), ("mask_rcnn_mask_loss_with_logits", "mask_logits"),
    ):  # fmt: skip
        yield Topic(
            function, NAME,
            "A class id is invalid from the number of classes on and padding below 1, however large it is.",
            [_mask_rcnn(masks, name, identifier) for name, identifier in (ABOVE | BELOW).items()],
        )  # fmt: skip


def _case(name: str, clause: str, why: str, **rest: Any) -> dict[str, Any]:
    return {
        "id": name, "clause": clause, "level": "required", "why": why, "dtypes": DTYPES, **rest,
    }  # fmt: skip


def _sparse_invalid() -> Iterator[dict[str, Any]]:
    for name, label in (ABOVE | BELOW).items():
        yield _case(
            name, "CE-9", _wraps(label, 3), inputs={"logits": _ROWS, "labels": [label, 1, 0]},
            parameters={"reduction": "mean"}, wrt=[], variants=RAISES,
        )  # fmt: skip
    yield _case(
        "not-the-ignored-class", "CE-9", "in 32 bits the label is the class 1, which is ignored",
        inputs={"logits": _ROWS, "labels": [2**32 + 1, 1, 0]},
        parameters={"ignore_index": 1, "reduction": "sum"}, wrt=[], variants=RAISES,
    )  # fmt: skip


def _sparse_ignored() -> Iterator[dict[str, Any]]:
    for name, label in (ABOVE | BELOW).items():
        yield _case(
            f"ignored-{name}", "CE-7",
            f"{_wraps(label, 3)}, and the row of that label, which counts, is ignored or counted with it",
            inputs={"logits": _ROWS, "labels": [label, 1, 0]},
            parameters={"ignore_index": label, "reduction": "mean"},
        )  # fmt: skip


def _pspnet(function: str, name: str, label: int) -> dict[str, Any]:
    dropped = label > 0
    inputs: dict[str, Any] = {"logits": [[_ROWS]], "labels": [[[label, 1, 0]]]}
    if function == "pspnet_total_loss":
        inputs = {"logits": [[_ROWS]], "aux_logits": [[_ROWS[::-1]]], "labels": [[[label, 1, 0]]]}
    rest: dict[str, Any] = {} if dropped else {"wrt": [], "variants": RAISES}
    clause = "PSP-3" if dropped else "PSP-5"
    return _case(name, clause, _wraps(label, 3), inputs=inputs, parameters={"num_classes": 3}, **rest)


def _resize() -> dict[str, Any]:
    # Expectations are float64, which holds these.
    values = [label for label in (*ABOVE.values(), *BELOW.values()) if abs(label) < 2**53] + [2**53 - 1]
    return {
        "id": "copied", "clause": "PSP-1", "level": "required",
        "why": "labels that pass through 32 bits or a float32 come out as others",
        "dtypes": ["int64"], "inputs": {"labels": [[values]]}, "parameters": {"size": [1, len(values)]},
    }  # fmt: skip


def _mask_rcnn(masks: str, name: str, identifier: int) -> dict[str, Any]:
    numbers = [[[[[0.5, 0.25], [0.125, 0.75]]], [[[0.5, 0.625], [0.25, 0.875]]]]]
    rest: dict[str, Any] = {} if identifier < 0 else {"wrt": [], "variants": RAISES}
    clause = "MRC-3" if identifier < 0 else "MRC-10"
    inputs = {
        "target_masks": [[[[1, 0]], [[0, 1]]]], "target_class_ids": [[identifier, 1]], masks: numbers,
    }  # fmt: skip
    return _case(name, clause, _wraps(identifier, 2), inputs=inputs, **rest)


def _wraps(label: int, classes: int) -> str:
    """Which narrower integer makes a class of it."""
    for bits in (8, 16, 32):
        if label % 2**bits < classes:
            return f"in {bits} bits it is the class {label % 2**bits}"
    return "in 32 bits it is another number, in float64 perhaps as well, or it is clamped to a class"
