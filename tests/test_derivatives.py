"""Forward mode and second derivatives: the expectations, what they decide, and who passes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossproof.adapters import _numpy_derivatives as derivatives
from lossproof.adapters.numpy import NumpyAdapter

import lossproof
from lossproof import Adapter, Call
from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from lossproof.core.verdicts import FAILURES, RIGHT, Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.errors import InputError, LossproofError
from lossproof.isolation.remote import RemoteAdapter, serving
from lossproof.registry.deviations import Deviations
from tests import hyperdual

NONE = Deviations([], "", "", "")
DIFFERENTIABLE = [name for name, function in FUNCTIONS.items() if function.wrt]


def cases_of(function: str) -> list[Case]:
    return load_file(folder("cases") / function / "derivatives.yaml")


EVERY = [case for name in DIFFERENTIABLE for case in cases_of(name)]


def ids(case: Case) -> str:
    return case.id


def further(records: list[Record]) -> list[Record]:
    """Those of jvp and hvp."""
    return [record for record in records if record.output.partition(".")[0] in ("jvp", "hvp")]


def judged(adapter: Adapter, function: str, dtype: str = "float32") -> list[Record]:
    return [
        record
        for case in cases_of(function)
        if dtype in case.dtypes
        for record in run_case(adapter, "x", case, dtype, NONE)
    ]


def wrong(records: list[Record]) -> set[str]:
    return {record.output for record in records if record.verdict in FAILURES}


# -- the cases cover ---------------------------------------------------------------------------

ROWS = {"softmax", "log_softmax", "softmax_cross_entropy", "sparse_softmax_cross_entropy", "pspnet_loss",
        "pspnet_total_loss"}  # fmt: skip
IGNORES = {"sparse_softmax_cross_entropy", "pspnet_loss", "pspnet_total_loss", "mask_rcnn_mask_loss",
           "mask_rcnn_mask_loss_with_logits"}  # fmt: skip
PROBABILITIES = {"cross_entropy", "binary_cross_entropy", "mask_rcnn_mask_loss"}
# A class's probability is its target only where both are given; a distance of 0 has no derivatives.
MEETS = {"l2_loss", "cross_entropy", "softmax_cross_entropy", "binary_cross_entropy", "sigmoid_cross_entropy",
         "mask_rcnn_mask_loss", "mask_rcnn_mask_loss_with_logits"}  # fmt: skip


def saturated(case: Case) -> bool:
    x = case.exact_arrays[case.function.leading.name]
    if case.function.name in PROBABILITIES:
        return bool(((x > 0.96) & (x < 1)).any()) or bool((x == 1).any())
    return bool((np.abs(x[np.isfinite(x)]) >= 20).any())


def minus_infinity(case: Case) -> bool:
    return bool(np.isneginf(case.exact_arrays[case.function.leading.name]).any())


def ignored(case: Case) -> bool:
    return bool(np.isnan(case.exact_arrays[case.function.leading.name]).any())


def meets(case: Case) -> bool:
    return case.id.endswith(("probability-is-target", "prediction-is-target"))


def weighed(case: Case) -> bool:
    return case.cotangent is not None


EDGES: dict[str, tuple[Callable[[Case], bool], set[str]]] = {
    "saturation": (saturated, {*DIFFERENTIABLE} - {"l2_loss", "euclidean_distance"}),
    "−∞ under target 0": (minus_infinity, ROWS),
    "ignored": (ignored, IGNORES),
    "p = y": (meets, MEETS),
    "cotangent": (weighed, {*DIFFERENTIABLE} - {"pspnet_total_loss"}),
    "several arrays move": (
        lambda case: len(case.tangents) > 1,
        {name for name in DIFFERENTIABLE if len(FUNCTIONS[name].differentiable) > 1},
    ),
    "gradient to the target": (
        lambda case: "target" in case.wrt, {name for name in DIFFERENTIABLE if FUNCTIONS[name].also}
    ),
}  # fmt: skip


@pytest.mark.parametrize("function", DIFFERENTIABLE)
def test_every_function_has_cases_with_every_edge(function: str) -> None:
    found = cases_of(function)
    assert all(case.tangents and case.clause == "G-19" for case in found)
    outputs = {output for case in found for output in case.expected or ()}
    assert {"jvp", *(f"hvp.{name}" for name in FUNCTIONS[function].differentiable)} <= outputs
    lacking = [edge for edge, (shows, of) in EDGES.items() if function in of and not any(map(shows, found))]
    assert not lacking


@pytest.mark.parametrize("case", [case for case in EVERY if meets(case)], ids=ids)
def test_where_p_is_y_the_slope_is_that_of_no_loss(case: Case) -> None:
    """The gradients of the pairs that meet say so: 0, or −1 for each class."""
    assert case.expected is not None
    slope = case.expected[f"gradients.{case.function.leading.name}"]
    flat = np.unique(np.asarray(slope))
    assert flat.tolist() in ([0.0], [-1.0])


# -- the expectations are right ------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [case for case in EVERY if not case.id.endswith(("/infinite", "/infinite-and-right"))], ids=ids
)
def test_expectations_are_coefficients_of_the_definitions_series(case: Case) -> None:
    """jvp is the first coefficient; tᵀHe, by polarization, what three second ones leave."""
    flint = pytest.importorskip("flint")
    from tests import taylor

    assert case.expected is not None
    tangents = {name: materialize(spec, False) for name, spec in case.tangents.items()}

    def second(direction: Mapping[str, Any]) -> Any:
        """Half of the second derivative of the result, weighed by the cotangent."""
        result = taylor.along(case, direction)
        v = np.ones(result.shape) if case.cotangent is None else materialize(case.cotangent, False)
        weights = np.broadcast_to(v, result.shape).ravel().tolist()
        parts = zip(result.ravel(), weights, strict=True)
        return sum((taylor.coefficient(s, 2) * flint.arb(w) for s, w in parts), flint.arb(0))

    result = taylor.along(case, tangents)
    first = [float(taylor.coefficient(s, 1)) for s in result.ravel()]
    due = np.asarray(case.expected["jvp"]).ravel()
    finite = ~np.isneginf(np.asarray(case.expected["value"]).ravel())
    assert np.allclose(np.array(first)[finite], due[finite], rtol=1e-15, atol=1e-25)
    own = second(tangents)
    for name, tangent in tangents.items():
        found = np.zeros(tangent.shape)
        for place in np.ndindex(tangent.shape):
            if np.isneginf(case.exact_arrays[name][place]):
                continue
            unit = np.zeros(tangent.shape)
            unit[place] = 1.0
            moved = {**tangents, name: tangent + unit}
            found[place] = float(second(moved) - own - second({name: unit}))
        assert np.allclose(found, np.asarray(case.expected[f"hvp.{name}"]), rtol=1e-14, atol=1e-25), name


# -- correct implementations pass ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize("function", DIFFERENTIABLE)
def test_the_reference_passes(function: str, dtype: str) -> None:
    found = further(judged(NumpyAdapter(), function, dtype))
    assert found and {record.verdict for record in found} <= RIGHT


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize("function", hyperdual.FUNCTIONS)
def test_a_loop_in_the_dtype_passes(function: str, dtype: str) -> None:
    """Each operation of the definition, on numbers that carry their derivatives, rounded to the dtype."""
    found = further(judged(hyperdual.Loop(), function, dtype))
    assert found
    assert not [
        f"{r.case} {r.output}: {r.message}" for r in found if r.verdict not in RIGHT | {Verdict.BELOW}
    ]


def test_another_process_gives_the_same() -> None:
    remote = RemoteAdapter(serving("numpy"), 60)
    try:
        for function in ("softmax_cross_entropy", "l2_loss"):
            found = further(judged(remote, function))
            assert found and {record.verdict for record in found} <= RIGHT
    finally:
        remote.close()


# -- wrong ones do not ---------------------------------------------------------------------------


def _mutant(**methods: Any) -> Adapter:
    adapter: Adapter = type("Mutant", (NumpyAdapter,), methods)()
    return adapter


def _tangents_of(names: tuple[str, ...]) -> Any:
    """Forward mode in which the tangents of some arrays are taken for 0."""

    def jvp(self: Any, function: Call, arrays: Any, tangents: Any) -> Any:
        kept = {name: t if name in names else np.zeros_like(t) for name, t in tangents.items()}
        return NumpyAdapter.jvp(self, function, arrays, kept)

    return jvp


@pytest.mark.parametrize("function", [f for f in DIFFERENTIABLE if len(FUNCTIONS[f].differentiable) > 1])
def test_a_jvp_that_ignores_the_tangent_of_one_array_fails(function: str) -> None:
    for lost in FUNCTIONS[function].differentiable:
        kept = tuple(name for name in FUNCTIONS[function].differentiable if name != lost)
        assert wrong(judged(_mutant(jvp=_tangents_of(kept)), function)) == {"jvp"}, lost


def _nan_where_saturated(self: Any, function: Call, arrays: Any, tangents: Any) -> Any:
    """0 · ∞ where a slope is formed of an overflowed exponential, or of the logarithm of 0.

    Reverse mode is right all the same, as in google-deepmind/optax#1762.
    """
    along = NumpyAdapter.jvp(self, function, arrays, tangents)
    leading = arrays[FUNCTIONS[function.function].leading.name]
    with np.errstate(all="ignore"):
        edge = np.isinf(leading) | (np.abs(leading) >= 20) | (leading == 0)
        lost = np.where(edge & ~np.isnan(leading), np.nan, 0).sum()
    return (along + lost).astype(along.dtype)


@pytest.mark.parametrize("function", [f for f in DIFFERENTIABLE if f in ROWS] + ["sigmoid", "cross_entropy"])
def test_forward_mode_that_is_nan_where_reverse_is_right_fails(function: str) -> None:
    assert wrong(judged(_mutant(jvp=_nan_where_saturated), function)) == {"jvp"}


def _changed(change: Callable[[Any, Any], Any]) -> Any:
    def hvp(self: Any, function: Call, arrays: Any, tangents: Any, *, cotangent: Any = None) -> Any:
        extra = {} if cotangent is None else {"cotangent": cotangent}
        found = NumpyAdapter.hvp(self, function, arrays, tangents, **extra)
        return {name: change(slope, tangents[name]).astype(slope.dtype) for name, slope in found.items()}

    return hvp


WRONG_SECOND = {
    "none at all": lambda slope, t: np.zeros_like(slope),
    "half": lambda slope, t: slope / 2,
    "the negative": lambda slope, t: -slope,
    "that of the tangent alone": lambda slope, t: t,
}


@pytest.mark.parametrize("how", WRONG_SECOND)
@pytest.mark.parametrize("function", DIFFERENTIABLE)
def test_second_derivatives_that_are_silently_wrong_fail(function: str, how: str) -> None:
    found = wrong(judged(_mutant(hvp=_changed(WRONG_SECOND[how])), function))
    assert found and all(output.startswith("hvp.") for output in found)


@pytest.mark.parametrize("function", [f for f in DIFFERENTIABLE if f != "pspnet_total_loss"])
def test_second_derivatives_that_ignore_the_cotangent_fail(function: str) -> None:
    def hvp(self: Any, function: Call, arrays: Any, tangents: Any, *, cotangent: Any = None) -> Any:
        return NumpyAdapter.hvp(self, function, arrays, tangents)

    assert wrong(judged(_mutant(hvp=hvp), function))


@pytest.mark.parametrize("function", sorted(IGNORES))
def test_what_is_ignored_must_not_move(function: str) -> None:
    """The tangent of an ignored row leaks into its own second derivative."""

    def leak(slope: Any, tangent: Any) -> Any:
        return np.where(slope == 0, slope + tangent.astype(slope.dtype) / 8, slope)

    assert wrong(judged(_mutant(hvp=_changed(leak)), function))


def test_reverse_over_the_target_that_forgets_the_smoothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def dense(a: Any, t: Any, axis: int, label_smoothing: float) -> Any:
        p, _, e, r = original(a, t, axis, label_smoothing)
        return p, original(a, t, axis, 0.0)[1], e, r

    original = derivatives._dense
    monkeypatch.setattr(derivatives, "_dense", dense)
    assert wrong(judged(NumpyAdapter(), "softmax_cross_entropy"))


@pytest.mark.parametrize("name", ["cross_entropy", "softmax_cross_entropy", "binary_cross_entropy",
                                  "sigmoid_cross_entropy"])  # fmt: skip
def test_a_gradient_to_the_target_that_is_none_fails(name: str) -> None:
    def none(self: Any, function: Call, arrays: Any, v: Any) -> Any:
        return np.zeros_like(arrays["target"])

    assert wrong(judged(_mutant(gradient_of_target=none), name)) == {"gradients.target"}


# -- what a backend lacks ------------------------------------------------------------------------


class Without(Adapter):
    """An adapter of functions alone."""

    name = "without"
    sigmoid = NumpyAdapter.sigmoid
    value_and_gradients = NumpyAdapter.value_and_gradients
    _grad_sigmoid = NumpyAdapter._grad_sigmoid


def test_an_adapter_without_the_methods_is_unsupported_with_the_reason() -> None:
    found = further(judged(Without(), "sigmoid"))
    assert {record.verdict for record in found} == {Verdict.UNSUPPORTED}
    assert {record.message for record in found} == {
        "this adapter defines no jvp",
        "this adapter defines no hvp",
    }
    assert not wrong(judged(Without(), "sigmoid"))


_COMMAND = """
import json, math, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["command"] == "start":
        said = {"protocol": 1, "name": "x", "functions": ["sigmoid"], "encoding": "text"}
    elif asked["command"] == "stop" or "derivative" in asked:
        raise SystemExit(3)
    else:
        said = {"id": asked["id"], "unsupported": "nothing but a start"}
    print(json.dumps(said), flush=True)
