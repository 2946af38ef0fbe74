"""Squared differences and Euclidean distance (spec/l2.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, nearest, product, sizes, total
from lossproof.oracle.bounds import DIVISION, SQRT, SUBNORMAL, Bound, Floats, each, rounding, summing_rows
from lossproof.oracle.definition import Arguments, Inputs, Outputs, define
from lossproof.oracle.reading import Arrays, Parameters, Reading, leaves_half, nan, subnormal, sum_overflows
from lossproof.oracle.reduction import element_shares, reduce_elements
from lossproof.oracle.result import Output
from lossproof.oracle.rows import rows_of, without


def _read_l2(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    p, t = arrays["prediction"], arrays["target"]
    size = np.abs(p - t)
    squares = size[np.isfinite(p) & np.isfinite(t)] ** 2
    # Twice a difference is an intermediate of the gradient.
    if (size[np.isfinite(size)] > dtype.largest / 4).any() or sum_overflows(squares, dtype):
        return Reading("G-4", level="recommended")
    if subnormal(size, dtype):
        return Reading("G-8", level="recommended")
    if not np.isfinite(p).all() or not np.isfinite(t).all():
        return Reading("L2-5")
    if not p.ndim or not p.size:
        return Reading("G-5" if p.ndim else "G-1")
    clause = "L2-3" if parameters["half"] else "L2-2" if parameters["reduction"] != "none" else "L2-1"
    return Reading("G-4" if leaves_half(squares, dtype) else clause)


@define("l2_loss", _read_l2, symmetric=True)
def _l2_loss(arrays: Inputs, arguments: Arguments) -> Outputs:
    shape = arrays["prediction"].shape
    p, t = arrays["prediction"].ravel().tolist(), arrays["target"].ravel().tolist()
    half, reduction = arguments["half"], arguments["reduction"]
    outputs = {"value": l2_loss(p, t, half, reduction, shape)}
    if p or reduction != "mean":
        outputs["gradients.prediction"] = l2_gradient(p, t, half, reduction, arguments.cotangent, shape)
        outputs["gradients.target"] = l2_gradient(t, p, half, reduction, arguments.cotangent, shape)
    return outputs


def l2_loss(
    p: Sequence[float], t: Sequence[float], half: bool, reduction: str, shape: tuple[int, ...]
) -> Output:
    factor = arb(0.5) if half else arb(1)
    exact = [product(factor, _square(_minus(a, b))) for a, b in zip(p, t, strict=True)]
    size = sizes(exact)
    return reduce_elements(exact, each(rounding(3) * size + Bound(h=2.0), size), reduction, shape)


def l2_gradient(
    p: Sequence[float],
    t: Sequence[float],
    half: bool,
    reduction: str,
    cotangent: Floats | None,
    shape: tuple[int, ...],
) -> Output:
    """Gradient with respect to the first argument; the other's is its negative."""
    shares = element_shares(len(p), reduction, cotangent)
    factor = 1 if half else 2
    exact = [product(s * factor, _minus(a, b)) for a, b, s in zip(p, t, shares, strict=True)]
    size = sizes(exact)
    inner = np.array([abs(nearest(_minus(a, b))) for a, b in zip(p, t, strict=True)])
    inner = np.where(np.isfinite(inner), inner, 0.0)
    return Output(shape, exact, (rounding(3) + DIVISION) * size + Bound(h=2 + 2 * inner))


def _read_distance(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    p, t = arrays["prediction"], arrays["target"]
    size = np.abs(p - t)
    if np.isinf(p).any() or np.isinf(t).any() or (size > dtype.largest).any():
        return Reading("ED-5", gradients=False)
    known = size[size > 0]
    # Where squares leave the range, or lose digits to underflow, ED-3 only recommends.
    squares = known**2
    if squares.size and not (
        np.sum(squares) < dtype.largest / 4 and squares.min() > dtype.smallest_normal * 2.0**dtype.precision
    ):
        return Reading("ED-3", level="recommended")
    if nan(p, t):
        return Reading("ED-5")
    return Reading("ED-4" if (size.sum(axis=parameters["axis"]) == 0).any() else "ED-1")


@define("euclidean_distance", _read_distance, symmetric=True)
def _euclidean_distance(arrays: Inputs, arguments: Arguments) -> Outputs:
    x = arrays["prediction"]
    p, back = rows_of(x, arguments["axis"])
    t, _ = rows_of(arrays["target"], arguments["axis"])
    shape = without(x.shape, arguments["axis"])
    value, gradient, bound = euclidean_distance(p, t, arguments.cotangent, shape)
    return {
        "value": value,
        "gradients.prediction": back(Output(p.shape, gradient, bound)),
        "gradients.target": back(Output(p.shape, [-g for g in gradient], bound)),
    }


def euclidean_distance(
    p: Floats, t: Floats, cotangent: Floats | None, shape: tuple[int, ...]
) -> tuple[Output, list[Quantity], Bound]:
    """Distances of rows (R × D), and the gradient with respect to ``p`` with its bound (R × D).

    Where a row's distance is 0 the gradient given is the subgradient 0 (clause ED-4).
    """
    values: list[Quantity] = []
    gradient: list[Quantity] = []
    for r, (a_row, b_row) in enumerate(zip(p.tolist(), t.tolist(), strict=True)):
        differences = [_minus(a, b) for a, b in zip(a_row, b_row, strict=True)]
        squares = total(_square(d) for d in differences)
        distance = squares.sqrt() if not isinstance(squares, float) else math.sqrt(squares)
        values.append(distance)
        v = arb(float(cotangent.flat[r])) if cotangent is not None else arb(1)
        if isinstance(distance, float):
            gradient += [NAN] * len(differences)
        elif distance.is_zero():
            gradient += [0.0] * len(differences)
        else:
            gradient += [v * d / distance for d in differences]
    size, slope = sizes(values), sizes(gradient)
    # Differences and squares, the root of their sum; by a scale that is divided out and in again.
    with np.errstate(invalid="ignore"):
        summing = summing_rows(np.abs(p - t)) * 0.5
    relative = rounding(3) + DIVISION + SQRT + summing
    bound = (relative + DIVISION + rounding(2)) * slope.reshape(p.shape) + Bound(h=2.0)
    return Output(shape, values, relative * size.reshape(-1, 1) + SUBNORMAL), gradient, bound


def _minus(a: float, b: float) -> Quantity:
    if math.isfinite(a) and math.isfinite(b):
        return arb(a) - arb(b)
    return a - b


def _square(d: Quantity) -> Quantity:
    return d * d
