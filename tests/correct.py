"""Correct implementations that compute otherwise than the NumPy reference.

They differ in the order of summation, the algebraic form and the precision of intermediates, all within
what spec/tolerances.md allows. None may fail a required case in any dtype. There are two sorts: the
textbook's functions in every arithmetic (``ARITHMETICS``), and the reference with something replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from lossproof.adapters import _numpy_blocks as blocks
from lossproof.adapters import _numpy_formulas as formulas
from lossproof.adapters.numpy import NumpyAdapter

from lossproof import Adapter
from lossproof.core.functions import FUNCTIONS

from . import arithmetic
from . import reference as ref
from .arithmetic import in_order as first_to_last
from .textbook import textbook

ORIGINAL_REDUCED = formulas.reduced
ORIGINAL_SHIFTED = ref.shifted
ORIGINAL_SOFTMAX = formulas.softmax
ORIGINAL_LOG_SOFTMAX = formulas.log_softmax


@dataclass(frozen=True)
class Correct:
    """One correct implementation: an adapter, and formulas of the reference to be replaced.

    A replacement of ``softmax`` or ``log_softmax`` is a function of (x, axis).
    """

    how: str
    cls: type[Adapter] = NumpyAdapter
    patches: dict[str, Any] = field(default_factory=dict)

    @property
    def functions(self) -> frozenset[str]:
        """The functions that are computed otherwise than by the reference."""
        own = {name for cls in self.cls.__mro__ if cls not in NumpyAdapter.__mro__ for name in vars(cls)}
        everything = self.patches or own & {"value_and_gradients", "to_numpy", "__getattribute__"}
        if everything or not issubclass(self.cls, NumpyAdapter):
            return frozenset(FUNCTIONS)
        return frozenset(name for name in FUNCTIONS if own & {name, f"_grad_{name}"})

    @property
    def replaced(self) -> dict[str, Any]:
        """The patches, and what the reference writes out for speed put together from them."""
        together = {k: v for name in self.patches for k, v in FROM_FORMULAS.get(name, {}).items()}
        return {**together, **self.patches, **_of_rows(self.patches)}


def _of_rows(patches: dict[str, Any]) -> dict[str, Any]:
    """Softmax and log-softmax of (x, axis) as functions of rows, and of the reference's arguments."""
    return {
        name: lambda x, function=patches[name]: function(np.asarray(x), -1)
        for name in ("softmax", "log_softmax")
        if name in patches
    }


def reduced_at_once(cost: Any, reduction: str, x: Any, *others: Any) -> Any:
    """An elementwise loss whose reduction is ``reduced`` of all costs."""
    costs = blocks.map_elements(cost, x.astype(blocks.working_dtype(x)), *others)
    return formulas.reduced(costs, reduction).astype(x.dtype)


def label_cost(x: Any, k: Any, weight: Any = None) -> Any:
    """The label's log-probability, gathered."""
    cost = -np.take_along_axis(np.asarray(formulas.log_softmax(x)), k, -1)
    return cost if weight is None else formulas.product(weight[k], cost)


def sigmoid_cross_entropy_of_softplus(x: Any, y: Any, weight: Any = None, pos_weight: Any = None) -> Any:
    """y ln(1 + e^−x) + (1 − y) ln(1 + e^x) with a softplus each."""
    positive = formulas.product(formulas.weighted(y, pos_weight), formulas.softplus(-x))
    return formulas.weighted(positive + formulas.product(1 - y, formulas.softplus(x)), weight)


def sigmoid_cross_entropy_gradient_of_sigmoids(
    x: Any, y: Any, v: Any, weight: Any = None, pos_weight: Any = None
) -> Any:
    """(1 − y) σ(x) − y σ(−x) with a sigmoid each."""
    positive = formulas.weighted(y, pos_weight) * formulas.sigmoid(-x)
    return formulas.weighted((1 - y) * formulas.sigmoid(x) - positive, weight) * v


FROM_FORMULAS: dict[str, dict[str, Any]] = {
    "reduced": {"_elementwise_loss": reduced_at_once},
    "softmax": {"scaled_softmax": lambda s, x: s * formulas.softmax(x)},
    "log_softmax": {"sparse_softmax_cross_entropy": label_cost},
    "sigmoid": {
        "sigmoid_gradient": lambda x, v: formulas.sigmoid(x) * formulas.sigmoid(-x) * v,
        "sigmoid_cross_entropy_gradient": sigmoid_cross_entropy_gradient_of_sigmoids,
    },
    "softplus": {"sigmoid_cross_entropy": sigmoid_cross_entropy_of_softplus},
}


