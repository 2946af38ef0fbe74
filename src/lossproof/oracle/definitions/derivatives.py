"""Derivatives beyond the usual gradients (spec/general.md, G-19), each formula as its page has it.

``jvp`` is the derivative of the result along the tangents; ``hvp.<array>`` that of the gradient of the
result times the cotangent, with respect to the array, along the same tangents. All are polynomials in what
the terms below stand for, whose bounds the derivations of value and gradient give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lossproof.case.inputs import shape_of
from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, arb
from lossproof.oracle.bounds import (
    DIVISION,
    LOG,
    LOG1P,
    SQRT,
    SUBNORMAL,
    Bound,
    Floats,
    exp_of,
    rounding,
    summing,
    summing_row,
)
from lossproof.oracle.columns import Balls, elementwise
from lossproof.oracle.cross_entropy_rows import CrossEntropy
from lossproof.oracle.definition import Arguments, Inputs, Outputs, differentiate
from lossproof.oracle.definitions.binary_cross_entropy import BinaryCrossEntropy, SigmoidCrossEntropy
from lossproof.oracle.definitions.cross_entropy import dense_rows, smooth, sparse_rows
from lossproof.oracle.definitions.mask_rcnn import own_masks
from lossproof.oracle.definitions.pspnet import pspnet_head
from lossproof.oracle.definitions.sigmoid import Logits, sigmoid_relative
from lossproof.oracle.definitions.softmax import Rows
from lossproof.oracle.result import Output
from lossproof.oracle.rows import Back, rows_of, without
from lossproof.oracle.terms import NOTHING, Term, added, bounded, dot, given, inputs, output

# -- shares of a reduction -----------------------------------------------------------------------


def _of_reduction(
    terms: Sequence[Term], reduction: str, shape: tuple[int, ...], coarsest: FloatType
) -> Output:
    """The derivatives of elements, or rows, as that of the reduced result."""
    if reduction == "none":
        return output(terms, shape, coarsest)
    sum_ = added(terms)
    if reduction == "mean":
        sum_ = Term(NAN) if not terms else _divided(sum_, float(len(terms)), len(terms))
    return output([sum_], (), coarsest)


def _divided(sum_: Term, count: float, terms: int) -> Term:
    """By a count, which may be a sum of weights, accumulated as well."""
    return sum_ / given(count).erring(summing(terms) + rounding(1) if count != 1 else Bound())


def _shares(count: int, arguments: Arguments, reduction: str) -> list[Term]:
    """What one element counts in the result times the cotangent."""
    v = inputs(np.ones(count) if arguments.cotangent is None else arguments.cotangent)
    if reduction == "none":
        return v
    one = given(1.0) if arguments.cotangent is None else v[0]
    return [_divided(one, float(count), count) if reduction == "mean" else one] * count


def _tangents(arguments: Arguments, name: str, size: int) -> list[Term]:
    return inputs(arguments.tangents[name]) if name in arguments.tangents else [NOTHING] * size


def _named(arguments: Arguments, outputs: Outputs) -> Outputs:
    return {name: item for name, item in outputs.items() if arguments.wants(name)}


# -- squared differences and distances (spec/l2.md) ----------------------------------------------


def _difference(a: float, b: float) -> Term:
    """p − t of inputs, rounded once."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return Term(a - b)
    exact = arb(a) - arb(b)
    size = abs(a - b)
    return Term(exact, size, size) if size else NOTHING


def _differences(one: Floats, two: Floats) -> list[Term]:
    return [_difference(a, b) for a, b in zip(one.ravel().tolist(), two.ravel().tolist(), strict=True)]


def _toward(arguments: Arguments, size: int) -> list[Term]:
    """The tangent of p − t."""
    p, t = (_tangents(arguments, name, size) for name in ("prediction", "target"))
    return [a - b for a, b in zip(p, t, strict=True)]


@differentiate("l2_loss")
def _l2_loss(arrays: Inputs, arguments: Arguments) -> Outputs:
    p = arrays["prediction"]
    factor = given(1.0 if arguments["half"] else 2.0)
    toward, reduction = _toward(arguments, p.size), arguments["reduction"]
    along = [factor * d * e for d, e in zip(_differences(p, arrays["target"]), toward, strict=True)]
    outputs = {"jvp": _of_reduction(along, reduction, p.shape, arguments.coarsest)}
    shares = _shares(p.size, arguments, reduction)
    slopes = [s * factor * e for s, e in zip(shares, toward, strict=True)]
    outputs["hvp.prediction"] = output(slopes, p.shape, arguments.coarsest)
    outputs["hvp.target"] = output([-slope for slope in slopes], p.shape, arguments.coarsest)
    return _named(arguments, outputs)


