"""The definitions in loops, on numbers of a dtype that carry two derivatives and the mixed one.

A ``Number`` is f + aε + bδ + cεδ with ε² = δ² = 0. With ε along the tangents and δ along one element, a is
the jvp and c that element of the hvp. Every operation rounds to the dtype: the plainest forward mode, and the
plainest second derivative, that there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from lossproof import Call

Array = Any


class Number:
    """f + aε + bδ + cεδ in one dtype."""

    def __init__(self, f: Any, a: Any, b: Any, c: Any) -> None:
        self.parts = f, a, b, c

    @property
    def f(self) -> Any:
        return self.parts[0]

    def _lift(self, other: Any) -> Number:
        if isinstance(other, Number):
            return other
        one = self.f.dtype.type
        return Number(one(other), one(0), one(0), one(0))

    def __neg__(self) -> Number:
        return Number(*(-x for x in self.parts))

    def __add__(self, other: Any) -> Number:
        return Number(*(x + y for x, y in zip(self.parts, self._lift(other).parts, strict=True)))

    def __sub__(self, other: Any) -> Number:
        return self + -self._lift(other)

    def __rsub__(self, other: Any) -> Number:
        return self._lift(other) - self

    __radd__ = __add__

    def __mul__(self, other: Any) -> Number:
        f, a, b, c = self.parts
        g, d, e, h = self._lift(other).parts
        return Number(f * g, f * d + a * g, f * e + b * g, f * h + a * e + b * d + c * g)

    __rmul__ = __mul__

    def of(self, value: Any, slope: Any, bend: Any) -> Number:
        """A function of it with this value, first and second derivative."""
        _, a, b, c = self.parts
        return Number(value, slope * a, slope * b, slope * c + bend * a * b)

    def reciprocal(self) -> Number:
        r = 1 / self.f
        return self.of(r, -(r * r), 2 * r * r * r)

    def __truediv__(self, other: Any) -> Number:
        return self * self._lift(other).reciprocal()

    def __rtruediv__(self, other: Any) -> Number:
        return self._lift(other) / self

    def exp(self) -> Number:
        e = np.exp(self.f)
        return self.of(e, e, e)

    def log(self) -> Number:
        r = 1 / self.f
        return self.of(np.log(self.f), r, -(r * r))

    def log1p(self) -> Number:
        r = 1 / (1 + self.f)
        return self.of(np.log1p(self.f), r, -(r * r))

    def sqrt(self) -> Number:
        root = np.sqrt(self.f)
        return self.of(root, 1 / (2 * root), -1 / (4 * root * root * root))


def total(terms: Any) -> Any:
    return reduce(lambda a, b: a + b, terms)


def _shifted(row: Any) -> Any:
    top = max(x.f for x in row)
    return [x - top for x in row]


def _softmax(row: Any) -> Any:
    powers = [d.exp() for d in _shifted(row)]
    sum_ = total(powers)
    return [power / sum_ for power in powers]


def _log_softmax(row: Any) -> Any:
    shifted = _shifted(row)
    log_sum = total([d.exp() for d in shifted]).log()
    return [d - log_sum for d in shifted]


def _sigmoid(x: Number) -> Number:
    e = (x if x.f < 0 else -x).exp()
    return (e if x.f < 0 else x._lift(1)) / (1 + e)


def _softplus(x: Number) -> Number:
    tail = (x if x.f < 0 else -x).exp().log1p()
    return tail if x.f < 0 else x + tail


def _absent(y: Any) -> bool:
    """A target that neither counts nor moves."""
    return all(part == 0 for part in y.parts) if isinstance(y, Number) else y == 0


def _rows(x: Array, axis: int) -> Array:
    return np.moveaxis(x, axis, -1)


def _cells(shape: tuple[int, ...]) -> Array:
    return np.empty(shape, object)


def _reduced(costs: Array, reduction: str, count: Any = None) -> Array:
    if reduction == "none":
        return costs
    found = _cells(())
    found[()] = total(costs.ravel())
    if reduction == "mean":
        found[()] = found[()] / (costs.size if count is None else count)
    return found


class Definitions:
    """Functions of arrays of numbers, giving arrays of numbers."""

    def l2_loss(self, a: Any, *, reduction: str, half: bool) -> Array:
        d = a["prediction"] - a["target"]
        return _reduced(d * d * (0.5 if half else 1), reduction)

    def euclidean_distance(self, a: Any, *, axis: int) -> Array:
        rows = _rows(a["prediction"] - a["target"], axis)
        found = _cells(rows.shape[:-1])
        for place in np.ndindex(found.shape):
            found[place] = total([d * d for d in rows[place]]).sqrt()
        return found

    def sigmoid(self, a: Any) -> Array:
        return _each(_sigmoid, a["logits"])

    def log_sigmoid(self, a: Any) -> Array:
        return _each(lambda x: -_softplus(-x), a["logits"])

    def softmax(self, a: Any, *, axis: int) -> Array:
        return self._of_rows(_softmax, a, axis)

    def log_softmax(self, a: Any, *, axis: int) -> Array:
        return self._of_rows(_log_softmax, a, axis)

    def _of_rows(self, function: Any, a: Any, axis: int) -> Array:
        rows = _rows(a["logits"], axis)
        found = _cells(rows.shape)
        for place in np.ndindex(rows.shape[:-1]):
            found[place] = function(rows[place])
        return np.moveaxis(found, -1, axis)

    def cross_entropy(self, a: Any, *, axis: int, reduction: str) -> Array:
        p, y = (_rows(x, axis) for x in a.values())
        found = _cells(p.shape[:-1])
        for place in np.ndindex(found.shape):
            terms = [-(t * q.log()) for q, t in zip(p[place], y[place], strict=True) if not _absent(t)]
            found[place] = total(terms)
        return _reduced(found, reduction)

    def softmax_cross_entropy(self, a: Any, *, axis: int, label_smoothing: float, reduction: str) -> Array:
        x, y = (_rows(part, axis) for part in a.values())
        found = _cells(x.shape[:-1])
        for place in np.ndindex(found.shape):
            target = y[place]
            if label_smoothing:
                target = [(1 - label_smoothing) * t + label_smoothing / len(target) for t in target]
            found[place] = self._cost(x[place], target)
        return _reduced(found, reduction)

    def _cost(self, row: Any, target: Any) -> Any:
        log_p = _log_softmax(row)
        return total([-(t * q) for q, t in zip(log_p, target, strict=True) if not _absent(t)])

    def sparse_softmax_cross_entropy(
        self,
        a: Any,
        *,
        axis: int,
        weight: Any,
        ignore_index: int | None,
        label_smoothing: float,
        reduction: str,
    ) -> Array:
        x, labels = _rows(a["logits"], axis), a["labels"]
        classes = x.shape[-1]
        found, count = _cells(labels.shape), 0.0
        for place in np.ndindex(labels.shape):
            label = int(labels[place])
            if label == ignore_index:
                found[place] = x[place][0]._lift(0)
                continue
            target = [
                (1 - label_smoothing) * (c == label) + label_smoothing / classes for c in range(classes)
            ]
            if weight is not None:
                target = [t * float(w) for t, w in zip(target, weight, strict=True)]
            found[place] = self._cost(x[place], target)
            count += 1.0 if weight is None else float(weight[label])
        return _reduced(found, reduction, count)

    def binary_cross_entropy(self, a: Any, *, weight: Any, reduction: str) -> Array:
        def cost(p: Number, y: Number) -> Any:
            terms = [-(y * p.log())] if not _absent(y) else []
            rest = 1 - y
            terms += [-(rest * (1 - p).log())] if not _absent(rest) else []
            return total(terms)

        return _reduced(_weighed(_each(cost, *a.values()), weight), reduction)

    def sigmoid_cross_entropy(self, a: Any, *, weight: Any, pos_weight: Any, reduction: str) -> Array:
        x, y = a.values()
        positive = _weighed(y, pos_weight)

        def cost(z: Number, t: Number, one: Number) -> Number:
            return one * _softplus(-z) + (1 - t) * _softplus(z)

        return _reduced(_weighed(_each(cost, x, y, positive), weight), reduction)

    def pspnet_loss(self, a: Any, *, num_classes: int, reduction: str) -> Array:
        labels = np.where(a["labels"] >= num_classes, -1, a["labels"])
        return self.sparse_softmax_cross_entropy(
            {"logits": a["logits"], "labels": labels},
            axis=-1, weight=None, ignore_index=-1, label_smoothing=0.0, reduction=reduction,
        )  # fmt: skip


def _each(function: Any, *arrays: Array) -> Array:
    found = _cells(arrays[0].shape)
    for place in np.ndindex(found.shape):
        found[place] = function(*(array[place] for array in arrays))
    return found


def _weighed(costs: Array, weight: Any) -> Array:
    return costs if weight is None else costs * np.broadcast_to(np.asarray(weight, float), costs.shape)


FUNCTIONS = [name for name in vars(Definitions) if not name.startswith("_")]


class Loop(NumpyAdapter):
    """Values and gradients of the reference; jvp and hvp of ``Definitions``."""

    name = "loop"

    def jvp(self, function: Call, arrays: Mapping[str, Array], tangents: Mapping[str, Array]) -> Array:
        result = _call(function, arrays, tangents, {})
        return _part(result, 1, _dtype(tangents))

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Array],
        tangents: Mapping[str, Array],
        *,
        cotangent: Array = None,
    ) -> Mapping[str, Array]:
        found = {}
        for name, tangent in tangents.items():
            curved = np.zeros(tangent.shape, tangent.dtype)
            for place in np.ndindex(tangent.shape):
                unit = np.zeros(tangent.shape, tangent.dtype)
                unit[place] = 1
                mixed = _part(_call(function, arrays, tangents, {name: unit}), 3, tangent.dtype)
                weighed = mixed if cotangent is None else mixed * cotangent
                curved[place] = total(weighed.ravel())
            found[name] = curved
        return found


def _dtype(tangents: Mapping[str, Array]) -> Any:
    return next(iter(tangents.values())).dtype


def _call(function: Call, arrays: Any, first: Any, second: Any) -> Array:
    given: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype.kind in "iu":
            given[name] = array
            continue
        still = np.zeros(array.shape, array.dtype)
        a, b = first.get(name, still), second.get(name, still)
        cells = _cells(array.shape)
        for place in np.ndindex(array.shape):
            cells[place] = Number(array[place], a[place], b[place], array.dtype.type(0))
        given[name] = cells
    with np.errstate(all="ignore"):
        return getattr(Definitions(), function.function)(given, **function.parameters)


def _part(result: Array, part: int, dtype: Any) -> Array:
    found = np.empty(result.shape, dtype)
    for place in np.ndindex(result.shape):
        found[place] = result[place].parts[part]
    return found
