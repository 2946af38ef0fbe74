"""Huge cases: what repeats, what is compared, who is asked, and what none of it costs.

Wherever arrays are made here they are small: a case is repeated a few times, and what would wrap at 2³¹ wraps
at a number of elements that lies at the same place of the pattern.
"""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

# pytester forgets what its runs import, and NumPy cannot be imported twice.
import lossproof.adapters.numpy
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from msgspec import structs

import lossproof
import lossproof.engine.runner
import lossproof.isolation.load
from lossproof import Call, Unsupported
from lossproof.case.expected import Tolerance
from lossproof.case.fingerprint import fingerprint
from lossproof.case.model import Case
from lossproof.case.needs import needs
from lossproof.case.read import load_file
from lossproof.case.select import select_cases
from lossproof.cli.main import main
from lossproof.core import memory
from lossproof.core.dtypes import numpy_dtype
from lossproof.core.resources import folder
from lossproof.core.verdicts import Verdict
from lossproof.engine import compare as comparing
from lossproof.engine import huge
from lossproof.engine.answer import _remembered
from lossproof.engine.compare import compare
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.errors import InputError, LossproofError
from lossproof.isolation.load import load_adapter
from lossproof.oracle.certify import certify, certify_case
from lossproof.registry.deviations import Deviations
from lossproof.results.evidence import check
from lossproof.results.file import read_json
from tests.arithmetic import Arithmetic, AtRandomLimits
from tests.own_cases import huge_cases, stand_in
from tests.textbook import textbook

Array = Any

HUGE = [case for path in sorted(folder("cases").glob("*/huge.yaml")) for case in load_file(path)]
"""Read by themselves, which is quicker than all; a test says that there are no others."""
NONE = Deviations([], "numpy", "2", "cpu")
TIMES = 6
GIB = 2**30


def small(case: Case) -> Case:
    return replace(case, times=TIMES)


def elements(case: Case) -> int:
    """How many the arrays of logits of one copy have."""
    return math.prod(case.shape_of("logits"))


def run(adapter: lossproof.Adapter, case: Case, dtype: str) -> dict[str, Record]:
    return {record.output: record for record in run_case(adapter, "it", case, dtype, NONE)}


# -- the cases that there are ------------------------------------------------------------------


def test_huge_cases_pass_what_32_bits_count_and_cover_what_was_reported() -> None:
    found = {(case.function.name, dtype) for case in HUGE for dtype in case.dtypes}
    assert {case.id for case in HUGE} == {case.id for case in huge_cases()}
    functions = {"softmax", "log_softmax", "sparse_softmax_cross_entropy", "sigmoid", "pspnet_predict"}
    assert {(name, dtype) for name in functions for dtype in ("float16", "bfloat16")} <= found
    for case in HUGE:
        past = 2**32 if case.id.endswith("/past-2-32") else 2**31
        assert past < elements(case) * case.times < past + 2**25, case.id
        assert case.level == "required" and case.huge


CORRECT = [lossproof.adapters.numpy.NumpyAdapter, textbook(Arithmetic), textbook(AtRandomLimits)]
"""The reference, and the plainest implementations in the arithmetic of each dtype and at its limits."""


@pytest.mark.parametrize("case", HUGE, ids=lambda case: case.id)
def test_correct_implementations_pass(case: Case) -> None:
    for kind in CORRECT if elements(case) < 1000 else CORRECT[:1]:
        for dtype in case.dtypes:
            found = run(kind(), small(case), dtype)
            assert {*found} == {*(case.expected or {}), "law.inputs-untouched"}
            assert {record.verdict for record in found.values()} <= {Verdict.PASS}, found


# -- mutants -----------------------------------------------------------------------------------

Change = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


