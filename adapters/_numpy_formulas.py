"""The definitions of the specification in NumPy: values and, beside them, gradients.

Every function is pure: arrays in, a new array out, nothing is written to. All floating-point arrays
are of one dtype, float32 or float64. There are two kinds.

- Of *elements*, whose arrays have the shape (n,); the value is a cost or a result per element.
- Of *rows*, whose arrays have the shape (R, C), R rows of C classes, with columns (R, 1) of what there is
  one of in a row; the value is a result per element, or a column of costs.

``f_gradient`` takes the arrays of ``f`` and a cotangent v of the value's shape, or a scalar for all, and
gives the vector-Jacobian product (G-7): what its docstring says is multiplied by v.

Clauses such as CE-2 are those of the pages in ``spec/``; they hold the references to papers too, where
none is given here.
"""

from __future__ import annotations

import numpy as np

from ._numpy_blocks import (
    Array,
    added_at_label,
    at_label,
    row_dot,
    row_max,
    row_sum,
)

# -- reductions (spec/general.md) ----------------------------------------------------------------


def reduced(costs: Array, reduction: str, count: Array | float | None = None) -> Array:
    """none: the costs; sum: Σ costs, 0 of nothing; mean: Σ costs / N, NaN of nothing (G-5).

    Args:
        costs: of any shape.
        count: N, by default the number of costs; in float64, for counts are exact (G-4).
    """
    if reduction == "none":
        return costs
    total = costs.sum()
    if reduction == "sum":
        return np.asarray(total)
    number = np.float64(costs.size if count is None else count)
    if np.isinf(total) and np.isfinite(costs).all():
        # The mean may stay in the range that the sum leaves (G-4).
        return np.asarray((costs / number).sum())
    return np.asarray(total / number)


def reduced_gradient(v: Array, reduction: str, count: Array | float) -> Array:
    """∂/∂cost = v, or v/N for mean (G-7).

    Args:
        v: a scalar, or in the shape of the costs for the reduction none.
        count: N, as above.
    """
    return np.asarray(v / np.float64(count) if reduction == "mean" else v)


# -- terms that vanish ---------------------------------------------------------------------------


def product(y: Array | float, cost: Array) -> Array:
    """y · cost, where 0 · ±∞ = 0, the limit of y ln y (G-3), and 0 · NaN = NaN (G-2)."""
    products = y * cost
    if np.isnan(products).any():
        return np.where((y == 0) & np.isinf(cost), 0, products)
    return products


def quotient(y: Array, p: Array) -> Array:
    """y / p, where 0 / 0 = 0: the slope of y ln p, which is absent for y = 0 (BCE-7)."""
    quotients = y / p
    if np.isnan(quotients).any():
        return np.where((y == 0) & (p == 0), 0, quotients)
    return quotients


def inside(p: Array) -> Array:
    """p, and NaN where it is outside of [0, 1] (CE-4, BCE-4, BCE-15)."""
    outside = (p < 0) | (p > 1)
    return np.where(outside, np.nan, p) if outside.any() else p


def weighted(cost: Array, weight: Array | None) -> Array:
    """cost · weight, where there is one (BCE-6)."""
    return cost if weight is None else cost * weight


# -- L2 loss and Euclidean distance (spec/l2.md) ---------------------------------------------------


def l2(p: Array, t: Array, half: bool = False) -> Array:
    """(p − t)², times ½ with ``half`` (L2-1, L2-3); elements."""
    squares = (p - t) ** 2
    return squares * 0.5 if half else squares


def l2_gradient(p: Array, t: Array, v: Array, half: bool = False) -> Array:
    """∂/∂p = 2 (p − t), or p − t with ``half``; ∂/∂t is its negative (L2-4)."""
    return (p - t) * (v if half else 2 * v)


def euclidean_distance(p: Array, t: Array) -> Array:
    """√Σ(p − t)² (ED-1); rows (R, D), giving a column.

    As s √Σ((p − t)/s)² with the row's largest |p − t| for s, whose square neither overflows nor
    vanishes (ED-3; Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 27.8).
    """
    scaled, scale = scaled_difference(p, t)
    return scale * np.sqrt(row_dot(scaled, scaled))


