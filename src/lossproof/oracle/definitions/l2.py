"""Squared differences and Euclidean distance (spec/l2.md)."""

from __future__ import annotations

import math

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, Quantity, arb, product, total
from lossproof.oracle.bounds import DIVISION, SQRT, SUBNORMAL, Bound, Floats, each, rounding, summing_rows
from lossproof.oracle.columns import Balls, column, elementwise
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
    p, t = column(arrays["prediction"]), column(arrays["target"])
    # p − t, of which value and gradients are made.
    differences = elementwise(_minus, p, t)
    half, reduction = arguments["half"], arguments["reduction"]
    outputs = {"value": l2_loss(differences, half, reduction, shape)}
    for name, sign in (("prediction", 1), ("target", -1)):
        if arguments.wants(f"gradients.{name}") and (len(differences) or reduction != "mean"):
            outputs[f"gradients.{name}"] = l2_gradient(
                differences, sign if half else 2 * sign, reduction, arguments.cotangent, shape
            )
    return outputs


def l2_loss(differences: Balls, half: bool, reduction: str, shape: tuple[int, ...]) -> Output:
    factor = arb(0.5) if half else arb(1)
    exact = elementwise(lambda d: product(factor, d * d), differences)
    return reduce_elements(
        exact, each(rounding(3) * exact.sizes + Bound(h=2.0), exact.sizes), reduction, shape
    )


def l2_gradient(
    differences: Balls, factor: int, reduction: str, cotangent: Floats | None, shape: tuple[int, ...]
) -> Output:
    """``factor`` times the differences p − t, each with its share of the reduction."""
    shares = element_shares(len(differences), reduction, cotangent)
    exact = elementwise(lambda d, s: product(s * factor, d), differences, shares)
    bound = (rounding(3) + DIVISION) * exact.sizes + Bound(h=2 + 2 * differences.sizes)
    return Output(shape, exact, bound)


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
        "gradients.target": back(Output(p.shape, [-g for g in gradient.values], bound)),
    }


def euclidean_distance(
    p: Floats, t: Floats, cotangent: Floats | None, shape: tuple[int, ...]
) -> tuple[Output, Balls, Bound]:
    """Distances of rows (R × D), and the gradient with respect to ``p`` with its bound (R × D).

    Where a row's distance is 0 the gradient given is the subgradient 0 (clause ED-4).
    """
    values: list[Quantity] = []
    slopes: list[Quantity] = []
    for r, (a_row, b_row) in enumerate(zip(p.tolist(), t.tolist(), strict=True)):
        differences = [_minus(a, b) for a, b in zip(a_row, b_row, strict=True)]
        squares = total(d * d for d in differences)
        distance = squares.sqrt() if not isinstance(squares, float) else math.sqrt(squares)
        values.append(distance)
        v = arb(float(cotangent.flat[r])) if cotangent is not None else arb(1)
        if isinstance(distance, float):
            slopes += [NAN] * len(differences)
        elif distance.is_zero():
            slopes += [0.0] * len(differences)
        else:
            slopes += [v * d / distance for d in differences]
    distances, gradient = Balls(values), Balls(slopes)
    # Differences and squares, the root of their sum; by a scale that is divided out and in again.
    with np.errstate(invalid="ignore"):
        summing = summing_rows(np.abs(p - t)) * 0.5
    relative = rounding(3) + DIVISION + SQRT + summing
    bound = (relative + DIVISION + rounding(2)) * gradient.sizes.reshape(p.shape) + Bound(h=2.0)
    value = Output(shape, distances, relative * distances.sizes.reshape(-1, 1) + SUBNORMAL)
    return value, gradient, bound


def _minus(a: float, b: float) -> Quantity:
    if math.isfinite(a) and math.isfinite(b):
        return arb(a) - arb(b)
    return a - b