# -- orders of summation --------------------------------------------------------------------


def in_order(x: Any, axis: int | None) -> Any:
    """The naive sum, from the first element to the last."""
    if axis is None:
        x, axis = x.ravel(), 0
    return first_to_last(np.moveaxis(x, axis, 0)) if x.shape[axis] else x.sum(axis)


def number(loss: Any, count: Any) -> Any:
    """What a mean divides by."""
    return np.float64(loss.size if count is None else count)


def softmax_with(summation: Callable[[Any, int], Any]) -> dict[str, Callable[..., Any]]:
    """Softmax, log-softmax and reductions with another order of summation."""

    def softmax(x: Any, axis: int) -> Any:
        e = np.exp(ref.shifted(x, axis))
        return e / np.expand_dims(summation(e, axis), axis) if x.shape[axis] else e

    def log_softmax(x: Any, axis: int) -> Any:
        shifted = ref.shifted(x, axis)
        if not x.shape[axis]:
            return shifted
        return shifted - np.log(np.expand_dims(summation(np.exp(shifted), axis), axis))

    def reduced(loss: Any, reduction: str, count: Any = None) -> Any:
        if reduction == "none" or not loss.size:
            return ORIGINAL_REDUCED(loss, reduction, count)
        total = summation(loss.ravel(), 0)
        return np.asarray(total if reduction == "sum" else total / number(loss, count))

    return {"softmax": softmax, "log_softmax": log_softmax, "reduced": reduced}


def online_softmax(x: Any, axis: int) -> Any:
    """One pass over blocks, rescaling the running sum when the maximum grows."""
    moved = np.moveaxis(x, axis, -1)
    if not moved.shape[-1] or np.isposinf(moved).any():
        return ref.along(ORIGINAL_SOFTMAX, x, axis)
    top = np.full(moved.shape[:-1], -np.inf, x.dtype)
    total = np.zeros(moved.shape[:-1], x.dtype)
    for start in range(0, moved.shape[-1], 64):
        block = moved[..., start : start + 64]
        new = np.maximum(top, block.max(axis=-1))
        keep = np.where(np.isneginf(top) & np.isneginf(new), 0, np.exp(top - new))
        inside = np.exp(block - new[..., None])
        inside = np.where(np.isneginf(new)[..., None] & np.isneginf(block), 0, inside)
        total, top = total * keep + inside.sum(axis=-1), new
    return np.moveaxis(np.exp(moved - top[..., None]) / total[..., None], -1, axis)


class FlushesSubnormals(NumpyAdapter):
    """Subnormal results and gradients become 0, as on hardware that flushes."""

    def to_numpy(self, array: Any) -> Any:
        array = np.asarray(array)
        if not (np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16"):
            return array
        tiny = float(ml_dtypes.finfo(array.dtype).smallest_normal)
        return np.where(np.abs(array.astype(np.float64)) < tiny, 0, array).astype(array.dtype)


class Chunked(NumpyAdapter):
    """Rows are worked on in chunks of three."""

    def _chunks(self, method: Callable[..., Any], logits: Any, axis: int) -> Any:
        moved = np.moveaxis(logits, axis, -1)
        flat = moved.reshape(-1, moved.shape[-1]) if moved.size else moved
        if not moved.size:
            return method(logits, axis=axis)
        parts = [method(flat[i : i + 3], axis=-1) for i in range(0, len(flat), 3)]
        return np.moveaxis(np.concatenate(parts).reshape(moved.shape), -1, axis)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return self._chunks(super().softmax, logits, axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return self._chunks(super().log_softmax, logits, axis)


def stable_binary(x: Any, y: Any) -> Any:
    return np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))


class MaxForm(NumpyAdapter):
    """max(x, 0) − x·y + ln(1 + e^−|x|), where nothing is infinite."""

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        if pos_weight is not None or not np.isfinite(logits.astype(np.float32)).all():
            return super().sigmoid_cross_entropy(
                logits, target, weight=weight, pos_weight=pos_weight, reduction=reduction
            )
        loss = stable_binary(ref.wide(logits), ref.wide(target))
        return ref.reduced(ref.weighted(loss, weight), reduction).astype(logits.dtype)


