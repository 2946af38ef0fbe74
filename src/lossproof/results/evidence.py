"""Judge again what a record keeps of an output: all of a small one, or the place of its worst error.

What it keeps has nine digits, which tell the numbers of all dtypes but float64's apart. A stored number of
float64 stands for all that it may have been, so that a record is contradicted only where none of them, or
each of them, is right.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Expected, Floats, Sketch, Tolerance
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, HALF_TYPES, numpy_dtype
from lossproof.core.text import shortened
from lossproof.core.verdicts import RIGHT, Verdict
from lossproof.engine.compare import compare
from lossproof.engine.record import Record
from lossproof.engine.verdict import FLOAT32_RESULT, WIDENED

FLUSHED = "flushes-subnormals"
DIGITS = 9
# No text of an output that is kept is longer.
_MAX_TEXT = 2000
_NUMBERS = re.compile(r"[\[\], 0-9e+.\-naif]*")
_WORST = re.compile(r"(?:\[([0-9]+(?:, [0-9]+)*)\]|the scalar): (\S+) where (\S+) is due")


class Outcome(NamedTuple):
    """What an output may be: by the definition, which has no name, a variant or a choice."""

    name: str | None
    expected: Expected
    tolerance: Tolerance | None
    dtype: str


class Stored(NamedTuple):
    """What a stored number may have been: anything from ``low`` to ``high``."""

    low: Floats
    high: Floats


class Checked(NamedTuple):
    """Whether a record keeps anything to judge, and what contradicts it."""

    judged: bool
    problem: str | None = None


def check(case: Case, record: Record) -> Checked:
    """Compare a record with its case; ``record.output`` is one that the case expects in its dtype."""
    problem = _misfit(case, record)
    if problem is not None or record.verdict not in _OF_OUTPUTS:
        return Checked(False, problem)
    if record.actual is not None:
        stored = _stored(record.actual, record.dtype)
        if stored is None:
            return Checked(False, f"what it keeps as its output is none: {shortened(record.actual)}")
        return Checked(
            bool(stored.low.size), _contradiction(case, record, stored) if stored.low.size else None
        )
    if record.worst is not None:
        return _check_worst(case, record)
    return Checked(False)


_OF_OUTPUTS = RIGHT | {Verdict.FAIL, Verdict.DEVIATION, Verdict.BELOW}


def _misfit(case: Case, record: Record) -> str | None:
    """What no record of the case can say, whatever came out."""
    verdict = record.verdict
    if verdict not in _OF_OUTPUTS and (record.actual is not None or record.worst is not None):
        return f"{verdict}, and yet an output is kept"
    if verdict is Verdict.BELOW and case.level != "recommended":
        return "below, and the case is required"
    if verdict is Verdict.DEVIATION and record.deviation is None:
        return "deviation, and does not say which"
    if (record.variant is None) == (verdict is Verdict.VARIANT):
        return "a variant without a name" if verdict is Verdict.VARIANT else f"{verdict}, and yet a variant"
    if verdict is Verdict.VARIANT:
        raising = {variant.name for variant in case.variants if variant.raises}
        if record.variant in raising:
            return f"{record.variant}, and yet an output is kept" if record.actual is not None else None
        names = {outcome.name for outcome in _outcomes(case, record)} | {FLUSHED}
        if record.variant not in names:
            return f"{shortened(str(record.variant))} is no variant that the case permits"
    if verdict in RIGHT and (record.share_used or 0) > 1:
        return f"{verdict}, and yet off by {record.share_used:.3g} times what is allowed"
    return None


def _outcomes(case: Case, record: Record) -> Iterator[Outcome]:
    """What the output may be: the definition first."""
    assert case.expected is not None
    output, dtype = record.output, record.dtype
    tolerance = case.tolerances.get(output)
    others = [(v.name, v.outputs[output]) for v in case.variants if output in v.outputs]
    yield Outcome(None, case.expected[output], tolerance, dtype)
    yield from (Outcome(name, due, tolerance, dtype) for name, due in others)
    for choice in case.choices:
        if dtype in choice.dtypes:
            yield Outcome(choice.name, choice.expected[output], choice.tolerances.get(output), dtype)
    if case.function.widens and dtype in HALF_TYPES:
        wide = "float32" if output in WIDENED else dtype
        for due in (case.expected[output], *(due for _, due in others)):
            yield Outcome(FLOAT32_RESULT, due, tolerance, wide)


def _contradiction(case: Case, record: Record, stored: Stored) -> str | None:
    """Whether what is kept of an output cannot have the verdict."""
    shown = shortened(record.actual or record.worst or "")
    outcomes = list(_outcomes(case, record))
    if record.verdict in RIGHT:
        wanted = None if record.variant == FLUSHED else record.variant
        if any(_may_be(stored, one) for one in outcomes if one.name == wanted):
            return None
        what = "right" if record.variant is None else record.variant
        return f"{record.verdict}, but what it keeps is not {what}: {shown}"
    if _undecided(record):
        return None
    choices = {choice.name for choice in case.choices} | {FLOAT32_RESULT}
    for one in outcomes:
        # A choice is met by all outputs together, which is not seen here.
        if one.name not in choices and _must_be(stored, one):
            return f"{record.verdict}, but what it keeps is right: {shown}"
    return None


def _undecided(record: Record) -> bool:
    """Whether an output is wrong by what is not kept: its shape, its dtype, or that it no longer deviates."""
    if record.deviation is not None and record.verdict is Verdict.FAIL:
        return True
    return record.is_misshapen


def _may_be(stored: Stored, due: Outcome) -> bool:
    """Whether any number that it stands for is right."""
    if stored.low.shape != due.expected.shape:
        return False
    assert not isinstance(due.expected, Sketch)  # which is of more elements than are kept
    if _exact(due):
        return bool(((stored.low <= due.expected) & (due.expected <= stored.high)).all())
    nearest = np.clip(due.expected, stored.low, stored.high)
    return _is_right(np.where(np.isnan(stored.low), np.nan, nearest), due)


def _must_be(stored: Stored, due: Outcome) -> bool:
    """Whether every number that it stands for is right: what is allowed is an interval, too."""
    if stored.low.shape != due.expected.shape:
        return False
    if _exact(due):
        return bool((stored.low == due.expected).all() and (stored.high == stored.low).all())
    return _is_right(stored.low, due) and _is_right(stored.high, due)


def _exact(due: Outcome) -> bool:
    return due.tolerance is None or due.dtype not in FLOAT_TYPES


def _is_right(numbers: Floats, due: Outcome) -> bool:
    with np.errstate(over="ignore"):
        cast: npt.NDArray[Any] = numbers.astype(numpy_dtype(due.dtype))
    if due.dtype != "float64" and _texts(cast.astype(np.float64)) != _texts(numbers):
        return False  # they are no numbers of the dtype
    return compare(cast, due.expected, due.tolerance, due.dtype).ok


def _texts(numbers: Floats) -> list[str]:
    return [f"{number:.{DIGITS}g}" for number in numbers.ravel().tolist()]


def _check_worst(case: Case, record: Record) -> Checked:
    """The one element that is kept of a large output, and what is due there."""
    found = _WORST.fullmatch(record.worst or "")
    numbers = None if found is None else (_number(found[2]), _number(found[3]))
    if found is None or numbers is None or None in numbers:
        return Checked(False, f"what it keeps as its worst element is none: {shortened(str(record.worst))}")
    index = case.in_copy(tuple(map(int, found[1].split(", "))) if found[1] else ())
    wanted = record.variant if record.variant != FLUSHED else None
    seen = False
    for due in _outcomes(case, record):
        element = _element(due, index) if due.name == wanted else None
        if element is None or not _says(found[3], element):
            continue
        seen = True
        stored = _interval(np.asarray(numbers[0]), _is_short(found[2]), record.dtype)
        problem = None
        if record.verdict in RIGHT:
            if not _may_be(stored, element):
                problem = f"{record.verdict}, but what it keeps is wrong: {record.worst}"
        elif not _undecided(record) and _must_be(stored, element):
            problem = f"{record.verdict}, but what it keeps is right: {record.worst}"
        if problem is None:
            return Checked(True)
    if seen:
        return Checked(True, problem)
    return Checked(False, f"nothing like this is due there: {record.worst}")


def _element(due: Outcome, index: tuple[int, ...]) -> Outcome | None:
    """One element of an outcome, of the sample of a sketch; None where there is no such element."""
    expected, tolerance = due.expected, due.tolerance
    if isinstance(expected, Sketch):
        expected, tolerance = expected.sample, None if tolerance is None else tolerance.sample
    if len(index) != expected.ndim or any(i >= n for i, n in zip(index, expected.shape)):
        return None
    if tolerance is not None:
        u, a = (np.broadcast_to(part, expected.shape)[index] for part in (tolerance.u, tolerance.a))
        tolerance = Tolerance(np.asarray(u), np.asarray(a), tolerance.eta)
    return Outcome(due.name, np.asarray(expected[index]), tolerance, due.dtype)


def _says(text: str, element: Outcome) -> bool:
    """Whether a text is that of what is due."""
    due = float(element.expected)  # type: ignore[arg-type]
    return text in (f"{due:.{DIGITS}g}", f"{due:.17g}")


def _is_short(text: str) -> bool:
    return len(re.sub(r"[eE].*|[^0-9]", "", text).lstrip("0")) <= DIGITS


def _stored(text: str, dtype: str) -> Stored | None:
    """The numbers that a text stands for; None of a text that is none of an output."""
    if len(text) > _MAX_TEXT or not _NUMBERS.fullmatch(text):
        return None
    try:
        values = json.loads(text.replace("nan", "NaN").replace("inf", "Infinity"))
        numbers = np.array(values, dtype=np.float64)
    except (ValueError, OverflowError, RecursionError):
        return None
    return _interval(numbers, True, dtype)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _interval(numbers: Floats, short: bool, dtype: str) -> Stored:
    """What numbers may have been before they were written with nine digits."""
    finite = np.isfinite(numbers) & (numbers != 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        last = np.floor(np.log10(np.abs(np.where(finite, numbers, 1.0)))) - (DIGITS - 1)
        half = np.where(finite, 0.5 * 10.0**last, 0.0)
        if dtype not in FLOAT_TYPES:
            half = np.where(np.abs(numbers) < 10**DIGITS, 0.0, half)
        if not short or (dtype in FLOAT_TYPES and dtype != "float64"):
            half = np.zeros_like(numbers)
        # A number near the end of the range is no infinity.
        largest = math.nextafter(math.inf, 0)
        low, high = (
            np.where(finite, np.clip(numbers + s * half, -largest, largest), numbers) for s in (-1, 1)
        )
    return Stored(low, high)
