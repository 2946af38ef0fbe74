"""The table of functions: names, arrays, parameters, what can be differentiated, what it costs.

One row per function of the specification. Loader, oracle, engine, search, benchmarks and site read it
from here, so that a new function is one row here, one definition in ``lossproof.oracle.definitions``,
one method per adapter and one page of clauses in ``spec/``; ``lossproof.completeness`` names what is
missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

REDUCTIONS = ("none", "sum", "mean")

# Marks a parameter that a case has to give.
REQUIRED = object()


class Values(StrEnum):
    """What an array holds; the search for inputs that break a backend draws by it."""

    NUMBERS = "numbers"
    """Any number."""
    LOGITS = "logits"
    """Any number, in which the function is smooth with bounded slopes."""
    PROBABILITIES = "probabilities"
    """Numbers in [0, 1], 0 and 1 included."""
    TARGETS = "targets"
    """Numbers in [0, 1], mostly 0 or 1, that say how much an element belongs to its class."""
    DISTRIBUTIONS = "distributions"
    """The same along the axis of the classes, mostly one-hot rows."""
    LABELS = "labels"
    """Classes counted from 0, and labels that are ignored, dropped or invalid."""
    CLASS_IDS = "class ids"
    """Classes counted from 0, which is the background; padding is 0 or below."""
    LABEL_MAPS = "label maps"
    """Any integer of the dtype."""


# What a loss measures against.
_TRUTHS = frozenset({Values.TARGETS, Values.DISTRIBUTIONS, Values.LABELS, Values.CLASS_IDS})
_INTEGERS = frozenset({Values.LABELS, Values.CLASS_IDS, Values.LABEL_MAPS})


@dataclass(frozen=True)
class Array:
    """An array argument.

    ``shape`` is ``*`` (any), names of dimensions (``N H W C``; a name means the same length
    wherever it occurs in the call), ``... C`` (at least one dimension; C is the length along the
    parameter ``axis``), ``=other`` (the shape of that argument) or ``-axis other`` (the shape of
    that argument without its axis).

    ``used`` gives, as a shape, how many elements the result depends on where those are not all;
    the dimension ``K`` is the number of class ids above 0.
    """

    name: str
    shape: str
    values: Values
    used: str = ""

    @property
    def integer(self) -> bool:
        return self.values in _INTEGERS


@dataclass(frozen=True)
class Parameter:
    """A keyword-only argument; ``kind`` names the check that the loader makes.

    ``shape`` is that of a parameter that is an array, as in ``Array`` or ``last other`` (the last
    axis of that argument alone); ``lengths`` names the dimensions that a number or a size stands for.
    """

    name: str
    kind: str
    default: Any = REQUIRED
    shape: str = ""
    lengths: str = ""


@dataclass(frozen=True)
class Function:
    """A function under test.

    ``clause`` is the clause that defines it, whose page is the function's. ``result`` is the shape of
    the unreduced result, as in ``Array``, with the dtype of the ``leading`` array unless
    ``integer_result``; an empty one is a scalar. ``wrt`` names the arrays that gradients are taken
    with respect to, ``also`` those that a case may name beside them.

    ``operations`` counts what the definition needs per used element of the leading array, forward
    and for the gradients: additions, multiplications, divisions, comparisons, and exponentials and
    logarithms as one each. Benchmarks compare backends with it.
    """

    name: str
    clause: str
    arrays: tuple[Array, ...]
    result: str
    operations: tuple[int, int]
    parameters: tuple[Parameter, ...] = ()
    wrt: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    integer_result: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process it is a name: there it is the row of the table, too."""
        return _row, (self.name,)

    @property
    def has_float_arrays(self) -> bool:
        return any(not array.integer for array in self.arrays)

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The arrays that derivatives may be taken with respect to."""
        return self.wrt + self.also

    @property
    def weights(self) -> tuple[str, ...]:
        """The parameters that are arrays, which a case may ask for the gradients of, too."""
        return tuple(parameter.name for parameter in self.parameters if parameter.kind == "array")

    @property
    def widens(self) -> bool:
        """Whether it is a loss of logits or probabilities, which may be float32 for half precision (CH-8)."""
        return bool(self.wrt) and any(array.values in _TRUTHS for array in self.arrays)

    @property
    def leading(self) -> Array:
        """The prediction: the first array that is differentiated, or that could be, or that there is."""
        if self.wrt:
            return next(array for array in self.arrays if array.name == self.wrt[0])
        return next((array for array in self.arrays if not array.integer), self.arrays[0])


_AXIS = Parameter("axis", "integer", -1)
_REDUCTION = Parameter("reduction", "reduction", "mean")
_SMOOTHING = Parameter("label_smoothing", "fraction", 0.0)
_CLASSES = Parameter("num_classes", "integer", lengths="C")

_TABLE = (
    Function(
        "l2_loss",
        clause="L2-1",
        arrays=(
            Array("prediction", "*", Values.NUMBERS),
            Array("target", "=prediction", Values.NUMBERS),
        ),
        parameters=(_REDUCTION, Parameter("half", "boolean", False)),
        result="=prediction",
        wrt=("prediction", "target"),
        operations=(3, 3),
    ),
    Function(
        "euclidean_distance",
        clause="ED-1",
        arrays=(
            Array("prediction", "... D", Values.NUMBERS),
            Array("target", "=prediction", Values.NUMBERS),
        ),
        parameters=(_AXIS,),
        result="-axis prediction",
        wrt=("prediction", "target"),
        operations=(3, 3),
    ),
    Function(
        "sigmoid",
        clause="SG-1",
        arrays=(Array("logits", "*", Values.LOGITS),),
        result="=logits",
        wrt=("logits",),
        operations=(4, 3),
    ),
    Function(
        "log_sigmoid",
        clause="LSG-1",
        arrays=(Array("logits", "*", Values.LOGITS),),
        result="=logits",
        wrt=("logits",),
        operations=(5, 3),
    ),
    Function(
        "softmax",
        clause="SM-1",
        arrays=(Array("logits", "... C", Values.LOGITS),),
        parameters=(_AXIS,),
        result="=logits",
        wrt=("logits",),
        operations=(5, 4),
    ),
    Function(
        "log_softmax",
        clause="LSM-1",
        arrays=(Array("logits", "... C", Values.LOGITS),),
        parameters=(_AXIS,),
        result="=logits",
        wrt=("logits",),
        operations=(5, 4),
    ),
    Function(
        "cross_entropy",
        clause="CE-1",
        arrays=(
            Array("probabilities", "... C", Values.PROBABILITIES),
            Array("target", "=probabilities", Values.DISTRIBUTIONS),
        ),
        parameters=(_AXIS, _REDUCTION),
        result="-axis probabilities",
        wrt=("probabilities",),
        also=("target",),
        operations=(3, 2),
    ),
    Function(
        "softmax_cross_entropy",
        clause="CE-5",
        arrays=(
            Array("logits", "... C", Values.LOGITS),
            Array("target", "=logits", Values.DISTRIBUTIONS),
        ),
        parameters=(_AXIS, _SMOOTHING, _REDUCTION),
        result="-axis logits",
        wrt=("logits",),
        also=("target",),
        operations=(6, 3),
    ),
    Function(
        "sparse_softmax_cross_entropy",
        clause="CE-6",
        arrays=(
            Array("logits", "... C", Values.LOGITS),
            Array("labels", "-axis logits", Values.LABELS),
        ),
        parameters=(
            _AXIS,
            Parameter("weight", "array", None, shape="C"),
            Parameter("ignore_index", "integer", None),
            _SMOOTHING,
            _REDUCTION,
        ),
        result="-axis logits",
        wrt=("logits",),
        operations=(4, 3),
    ),
    Function(
        "binary_cross_entropy",
        clause="BCE-1",
        arrays=(
            Array("probabilities", "*", Values.PROBABILITIES),
            Array("target", "=probabilities", Values.TARGETS),
        ),
        parameters=(Parameter("weight", "array", None, shape="=probabilities"), _REDUCTION),
        result="=probabilities",
        wrt=("probabilities",),
        also=("target",),
        operations=(7, 5),
    ),
    Function(
        "sigmoid_cross_entropy",
        clause="BCE-8",
        arrays=(
            Array("logits", "*", Values.LOGITS),
            Array("target", "=logits", Values.TARGETS),
        ),
        parameters=(
            Parameter("weight", "array", None, shape="=logits"),
            Parameter("pos_weight", "array", None, shape="last logits"),
            _REDUCTION,
        ),
        result="=logits",
        wrt=("logits",),
        also=("target",),
        operations=(8, 6),
    ),
    Function(
        "pspnet_resize_labels",
        clause="PSP-1",
        arrays=(Array("labels", "N H W", Values.LABEL_MAPS, used="N h w"),),
        parameters=(Parameter("size", "size", lengths="h w"),),
        result="N h w",
        operations=(0, 0),  # labels are copied
        integer_result=True,
    ),
    Function(
        "pspnet_loss",
        clause="PSP-2",
        arrays=(
            Array("logits", "N h w C", Values.LOGITS),
            Array("labels", "N H W", Values.LABELS, used="N h w"),
        ),
        parameters=(_CLASSES, _REDUCTION),
        result="N h w",
        wrt=("logits",),
        operations=(4, 3),
    ),
    Function(
        "pspnet_total_loss",
        clause="PSP-6",
        arrays=(
            Array("logits", "N h w C", Values.LOGITS),
            Array("aux_logits", "N h2 w2 C", Values.LOGITS),
            Array("labels", "N H W", Values.LABELS, used="N h w"),
        ),
        parameters=(_CLASSES, Parameter("aux_weight", "number", 0.4)),
        result="",
        wrt=("logits", "aux_logits"),
        operations=(8, 6),  # two heads of one size
    ),
    Function(
        "pspnet_predict",
        clause="PSP-7",
        arrays=(Array("logits", "N h w C", Values.LOGITS),),
        result="N h w",
        operations=(1, 0),
        integer_result=True,
    ),
    Function(
        "mask_rcnn_mask_loss",
        clause="MRC-1",
        arrays=(
            Array("target_masks", "B R H W", Values.TARGETS, used="K H W"),
            Array("target_class_ids", "B R", Values.CLASS_IDS),
            Array("pred_masks", "B R H W C", Values.PROBABILITIES, used="K H W"),
        ),
        result="",
        wrt=("pred_masks",),
        operations=(7, 5),
    ),
    Function(
        "mask_rcnn_mask_loss_with_logits",
        clause="MRC-6",
        arrays=(
            Array("target_masks", "B R H W", Values.TARGETS, used="K H W"),
            Array("target_class_ids", "B R", Values.CLASS_IDS),
            Array("mask_logits", "B R H W C", Values.LOGITS, used="K H W"),
        ),
        result="",
        wrt=("mask_logits",),
        operations=(8, 6),
    ),
    Function(
        "mask_rcnn_select_masks",
        clause="MRC-7",
        arrays=(
            Array("pred_masks", "B R H W C", Values.NUMBERS, used="B R H W"),
            Array("class_ids", "B R", Values.CLASS_IDS),
        ),
        result="B R H W",
        operations=(0, 0),  # masks are copied
    ),
)

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in _TABLE}


def _row(name: str) -> Function:
    return FUNCTIONS[name]
