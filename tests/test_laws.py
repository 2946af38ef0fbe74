"""Laws of a call: each has wrong implementations that break it alone, in process and in a process apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from lossproof.adapters.numpy import NumpyAdapter
from lossproof.adapters.torch import TorchAdapter

import lossproof
from lossproof import Call
from lossproof.case.model import Case
from lossproof.core.functions import FUNCTIONS
from lossproof.core.guest import Elsewhere
from lossproof.core.verdicts import FAILURES, RIGHT, Verdict
from lossproof.engine import law_calls, laws
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.isolation.load import load_adapter
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.deviations import Deviations
from tests.own_cases import every_case, quick_cases

NONE = Deviations([], "", "", "")
ASKED_AGAIN = [
    (case, dtype) for case in quick_cases() for dtype in case.dtypes if law_calls.sampled(case, dtype)
]


# A loss of all RoIs, or of two heads, is a mean.
WITHOUT_ROWS = {"mask_rcnn_mask_loss", "mask_rcnn_mask_loss_with_logits", "pspnet_total_loss"}
# A reduction over rows.
ACCUMULATING = [
    name
    for name, function in FUNCTIONS.items()
    if "reduction" in {parameter.name for parameter in function.parameters} and name not in WITHOUT_ROWS
]


def broken(records: list[Record]) -> set[str]:
    """The outputs of records that are not right."""
    return {record.output for record in records if record.verdict not in RIGHT | {Verdict.UNSUPPORTED}}


def asked_again(function: str, dtype: str = "float32") -> list[Case]:
    return [case for case, of in ASKED_AGAIN if case.function.name == function and of == dtype]


def judged(adapter: lossproof.Adapter, cases: list[Case], dtype: str = "float32") -> list[Record]:
    return [record for case in cases for record in run_case(adapter, "x", case, dtype, NONE)]


# -- the sample --------------------------------------------------------------------------------


def test_every_function_and_dtype_is_asked_again() -> None:
    due = {(case.function.name, dtype) for case in quick_cases() for dtype in case.dtypes}
    assert {(case.function.name, dtype) for case, dtype in ASKED_AGAIN} == due


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - WITHOUT_ROWS))
def test_every_function_of_rows_has_several_in_the_sample(function: str) -> None:
    """Of two, the last one is asked for alone, and each at the other's place."""
    several = [case for case, _ in ASKED_AGAIN if case.function.name == function]
    assert max(law_calls.rows_of(case, "none") for case in several) >= 2
    if function in ACCUMULATING:
        assert max(map(law_calls.count_of_parts, several)) >= 2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_correct_functions_keep_all_laws(function: str) -> None:
    dtype = "float32" if FUNCTIONS[function].has_float_arrays else "int32"
    records = judged(NumpyAdapter(), asked_again(function, dtype), dtype)
    assert not broken(records)
    due = set(laws.CLAUSES) - (set() if FUNCTIONS[function].wrt else {"law.value-alone"})
    due -= {"law.backward-twice", "law.threads", "law.distribution"}
    due -= {"law.rows"} if function in WITHOUT_ROWS else set()
    due -= set() if function in ACCUMULATING else {"law.accumulation"}
    assert {record.output for record in records if record.output.startswith("law.")} == due


# -- inputs ------------------------------------------------------------------------------------


class Overwriting(NumpyAdapter):
    """Writes over one of its inputs, by name, after the value or after the gradients."""

    def __init__(self, name: str, backward: bool) -> None:
        self.victim, self.backward = name, backward

    def spoil(self, call: Call, arrays: Mapping[str, Any], cotangent: Any) -> None:
        array = {**arrays, **call.parameters, "cotangent": cotangent}[self.victim]
        array[...] = np.where(array == 1, array.dtype.type(0), array.dtype.type(1))

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        value = np.array(super().evaluate(function, arrays))
        if not self.backward:
            self.spoil(function, arrays, None)
        return value

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, gradients = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
        value, gradients = np.array(value), {name: np.array(array) for name, array in gradients.items()}
        if self.backward:
            self.spoil(function, arrays, cotangent)
        return value, gradients


