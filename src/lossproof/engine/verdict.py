"""The verdict on an answer, output by output, and on the whole where it makes a documented choice.

Knows what is demanded and nothing of cases, so that standalone scripts can carry its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lossproof.case.expected import DocumentedChoice, Expected, Tolerance, Variant
from lossproof.core.dtypes import HALF_TYPES
from lossproof.core.raised import describe
from lossproof.core.verdicts import RIGHT, ProcessFault, Verdict
from lossproof.engine.answer import Answer
from lossproof.engine.compare import Comparison, compare
from lossproof.errors import Unsupported


class Judged(NamedTuple):
    """A verdict, the permitted variant's name where it is one, and the comparison behind it."""

    verdict: Verdict
    variant: str | None
    comparison: Comparison


FLOAT32_RESULT = "float32-result"
"""The choice of a loss in float32 for logits or probabilities in half precision (clause CH-8)."""
WIDENED = ("value", "jvp")
"""The outputs that are float32 then."""


def judge_outputs(
    answer: Answer,
    expected: Mapping[str, Expected],
    tolerances: Mapping[str, Tolerance],
    *,
    dtype: str,
    level: str,
    variants: Sequence[Variant] = (),
    choices: Sequence[DocumentedChoice] = (),
    widens: bool = False,
    mixed: bool = False,
    times: int = 1,
) -> dict[str, Judged]:
    """Judge all outputs of an answer, deviations aside.

    An answer that is not right as it stands is a documented choice if all that it gives is what the one
    choice makes of it. What is right by the definition too stays a pass.

    Args:
        answer: what the adapter gave or raised.
        expected: what the definition demands, by output.
        tolerances: how far off each may be; none for integers.
        dtype: the dtype that the call was made in.
        level: ``required`` or ``recommended``.
        variants: what else is permitted, output by output.
        choices: what else is permitted as a whole.
        widens: whether the function may give its value in float32 where ``dtype`` is narrower.
        mixed: whether the call is one of automatic mixed precision, where any value may be float32 and is
            then judged as such.
        times: how often all that is demanded is repeated along the first axis.
    """
    plain = dict.fromkeys(expected, dtype)
    if mixed and dtype in HALF_TYPES and str(getattr(answer.outputs.get("value"), "dtype", "")) == "float32":
        plain |= {"value": "float32"}
    judged = {
        output: judge_output(
            answer,
            output,
            due,
            tolerances.get(output),
            dtype=plain[output],
            level=level,
            variants=variants,
            times=times,
        )
        for output, due in expected.items()
    }
    if all(verdict in _SETTLED for verdict, _, _ in judged.values()):
        return judged
    for choice in choices:
        # A choice that is not made in a dtype, for its range, is made where the dtype is float32 inside.
        if dtype in choice.dtypes or plain.get("value") in choice.dtypes:
            met = _met(answer, judged, choice.expected, choice.tolerances, plain, times=times)
            if met is not None:
                return _chosen(judged, met, choice.name)
    if widens and dtype in HALF_TYPES:
        wide = dict.fromkeys(expected, dtype) | dict.fromkeys(WIDENED, "float32")
        met = _met(answer, judged, expected, tolerances, wide, variants, times)
        if met is not None:
            return _chosen(judged, met, FLOAT32_RESULT)
    return judged


_SETTLED = RIGHT | {Verdict.UNSUPPORTED}


def _met(
    answer: Answer,
    judged: Mapping[str, Judged],
    expected: Mapping[str, Expected],
    tolerances: Mapping[str, Tolerance],
    dtypes: Mapping[str, str],
    variants: Sequence[Variant] = (),
    times: int = 1,
) -> dict[str, Comparison] | None:
    """How the supported outputs meet an outcome or its variants in their dtypes; None unless all do."""
    found = {}
    for output, one in judged.items():
        if one.verdict is Verdict.UNSUPPORTED:
            continue
        if output in answer.raised:
            return None
        due = [expected[output], *(one.outputs[output] for one in variants if output in one.outputs)]
        comparisons = [
            compare(answer.outputs[output], one, tolerances.get(output), dtypes[output], times) for one in due
        ]
        right = [comparison for comparison in comparisons if comparison.ok]
        if not right:
            return None
        found[output] = right[0]
    return found


def _chosen(judged: Mapping[str, Judged], met: Mapping[str, Comparison], name: str) -> dict[str, Judged]:
    return {
        output: one if one.verdict in _SETTLED else Judged(Verdict.VARIANT, name, met[output])
        for output, one in judged.items()
    }


def judge_output(
    answer: Answer,
    output: str,
    expected: Expected,
    tolerance: Tolerance | None,
    *,
    dtype: str,
    level: str,
    variants: Sequence[Variant] = (),
    times: int = 1,
) -> Judged:
    """Judge one output of an answer, deviations aside.

    Args:
        answer: what the adapter gave or raised.
        output: ``value``, ``gradients.<array>``, ``jvp`` or ``hvp.<array>``.
        expected: what the definition demands of it.
        tolerance: how far off it may be in this dtype; None for integers.
        dtype: the dtype that the call was made in.
        level: ``required`` or ``recommended``.
        variants: what else is permitted.
        times: how often what is demanded is repeated along the first axis.
    """
    if output in answer.raised:
        error = answer.raised[output]
        message = describe(error)
        if isinstance(error, ProcessFault):
            # A dead process is no answer: neither a permitted raise nor a miss of what is recommended.
            return Judged(error.verdict, None, Comparison(False, message))
        if isinstance(error, Unsupported):
            return Judged(Verdict.UNSUPPORTED, None, Comparison(False, message))
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
    comparison = compare(actual, expected, tolerance, dtype, times)
    if comparison.ok:
        if comparison.flushed:
            return Judged(Verdict.VARIANT, "flushes-subnormals", comparison)
        return Judged(Verdict.PASS, None, comparison)
    for variant in variants:
        if output in variant.outputs:
            other = compare(actual, variant.outputs[output], tolerance, dtype, times)
            if other.ok:
                return Judged(Verdict.VARIANT, variant.name, other)
    return Judged(Verdict.BELOW if level == "recommended" else Verdict.FAIL, None, comparison)
