"""The functions of the specification as a textbook writes them, over any arithmetic (tests/arithmetic.py).

Nothing is taken from the NumPy adapter: formulas, gradients, reductions and what is dropped are written
once more, in the plainest form that the specification permits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lossproof import Adapter, Call

from .arithmetic import Arithmetic

Array = Any
Rows = Any
"""An array whose last axis is that of the classes."""


class Textbook(Adapter):
    """Every function and its gradients in one arithmetic.

    For a function ``f`` that is differentiable, ``_slopes_f(v, *arrays, **parameters)`` gives its
    gradients for the cotangent v.
    """

    name = "textbook"
    arithmetic: Arithmetic = Arithmetic()

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Array], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> tuple[Array, Mapping[str, Array]]:
        value = function(*arrays.values())
        v = np.ones(np.shape(value), value.dtype) if cotangent is None else cotangent
        found = getattr(self, f"_slopes_{function.function}")(
            self.arithmetic.working(v), *arrays.values(), **function.parameters
        )
        return value, {name: self.arithmetic.round(found[name], arrays[name]) for name in wrt}

    # -- reductions ----------------------------------------------------------------------------

    def _reduced(self, costs: Array, reduction: str, like: Array, count: Any = None) -> Array:
        """Of costs, whose number a mean divides by where no ``count`` is given."""
        ar = self.arithmetic
        if reduction == "none":
            return ar.round(costs, like)
        total = ar.sum(costs.reshape(-1))
        if reduction == "mean":
            total = ar.divide(total, total.dtype.type(costs.size if count is None else count))
        return ar.round(total, like)

    def _share(self, v: Array, reduction: str, count: Any, like: Array) -> Array:
        """What a unit of a cost counts."""
        if reduction != "mean":
            return v
        divisor = self.arithmetic.accumulator(v).type(count)
        return self.arithmetic.round(self.arithmetic.divide(v.astype(divisor.dtype), divisor), like)

    # -- what formulas share -------------------------------------------------------------------

    def _shifted(self, x: Rows) -> Rows:
        return self.arithmetic.subtract(x, x.max(axis=-1, keepdims=True, initial=-np.inf).astype(x.dtype))

    def _softmax(self, x: Rows) -> Rows:
        ar = self.arithmetic
        e = ar.exp(self._shifted(x))
        total = ar.sum(e)[..., None]
        return ar.round(ar.divide(e.astype(total.dtype), total), x)

    def _log_softmax(self, x: Rows) -> Rows:
        ar = self.arithmetic
        d = self._shifted(x)
        return ar.subtract(d, ar.round(ar.log(ar.sum(ar.exp(d))[..., None]), x))

    def _times(self, y: Array, cost: Array) -> Array:
        """y · cost, 0 where y is 0 and the cost infinite."""
        return np.where(
            (y == 0) & np.isinf(cost), np.zeros((), cost.dtype), self.arithmetic.multiply(y, cost)
        )

    def _weighted(self, cost: Array, weight: Array | None) -> Array:
        return cost if weight is None else self.arithmetic.multiply(cost, self.arithmetic.working(weight))

    def _dot(self, q: Rows, costs: Rows) -> Array:
        """Σ q · cost of rows, where 0 · ∞ is 0."""
        absent = (q == 0) & np.isinf(costs)
        return self.arithmetic.dot(q, np.where(absent, np.zeros((), costs.dtype), costs))

    # -- l2 --------------------------------------------------------------------------------------

    def l2_loss(self, prediction: Array, target: Array, *, reduction: str, half: bool) -> Array:
        ar = self.arithmetic
        d = ar.subtract(ar.working(prediction), ar.working(target))
        # A square of float16 would overflow (G-4).
        d = d.astype(ar.accumulator(d))
        factor = d.dtype.type(0.5 if half else 1)
        if reduction == "none" or not d.size:
            return self._reduced(ar.multiply(ar.multiply(d, d), factor), reduction, prediction)
        total = ar.multiply(ar.dot(d.reshape(-1), d.reshape(-1)), factor)
        if reduction == "mean":
            total = ar.divide(total, total.dtype.type(d.size))
        return ar.round(total, prediction)

    def _slopes_l2_loss(
        self, v: Array, prediction: Array, target: Array, *, reduction: str, half: bool
    ) -> Any:
        ar = self.arithmetic
        d = ar.subtract(ar.working(prediction), ar.working(target))
        share = self._share(v, reduction, d.size, d)
        slope = ar.multiply(d, share if half else ar.multiply(share, d.dtype.type(2)))
        return {"prediction": slope, "target": -slope}

    def euclidean_distance(self, prediction: Array, target: Array, *, axis: int) -> Array:
        ar = self.arithmetic
        d = np.moveaxis(ar.subtract(ar.working(prediction), ar.working(target)), axis, -1)
        d = d.astype(ar.accumulator(d))
        return ar.round(ar.sqrt(ar.dot(d, d)), prediction)

    def _slopes_euclidean_distance(self, v: Array, prediction: Array, target: Array, *, axis: int) -> Any:
        ar = self.arithmetic
        narrow = np.moveaxis(ar.subtract(ar.working(prediction), ar.working(target)), axis, -1)
        d = narrow.astype(ar.accumulator(narrow))
        length = ar.sqrt(ar.dot(d, d))[..., None]
        unit = ar.divide(d, np.where(length == 0, np.ones((), d.dtype), length))
        slope = np.moveaxis(ar.multiply(ar.round(unit, narrow), v[..., None]), -1, axis)
        return {"prediction": slope, "target": -slope}

    # -- sigmoid and softmax -----------------------------------------------------------------------

    def _sigmoid(self, x: Array) -> Array:
        """1/(1 + e^−x), or e^x/(1 + e^x) for negative x."""
        ar, one = self.arithmetic, x.dtype.type(1)
        e = ar.exp(-np.abs(x))
        return ar.divide(np.where(x >= 0, one, e), ar.add(one, e))

    def _tail(self, x: Array) -> Array:
        """ln(1 + e^−|x|)."""
        return self.arithmetic.log1p(self.arithmetic.exp(-np.abs(x)))

    def _softplus(self, x: Array) -> Array:
        return self.arithmetic.add(np.maximum(x, 0), self._tail(x))

    def sigmoid(self, logits: Array) -> Array:
        return self.arithmetic.round(self._sigmoid(self.arithmetic.working(logits)), logits)

    def _slopes_sigmoid(self, v: Array, logits: Array) -> Any:
        ar = self.arithmetic
        y = self._sigmoid(ar.working(logits))
        return {"logits": ar.multiply(ar.multiply(y, ar.subtract(y.dtype.type(1), y)), v)}

    def log_sigmoid(self, logits: Array) -> Array:
        ar = self.arithmetic
        x = ar.working(logits)
        return ar.round(ar.subtract(np.minimum(x, 0), self._tail(x)), logits)

    def _slopes_log_sigmoid(self, v: Array, logits: Array) -> Any:
        return {"logits": self.arithmetic.multiply(self._sigmoid(-self.arithmetic.working(logits)), v)}

    def softmax(self, logits: Array, *, axis: int) -> Array:
        ar = self.arithmetic
        p = self._softmax(np.moveaxis(ar.working(logits), axis, -1))
        return ar.round(np.moveaxis(p, -1, axis), logits)

    def _slopes_softmax(self, v: Array, logits: Array, *, axis: int) -> Any:
        ar = self.arithmetic
        p, v = self._softmax(np.moveaxis(ar.working(logits), axis, -1)), np.moveaxis(v, axis, -1)
        dot = ar.round(ar.dot(p, v), p)[..., None]
        return {"logits": np.moveaxis(ar.multiply(p, ar.subtract(v, dot)), -1, axis)}

    def log_softmax(self, logits: Array, *, axis: int) -> Array:
        ar = self.arithmetic
        y = self._log_softmax(np.moveaxis(ar.working(logits), axis, -1))
        return ar.round(np.moveaxis(y, -1, axis), logits)

    def _slopes_log_softmax(self, v: Array, logits: Array, *, axis: int) -> Any:
        ar = self.arithmetic
        p, v = self._softmax(np.moveaxis(ar.working(logits), axis, -1)), np.moveaxis(v, axis, -1)
        # A sum of ones over many classes is beyond float16 (G-4).
        total = ar.sum(v)[..., None]
        return {"logits": np.moveaxis(ar.multiply_add(-p, total, v), -1, axis)}

    # -- cross entropy -----------------------------------------------------------------------------

    def cross_entropy(self, probabilities: Array, target: Array, *, axis: int, reduction: str) -> Array:
        ar = self.arithmetic
        p, y = (np.moveaxis(ar.working(a), axis, -1) for a in (probabilities, target))
        logs = ar.log(_inside(p))
        absent = (y == 0) & np.isinf(logs)
        costs = -ar.dot(y, np.where(absent, np.zeros((), p.dtype), logs))
        return self._reduced(costs, reduction, probabilities)

    def _slopes_cross_entropy(
        self, v: Array, probabilities: Array, target: Array, *, axis: int, reduction: str
    ) -> Any:
        ar = self.arithmetic
        p, y = (np.moveaxis(ar.working(a), axis, -1) for a in (probabilities, target))
        share = self._share(v, reduction, _rows(p), p)
        slope = ar.multiply(-ar.divide(y, _inside(p)), share[..., None] if share.ndim else share)
        slope = np.where((y == 0) & (p >= 0) & (p <= 1), np.zeros((), slope.dtype), slope)
        return {"probabilities": np.moveaxis(slope, -1, axis)}

    def _smoothed(self, y: Rows, label_smoothing: float) -> Rows:
        if not label_smoothing:
            return y
        ar, number = self.arithmetic, y.dtype.type
        every = ar.divide(number(label_smoothing), number(y.shape[-1]))
        return ar.multiply_add(y, number(1 - label_smoothing), every)

    def softmax_cross_entropy(
        self, logits: Array, target: Array, *, axis: int, label_smoothing: float, reduction: str
    ) -> Array:
        x, y = (np.moveaxis(self.arithmetic.working(a), axis, -1) for a in (logits, target))
        q = self._smoothed(y, label_smoothing)
        return self._reduced(-self._dot(q, self._log_softmax(x)), reduction, logits)

    def _slopes_softmax_cross_entropy(
        self, v: Array, logits: Array, target: Array, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        x, y = (np.moveaxis(self.arithmetic.working(a), axis, -1) for a in (logits, target))
        share = self._share(v, reduction, _rows(x), x)
        slope = self._logit_slopes(x, self._smoothed(y, label_smoothing), share)
        return {"logits": np.moveaxis(slope, -1, axis)}

    def _logit_slopes(self, x: Rows, q: Rows, share: Array) -> Rows:
        """(p Σq − q) · share."""
        ar = self.arithmetic
        mass = ar.round(ar.sum(q), x)[..., None]
        slope = ar.multiply_add(self._softmax(x), mass, -q)
        return ar.multiply(slope, share[..., None] if share.ndim else share)

    def _targets(self, x: Rows, k: Array, weight: Array | None, label_smoothing: float) -> Rows:
        """What multiplies −ln p: one-hot rows, smoothed, times class weights."""
        q = np.zeros(x.shape, x.dtype)
        np.put_along_axis(q, k[..., None], 1, axis=-1)
        q = self._smoothed(q, label_smoothing)
        return self._weighted(q, weight)

    def sparse_softmax_cross_entropy(self, logits: Array, labels: Array, **parameters: Any) -> Array:
        ar = self.arithmetic
        rows, k, counts = self._labelled(logits, labels, parameters["axis"], parameters["ignore_index"])
        weight, smoothing = parameters["weight"], parameters["label_smoothing"]
        log_p = self._log_softmax(rows)
        if smoothing:
            found = -self._dot(self._targets(rows, k, weight, smoothing), log_p)
        else:
            found = -np.take_along_axis(log_p, k[:, None], -1)[:, 0]
            found = found if weight is None else self._times(ar.working(weight)[k], found)
        costs = np.zeros(labels.shape, found.dtype)
        costs[counts] = found
        return self._reduced(costs, parameters["reduction"], logits, self._divisor(k, weight))

    def _divisor(self, k: Array, weight: Array | None) -> Any:
        return k.size if weight is None else self.arithmetic.sum(weight[k])

    def _labelled(self, logits: Array, labels: Array, axis: int, ignore_index: int | None) -> Any:
        """Logits and labels of the rows that count, and which these are."""
        x = np.moveaxis(self.arithmetic.working(logits), axis, -1)
        counts = np.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index
        k = labels[counts]
        if ((k < 0) | (k >= x.shape[-1])).any():
            raise ValueError(f"a label is outside of [0, {x.shape[-1]})")
        return x[counts], k, counts

    def _slopes_sparse_softmax_cross_entropy(self, v: Array, logits: Array, labels: Array, **p: Any) -> Any:
        rows, k, counts = self._labelled(logits, labels, p["axis"], p["ignore_index"])
        share = self._share(v, p["reduction"], self._divisor(k, p["weight"]), rows)
        q = self._targets(rows, k, p["weight"], p["label_smoothing"])
        found = self._logit_slopes(rows, q, share[counts] if share.ndim else share)
        slopes = np.zeros(np.moveaxis(logits, p["axis"], -1).shape, found.dtype)
        slopes[counts] = found
        return {"logits": np.moveaxis(slopes, -1, p["axis"])}

    # -- binary cross entropy ------------------------------------------------------------------------

    def _binary_costs(self, p: Array, y: Array) -> Array:
        ar, one = self.arithmetic, p.dtype.type(1)
        p = _inside(p)
        log_rest = ar.log1p(-p) if ar.log1p_of_rest else ar.log(ar.subtract(one, p))
        return -ar.add(self._times(y, ar.log(p)), self._times(ar.subtract(one, y), log_rest))

    def _binary_slopes(self, p: Array, y: Array) -> Array:
        ar, one = self.arithmetic, p.dtype.type(1)
        p = _inside(p)
        rest, absent = ar.subtract(one, y), ar.subtract(one, p)
        zero = np.zeros((), p.dtype)
        slope = np.where((rest == 0) & (absent == 0), zero, ar.divide(rest, absent))
        return ar.subtract(slope, np.where((y == 0) & (p == 0), zero, ar.divide(y, p)))

    def binary_cross_entropy(
        self, probabilities: Array, target: Array, *, weight: Any, reduction: str
    ) -> Array:
        p, y = self.arithmetic.working(probabilities), self.arithmetic.working(target)
        return self._reduced(self._weighted(self._binary_costs(p, y), weight), reduction, probabilities)

    def _slopes_binary_cross_entropy(
        self, v: Array, probabilities: Array, target: Array, *, weight: Any, reduction: str
    ) -> Any:
        p, y = self.arithmetic.working(probabilities), self.arithmetic.working(target)
        slope = self._weighted(self._binary_slopes(p, y), weight)
        return {"probabilities": self.arithmetic.multiply(slope, self._share(v, reduction, p.size, p))}

    def _logistic_costs(self, x: Array, y: Array, pos_weight: Any = None) -> Array:
        """max(x, 0) − x y + ln(1 + e^−|x|), or with ``pos_weight`` a softplus for each term."""
        ar = self.arithmetic
        if pos_weight is None:
            return ar.add(ar.multiply_add(-x, y, np.maximum(x, 0)), self._tail(x))
        positive = self._times(self._weighted(y, pos_weight), self._softplus(-x))
        return ar.add(positive, self._times(ar.subtract(x.dtype.type(1), y), self._softplus(x)))

    def _logistic_slopes(self, x: Array, y: Array, pos_weight: Any = None) -> Array:
        """σ(x) − y, or with ``pos_weight`` a sigmoid for each term."""
        ar = self.arithmetic
        if pos_weight is None:
            return ar.subtract(self._sigmoid(x), y)
        negative = ar.multiply(ar.subtract(x.dtype.type(1), y), self._sigmoid(x))
        return ar.multiply_add(-self._weighted(y, pos_weight), self._sigmoid(-x), negative)

    def sigmoid_cross_entropy(
        self, logits: Array, target: Array, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Array:
        costs = self._logistic_costs(
            self.arithmetic.working(logits), self.arithmetic.working(target), pos_weight
        )
        return self._reduced(self._weighted(costs, weight), reduction, logits)

    def _slopes_sigmoid_cross_entropy(
        self, v: Array, logits: Array, target: Array, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        x, y = self.arithmetic.working(logits), self.arithmetic.working(target)
        slope = self._weighted(self._logistic_slopes(x, y, pos_weight), weight)
        return {"logits": self.arithmetic.multiply(slope, self._share(v, reduction, x.size, x))}

    # -- PSPNet ----------------------------------------------------------------------------------------

    def pspnet_resize_labels(self, labels: Array, *, size: tuple[int, int]) -> Array:
        resized = np.empty((len(labels), *size), labels.dtype)
        for i in range(size[0]):
            for j in range(size[1]):
                row, column = i * labels.shape[1] // size[0], j * labels.shape[2] // size[1]
                resized[:, i, j] = labels[:, row, column]
        return resized

    def _head(self, logits: Array, labels: Array, num_classes: int, reduction: str) -> dict[str, Any]:
        resized = self.pspnet_resize_labels(labels, size=logits.shape[1:3])
        return {
            "labels": np.where(resized >= num_classes, num_classes, resized),
            "axis": -1, "weight": None, "ignore_index": num_classes, "label_smoothing": 0.0,
            "reduction": reduction,
        }  # fmt: skip

    def pspnet_loss(self, logits: Array, labels: Array, *, num_classes: int, reduction: str) -> Array:
        return self.sparse_softmax_cross_entropy(logits, **self._head(logits, labels, num_classes, reduction))

    def _slopes_pspnet_loss(
        self, v: Array, logits: Array, labels: Array, *, num_classes: int, reduction: str
    ) -> Any:
        head = self._head(logits, labels, num_classes, reduction)
        return self._slopes_sparse_softmax_cross_entropy(v, logits, **head)

    def pspnet_total_loss(
        self, logits: Array, aux_logits: Array, labels: Array, *, num_classes: int, aux_weight: float
    ) -> Array:
        ar = self.arithmetic
        main, auxiliary = (
            self.pspnet_loss(ar.working(x), labels, num_classes=num_classes, reduction="mean")
            for x in (logits, aux_logits)
        )
        return ar.round(ar.multiply_add(auxiliary, auxiliary.dtype.type(aux_weight), main), logits)

    def _slopes_pspnet_total_loss(
        self,
        v: Array,
        logits: Array,
        aux_logits: Array,
        labels: Array,
        *,
        num_classes: int,
        aux_weight: float,
    ) -> Any:
        scaled = self.arithmetic.multiply(v, v.dtype.type(aux_weight))
        heads = {"logits": (logits, v), "aux_logits": (aux_logits, scaled)}
        return {
            name: self._slopes_pspnet_loss(w, x, labels, num_classes=num_classes, reduction="mean")["logits"]
            for name, (x, w) in heads.items()
        }

    def pspnet_predict(self, logits: Array) -> Array:
        best, found = logits[..., 0], np.zeros(logits.shape[:-1], np.int64)
        for c in range(1, logits.shape[-1]):
            x = logits[..., c]
            wins = (x > best) | (np.isnan(x) & ~np.isnan(best))
            best, found = np.where(wins, x, best), np.where(wins, c, found)
        return found

    # -- Mask R-CNN --------------------------------------------------------------------------------------

    def _own(self, target_masks: Array, class_ids: Array, masks: Array) -> Any:
        """Where the masks of positive RoIs' own classes are, they, and their targets."""
        places = [tuple(place) for place in np.argwhere(class_ids > 0).tolist()]
        if any(class_ids[place] >= masks.shape[-1] for place in places):
            raise ValueError(f"a class id is {masks.shape[-1]} or above")
        where = [(b, r, slice(None), slice(None), int(class_ids[b, r])) for b, r in places]
        own = np.stack([masks[w] for w in where]) if where else np.zeros((0, *masks.shape[2:4]), masks.dtype)
        targets = np.stack([target_masks[p] for p in places]) if where else own
        return where, self.arithmetic.working(own), self.arithmetic.working(targets)

    def _mask_loss(self, costs: Array, like: Array) -> Array:
        return self._reduced(costs, "mean" if costs.size else "sum", like)

    def _mask_slopes(self, v: Array, slopes: Array, where: Any, masks: Array) -> Array:
        result = np.zeros(masks.shape, slopes.dtype)
        if slopes.size:
            share = self._share(v, "mean", slopes.size, slopes)
            for w, slope in zip(where, slopes, strict=True):
                result[w] = self.arithmetic.multiply(slope, share)
        return result

    def mask_rcnn_mask_loss(self, target_masks: Array, target_class_ids: Array, pred_masks: Array) -> Array:
        _, p, y = self._own(target_masks, target_class_ids, pred_masks)
        return self._mask_loss(self._binary_costs(p, y), pred_masks)

    def _slopes_mask_rcnn_mask_loss(
        self, v: Array, target_masks: Array, target_class_ids: Array, pred_masks: Array
    ) -> Any:
        where, p, y = self._own(target_masks, target_class_ids, pred_masks)
        return {"pred_masks": self._mask_slopes(v, self._binary_slopes(p, y), where, pred_masks)}

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Array, target_class_ids: Array, mask_logits: Array
    ) -> Array:
        _, x, y = self._own(target_masks, target_class_ids, mask_logits)
        return self._mask_loss(self._logistic_costs(x, y), mask_logits)

    def _slopes_mask_rcnn_mask_loss_with_logits(
        self, v: Array, target_masks: Array, target_class_ids: Array, mask_logits: Array
    ) -> Any:
        where, x, y = self._own(target_masks, target_class_ids, mask_logits)
        return {"mask_logits": self._mask_slopes(v, self._logistic_slopes(x, y), where, mask_logits)}

    def mask_rcnn_select_masks(self, pred_masks: Array, class_ids: Array) -> Array:
        selected = np.empty(pred_masks.shape[:-1], pred_masks.dtype)
        for b, r in np.ndindex(*class_ids.shape):
            selected[b, r] = pred_masks[b, r, :, :, int(class_ids[b, r])]
        return selected


def _inside(p: Array) -> Array:
    """p, and NaN outside of [0, 1]."""
    return np.where((p < 0) | (p > 1), np.full((), np.nan, p.dtype), p)


def _rows(x: Rows) -> int:
    """How many rows there are."""
    return math.prod(x.shape[:-1])


def textbook(kind: type[Arithmetic]) -> type[Textbook]:
    """The textbook in a kind of arithmetic."""
    return type(f"Textbook{kind.__name__}", (Textbook,), {"arithmetic": kind(), "__doc__": kind.__doc__})
