"""Parameters that are right alone and wrong together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lossproof.adapters import _numpy_formulas as formulas
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.functions import FUNCTIONS, Function

from .. import reference as ref
from .generated import Given, camel, generate
from .registry import mutant

TOPICS = ("pairs", "smoothing", "weights", "ignored", "ordinary")
# Parameters without which a call is as valid as with them.
OPTIONAL = ("label_smoothing", "weight", "ignore_index", "pos_weight", "half")

_label_weight = formulas.label_weight


def _given(row: Function, name: str) -> Callable[[Given, Given], bool]:
    """Whether a parameter of a call differs from its default, or the array has more than two axes."""
    defaults = {parameter.name: parameter.default for parameter in row.parameters}
    leading = row.leading.name

    def given(arrays: Given, parameters: Given) -> bool:
        if name == "rank":
            return bool(arrays[leading].ndim > 2)
        if name == "axis":
            return bool(parameters["axis"] % arrays[leading].ndim != arrays[leading].ndim - 1)
        value = parameters[name]
        return value is not None and (isinstance(value, np.ndarray) or bool(value != defaults[name]))

    return given


def _ignored_with(row: Function, one: str, other: str) -> Callable[[Given, Given], None]:
    """``one`` falls back to its default where ``other`` is given."""
    default = next(parameter.default for parameter in row.parameters if parameter.name == one)
    given = _given(row, other)

    def change(arrays: Given, parameters: Given) -> None:
        if not given(arrays, parameters):
            return
        if one == "ignore_index":
            # Some class is read where the ignored label is none: a wrong loss rather than an error.
            k, classes = arrays["labels"], arrays["logits"].shape[parameters["axis"]]
            arrays["labels"] = np.where(k == parameters[one], k % max(classes, 1), k)
        parameters[one] = default

    return change


for _row in FUNCTIONS.values():
    _names = [parameter.name for parameter in _row.parameters if parameter.name != "num_classes"]
    for _one in _names:
        if _one not in OPTIONAL:
            continue
        for _other in [*_names, "rank"]:
            if _other == _one:
                continue
            _when = "above rank 2" if _other == "rank" else f"where {_other} is given"
            generate(
                _row.name, f"{camel(_one)}LostWith{camel(_other)}", f"{_one} is ignored {_when}.",
                kind="pairs", topics=TOPICS, change=_ignored_with(_row, _one, _other),
            )  # fmt: skip
            generate(
                _row.name, f"{camel(_one)}LostWith{camel(_other)}Backward",
                f"The gradient ignores {_one} {_when}.",
                kind="pairs", topics=TOPICS, change=_ignored_with(_row, _one, _other), value=False,
            )  # fmt: skip


# -- the sparse cross entropy -----------------------------------------------------------------

SPARSE = "sparse_softmax_cross_entropy"


def _all_rows_weigh(k: Any, counts: Any, weight: Any) -> Any:
    """The divisor has the weights of ignored rows too (of the class that their label wraps to)."""
    if weight is None or counts is None:
        return _label_weight(k, counts, weight)
    return np.float64(weight[k % len(weight)].sum(dtype=np.float64))


def _rows_divide(k: Any, counts: Any, weight: Any) -> Any:
    return _label_weight(k, counts, None)


def _classes_divide(k: Any, counts: Any, weight: Any) -> Any:
    return _label_weight(k, counts, weight) if weight is None else np.float64(weight.sum(dtype=np.float64))


def _uniform(x: Any, k: Any, label_smoothing: float, weight: Any = None) -> Any:
    """Class weights multiply the label's term alone."""
    log_p = formulas.log_softmax(x)
    own, every = formulas.at_label(log_p, k), formulas.row_sum(log_p)
    own = own if weight is None else formulas.product(weight[k], own)
    return -((1 - label_smoothing) * own + label_smoothing / log_p.shape[-1] * every)


