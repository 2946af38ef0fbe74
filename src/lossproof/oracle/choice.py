"""Choices that the field documents (spec/choices.md), the register of them, and what they make of a case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lossproof.case.expected import DocumentedChoice, Expected, Tolerance, Variant
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.engine.compare import compare
from lossproof.oracle.definition import Evaluate, Outputs
from lossproof.oracle.evaluate import evaluate
from lossproof.oracle.result import as_stored
from lossproof.oracle.vacuity import passing_nonsense

Concerns = Callable[[Case], bool]
Exists = Callable[[Case, FloatType], bool]


def _everywhere(case: Case, dtype: FloatType) -> bool:
    return True


@dataclass(frozen=True)
class Choice:
    """Another definition of a function, executable.

    Attributes:
        name: what the verdict calls it.
        evaluate: outputs in ball arithmetic, of float64 and int64 arrays.
        concerns: whether a call can come out differently at all; asked before anything is computed.
        exists: whether a dtype has the choice's constants, as far as a call needs them.
        derivatives: what it gives beyond value and usual gradients; without it, it is no choice of a case
            that asks for more.
    """

    name: str
    evaluate: Evaluate
    concerns: Concerns
    exists: Exists = _everywhere
    derivatives: Evaluate | None = None


# By function; ``lossproof.oracle.definitions`` fills it.
REGISTER: dict[str, list[Choice]] = {}


def choose(
    name: str,
    functions: Sequence[str],
    concerns: Concerns,
    exists: Exists = _everywhere,
    derivatives: Evaluate | None = None,
) -> Callable[[Evaluate], Evaluate]:
    """Register what is decorated as a choice that implementations of some functions make."""

    def register(evaluate: Evaluate) -> Evaluate:
        for function in functions:
            REGISTER.setdefault(function, []).append(Choice(name, evaluate, concerns, exists, derivatives))
        return evaluate

    return register


def documented(
    case: Case, expected: Mapping[str, Expected], tolerances: Mapping[str, Tolerance]
) -> Iterator[tuple[DocumentedChoice, int]]:
    """The outcomes of the choices that make a difference to a case, and how many elements each has.

    An outcome is for the dtypes in which it fails by the specification's definition and by the choices
    before it, and in which nothing vacuous meets it (T-10).

    Args:
        case: inputs, parameters and dtypes.
        expected: what the specification's definition gives.
        tolerances: how far off it may be.
    """
    floats = [name for name in case.dtypes if name in FLOAT_TYPES]
    found: list[DocumentedChoice] = []
    for choice in REGISTER.get(case.function.name, []):
        with np.errstate(all="ignore"):
            concerned = choice.concerns(case)
            there = [d for d in floats if concerned and choice.exists(case, FLOAT_TYPES[d])]
        if not there:
            continue
        # What dtypes the choice does not exist in shall not widen its bounds.
        outputs = evaluate(replace(case, dtypes=tuple(there)), choice.evaluate, choice.derivatives)
        asks_for_more = case.tangents or not set(case.wrt) <= set(case.function.wrt)
        if asks_for_more and outputs.keys() != expected.keys():
            continue
        outcome = DocumentedChoice(
            choice.name,
            tuple(there),
            {name: as_stored(output) for name, output in outputs.items()},
            {name: output.tolerance() for name, output in outputs.items()},
        )
        dtypes = tuple(
            d
            for d in there
            if _decides(outputs, outcome, _missed(outputs, expected, tolerances, d, case.variants), d)
            and all(_missed(outputs, one.expected, one.tolerances, d) for one in found if d in one.dtypes)
        )
        if dtypes:
            found.append(replace(outcome, dtypes=dtypes))
            yield found[-1], sum(len(output.exact) for output in outputs.values())


def _decides(outputs: Outputs, outcome: DocumentedChoice, changed: Sequence[str], dtype: str) -> bool:
    """Whether a choice shows in the outputs that it changes, and nonsense fails in them, too."""
    return bool(changed) and not any(
        any(passing_nonsense(outputs[n].array(), outcome.expected[n], outcome.tolerances[n], dtype))
        for n in changed
    )


def _missed(
    outputs: Outputs,
    expected: Mapping[str, Expected],
    tolerances: Mapping[str, Tolerance],
    dtype: str,
    variants: Sequence[Variant] = (),
) -> list[str]:
    """The outputs that, rounded to a dtype, fail by another outcome and by its variants."""
    missed = []
    for name, output in outputs.items():
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = output.array().astype(FLOAT_TYPES[dtype].numpy)
        due = [expected[name], *(variant.outputs[name] for variant in variants if name in variant.outputs)]
        if not any(compare(rounded, one, tolerances[name], dtype).ok for one in due):
            missed.append(name)
    return missed
