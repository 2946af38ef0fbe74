"""Gradients with respect to weights: what is due, who passes, who fails, and who is asked at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lossproof.adapters import numpy as numpy_adapter
from lossproof.adapters._numpy_weights import gradient_of_weight
from lossproof.adapters.numpy import NumpyAdapter
from lossproof.adapters.torch import TorchAdapter

import lossproof
from lossproof import Adapter, Call
from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from lossproof.core.verdicts import FAILURES, RIGHT, Verdict
from lossproof.engine import law_calls
from lossproof.engine.call import ask
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.isolation.remote import RemoteAdapter, serving
from lossproof.registry.deviations import Deviations

NONE = Deviations([], "", "", "")
WEIGHTED = [name for name, function in FUNCTIONS.items() if function.weights]
CASES = {name: load_file(folder("cases") / name / "weights-gradients.yaml") for name in WEIGHTED}
EVERY = [case for cases in CASES.values() for case in cases]
LARGE = 100
"""Elements of a weight's gradient that a plain loop is patient enough for, times the rows."""


def ids(case: Case) -> str:
    return case.id


def judged(adapter: Adapter, cases: list[Case], dtype: str = "float32") -> list[Record]:
    return [record for case in cases for record in run_case(adapter, "x", case, dtype, NONE)]


def of_weights(records: list[Record]) -> list[Record]:
    weights = {f"gradients.{name}" for function in FUNCTIONS.values() for name in function.weights}
    return [record for record in records if record.output in weights]


# -- the cases -----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", WEIGHTED)
def test_every_weight_is_differentiated_under_every_reduction(function: str) -> None:
    cases = CASES[function]
    assert all(case.level == "required" for case in cases)
    for name in FUNCTIONS[function].weights:
        own = [case for case in cases if name in case.wrt]
        assert {case.parameters["reduction"] for case in own} == {"none", "sum", "mean"}
        assert any(case.cotangent is not None for case in own)
        assert any((materialize(case.parameters[name], False) == 0).any() for case in own)


@pytest.mark.parametrize("case", EVERY, ids=ids)
def test_expectations_are_slopes_of_the_value(case: Case) -> None:
    """By differences of the value in float64, which is linear in a weight or a quotient of two that are."""
    assert case.expected is not None
    v = 1.0 if case.cotangent is None else materialize(case.cotangent, False)
    for name in case.weights_moved:
        weight, step = materialize(case.parameters[name], False), 2.0**-10
        found = np.zeros(weight.shape)
        for place in np.ndindex(weight.shape):
            sides = []
            for sign in (1.0, -1.0):
                moved = np.array(weight)
                moved[place] += sign * step
                other = replace(case, parameters={**case.parameters, name: moved}, expected={"value": None})  # type: ignore[dict-item]
                sides.append((ask(NumpyAdapter(), other, "float64", ["value"]).outputs["value"] * v).sum())
            found[place] = (sides[0] - sides[1]) / (2 * step)
        due = np.asarray(case.expected[f"gradients.{name}"])
        assert np.allclose(found, due, rtol=1e-5, atol=1e-5), name


# -- who passes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_the_reference_passes(dtype: str) -> None:
    found = of_weights(judged(NumpyAdapter(), EVERY, dtype))
    assert found and {record.verdict for record in found} <= RIGHT


