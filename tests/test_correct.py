"""Every correct implementation, however it computes, fails no required case in any dtype."""

from __future__ import annotations

import pytest
from lossproof.adapters.numpy import NumpyAdapter

from .correct import CORRECT
from .tightness import PAGE, PROCESSORS_DIFFER, correct_shares, outcome, page, written_shares


def test_each_computes_otherwise_and_says_how() -> None:
    assert len({variant.how for variant in CORRECT.values()}) == len(CORRECT)
    for name, variant in CORRECT.items():
        assert variant.cls is not NumpyAdapter or variant.replaced, name


@pytest.mark.parametrize("name", CORRECT)
def test_correct_implementation_passes(name: str) -> None:
    wrong = outcome(name).wrong
    assert not wrong, "\n".join(wrong[:20])


def test_the_page_on_tightness_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    written, found = written_shares(text), correct_shares()
    assert page(written) == text, "run: python -m tests.tightness --write"
    for cell in written.keys() | found.keys():
        assert written.get(cell, 0) == pytest.approx(found.get(cell, 0), abs=PROCESSORS_DIFFER), cell
