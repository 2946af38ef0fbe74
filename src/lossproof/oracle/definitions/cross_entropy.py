"""Cross entropy of probabilities and of logits (spec/cross-entropy.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, product
from lossproof.oracle.bounds import DIVISION, LOG, Bound, Floats, accumulating, each, rounding, summing_rows
from lossproof.oracle.columns import Balls, column, elementwise, sums_of_rows
from lossproof.oracle.cross_entropy_rows import CrossEntropy
from lossproof.oracle.definition import Arguments, Inputs, Outputs, define
from lossproof.oracle.definitions.softmax import Rows
from lossproof.oracle.reading import (
    SILENT,
    Array,
    Arrays,
    Parameters,
    Reading,
    leaves_half,
    nan,
    negative_zero,
    outside,
    spread,
    steep,
    sum_overflows,
    zero_weight,
)
from lossproof.oracle.reduction import element_shares, reduce_elements
from lossproof.oracle.result import Output
from lossproof.oracle.rows import Back, row_sums, rows_of, without

Cost = Callable[[Floats, Floats], tuple[Balls, Bound]]
Gradient = Callable[[Floats, Floats, Balls, tuple[int, ...]], Output]
Smoother = Callable[[float, float, int], Quantity]


def smooth(target: float, smoothing: float, classes: int) -> Quantity:
    """A target with label smoothing over all classes (CE-11)."""
    if not smoothing:
        return target
    epsilon = arb(smoothing)
    return (1 - epsilon) * target + epsilon / classes


def _read_probabilities(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    p, y = arrays["probabilities"], arrays["target"]
    gradients = not negative_zero(p) and not steep(p, dtype)
    if _unspecified(y):
        return SILENT
    if outside(p):
        if p.ndim > 1 or nan(p, y):
            return SILENT
        level = "required" if outside(p[y > 0]) else "recommended"
        return Reading("CE-4", level=level, raises=True, infinite=True, gradients=False)
    if nan(p, y):
        return Reading("CE-16", gradients=gradients)
    if (p == 0).any():
        return Reading("CE-3" if ((p == 0) & (y > 0)).any() else "CE-2", gradients=gradients)
    return Reading("CE-1", gradients=gradients)


def _unspecified(target: Array) -> bool:
    """Whether a target is negative or infinite (CE-19)."""
    return bool(((target < 0) | np.isinf(target)).any())


@define("cross_entropy", _read_probabilities, symmetric=True)
def _cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    return loss_of_rows(arrays, arguments, cross_entropy_rows, cross_entropy_gradient)


def loss_of_rows(arrays: Inputs, arguments: Arguments, cost: Cost, gradient: Gradient) -> Outputs:
    """Value and gradient of a loss that adds up what ``cost`` says of each row of probabilities."""
    x = arrays["probabilities"]
    p, back = rows_of(x, arguments["axis"])
    y, _ = rows_of(arrays["target"], arguments["axis"])
    costs, bound = cost(p, y)
    shape = without(x.shape, arguments["axis"])
    outputs = {"value": reduce_elements(costs, bound, arguments["reduction"], shape)}
    if arguments.wants("gradients.probabilities") and (len(costs) or arguments["reduction"] != "mean"):
        shares = element_shares(len(costs), arguments["reduction"], arguments.cotangent)
        outputs["gradients.probabilities"] = back(gradient(p, y, shares, p.shape))
    return outputs


def _read_dense(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    x, y = arrays["logits"], arrays["target"]
    if not x.shape[parameters["axis"]]:
        return SILENT if parameters["label_smoothing"] else Reading("G-5")
    if _unspecified(y):
        return SILENT
    if nan(x, y):
        return Reading("CE-16", gradients=not nan(y)) if not np.isinf(x).any() else SILENT
    if np.isinf(x).any():
        return _infinite(np.moveaxis(x, parameters["axis"], -1))
    if sum_overflows(spread(x, parameters["axis"]) * 4, dtype):
        return Reading("G-4", level="recommended")
    if not x.size:
        return Reading("G-5")
    if leaves_half(spread(x, parameters["axis"]), dtype):
        return Reading("CE-18")
    if parameters["label_smoothing"]:
        return Reading("CE-11")
    return Reading("CE-5" if np.allclose(y.sum(axis=parameters["axis"]), 1) else "CE-19")


def _infinite(rows: Array) -> Reading:
    """The reading of rows (..., C) with infinite logits."""
    if (np.isneginf(rows).all(axis=-1) | (np.isposinf(rows).sum(axis=-1) > 1)).any():
        return Reading("CE-20", level="recommended")
    return Reading("CE-15", level="recommended" if np.isposinf(rows).any() else "required")


@define(
    "softmax_cross_entropy", _read_dense,
    symmetric=True, shift_invariant=True, composed=("softmax", "cross_entropy"),
)  # fmt: skip
def _softmax_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    return dense_loss(arrays, arguments, smooth, 3.0)


def dense_loss(arrays: Inputs, arguments: Arguments, smoother: Smoother, roundings: float) -> Outputs:
    """Value and gradient with targets smoothed by ``smoother``, which takes so many roundings."""
    loss, back, row_shape = dense_rows(arrays, arguments, smoother, roundings)
    return losses(loss, "logits", arguments, back, row_shape)


def dense_rows(
    arrays: Inputs, arguments: Arguments, smoother: Smoother = smooth, roundings: float = 3.0
) -> tuple[CrossEntropy, Back, tuple[int, ...]]:
    """The rows of a loss with dense targets, the way back, and the shape of the unreduced loss."""
    x = arrays["logits"]
    flat, back = rows_of(x, arguments["axis"])
    y, _ = rows_of(arrays["target"], arguments["axis"])
    smoothing = arguments["label_smoothing"]
    count, classes = flat.shape
    invalid: npt.NDArray[np.bool_] = np.asarray(np.isnan(y).any(axis=1))
    target = column(np.where(invalid[:, None], 0.0, y))
    loss = CrossEntropy(
        Rows(flat, arguments.coarsest),
        Balls([smoother(t, smoothing, classes) for t in target.values], target.at),
        np.ones(count, bool),
        invalid,
        np.ones(count),
        arguments["reduction"],
        extra=roundings * bool(smoothing),
    )
    return loss, back, without(x.shape, arguments["axis"])


def _read_sparse(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    x, labels = np.moveaxis(arrays["logits"], parameters["axis"], -1), arrays["labels"]
    counts = ~_dropped(labels, parameters["ignore_index"])
    clauses = LabelClauses(plain="CE-6", invalid="CE-9", ignored="CE-7", all_ignored="CE-8")
    return read_labelled(x, labels, counts, parameters, dtype, clauses)


def _dropped(labels: Array, ignore_index: int | None) -> npt.NDArray[np.bool_]:
    return np.zeros(labels.shape, bool) if ignore_index is None else labels == ignore_index


def _ignored(arrays: Arrays, parameters: Parameters) -> Array:
    dropped = _dropped(arrays["labels"], parameters["ignore_index"])
    return np.broadcast_to(np.expand_dims(dropped, parameters["axis"]), arrays["logits"].shape)


@define(
    "sparse_softmax_cross_entropy", _read_sparse,
    symmetric=True, shift_invariant=True, ignored=_ignored, one_hot="softmax_cross_entropy",
)  # fmt: skip
def _sparse_softmax_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    return sparse_loss(arrays, arguments, arguments["ignore_index"], smooth, 3.0)


def sparse_loss(
    arrays: Inputs, arguments: Arguments, ignored: int | None, smoother: Smoother, roundings: float
) -> Outputs:
    """Value and gradient with one label ignored, and targets smoothed by ``smoother``."""
    loss, back, shape = sparse_rows(arrays, arguments, ignored, smoother, roundings)
    return losses(loss, "logits", arguments, back, shape)


def sparse_rows(
    arrays: Inputs,
    arguments: Arguments,
    ignored: int | None,
    smoother: Smoother = smooth,
    roundings: float = 3.0,
) -> tuple[CrossEntropy, Back, tuple[int, ...]]:
    """The rows of a loss with integer labels, the way back, and the shape of the labels."""
    flat, back = rows_of(arrays["logits"], arguments["axis"])
    labels = arrays["labels"]
    dropped = _dropped(labels, ignored)
    weight = arguments.array("weight", (flat.shape[1],))
    loss = label_loss(
        flat,
        labels,
        dropped,
        arguments["reduction"],
        arguments.coarsest,
        weight,
        arguments["label_smoothing"],
        smoother=smoother,
        roundings=roundings,
    )
    return loss, back, labels.shape


@dataclass(frozen=True)
class LabelClauses:
    """What a function's own page says of labels: all plain, one outside, some ignored, all ignored."""

    plain: str
    invalid: str
    ignored: str
    all_ignored: str