def arrays_of(function: str) -> list[str]:
    """All that a function takes as arrays."""
    definition = FUNCTIONS[function]
    weights = [parameter.name for parameter in definition.parameters if parameter.kind == "array"]
    return [array.name for array in definition.arrays] + weights + (["cotangent"] if definition.wrt else [])


def given(case: Case, name: str) -> bool:
    if name == "cotangent":
        return case.cotangent is not None and bool(case.function.wrt)
    return bool(np.prod(case.shape_of(name))) if name in case.inputs else case.parameters[name] is not None


@pytest.mark.parametrize(
    ("function", "name"), [(function, name) for function in FUNCTIONS for name in arrays_of(function)]
)
def test_an_input_that_is_written_to_is_seen(function: str, name: str) -> None:
    backward = bool(FUNCTIONS[function].wrt)
    cases = [
        case
        for case in quick_cases()
        if case.function.name == function and given(case, name) and backward == (len(case.expected or ()) > 1)
        and "float32" in case.dtypes
    ][:3]  # fmt: skip
    dtype = "float32"
    if not cases:
        cases = [case for case in quick_cases() if case.function.name == function and given(case, name)][:3]
        dtype = cases[0].dtypes[0]
    for case in cases:
        records = run_case(Overwriting(name, backward), "x", case, dtype, NONE)
        (law,) = (record for record in records if record.output == "law.inputs-untouched")
        assert law.verdict is Verdict.FAIL and name in law.message, case.id


class InPlace(Overwriting):
    """The gradient is written over the logits."""

    def __init__(self) -> None:
        super().__init__("logits", backward=True)

    def spoil(self, call: Call, arrays: Mapping[str, Any], cotangent: Any) -> None:
        if self.victim in arrays:
            super().spoil(call, arrays, cotangent)


# -- rows --------------------------------------------------------------------------------------


class Company(NumpyAdapter):
    """Rounds otherwise in a batch of one row than among others."""

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, gradients = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
        first = next(iter(arrays.values()))
        return np.nextafter(value, value.dtype.type(8)) if first.shape[:1] == (1,) else value, gradients


class FirstRow(Company):
    """Rounds the gradient of the first row otherwise."""

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, gradients = NumpyAdapter.value_and_gradients(self, function, arrays, wrt, cotangent=cotangent)
        found = {name: np.array(array) for name, array in gradients.items()}
        for array in found.values():
            array[:1] = np.nextafter(array[:1], array.dtype.type(8))
        return value, found


@pytest.mark.parametrize("mutant", [Company, FirstRow])
@pytest.mark.parametrize(
    "function",
    [name for name, function in FUNCTIONS.items() if function.wrt and name not in WITHOUT_ROWS],
)
def test_a_row_that_depends_on_others_is_seen(mutant: type[lossproof.Adapter], function: str) -> None:
    records = [record for record in judged(mutant(), asked_again(function)) if record.output == "law.rows"]
    assert Verdict.BELOW in {record.verdict for record in records}
    assert not broken(records) - {"law.rows"}


class OneRow(NumpyAdapter):
    """Divides the cost of a batch of one row once more: its sum is a mean."""

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, gradients = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
        first = next(iter(arrays.values()))
        share = first.dtype.type(0.5 if first.shape[:1] == (1,) else 1)
        return value * share, {name: array * share for name, array in gradients.items()}


class OneRowsGradient(OneRow):
    """Divides the gradient only."""

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, _ = NumpyAdapter.value_and_gradients(self, function, arrays, wrt, cotangent=cotangent)
        return value, super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)[1]


class SqueezedGradient(NumpyAdapter):
    """Gradients lose an axis of length 1, which a part with one row has and the whole has not."""

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, found = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
        return value, {name: np.squeeze(gradient) for name, gradient in found.items()}


class SumInAList(NumpyAdapter):
    """The sum, of which the mean is made rightly, comes as an array with one element."""

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        value = super().evaluate(function, arrays)
        return value[None] if function.parameters["reduction"] == "sum" else value

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        _, found = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
        return self.evaluate(function, arrays), found


