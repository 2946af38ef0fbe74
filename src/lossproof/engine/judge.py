"""Judge what an adapter gave for a case: a verdict and a record for each output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter
from lossproof.case.expected import RAISES_ON_NAN
from lossproof.case.model import Case
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine import huge, law_calls, laws
from lossproof.engine.answer import Answer
from lossproof.engine.proof import ask_proven
from lossproof.engine.record import LINK, Record
from lossproof.engine.verdict import Judged, judge_outputs
from lossproof.registry.deviations import Deviation, Deviations

# Outputs of up to this many elements are kept in the record as text.
MAX_SHOWN = 12


def judge(
    case: Case, dtype: str, answer: Answer, outputs: Iterable[str] = (), mixed: bool = False
) -> dict[str, Judged]:
    """Verdict, variant's name and comparison for each output of a case, or some; deviations aside.

    ``mixed`` says that the call was one of automatic mixed precision.
    """
    assert case.expected is not None
    return judge_outputs(
        answer,
        {output: case.expected[output] for output in outputs or case.expected},
        case.tolerances,
        dtype=dtype,
        level=case.level,
        variants=case.variants,
        choices=case.choices,
        widens=case.function.widens,
        mixed=mixed,
        times=case.times,
    )


def choices_shown(case: Case, dtype: str) -> tuple[str, ...]:
    """The documented choices that an answer to a case in a dtype shows, where they are made.

    A result in float32 is not among them: any loss shows that.
    """
    written = [variant.name for variant in case.variants if variant.name == RAISES_ON_NAN]
    return (*written, *(choice.name for choice in case.choices if dtype in choice.dtypes))


def small_text(array: npt.NDArray[Any]) -> str:
    """A small array as nested lists with nine digits."""
    return _nested_text(array.astype(np.float64).tolist())


def _nested_text(values: float | list[Any]) -> str:
    return f"[{', '.join(map(_nested_text, values))}]" if isinstance(values, list) else f"{values:.9g}"


def records(
    case: Case,
    dtype: str,
    adapter: str,
    answer: Answer,
    deviations: Deviations,
    judged: Mapping[str, Judged] | None = None,
) -> list[Record]:
    """Judge all outputs of a case, or take the verdicts of ``judged``."""
    found = []
    choices = choices_shown(case, dtype)
    for output, (verdict, variant, comparison) in (judged or judge(case, dtype, answer)).items():
        deviation = deviations.find(case.id, dtype, output)
        actual = answer.outputs.get(output)
        verdict, message = _recorded(verdict, comparison.message, deviation)
        found.append(
            Record(
                case=case.id,
                function=case.function.name,
                clause=case.clause,
                adapter=adapter,
                dtype=dtype,
                output=output,
                verdict=verdict,
                variant=variant,
                error_ulp=comparison.error_ulp,
                error=comparison.error,
                allowed=comparison.allowed,
                message=message,
                actual=None if actual is None or actual.size > MAX_SHOWN or case.huge else small_text(actual),
                deviation=deviation.id if deviation else None,
                upstream=_link(deviation),
                worst=comparison.worst or None,
                choices=choices,
            )
        )
    return found


def _recorded(verdict: Verdict, message: str, deviation: Deviation | None) -> tuple[Verdict, str]:
    """A verdict and its message in the light of what is recorded."""
    if deviation is None or verdict is Verdict.UNSUPPORTED:
        return verdict, message
    if verdict in FAILURES:
        return Verdict.DEVIATION, f"{deviation.id}: {message}"
    if verdict is Verdict.BELOW:
        # A miss of a recommended case stays one; the record says what it is.
        return verdict, f"{deviation.id}: {message}"
    if deviation.sporadic:
        return verdict, message
    return Verdict.FAIL, (
        f"listed as deviation {deviation.id!r}, but the verdict is now {verdict}: "
        f"remove it from {Path(deviation.path).name}:{deviation.line}"
    )


def run_case(adapter: Adapter, name: str, case: Case, dtype: str, deviations: Deviations) -> list[Record]:
    """Run one case in one dtype; judge every output, and the laws of a call."""
    return answered(adapter, name, case, dtype, deviations)[1]


def answered(
    adapter: Adapter, name: str, case: Case, dtype: str, deviations: Deviations
) -> tuple[Answer, list[Record]]:
    """Run one case in one dtype: what the adapter gives, and what ``run_case`` makes of it."""
    if case.huge:
        why = huge.too_large(adapter, case, dtype)
        if why is not None:
            return Answer(), same_verdict_for_all(case, dtype, name, Verdict.SKIPPED, why)
    answer = ask_proven(adapter, case, dtype, twice=law_calls.sampled(case, dtype))
    if case.huge:
        why = huge.out_of_memory(answer)
        if why is not None:
            return Answer(), same_verdict_for_all(case, dtype, name, Verdict.SKIPPED, why)
    mixed = bool(adapter.mixed)
    judged = judge(case, dtype, answer, mixed=mixed)
    found = records(case, dtype, name, answer, deviations, judged)
    rulings = laws.rulings(
        answer,
        judged,
        lambda other: _judge_again(case, dtype, other, mixed),
        law_calls.due(case, dtype),
        lambda: law_calls.further(adapter, case, dtype),
    )
    for law, verdict, message in rulings:
        deviation = deviations.find(case.id, dtype, law)
        verdict, message = _recorded(verdict, message, deviation)
        found.append(
            Record(
                case.id, case.function.name, laws.CLAUSES[law], name, dtype, law, verdict, message=message,
                deviation=deviation.id if deviation else None, upstream=_link(deviation),
            )
        )  # fmt: skip
    return answer, found


def _judge_again(case: Case, dtype: str, answer: Answer, mixed: bool) -> dict[str, Judged]:
    """The verdicts on the outputs that an answer is about."""
    return judge(case, dtype, answer, [*answer.outputs, *answer.raised], mixed)


def _link(deviation: Deviation | None) -> str | None:
    return deviation.upstream if deviation and LINK.fullmatch(deviation.upstream) else None


def same_verdict_for_all(
    case: Case, dtype: str, adapter: str, verdict: Verdict, message: str
) -> list[Record]:
    """Records of a case that was not run (skipped) or did not come back (crash, timeout)."""
    return [
        Record(case.id, case.function.name, case.clause, adapter, dtype, output, verdict, message=message)
        for output in case.expected or ()
    ]
