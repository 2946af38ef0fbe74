"""The table of what is swept: functions of one variable, and how it becomes their inputs.

One row per function and target. A new row is one here, with the formulas of its outputs in ``reference``
and their bounds in ``allowed``; a test compares both with the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.core.functions import FUNCTIONS
from lossproof.core.text import require
from lossproof.errors import LossproofError

Array = npt.NDArray[Any]


class Domain(Enum):
    """The inputs that a sweep tries."""

    ALL = "all numbers, infinities and NaN"
    UNIT = "the numbers from 0 to 1"


@dataclass(frozen=True)
class Target:
    """One number per input that a call gives.

    Attributes:
        name: what reports call it.
        source: ``value`` or ``gradients.<array>``.
        formula: its name in ``lossproof.sweeps.reference``.
        order: whether it grows (1) or falls (−1) with |x|, for negative x and for positive x.
        mirror: the output, and its sign, that has the same exact value at −x.
        column: which class, where the call gives one number per class.
        least: every bound is at least so many ULP; errors below need not be judged.
    """

    name: str
    source: str
    formula: str
    order: tuple[int, int]
    mirror: tuple[str, int] | None = None
    column: int | None = None
    least: float = 1.0


@dataclass(frozen=True)
class Subject:
    """A function with everything but one variable fixed.

    Attributes:
        name: function, and what is fixed.
        function: of the specification.
        about: how the variable becomes inputs, in words.
        arrays: the call's arrays for n values of the variable.
        targets: what is measured.
        parameters: those that are not the function's defaults.
        cotangent: what weights the result, for n values; ones if None.
    """

    name: str
    function: str
    about: str
    arrays: Callable[[Array], dict[str, Array]]
    targets: tuple[Target, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cotangent: Callable[[Array], Array] | None = None
    domain: Domain = Domain.ALL

    @property
    def all_parameters(self) -> dict[str, Any]:
        """Every parameter of the function."""
        defaults = {p.name: p.default for p in FUNCTIONS[self.function].parameters}
        return {**defaults, **self.parameters}

    @property
    def sources(self) -> list[str]:
        """The outputs of the call that are measured."""
        return list(dict.fromkeys(target.source for target in self.targets))


def _alone(name: str) -> Callable[[Array], dict[str, Array]]:
    return lambda x: {name: x}


def _beside(name: str, other: str, value: float) -> Callable[[Array], dict[str, Array]]:
    return lambda x: {name: x, other: np.full_like(x, value)}


def _two_classes(x: Array) -> dict[str, Array]:
    """Rows (x, 0)."""
    logits = np.zeros((*x.shape, 2), x.dtype)
    logits[..., 0] = x
    return {"logits": logits}


def _first_class(x: Array) -> Array:
    """Rows (1, 0)."""
    rows = np.zeros((*x.shape, 2), x.dtype)
    rows[..., 0] = 1
    return rows


_NONE = {"reduction": "none"}
_SLOPES = "gradients.logits"

_TABLE = (
    Subject(
        "sigmoid", "sigmoid", "logits x", _alone("logits"),
        (
            Target("value", "value", "sigma", (-1, 1)),
            Target(_SLOPES, _SLOPES, "slope", (-1, -1), (_SLOPES, 1)),
        ),
    ),
    Subject(
        "log_sigmoid", "log_sigmoid", "logits x", _alone("logits"),
        (
            Target("value", "value", "log_sigma", (-1, 1)),
            Target(_SLOPES, _SLOPES, "other", (1, -1)),
        ),
    ),
    Subject(
        "sigmoid_cross_entropy/target-0", "sigmoid_cross_entropy", "logits x, target 0",
        _beside("logits", "target", 0.0),
        (
            Target("value", "value", "softplus", (-1, 1)),
            Target(_SLOPES, _SLOPES, "sigma", (-1, 1)),
        ),
        _NONE,
    ),
    Subject(
        "sigmoid_cross_entropy/target-1", "sigmoid_cross_entropy", "logits x, target 1",
        _beside("logits", "target", 1.0),
        (
            Target("value", "value", "softplus_of_opposite", (1, -1)),
            Target(_SLOPES, _SLOPES, "minus_other", (-1, 1)),
        ),
        _NONE,
    ),
    Subject(
        "binary_cross_entropy/target-0", "binary_cross_entropy", "probabilities x, target 0",
        _beside("probabilities", "target", 0.0),
        (
            Target("value", "value", "cost_of_zero", (0, 1)),
            Target("gradients.probabilities", "gradients.probabilities", "slope_of_zero", (0, 1)),
        ),
        _NONE, domain=Domain.UNIT,
    ),
    Subject(
        "binary_cross_entropy/target-1", "binary_cross_entropy", "probabilities x, target 1",
        _beside("probabilities", "target", 1.0),
        (
            Target("value", "value", "cost_of_one", (0, -1)),
            Target("gradients.probabilities", "gradients.probabilities", "slope_of_one", (0, 1)),
        ),
        _NONE, domain=Domain.UNIT,
    ),
    Subject(
        "softmax/two-classes", "softmax", "rows of logits (x, 0); cotangent (1, 0)", _two_classes,
        (
            Target("value[0]", "value", "sigma", (-1, 1), ("value[1]", 1), 0),
            Target("value[1]", "value", "other", (1, -1), ("value[0]", 1), 1),
            Target("gradients.logits[0]", _SLOPES, "slope", (-1, -1), ("gradients.logits[0]", 1), 0),
            Target("gradients.logits[1]", _SLOPES, "minus_slope", (1, 1), ("gradients.logits[1]", 1), 1),
        ),
        cotangent=_first_class,
    ),
    Subject(
        "log_softmax/two-classes", "log_softmax", "rows of logits (x, 0); cotangent (1, 0)", _two_classes,
        (
            Target("value[0]", "value", "log_sigma", (-1, 1), ("value[1]", 1), 0),
            Target("value[1]", "value", "log_other", (1, -1), ("value[0]", 1), 1),
            Target("gradients.logits[0]", _SLOPES, "other", (1, -1), column=0, least=0.5),
            Target("gradients.logits[1]", _SLOPES, "minus_other", (-1, 1), column=1),
        ),
        cotangent=_first_class,
    ),
    Subject(
        "softmax_cross_entropy/two-classes", "softmax_cross_entropy",
        "rows of logits (x, 0), targets (1, 0)",
        lambda x: {**_two_classes(x), "target": _first_class(x)},
        (
            Target("value", "value", "softplus_of_opposite", (1, -1)),
            Target("gradients.logits[0]", _SLOPES, "minus_other", (-1, 1), column=0),
            Target("gradients.logits[1]", _SLOPES, "other", (1, -1), column=1),
        ),
        _NONE,
    ),
    Subject(
        "sparse_softmax_cross_entropy/two-classes", "sparse_softmax_cross_entropy",
        "rows of logits (x, 0), label 0",
        lambda x: {**_two_classes(x), "labels": np.zeros(x.shape, np.int64)},
        (
            Target("value", "value", "softplus_of_opposite", (1, -1)),
            Target("gradients.logits[0]", _SLOPES, "minus_other", (-1, 1), column=0),
            Target("gradients.logits[1]", _SLOPES, "other", (1, -1), column=1),
        ),
        _NONE,
    ),
    Subject(
        "l2_loss/target-0", "l2_loss", "prediction x, target 0", _beside("prediction", "target", 0.0),
        (
            Target("value", "value", "square", (1, 1), ("value", 1)),
            Target("gradients.prediction", "gradients.prediction", "twice", (-1, 1),
                   ("gradients.prediction", -1)),
        ),
        _NONE,
    ),
)  # fmt: skip

SUBJECTS: Mapping[str, Subject] = {subject.name: subject for subject in _TABLE}
"""By name, in the order of reports."""

# The dtypes all of whose numbers are tried.
SWEPT_DTYPES = ("float16", "bfloat16", "float32")


def choose(names: list[str] | tuple[str, ...]) -> list[Subject]:
    """The subjects of these functions, or of these names; all if there is none.

    Raises:
        LossproofError: an unknown function, or one that has no such form.
    """
    if not names:
        return list(SUBJECTS.values())
    found: dict[str, Subject] = {}
    for name in names:
        own = [s for s in SUBJECTS.values() if name in (s.name, s.function)]
        if not own and name in FUNCTIONS:
            swept = ", ".join(dict.fromkeys(s.function for s in SUBJECTS.values()))
            raise LossproofError(f"{name} is no function of one variable; a sweep takes {swept}")
        require_function(name)
        found |= {s.name: s for s in own}
    return list(found.values())


def require_function(name: str) -> None:
    """Refuse what is neither a function nor a subject.

    Raises:
        LossproofError: the message names the nearest that is.
    """
    require("function", name, [*FUNCTIONS, *SUBJECTS])
