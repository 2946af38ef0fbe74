"""Every correct implementation, however it computes, fails no required case in any dtype."""

from __future__ import annotations

import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.functions import FUNCTIONS

from . import reference
from .correct import CORRECT
from .detection import failures


def test_each_computes_otherwise_and_says_how() -> None:
    assert len({variant.how for variant in CORRECT.values()}) == len(CORRECT)
    for name, variant in CORRECT.items():
        assert variant.cls is not NumpyAdapter or variant.replaced, name


@pytest.mark.parametrize("name", CORRECT)
def test_correct_implementation_passes(name: str) -> None:
    variant = CORRECT[name]
    with reference.replaced(variant.replaced):
        wrong = [f"{r.case} {r.dtype} {r.output}: {r.message}" for r in failures(variant.cls(), FUNCTIONS)]
    assert not wrong, "\n".join(wrong[:20])