# PSPNet's loss of several images is summed up in the sample.
@pytest.mark.parametrize("mutant", [SqueezedGradient, SumInAList])
@pytest.mark.parametrize("function", sorted({*ACCUMULATING} - {"pspnet_loss"}))
def test_parts_of_another_shape_are_seen(mutant: type[lossproof.Adapter], function: str) -> None:
    several = [
        (case, dtype)
        for case, dtype in ASKED_AGAIN
        if case.function.name == function
        and case.shape_of(case.function.leading.name)[:1] != (1,)
        and case.parameters["reduction"] == "mean"
    ]
    records = [record for case, dtype in several for record in judged(mutant(), [case], dtype)]
    wrong = [record for record in records if record.output == "law.accumulation" and record.message]
    assert wrong
    assert {record.verdict for record in wrong} == {Verdict.FAIL}
    assert all(" has the shape " in record.message for record in wrong)


@pytest.mark.parametrize("mutant", [OneRow, OneRowsGradient])
@pytest.mark.parametrize("function", ACCUMULATING)
def test_parts_that_do_not_add_up_are_seen(mutant: type[lossproof.Adapter], function: str) -> None:
    several = [
        (case, dtype)
        for case, dtype in ASKED_AGAIN
        if case.function.name == function and case.shape_of(case.function.leading.name)[:1] != (1,)
    ]
    records = [record for case, dtype in several for record in judged(mutant(), [case], dtype)]
    found = {record.verdict for record in records if record.output == "law.accumulation"}
    assert Verdict.FAIL in found
    assert not broken(records) - {"law.accumulation", "law.rows"}


# -- what else a call leaves behind ------------------------------------------------------------


class Plain(NumpyAdapter):
    """What the mutants below have in common: one function, which they call ``self.mutant``."""

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return self.mutant(np.asarray(super().evaluate(function, arrays)))

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, gradients = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
        return self.mutant(np.asarray(value)), gradients

    def mutant(self, value: Any) -> Any:
        raise NotImplementedError


class OneBuffer(Plain):
    """Gives its results in memory that the next call uses again."""

    def __init__(self) -> None:
        self.memory = np.zeros(2**20, np.uint8)

    def mutant(self, value: Any) -> Any:
        shared = self.memory[: value.nbytes].view(value.dtype).reshape(value.shape)
        shared[...] = value
        return shared