@differentiate("euclidean_distance")
def _euclidean_distance(arrays: Inputs, arguments: Arguments) -> Outputs:
    """Rows whose distance is 0 have no direction, and no second derivative: their derivatives are NaN."""
    x, axis = arrays["prediction"], arguments["axis"]
    p, back = rows_of(x, axis)
    t, _ = rows_of(arrays["target"], axis)
    toward = [
        rows_of(arguments.tangents[name], axis)[0] if name in arguments.tangents else np.zeros(p.shape)
        for name in ("prediction", "target")
    ]
    shares = inputs(np.ones(len(p)) if arguments.cotangent is None else arguments.cotangent)
    along: list[Term] = []
    slopes: list[Term] = []
    for r, v in enumerate(shares):
        d = _differences(p[r], t[r])
        e = [a - b for a, b in zip(*(inputs(part[r]) for part in toward), strict=True)]
        squares = added(part * part for part in d)
        if isinstance(squares.exact, float):  # NaN, or a distance of 0
            along.append(Term(NAN))
            slopes += [Term(NAN)] * len(d)
            continue
        # As T-3 has it for the distance, and by a scale that is divided out and multiplied in.
        relative = rounding(3) + DIVISION + SQRT + summing_row(np.array([part.size for part in d])) * 0.5
        root = squares.exact.sqrt()
        distance = Term(root, float(root.mid())).erring(relative)
        unit = [part / distance for part in d]
        projection = dot(unit, e)
        along.append(projection)
        slopes += [v * ((b - n * projection) / distance) for b, n in zip(e, unit, strict=True)]
    coarsest = arguments.coarsest
    return _named(
        arguments,
        {
            "jvp": output(along, without(x.shape, axis), coarsest),
            "hvp.prediction": back(output(slopes, p.shape, coarsest)),
            "hvp.target": back(output([-slope for slope in slopes], p.shape, coarsest)),
        },
    )


# -- sigmoid (spec/sigmoid.md) -------------------------------------------------------------------


class _Sigmoids:
    """σ(x), σ(−x), their product and their logarithms, element by element."""

    def __init__(self, logits: Floats) -> None:
        x = self.x = Logits(logits)
        sigma, other = x.sigma, x.other
        y, o = sigma.sizes, other.sizes
        ours = sigmoid_relative(x.size, o) + x.through_logarithm()
        others = sigmoid_relative(x.size, y) + x.through_logarithm(-1.0)
        self.sigma = bounded(sigma, ours * y + SUBNORMAL)
        self.other = bounded(other, others * o + SUBNORMAL)
        # 1 − σ may be formed from the rounded σ, on either side.
        product = elementwise(lambda a, b: a * b, sigma, other)
        one_sided = (ours + others + rounding(3)) * (y * o) + (ours + rounding(1)) * (y * y)
        both = one_sided + (others + rounding(1)) * (o * o)
        self.slope = bounded(product, one_sided + SUBNORMAL)
        self.slope_either = bounded(product, both + SUBNORMAL)

    def softplus(self, sign: float) -> list[Term]:
        """ln(1 + e^x), or ln(1 + e^−x) for ``sign`` −1."""
        exact = self.x.softplus if sign > 0 else self.x.softplus_of_opposite
        bound = (exp_of(self.x.size) + LOG1P + rounding(1)) * self.x.tails + rounding(2 * exact.sizes)
        return bounded(exact, bound + SUBNORMAL)


@differentiate("sigmoid")
def _sigmoid(arrays: Inputs, arguments: Arguments) -> Outputs:
    x = arrays["logits"]
    parts = _Sigmoids(x)
    t, v = inputs(arguments.tangents["logits"]), _shares(x.size, arguments, "none")
    along = [slope * e for slope, e in zip(parts.slope, t, strict=True)]
    two = given(2.0)
    slopes = [
        s * (slope * e * (given(1.0) - two * y))
        for s, slope, e, y in zip(v, parts.slope, t, parts.sigma, strict=True)
    ]
    return {
        "jvp": output(along, x.shape, arguments.coarsest),
        "hvp.logits": output(slopes, x.shape, arguments.coarsest),
    }


