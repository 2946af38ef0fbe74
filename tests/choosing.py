"""Implementations in NumPy that make documented choices (spec/choices.md), and others that nearly do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.dtypes import HALF_TYPES

from . import reference as ref

BINARY = ("binary_cross_entropy", "mask_rcnn_mask_loss")
LOGITS = ("softmax_cross_entropy", "sparse_softmax_cross_entropy")
LOSSES = (*BINARY, *LOGITS, "cross_entropy", "sigmoid_cross_entropy", "pspnet_loss", "pspnet_total_loss")
MEANS = (
    *LOGITS, "l2_loss", "cross_entropy", "binary_cross_entropy", "sigmoid_cross_entropy", "pspnet_loss",
    "pspnet_total_loss",
)  # fmt: skip


@dataclass(frozen=True)
class Chooser:
    """An implementation: an adapter, and formulas of the reference that are others while it runs."""

    choice: str
    functions: tuple[str, ...]
    says: str
    formulas: Mapping[str, Any] = field(default_factory=dict)
    adapter: type[NumpyAdapter] = NumpyAdapter
    gradient: bool = False
    """Whether only cases with gradients can tell."""


# -- elements ------------------------------------------------------------------------------------


def clamped(clamp: float) -> Callable[..., Any]:
    def cost(p: Any, y: Any, weight: Any = None) -> Any:
        inside = np.where((p < 0) | (p > 1), np.nan, p)
        one, zero = np.maximum(np.log(inside), -clamp), np.maximum(np.log1p(-inside), -clamp)
        return ref.weighted(-(y * one + (1 - y) * zero), weight)

    return cost


def clamped_gradient(smallest: float) -> Callable[..., Any]:
    def slope(p: Any, y: Any, v: Any, weight: Any = None) -> Any:
        return ref.weighted((p - y) / np.maximum(p * (1 - p), p.dtype.type(smallest)), weight) * v

    return slope


def clipped(epsilon: float) -> Callable[..., Any]:
    def cost(p: Any, y: Any, weight: Any = None) -> Any:
        q = np.clip(p, p.dtype.type(epsilon), p.dtype.type(1 - epsilon))
        return ref.weighted(-(y * np.log(q) + (1 - y) * np.log(1 - q)), weight)

    return cost


def clipped_gradient(epsilon: float) -> Callable[..., Any]:
    def slope(p: Any, y: Any, v: Any, weight: Any = None) -> Any:
        low, high = p.dtype.type(epsilon), p.dtype.type(1 - epsilon)
        q = np.clip(p, low, high)
        inner = ref.weighted((1 - y) / (1 - q) - y / q, weight) * v
        return np.where((p < low) | (p > high), 0, inner)

    return slope


def elementwise(cost: Callable[..., Any], slope: Callable[..., Any] | None = None) -> dict[str, Any]:
    given = {"binary_cross_entropy": cost}
    return given if slope is None else given | {"binary_cross_entropy_gradient": slope}


# -- rows ----------------------------------------------------------------------------------------


def clipped_rows(epsilon: float, normalised: bool) -> Callable[[Any, Any], Any]:
    def cost(p: Any, y: Any) -> Any:
        q = p / p.sum(axis=-1, keepdims=True) if normalised else p
        q = np.clip(q, p.dtype.type(epsilon), p.dtype.type(1 - epsilon))
        return -(y * np.log(q)).sum(axis=-1, keepdims=True)

    return cost


def clipped_rows_gradient(epsilon: float, normalised: bool) -> Callable[[Any, Any, Any], Any]:
    def slope(p: Any, y: Any, v: Any) -> Any:
        sum_ = p.sum(axis=-1, keepdims=True) if normalised else 1
        q = p / sum_
        outside = (q < p.dtype.type(epsilon)) | (q > p.dtype.type(1 - epsilon))
        inner = np.where(outside | (y == 0), 0, -y / q)
        through = (inner * q).sum(axis=-1, keepdims=True) if normalised else 0
        return (inner - through) / sum_ * v

    return slope


def rows(
    epsilon: float, normalised: bool, slope: Callable[[Any, Any, Any], Any] | None = None
) -> dict[str, Any]:
    given = {"cross_entropy": clipped_rows(epsilon, normalised)}
    return given | ({} if slope is None else {"cross_entropy_gradient": slope})


# -- labels, means, smoothing, dtypes --------------------------------------------------------------


def ignoring(label: int) -> type[NumpyAdapter]:
    class Ignoring(NumpyAdapter):
        def sparse_softmax_cross_entropy(
            self, logits: Any, labels: Any, *, ignore_index: int | None, **p: Any
        ) -> Any:
            ignore_index = label if ignore_index is None else ignore_index
            return super().sparse_softmax_cross_entropy(logits, labels, ignore_index=ignore_index, **p)

    return Ignoring


class DividesByAll(ignoring(-100)):  # type: ignore[misc]
    def sparse_softmax_cross_entropy(self, logits: Any, labels: Any, *, reduction: str, **p: Any) -> Any:
        total = super().sparse_softmax_cross_entropy(logits, labels, reduction="sum", **p)
        if reduction != "mean" or not (labels == -100).any():
            return super().sparse_softmax_cross_entropy(logits, labels, reduction=reduction, **p)
        return (total / labels.size).astype(logits.dtype)


def empty_means(value: float) -> type[NumpyAdapter]:
    """What an empty mean is, wherever one is taken."""

    class EmptyMeans(NumpyAdapter):
        pass

    def changed(name: str) -> Callable[..., Any]:
        def loss(self: NumpyAdapter, *arrays: Any, **p: Any) -> Any:
            found = getattr(NumpyAdapter, name)(self, *arrays, **p)
            return np.where(np.isnan(found) & (p.get("reduction", "mean") == "mean"), value, found).astype(
                found.dtype
            )

        return loss

    for name in MEANS:
        setattr(EmptyMeans, name, changed(name))
    return EmptyMeans


def smoothing(change: Callable[[float, int], float]) -> type[NumpyAdapter]:
    """CE-11 with another ε: that of Megatron-LM is aC/(C − 1)."""

    def smoothed(self: NumpyAdapter, name: str, first: Any, *rest: Any, **p: Any) -> Any:
        logits = rest[0] if name.startswith("_grad") else first
        a = change(p["label_smoothing"], logits.shape[p["axis"]]) if p["label_smoothing"] else 0
        return getattr(NumpyAdapter, name)(self, first, *rest, **{**p, "label_smoothing": a})

    members = {
        name: (lambda self, *arrays, _name=name, **p: smoothed(self, _name, *arrays, **p))
        for function in LOGITS
        for name in (function, f"_grad_{function}")
    }
    return type("Smoothing", (NumpyAdapter,), members)


def wide_results(cast_up: bool) -> type[NumpyAdapter]:
    """Losses of half precision in float32: computed so, or a result in half precision cast up."""

    def loss(self: NumpyAdapter, name: str, *arrays: Any, **p: Any) -> Any:
        function = getattr(NumpyAdapter, name)
        if cast_up:
            found = function(self, *arrays, **p)
            return found.astype(np.float32) if found.dtype.name in HALF_TYPES else found
        return function(
            self, *(a.astype(np.float32) if a.dtype.name in HALF_TYPES else a for a in arrays), **p
        )

    members = {
        name: (lambda self, *arrays, _name=name, **p: loss(self, _name, *arrays, **p)) for name in LOSSES
    }
    return type("Wide", (NumpyAdapter,), members)


class RaisesOnNan(NumpyAdapter):
    def binary_cross_entropy(self, probabilities: Any, target: Any, **p: Any) -> Any:
        if np.isnan(probabilities).any() or np.isnan(target).any():
            raise ValueError("all elements should be between 0 and 1")
        return super().binary_cross_entropy(probabilities, target, **p)

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        positive = pred_masks[target_class_ids > 0]
        if np.isnan(positive).any():
            raise ValueError("all elements should be between 0 and 1")
        return super().mask_rcnn_mask_loss(target_masks, target_class_ids, pred_masks)


# -- the tables ----------------------------------------------------------------------------------

DELTA = float(np.float32(1e-12))

RIGHT = [
    Chooser("log-clamped-at-100", BINARY, "", elementwise(clamped(100), clamped_gradient(DELTA))),
    Chooser("clipped-1e-7", BINARY, "", elementwise(clipped(1e-7), clipped_gradient(1e-7))),
    Chooser(
        "clipped-1e-15", ("binary_cross_entropy",), "",
        elementwise(clipped(1e-15), clipped_gradient(1e-15)),
    ),
    Chooser(
        "clipped-1e-15", ("cross_entropy",), "", rows(1e-15, False, clipped_rows_gradient(1e-15, False))
    ),
    Chooser(
        "normalised-clipped-1e-7", ("cross_entropy",), "", rows(1e-7, True, clipped_rows_gradient(1e-7, True))
    ),
    Chooser("ignore-index-minus-100", LOGITS[1:], "", adapter=ignoring(-100)),
    Chooser("zero-for-an-empty-mean", MEANS, "", adapter=empty_means(0.0)),
    Chooser(
        "smoothing-over-other-classes", LOGITS, "",
        adapter=smoothing(lambda a, n: a * n / (n - 1) if n > 1 else a),
    ),
    Chooser("raises-on-nan", BINARY, "", adapter=RaisesOnNan),
]  # fmt: skip

WRONG = [
    Chooser("log-clamped-at-100", BINARY, "clamped at 90", elementwise(clamped(90), clamped_gradient(DELTA))),
    Chooser(
        "log-clamped-at-100", BINARY, "the gradient unclamped", elementwise(clamped(100)), gradient=True
    ),
    Chooser(
        "log-clamped-at-100", BINARY, "a divisor of 1e-10 at least",
        elementwise(clamped(100), clamped_gradient(1e-10)), gradient=True,
    ),
    Chooser(
        "log-clamped-at-100", BINARY, "the gradient of clipping",
        elementwise(clamped(100), clipped_gradient(1e-7)), gradient=True,
    ),
    *(
        Chooser("clipped-1e-7", BINARY, f"clipped at {e}", elementwise(clipped(e), clipped_gradient(e)))
        for e in (1e-6, 2e-7, 1e-8)
    ),
    Chooser("clipped-1e-7", BINARY, "the gradient unclipped", elementwise(clipped(1e-7))),
    Chooser(
        "clipped-1e-15", ("binary_cross_entropy",), "clipped at 1e-14",
        elementwise(clipped(1e-14), clipped_gradient(1e-14)),
    ),
    Chooser(
        "clipped-1e-15", ("cross_entropy",), "clipped at 1e-12",
        rows(1e-12, False, clipped_rows_gradient(1e-12, False)),
    ),
    Chooser(
        "normalised-clipped-1e-7", ("cross_entropy",), "clipped at 1e-6",
        rows(1e-6, True, clipped_rows_gradient(1e-6, True)),
    ),
    Chooser(
        "normalised-clipped-1e-7", ("cross_entropy",), "the gradient of the definition", rows(1e-7, True)
    ),
    Chooser(
        "normalised-clipped-1e-7", ("cross_entropy",), "the value of the definition",
        {"cross_entropy_gradient": clipped_rows_gradient(1e-7, True)},
    ),
    Chooser("ignore-index-minus-100", LOGITS[1:], "divided by all rows", adapter=DividesByAll),
    Chooser("zero-for-an-empty-mean", MEANS, "1 for an empty mean", adapter=empty_means(1.0)),
    Chooser(
        "smoothing-over-other-classes", LOGITS, "another divisor",
        adapter=smoothing(lambda a, n: a * (n + 1) / n),
    ),
]  # fmt: skip