class Wrong(lossproof.adapters.numpy.NumpyAdapter):
    """The reference, of which arrays are changed before and results after the call."""

    name = "wrong"

    def __init__(self, before: Change | None, after: Change | None, value: bool = True) -> None:
        self.before, self.after, self.value = before, after, value

    def changed(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {k: a if self.before is None else self.before(a) for k, a in arrays.items()}

    def result(self, array: Any) -> Any:
        return array if self.after is None else self.after(array)

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return self.result(super().evaluate(function, self.changed(arrays) if self.value else arrays))

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, gradients = super().value_and_gradients(
            function, self.changed(arrays), wrt, cotangent=cotangent
        )
        right = super().evaluate(function, arrays)
        return (
            self.result(value) if self.value else right,
            {name: self.result(array) for name, array in gradients.items()},
        )


def wrap(case: Case) -> int:
    """A number of elements of so small a case that lies in its pattern where 2³¹ or 2³² does."""
    size = elements(case)
    return 2 * size + (2**32 if case.id.endswith("/past-2-32") else 2**31) % size


def reads(index: Callable[[npt.NDArray[np.int64], int], npt.NDArray[np.int64]]) -> Callable[[int], Change]:
    """Elements are read from other places of the flattened array of logits."""

    def made(limit: int) -> Change:
        def read(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            if array.size <= limit:
                return array
            return array.reshape(-1)[index(np.arange(array.size), limit)].reshape(array.shape)

        return read

    return made


def modulo(i: Array, n: int) -> Array:
    return i % n


def signed(i: Array, n: int) -> Array:
    """As NumPy takes a negative index: from the end."""
    return np.where(i < n, i, i - 2 * n)


def stuck(i: Array, n: int) -> Array:
    """A conversion that saturates."""
    return np.minimum(i, n - 1)


def by_row(limit: int) -> Change:
    """The offset of a row wraps; what is inside of a row follows it."""

    def read(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        width = math.prod(array.shape[1:])
        flat = np.concatenate([array.reshape(-1), array.reshape(-1)[:width]])
        starts = np.arange(len(array)) * width % limit
        rows: npt.NDArray[Any] = flat[starts[:, None] + np.arange(width)].reshape(array.shape)
        return rows

    return read


def zero_from(first: Callable[[int, int], int]) -> Callable[[int], Change]:
    """Results are not written from some element on."""

    def made(limit: int) -> Change:
        def write(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            found = array.copy()
            found.reshape(-1)[first(array.size, limit) :] = 0
            return found

        return write

    return made


def written(limit: int) -> Change:
    """Results are written to wrapped places, and those behind stay as they were."""

    def write(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found = np.zeros_like(array).reshape(-1)
        for start in range(0, array.size, limit):
            part = array.reshape(-1)[start : start + limit]
            found[: part.size] = part
        return found.reshape(array.shape)

    return write


READS = {"modulo": reads(modulo), "signed": reads(signed), "saturated": reads(stuck), "row": by_row}
WRITES = {
    "tail": zero_from(lambda size, limit: limit),
    "count-modulo": zero_from(lambda size, limit: size % limit),
    "wrapped": written,
}


def limit_of_results(case: Case) -> int:
    """The same of what is due: as many rows as the inputs that are before the wrap."""
    assert case.expected is not None
    per_row = math.prod(case.expected["value"].shape[1:])
    rows = wrap(case) * case.shape_of("logits")[0] // elements(case)
    return rows * per_row


@pytest.mark.parametrize("case", HUGE, ids=lambda case: case.id)
@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_mutants_fail(name: str, case: Case) -> None:
    if name in READS:
        mutant = Wrong(READS[name](wrap(case)), None)
    else:
        mutant = Wrong(None, WRITES[name](limit_of_results(case)))
    for dtype in case.dtypes:
        found = run(mutant, small(case), dtype)
        assert found["value"].verdict is Verdict.FAIL, dtype


@pytest.mark.parametrize("case", [c for c in HUGE if len(c.expected or {}) > 1], ids=lambda case: case.id)
def test_gradients_that_alone_are_wrong_fail(case: Case) -> None:
    for name, make in READS.items():
        found = run(Wrong(make(wrap(case)), None, value=False), small(case), case.dtypes[0])
        assert found["value"].verdict is Verdict.PASS
        assert found["gradients.logits"].verdict is Verdict.FAIL, name


# -- what repeats ------------------------------------------------------------------------------

FILE = """\
function: {function}
about: Rows that repeat.
cases:
  - id: one
    clause: G-24
    level: required
    why: a reason
    dtypes: [float32]
    times: 4
    inputs: {inputs}
"""
MASKS = "{pred_masks: {full: 1, shape: [3, 1, 2, 2, 2]}, class_ids: [[1], [0], [1]]}"
MASK_LOSS = (
    "{target_masks: {full: 1, shape: [3, 1, 2, 2]}, target_class_ids: [[1], [0], [1]], "
    "pred_masks: {full: 0.5, shape: [3, 1, 2, 2, 2]}}"
)
CE = "{logits: [[0, 1], [2, 0], [0, 0]], labels: [0, 1, 1]}"


@pytest.mark.parametrize(
    ("function", "inputs", "more", "said"),
    [
        ("sigmoid", "{logits: 1}", "", "times takes inputs and a result that have a first axis in common"),
        ("sigmoid", "{logits: [1, 2, 3, 4]}", "", "times takes an odd number of rows from 3 up, not 4"),
        ("sigmoid", "{logits: [1]}", "", "times takes an odd number of rows from 3 up, not 1"),
        ("sigmoid", "{logits: [1, 2, 3]}", "times: 0", "times must be an integer from 1 to"),
        ("sigmoid", "{logits: [1, 2, 3]}", "times: 1099511627777", "times must be an integer from 1 to"),
        ("sigmoid", "{logits: [1, 2, 3]}", "times: 2.5", "times must be an integer from 1 to"),
        ("sigmoid", "{logits: [1, 2, 3]}", "layout: {logits: strided}", "a case with times has no layout"),
        ("sigmoid", "{logits: [1, 2, 3]}", "tangents: {logits: [1, 2, 3]}", "a case with times has no tang"),
        ("sigmoid", "{logits: [1, 2, 3]}", "variants: [{name: r, raises: true}]", "with times has no varian"),
        ("softmax", "{logits: {full: 0, shape: [3, 0]}}", "", "times takes inputs that have elements"),
        ("softmax", "{logits: [1, 2, 3]}", "", "times takes another axis than the first"),
        ("softmax", "{logits: [[1], [2], [3]]}", "parameters: {axis: 0}", "another axis than the first"),
        ("softmax", "{logits: [[1], [2], [3]]}", "parameters: {axis: -2}", "another axis than the first"),
        ("sparse_softmax_cross_entropy", CE, "", "times takes the reduction none"),
        ("sparse_softmax_cross_entropy", CE, "parameters: {reduction: sum}", "takes the reduction none"),
        (
            "sigmoid_cross_entropy", "{logits: [1, 2, 3], target: [0, 1, 1]}",
            "parameters: {reduction: none, weight: [1, 2, 3]}", "times does not repeat weight, which is by",
        ),
        ("mask_rcnn_select_masks", MASKS, "", None),
        ("mask_rcnn_mask_loss", MASK_LOSS, "", "a first axis in common"),
    ],
)  # fmt: skip
def test_only_rows_of_their_own_are_repeated(function: str, inputs: str, more: str, said: str | None) -> None:
    text = FILE.format(function=function, inputs=inputs)
    text = text.replace("times: 4", more) if more.startswith("times") else text + f"    {more}\n"
    if said is None:
        assert load_file(Path("topic.yaml"), text)[0].times == 4
        return
    with pytest.raises(InputError, match=said):
        load_file(Path("topic.yaml"), text)


def test_what_is_due_of_a_huge_case_is_no_sketch(tmp_path: Path) -> None:
    path = tmp_path / "topic.yaml"
    path.write_text(
        FILE.format(function="sigmoid", inputs="{logits: {random: normal, shape: [129], seed: 1}}")
    )
    with pytest.raises(InputError, match="is given by sums, and of a case with times each element is needed"):
        certify([path], write=True, jobs=1)


def test_only_the_pattern_is_certified() -> None:
    case = next(case for case in HUGE if case.id == "softmax/huge/short-rows")
    assert certify_case(case).elements == 123 and not certify_case(case).differences


def test_a_case_that_is_repeated_is_another_one() -> None:
    assert len({fingerprint(replace(HUGE[0], times=times)) for times in (1, 2, 3)}) == 3


# -- comparison --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("seed", range(12))
def test_repeated_outputs_are_compared_as_if_all_was_listed(
    dtype: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "AT_ONCE", 64)
    random = np.random.default_rng(seed)
    shape, times = ((3, 5) if seed % 2 else (7,)), 40
    due = random.normal(size=shape) * 10.0 ** random.integers(-9, 3, size=shape)
    due.flat[random.integers(due.size)] = [np.nan, np.inf, -np.inf, 0.0][seed % 4]
    whole = np.tile(due, (times, *[1] * (len(shape) - 1)))
    with np.errstate(over="ignore"):
        actual = whole.astype(numpy_dtype(dtype))
    for _ in range(seed):
        actual.flat[random.integers(actual.size)] = random.choice([0.0, 1.0, np.nan, np.inf, 1e-7])
    if seed == 11:
        actual[: len(due)] = 0  # the first, to which all others are compared
    if seed == 10:
        actual[len(due) :] = 0
    size = np.where(np.isfinite(due), np.abs(due), 0)
    bound = Tolerance(size * 4, size, 8)
    tiled = Tolerance(tile(bound.u, times), tile(bound.a, times), 8)
    one, two = (compare(actual, due, bound, dtype, times), compare(actual, whole, tiled, dtype))
    assert (one.ok, one.flushed, one.wrong) == (two.ok, two.flushed, two.wrong)
    assert (one.error, one.allowed, one.error_ulp) == (two.error, two.allowed, two.error_ulp)
    if two.wrong:
        assert one.message.split(" elements")[0] == two.message.split(" elements")[0]
        assert one.worst and at(actual, one.worst) == at(actual, two.worst)


def tile(array: Any, times: int) -> Any:
    return np.tile(array, (times, *[1] * (array.ndim - 1)))


def at(array: Any, worst: str) -> str:
    """What stands where a comparison points, which has to be what it says."""
    place, said = worst.split(": ")
    number = float(array[tuple(json.loads(place))])
    assert said.split()[0] == f"{number:.9g}" or number != number, worst
    return said


def test_strides_and_integers_and_other_dtypes() -> None:
    due = np.array([[3, 1], [2, 0], [5, 9]])
    right = np.asfortranarray(tile(due, 5)).astype(np.int32)
    assert compare(right, due, None, "float32", 5).ok
    assert compare(np.repeat(right, 2, axis=0)[::2], due, None, "float32", 5).ok
    right[7, 1] = 8
    found = compare(right, due, None, "float32", 5)
    assert found.message == "1 of 30 elements differ, first at [7, 1]: 8 where 0 is due"
    assert compare(right.astype(float), due, None, "float32", 5).message == (
        "dtype float64 where an integer dtype is due"
    )
    assert compare(right[:-1], due, None, "float32", 5).message == "shape (14, 2) where (15, 2) is due"
    bound = Tolerance(np.array(1.0), np.array(0.0))
    found = compare(tile(due, 5).astype(np.float32), due * 1.0, bound, "bfloat16", 5)
    assert found.message == "dtype float32 where bfloat16 is due"


# -- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "backend", "copying"),
    [  # in GiB: inputs and results, and what is beside them where they are copied
        ("softmax/huge/short-rows", 4 + 4, 4),
        ("softmax/huge/short-rows-gradient", 4 + 4 + 4 + 4, 8),
        ("softmax/huge/past-2-32", 8 + 8, 8),
        ("sigmoid/huge/one-axis-gradient", 4 + 4 + 4 + 4, 8),
        ("sparse_softmax_cross_entropy/huge/vocabulary", 4 + 4, 4),
        ("sparse_softmax_cross_entropy/huge/vocabulary-gradient", 4 + 4 + 4 + 4, 4),
        ("pspnet_predict/huge/past-2-32", 8 + 0.78, 8),
    ],
)
def test_what_a_case_needs_is_told_before_it_is_made(case: str, backend: float, copying: float) -> None:
    (found,) = [one for one in HUGE if one.id == case]
    need = huge.needed(found, "bfloat16")
    assert need.backend / GIB == pytest.approx(backend + 0.25, rel=0.02)
    assert need.copying / GIB == pytest.approx(copying, rel=0.02)


@pytest.mark.parametrize("case", [case for case in HUGE if elements(case) < 1000], ids=lambda case: case.id)
def test_a_call_and_its_judgement_take_no_more_than_that(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge, "_MORE", 2**24)
    monkeypatch.setattr(comparing, "AT_ONCE", 2**14)
    large = replace(case, times=2**20 // elements(case))
    tracemalloc.start()
    try:
        found = run(lossproof.adapters.numpy.NumpyAdapter(), large, "float16")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found["value"].verdict is Verdict.PASS
    assert peak < huge.needed(large, "float16").backend


class Untouchable(lossproof.adapters.numpy.NumpyAdapter):
    name = "untouchable"
    free: int | None = None

    def free_memory(self) -> int | None:
        return self.free

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        raise AssertionError("was asked")


class Copying(Untouchable):
    def from_numpy(self, array: Any) -> Any:
        return array.copy()


@pytest.mark.parametrize("case", HUGE, ids=lambda case: case.id)
def test_too_little_memory_is_a_reason_to_skip(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge, "available", lambda: GIB)
    for dtype in case.dtypes:
        (record, *_) = run(Untouchable(), case, dtype).values()
        assert record.verdict is Verdict.SKIPPED
        need = huge.needed(case, dtype)
        said = f"needs about {need.backend / GIB:.1f} GiB of memory, 1.0 GiB are available"
        assert record.message == said
        (record, *_) = run(Copying(), case, dtype).values()
        assert record.message.startswith(f"needs about {(need.backend + need.copying) / GIB:.1f} GiB of")


def test_a_device_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = [one for one in HUGE if one.id == "softmax/huge/short-rows"]
    adapter = Untouchable()
    adapter.device, adapter.free = "cuda", 8 * GIB
    monkeypatch.setattr(huge, "available", lambda: 6 * GIB)
    assert huge.too_large(adapter, case, "float16") == (
        "needs about 8.3 GiB of memory on cuda, 8.0 GiB are available"
    )
    adapter.free = 9 * GIB
    assert huge.too_large(adapter, case, "float16") is None
    monkeypatch.setattr(huge, "available", lambda: 4 * GIB)
    assert huge.too_large(adapter, case, "float16") == "needs about 4.3 GiB of memory, 4.0 GiB are available"
    monkeypatch.setattr(huge, "available", lambda: None)  # what cannot be told is no reason
    assert huge.too_large(adapter, case, "float16") is None


def test_what_an_adapter_says_of_itself_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge, "available", lambda: GIB)
    (case,) = [one for one in HUGE if one.id == "softmax/huge/short-rows"]

    class Odd(lossproof.adapters.numpy.NumpyAdapter):
        name = "odd"

        def free_memory(self) -> Any:
            return "plenty"

        def from_numpy(self, array: Any) -> Any:
            raise KeyError("no")

    class Failing(Odd):
        def free_memory(self) -> Any:
            raise SystemExit("no")

    for adapter in (Odd(), Failing()):
        assert "of memory, 1.0 GiB are available" in (huge.too_large(adapter, case, "float16") or "")

    class Without(Odd):
        softmax = None

    class Float32(Odd):
        dtypes = ("float32",)

    for adapter in (Without(), Float32()):
        assert run(adapter, case, "float16")["value"].verdict is Verdict.UNSUPPORTED

    class Leaving(Odd):
        @property
        def softmax(self) -> Any:
            raise SystemExit("no")

    assert run(Leaving(), case, "float16")["value"].verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (MemoryError("Unable to allocate 8.03 GiB for an array"), Verdict.SKIPPED),
        (MemoryError(), Verdict.SKIPPED),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), Verdict.SKIPPED),
        (RuntimeError("CUDA out of memory. Tried to allocate 8.00 GiB"), Verdict.SKIPPED),
        (RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate"), Verdict.SKIPPED),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), Verdict.ERROR),
        (RuntimeError("integer out of range"), Verdict.ERROR),
        (Unsupported("bad_alloc"), Verdict.UNSUPPORTED),
    ],
)
def test_a_call_that_runs_out_of_memory_is_no_answer(error: Exception, verdict: Verdict) -> None:
    class Raising(lossproof.adapters.numpy.NumpyAdapter):
        name = "raising"

        def softmax(self, logits: Any, *, axis: int) -> Any:
            raise error

    (case,) = [one for one in HUGE if one.id == "softmax/huge/short-rows"]
    assert run(Raising(), small(case), "float16")["value"].verdict is verdict
    # A small case has no such excuse.
    ordinary = load_file(folder("cases") / "softmax" / "ordinary.yaml")[0]
    found = run(Raising(), ordinary, "float32")["value"].verdict
    assert found is (Verdict.UNSUPPORTED if verdict is Verdict.UNSUPPORTED else Verdict.ERROR)


def test_memory_is_that_of_the_machine_or_of_its_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2**20 < (memory.available() or 2**30) < 2**50
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "_GROUPS", ((str(limit), str(used)),))
    limit.write_text("1000000\n")
    used.write_text("400000\n")
    if Path("/proc/meminfo").exists():
        assert memory.available() == 600000
        limit.write_text("max\n")
        assert (memory.available() or 0) > 2**20