@differentiate("log_sigmoid")
def _log_sigmoid(arrays: Inputs, arguments: Arguments) -> Outputs:
    x = arrays["logits"]
    parts = _Sigmoids(x)
    t, v = inputs(arguments.tangents["logits"]), _shares(x.size, arguments, "none")
    along = [other * e for other, e in zip(parts.other, t, strict=True)]
    slopes = [-(s * (slope * e)) for s, slope, e in zip(v, parts.slope_either, t, strict=True)]
    return {
        "jvp": output(along, x.shape, arguments.coarsest),
        "hvp.logits": output(slopes, x.shape, arguments.coarsest),
    }


# -- softmax (spec/softmax.md) -------------------------------------------------------------------


def _probabilities(rows: Rows) -> list[list[Term]]:
    """The softmax of each row, had as a quotient or through a logarithm."""
    one, two = rows.softmax_relative(), rows.through_logarithm()
    relative = Bound(np.maximum(one.u, two.u), np.maximum(one.a, two.a), np.maximum(one.h, two.h))
    p = np.nan_to_num(rows.p)
    return _by_row(bounded(rows.exact, relative * p + SUBNORMAL, p.shape), rows.classes)


def _by_row(terms: Sequence[Term], classes: int) -> list[list[Term]]:
    return [list(terms[i : i + classes]) for i in range(0, len(terms), classes)] if classes else []


def _rows_of_terms(array: Floats, axis: int) -> list[list[Term]]:
    flat, _ = rows_of(array, axis)
    return _by_row(inputs(flat), flat.shape[1])


def _from_mean(p: Sequence[Term], t: Sequence[Term]) -> list[Term]:
    """t − Σ p·t, per element."""
    mean = dot(p, t)
    return [e - mean for e in t]


def _softmax_rows(arrays: Inputs, arguments: Arguments) -> tuple[list[tuple[list[Term], ...]], Back, Rows]:
    """Per row the probabilities, the tangent and the cotangent."""
    x, axis = arrays["logits"], arguments["axis"]
    flat, back = rows_of(x, axis)
    rows = Rows(flat, arguments.coarsest)
    v = np.ones_like(x) if arguments.cotangent is None else arguments.cotangent
    parts = _probabilities(rows), _rows_of_terms(arguments.tangents["logits"], axis), _rows_of_terms(v, axis)
    return list(zip(*parts, strict=True)), back, rows


@differentiate("softmax")
def _softmax(arrays: Inputs, arguments: Arguments) -> Outputs:
    found, back, rows = _softmax_rows(arrays, arguments)
    along: list[Term] = []
    slopes: list[Term] = []
    for p, t, v in found:
        one, two = _from_mean(p, t), _from_mean(p, v)
        along += [q * a for q, a in zip(p, one, strict=True)]
        both = [a * b for a, b in zip(one, two, strict=True)]
        mean = dot(p, both)
        slopes += [q * (ab - mean) for q, ab in zip(p, both, strict=True)]
    shape = rows.p.shape
    return {
        "jvp": back(output(along, shape, arguments.coarsest)),
        "hvp.logits": back(output(slopes, shape, arguments.coarsest)),
    }


@differentiate("log_softmax")
def _log_softmax(arrays: Inputs, arguments: Arguments) -> Outputs:
    found, back, rows = _softmax_rows(arrays, arguments)
    along: list[Term] = []
    slopes: list[Term] = []
    for p, t, v in found:
        one = _from_mean(p, t)
        along += one
        mass = added(v)
        slopes += [-(mass * (q * a)) for q, a in zip(p, one, strict=True)]
    shape = rows.p.shape
    return {
        "jvp": back(output(along, shape, arguments.coarsest)),
        "hvp.logits": back(output(slopes, shape, arguments.coarsest)),
    }


# -- cross entropy (spec/cross-entropy.md, spec/pspnet.md) ---------------------------------------


