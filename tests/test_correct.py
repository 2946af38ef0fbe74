"""Every correct implementation, however it computes, fails no required case in any dtype."""

from __future__ import annotations

import pytest
from lossproof.adapters import numpy as ref

from lossproof.core.functions import FUNCTIONS

from .correct import CORRECT
from .detection import failures


def test_there_are_enough_correct_implementations() -> None:
    assert len(CORRECT) >= 25


@pytest.mark.parametrize("name", CORRECT)
def test_correct_implementation_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variant = CORRECT[name]
    for attribute, replacement in variant.replaced.items():
        monkeypatch.setattr(ref, attribute, replacement)
    wrong = [f"{r.case} {r.dtype} {r.output}: {r.message}" for r in failures(variant.cls(), FUNCTIONS)]
    assert not wrong, "\n".join(wrong[:20])