def test_inputs_stay_untouched_however_large() -> None:
    (case,) = [one for one in HUGE if one.id == "sigmoid/huge/one-axis"]
    large = replace(case, times=8001)  # past what is remembered as it is

    class Overwriting(lossproof.adapters.numpy.NumpyAdapter):
        name = "overwriting"

        def sigmoid(self, logits: Any) -> Any:
            found = super().sigmoid(logits).copy()
            logits[-1] = found[-1]
            return found

    found = run(Overwriting(), large, "float16")
    assert found["value"].verdict is Verdict.PASS
    assert found["law.inputs-untouched"].verdict is Verdict.FAIL
    found = run(lossproof.adapters.numpy.NumpyAdapter(), large, "bfloat16")
    assert found["law.inputs-untouched"].verdict is Verdict.PASS
    strided = ml_dtypes.bfloat16(1) * np.ones((2**11, 2**11), ml_dtypes.bfloat16)
    assert _remembered(strided.T) == _remembered(strided) and len(_remembered(strided)) == 32


# -- processes of their own --------------------------------------------------------------------


def test_in_a_process_of_its_own_what_is_too_long_to_send_is_skipped() -> None:
    remote = load_adapter("numpy", isolate=True)
    assert remote.adapter is not None
    try:
        for case in HUGE:
            (record, *_) = run(remote.adapter, case, case.dtypes[0]).values()
            assert record.verdict is Verdict.SKIPPED and "--no-isolate" in record.message
        found = run(remote.adapter, small(HUGE[0]), "bfloat16")
        assert {record.verdict for record in found.values()} == {Verdict.PASS}
    finally:
        remote.adapter.close()  # type: ignore[attr-defined]


