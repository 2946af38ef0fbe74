"""The verdict on an output, written from spec/ alone in plain Python: no NumPy, nothing of lossproof.

What someone who writes a runner in another language would write from spec/tolerances.md (T-8, T-9),
spec/cases.md (large outputs, comparison) and spec/generator.md (signs, samples).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Constants:
    """The table of spec/tolerances.md."""

    u: float
    a: float
    eta: float
    nu: float
    omega: float


CONSTANTS = {
    "float64": Constants(2.0**-53, 2.0**-53, 2.0**-1074, 2.0**-1022, math.inf),
    "float32": Constants(2.0**-24, 2.0**-24, 2.0**-149, 2.0**-126, 2.0**128 - 2.0**103),
    "float16": Constants(2.0**-11, 2.0**-24, 2.0**-24, 2.0**-14, 65520.0),
    "bfloat16": Constants(2.0**-8, 2.0**-24, 2.0**-133, 2.0**-126, 2.0**128 - 2.0**119),
}


@dataclass(frozen=True)
class Output:
    """An output as a runner has it: elements in C order as numbers."""

    shape: Shape
    elements: Sequence[float]


@dataclass(frozen=True)
class Verdict:
    right: bool
    flushed: bool = False


# -- what a case file stores -------------------------------------------------------------------------


def number(value: Any) -> float:
    """A number of a case file; YAML parsers leave hex floats, and some infinities and NaN, as text."""
    if not isinstance(value, str):
        return float(value)
    special = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    return special[value] if value in special else float.fromhex(value)


def listed(value: Any) -> Output:
    """Nested lists, or one number."""
    if not isinstance(value, list):
        return Output((), [number(value)])
    inner = [listed(item) for item in value]
    shape = inner[0].shape if inner else ()
    return Output((len(inner), *shape), [x for item in inner for x in item.elements])


def array(stored: Any) -> Output:
    """Nested lists, one number, or a description by ``full`` or ``cycle``."""
    if not isinstance(stored, dict):
        return listed(stored)
    shape = tuple(stored["shape"])
    cycle = [number(value) for value in stored.get("cycle", [stored.get("full")])]
    elements = [cycle[i % len(cycle)] for i in range(math.prod(shape))]
    if "diagonal" in stored:
        rows, columns = shape[-2:]
        for start in range(0, len(elements), rows * columns):
            for i in range(min(rows, columns)):
                elements[start + i * columns + i] = number(stored["diagonal"])
    for ranges, value in stored.get("blocks", ()):
        for index in product(*(range(*bounds) for bounds in ranges)):
            elements[offset(index, shape)] = number(value)
    for index, value in stored.get("set", ()):
        elements[offset(index, shape)] = number(value)
    return Output(shape, elements)


def offset(index: Sequence[int], shape: Shape) -> int:
    """Where an element is in C order."""
    place = 0
    for i, length in zip(index, shape, strict=True):
        place = place * length + i
    return place


def coefficients(stored: Any, count: int) -> Iterator[tuple[float, float, float]]:
    """c, s and k of each element."""
    given = stored if isinstance(stored, dict) and "u" in stored else {"u": stored}
    c, s = (array(given.get(name, 0)).elements for name in ("u", "a"))
    k = number(given.get("eta", 8))
    for i in range(count):
        yield c[i] if len(c) > 1 else c[0], s[i] if len(s) > 1 else s[0], k


# -- T-9 -----------------------------------------------------------------------------------------------


def bound(y: float, coefficient: tuple[float, float, float], dtype: Constants) -> float:
    c, s, k = coefficient
    if c == 0 and s == 0:
        return 0.0
    return c * dtype.u + s * dtype.a + k * dtype.eta + 2.0**-53 * abs(y)


def element(r: float, y: float, allowed: float, dtype: Constants) -> Verdict:
    """The five rules, in their order."""
    if r == y or (math.isnan(r) and math.isnan(y)):
        return Verdict(True)
    if math.isfinite(r) and math.isfinite(y) and abs(r - y) <= allowed:
        return Verdict(True)
    if (
        math.isinf(r)
        and math.isfinite(y)
        and y != 0
        and (r > 0) == (y > 0)
        and abs(y) + allowed >= dtype.omega
    ):
        return Verdict(True)
    if r == 0 and abs(y) - allowed < dtype.nu:
        return Verdict(True, flushed=True)
    return Verdict(False)


def elements(r: Sequence[float], y: Sequence[float], tolerance: Any, dtype: Constants) -> Verdict:
    verdicts = [
        element(a, b, bound(b, which, dtype), dtype)
        for a, b, which in zip(r, y, coefficients(tolerance, len(y)), strict=True)
    ]
    right = all(verdict.right for verdict in verdicts)
    return Verdict(right, right and any(verdict.flushed for verdict in verdicts))


# -- T-8 -----------------------------------------------------------------------------------------------


def splitmix64(seed: int, count: int) -> Iterator[int]:
    mask = 2**64 - 1
    for i in range(count):
        z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


@lru_cache(maxsize=8)
def signs(seed: int, count: int) -> list[int]:
    return [-1 if z >> 63 else 1 for z in splitmix64(seed, count)]


def sampled(seed: int, size: int, count: int) -> list[int]:
    places = [((z >> 32) * size) >> 32 for z in splitmix64(seed, count)]
    return [0, size - 1][:count] + places[2:]


def block_sum(values: Sequence[float]) -> float:
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def sums(
    r: Sequence[float], sketch: Any, tolerance: Any, dtype: Constants, patterns: Sequence[Sequence[int]]
) -> Verdict:
    rows = [[number(value) for value in row] for row in sketch["sums"]]
    blocks = len(rows[0])
    ends = [b * len(r) // blocks for b in range(blocks + 1)]
    flushed = False
    for stored, pattern in zip(rows, patterns, strict=True):
        for b, which in enumerate(coefficients(tolerance, blocks)):
            part = range(ends[b], ends[b + 1])
            found, due = block_sum([r[i] * pattern[i] for i in part]), stored[b]
            if found == due or (math.isnan(found) and math.isnan(due)):
                continue
            if not (math.isfinite(found) and math.isfinite(due)):
                return Verdict(False)
            allowed = bound(due, which, dtype)
            if abs(found - due) <= allowed:
                continue
            zeros = sum(r[i] == 0 for i in part)
            if abs(found - due) > allowed + 6 * dtype.nu * math.sqrt(zeros):
                return Verdict(False)
            flushed = True
    return Verdict(True, flushed)


# -- an output -----------------------------------------------------------------------------------------


def judge(actual: Output, stored: Any, tolerance: Any, dtype: str) -> Verdict:
    """Whether an output in the dtype under test is right.

    Args:
        actual: what an implementation gave.
        stored: the output's entry under ``expected``.
        tolerance: its entry under ``tolerance``.
        dtype: the name of the dtype.
    """
    constants = CONSTANTS[dtype]
    if not (isinstance(stored, dict) and "sketch" in stored):
        expected = array(stored)
        if actual.shape != expected.shape:
            return Verdict(False)
        return elements(actual.elements, expected.elements, tolerance, constants)
    sketch = stored["sketch"]
    if actual.shape != tuple(sketch["shape"]):
        return Verdict(False)
    size, seed = len(actual.elements), sketch["seed"]
    sample = [number(value) for value in sketch["sample"]]
    places = sampled(seed, size, len(sample))
    one = elements([actual.elements[i] for i in places], sample, tolerance["sample"], constants)
    patterns = [signs(seed + p, size) for p in range(len(sketch["sums"]))]
    other = sums(actual.elements, sketch, tolerance["sums"], constants, patterns)
    right = one.right and other.right
    return Verdict(right, right and (one.flushed or other.flushed))