class _Rows:
    """A cross entropy of rows of logits along tangents of the logits and, through the target, of q.

    Attributes:
        t: the tangent of the logits, by row.
        r: the tangent of the target, by row; None where there is none.
        weight: what a target is multiplied by on its way into q (1 − label smoothing).
    """

    def __init__(
        self,
        loss: CrossEntropy,
        t: list[list[Term]],
        r: list[list[Term]] | None = None,
        smoothing: float = 0.0,
    ) -> None:
        self.loss, rows = loss, loss.rows
        self.p = _probabilities(rows)
        self.q = _by_row(bounded(loss.target, rounding(loss.extra) * loss.q, loss.q.shape), rows.classes)
        self.t = t
        self.cost = _by_row(
            [-term for term in bounded(rows.log_p, rows.log_softmax_absolute() + SUBNORMAL, rows.p.shape)],
            rows.classes,
        )
        kept = given(1.0) - given(smoothing)
        self.weight = kept if not smoothing else kept.erring(rounding(1))
        self.r = None if r is None else [[self.weight * part for part in row] for row in r]

    def _lost(self, row: int) -> Term | None:
        """What all of a row is where it is left out, or invalid."""
        if not self.loss.counts[row]:
            return NOTHING
        return None if self.loss.known[row] else Term(NAN)

    def jvp(self) -> Term | list[Term]:
        """That of each row, or of the sum or mean."""
        found = []
        for row, (p, q, t) in enumerate(zip(self.p, self.q, self.t, strict=True)):
            lost = self._lost(row)
            if lost is None:
                parts = [-(a * b) for a, b in zip(q, _from_mean(p, t), strict=True)]
                if self.r is not None:
                    parts += [a * b for a, b in zip(self.r[row], self.cost[row], strict=True)]
                lost = added(parts)
            found.append(lost)
        loss = self.loss
        if loss.reduction == "none":
            return found
        sum_ = added(found)
        if loss.reduction == "mean":
            sum_ = Term(NAN) if loss.empty else _divided(sum_, loss.count, loss.number)
        return sum_ * _scale(loss.scale)

    def shares(self, cotangent: Floats | None) -> list[Term]:
        loss = self.loss
        v = inputs(np.ones(loss.number) if cotangent is None else cotangent)
        if loss.reduction == "none":
            return v
        one = given(1.0) if cotangent is None else v[0]
        one = one * _scale(loss.scale)
        return [_divided(one, loss.count, loss.number) if loss.reduction == "mean" else one] * loss.number

    def hvp(self, cotangent: Floats | None) -> list[Term]:
        """With respect to the logits."""
        found: list[Term] = []
        for row, s in enumerate(self.shares(cotangent)):
            lost, p = self._lost(row), self.p[row]
            if lost is not None:
                found += [lost] * len(p)
                continue
            mass = added(self.q[row])
            parts = [mass * (a * b) for a, b in zip(p, _from_mean(p, self.t[row]), strict=True)]
            if self.r is not None:
                more = added(self.r[row])
                parts = [part + (a * more - r) for part, a, r in zip(parts, p, self.r[row], strict=True)]
            found += [s * part for part in parts]
        return found

    def gradient_of_target(self, cotangent: Floats | None) -> list[Term]:
        return self._of_target(cotangent, self.cost)

    def hvp_of_target(self, cotangent: Floats | None) -> list[Term]:
        along = [[-a for a in _from_mean(p, t)] for p, t in zip(self.p, self.t, strict=True)]
        return self._of_target(cotangent, along)

    def _of_target(self, cotangent: Floats | None, rows: list[list[Term]]) -> list[Term]:
        found: list[Term] = []
        for row, s in enumerate(self.shares(cotangent)):
            lost = self._lost(row)
            found += [s * (self.weight * part) if lost is None else lost for part in rows[row]]
        return found

    def gradient_of_weight(
        self, labels: npt.NDArray[np.int64], smoothing: float, cotangent: Floats | None
    ) -> list[Term] | None:
        """With respect to the weight of each class (CE-21); None where it is not defined."""
        loss = self.loss
        counted = np.flatnonzero(loss.counts).tolist()
        mean = loss.reduction == "mean"
        finite = all(math.isfinite(loss.costs.rounded[row]) for row in counted)
        if not finite or (mean and loss.empty):
            return None
        targets = Balls([smooth(y, smoothing, loss.rows.classes) for y in (1.0, 0.0)])
        own, other = bounded(targets, rounding(3.0 * bool(smoothing) * targets.sizes))
        shares, classes = self.shares(cotangent), range(loss.rows.classes)
        parts: list[list[Term]] = [[] for _ in classes]
        for row in counted:
            for c in classes:
                target = own if labels[row] == c else other
                if not target.nothing:
                    parts[c].append(shares[row] * (target * self.cost[row][c]))
        if mean:
            # The divisor has each label's weight, too.
            sum_ = added(dot(self.q[row], self.cost[row]) for row in counted)
            level = shares[0] * _divided(sum_, loss.count, loss.number)
            for c, times in enumerate(np.bincount(labels[counted], minlength=len(classes)).tolist()):
                parts[c].append(-(level * given(float(times)).erring(summing(times))))
        return [added(terms) for terms in parts]