def euclidean_distance_gradient(p: Array, t: Array, v: Array) -> Array:
    """∂/∂p = v (p − t)/distance, and 0 where the distance is 0; ∂/∂t is its negative (ED-4)."""
    scaled, _ = scaled_difference(p, t)
    length = np.sqrt(row_dot(scaled, scaled))
    return scaled * (v / np.where(length == 0, 1, length))


def scaled_difference(p: Array, t: Array) -> tuple[Array, Array]:
    """(p − t)/s and s: the largest |p − t| of each row, or 1 where that is 0 or not finite."""
    difference = p - t
    largest = row_max(np.abs(difference))
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1)
    return difference / scale, scale


# -- sigmoid and log-sigmoid (spec/sigmoid.md) -----------------------------------------------------

# All are written with e^−|x| alone: nothing overflows, and small results keep their digits.


def sigmoid(x: Array) -> Array:
    """σ(x) = 1/(1 + e^−x) (SG-1), which is e^x/(1 + e^x) for x < 0 (SG-2); elements."""
    e = np.exp(-np.abs(x))
    return np.maximum(e, x >= 0) / (1 + e)  # the numerator is 1 where x ≥ 0, and e elsewhere


def sigmoid_gradient(x: Array, v: Array) -> Array:
    """σ′(x) = σ(x) σ(−x) (SG-4)."""
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2 * v


def log_sigmoid(x: Array) -> Array:
    """ln σ(x) = −ln(1 + e^−x) (LSG-1); elements."""
    return -softplus(-x)


def log_sigmoid_gradient(x: Array, v: Array) -> Array:
    """σ(−x) (LSG-1)."""
    return sigmoid(-x) * v


