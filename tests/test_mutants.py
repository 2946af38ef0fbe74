"""Every wrong implementation fails a required case, as a wrong value and not by an error of its own."""

from __future__ import annotations

import pytest

from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import Verdict

from .detection import PAGE, first_catch, judged_case, named_catches, page, required
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
    """Given that all are caught, which is tested above; the cases that it names do catch them."""
    text = PAGE.read_text(encoding="utf-8")
    named = named_catches(text)
    cases = {case.id: case for case in required()}
    mutants = {mutant.cls.__name__: mutant for mutant in MUTANTS}
    for (name, _), case in named.items():
        records = judged_case(mutants[name].cls(), cases[case])
        assert any(record.verdict is Verdict.FAIL for record in records), f"{case} does not catch {name}"
    caught = dict.fromkeys(((m.cls.__name__, f) for m in MUTANTS for f in m.functions), "caught") | named
    assert page(caught) == text, "run: python -m tests.detection --write"
