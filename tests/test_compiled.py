"""Adapters of compilers compile what differs in its arrays only once, and everything else apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lossproof.adapters._compiled import Compiled
from lossproof.adapters.numpy import NumpyAdapter

from lossproof import Call


class Counting(Compiled, NumpyAdapter):
    """Says which calls were compiled."""

    name = "counting"

    def __init__(self) -> None:
        self.compiled: list[Call] = []

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        self.compiled.append(function)
        return lambda arrays: function(*arrays.values())


def sums(adapter: Counting, *logits: float, **parameters: Any) -> Any:
    arrays = {"logits": np.array(logits), "target": np.zeros(len(logits))}
    given = {"weight": None, "pos_weight": None, "reduction": "sum", **parameters}
    return adapter.evaluate(Call(adapter, "sigmoid_cross_entropy", given), arrays)


def test_calls_that_differ_in_arrays_only_are_compiled_once_and_not_confused() -> None:
    adapter = Counting()
    first, second = sums(adapter, 0.0), sums(adapter, 0.0, 0.0)
    assert len(adapter.compiled) == 1
    assert (first, second) == pytest.approx((np.log(2), 2 * np.log(2)))


@pytest.mark.parametrize(
    "other",
    [
        {"reduction": "mean"},
        {"weight": np.array([2.0, 3.0])},
        {"weight": np.array([2.0, 4.0], np.float32)},
        {"weight": np.array([2.0 + 2.0**-40, 4.0])},
    ],
)
def test_whatever_else_differs_is_compiled_apart(other: dict[str, Any]) -> None:
    adapter = Counting()
    plain = {"weight": np.array([2.0, 4.0])}
    expected = sums(Counting(), 1.0, 2.0, **other)
    sums(adapter, 1.0, 2.0, **plain)
    assert sums(adapter, 1.0, 2.0, **other) == expected
    sums(adapter, 3.0, 4.0, **plain)
    assert len(adapter.compiled) == 2


def test_only_the_last_steps_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "STEPS_KEPT", 1)
    adapter = Counting()
    for reduction in ("sum", "mean", "mean", "sum"):
        sums(adapter, 1.0, reduction=reduction)
    assert [call.parameters["reduction"] for call in adapter.compiled] == ["sum", "mean", "sum"]