"""


def test_a_command_that_does_not_say_that_it_has_them_is_not_asked(tmp_path: Path) -> None:
    file = tmp_path / "without.py"
    file.write_text(_COMMAND, encoding="utf-8")
    remote = RemoteAdapter([sys.executable, str(file)], 60)
    try:
        found = further(judged(remote, "sigmoid"))
        assert {record.message for record in found} == {
            "the adapter does not say that it has jvp",
            "the adapter does not say that it has hvp",
        }
    finally:
        remote.close()


def test_an_error_of_one_derivative_is_its_own() -> None:
    def jvp(self: Any, *arguments: Any) -> Any:
        raise ValueError("no")

    found = judged(_mutant(jvp=jvp), "sigmoid")
    assert {record.output for record in found if record.verdict is Verdict.ERROR} == {"jvp"}
    assert {record.verdict for record in found if record.output == "hvp.logits"} <= RIGHT


# -- PyTorch's custom functions ------------------------------------------------------------------


def _torch_adapter(function: Any) -> Adapter:
    pytest.importorskip("torch")
    from lossproof.adapters.torch import TorchAdapter

    def softmax(self: Any, logits: Any, *, axis: int) -> Any:
        return function.apply(logits, axis)

    adapter: Adapter = type("Custom", (TorchAdapter,), {"softmax": softmax})()
    return adapter


def _custom_functions() -> dict[str, Any]:
    torch = pytest.importorskip("torch")

    class Right(torch.autograd.Function):  # type: ignore[name-defined]
        """Backward is made of the output, which carries a graph."""

        @staticmethod
        def forward(logits: Any, axis: int) -> Any:
            return torch.softmax(logits, axis)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.axis = inputs[1]
            ctx.save_for_backward(output)
            ctx.save_for_forward(output)

        @staticmethod
        def backward(ctx: Any, v: Any) -> Any:
            (p,) = ctx.saved_tensors
            return p * (v - (p * v).sum(ctx.axis, keepdim=True)), None

        @staticmethod
        def jvp(ctx: Any, tangent: Any, _: Any) -> Any:
            (p,) = ctx.saved_tensors
            return p * (tangent - (p * tangent).sum(ctx.axis, keepdim=True))

    class Detached(Right):
        """Half of backward is made of a tensor that carries no graph: first derivatives alone are right."""

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.axis, ctx.p = inputs[1], output.detach()
            ctx.save_for_backward(output)
            ctx.save_for_forward(output)

        @staticmethod
        def backward(ctx: Any, v: Any) -> Any:
            (p,) = ctx.saved_tensors
            return p * (v - (ctx.p * v).sum(ctx.axis, keepdim=True)), None

    class NoGraph(Right):
        """All of it is: a second derivative cannot be asked for."""

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.axis, ctx.p = inputs[1], output.detach()
            ctx.save_for_forward(output)

        @staticmethod
        def backward(ctx: Any, v: Any) -> Any:
            return ctx.p * (v - (ctx.p * v).sum(ctx.axis, keepdim=True)), None

    class WrongForward(Right):
        """Forward mode that forgets the mean."""

        @staticmethod
        def jvp(ctx: Any, tangent: Any, _: Any) -> Any:
            return ctx.saved_tensors[0] * tangent

    class Once(torch.autograd.Function):  # type: ignore[name-defined]
        """Neither a jvp nor a second derivative, and it says so."""

        @staticmethod
        def forward(ctx: Any, logits: Any, axis: int) -> Any:
            ctx.axis = axis
            p = torch.softmax(logits, axis)
            ctx.save_for_backward(p)
            return p

        @staticmethod
        @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
        def backward(ctx: Any, v: Any) -> Any:
            (p,) = ctx.saved_tensors
            return p * (v - (p * v).sum(ctx.axis, keepdim=True)), None

    return {
        "right": Right,
        "detached": Detached,
        "no graph": NoGraph,
        "wrong forward": WrongForward,
        "once": Once,
    }


def test_a_custom_function_that_has_both_passes() -> None:
    found = further(judged(_torch_adapter(_custom_functions()["right"]), "softmax"))
    assert {record.verdict for record in found} <= RIGHT


@pytest.mark.parametrize(("which", "output"), [("detached", "hvp.logits"), ("wrong forward", "jvp")])
def test_a_custom_function_that_is_silently_wrong_fails(which: str, output: str) -> None:
    """As in pytorch/pytorch#79609 and #76185."""
    assert wrong(judged(_torch_adapter(_custom_functions()[which]), "softmax")) == {output}


