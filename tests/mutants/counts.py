"""Counts and ids that outgrow the integers or floating-point numbers they are kept in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from lossproof.adapters import _numpy_blocks as blocks
from lossproof.adapters import _numpy_formulas as formulas

from .generated import AVERAGED, LABELLED, MASKS, Given, generate

TOPICS = ("counts", "labels", "invalid", "reductions", "realistic", "ordinary")
INTEGERS = {"Uint8": np.uint8, "Int16": np.int16, "Uint16": np.uint16}
# The formulas as they are: what replaces them calls them.
_reduced, _reduced_gradient, _own_masks = formulas.reduced, formulas.reduced_gradient, formulas.own_masks
_at_label, _added_at_label = blocks.at_label, blocks.added_at_label
NUMBERS = {**INTEGERS, "Float16": np.float16, "Bfloat16": ml_dtypes.bfloat16}


def narrowed(count: Any, dtype: Any) -> np.float64:
    """A count as a narrower type keeps it: wrapped around, or rounded."""
    if np.dtype(dtype).kind in "iu" and float(count).is_integer():
        return np.float64(np.array(int(count)).astype(dtype))
    return (
        np.float64(np.array(count, np.float64).astype(dtype)) if np.dtype(dtype).kind not in "iu" else count
    )


def _count_in(dtype: Any) -> dict[str, Callable[..., Any]]:
    def reduced(costs: Any, reduction: str, count: Any = None) -> Any:
        return _reduced(costs, reduction, narrowed(costs.size if count is None else count, dtype))

    def gradient(v: Any, reduction: str, count: Any) -> Any:
        return _reduced_gradient(v, reduction, narrowed(count, dtype))

    return {"reduced": reduced, "reduced_gradient": gradient}


def _label_in(dtype: Any) -> dict[str, Callable[..., Any]]:
    """Valid labels are looked up after they were narrowed."""

    def kept(x: Any, labels: Any) -> Any:
        return labels.astype(dtype).astype(np.int64) % x.shape[-1]

    return {
        "at_label": lambda x, labels: _at_label(x, kept(x, labels)),
        "added_at_label": lambda x, labels, amount: _added_at_label(x, kept(x, labels), amount),
    }


def _given_in(name: str, dtype: Any) -> Callable[[Given, Given], None]:
    """Ids are narrowed before anything looks at them."""

    def change(arrays: Given, parameters: Given) -> None:
        arrays[name] = arrays[name].astype(dtype).astype(arrays[name].dtype)

    return change


def _winner_in(dtype: Any) -> Callable[[Any, Given, Given], Any]:
    return lambda found, arrays, parameters: found.astype(dtype).astype(found.dtype)


def _roi_in_uint8(target_masks: Any, class_ids: Any, masks: Any) -> Any:
    where, _, y = _own_masks(target_masks, class_ids, masks)
    image, roi, *rest = where
    where = (image, roi.astype(np.uint8).astype(np.int64), *rest)
    return where, masks[where], y


def _index_in_uint8(labels: Any, height: int, width: int) -> Any:
    rows, columns = (
        (np.arange(n) * labels.shape[axis] // n).astype(np.uint8) for axis, n in ((1, height), (2, width))
    )
    return labels[:, rows[:, None].astype(np.int64), columns.astype(np.int64)]


for _row in AVERAGED:
    for _name, _dtype in NUMBERS.items():
        generate(
            _row.name, f"CountIn{_name}", f"What the mean divides by is kept in {_name.lower()}.",
            kind="counts", topics=TOPICS, patches=_count_in(_dtype),
        )  # fmt: skip
for _row in LABELLED:
    for _name, _dtype in INTEGERS.items():
        generate(
            _row.name, f"ClassIn{_name}", f"A valid label is looked up as {_name.lower()}.",
            kind="counts", topics=TOPICS, patches=_label_in(_dtype),
        )  # fmt: skip
for _function, _ids in (
    *((row.name, "labels") for row in LABELLED),
    *((row.name, "target_class_ids") for row in MASKS),
    ("mask_rcnn_select_masks", "class_ids"),
    ("pspnet_resize_labels", "labels"),
):
    for _name, _dtype in {**INTEGERS, "Int32": np.int32}.items():
        # Ids of masks to be selected are valid ones, which 32 bits hold.
        if _function == "mask_rcnn_select_masks" and _name == "Int32":
            continue
        generate(
            _function, f"IdsIn{_name}", f"Ids are narrowed to {_name.lower()} as they are read.",
            kind="counts", topics=TOPICS, change=_given_in(_ids, _dtype),
        )  # fmt: skip
for _row in MASKS:
    generate(
        _row.name, "RoiInUint8", "The index of a RoI is kept in uint8.",
        kind="counts", topics=TOPICS, patches={"own_masks": _roi_in_uint8},
    )  # fmt: skip
for _name, _dtype in INTEGERS.items():
    generate(
        "pspnet_predict", f"ClassIn{_name}", f"The winning class is kept in {_name.lower()}.",
        kind="counts", topics=TOPICS,
        result=_winner_in(_dtype),
    )  # fmt: skip
generate(
    "pspnet_resize_labels", "IndexInUint8", "Source indices are kept in uint8.",
    kind="counts", topics=TOPICS, patches={"resized_labels": _index_in_uint8},
)  # fmt: skip