def _scale(scale: float) -> Term:
    """A factor of the whole loss, which is rounded to the dtype."""
    return given(scale) if scale == 1.0 else given(scale).erring(rounding(1))


@differentiate("softmax_cross_entropy")
def _softmax_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    loss, back, shape = dense_rows(arrays, arguments)
    axis, tangents = arguments["axis"], arguments.tangents
    zeros = np.zeros(arrays["logits"].shape)
    r = _rows_of_terms(tangents["target"], axis) if "target" in tangents else None
    t = _rows_of_terms(tangents.get("logits", zeros), axis)
    return _of_logits(_Rows(loss, t, r, arguments["label_smoothing"]), arguments, back, shape)


@differentiate("sparse_softmax_cross_entropy")
def _sparse_softmax_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    loss, back, shape = sparse_rows(arrays, arguments, arguments["ignore_index"])
    t = arguments.tangents.get("logits", np.zeros(arrays["logits"].shape))
    rows = _Rows(loss, _rows_of_terms(t, arguments["axis"]))
    outputs = _of_logits(rows, arguments, back, shape)
    if arguments.wants("gradients.weight"):
        labels, smoothing = arrays["labels"].ravel(), arguments["label_smoothing"]
        slopes = rows.gradient_of_weight(labels, smoothing, arguments.cotangent)
        if slopes is not None:
            outputs["gradients.weight"] = output(slopes, (len(slopes),), arguments.coarsest)
    return outputs


def _of_logits(rows: _Rows, arguments: Arguments, back: Back, shape: tuple[int, ...]) -> Outputs:
    loss, v, coarsest = rows.loss, arguments.cotangent, arguments.coarsest
    whole = loss.rows.p.shape
    outputs: Outputs = {}
    if arguments.tangents:
        along = rows.jvp()
        none = isinstance(along, list)
        outputs["jvp"] = output(
            along if isinstance(along, list) else [along], shape if none else (), coarsest
        )
    if loss.empty and loss.reduction == "mean":
        return outputs
    if arguments.wants("hvp.logits"):
        outputs["hvp.logits"] = back(output(rows.hvp(v), whole, coarsest))
    if arguments.wants("hvp.target"):
        outputs["hvp.target"] = back(output(rows.hvp_of_target(v), whole, coarsest))
    if arguments.wants("gradients.target"):
        outputs["gradients.target"] = back(output(rows.gradient_of_target(v), whole, coarsest))
    return outputs


@differentiate("pspnet_loss")
def _pspnet_loss(arrays: Inputs, arguments: Arguments) -> Outputs:
    loss, back, shape = pspnet_head(
        arrays["logits"],
        arrays["labels"],
        arguments["num_classes"],
        arguments["reduction"],
        arguments.coarsest,
    )
    return _of_logits(_Rows(loss, _rows_of_terms(arguments.tangents["logits"], -1)), arguments, back, shape)


@differentiate("pspnet_total_loss")
def _pspnet_total_loss(arrays: Inputs, arguments: Arguments) -> Outputs:
    outputs: Outputs = {}
    along: list[Term] = []
    for name, scale in (("logits", 1.0), ("aux_logits", float(arguments["aux_weight"]))):
        loss, back, _ = pspnet_head(
            arrays[name], arrays["labels"], arguments["num_classes"], "mean", arguments.coarsest, scale
        )
        t = arguments.tangents.get(name, np.zeros(arrays[name].shape))
        rows = _Rows(loss, _rows_of_terms(t, -1))
        part = rows.jvp()
        assert isinstance(part, Term)
        along.append(part)
        if arguments.wants(f"hvp.{name}") and not loss.empty:
            whole = loss.rows.p.shape
            outputs[f"hvp.{name}"] = back(output(rows.hvp(arguments.cotangent), whole, arguments.coarsest))
    outputs["jvp"] = output([added(along)], (), arguments.coarsest)
    return outputs