def test_a_custom_function_without_either_is_unsupported() -> None:
    found = further(judged(_torch_adapter(_custom_functions()["once"]), "softmax"))
    assert {record.verdict for record in found} == {Verdict.UNSUPPORTED}
    assert all(record.message for record in found)


def test_a_gradient_without_a_graph_has_no_second_derivative() -> None:
    found = further(judged(_torch_adapter(_custom_functions()["no graph"]), "softmax"))
    verdicts = {record.output: record.verdict for record in found}
    assert verdicts["jvp"] in RIGHT and verdicts["hvp.logits"] is Verdict.UNSUPPORTED


def test_check_of_a_function_with_its_own_gradient_asks_for_no_other_derivative() -> None:
    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def gradient(v: Any, x: Any) -> Any:
        p = sigmoid(x)
        return v * p * (1 - p)

    with np.errstate(all="ignore"):
        lossproof.check(
            sigmoid,
            "sigmoid",
            gradient=gradient,
            cases=["sigmoid/derivatives/around-zero"],
            dtypes=["float64"],
        )


# -- bad cases -----------------------------------------------------------------------------------

_CASE = """function: sigmoid
about: x
cases:
  - id: one
    clause: G-19
    level: required
    why: x
    dtypes: [float32]
    inputs:
      logits: [0.5, 1]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("    tangents: {logit: [1, 2]}\n", "unknown tangent 'logit' (did you mean 'logits'?)"),
        ("    tangents: {logits: [1, 2, 3]}\n", "the tangent of logits has shape (3,), but logits has (2,)"),
        ("    tangents: {logits: [0.1, 2]}\n", "0.1 in logits is not exactly a float64"),
        ("    expected: {value: [0.5, 0.5], jvp: [1, 1]}\n", "jvp is given, and the case has no tangents"),
        (
            "    tangents: {logits: [1, 2]}\n    expected: {hvp: {target: [1, 1]}}\n",
            "hvp is given for 'target', which has no tangent",
        ),
    ],
)
def test_bad_tangents_are_refused_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "derivatives.yaml"
    file.write_text(_CASE + text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_file(file)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{file}:1")


def test_labels_have_no_tangent(tmp_path: Path) -> None:
    text = _CASE.replace("sigmoid", "sparse_softmax_cross_entropy").replace(
        "logits: [0.5, 1]", "logits: [0.5, 1]\n      labels: 0"
    )
    file = tmp_path / "derivatives.yaml"
    file.write_text(text + "    tangents: {labels: 1}\n", encoding="utf-8")
    with pytest.raises(LossproofError, match="sparse_softmax_cross_entropy has logits"):
        load_file(file)


def test_infinite_tangents_of_derivatives_are_numbers() -> None:
    """No expectation of a derivative is NaN, and none is infinite, in the cases that there are."""
    for case in EVERY:
        for output, due in (case.expected or {}).items():
            if output.partition(".")[0] in ("jvp", "hvp"):
                assert all(map(math.isfinite, np.asarray(due).ravel().tolist())), (case.id, output)