def _label_weighs_all(x: Any, k: Any, label_smoothing: float, weight: Any = None) -> Any:
    """The label's weight multiplies the uniform term too."""
    log_p = formulas.log_softmax(x)
    own, every = formulas.at_label(log_p, k), formulas.row_sum(log_p)
    cost = -((1 - label_smoothing) * own + label_smoothing / log_p.shape[-1] * every)
    return cost if weight is None else formulas.product(weight[k], cost)


def _over_the_others(x: Any, k: Any, label_smoothing: float, weight: Any = None) -> Any:
    """With class weights the uniform term is shared by the other C − 1 classes."""
    if weight is None:
        return _smoothed(x, k, label_smoothing)
    log_p = formulas.log_softmax(x)
    own, every = weight[k] * formulas.at_label(log_p, k), formulas.dot_of_logs(weight, log_p)
    others = max(log_p.shape[-1] - 1, 1)
    return -((1 - label_smoothing) * own + label_smoothing / others * (every - own))


_smoothed = formulas.smoothed_sparse_softmax_cross_entropy

for _suffix, _bug, _patches in (
    ("DivisorOfAllRows", "With class weights the mean divides by the weights of ignored rows too.",
     {"label_weight": _all_rows_weigh}),
    ("DivisorOfRows", "With class weights the mean divides by the number of rows.",
     {"label_weight": _rows_divide}),
    ("DivisorOfClasses", "With class weights the mean divides by the weights of all classes.",
     {"label_weight": _classes_divide}),
    ("UniformUnweighted", "Class weights do not reach the uniform part of smoothed labels.",
     {"smoothed_sparse_softmax_cross_entropy": _uniform}),
    ("UniformByLabel", "The label's weight multiplies the uniform part of smoothed labels.",
     {"smoothed_sparse_softmax_cross_entropy": _label_weighs_all}),
    ("UniformOverOthers", "With class weights labels are smoothed over the other classes.",
     {"smoothed_sparse_softmax_cross_entropy": _over_the_others}),
):  # fmt: skip
    generate(SPARSE, _suffix, _bug, kind="pairs", topics=TOPICS, patches=_patches)


def _only_when(
    condition: Callable[[Given, Given], bool], factor: Callable[[Given, Given], float]
) -> Callable[[Any, Given, Given], Any]:
    """Values and gradients are multiplied by a factor under a condition."""

    def result(found: Any, arrays: Given, parameters: Given) -> Any:
        if not condition(arrays, parameters):
            return found
        with np.errstate(all="ignore"):
            return (ref.wide(found) * np.float64(factor(arrays, parameters))).astype(found.dtype)

    return result


def _counted(arrays: Given, parameters: Given) -> Any:
    k, ignored = arrays["labels"], parameters["ignore_index"]
    return k if ignored is None else k[k != ignored]


def _weights_over_rows(arrays: Given, parameters: Given) -> float:
    """The weights of the rows that count over their number: makes the one divisor the other."""
    k = _counted(arrays, parameters)
    valid = k[(k >= 0) & (k < len(parameters["weight"]))]
    return float(ref.wide(parameters["weight"])[valid].sum(dtype=np.float64) / max(valid.size, 1))


generate(
    SPARSE, "DivisorOfRowsWhereSmoothed", "With smoothing the mean divides by rows, not by their weights.",
    kind="pairs", topics=TOPICS,
    result=_only_when(
        lambda arrays, p: p["weight"] is not None and bool(p["label_smoothing"]) and p["reduction"] == "mean",
        _weights_over_rows,
    ),
)  # fmt: skip
generate(
    SPARSE, "DivisorOfRowsWhereIgnored",
    "With an ignore_index the mean divides by rows, not by their weights.",
    kind="pairs", topics=TOPICS,
    result=_only_when(
        lambda arrays, p: p["weight"] is not None and p["ignore_index"] is not None
        and p["reduction"] == "mean",
        _weights_over_rows,
    ),
)  # fmt: skip
generate(
    SPARSE, "IgnoredRowsDivideWhereSmoothed", "With smoothing the mean divides by ignored rows too.",
    kind="pairs", topics=TOPICS,
    result=_only_when(
        lambda arrays, p: bool(p["label_smoothing"]) and p["weight"] is None and p["reduction"] == "mean",
        lambda arrays, p: _counted(arrays, p).size / max(arrays["labels"].size, 1),
    ),
)  # fmt: skip