def in_blocks(x: Any, axis: int) -> Any:
    """Blocks of 32 in order, then their sums in order."""
    moved = np.moveaxis(x, axis, 0)
    if not len(moved):
        return moved.sum(axis=0)
    blocks = [in_order(moved[i : i + 32], 0) for i in range(0, len(moved), 32)]
    return in_order(np.array(blocks), 0)


def lanes(x: Any, axis: int) -> Any:
    """Eight running sums, as in vector registers, added at the end."""
    moved = np.moveaxis(x, axis, 0)
    if not len(moved):
        return moved.sum(axis=0)
    return in_order(np.array([in_order(moved[i::8], 0) for i in range(min(8, len(moved)))]), 0)


def exact(x: Any, axis: int) -> Any:
    """The correctly rounded sum."""
    moved = np.moveaxis(x, axis, -1)
    flat = moved.reshape(-1, moved.shape[-1]) if moved.size else moved.reshape(0, 0)
    if not np.isfinite(x).all() or not moved.size:
        return x.sum(axis=axis)
    sums = [math.fsum(row) for row in flat.tolist()]
    return np.array(sums).reshape(moved.shape[:-1]).astype(x.dtype)


# -- algebraic forms -----------------------------------------------------------------------


def reciprocal_softmax(x: Any, axis: int) -> Any:
    """One division per row, then products."""
    e = np.exp(ORIGINAL_SHIFTED(x, axis))
    return e * (1 / np.sum(e, axis=axis, keepdims=True))


def log_softmax_without_maximum(x: Any, axis: int) -> Any:
    """ln(1 + the exponentials of all but the maximum), by log1p."""
    d = ORIGINAL_SHIFTED(x, axis)
    if not d.size or not np.isfinite(d).all():
        return ref.along(ORIGINAL_LOG_SOFTMAX, x, axis)
    e = np.exp(d)
    np.put_along_axis(e, np.expand_dims(np.argmax(d, axis=axis), axis), 0, axis=axis)
    return d - np.log1p(e.sum(axis=axis, keepdims=True))


def exp_of_log_softmax(x: Any, axis: int) -> Any:
    """No division."""
    return np.exp(ref.along(ORIGINAL_LOG_SOFTMAX, x, axis))


def mean_by_reciprocal(loss: Any, reduction: str, count: Any = None) -> Any:
    """The sum times 1/N."""
    if reduction != "mean" or not loss.size:
        return ORIGINAL_REDUCED(loss, reduction, count)
    return np.asarray(loss.sum() * (1 / number(loss, count).astype(loss.dtype)))


def scaled_before_summing(loss: Any, reduction: str, count: Any = None) -> Any:
    """The sum of costs divided by N one by one."""
    if reduction != "mean" or not loss.size:
        return ORIGINAL_REDUCED(loss, reduction, count)
    return np.asarray((loss / number(loss, count).astype(loss.dtype)).sum())


def running_mean(loss: Any, reduction: str, count: Any = None) -> Any:
    """The mean of blocks of 64, weighted by their lengths."""
    if reduction != "mean" or not loss.size:
        return ORIGINAL_REDUCED(loss, reduction, count)
    flat = loss.ravel()
    blocks = [flat[i : i + 64] for i in range(0, flat.size, 64)]
    return np.asarray(sum(b.mean() * (b.size / number(loss, count)) for b in blocks)).astype(loss.dtype)


class Gathers(NumpyAdapter):
    """The label's log-probability is gathered, not multiplied with a one-hot row."""

    def sparse_softmax_cross_entropy(self, logits: Any, labels: Any, **p: Any) -> Any:
        plain = p["weight"] is None and not p["label_smoothing"] and p["ignore_index"] is None
        x = np.moveaxis(ref.wide(logits), p["axis"], -1)
        if not plain or ((labels < 0) | (labels >= x.shape[-1])).any():
            return super().sparse_softmax_cross_entropy(logits, labels, **p)
        picked = np.take_along_axis(ref.log_softmax(x, -1), np.asarray(labels)[..., None], -1)[..., 0]
        return ref.reduced(-picked, p["reduction"]).astype(logits.dtype)