def _log_costs(p: Floats) -> list[Term]:
    """−ln of probabilities, +inf for 0."""
    found = []
    for value in p.tolist():
        if value == 1:
            found.append(NOTHING)
        elif 0 < value < 1:
            found.append(_log_of(given(value)))
        else:
            found.append(Term(math.inf if value == 0 else NAN))
    return found


def _log_of(term: Term) -> Term:
    """−ln of a number from 0 to 1, whose error it keeps."""
    if isinstance(term.exact, float):
        return Term(math.inf if term.nothing else NAN)
    exact = -term.exact.log()
    if exact.is_zero():
        return NOTHING
    size = abs(float(exact.mid()))
    cost = Term(exact, size).erring(LOG)
    return Term(exact, size, cost.u + term.u / term.size, cost.a + term.a / term.size, 1.0)


class _OfRows:
    """−Σ y·ln p of rows, with p divided by its sum if ``normalised`` (CH-4).

    Attributes:
        along: the derivatives of the rows along the tangents t of p and r of y.
        of_p, of_y: those of the slopes with respect to p and y.
        slope_of_y: the slopes with respect to y.
    """

    def __init__(
        self, p: Floats, y: Floats, t: list[list[Term]], r: list[list[Term]], normalised: bool
    ) -> None:
        self.along: list[Term] = []
        self.of_p: list[list[Term]] = []
        self.of_y: list[list[Term]] = []
        self.slope_of_y: list[list[Term]] = []
        for row in range(len(p)):
            q, target = inputs(p[row]), inputs(y[row])
            costs = _log_costs(p[row])
            # A class of target 0 has no slope, not 0/0.
            ratio = [_over(b * e, x) for b, e, x in zip(target, t[row], q, strict=True)]
            slopes = [_over(a, x) - _over(c, x) for a, x, c in zip(ratio, q, r[row], strict=True)]
            others = [-_over(e, x) for e, x in zip(t[row], q, strict=True)]
            parts = [-a for a in ratio]
            if normalised:
                sum_, mass, more, moved = added(q), added(target), added(r[row]), added(t[row])
                costs = [_log_of(x / sum_) for x in q]
                share = moved / sum_
                parts.append(mass * share)
                shared = more / sum_ - mass * share / sum_
                slopes = [slope + shared for slope in slopes]
                others = [other + share for other in others]
            parts += [c * cost for c, cost in zip(r[row], costs, strict=True)]
            self.along.append(added(parts))
            self.of_p.append(slopes)
            self.of_y.append(others)
            self.slope_of_y.append(costs)


def _over(a: Term, b: Term) -> Term:
    """a/b of probabilities b; where a is ``nothing``, so is this, also over 0."""
    if b.nothing and not a.nothing:
        return Term(NAN)
    return a / b


def cross_entropy_of_rows(arrays: Inputs, arguments: Arguments, normalised: bool = False) -> Outputs:
    """Further derivatives of the cross entropy of probabilities, which may be divided by their sum."""
    x, axis, coarsest = arrays["probabilities"], arguments["axis"], arguments.coarsest
    p, back = rows_of(x, axis)
    y, _ = rows_of(arrays["target"], axis)
    zeros = np.zeros(x.shape)
    t, r = (_rows_of_terms(arguments.tangents.get(name, zeros), axis) for name in ("probabilities", "target"))
    found = _OfRows(p, y, t, r, normalised)
    shares = _shares(len(p), arguments, arguments["reduction"])
    of = {
        "hvp.probabilities": found.of_p,
        "hvp.target": found.of_y,
        "gradients.target": found.slope_of_y,
    }
    outputs = {"jvp": _of_reduction(found.along, arguments["reduction"], without(x.shape, axis), coarsest)}
    for name, rows in of.items():
        if arguments.wants(name) and (len(p) or arguments["reduction"] != "mean"):
            terms = [s * part for s, row in zip(shares, rows, strict=True) for part in row]
            outputs[name] = back(output(terms, p.shape, coarsest))
    return outputs


@differentiate("cross_entropy")
def _cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    return cross_entropy_of_rows(arrays, arguments)


# -- binary cross entropy (spec/binary-cross-entropy.md, spec/mask-rcnn.md) ----------------------