def softplus(x: Array) -> Array:
    """ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|) (LSG-2); elements."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# -- softmax and log-softmax (spec/softmax.md) -----------------------------------------------------


def shifted(x: Array) -> Array:
    """x − max x of every row (SM-2), and the limit where one logit is +∞: 0 for it, −∞ for the rest (SM-5).

    That the shift makes the sums of exponentials accurate: Blanchard, D. Higham and N. Higham,
    Accurately computing the log-sum-exp and softmax functions, IMA J. Numer. Anal. 41 (2021).
    """
    top = row_max(x)
    if not np.isinf(top).any():
        return x - top
    infinite = np.isposinf(x)
    # Two infinities (or none but −∞) have no limit: ∞ − ∞ makes the row NaN.
    alone = np.isposinf(top) & (np.count_nonzero(infinite, axis=-1, keepdims=True) == 1)
    return np.where(alone & infinite, 0, x - top)


def softmax(x: Array) -> Array:
    """p = e^x / Σ e^x (SM-1); rows."""
    powers = np.exp(shifted(x))
    return powers / row_sum(powers)


def softmax_gradient(x: Array, v: Array) -> Array:
    """∂/∂x = p (v − Σ p v) (SM-10); v may be a column."""
    p = softmax(x)
    return p * (v - row_dot(p, v))


def scaled_softmax(s: Array, x: Array) -> Array:
    """s · softmax(x) for a column s, as s/Σ · e^x: a product per element instead of two operations."""
    powers = np.exp(shifted(x))
    return powers * (s / row_sum(powers))


def log_softmax(x: Array) -> Array:
    """ln p = x − ln Σ e^x (LSM-1), never the logarithm of a rounded p (LSM-2); rows."""
    d = shifted(x)
    return d - np.log(row_sum(d, of=np.exp))


def log_softmax_gradient(x: Array, v: Array) -> Array:
    """∂/∂x = v − p Σ v (LSM-5)."""
    return scaled_softmax(-row_sum(v), x) + v


# -- cross entropy (spec/cross-entropy.md) ---------------------------------------------------------


def cross_entropy(p: Array, y: Array) -> Array:
    """−Σ y ln p (CE-1) with 0 ln 0 = 0 (CE-2); rows of probabilities and targets, giving a column."""
    return -row_sum(times_log(y, p))


def cross_entropy_gradient(p: Array, y: Array, v: Array) -> Array:
    """∂/∂p = −v y/p, and 0 where y = 0 (CE-13)."""
    slope = -y / np.where(p < 0, np.nan, p)
    return np.where((y == 0) & (p >= 0) & (p <= 1), 0, slope) * v


def times_log(y: Array, p: Array) -> Array:
    """y ln p with 0 ln 0 = 0 (G-3), and NaN for p outside of [0, 1] (CE-4)."""
    return product(y, np.log(inside(p)))


def smoothed(y: Array, label_smoothing: float) -> Array:
    """y′ = (1 − ε) y + ε/C (CE-11; Szegedy et al., Rethinking the Inception Architecture, section 7)."""
    return (1 - label_smoothing) * y + label_smoothing / y.shape[-1] if label_smoothing else y


def softmax_cross_entropy(x: Array, y: Array, label_smoothing: float = 0) -> Array:
    """−Σ y′ ln softmax(x) (CE-5, CE-11, CE-15); rows of logits and targets, giving a column."""
    return -dot_of_logs(smoothed(y, label_smoothing), log_softmax(x))


def softmax_cross_entropy_gradient(x: Array, y: Array, v: Array, label_smoothing: float = 0) -> Array:
    """∂/∂x = v (p Σ y′ − y′) (CE-13, CE-19)."""
    q = smoothed(y, label_smoothing)
    return (scaled_softmax(row_sum(q), x) - q) * v


def dot_of_logs(y: Array, log_p: Array) -> Array:
    """Σ y ln p with 0 · ±∞ = 0 (CE-15) and 0 · NaN = NaN (CE-16); rows, or y (C,), giving a column."""
    total = row_dot(log_p, y)
    # A product that is NaN makes its sum NaN, and there are fewer sums to look at.
    if np.isnan(total).any():
        return row_sum(np.where((y == 0) & np.isinf(log_p), 0, y * log_p))
    return total


def sparse_softmax_cross_entropy(x: Array, k: Array, weight: Array | None = None) -> Array:
    """−w_k ln softmax(x)_k (CE-6, CE-10); rows of logits and a column of labels, giving a column.

    Args:
        k: integers in [0, C).
        weight: w of every class, (C,).
    """
    d = shifted(x)
    own = at_label(d, k)
    cost = np.log(row_sum(np.exp(d))) - own
    return cost if weight is None else product(weight[k], cost)


def sparse_softmax_cross_entropy_gradient(x: Array, k: Array, v: Array, weight: Array | None = None) -> Array:
    """∂/∂x = w_k (p − 1_k), where 1_k is 1 at the label and 0 elsewhere (CE-13)."""
    q = v if weight is None else v * weight[k]
    return added_at_label(scaled_softmax(q, x), k, -q)


def smoothed_sparse_softmax_cross_entropy(
    x: Array, k: Array, label_smoothing: float, weight: Array | None = None
) -> Array:
    """−Σ w y′ ln softmax(x) with y′ = (1 − ε) 1_k + ε/C (CE-11); as above."""
    log_p = log_softmax(x)
    own, every = at_label(log_p, k), row_sum(log_p)
    if weight is not None:
        own, every = product(weight[k], own), dot_of_logs(weight, log_p)
    return -(product(1 - label_smoothing, own) + label_smoothing / log_p.shape[-1] * every)


def smoothed_sparse_softmax_cross_entropy_gradient(
    x: Array, k: Array, v: Array, label_smoothing: float, weight: Array | None = None
) -> Array:
    """∂/∂x = p Σ w y′ − w y′ (CE-13)."""
    weight = np.ones(x.shape[-1], x.dtype) if weight is None else weight
    own, every = (1 - label_smoothing) * weight[k], label_smoothing / x.shape[-1] * weight
    return added_at_label(scaled_softmax(v * (own + every.sum()), x) - v * every, k, -v * own)


def counting(k: Array, classes: int, ignore_index: int | None) -> Array | None:
    """Which labels count: all but those that are ``ignore_index`` (CE-7), or None for all.

    Raises:
        ValueError: a label that counts is outside of the classes (CE-9).
    """
    counts = None if ignore_index is None else k != ignore_index
    outside = (k < 0) | (k >= classes)
    if (outside if counts is None else outside & counts).any():
        raise ValueError(f"labels must be in [0, {classes}) or ignore_index")
    return counts


def label_weight(k: Array, counts: Array | None, weight: Array | None) -> np.float64:
    """What a mean divides by: Σ w_k over the labels that count, or their number (CE-7, CE-10)."""
    counted = k if counts is None else k[counts]
    return np.float64(counted.size if weight is None else weight[counted].sum(dtype=np.float64))


# -- binary cross entropy (spec/binary-cross-entropy.md) -------------------------------------------


def binary_cross_entropy(p: Array, y: Array, weight: Array | None = None) -> Array:
    """−w (y ln p + (1 − y) ln(1 − p)) (BCE-1, BCE-2, BCE-6); elements."""
    p, y = inside(p), inside(y)
    return weighted(-(product(y, np.log(p)) + product(1 - y, np.log1p(-p))), weight)


def binary_cross_entropy_gradient(p: Array, y: Array, v: Array, weight: Array | None = None) -> Array:
    """∂/∂p = w ((1 − y)/(1 − p) − y/p), where a term whose target is 0 is absent (BCE-7)."""
    p, y = inside(p), inside(y)
    return weighted(quotient(1 - y, 1 - p) - quotient(y, p), weight) * v


def sigmoid_cross_entropy(
    x: Array, y: Array, weight: Array | None = None, pos_weight: Array | None = None
) -> Array:
    """w (w₊ y ln(1 + e^−x) + (1 − y) ln(1 + e^x)) (BCE-8, BCE-9); elements.

    Both logarithms are max(±x, 0) + ln(1 + e^−|x|), as in ``softplus``.
    """
    tail = np.log1p(np.exp(-np.abs(x)))
    y = inside(y)
    y_plus = weighted(y, pos_weight)
    return weighted(
        product(y_plus, np.maximum(-x, 0) + tail) + product(1 - y, np.maximum(x, 0) + tail), weight
    )


def sigmoid_cross_entropy_gradient(
    x: Array, y: Array, v: Array, weight: Array | None = None, pos_weight: Array | None = None
) -> Array:
    """∂/∂x = w ((1 − y) σ(x) − w₊ y σ(−x)) (BCE-12), both sigmoids with one exponential as in ``sigmoid``."""
    e = np.exp(-np.abs(x))
    y = inside(y)
    y_plus = weighted(y, pos_weight)
    return weighted(((1 - y) * np.maximum(e, x >= 0) - y_plus * np.maximum(e, x <= 0)) / (1 + e), weight) * v


# -- PSPNet (spec/pspnet.md) -----------------------------------------------------------------------


def resized_labels(labels: Array, height: int, width: int) -> Array:
    """Output pixel (i, j) is input pixel (⌊iH/h⌋, ⌊jW/w⌋) (PSP-1): (N, H, W) to (N, h, w)."""
    rows = np.arange(height) * labels.shape[1] // height
    columns = np.arange(width) * labels.shape[2] // width
    return labels[:, rows[:, None], columns]


def predicted(x: Array) -> Array:
    """argmax over the classes, the first of equal ones, a NaN before all (PSP-7, PSP-9): (…, C) to (…)."""
    return np.argmax(x, axis=-1)


# -- Mask R-CNN (spec/mask-rcnn.md) ----------------------------------------------------------------


def own_masks(target_masks: Array, class_ids: Array, masks: Array) -> tuple[tuple[Array, ...], Array, Array]:
    """Of the K RoIs whose class id is above 0 (MRC-3) the mask of their own class (MRC-2).

    Args:
        target_masks: (B, R, H, W).
        class_ids: (B, R).
        masks: one per class, (B, R, H, W, C).

    Returns:
        Where in ``masks`` the own ones are, they themselves (K, H, W), and their targets (K, H, W).

    Raises:
        ValueError: a class id is beyond the classes (MRC-10).
    """
    image, roi = np.nonzero(class_ids > 0)
    own = class_ids[image, roi]
    if (own >= masks.shape[-1]).any():
        raise ValueError(f"class ids must be below {masks.shape[-1]}")
    rows, columns = np.ogrid[: masks.shape[2], : masks.shape[3]]
    where = (image[:, None, None], roi[:, None, None], rows, columns, own[:, None, None])
    return where, masks[where], target_masks[image, roi]


def selected_masks(masks: Array, class_ids: Array) -> Array:
    """The mask of the class id of every RoI (MRC-7): (B, R, H, W, C) and (B, R) to (B, R, H, W)."""
    return np.take_along_axis(masks, class_ids[:, :, None, None, None], axis=-1)[..., 0]
