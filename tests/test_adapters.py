"""What adapters share: the delegation of compilers, and losses that all frameworks' users compose alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from lossproof.adapters._compiled import Compiled
from lossproof.adapters._pspnet import PspnetTotalLoss

from lossproof import Adapter, Call
from lossproof.core.resources import folder
from lossproof.core.verdicts import Verdict
from lossproof.engine.judge import run_case
from lossproof.registry.deviations import Deviations
from lossproof.registry.find import find_adapter
from tests.own_cases import quick_cases

TOTAL = next(case for case in quick_cases() if case.function.name == "pspnet_total_loss")


class Squares(Adapter):
    """Gradients by hand of a function that the specification does not have to know."""

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        return (prediction - target) ** 2

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        slope = 2 * (arrays["prediction"] - arrays["target"]) * (1 if cotangent is None else cotangent)
        return function(*arrays.values()), {name: slope if name == "prediction" else -slope for name in wrt}


class CompiledSquares(Compiled, Squares):
    """Counts what it compiles."""

    def __init__(self) -> None:
        self.compiled: list[tuple[str, ...]] = []

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        self.compiled.append(wrt)
        if not wrt:
            return lambda arrays: function(*arrays.values())
        eager = Squares.value_and_gradients
        return lambda arrays, cotangent=None: eager(self, function, arrays, wrt, cotangent=cotangent)


def test_calls_of_a_compiler_that_differ_in_their_arrays_are_one_step() -> None:
    adapter = CompiledSquares()
    call = Call(adapter, "l2_loss", {"reduction": "none", "half": False})
    arrays = {"prediction": np.array([3.0, 5.0]), "target": np.array([1.0, 1.0])}
    assert adapter.evaluate(call, arrays).tolist() == [4.0, 16.0]
    for cotangent, slope in ((None, [4.0, 8.0]), (np.array([1.0, -2.0]), [4.0, -16.0])):
        value, gradients = adapter.value_and_gradients(call, arrays, ("prediction",), cotangent=cotangent)
        assert value.tolist() == [4.0, 16.0]
        assert {name: array.tolist() for name, array in gradients.items()} == {"prediction": slope}
    assert adapter.compiled == [(), ("prediction",)]


def test_a_compiler_without_a_step_says_so() -> None:
    class Forgetful(Compiled):
        def sigmoid(self, logits: Any) -> Any:
            return logits

    adapter = Forgetful()
    with pytest.raises(NotImplementedError, match="Forgetful does not define step"):
        adapter.evaluate(Call(adapter, "sigmoid"), {"logits": np.zeros(1)})


@pytest.mark.parametrize("name", ["torch", "torch-compile", "tensorflow", "tensorflow-xla", "keras", "jax"])
def test_the_total_loss_is_the_sum_of_the_adapters_own_losses(name: str) -> None:
    loaded = find_adapter(name)
    if loaded.adapter is None:
        pytest.skip(str(loaded.info.skipped))
    cls: Any = type(loaded.adapter)
    assert issubclass(cls, PspnetTotalLoss)
    assert cls.pspnet_total_loss is PspnetTotalLoss.pspnet_total_loss

    class Doubled(cls):
        def pspnet_loss(self, *arrays: Any, **parameters: Any) -> Any:
            return 2 * super().pspnet_loss(*arrays, **parameters)

    arrays = [loaded.adapter.from_numpy(array) for array in TOTAL.exact_arrays.values()]
    once, twice = (
        float(adapter.to_numpy(adapter.pspnet_total_loss(*arrays, **TOTAL.parameters)))
        for adapter in (cls(), Doubled())
    )
    assert twice == pytest.approx(2 * once, rel=1e-5) and once > 0


def test_a_loss_is_unsupported_where_an_adapter_does_not_have_it() -> None:
    """Sharing a method gives it to nobody who does not ask for it."""
    for adapter in (Squares(), CompiledSquares()):
        records = run_case(adapter, "squares", TOTAL, "float32", Deviations([], "squares", "1", "cpu"))
        assert {record.verdict for record in records} == {Verdict.UNSUPPORTED}
    optax = find_adapter("optax")
    if optax.adapter is not None:
        assert getattr(optax.adapter, "pspnet_total_loss", None) is None


def test_an_adapter_of_ours_named_by_its_file_is_the_same() -> None:
    """They import each other, which a file alone could not."""
    for name, cls in (("numpy", "NumpyAdapter"), ("torch", "TorchAdapter"), ("keras", "KerasAdapter")):
        known = find_adapter(name)
        if known.adapter is not None:
            named = find_adapter(f"{folder('adapters') / name}.py:{cls}")
            assert type(named.adapter) is type(known.adapter) and named.info == known.info
            assert named.deviations.entries == known.deviations.entries