class _Elements:
    """Derivatives of a loss of elements: along the tangents, and of the gradients with respect to both.

    Attributes:
        along: that of each cost.
        of_x, of_y: those of the slopes with respect to the leading array and the target.
        slope_of_y: the slope with respect to the target.
    """

    along: list[Term]
    of_x: list[Term]
    of_y: list[Term]
    slope_of_y: list[Term]


class _OfProbabilities(_Elements):
    """w·(−y·ln p − (1−y)·ln(1−p))."""

    def __init__(
        self,
        p: Floats,
        y: Floats,
        t: list[Term],
        r: list[Term],
        w: list[Term],
        pos: list[Term] | None = None,
    ) -> None:
        self.along, self.of_x, self.of_y, self.slope_of_y = [], [], [], []
        own = _log_costs(p)
        # ln(1 − p) may round 1 − p.
        rest = [_difference(1.0, value) for value in p.tolist()]
        other = list(map(_log_of, rest))
        for x, z, a, b, target_, e, f, g in zip(
            inputs(p), rest, own, other, y.tolist(), t, r, w, strict=True
        ):
            target, left = given(target_), _difference(1.0, target_)
            one, zero = _over(target, x), _over(left, z)
            moved = [e * (zero - one) if not e.nothing else NOTHING]
            if not f.nothing:
                moved.append(f * (a - b))
            self.along.append(g * added(moved))
            curved = [e * (_over(one, x) + _over(zero, z)) if not e.nothing else NOTHING]
            steep = NOTHING
            if not (e.nothing and f.nothing):
                steep = -(_over(given(1.0), x) + _over(given(1.0), z))
            if not f.nothing:
                curved.append(f * steep)
            self.of_x.append(g * added(curved))
            self.of_y.append(g * (e * steep))
            self.slope_of_y.append(g * (a - b))


class _OfLogits(_Elements):
    """w·(pos·y·softplus(−x) + (1−y)·softplus(x))."""

    def __init__(
        self,
        x: Floats,
        y: Floats,
        t: list[Term],
        r: list[Term],
        w: list[Term],
        pos: list[Term] | None = None,
    ) -> None:
        self.along, self.of_x, self.of_y, self.slope_of_y = [], [], [], []
        parts = _Sigmoids(x)
        logits = parts.x
        up, down = parts.softplus(1.0), parts.softplus(-1.0)
        positive = [given(1.0)] * len(y) if pos is None else pos
        relative = sigmoid_relative(logits.size, logits.other.sizes)
        elements = zip(y.tolist(), positive, t, r, w, strict=True)
        for i, (y_, weight, e, f, g) in enumerate(elements):
            one = weight * given(y_)
            zero = _difference(1.0, y_)
            sigma, other = parts.sigma[i], parts.other[i]
            slope = zero * sigma - one * other
            if not one.nothing and not math.isnan(slope.size):
                # σ·(mass) − mass cancels: what is left may err by all of it.
                size = sigma.size * (zero.size + one.size) + one.size
                u, a = (float(np.ravel(part)[i % np.size(part)]) for part in (relative.u, relative.a))
                slope = Term(
                    slope.exact, max(slope.size, size), slope.u + size * (u + 3), slope.a + size * a, slope.h
                )
            moved = [e * slope]
            toward = weight * down[i] - up[i]
            if not f.nothing:
                moved.append(f * toward)
            self.along.append(g * added(moved))
            steep = -(sigma + weight * other)
            curved = [e * ((zero + one) * parts.slope_either[i])]
            if not f.nothing:
                curved.append(f * steep)
            self.of_x.append(g * added(curved))
            self.of_y.append(g * (e * steep))
            self.slope_of_y.append(g * toward)


def _weights(arguments: Arguments, name: str, shape: tuple[int, ...]) -> list[Term]:
    array = arguments.array(name, shape)
    return [given(1.0)] * math.prod(shape) if array is None else inputs(array)