@mutant(SPARSE, kind="pairs", topics=TOPICS)
class UniformOfIgnoredRows(NumpyAdapter):
    """Ignored rows cost the uniform part of their smoothed label."""

    def sparse_softmax_cross_entropy(self, logits: Any, labels: Any, **p: Any) -> Any:
        found = super().sparse_softmax_cross_entropy(logits, labels, **p)
        if not p["label_smoothing"] or p["ignore_index"] is None or p["reduction"] == "none":
            return found
        rows = np.moveaxis(ref.wide(logits), p["axis"], -1)[labels == p["ignore_index"]]
        extra = -p["label_smoothing"] * ref.log_softmax(rows, -1).mean(axis=-1).sum()
        count = (labels != p["ignore_index"]).sum() if p["reduction"] == "mean" else 1
        with np.errstate(all="ignore"):
            return (ref.wide(found) + extra / np.float64(count)).astype(found.dtype)


# -- binary cross entropy ------------------------------------------------------------------------


def _broadcast_from_the_left(name: str) -> Callable[[Given, Given], None]:
    """An array of fewer axes, or of axes of length 1, is spread along the wrong ones above rank 2."""

    def change(arrays: Given, parameters: Given) -> None:
        w = parameters[name]
        shape = next(iter(arrays.values())).shape
        if w is None or len(shape) <= 2 or w.shape == shape:
            return
        # As many elements as are needed, one after the other, in the order of the first axes.
        parameters[name] = np.resize(w, shape[::-1]).T

    return change


for _function, _name in (
    ("binary_cross_entropy", "weight"), ("sigmoid_cross_entropy", "weight"),
    ("sigmoid_cross_entropy", "pos_weight"),
):  # fmt: skip
    generate(
        _function, f"{camel(_name)}FromTheLeft", f"{_name} is broadcast along the first axes above rank 2.",
        kind="pairs", topics=TOPICS, change=_broadcast_from_the_left(_name),
    )  # fmt: skip


def _weighs_mean(name: str, other: str) -> Callable[[Any, Given, Given], Any]:
    def share(arrays: Given, parameters: Given) -> float:
        shape = next(iter(arrays.values())).shape
        return 1 / float(np.broadcast_to(ref.wide(parameters[name]), shape).mean())

    return _only_when(
        lambda arrays, p: p[name] is not None and p[other] is not None and p["reduction"] == "mean", share
    )


generate(
    "sigmoid_cross_entropy", "MeanOfWeightsWithPosWeight",
    "With pos_weight the mean divides by the sum of weights.",
    kind="pairs", topics=TOPICS, result=_weighs_mean("weight", "pos_weight"),
)  # fmt: skip


def _squared_pos_weight(arrays: Given, parameters: Given) -> None:
    if parameters["weight"] is not None and parameters["pos_weight"] is not None:
        parameters["weight"] = (parameters["weight"] * parameters["pos_weight"]).astype(
            parameters["weight"].dtype
        )
        parameters["pos_weight"] = None


generate(
    "sigmoid_cross_entropy", "PosWeightOfBothTermsWithWeight",
    "With weight, pos_weight multiplies both terms.",
    kind="pairs", topics=TOPICS, change=_squared_pos_weight,
)  # fmt: skip


def _dropped_weigh(k: Any, counts: Any, weight: Any) -> Any:
    return np.float64(k.size)


for _function in ("pspnet_loss", "pspnet_total_loss"):
    generate(
        _function, "DivisorOfAllPixels", "The mean divides by dropped pixels too.",
        kind="pairs", topics=(*TOPICS, "dropped"), patches={"label_weight": _dropped_weigh},
    )  # fmt: skip
