"""Every wrong implementation fails a required case, as a wrong value and not by an error of its own."""

from __future__ import annotations

import pytest

from lossproof.core.functions import FUNCTIONS

from .detection import PAGE, first_catch, page
from .mutants import KINDS, MUTANTS, Mutant


def test_there_are_mutants_of_every_kind_and_function() -> None:
    assert {name for mutant in MUTANTS for name in mutant.functions} == set(FUNCTIONS)
    assert {mutant.kind for mutant in MUTANTS} == set(KINDS)
    assert len({mutant.cls.__name__ for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.cls.__name__)
def test_mutant_is_described_in_a_line(mutant: Mutant) -> None:
    assert mutant.bug.endswith(".")
    assert "\n" not in mutant.bug
    assert mutant.upstream is None or mutant.upstream.startswith("https://github.com/")


@pytest.mark.parametrize(
    ("mutant", "function"),
    [(mutant, function) for mutant in MUTANTS for function in mutant.functions],
    ids=lambda value: value if isinstance(value, str) else value.cls.__name__,
)
def test_mutant_is_caught(mutant: Mutant, function: str) -> None:
    assert first_catch(mutant, function), f"no required case of {function} notices: {mutant.bug}"


def test_the_page_on_detection_is_current() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python -m tests.detection --write"