class NormaliserFirst(NumpyAdapter):
    """ln S minus the label's difference from the maximum: log-probabilities are never formed."""

    def softmax_cross_entropy(self, logits: Any, target: Any, **p: Any) -> Any:
        x, y = ref.wide(logits), ref.wide(target)
        if not np.isfinite(x).all() or not np.isfinite(y).all() or not x.size:
            return super().softmax_cross_entropy(logits, target, **p)
        y = ref.smoothed(y, p["axis"], p["label_smoothing"])
        d = ref.shifted(x, p["axis"])
        normaliser = np.log(np.exp(d).sum(axis=p["axis"]))
        loss = normaliser * y.sum(axis=p["axis"]) - (y * d).sum(axis=p["axis"])
        return ref.reduced(loss, p["reduction"]).astype(logits.dtype)


class GradientFromLogProbabilities(NumpyAdapter):
    """Autograd through log-softmax: the probabilities are exponentials of log-probabilities."""

    def _grad_softmax_cross_entropy(self, v: Any, logits: Any, target: Any, **p: Any) -> Any:
        axis = p["axis"]
        y = ref.smoothed(ref.wide(target), axis, p["label_smoothing"])
        rows = y.size // y.shape[axis] if y.size else 0
        upstream = -ref.row_share(v, p["reduction"], rows, axis) * y
        probabilities = np.exp(ref.log_softmax(ref.wide(logits), axis))
        return {"logits": upstream - probabilities * upstream.sum(axis=axis, keepdims=True)}

    def _grad_log_softmax(self, v: Any, logits: Any, *, axis: int) -> Any:
        p = np.exp(ref.log_softmax(ref.wide(logits), axis))
        return {"logits": v - p * np.sum(v, axis=axis, keepdims=True)}