class Views(NumpyAdapter):
    """Gives labels and masks in the memory of the inputs, as a slice does."""

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        height, width = (of // to for of, to in zip(labels.shape[1:], size, strict=True))
        return labels[:, ::height, ::width]


class SameGradient(NumpyAdapter):
    """Gives one array as both gradients of a distance of 0."""

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, gradients = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
        return value, dict.fromkeys(gradients, np.zeros_like(arrays["prediction"]))


class FirstKept(Plain):
    """Gives the first result of a shape to all calls of that shape after another one came."""

    def __init__(self) -> None:
        self.shapes: set[Any] = set()

    def mutant(self, value: Any) -> Any:
        self.shapes.add((value.shape, value.dtype))
        return value if len(self.shapes) == 1 else value * 2


class Counting(Plain):
    """Is right the first time only."""

    calls = 0

    def mutant(self, value: Any) -> Any:
        self.calls += 1
        return value if self.calls <= 1 else value + value.dtype.type(1)


class Noisy(Plain):
    """Is off by one in the last place later on."""

    calls = 0

    def mutant(self, value: Any) -> Any:
        self.calls += 1
        return np.nextafter(value, value.dtype.type(8)) if self.calls > 2 else value


class Inference(NumpyAdapter):
    """Has another formula where no gradient is asked for."""

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        value = np.asarray(super().evaluate(function, arrays))
        return value.astype(np.float16).astype(value.dtype) + value.dtype.type(0.125)


class InferenceBits(NumpyAdapter):
    """Rounds otherwise where no gradient is asked for."""

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        value = np.asarray(super().evaluate(function, arrays))
        return np.nextafter(value, value.dtype.type(8))


DIFFERENTIABLE = [name for name, function in FUNCTIONS.items() if function.wrt]
MUTANTS: list[tuple[Callable[[], lossproof.Adapter], str]] = [
    (OneBuffer, "law.results-kept"),
    (Counting, "law.repeats"),
    (FirstKept, "law.repeats"),
    (Noisy, "law.same-bits"),
    (Inference, "law.value-alone"),
    (InferenceBits, "law.same-bits"),
]


@pytest.mark.parametrize("function", DIFFERENTIABLE)
@pytest.mark.parametrize(("mutant", "law"), MUTANTS, ids=lambda item: getattr(item, "__name__", item))
def test_a_law_is_broken(mutant: Callable[[], lossproof.Adapter], law: str, function: str) -> None:
    """On each function, by its first plain case already, of which value and gradients are right."""
    case = law_calls._ordinary(function)[0]
    found = run_case(mutant(), "x", case, "float32", NONE)
    (ruling,) = (record for record in found if record.output == law)
    assert ruling.clause == laws.CLAUSES[law]
    assert ruling.verdict is (Verdict.BELOW if law in laws.RECOMMENDED else Verdict.FAIL), ruling
    assert not {
        record.output for record in found if record.verdict in FAILURES and record.output[:3] != "law"
    }


@pytest.mark.parametrize(
    ("mutant", "case", "told"),
    [
        (Views, "pspnet_resize_labels/lanes-thorough/labels-6-to-3", "value lies in the memory"),
        (SameGradient, "l2_loss/special/equal", "gradients.target lies in the memory"),
    ],
)
@pytest.mark.parametrize("isolate", [False, True])
def test_results_have_memory_of_their_own(
    mutant: type[lossproof.Adapter], case: str, told: str, isolate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(law_calls, "sampled", lambda case, dtype: True)
    (one,) = (each for each in every_case() if each.id == case)
    loaded = load_adapter(f"{__file__}:{mutant.__name__}", isolate=isolate)
    assert loaded.adapter is not None
    for dtype in one.dtypes:
        found = {record.output: record for record in run_case(loaded.adapter, "x", one, dtype, NONE)}
        assert found["value"].verdict is Verdict.PASS
        assert found["law.results-kept"].verdict is Verdict.FAIL
        assert told in found["law.results-kept"].message
        plain = {record.output: record for record in run_case(NumpyAdapter(), "x", one, dtype, NONE)}
        assert plain["law.results-kept"].verdict is Verdict.PASS
    if isinstance(loaded.adapter, RemoteAdapter):
        loaded.adapter.close()


@pytest.mark.parametrize("mutant", [OneBuffer, Counting, FirstKept, Noisy, Inference, InferenceBits, InPlace])
def test_laws_are_the_same_in_a_process_of_its_own(mutant: type[lossproof.Adapter]) -> None:
    cases = [
        law_calls._ordinary(function)[0]
        for function in ("softmax", "l2_loss", "sparse_softmax_cross_entropy")
    ]
    here = judged(mutant(), cases)
    loaded = load_adapter(f"{__file__}:{mutant.__name__}", isolate=True)
    assert isinstance(loaded.adapter, RemoteAdapter)
    try:
        assert judged(loaded.adapter, cases) == here
    finally:
        loaded.adapter.close()
    assert "law" in {output[:3] for output in broken(here)}


class Spent(torch.autograd.Function):
    """A sigmoid whose backward pass writes over what the forward pass kept (as fused kernels do)."""

    @staticmethod
    def forward(ctx: Any, logits: Any) -> Any:
        ctx.value = torch.sigmoid(logits)
        return ctx.value.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        return ctx.value.mul_(1 - ctx.value).mul_(cotangents[0])


class SpentSigmoid(TorchAdapter):
    def sigmoid(self, logits: Any) -> Any:
        return Spent.apply(logits)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(("adapter", "verdict"), [(SpentSigmoid, Verdict.FAIL), (TorchAdapter, Verdict.PASS)])
def test_a_graph_that_is_spent_is_seen(
    adapter: type[lossproof.Adapter], verdict: Verdict, isolate: bool
) -> None:
    loaded = load_adapter(f"{__file__}:{adapter.__name__}", isolate=isolate)
    assert loaded.adapter is not None
    try:
        found = run_case(loaded.adapter, "x", law_calls._ordinary("sigmoid")[0], "float32", NONE)
    finally:
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()
    assert [r.verdict for r in found if r.output == "law.backward-twice"] == [verdict]
    assert broken(found) == (set() if verdict is Verdict.PASS else {"law.backward-twice"})


class OwnBackward(TorchAdapter):
    """A kernel that autograd does not see, with a backward pass of its own."""

    def sigmoid(self, logits: Any) -> Any:
        with torch.no_grad():
            return torch.sigmoid(logits)

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value = function(*arrays.values())
        slope = value * torch.sigmoid(-arrays["logits"])
        return value, {"logits": slope if cotangent is None else cotangent * slope}


@pytest.mark.parametrize("isolate", [False, True])
def test_a_backward_pass_of_its_own_is_not_judged_by_what_it_inherits(isolate: bool) -> None:
    loaded = load_adapter(f"{__file__}:OwnBackward", isolate=isolate)
    assert loaded.adapter is not None
    cases = [law_calls._ordinary("sigmoid")[0]]
    cases += [case for case in quick_cases() if case.id.startswith("sigmoid/derivatives/")]
    try:
        found = judged(loaded.adapter, cases)
    finally:
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()
    assert not broken(found)
    verdicts = {record.output: record.verdict for record in found}
    assert verdicts["jvp"] is verdicts["hvp.logits"] is Verdict.UNSUPPORTED
    assert verdicts["gradients.logits"] is Verdict.PASS and "law.backward-twice" not in verdicts


class Threaded(NumpyAdapter):
    """Makes a call with a number of threads, which changes nothing."""

    count = 4

    @contextmanager
    def threads(self, count: int) -> Iterator[None]:
        before, self.count = self.count, count
        try:
            yield
        finally:
            self.count = before


class SplitByThreads(Threaded):
    """Rounds otherwise where the threads do not share the work evenly, as a sum by parts may."""

    def sigmoid(self, logits: Any) -> Any:
        found = super().sigmoid(logits)
        return np.nextafter(found, found.dtype.type(2)) if self.count == 3 else found


class ThreadsFail(Threaded):
    def threads(self, count: int) -> Any:
        raise RuntimeError("they were started already")


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(
    ("adapter", "verdict"),
    [
        (Threaded, Verdict.PASS), (SplitByThreads, Verdict.BELOW), (ThreadsFail, None), (NumpyAdapter, None),
    ],
)  # fmt: skip
def test_a_sum_that_depends_on_threads_is_seen(
    adapter: type[lossproof.Adapter], verdict: Verdict | None, isolate: bool
) -> None:
    loaded = load_adapter(f"{__file__}:{adapter.__name__}", isolate=isolate)
    assert loaded.adapter is not None
    case = asked_again("sigmoid")[0]
    try:
        found = run_case(loaded.adapter, "x", case, "float32", NONE)
    finally:
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()
    laws_of = [(r.verdict, r.clause) for r in found if r.output == "law.threads"]
    assert laws_of == ([] if verdict is None else [(verdict, "G-25")])
    assert broken(found) == ({"law.threads"} if verdict is Verdict.BELOW else set())


def test_pytorch_has_the_threads_it_had_before() -> None:
    before = torch.get_num_threads()
    found = run_case(TorchAdapter(), "x", law_calls._ordinary("softmax")[0], "float32", NONE)
    assert "law.threads" in {record.output for record in found}
    assert torch.get_num_threads() == before


def test_what_keeps_no_graph_is_not_judged_on_it() -> None:
    found = run_case(NumpyAdapter(), "x", law_calls._ordinary("sigmoid")[0], "float32", NONE)
    assert "law.backward-twice" not in {record.output for record in found}


def test_a_process_that_does_not_look_is_unsupported() -> None:
    """One that speaks the protocol and says neither ``touched`` nor ``kept``."""
    adapter = NumpyAdapter()
    vars(adapter)["_lossproof_guest"] = Elsewhere()
    records = judged(adapter, [law_calls._ordinary("softmax")[0]])
    found = {record.output: record.verdict for record in records}
    assert found["law.inputs-untouched"] is Verdict.UNSUPPORTED
    assert "law.results-kept" not in found and found["law.repeats"] is Verdict.PASS
