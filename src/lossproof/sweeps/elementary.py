"""exp, log and log1p in float64, made of IEEE basic operations and tables, each within 2**-50.

The algorithms are Tang's (P. T. P. Tang, *Table-driven implementation of the exponential function in IEEE
floating-point arithmetic*, ACM TOMS 15(2), 1989; *… of the logarithm function …*, ACM TOMS 16(4), 1990):
the argument is reduced, without error, to a small distance from a point of a table, and a short polynomial
does the rest. NumPy's own exp and log are not used: their errors depend on the processor and are nowhere
bounded. Additions, multiplications and divisions are correctly rounded everywhere, so that these functions
give the same bits everywhere. The bounds are derived in docs/sweeps.md (S-1 to S-3).

Arrays are of float64. The tables come from ball arithmetic, each entry rounded once.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from lossproof.oracle.balls import arb, ctx, nearest, require_flint

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Relative error of each function of this module (S-1 to S-3).
ERROR = 2.0**-50

# Points of the tables in an octave of exp, and between 1 and 2 of log.
_POINTS = 2048
# Arguments of exp beyond this give about 2**-1010: too little to count beside anything here.
_LEAST = 700.0
_AT_LEAST = 2.0**-1010
# What a double is added to for its whole part to stand in the lowest bits.
_ROUND = 1.5 * 2.0**52
_TABLE_PRECISION = 160


def exp_of_minus(t: Floats) -> Floats:
    """e^−t for t ≥ 0, and for t > 700 some number in (0, 2**-1009); NaN for NaN."""
    table, high, low, per_unit = _exp_table()
    if t.max(initial=0.0) < 2.0**-54:
        return np.ones_like(t)
    if t.min(initial=_LEAST) >= _LEAST:
        return np.full_like(t, _AT_LEAST)
    t = np.minimum(t, _LEAST)
    shifted = t * -per_unit
    shifted += _ROUND
    whole = shifted.view(np.int64)
    n = shifted - _ROUND
    r = n * high
    r += t
    np.negative(r, out=r)  # −t − n·ln 2/2048, exact
    n *= low
    r -= n
    # e^r − 1 = r + r²/2 + r³/6
    p = r * (1 / 6)
    p += 0.5
    p *= r
    p += 1.0
    p *= r
    scale = table.take(whole & (_POINTS - 1)).view(np.int64)
    power = whole & (-_POINTS)
    power <<= 41  # 52 − 11 bits of the table
    scale += power
    result = scale.view(np.float64)
    p *= result
    result += p
    return result


def log1p(t: Floats) -> Floats:
    """ln(1 + t) for −1/2 ≤ t ≤ 1; NaN for NaN."""
    logarithms, reciprocals = _log_tables()
    shifted = t * _POINTS
    shifted += _ROUND
    at = shifted.view(np.int64) & (2 * _POINTS - 1)  # t·2048 from −1024 to 2048, modulo 4096
    shifted -= _ROUND
    shifted *= 1 / _POINTS
    u = t - shifted  # exact
    u *= reciprocals.take(at)
    # ln(1 + u) = u − u²/2 + u³/3 − u⁴/4 + u⁵/5
    p = u * (1 / 5)
    p -= 1 / 4
    p *= u
    p += 1 / 3
    p *= u
    p -= 1 / 2
    p *= u
    p *= u
    p += u
    p += logarithms.take(at)
    return p


def log(z: Floats) -> Floats:
    """ln z for z that is normal; relative also near 1."""
    high, low = _ln2_parts()
    bits = z.view(np.int64)
    # z = 2**k·(1 + t) with 1 + t in [3/4, 3/2): the exponent of z·4/3 is k, but for the last bit.
    k = (bits - _THREE_QUARTERS) >> 52
    t = (bits - (k << 52)).view(np.float64) - 1.0  # exact
    p = log1p(t)
    exponent = k.astype(np.float64)
    p += exponent * low
    p += exponent * high
    return p


_THREE_QUARTERS = int(np.array([0.75]).view(np.int64)[0])


@cache
def _exp_table() -> tuple[Floats, float, float, float]:
    """2**(j/2048), ln 2/2048 as a sum whose first part has 31 bits, and 2048/ln 2."""
    require_flint()
    ctx.prec = _TABLE_PRECISION
    step = arb(2).log() / _POINTS
    table = np.array([nearest((step * j).exp()) for j in range(_POINTS)])
    high = _upper_bits(nearest(step), 31)
    return table, high, nearest(step - high), nearest(1 / step)


@cache
def _log_tables() -> tuple[Floats, Floats]:
    """ln(1 + j/2048) and 1/(1 + j/2048) for j from −1024 to 2048, at j modulo 4096."""
    require_flint()
    ctx.prec = _TABLE_PRECISION
    logarithms, reciprocals = np.zeros(2 * _POINTS), np.ones(2 * _POINTS)
    for j in range(-_POINTS // 2, _POINTS + 1):
        point = 1 + arb(j) / _POINTS
        logarithms[j] = nearest(point.log()) if j else 0.0
        reciprocals[j] = nearest(1 / point)
    return logarithms, reciprocals


@cache
def _ln2_parts() -> tuple[float, float]:
    """ln 2 as a sum whose first part has 42 bits: a whole number of 11 bits times it is exact."""
    require_flint()
    ctx.prec = _TABLE_PRECISION
    ln2 = arb(2).log()
    high = _upper_bits(nearest(ln2), 42)
    return high, nearest(ln2 - high)


def _upper_bits(value: float, count: int) -> float:
    """The first so many bits of a number."""
    bits = np.array([value]).view(np.int64)
    return float((bits & -(1 << (53 - count))).view(np.float64)[0])