class GradientsInFloat64(NumpyAdapter):
    """The forward pass is recomputed in float64 for the gradients."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("_grad_"):
            return found

        def widened(v: Any, *arrays: Any, **parameters: Any) -> Any:
            floats = [a.astype(np.float64) if np.issubdtype(a.dtype, np.floating)
                      or a.dtype == ml_dtypes.bfloat16 else a for a in arrays]  # fmt: skip
            return found(np.asarray(v, np.float64), *floats, **parameters)

        return widened


class GradientsFromSavedProbabilities(NumpyAdapter):
    """The softmax's gradient uses the result as the forward pass saved it, in the dtype's accumulator."""

    def _grad_softmax(self, v: Any, logits: Any, *, axis: int) -> Any:
        p = ref.softmax(ref.wide(logits), axis)
        dot = np.einsum("...i,...i->...", np.moveaxis(p, axis, -1), np.moveaxis(v + 0 * p, axis, -1))
        return {"logits": p * v - p * np.expand_dims(dot, axis)}


class SquaresByDot(NumpyAdapter):
    """Squares are formed and added by a dot product (fused multiply-add)."""

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        if reduction == "none" or not prediction.size:
            return super().l2_loss(prediction, target, reduction=reduction, half=half)
        d = (ref.wide(prediction) - ref.wide(target)).ravel()
        total = np.dot(d, d) * d.dtype.type(0.5 if half else 1)
        mean = total / np.float64(d.size) if reduction == "mean" else total
        return np.asarray(mean).astype(prediction.dtype)


class DistanceByHypot(NumpyAdapter):
    """hypot(hypot(a, b), c)…: no square overflows."""

    def euclidean_distance(self, prediction: Any, target: Any, *, axis: int) -> Any:
        d = ref.wide(prediction) - ref.wide(target)
        if not d.shape[axis] or np.isnan(d).any():
            return super().euclidean_distance(prediction, target, axis=axis)
        return np.hypot.reduce(d, axis=axis).astype(prediction.dtype)


class RoiByRoi(NumpyAdapter):
    """The mask loss is added RoI by RoI and divided by the number of pixels at the end."""

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        if (target_class_ids >= pred_masks.shape[-1]).any():
            return super().mask_rcnn_mask_loss(target_masks, target_class_ids, pred_masks)
        total, count = ref.wide(np.zeros((), pred_masks.dtype)), 0
        for b, r in np.argwhere(target_class_ids > 0).tolist():
            p = ref.wide(pred_masks[b, r, :, :, target_class_ids[b, r]])
            costs = ref.binary_cross_entropy(p, ref.wide(target_masks[b, r]))
            total, count = total + costs.sum(), count + costs.size
        return np.asarray(total / np.float64(count) if count else total).astype(pred_masks.dtype)


class ImageByImage(NumpyAdapter):
    """The pixel loss is added image by image and divided by the pixels that count at the end."""

    def pspnet_loss(self, logits: Any, labels: Any, *, num_classes: int, reduction: str) -> Any:
        if reduction != "mean":
            return super().pspnet_loss(logits, labels, num_classes=num_classes, reduction=reduction)
        resized = self.pspnet_resize_labels(labels, size=logits.shape[1:3])
        parts = [
            super(ImageByImage, self).pspnet_loss(
                ref.wide(x)[None], y[None], num_classes=num_classes, reduction="sum"
            )
            for x, y in zip(logits, labels, strict=True)
        ]
        count = int((resized < num_classes).sum())
        return np.asarray(sum(parts) / np.float64(count)).astype(logits.dtype)


class IndexByDivision(NumpyAdapter):
    """The source index is the floor of an exact quotient in float64."""

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        rows, columns = (
            np.floor(np.arange(n) * float(length) / n).astype(int)
            for n, length in zip(size, labels.shape[1:], strict=True)
        )
        return labels[:, rows[:, None], columns]


class MaximumThenFirst(NumpyAdapter):
    """The prediction is the first class that equals the maximum, a NaN before all."""

    def pspnet_predict(self, logits: Any) -> Any:
        top = np.max(logits, axis=-1, keepdims=True)
        return np.argmax(np.isnan(logits) | (~np.isnan(top) & (logits == top)), axis=-1)


def logs_of_both(p: Any, y: Any, weight: Any = None) -> Any:
    """ln(1 − p) without log1p."""
    rest = 1 - np.where(p < 0, np.nan, p)
    return formulas.weighted(-(ref.times_log(y, p) + ref.product(1 - y, np.log(rest))), weight)


class LossInHalf(NumpyAdapter):
    """Nothing is widened but sums, and the squares of the L2 loss, which would overflow (G-4)."""

    dtypes = ("float16",)
    half: Any = np.float16

    def value_and_gradients(
        self, function: Any, arrays: Any, wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value = function(*arrays.values())
        v = np.ones(np.shape(value), self.half) if cotangent is None else cotangent
        gradient = getattr(self, f"_grad_{function.function}")
        slopes = gradient(v, *arrays.values(), **function.parameters)
        return value, {name: slopes[name].astype(arrays[name].dtype) for name in wrt}

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        d = (prediction - target).astype(self.half).astype(np.float32)
        loss = d * d * np.float32(0.5 if half else 1)
        if reduction == "none":
            return loss.astype(self.half)
        total = loss.sum(dtype=np.float32)
        mean = total / np.float64(loss.size) if reduction == "mean" else total
        return np.asarray(mean).astype(self.half)


class LossInBfloat16(LossInHalf):
    """The same in bfloat16."""

    dtypes = ("bfloat16",)
    half = ml_dtypes.bfloat16


def row_sum_in_float32(x: Any, of: Any = None) -> Any:
    """Sums of half precision accumulate, and stay, in float32."""
    x = np.asarray(x) if of is None else of(np.asarray(x))
    return x.sum(axis=-1, keepdims=True, dtype=np.promote_types(x.dtype, np.float32))


def row_dot_in_float32(x: Any, y: Any) -> Any:
    """Products in half precision, their sum in float32."""
    return row_sum_in_float32(np.asarray(x) * y)


def narrow_reduced(loss: Any, reduction: str, count: Any = None) -> Any:
    """Costs in half precision, their sum in float32."""
    return ORIGINAL_REDUCED(loss if reduction == "none" else loss.astype(np.float32), reduction, count)


def narrow_share(v: Any, reduction: str, count: Any) -> Any:
    """The share of a row, rounded to half precision."""
    return (v / np.float32(count)).astype(v.dtype) if reduction == "mean" else v


THROUGHOUT: dict[str, Any] = {
    "row_sum": row_sum_in_float32,
    "row_dot": row_dot_in_float32,
    "working_dtype": lambda x: x.dtype,
    "reduced": narrow_reduced,
    "reduced_gradient": narrow_share,
    # In place from the first element on: every operation of rows is rounded.
    "LARGE": 0,
}

# The loop as a textbook writes it.
PLAIN = "plain-loop"
ARITHMETICS: dict[str, type[arithmetic.Arithmetic]] = {
    PLAIN: arithmetic.Arithmetic,
    "reversed-loop": arithmetic.Reversed,
    "permuted-loop": arithmetic.Permuted,
    "sorted-loop": arithmetic.ByMagnitude,
    "pairwise-tree": arithmetic.Tree,
    "float32-inside": arithmetic.Wide,
    "powers-of-two": arithmetic.PowersOfTwo,
    "fused-multiply-add": arithmetic.Fused,
    "flushed-intermediates": arithmetic.Flushing,
    "upper-limits": arithmetic.AtTheLimits,
    "lower-limits": arithmetic.AtTheLowerLimits,
    "random-limits": arithmetic.AtRandomLimits,
    "like-a-gpu": arithmetic.LikeAGpu,
}

CORRECT: dict[str, Correct] = {
    **{
        name: Correct(str(kind.__doc__).partition("\n")[0], textbook(kind))
        for name, kind in ARITHMETICS.items()
    },
    "blocked": Correct("sums of blocks of 32", patches=softmax_with(in_blocks)),
    "vector-lanes": Correct("eight running sums", patches=softmax_with(lanes)),
    "exact-sums": Correct("correctly rounded sums", patches=softmax_with(exact)),
    "online-softmax": Correct("one pass over blocks of 64", patches={"softmax": online_softmax}),
    "softmax-from-log-softmax": Correct(
        "exp of log-softmax",
        patches={"softmax": lambda x, axis: np.exp(ref.along(ORIGINAL_LOG_SOFTMAX, x, axis))},
    ),
    "log1p-of-the-others": Correct(
        "log-softmax by log1p", patches={"log_softmax": log_softmax_without_maximum}
    ),
    "reciprocal": Correct("one division per row", patches={"softmax": reciprocal_softmax}),
    "float64-inside": Correct("float64 inside", patches={"working_dtype": lambda x: np.dtype(np.float64)}),
    "one-sided-sigmoid": Correct(
        "1/(1 + e^−x) on both sides", patches={"sigmoid": lambda x: 1 / (1 + np.exp(-x))}
    ),
    "softplus-by-logaddexp": Correct(
        "logaddexp(0, x)", patches={"softplus": lambda x: np.logaddexp(x.dtype.type(0), x)}
    ),
    "logs-of-both": Correct("ln(1 − p)", patches={"binary_cross_entropy": logs_of_both}),
    "max-form": Correct("max(x, 0) − xy + ln(1 + e^−|x|)", MaxForm),
    "normaliser-first": Correct("ln S minus the label's difference", NormaliserFirst),
    "gathers": Correct("gathers instead of one-hot", Gathers),
    "mean-by-reciprocal": Correct("times 1/N", patches={"reduced": mean_by_reciprocal}),
    "scaled-before-summing": Correct("divided, then added", patches={"reduced": scaled_before_summing}),
    "mean-of-blocks": Correct("weighted means of blocks", patches={"reduced": running_mean}),
    "float16-throughout": Correct("float16 in every function", LossInHalf, THROUGHOUT),
    "bfloat16-throughout": Correct("bfloat16 in every function", LossInBfloat16, THROUGHOUT),
    "flushes-subnormals": Correct("subnormal results are 0", FlushesSubnormals),
    "chunked-rows": Correct("three rows at a time", Chunked),
    "gradient-from-log-probabilities": Correct("autograd through log-softmax", GradientFromLogProbabilities),
    "gradients-in-float64": Correct("recomputed in float64", GradientsInFloat64),
    "gradients-expanded": Correct("p·v − p·Σpv", GradientsFromSavedProbabilities),
    "squares-by-dot": Correct("a dot product", SquaresByDot),
    "distance-by-hypot": Correct("hypot", DistanceByHypot),
    "roi-by-roi": Correct("a loop over RoIs", RoiByRoi),
    "image-by-image": Correct("a loop over images", ImageByImage),
    "index-by-division": Correct("floor of a quotient", IndexByDivision),
    "maximum-then-first": Correct("first of those that equal the maximum", MaximumThenFirst),
}