# -- who is asked ------------------------------------------------------------------------------

CASE = """\
  - id: {id}
    clause: SG-1
    level: required
    why: a reason
    dtypes: [float32]
    inputs: {{logits: [0, 0, 0]}}
    expected: {{value: [0.5, 0.5, 0.5], gradients: {{logits: [0.25, 0.25, 0.25]}}}}
    tolerance: {{value: 0, gradients: {{logits: 0}}}}
"""
TEXT = (
    "function: sigmoid\nabout: Two cases.\ncases:\n"
    + CASE.format(id="short")
    + CASE.format(id="repeated").replace("    inputs", "    times: 5\n    inputs")
)
ONE = "1 huge case left out; --huge runs it"


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return stand_in(tmp_path, TEXT, monkeypatch)


def ids(*references: str, **more: bool) -> list[str]:
    return [case.id.rsplit("/", 1)[1] for case in select_cases(references, [], **more)]


def test_huge_cases_are_run_only_where_they_are_asked_for(cases: Path) -> None:
    for reference in (
        ["sigmoid"],
        ["sigmoid/*"],
        ["sigmoid/topic"],
        [str(cases)],
        [str(cases / "topic.yaml")],
        [],
    ):
        assert ids(*reference) == ids(*reference, thorough=True) == ["short"]
        assert ids(*reference, huge=True) == ["short", "repeated"]
        assert select_cases(reference, []).huge_left_out == {"sigmoid/topic/repeated"}
    with pytest.raises(LossproofError, match="no case is left but huge ones; --huge runs them"):
        select_cases(["sigmoid/topic/repeated"], [])


