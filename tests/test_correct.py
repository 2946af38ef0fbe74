"""Every correct implementation, however it computes, fails no required case in any dtype."""

from __future__ import annotations

import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.functions import FUNCTIONS
from lossproof.engine import laws as laws_of_a_call

from .correct import ARITHMETICS, CORRECT, PLAIN
from .detection import required
from .tightness import PAGE, PROCESSORS_DIFFER, correct_shares, outcome, page, written_shares

pytestmark = pytest.mark.xdist_group("correct")


def test_each_computes_otherwise_and_says_how() -> None:
    assert len({variant.how for variant in CORRECT.values()}) == len(CORRECT)
    for name, variant in CORRECT.items():
        assert variant.cls is not NumpyAdapter or variant.replaced, name


@pytest.mark.parametrize("name", CORRECT)
def test_correct_implementation_passes(name: str) -> None:
    wrong = outcome(name).wrong
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("kind", ARITHMETICS)
def test_every_arithmetic_has_every_function_and_dtype(kind: str) -> None:
    due = {
        (case.id, dtype, output)
        for case in required(kind == PLAIN)
        for dtype in case.dtypes
        for output in case.expected or ()
        # Gradients to weights have their loops in test_weight_gradients.
        if output.removeprefix("gradients.") not in case.weights_moved
    }
    passed = outcome(kind).passed
    laws = {place for place in passed if place[2].startswith(laws_of_a_call.PREFIX)}
    assert CORRECT[kind].functions == set(FUNCTIONS)
    assert passed - laws == due
    # A call that is refused, as some may be, has no laws.
    answered = {
        (case.id, dtype)
        for case in required(kind == PLAIN)
        for dtype in case.dtypes
        if not any(variant.raises for variant in case.variants)
    }
    watched = {(case, dtype) for case, dtype, law in laws if law == "law.inputs-untouched"}
    assert answered <= watched <= {(case, dtype) for case, dtype, _ in due}


@pytest.mark.parametrize("name", CORRECT)
def test_each_computes_something_otherwise(name: str) -> None:
    assert CORRECT[name].functions


def test_the_page_on_tightness_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    written, found = written_shares(text), correct_shares()
    assert page(written) == text, "run: python -m tests.tightness --write"
    for cell in written.keys() | found.keys():
        assert written.get(cell, 0) == pytest.approx(found.get(cell, 0), abs=PROCESSORS_DIFFER), cell