class Loop(NumpyAdapter):
    """Element by element, each operation rounded to the dtype; sums in float32 at least."""

    name = "loop"
    weight_gradients = True

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        extra = {} if cotangent is None else {"cotangent": cotangent}
        if not function.moved:
            return super().value_and_gradients(function, arrays, wrt, **extra)
        value = function(*arrays.values())
        own, parameters = function.apart(arrays)
        (name,) = wrt
        slope = getattr(self, f"_of_{function.function}")(name, cotangent, *own.values(), **parameters)
        return value, {name: slope}

    def _of_sparse_softmax_cross_entropy(
        self, name: str, v: Any, x: Any, k: Any, *, axis: int, weight: Any, ignore_index: Any,
        label_smoothing: float, reduction: str,
    ) -> Any:  # fmt: skip
        kind, wide = x.dtype.type, np.float64 if x.dtype == np.float64 else np.float32
        rows, labels = np.moveaxis(x, axis, -1).reshape(-1, len(weight)), np.ravel(k)
        shares = np.broadcast_to(kind(1) if v is None else np.ravel(v), labels.shape)
        sums, losses, divisor = [wide(0)] * len(weight), wide(0), wide(0)
        counts = [0] * len(weight)
        for row, label, share in zip(rows, labels, shares, strict=True):
            if label == ignore_index:
                continue
            d = [kind(z - max(row)) for z in row]
            total = wide(0)
            for z in d:
                total += wide(kind(math.exp(z)))
            log_total = kind(math.log(kind(total)))
            for c, z in enumerate(d):
                target = kind(kind(kind(1) - kind(label_smoothing)) * kind(c == label))
                target = kind(target + kind(kind(label_smoothing) / kind(len(weight))))
                if not target:
                    continue
                cost = kind(target * kind(log_total - z))
                sums[c] += wide(kind(share * cost)) if reduction != "mean" else wide(cost)
                losses += wide(kind(weight[c] * cost))
            counts[label] += 1
            divisor += wide(weight[label])
        if reduction == "mean":
            level = kind(losses / divisor)
            share = kind(shares[0] / kind(divisor))
            sums = [kind(share * kind(kind(s) - kind(level * kind(n)))) for s, n in zip(sums, counts)]
        return np.array([kind(s) for s in sums])

    def _added(self, name: str, v: Any, costs: Any, reduction: str, like: Any) -> Any:
        kind, wide = costs.dtype.type, np.float64 if costs.dtype == np.float64 else np.float32
        v = np.broadcast_to(kind(1) if v is None else v, costs.shape)
        sums = np.zeros(like.shape, wide)
        places = np.broadcast_to(np.arange(like.size).reshape(like.shape), costs.shape)
        for place, cost, share in zip(places.ravel(), costs.ravel(), v.ravel(), strict=True):
            if reduction == "mean":
                share = kind(share / kind(costs.size))
            sums.reshape(-1)[place] += wide(kind(share * cost))
        return sums.astype(costs.dtype)

    def _of_binary_cross_entropy(
        self, name: str, v: Any, p: Any, y: Any, *, weight: Any, reduction: str
    ) -> Any:
        kind = p.dtype.type

        def cost(q: Any, t: Any) -> Any:
            one = kind(t * kind(math.log(q))) if t else kind(0)
            rest = kind(kind(1) - t)
            return kind(-kind(one + (kind(rest * kind(math.log(kind(kind(1) - q)))) if rest else kind(0))))

        costs = np.array([cost(q, t) for q, t in zip(p.ravel(), y.ravel())], p.dtype).reshape(p.shape)
        return self._added(name, v, costs, reduction, weight)

    def _of_sigmoid_cross_entropy(
        self, name: str, v: Any, x: Any, y: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        kind = x.dtype.type
        one = kind(1)
        pos = np.broadcast_to(one if pos_weight is None else pos_weight, x.shape)
        given = np.broadcast_to(one if weight is None else weight, x.shape)

        def softplus(z: Any) -> Any:
            return kind(max(z, kind(0)) + kind(math.log1p(kind(math.exp(-abs(z))))))

        costs = []
        for z, t, w_plus, w in zip(x.ravel(), y.ravel(), pos.ravel(), given.ravel(), strict=True):
            positive = kind(t * softplus(-z))
            if name == "pos_weight":
                costs.append(kind(w * positive))
            else:
                costs.append(kind(kind(w_plus * positive) + kind(kind(one - t) * softplus(z))))
        like = weight if name == "weight" else pos_weight
        return self._added(name, v, np.array(costs, x.dtype).reshape(x.shape), reduction, like)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_a_loop_in_the_dtype_passes(dtype: str) -> None:
    cases = [case for case in EVERY if "many" not in case.id]
    found = of_weights(judged(Loop(), cases, dtype))
    assert found
    assert not [f"{r.case} {r.output}: {r.message}" for r in found if r.verdict not in RIGHT]


# -- who fails -------------------------------------------------------------------------------------

Slope = Callable[[str, str, Any, Mapping[str, Any], Mapping[str, Any]], Any]


def _without_the_quotients_rule(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
    """The divisor of the weighted mean is taken for a constant."""
    if f != "sparse_softmax_cross_entropy" or parameters["reduction"] != "mean":
        return gradient_of_weight(f, name, v, arrays, parameters)
    x = np.moveaxis(arrays["logits"], parameters["axis"], -1)
    kept = arrays["labels"] != parameters["ignore_index"]
    weights = np.asarray(parameters["weight"])[arrays["labels"][kept]]
    assert x.shape[:-1] == kept.shape
    whole = gradient_of_weight(f, name, v, arrays, {**parameters, "reduction": "sum"})
    return whole / weights.sum()


def _not_added_up(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
    """The last row that a weight multiplies, instead of all."""
    last = {key: array[-1:] if array.ndim > 1 else array for key, array in arrays.items()}
    like = next(iter(arrays.values()))
    if f == "sparse_softmax_cross_entropy" or like.ndim < 2 or np.ndim(parameters[name]) > 1:
        return gradient_of_weight(f, name, v, arrays, parameters)
    share = {**parameters, "reduction": "sum"} if parameters["reduction"] == "mean" else parameters
    part = v[-1:] if np.ndim(v) else v
    given = {
        key: value[-1:] if isinstance(value, np.ndarray) and value.ndim == like.ndim else value
        for key, value in share.items()
    }
    return gradient_of_weight(f, name, part, last, given) / (
        like.size if parameters["reduction"] == "mean" else 1
    )


def _times_the_weight(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
    return gradient_of_weight(f, name, v, arrays, parameters) * parameters[name]


def _ignored_counted(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
    """What is ignored has logits of 0 instead, and a class."""
    if parameters.get("ignore_index") is None:
        return gradient_of_weight(f, name, v, arrays, parameters)
    ignored = arrays["labels"] == parameters["ignore_index"]
    x = np.where(np.expand_dims(ignored, parameters["axis"]), 0, arrays["logits"])
    arrays = {"logits": x.astype(arrays["logits"].dtype), "labels": np.where(ignored, 0, arrays["labels"])}
    return gradient_of_weight(f, name, v, arrays, {**parameters, "ignore_index": None})


def _without_the_cotangent(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
    return gradient_of_weight(f, name, np.ones_like(v), arrays, parameters)


def _zero(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
    return np.zeros_like(parameters[name])


def _labels_alone(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
    """Smoothing is left out."""
    given = {**parameters, "label_smoothing": 0.0} if "label_smoothing" in parameters else parameters
    return gradient_of_weight(f, name, v, arrays, given)


def _cost_for_the_positive_term(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
    """The target is left out of the term that pos_weight multiplies."""
    if name != "pos_weight":
        return gradient_of_weight(f, name, v, arrays, parameters)
    ones = {**arrays, "target": np.ones_like(arrays["target"])}
    return gradient_of_weight(f, name, v, ones, parameters)


MUTANTS: dict[Slope, set[str]] = {
    _without_the_quotients_rule: {"sparse_softmax_cross_entropy"},
    _not_added_up: {"binary_cross_entropy", "sigmoid_cross_entropy"},
    _times_the_weight: set(WEIGHTED),
    _ignored_counted: {"sparse_softmax_cross_entropy"},
    _without_the_cotangent: set(WEIGHTED),
    _zero: set(WEIGHTED),
    _labels_alone: {"sparse_softmax_cross_entropy"},
    _cost_for_the_positive_term: {"sigmoid_cross_entropy"},
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_a_wrong_gradient_fails(mutant: Slope, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_adapter, "gradient_of_weight", mutant)
    cases = [case for case in EVERY if "many" not in case.id]
    failing = {r.function for r in of_weights(judged(NumpyAdapter(), cases, dtype)) if r.verdict in FAILURES}
    assert failing == MUTANTS[mutant]


def test_a_weight_of_many_rows_is_summed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def narrow(f: str, name: str, v: Any, arrays: Any, parameters: Any) -> Any:
        if f == "sparse_softmax_cross_entropy":
            return gradient_of_weight(f, name, v, arrays, parameters)
        like = next(iter(arrays.values()))
        whole = np.broadcast_to(parameters[name], like.shape)
        each = gradient_of_weight(f, name, v, arrays, {**parameters, name: whole}).astype(like.dtype)
        return np.add.accumulate(each, axis=0, dtype=like.dtype)[-1]

    monkeypatch.setattr(numpy_adapter, "gradient_of_weight", narrow)
    cases = [
        case for case in EVERY if "many" in case.id and case.function.name != "sparse_softmax_cross_entropy"
    ]
    for dtype in ("float16", "bfloat16"):
        found = of_weights(judged(NumpyAdapter(), cases, dtype))
        assert {record.verdict for record in found} == {Verdict.FAIL}


# -- who is asked ----------------------------------------------------------------------------------


class ByHand(NumpyAdapter):
    """Gradients of its own, of whatever it is asked for; it knows nothing of weights."""

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        extra = {} if cotangent is None else {"cotangent": cotangent}
        value, found = super().value_and_gradients(function, arrays, wrt, **extra)
        return value, dict.fromkeys(wrt, next(iter(found.values()))) if len(wrt) == 1 else found


class Silent(NumpyAdapter):
    """Says nothing of weights."""

    weight_gradients = False


@pytest.mark.parametrize("adapter", [ByHand, Silent])
def test_others_are_unsupported_there_and_judged_elsewhere(adapter: type[Adapter]) -> None:
    cases = [case for case in EVERY if "many" not in case.id]
    found, reference = judged(adapter(), cases), judged(NumpyAdapter(), cases)
    weights = of_weights(found)
    assert {record.verdict for record in weights} == {Verdict.UNSUPPORTED}
    rest = [record for record in found if record not in weights]
    assert rest == [record for record in reference if record not in of_weights(reference)]


def test_a_process_is_asked_only_if_it_says_so() -> None:
    cases = [next(case for case in CASES[name] if case.cotangent is not None) for name in WEIGHTED]
    remote = RemoteAdapter(serving("numpy"), 60)
    try:
        assert judged(remote, cases) == judged(NumpyAdapter(), cases)
        remote.start = replace_start(remote.start)
        found = judged(remote, cases)
    finally:
        remote.close()
    assert {record.verdict for record in of_weights(found)} == {Verdict.UNSUPPORTED}
    assert not [record for record in found if record.verdict in FAILURES]


def replace_start(start: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(start, weight_gradients=False)


def test_what_pytorch_raises_is_the_reason() -> None:
    found = of_weights(judged(TorchAdapter(), [cases[0] for cases in CASES.values()]))
    assert {record.verdict for record in found} == {Verdict.UNSUPPORTED}
    assert all("is not differentiable with respect to argument" in record.message for record in found)


class Composed(TorchAdapter):
    """Of primitives, which PyTorch differentiates."""

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        loss = -(torch.xlogy(target, probabilities) + torch.xlogy(1 - target, 1 - probabilities))
        loss = loss if weight is None else loss * weight
        return {"none": loss, "sum": loss.sum(), "mean": loss.mean()}[reduction]


class Detached(Composed):
    """A gradient of 0, silently."""

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        loss = super().binary_cross_entropy(
            probabilities, target, weight=None if weight is None else weight.detach(), reduction=reduction
        )
        return loss if weight is None else loss + 0 * weight.sum()


class Missing(Composed):
    """None in the place of the gradient."""

    weight_gradients = True

    def value_and_gradients(self, function: Any, arrays: Any, wrt: Any, *, cotangent: Any = None) -> Any:
        value, found = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
        return value, dict.fromkeys(wrt) if function.moved else found


@pytest.mark.parametrize(
    ("adapter", "verdict"),
    [(Composed, Verdict.PASS), (Detached, Verdict.FAIL), (Missing, Verdict.ERROR)],
)
def test_a_kernel_of_pytorch_is_judged_on_it(adapter: type[Adapter], verdict: Verdict) -> None:
    case = next(case for case in CASES["binary_cross_entropy"] if case.id.endswith("/along-the-last-axis"))
    (record,) = of_weights(judged(adapter(), [case]))
    assert record.verdict is verdict, record.message


@pytest.mark.parametrize(("mode", "asked"), [("checkpoint", True), ("vmap", False)])
def test_a_mode_has_what_it_can(mode: str, asked: bool) -> None:
    case = next(case for case in CASES["binary_cross_entropy"] if case.id.endswith("/mean"))
    loaded = lossproof.registry.find.find_adapter(f"{__file__}:Composed+{mode}")
    assert loaded.adapter is not None
    (record,) = of_weights(judged(loaded.adapter, [case]))
    assert record.verdict is (Verdict.PASS if asked else Verdict.UNSUPPORTED), record.message


def test_laws_leave_weights_aside() -> None:
    """A weight is of no row; the laws of rows and of parts are judged on the rest."""
    again = [(case, dtype) for case in EVERY for dtype in case.dtypes if law_calls.sampled(case, dtype)]
    found = [r for case, dtype in again for r in judged(NumpyAdapter(), [case], dtype) if r.is_law]
    assert {"law.repeats", "law.accumulation"} <= {record.output for record in found}
    assert not [record for record in found if record.verdict not in RIGHT]


# -- case files ------------------------------------------------------------------------------------

WITHOUT = """\
function: binary_cross_entropy
about: Nothing.
cases:
  - id: one
    clause: BCE-16
    level: required
    why: nothing
    dtypes: [float32]
    inputs: {probabilities: [0.5], target: [1]}
    parameters: {WEIGHT}
    wrt: [weight]
"""


def test_a_weight_that_is_not_given_is_named(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(WITHOUT.replace("{WEIGHT}", "{reduction: sum}"), encoding="utf-8")
    with pytest.raises(InputError, match=r"one.yaml:11: .*wrt names weight, which the case does not give"):
        load_file(path)
    path.write_text(WITHOUT.replace("{WEIGHT}", "{weight: [2]}"), encoding="utf-8")
    assert load_file(path)[0].weights_moved == ("weight",)