def test_without_huge_a_run_makes_none_of_lossproofs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossproof.engine.call.repeated", lambda array, times: array if times == 1 else 1 / 0)
    monkeypatch.setattr(huge, "too_large", lambda *given: 1 / 0)
    results = lossproof.run("numpy", cases="sigmoid", dtypes="bfloat16")
    assert len(results) and not any("/huge/" in record.case for record in results)


@pytest.mark.parametrize("arguments", [[], ["--thorough"], ["sigmoid/topic"]])
def test_a_run_says_what_it_left_out(
    arguments: list[str], cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    for quiet in ([], ["-q"]):
        assert main(["run", "-a", "numpy", *arguments, *quiet, "--json", str(file)]) == 0
        assert ONE in capsys.readouterr().out and len({record.case for record in read_json(file)}) == 1
        assert main(["run", "-a", "numpy", *arguments, *quiet, "--huge", "--json", str(file)]) == 0
        assert "huge" not in capsys.readouterr().out and len({record.case for record in read_json(file)}) == 2


def test_from_python(cases: Path) -> None:
    assert {record.case for record in lossproof.run("numpy")} == {"sigmoid/topic/short"}
    assert len({record.case for record in lossproof.run("numpy", huge=True)}) == 2


def test_list_explain_and_repro(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--cases", "--json"]) == 0
    texts = {row["id"]: row["text"] for row in json.loads(capsys.readouterr().out)}
    assert texts["sigmoid/topic/repeated"].startswith("(SG-1, required, huge)")
    assert main(["explain", "sigmoid/topic/repeated", "-a", "numpy"]) == 0
    out = capsys.readouterr().out
    assert "(required, huge)" in out and "all arrays lie 5 times one behind the other" in out
    assert "lossproof run --huge -a numpy sigmoid/topic/repeated runs it" in out
    assert main(["repro", "sigmoid/topic/repeated", "-a", "numpy"]) == 2
    assert "is huge, and no script is written of such cases" in capsys.readouterr().err


def test_a_folder_keeps_what_was_left_out(cases: Path, tmp_path: Path) -> None:
    kept = tmp_path / "results"
    kept.mkdir()

    def run(*arguments: str) -> set[str]:
        assert main(["run", "-a", "numpy", *arguments, "-q", "--results", str(kept)]) == 0
        (file,) = kept.iterdir()
        return {record.case.rsplit("/", 1)[1] for record in read_json(file)}

    assert run() == {"short"}
    assert run("--huge") == {"short", "repeated"}
    assert run() == run("--thorough") == {"short", "repeated"}


def test_pytest_takes_none(pytester: pytest.Pytester) -> None:
    (pytester.mkdir("conformance") / "topic.yaml").write_text(TEXT, encoding="utf-8")
    for arguments in ([], ["--thorough"], ["conformance/topic.yaml"]):
        pytester.runpytest("--adapter", "numpy", *arguments).assert_outcomes(passed=1)


# -- what is kept and handed on ----------------------------------------------------------------


def records(case: Case) -> Iterator[Record]:
    for make in READS.values():
        yield from run(Wrong(make(wrap(case)), None), small(case), "bfloat16").values()


def test_what_is_kept_of_a_huge_output_is_checked_against_its_row() -> None:
    (case,) = [small(one) for one in HUGE if one.id == "softmax/huge/short-rows"]
    found = [record for record in records(case) if record.output == "value"]
    assert found and all(int((record.worst or "[0")[1:].split(",")[0]) > 2 for record in found)
    for record in found:
        assert check(case, record) == (True, None)
        right = structs.replace(record, verdict=Verdict.PASS, error=None, allowed=None, message="")
        assert "pass, but what it keeps is wrong" in str(check(case, right).problem)
        outside = structs.replace(record, worst=(record.worst or "").replace("[", "[9", 1))
        assert "nothing like this is due there" in str(check(case, outside).problem)


def test_an_export_says_how_often_and_a_runner_may_leave_them_out(cases: Path, tmp_path: Path) -> None:
    for more, times in ([], [1]), (["--huge"], [1, 5]):
        out = tmp_path / f"vectors{len(more)}"
        assert main(["export", "-o", str(out), *more]) == 0
        found = json.loads((out / "sigmoid" / "float32.json").read_text())["cases"]
        assert [case["times"] for case in found] == times
        assert [case["id"].rsplit("/", 1)[1] for case in found if "huge" in case["needs"]] == (
            ["repeated"] if more else []
        )
        assert all(case["outputs"]["value"]["expected"]["shape"] == [3] for case in found)


def test_the_flag_is_that_of_huge_cases() -> None:
    assert all("huge" in needs(case, case.exact_arrays) for case in HUGE)
    assert "huge" not in needs(replace(HUGE[0], times=1), HUGE[0].exact_arrays)