def _of_elements(arrays: Inputs, arguments: Arguments, name: str, loss: type[_Elements]) -> Outputs:
    x, coarsest = arrays[name], arguments.coarsest
    t, r = (_tangents(arguments, array, x.size) for array in (name, "target"))
    weight = _weights(arguments, "weight", x.shape)
    pos = _weights(arguments, "pos_weight", x.shape) if loss is _OfLogits else None
    found: _Elements = loss(x.ravel(), arrays["target"].ravel(), t, r, weight, pos)  # type: ignore[call-arg]
    shares = _shares(x.size, arguments, arguments["reduction"])
    outputs = {"jvp": _of_reduction(found.along, arguments["reduction"], x.shape, coarsest)}
    of = {f"hvp.{name}": found.of_x, "hvp.target": found.of_y, "gradients.target": found.slope_of_y}
    for key, terms in of.items():
        if arguments.wants(key) and (x.size or arguments["reduction"] != "mean"):
            outputs[key] = output(
                [s * part for s, part in zip(shares, terms, strict=True)], x.shape, coarsest
            )
    return outputs


def _of_weights(
    arguments: Arguments, shape: tuple[int, ...], slopes: Mapping[str, Callable[[], Sequence[Term]]]
) -> Outputs:
    """The gradients with respect to weights, of what each multiplies in every element (BCE-16)."""
    outputs: Outputs = {}
    for name, slope in slopes.items():
        if not arguments.wants(f"gradients.{name}") or (0 in shape and arguments["reduction"] == "mean"):
            continue
        own, terms = shape_of(arguments[name]), slope()
        count = math.prod(own)
        sums: list[list[Term]] = [[] for _ in range(count)]
        # A weight that is broadcast adds up what it multiplies.
        places = np.broadcast_to(np.arange(count).reshape(own), shape).ravel().tolist()
        shares = _shares(len(terms), arguments, arguments["reduction"])
        for place, s, part in zip(places, shares, terms, strict=True):
            sums[place].append(s * part)
        outputs[f"gradients.{name}"] = output([added(one) for one in sums], own, arguments.coarsest)
    return outputs


@differentiate("binary_cross_entropy")
def _binary_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    p, y = arrays["probabilities"], arrays["target"]

    def costs() -> list[Term]:
        return bounded(*BinaryCrossEntropy(p.ravel(), y.ravel()).costs())

    outputs = _of_elements(arrays, arguments, "probabilities", _OfProbabilities)
    return outputs | _of_weights(arguments, p.shape, {"weight": costs})


@differentiate("sigmoid_cross_entropy")
def _sigmoid_cross_entropy(arrays: Inputs, arguments: Arguments) -> Outputs:
    x, y = arrays["logits"], arrays["target"].ravel()

    def costs() -> list[Term]:
        positive = arguments.array("pos_weight", x.shape)
        return bounded(*SigmoidCrossEntropy(x.ravel(), y, None, positive).costs())

    def positive_costs() -> list[Term]:
        down, weight = _Sigmoids(x.ravel()).softplus(-1.0), _weights(arguments, "weight", x.shape)
        return [w * (given(t) * d) for w, t, d in zip(weight, y.tolist(), down, strict=True)]

    outputs = _of_elements(arrays, arguments, "logits", _OfLogits)
    return outputs | _of_weights(arguments, x.shape, {"weight": costs, "pos_weight": positive_costs})


@differentiate("mask_rcnn_mask_loss", "mask_rcnn_mask_loss_with_logits")
def _mask_loss(arrays: Inputs, arguments: Arguments) -> Outputs:
    """The mean over the pixels of RoIs with a class; all others have no derivative, exactly 0."""
    name, loss = next(
        (name, loss)
        for name, loss in (("pred_masks", _OfProbabilities), ("mask_logits", _OfLogits))
        if name in arrays
    )
    masks, ids = arrays[name], arrays["target_class_ids"]
    _, x, y = own_masks(arrays, name)
    _, e, _ = own_masks({**arrays, name: arguments.tangents[name]}, name)
    ones = [given(1.0)] * x.size
    found = loss(x.ravel(), y.ravel(), inputs(e), [NOTHING] * x.size, ones)
    index = np.arange(masks.size).reshape(masks.shape)
    b, r = np.nonzero(ids > 0)
    positions = index[b, r, :, :, ids[b, r]].ravel().tolist()
    terms = [NOTHING] * masks.size
    shares = _shares(x.size, arguments, "mean")
    for place, s, slope in zip(positions, shares, found.of_x, strict=True):
        terms[place] = s * slope
    coarsest = arguments.coarsest
    return {
        # The mean over no RoI is 0 by this function's own definition.
        "jvp": _of_reduction(found.along, "mean" if positions else "sum", (), coarsest),
        f"hvp.{name}": output(terms, masks.shape, coarsest),
    }