def read_labelled(
    x: Array,
    labels: Array,
    counts: npt.NDArray[np.bool_],
    parameters: Parameters,
    dtype: FloatType,
    clauses: LabelClauses,
) -> Reading:
    """The reading of logits (..., C) with integer labels (...), of which some count."""
    rows = x[counts]
    used = labels[counts]
    weight, smoothing = parameters.get("weight"), parameters.get("label_smoothing")
    if not x.shape[-1]:
        return SILENT
    if ((used < 0) | (used >= x.shape[-1])).any():
        # A weight table cannot even be looked up; without a reduction other rows stay defined.
        whole = parameters["reduction"] != "none" or labels.ndim == 0
        return Reading(clauses.invalid, raises=True, gradients=False) if whole else SILENT
    if weight is not None and smoothing and not weight[used].any():
        # Smoothed costs over a divisor of 0.
        return SILENT
    if np.isinf(rows).any():
        # A weight of 0 may or may not cancel an infinite cost (G-12).
        return SILENT if nan(rows) or zero_weight(weight) else _infinite(rows)
    if nan(rows):
        return Reading("CE-16")
    if sum_overflows(spread(rows, -1), dtype):
        return Reading("G-4", level="recommended")
    if not counts.any():
        return Reading(clauses.all_ignored if counts.size else "G-5")
    if leaves_half(spread(rows, -1), dtype):
        return Reading("CE-18")
    if not counts.all():
        return Reading(clauses.ignored)
    if weight is not None:
        return Reading("CE-10")
    return Reading("CE-11" if smoothing else clauses.plain)


