"""Documented choices: whoever makes one is granted it by name, and whoever nearly makes it fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.adapter import Adapter
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, HALF_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.answer import Answer
from lossproof.engine.judge import choices_shown, judge, run_case
from lossproof.engine.record import Record
from lossproof.engine.verdict import FLOAT32_RESULT
from lossproof.registry.deviations import Deviations
from lossproof.results.choices import Choices
from tests.own_cases import quick_cases

from . import choosing
from . import reference as ref

# The adapters here make choices in value and gradients; of derivatives test_derivatives knows.
CASES = [case for case in quick_cases() if not case.tangents]
NO_DEVIATIONS = Deviations([], "", "", "")


def showing(choice: str, functions: tuple[str, ...]) -> Iterator[tuple[Case, str]]:
    """The cases of the quick set that show a choice, in the dtypes in which they do."""
    for case in CASES:
        if case.function.name in functions and not case.thorough:
            yield from ((case, dtype) for dtype in case.dtypes if choice in choices_shown(case, dtype))


def run(chooser: choosing.Chooser, case: Case, dtype: str) -> list[Record]:
    with warnings.catch_warnings(), np.errstate(all="ignore"), ref.replaced(dict(chooser.formulas)):
        warnings.simplefilter("ignore")
        return run_case(chooser.adapter(), "chooser", case, dtype, NO_DEVIATIONS)


@pytest.mark.parametrize("chooser", choosing.RIGHT, ids=lambda c: f"{c.choice}-{c.functions[0]}")
def test_whoever_makes_a_choice_is_granted_it_by_name(chooser: choosing.Chooser) -> None:
    seen = set()
    for case, dtype in showing(chooser.choice, chooser.functions):
        records = run(chooser, case, dtype)
        variants = {record.variant for record in records if record.verdict is Verdict.VARIANT}
        assert variants == {chooser.choice}, (case.id, dtype, records)
        assert {record.verdict for record in records} <= {Verdict.PASS, Verdict.VARIANT}, (case.id, dtype)
        seen.add((case.function.name, dtype))
    assert {function for function, _ in seen} == set(chooser.functions)
    # In half precision the ends of a range near 1 do not exist; those near 0 do in bfloat16.
    needed = {"float64"} if chooser.functions == ("cross_entropy",) else {"float64", "float32"}
    assert needed <= {dtype for _, dtype in seen}


@pytest.mark.parametrize("wrong", choosing.WRONG, ids=lambda c: f"{c.choice}: {c.says}")
def test_whoever_nearly_makes_a_choice_fails(wrong: choosing.Chooser) -> None:
    telling = [
        (case, dtype)
        for case, dtype in showing(wrong.choice, wrong.functions)
        if not wrong.gradient or (case.wrt and case.function.name == "binary_cross_entropy")
    ]
    failed = {d for case, d in telling if any(r.verdict in FAILURES for r in run(wrong, case, d))}
    shown = {dtype for _, dtype in telling}
    # Of the narrower dtypes not every one has a case in which a gradient alone tells.
    assert (shown & {"float64"} if wrong.gradient else shown & {"float64", "float32"}) <= failed
    assert failed


def test_a_choice_is_judged_as_a_whole() -> None:
    (case,) = (c for c in CASES if c.id == "binary_cross_entropy/limits/gradient-certain-and-right")
    by_name = {choice.name: choice for choice in case.choices}
    clip, clamp = by_name["clipped-1e-7"], by_name["clipped-1e-15"]
    assert case.expected is not None
    for dtype in ("float64",):
        kind = FLOAT_TYPES[dtype].numpy

        def answer(value: object, gradient: object, kind: np.dtype = kind) -> Answer:
            given = {"value": value, "gradients.probabilities": gradient}
            return Answer({name: np.asarray(item).astype(kind) for name, item in given.items()})

        whole = answer(clip.expected["value"], clip.expected["gradients.probabilities"])
        assert {found.variant for found in judge(case, dtype, whole).values()} == {"clipped-1e-7"}
        mixed = answer(clip.expected["value"], case.expected["gradients.probabilities"])
        assert judge(case, dtype, mixed)["value"].verdict is Verdict.FAIL
        other = answer(3 * np.asarray(clamp.expected["value"]), clip.expected["gradients.probabilities"])
        assert {found.verdict for found in judge(case, dtype, other).values()} == {Verdict.FAIL}


def test_an_error_beside_half_of_a_choice_is_none() -> None:
    (case,) = (c for c in CASES if c.id == "binary_cross_entropy/limits/gradient-certain-and-right")
    value = np.asarray(case.choices[1].expected["value"], np.float64)
    answer = Answer({"value": value}, {"gradients.probabilities": ValueError("no gradient")})
    verdicts = {name: found.verdict for name, found in judge(case, "float64", answer).items()}
    assert verdicts == {"value": Verdict.FAIL, "gradients.probabilities": Verdict.ERROR}


# -- results in float32 --------------------------------------------------------------------------


def halves(function: str) -> Iterator[tuple[Case, str]]:
    for case in CASES:
        if case.function.name == function and case.level == "required" and "realistic" not in case.id:
            yield from ((case, dtype) for dtype in case.dtypes if dtype in HALF_TYPES)


@pytest.mark.parametrize("function", choosing.LOSSES)
def test_a_loss_in_float32_is_granted_as_one(function: str) -> None:
    assert FUNCTIONS[function].widens
    chooser = choosing.Chooser(FLOAT32_RESULT, (function,), "", adapter=choosing.wide_results(False))
    for case, dtype in halves(function):
        for record in run(chooser, case, dtype):
            assert record.verdict in {Verdict.PASS, Verdict.VARIANT}, record
            if record.output == "value" and record.message == "" and case.expected is not None:
                assert record.variant == FLOAT32_RESULT, record


@pytest.mark.parametrize("function", choosing.LOSSES)
def test_a_loss_in_half_precision_cast_up_fails(function: str) -> None:
    chooser = choosing.Chooser(FLOAT32_RESULT, (function,), "", adapter=choosing.wide_results(True))
    failed = {
        dtype
        for case, dtype in halves(function)
        for record in run(chooser, case, dtype)
        if record.output == "value" and record.verdict is Verdict.FAIL
    }
    assert failed == HALF_TYPES


@pytest.mark.parametrize("function", ["l2_loss", "softmax", "sigmoid"])
def test_other_functions_keep_their_dtype(function: str) -> None:
    assert not FUNCTIONS[function].widens


def test_gradients_in_float32_are_no_choice() -> None:
    class Wide(NumpyAdapter):
        def value_and_gradients(self, *arguments: Any, **given: Any) -> Any:
            value, gradients = super().value_and_gradients(*arguments, **given)
            return value.astype(np.float32), {n: g.astype(np.float32) for n, g in gradients.items()}

    case = next(c for c in CASES if c.id == "softmax_cross_entropy/ordinary/one-hot")
    records = run_case(Wide(), "wide", case, "float16", NO_DEVIATIONS)
    assert {record.verdict for record in records if not record.is_law} == {Verdict.FAIL}


# -- what a run says -----------------------------------------------------------------------------


def counted(adapter: Adapter, cases: list[Case]) -> list[str]:
    choices = Choices()
    for case in cases:
        for record in run_case(adapter, "x", case, "float32", NO_DEVIATIONS):
            choices.add(record, record.choices)
    return list(choices.lines())


def test_a_choice_that_is_made_in_some_cases_only_is_said_so() -> None:
    (case,) = (c for c in CASES if c.id == "sparse_softmax_cross_entropy/invalid/minus-hundred-not-declared")
    adapter = choosing.ignoring(-100)()
    assert counted(adapter, [case]) == ["ignore-index-minus-100: sparse_softmax_cross_entropy"]
    other = replace(case, id=f"{case.id}-2")
    once = _once(adapter.sparse_softmax_cross_entropy)
    adapter.sparse_softmax_cross_entropy = once
    assert counted(adapter, [case, other]) == [
        "ignore-index-minus-100: sparse_softmax_cross_entropy in 1 of 2"
    ]
    assert counted(NumpyAdapter(), [case]) == []


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that answers one call, and the reference's after it."""
    calls = iter([function])

    def call(*arrays: Any, **p: Any) -> Any:
        return next(calls, NumpyAdapter().sparse_softmax_cross_entropy)(*arrays, **p)

    return call
