"""The table of functions: names, arrays, parameters and what can be differentiated.

One row per function of the specification. Everything else (loader, oracle, engine, pytest items)
reads it from here, so that a new function is one row here, one definition in the oracle and one
method per adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REDUCTIONS = ("none", "sum", "mean")

# Marks a parameter that a case has to give.
REQUIRED = object()


@dataclass(frozen=True)
class Array:
    """An array argument.

    ``shape`` is ``*`` (any), names of dimensions (``N H W C``; a name means the same length
    wherever it occurs in the call), ``... C`` (at least one dimension), ``=other`` (the shape of
    that argument) or ``-axis other`` (the shape of that argument without its axis).
    """

    name: str
    shape: str
    integer: bool = False


@dataclass(frozen=True)
class Parameter:
    """A keyword-only argument; ``kind`` names the check that the loader makes."""

    name: str
    kind: str
    default: Any = REQUIRED


@dataclass(frozen=True)
class Function:
    """A function under test.

    ``wrt`` names the arrays that gradients are taken with respect to, ``leading`` the array whose
    dtype the result has.
    """

    name: str
    arrays: tuple[Array, ...]
    parameters: tuple[Parameter, ...] = ()
    wrt: tuple[str, ...] = ()
    integer_result: bool = False

    @property
    def has_float_arrays(self) -> bool:
        return any(not array.integer for array in self.arrays)


_AXIS = Parameter("axis", "integer", -1)
_REDUCTION = Parameter("reduction", "reduction", "mean")
_SMOOTHING = Parameter("label_smoothing", "fraction", 0.0)
_WEIGHT = Parameter("weight", "array", None)
_CLASSES = Parameter("num_classes", "integer")

_TABLE = (
    Function(
        "l2_loss",
        (Array("prediction", "*"), Array("target", "=prediction")),
        (_REDUCTION, Parameter("half", "boolean", False)),
        ("prediction", "target"),
    ),
    Function(
        "euclidean_distance",
        (Array("prediction", "... D"), Array("target", "=prediction")),
        (_AXIS,),
        ("prediction", "target"),
    ),
    Function("sigmoid", (Array("logits", "*"),), (), ("logits",)),
    Function("log_sigmoid", (Array("logits", "*"),), (), ("logits",)),
    Function("softmax", (Array("logits", "... C"),), (_AXIS,), ("logits",)),
    Function("log_softmax", (Array("logits", "... C"),), (_AXIS,), ("logits",)),
    Function(
        "cross_entropy",
        (Array("probabilities", "... C"), Array("target", "=probabilities")),
        (_AXIS, _REDUCTION),
        ("probabilities",),
    ),
    Function(
        "softmax_cross_entropy",
        (Array("logits", "... C"), Array("target", "=logits")),
        (_AXIS, _SMOOTHING, _REDUCTION),
        ("logits",),
    ),
    Function(
        "sparse_softmax_cross_entropy",
        (Array("logits", "... C"), Array("labels", "-axis logits", integer=True)),
        (_AXIS, _WEIGHT, Parameter("ignore_index", "integer", None), _SMOOTHING, _REDUCTION),
        ("logits",),
    ),
    Function(
        "binary_cross_entropy",
        (Array("probabilities", "*"), Array("target", "=probabilities")),
        (_WEIGHT, _REDUCTION),
        ("probabilities",),
    ),
    Function(
        "sigmoid_cross_entropy",
        (Array("logits", "*"), Array("target", "=logits")),
        (_WEIGHT, Parameter("pos_weight", "array", None), _REDUCTION),
        ("logits",),
    ),
    Function(
        "pspnet_resize_labels",
        (Array("labels", "N H W", integer=True),),
        (Parameter("size", "size"),),
        integer_result=True,
    ),
    Function(
        "pspnet_loss",
        (Array("logits", "N h w C"), Array("labels", "N H W", integer=True)),
        (_CLASSES, _REDUCTION),
        ("logits",),
    ),
    Function(
        "pspnet_total_loss",
        (
            Array("logits", "N h w C"),
            Array("aux_logits", "N h2 w2 C"),
            Array("labels", "N H W", integer=True),
        ),
        (_CLASSES, Parameter("aux_weight", "number", 0.4)),
        ("logits", "aux_logits"),
    ),
    Function("pspnet_predict", (Array("logits", "N h w C"),), integer_result=True),
    Function(
        "mask_rcnn_mask_loss",
        (
            Array("target_masks", "B R H W"),
            Array("target_class_ids", "B R", integer=True),
            Array("pred_masks", "B R H W C"),
        ),
        (),
        ("pred_masks",),
    ),
    Function(
        "mask_rcnn_mask_loss_with_logits",
        (
            Array("target_masks", "B R H W"),
            Array("target_class_ids", "B R", integer=True),
            Array("mask_logits", "B R H W C"),
        ),
        (),
        ("mask_logits",),
    ),
    Function(
        "mask_rcnn_select_masks",
        (Array("pred_masks", "B R H W C"), Array("class_ids", "B R", integer=True)),
    ),
)

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in _TABLE}


def shape_mismatch(function: Function, shapes: Mapping[str, tuple[int, ...]], axis: int | None) -> str | None:
    """Say what is wrong with the shapes of a call, or None when they agree with the table."""
    lengths: dict[str, int] = {}
    for array in function.arrays:
        shape = shapes[array.name]
        if array.shape == "*":
            continue
        if array.shape.startswith("="):
            wanted = shapes[array.shape[1:]]
        elif array.shape.startswith("-axis "):
            other = list(shapes[array.shape.removeprefix("-axis ")])
            del other[axis if axis is not None else -1]
            wanted = tuple(other)
        elif array.shape.startswith("..."):
            if not -len(shape) <= (-1 if axis is None else axis) < len(shape):
                return f"{array.name} has shape {shape}, which has no axis {axis}"
            continue
        else:
            names = array.shape.split()
            if len(names) != len(shape):
                return f"{array.name} has shape {shape}, but must be ({', '.join(names)})"
            wanted = tuple(
                lengths.setdefault(name, length) for name, length in zip(names, shape, strict=True)
            )
        if shape != wanted:
            return f"{array.name} has shape {shape}, but must have {wanted} to fit the others"
    return None
