"""What float64 cannot decide, by the oracle's definitions in ball arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.oracle.balls import Quantity, Undecided, arb, ctx, require_flint
from lossproof.oracle.bounds import Bound, Floats
from lossproof.oracle.definition import Arguments
from lossproof.oracle.definitions import definition
from lossproof.oracle.evaluate import FIRST_PRECISION, LAST_PRECISION
from lossproof.sweeps.subjects import Subject


class Certified(NamedTuple):
    """One output for some inputs: balls or floats, the float64 numbers they round to, and bounds."""

    values: list[Quantity]
    rounded: Floats
    bound: Bound


def certified(
    subject: Subject, x: Floats, dtype: str, precision: int = FIRST_PRECISION, last: int = LAST_PRECISION
) -> dict[str, Certified]:
    """Every output of the subject for inputs x, by its name; in ``precision`` bits, and in ``last`` at most.

    Raises:
        ArithmeticError: an element stays undecided at the highest precision.
    """
    require_flint()
    arrays = subject.arrays(np.asarray(x, np.float64))
    cotangent = None if subject.cotangent is None else subject.cotangent(np.asarray(x, np.float64))
    arguments = Arguments(subject.all_parameters, cotangent, FLOAT_TYPES[dtype], subject.sources)
    formula = definition(subject.function).evaluate
    while True:
        ctx.prec = precision
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                outputs = formula(arrays, arguments)
            break
        except Undecided:
            precision *= 2
            if precision > last:
                raise ArithmeticError(f"{subject.name}: an element is too close to a boundary") from None
    found = {}
    for target in subject.targets:
        output = outputs[target.source]
        width = 1 if target.column is None else output.shape[-1]
        which = slice(target.column or 0, None, width)
        parts = (
            np.broadcast_to(np.ravel(part), (len(output.exact),))[which]
            for part in (output.bound.u, output.bound.a, output.bound.h)
        )
        found[target.name] = Certified(list(output.exact)[which], output.rounded[which], Bound(*parts))
    return found


def rounded_to(subject: Subject, target: str, x: float, dtype: str) -> float:
    """The number of a dtype, as float64, that an output's exact value rounds to (ties to even).

    Raises:
        ArithmeticError: it stays undecided at the highest precision.
    """
    kind, precision = FLOAT_TYPES[dtype], FIRST_PRECISION
    while precision <= LAST_PRECISION:
        value = certified(subject, np.array([x]), dtype, precision)[target]
        try:
            return _round(value.values[0], float(value.rounded[0]), kind)
        except Undecided:
            precision *= 2
    raise ArithmeticError(f"{subject.name}: {target} at {x!r} is too close to a rounding boundary")


def _round(ball: Quantity, near: float, kind: FloatType) -> float:
    """The nearest number of the grid around ``near``, which is the ball's float64."""
    ulp = kind.ulp(near)
    if isinstance(ball, float) and (ball != ball or abs(ball) == np.inf):
        return ball
    below = float(np.floor(near / ulp)) * ulp
    # The float64 may lie on the grid itself, and the exact value on either side of it.
    for low in (below - ulp, below):
        middle = arb(low) + arb(ulp) / 2
        ball = arb(ball) if isinstance(ball, float) else ball
        if ball < middle:
            return low
        if not ball > middle:
            if ball.is_exact() and ball == middle:
                return low if (low / ulp) % 2 == 0 else low + ulp
            raise Undecided("at a rounding boundary")
    return below + ulp


def error_in_ulp(subject: Subject, target: str, x: float, actual: float, dtype: str) -> float:
    """How far a result is from the exact value, in ULP at it; to the last bits of a float64."""
    value = certified(subject, np.array([x]), dtype)[target]
    ulp = FLOAT_TYPES[dtype].ulp(float(value.rounded[0]))
    return float((arb(actual) - value.values[0]) / arb(ulp))


def nearest_float64(subject: Subject, target: str, x: float, dtype: str) -> float:
    """What an output's exact value rounds to in float64."""
    return float(certified(subject, np.array([x]), dtype)[target].rounded[0])
