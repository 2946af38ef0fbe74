"""The verdict on one output of an answer.

Knows what is demanded and nothing of cases, so that standalone scripts can carry its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lossproof.case.expected import Expected, Tolerance, Variant
from lossproof.core.verdicts import ProcessFault, Verdict
from lossproof.engine.answer import Answer, describe
from lossproof.engine.compare import Comparison, compare
from lossproof.errors import Unsupported


class Judged(NamedTuple):
    """A verdict, the permitted variant's name where it is one, and the comparison behind it."""

    verdict: Verdict
    variant: str | None
    comparison: Comparison


def judge_output(
    answer: Answer,
    output: str,
    expected: Expected,
    tolerance: Tolerance | None,
    *,
    dtype: str,
    level: str,
    variants: Sequence[Variant] = (),
) -> Judged:
    """Judge one output of an answer, deviations aside.

    Args:
        answer: what the adapter gave or raised.
        output: ``value`` or ``gradients.<array>``.
        expected: what the definition demands of it.
        tolerance: how far off it may be in this dtype; None for integers.
        dtype: the dtype that the call was made in.
        level: ``required`` or ``recommended``.
        variants: what else is permitted.
    """
    if output in answer.raised:
        error = answer.raised[output]
        message = describe(error)
        if isinstance(error, ProcessFault):
            # A dead process is no answer: neither a permitted raise nor a miss of what is recommended.
            return Judged(error.verdict, None, Comparison(False, message))
        if isinstance(error, Unsupported):
            return Judged(Verdict.UNSUPPORTED, None, Comparison(False, str(error)))
        permitted = next((variant for variant in variants if variant.raises), None)
        if permitted is not None:
            why = answer.broken
            # A backend that refuses the call refuses all of it.
            if output != "value" and "value" in answer.outputs:
                why = "the value was given, and the gradient raises"
            if why is None:
                return Judged(Verdict.VARIANT, permitted.name, Comparison(True, message))
            return Judged(Verdict.ERROR, None, Comparison(False, f"{message} ({why})"))
        verdict = Verdict.BELOW if level == "recommended" else Verdict.ERROR
        return Judged(verdict, None, Comparison(False, message))
    actual = answer.outputs[output]
    comparison = compare(actual, expected, tolerance, dtype)
    if comparison.ok:
        if comparison.flushed:
            return Judged(Verdict.VARIANT, "flushes-subnormals", comparison)
        return Judged(Verdict.PASS, None, comparison)
    for variant in variants:
        if output in variant.outputs:
            other = compare(actual, variant.outputs[output], tolerance, dtype)
            if other.ok:
                return Judged(Verdict.VARIANT, variant.name, other)
    return Judged(Verdict.BELOW if level == "recommended" else Verdict.FAIL, None, comparison)
