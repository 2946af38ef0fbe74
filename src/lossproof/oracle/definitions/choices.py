"""The choices that the field documents, each as a definition of its own (spec/choices.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from lossproof.case.model import Case
from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, nearest, total
from lossproof.oracle.bounds import DIVISION, LOG, Bound, Floats, accumulating, each, rounding
from lossproof.oracle.choice import choose
from lossproof.oracle.columns import Balls, elementwise
from lossproof.oracle.definition import Arguments, Inputs, Outputs
from lossproof.oracle.definitions.binary_cross_entropy import BinaryCrossEntropy, loss_of_probabilities
from lossproof.oracle.definitions.cross_entropy import dense_loss, loss_of_rows, smooth, sparse_loss
from lossproof.oracle.definitions.derivatives import cross_entropy_of_rows
from lossproof.oracle.definitions.mask_rcnn import mask_loss, own_masks
from lossproof.oracle.definitions.pspnet import dropped_pixels, total_loss
from lossproof.oracle.result import Output
from lossproof.oracle.rows import rows_of

_ELEMENTWISE = ("binary_cross_entropy", "mask_rcnn_mask_loss")


def _evaluate(arrays: Inputs, arguments: Arguments, cost: Callable[..., BinaryCrossEntropy]) -> Outputs:
    """The loss of a function of ``_ELEMENTWISE`` that adds up what ``cost`` says of each element."""
    if "pred_masks" in arrays:
        return mask_loss(arrays, arguments, "pred_masks", cost)
    return loss_of_probabilities(arrays, arguments, cost)


def _pairs(arrays: Inputs) -> tuple[Floats, Floats]:
    """The probabilities that count in a function of ``_ELEMENTWISE``, and their targets, flattened."""
    if "pred_masks" not in arrays:
        return arrays["probabilities"].ravel(), arrays["target"].ravel()
    if (arrays["target_class_ids"] >= arrays["pred_masks"].shape[-1]).any():
        return np.zeros(0), np.zeros(0)  # an invalid call is one whatever is chosen
    _, p, y = own_masks(arrays, "pred_masks")
    return p.ravel(), y.ravel()


# -- CH-1: the logarithm clamped at −100 -------------------------------------------------------

_CLAMP = 100.0
# PyTorch keeps this constant in float32, in whatever dtype it computes.
_SMALLEST_DIVISOR = float(np.float32(1e-12))


class _Clamped(BinaryCrossEntropy):
    """y·min(−ln p, 100) + (1 − y)·min(−ln(1 − p), 100), with the gradient (p − y)/max(p(1 − p), 1e-12)."""

    def costs(self) -> tuple[Balls, Bound]:
        def cost(p: float, y: float, w: float) -> Quantity:
            if not (0 <= y <= 1 and 0 <= p <= 1):
                return NAN
            return arb(w) * (arb(y) * _clamped_log(arb(p)) + (1 - arb(y)) * _clamped_log(1 - arb(p)))

        exact = elementwise(cost, *self.columns, self.weights)
        # The plain form ln(1 − p) rounds 1 − p.
        plain = np.where(self.valid, self.w * (1 - self.y), 0.0)
        size = exact.sizes
        return exact, each((LOG + rounding(5)) * size + rounding(plain) + Bound(h=2.0), size)

    def gradient(self, shares: Balls, shape: tuple[int, ...]) -> Output:
        def slope(p: float, y: float, w: float, s: Quantity) -> Quantity:
            if not (0 <= y <= 1 and 0 <= p <= 1):
                return NAN
            divisor = arb(p) * (1 - arb(p))
            if divisor < arb(_SMALLEST_DIVISOR):
                divisor = arb(_SMALLEST_DIVISOR)
            return arb(w) * s * (arb(p) - arb(y)) / divisor

        exact = elementwise(slope, *self.columns, self.weights, shares)
        p, y = self.p, self.y
        # Elsewhere the slope may be formed as that of the definition is, whose quotients cancel.
        soft = self.valid & (y > 0) & (y < 1) & (p * (1 - p) >= _SMALLEST_DIVISOR)
        inside = np.where(soft, p, 0.5)
        parts = np.where(soft, y / inside + (1 - y) / (1 - inside), 0.0)
        cancelling = parts * np.abs(self.w * shares.rounded)
        size = exact.sizes
        bound = (rounding(4) + DIVISION * 2) * size + (rounding(2) + DIVISION) * cancelling
        return Output(shape, exact, bound + Bound(h=2 + size))


def _clamped_log(p: Quantity) -> Quantity:
    cost = -p.log() if p > 0 else arb(_CLAMP)
    return arb(_CLAMP) if cost > arb(_CLAMP) else cost


def _below_clamp(case: Case) -> bool:
    p, _ = _pairs(case.exact_arrays)
    return bool((p * (1 - p) < _SMALLEST_DIVISOR)[(p >= 0) & (p <= 1)].any())


def _has_divisor(case: Case, dtype: FloatType) -> bool:
    """Whether 1e-12, which gradients need, is a number of the dtype: in float16 it rounds to 0."""
    return not case.wrt or dtype.smallest_normal < _SMALLEST_DIVISOR


@choose("log-clamped-at-100", _ELEMENTWISE, _below_clamp, _has_divisor)
def _log_clamped(arrays: Inputs, arguments: Arguments) -> Outputs:
    return _evaluate(arrays, arguments, _Clamped)


# -- CH-2 to CH-4: clipped probabilities -------------------------------------------------------


def _ends(epsilon: float, dtype: FloatType) -> tuple[float, float]:
    """ε and 1 − ε as a dtype has them."""
    low, high = np.array([epsilon, 1 - epsilon]).astype(dtype.numpy).astype(np.float64).tolist()
    return low, high


def _clip_exists(p: Floats, epsilon: float, slack: float, dtype: FloatType) -> bool:
    """Whether a dtype has the ends that probabilities are clipped to, and clips the same of them.

    ``slack`` is how far, relative, they may be off when they are compared with the ends.
    """
    low, high = _ends(epsilon, dtype)
    below, above = p < epsilon, p > 1 - epsilon
    if below.any() and epsilon < dtype.smallest_normal:
        return False
    if above.any() and _lost(epsilon, dtype) >= 0.5:
        return False
    near = (np.abs(p - low) <= slack * epsilon) & (p != low)
    near |= (np.abs(p - high) <= slack) & (p != high) & (p < 1)
    return not near.any() and bool(((p < low) == below).all() and ((p > high) == above).all())


def _lost(epsilon: float, dtype: FloatType) -> float:
    """How far off ε may be, relative, in what is left of 1 − ε once it is rounded to a dtype."""
    return _lost_units(epsilon) * dtype.unit_roundoff


def _lost_units(epsilon: float) -> float:
    # Numbers just below 1 are u apart, so 1 − ε is off by half of that, beside what ε is off itself.
    return (0.5 + epsilon) / epsilon


class _Clipped(BinaryCrossEntropy):
    """Binary cross entropy of probabilities clipped to [ε, 1 − ε]; the gradient is 0 where they are."""

    def __init__(
        self, p: Floats, y: Floats, w: Floats | None = None, *, epsilon: float, coarsest: FloatType
    ) -> None:
        super().__init__(p, y, w)
        self.epsilon, self.coarsest = epsilon, coarsest
        self.low, self.high = p < epsilon, p > 1 - epsilon

    def costs(self) -> tuple[Balls, Bound]:
        epsilon = arb(self.epsilon)

        def cost(p: float, y: float, w: float) -> Quantity:
            if math.isnan(p) or not 0 <= y <= 1:
                return NAN
            q = epsilon if p < self.epsilon else 1 - epsilon if p > 1 - self.epsilon else arb(p)
            return arb(w) * (-arb(y) * q.log() - (1 - arb(y)) * (1 - q).log())

        exact = elementwise(cost, *self.columns, self.weights)
        # What is far from 0 at an end of the range is off by half a unit; what is left of it errs more.
        far, near = np.where(self.low, [1 - self.y, self.y], [self.y, 1 - self.y])
        lost = np.where(self.low, 1.0, _log_lost(self.epsilon, self.coarsest) if self.high.any() else 0.0)
        clipped = 0.5 * (1 + 4 * self.epsilon) * far + lost * near
        rest = self.w * np.where(self.low | self.high, clipped, 1 - self.y)
        rest = np.where(np.isnan(exact.rounded), 0.0, rest)
        size = exact.sizes
        return exact, each((LOG + rounding(5)) * size + rounding(rest) + Bound(h=2.0), size)

    def gradient(self, shares: Balls, shape: tuple[int, ...]) -> Output:
        clipped = self.low | self.high
        # In the place of what is clipped, one that does no harm.
        within = BinaryCrossEntropy(np.where(clipped, 0.5, self.p), self.y, self.w)
        inner = within.gradient(shares, shape)
        # 0 also under a target that is NaN: clipping passes nothing on.
        slopes = zip(_each(inner.exact), clipped.tolist(), strict=True)
        exact = [0.0 if out else slope for slope, out in slopes]
        return Output(shape, exact, inner.bound, clipped)


def _each(balls: Balls) -> list[Quantity]:
    """The elements one by one."""
    return [balls.values[i] for i in balls.at.tolist()]


def _log_lost(epsilon: float, coarsest: FloatType) -> float:
    """Error of the logarithm of what is left of a rounded 1 − ε, in units: to all orders, ln(1 + x)."""
    lost = _lost(epsilon, coarsest)
    return _lost_units(epsilon) * -math.log1p(-lost) / lost


def _clipped_elementwise(epsilon: float, arrays: Inputs, arguments: Arguments) -> Outputs:
    return _evaluate(arrays, arguments, partial(_Clipped, epsilon=epsilon, coarsest=arguments.coarsest))


def _elements_clipped(epsilon: float, case: Case) -> bool:
    p, _ = _pairs(case.exact_arrays)
    return bool(((p < epsilon) | (p > 1 - epsilon)).any())


def _elements_exist(epsilon: float, case: Case, dtype: FloatType) -> bool:
    p, _ = _pairs(case.exact_arrays)
    return _clip_exists(p, epsilon, 0.0, dtype)


for _name, _epsilon, _functions in (
    ("clipped-1e-7", 1e-7, _ELEMENTWISE),
    ("clipped-1e-15", 1e-15, ("binary_cross_entropy",)),
):
    choose(
        _name, _functions, partial(_elements_clipped, _epsilon), partial(_elements_exist, _epsilon)
    )(partial(_clipped_elementwise, _epsilon))  # fmt: skip


class _ClippedRows:
    """Cross entropy of rows whose probabilities, perhaps divided by their sum, are clipped."""

    def __init__(self, epsilon: float, normalised: bool, coarsest: FloatType) -> None:
        self.epsilon, self.normalised, self.coarsest = epsilon, normalised, coarsest

    def costs(self, p: Floats, target: Floats) -> tuple[Balls, Bound]:
        costs: list[Quantity] = []
        magnitude: list[float] = []
        shifted: list[float] = []
        accumulated: list[float] = []
        for p_row, y_row in zip(p.tolist(), target.tolist(), strict=True):
            terms: list[Quantity] = []
            shift = 0.0
            divided = 0.0
            for q, y in zip(self.quotients(p_row), y_row, strict=True):
                end = self.end(q)
                if isinstance(q, float) or math.isnan(y):
                    terms.append(NAN)
                elif end:
                    terms.append(-arb(y) * (arb(self.epsilon) if end < 0 else 1 - arb(self.epsilon)).log())
                    shift += y if end < 0 else y * (0.5 + self.epsilon)
                else:
                    terms.append(-arb(y) * q.log())
                    divided += y
            relative = self.relative(p_row)
            shift += divided * float(relative.u)
            accumulated.append(divided * float(relative.a))
            costs.append(total(terms))
            magnitude.append(math.fsum(abs(nearest(term)) for term in terms))
            shifted.append(shift)
        size = np.array(magnitude)
        size = np.where(np.isfinite(size), size, 0.0)
        # In any order, and whatever terms are alike (T-3).
        summed = accumulating(max(p.shape[1] - 1.0, 0.0))
        bound = (LOG + rounding(3) + summed) * size + Bound(np.array(shifted), np.array(accumulated), 2.0)
        return Balls(costs), each(bound, size)

    def gradient(self, p: Floats, target: Floats, shares: Balls, shape: tuple[int, ...]) -> Output:
        exact: list[Quantity] = []
        absent: list[bool] = []
        u: list[float] = []
        a: list[float] = []
        h: list[float] = []
        for p_row, y_row, s in zip(p.tolist(), target.tolist(), _each(shares), strict=True):
            quotients = self.quotients(p_row)
            counts = [y if not self.end(q) else 0.0 for q, y in zip(quotients, y_row, strict=True)]
            lost = [isinstance(q, float) or math.isnan(y) for q, y in zip(quotients, counts, strict=True)]
            if any(lost) and self.normalised:
                # Their sum makes the whole row NaN.
                lost = [True] * len(lost)
            p_row = [0.5 if gone else p for p, gone in zip(p_row, lost, strict=True)]
            counts = [0.0 if gone else y for y, gone in zip(counts, lost, strict=True)]
            sum_ = total(arb(p) for p in p_row) if self.normalised else arb(1)
            # What goes through the sum, which every probability of the row is part of.
            mass = total(map(arb, counts)) if self.normalised else arb(0)
            row = [
                s * (mass * arb(p) - arb(y) * sum_) / (arb(p) * sum_) if y else s * mass / sum_
                for p, y in zip(p_row, counts, strict=True)
            ]
            own = [
                abs(nearest(s * arb(y) / arb(p))) if y else 0.0 for p, y in zip(p_row, counts, strict=True)
            ]
            through = abs(nearest(s * mass / sum_))
            spread = [size + through for size in own]
            relative = self.relative(p_row) * 3 + rounding(6) + DIVISION * 3 + accumulating(len(p_row))
            exact += [NAN if gone else slope for slope, gone in zip(row, lost, strict=True)]
            absent += [size == 0 and not gone for size, gone in zip(spread, lost, strict=True)]
            u += [float(relative.u) * size for size in spread]
            a += [float(relative.a) * size for size in spread]
            h += [2 + size for size in spread]
        return Output(
            shape, exact, Bound(np.array(u), np.array(a), np.array(h)), np.array(absent, dtype=bool)
        )

    def quotients(self, row: list[float]) -> list[Quantity]:
        """The probabilities that are clipped; NaN, all of them, where they have no quotients."""
        sum_ = total(arb(p) if math.isfinite(p) else p for p in row)
        if not self.normalised:
            return [NAN if math.isnan(p) else arb(p) if math.isfinite(p) else arb(math.copysign(2, p))
                    for p in row]  # fmt: skip
        if isinstance(sum_, float) or sum_.contains(0):
            return [NAN] * len(row)
        return [arb(p) / sum_ for p in row]

    def end(self, q: Quantity) -> int:
        """−1 or 1 where a probability is clipped to the lower or the upper end."""
        if isinstance(q, float):
            return 0
        return -1 if q < arb(self.epsilon) else 1 if q > 1 - arb(self.epsilon) else 0

    def relative(self, row: list[float]) -> Bound:
        """Error of a quotient of the row: its sum is accumulated and rounded, and divided by."""
        if not self.normalised:
            return Bound()
        sum_ = abs(math.fsum(row)) if all(map(math.isfinite, row)) else math.nan
        spread = math.fsum(map(abs, row)) / sum_ if sum_ else math.nan
        spread = spread if math.isfinite(spread) else 0.0
        return DIVISION + rounding() + accumulating(len(row)) * spread


def _clipped_rows(epsilon: float, normalised: bool, arrays: Inputs, arguments: Arguments) -> Outputs:
    rows = _ClippedRows(epsilon, normalised, arguments.coarsest)
    return loss_of_rows(arrays, arguments, rows.costs, rows.gradient)


def _quotients(case: Case, normalised: bool) -> Floats:
    """What is clipped of the classes that have a target; of the others nothing comes of it."""
    p = case.exact_arrays["probabilities"]
    if normalised:
        p = p / p.sum(axis=case.parameters["axis"], keepdims=True)
    counted: Floats = p[case.exact_arrays["target"] != 0]
    return counted


def _rows_clipped(epsilon: float, case: Case) -> bool:
    p = _quotients(case, False)
    return bool(((p < epsilon) | (p > 1 - epsilon)).any())


def _rows_exist(epsilon: float, normalised: bool, case: Case, dtype: FloatType) -> bool:
    slack = 2 * dtype.unit_roundoff if normalised else 0.0
    return _clip_exists(_quotients(case, normalised), epsilon, slack, dtype)


def _derivatives_of_quotients(arrays: Inputs, arguments: Arguments) -> Outputs:
    """Where no class that has a target is clipped; elsewhere none are given."""
    p, _ = rows_of(arrays["probabilities"], arguments["axis"])
    y, _ = rows_of(arrays["target"], arguments["axis"])
    quotients = (p / p.sum(axis=1, keepdims=True))[y != 0]
    inside = (quotients > 1e-6) & (quotients < 1 - 1e-6)
    return cross_entropy_of_rows(arrays, arguments, normalised=True) if inside.all() else {}


choose("clipped-1e-15", ["cross_entropy"], partial(_rows_clipped, 1e-15), partial(_rows_exist, 1e-15, False))(
    partial(_clipped_rows, 1e-15, False)
)
choose(
    "normalised-clipped-1e-7", ["cross_entropy"],
    lambda case: bool(case.exact_arrays["probabilities"].size), partial(_rows_exist, 1e-7, True),
    _derivatives_of_quotients,
)(partial(_clipped_rows, 1e-7, True))  # fmt: skip


# -- CH-5: a label that is ignored by default --------------------------------------------------

_IGNORED = -100


@choose(
    "ignore-index-minus-100", ["sparse_softmax_cross_entropy"],
    lambda case: (
        case.parameters["ignore_index"] is None and bool((case.exact_arrays["labels"] == _IGNORED).any())
    ),
)  # fmt: skip
def _ignore_index(arrays: Inputs, arguments: Arguments) -> Outputs:
    return sparse_loss(arrays, arguments, _IGNORED, smooth, 3.0)


# -- CH-6: 0 for a mean over nothing -----------------------------------------------------------


def _mean_of_none(case: Case) -> bool:
    """Whether a mean is taken of no element or row at all."""
    return case.parameters["reduction"] == "mean" and not next(iter(case.exact_arrays.values())).size


def _mean_of_no_label(case: Case) -> bool:
    labels, parameters = case.exact_arrays["labels"], case.parameters
    return parameters["reduction"] == "mean" and bool((labels == parameters["ignore_index"]).all())


def _mean_of_no_pixel(case: Case) -> bool:
    arrays, parameters = case.exact_arrays, case.parameters
    heads = [arrays[name] for name in ("logits", "aux_logits") if name in arrays]
    dropped = [dropped_pixels(head, arrays["labels"], parameters)[1].all() for head in heads]
    return parameters.get("reduction", "mean") == "mean" and any(dropped)


_EMPTY = "zero-for-an-empty-mean"


@choose(_EMPTY, ["sparse_softmax_cross_entropy"], _mean_of_no_label)
@choose(_EMPTY, ["pspnet_loss"], _mean_of_no_pixel)
@choose(
    _EMPTY,
    ["l2_loss", "cross_entropy", "softmax_cross_entropy", "binary_cross_entropy", "sigmoid_cross_entropy"],
    _mean_of_none,
)
def _zero(arrays: Inputs, arguments: Arguments) -> Outputs:
    return {"value": Output((), [0.0], Bound())}


@choose(_EMPTY, ["pspnet_total_loss"], _mean_of_no_pixel)
def _zero_of_a_head(arrays: Inputs, arguments: Arguments) -> Outputs:
    return total_loss(arrays, arguments, 0.0)


# -- CH-7: smoothing over the other classes ----------------------------------------------------


def _over_others(target: float, smoothing: float, classes: int) -> Quantity:
    """1 − a for the true class, a/(C − 1) for each other one."""
    if not smoothing:
        return target
    return 1 - arb(smoothing) if target else arb(smoothing) / (classes - 1)


def _roundings(arguments: Arguments) -> float:
    # A form whose 1 − aC/(C − 1) + a/(C − 1) cancels has errors of two units of 1 in 1 − a.
    return 3.0 + 3.0 / (1.0 - float(arguments["label_smoothing"]))


def _smooths_labels(case: Case) -> bool:
    parameters = case.parameters
    classes = case.shape_of("logits")[parameters["axis"]]
    return 0 < parameters["label_smoothing"] < 1 and parameters["weight"] is None and classes > 1


def _smooths_rows(case: Case) -> bool:
    parameters = case.parameters
    y, _ = rows_of(case.exact_arrays["target"], parameters["axis"])
    one_hot = ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()
    return 0 < parameters["label_smoothing"] < 1 and y.shape[1] > 1 and bool(one_hot)


@choose("smoothing-over-other-classes", ["sparse_softmax_cross_entropy"], _smooths_labels)
def _sparse_over_others(arrays: Inputs, arguments: Arguments) -> Outputs:
    return sparse_loss(arrays, arguments, arguments["ignore_index"], _over_others, _roundings(arguments))


@choose("smoothing-over-other-classes", ["softmax_cross_entropy"], _smooths_rows)
def _dense_over_others(arrays: Inputs, arguments: Arguments) -> Outputs:
    return dense_loss(arrays, arguments, _over_others, _roundings(arguments))