def label_loss(
    flat: Floats,
    labels: npt.NDArray[np.int64],
    dropped: npt.NDArray[np.bool_],
    reduction: str,
    coarsest: FloatType,
    weight: Floats | None = None,
    smoothing: float = 0.0,
    scale: float = 1.0,
    smoother: Smoother = smooth,
    roundings: float = 3.0,
) -> CrossEntropy:
    """Cross entropy of rows against integer labels; ``dropped`` rows contribute nothing."""
    count, classes = flat.shape
    kept, label = ~dropped.ravel(), labels.ravel()
    valid = (label >= 0) & (label < classes)
    one_hot = np.zeros((count, classes), dtype=np.int64)
    one_hot[valid, label[valid]] = 1
    target = Balls([smoother(t, smoothing, classes) for t in (0.0, 1.0)] if classes else [], one_hot.ravel())
    divisors = np.ones(count)
    if weight is not None:
        weights = column(np.broadcast_to(weight, (count, classes)))
        target = elementwise(lambda w, t: arb(w) * t if t != 0.0 else t, weights, target)
        divisors[valid & kept] = weight[label[valid & kept]]
    # What is dropped may hold anything; its softmax is not needed.
    rows = Rows(np.where(kept[:, None], flat, 0.0), coarsest)
    extra = roundings * bool(smoothing) + 1.0 * (weight is not None)
    return CrossEntropy(rows, target, kept, ~valid, divisors, reduction, extra, scale)


def losses(
    loss: CrossEntropy,
    name: str,
    arguments: Arguments,
    back: Back,
    row_shape: tuple[int, ...],
) -> Outputs:
    """Value and gradient of a cross entropy of logits; ``row_shape`` is that of the unreduced loss."""
    outputs = {"value": loss.value(row_shape)}
    # The gradient of a mean over nothing is not defined (clause G-5).
    if arguments.wants(f"gradients.{name}") and not (loss.empty and loss.reduction == "mean"):
        outputs[f"gradients.{name}"] = back(loss.gradient(arguments.cotangent, loss.rows.p.shape))
    return outputs


def cross_entropy_rows(p: Floats, target: Floats) -> tuple[Balls, Bound]:
    """Costs −Σ y·ln p of rows (R × C) and their bounds."""
    terms = elementwise(_log_cost, column(target), column(p))
    rounded = np.abs(terms.rounded).reshape(p.shape)
    summing, size = np.asarray(summing_rows(rounded).a), row_sums(rounded)[:, 0]
    size = np.where(np.isfinite(size), size, 0.0)
    relative = LOG + rounding(3) + accumulating(summing[:, 0])
    bound = each(relative * size + Bound(h=2.0), size)
    return Balls(sums_of_rows(terms, len(p))), bound


def cross_entropy_gradient(p: Floats, target: Floats, shares: Balls, shape: tuple[int, ...]) -> Output:
    """−y/p, and 0 where y is 0; the row's share of the reduction is in ``shares``."""

    def slope(p: float, y: float, s: Quantity) -> Quantity:
        if not 0 <= p <= 1 or math.isnan(y):
            return NAN
        if y == 0:
            return 0.0
        return product(s, -arb(y) / arb(p) if p > 0 else -math.inf)

    rows = np.repeat(np.arange(p.shape[0]), p.shape[1])
    exact = elementwise(slope, column(p), column(target), shares.take(rows))
    size = exact.sizes
    return Output(shape, exact, (rounding(3) + DIVISION * 2) * size + Bound(h=2.0 + size))


def _log_cost(y: float, p: float) -> Quantity:
    """−y·ln p with 0·ln 0 = 0; NaN outside the domain."""
    if math.isnan(y) or not 0 <= p <= 1:
        return NAN
    if y == 0:
        return 0.0
    return product(arb(y), -arb(p).log() if p > 0 else math.inf)
