"""Errors of many rows judged together (T-13): what keeps every bound and errs to one side is seen."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof import Adapter, Call, InputError
from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from lossproof.core.verdicts import UNJUDGED, Verdict
from lossproof.engine.distribution import unlike_roundings
from lossproof.engine.judge import run_case
from lossproof.isolation.load import load_adapter
from lossproof.oracle.certify import certify_case
from lossproof.registry.deviations import Deviations

from . import reference
from .arithmetic import Arithmetic, AtTheLowerLimits
from .correct import CORRECT
from .textbook import textbook

NONE = Deviations([], "", "", "")
LAW = "law.distribution"
ROUNDING = [name for name, function in FUNCTIONS.items() if function.wrt]


@cache
def cases(function: str) -> tuple[Case, ...]:
    return tuple(load_file(folder("cases") / function / "distribution-thorough.yaml"))


def judged(adapter: Adapter, function: str) -> dict[tuple[str, str], dict[str, Verdict]]:
    """Verdicts by case and dtype, and by output."""
    found: dict[tuple[str, str], dict[str, Verdict]] = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for case in cases(function):
            for dtype in case.dtypes:
                records = run_case(adapter, adapter.name, case, dtype, NONE)
                given = {r.output: r.verdict for r in records if r.verdict not in UNJUDGED}
                if given:
                    found[case.id, dtype] = given
    return found


def missed(adapter: Adapter, function: str) -> set[str]:
    """The dtypes in which it breaks the law; whatever else it breaks is an error of this test."""
    found = judged(adapter, function)
    for place, verdicts in found.items():
        wrong = {output for output, verdict in verdicts.items() if verdict is not Verdict.PASS}
        wrong = {output for output in wrong if not output.startswith("law.")}
        # A slope that cancels to next to nothing, which has hardly a bound.
        assert wrong <= ({"gradients.logits"} if function == "log_softmax" else set()), (place, verdicts)
    return {dtype for (_, dtype), verdicts in found.items() if verdicts[LAW] is Verdict.BELOW}


# -- what is correct -----------------------------------------------------------------------------

PLAIN = ["plain-loop", "pairwise-tree", "fused-multiply-add", "float16-throughout", "bfloat16-throughout"]


@pytest.mark.parametrize("function", ROUNDING)
def test_plain_loops_of_every_dtype_keep_it(function: str) -> None:
    """Loops in the dtype, trees of sums, contracted with float32 inside; the reference; PyTorch."""
    for name in PLAIN:
        with reference.replaced(CORRECT[name].replaced):
            assert not missed(CORRECT[name].cls(), function), name
    torch = load_adapter("torch").adapter
    assert torch is not None
    for backend in (NumpyAdapter(), torch):
        assert not missed(backend, function), backend.name


@pytest.mark.parametrize("function", ROUNDING)
def test_every_dtype_has_a_case(function: str) -> None:
    assert {dtype for case in cases(function) for dtype in case.dtypes} == set(FLOAT_TYPES)
    assert all(case.distribution and case.level == "recommended" for case in cases(function))


class Rounded(NumpyAdapter):
    """Results and gradients of float64 arithmetic, in the dtype by a rounding of its own."""

    def __init__(self, cast: Callable[[Any, Any], Any]) -> None:
        self.cast = cast

    def _wide(self, array: Any) -> Any:
        floats = isinstance(array, np.ndarray) and array.dtype.name in FLOAT_TYPES
        return array.astype(np.float64) if floats else array

    def value_and_gradients(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        call = Call(self, function.function, {k: self._wide(v) for k, v in function.parameters.items()})
        given = {name: self._wide(array) for name, array in arrays.items()}
        value, found = super().value_and_gradients(call, given, wrt, cotangent=self._wide(cotangent))
        dtype = next(array.dtype for array in arrays.values() if array.dtype.name in FLOAT_TYPES)
        cast = {name: self.cast(array, dtype) for name, array in found.items()}
        return self.cast(np.asarray(value), dtype), cast

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return self.value_and_gradients(function, arrays, ())[0]


def to_nearest(exact: Any, dtype: Any) -> Any:
    return exact.astype(dtype)


def _back(exact: Any, dtype: Any, beyond: Callable[[Any, Any], Any], end: float) -> Any:
    """To the neighbour towards ``end`` where the nearest is beyond; in float64, which says not, by turns."""
    near = exact.astype(dtype)
    if dtype == np.float64:
        row = exact.size // (exact.shape or (1,))[0]
        moved = (np.arange(exact.size) // row % 2 == 1).reshape(exact.shape) & (exact != 0)
    else:
        moved = beyond(near.astype(float), exact)
    return np.where(moved, np.nextafter(near, dtype.type(end)), near)


def cut_off(exact: Any, dtype: Any) -> Any:
    return _back(exact, dtype, lambda near, exact: np.abs(near) > np.abs(exact), 0.0)


def rounded_down(exact: Any, dtype: Any) -> Any:
    return _back(exact, dtype, np.greater, -np.inf)


def halves_up(exact: Any, dtype: Any) -> Any:
    """To nearest, but halves away from 0."""
    near = exact.astype(dtype)
    out = np.nextafter(near, np.copysign(np.inf, exact).astype(dtype))
    half = (near.astype(float) + out.astype(float)) / 2 == exact
    return np.where(half & (near.astype(float) != exact), out, near)


@pytest.mark.parametrize("function", ROUNDING)
def test_roundings_that_are_none(function: str) -> None:
    assert not missed(Rounded(to_nearest), function)
    assert missed(Rounded(cut_off), function) == set(FLOAT_TYPES)
    assert missed(Rounded(rounded_down), function) == set(FLOAT_TYPES)


def test_halves_rounded_up_are_seen_where_there_are_many() -> None:
    assert missed(Rounded(halves_up), "l2_loss") == {"float16", "bfloat16"}


# -- what is within each bound and errs to one side ------------------------------------------------


class LowExponential(AtTheLowerLimits):
    """Exponentials are too small, by what is allowed of one."""

    wide = False
    divide = Arithmetic.divide
    log = Arithmetic.log
    log1p = Arithmetic.log1p
    sqrt = Arithmetic.sqrt


class LosingSum(Arithmetic):
    """Each partial sum is cut off."""

    wide = True

    @staticmethod
    def order(terms: Any) -> Any:
        total = terms[0]
        for term in terms[1:]:
            total = cut_off(total.astype(np.float64) + term, terms.dtype)
        return total


OF_EXPONENTIALS = ["sigmoid", "log_sigmoid", "softmax", "log_softmax", "softmax_cross_entropy",
                   "sparse_softmax_cross_entropy", "sigmoid_cross_entropy", "pspnet_loss"]  # fmt: skip
OF_SUMS = ["softmax", "log_softmax", "cross_entropy", "softmax_cross_entropy",
           "sparse_softmax_cross_entropy", "pspnet_loss"]  # fmt: skip


@pytest.mark.parametrize("function", OF_EXPONENTIALS)
def test_an_exponential_that_is_biased_low(function: str) -> None:
    assert missed(textbook(LowExponential)(), function) == set(FLOAT_TYPES)


@pytest.mark.parametrize("function", OF_SUMS)
def test_a_sum_that_loses_a_little_each_time(function: str) -> None:
    """In float32, in which half precision is summed up too, where nobody sees it."""
    assert "float32" in missed(textbook(LosingSum)(), function)


def test_errors_that_are_all_large_fail_by_their_mean_square() -> None:
    case = cases("sigmoid")[0]
    assert case.expected is not None
    due, tolerance, dtype = case.expected["value"], case.tolerances["value"], FLOAT_TYPES["float32"]
    assert isinstance(due, np.ndarray)
    bounds, signs = tolerance.bounds(due, dtype), np.random.default_rng(1).choice([-1.0, 1.0], due.shape)
    assert not list(unlike_roundings(due + signs * 0.5 * bounds, due, tolerance, dtype))
    (found,) = unlike_roundings(due + signs * 0.9 * bounds, due, tolerance, dtype)
    assert found.startswith("errs too much as a whole: the mean square")


@pytest.mark.parametrize("shape", [(256,), (128, 4)])
@pytest.mark.parametrize("shared", [0.0, 5.0])
def test_independent_roundings_pass_however_rows_share_errors(shape: tuple[int, ...], shared: float) -> None:
    """A thousand random tensors of errors, with one of a row's own beside those of its elements."""
    rng, case = np.random.default_rng(7), cases("sigmoid")[0]
    dtype = FLOAT_TYPES["bfloat16"]
    due = rng.uniform(0.5, 1, shape)
    tolerance = type(case.tolerances["value"])(np.asarray(1.0), np.zeros(()))
    for _ in range(1000):
        rows = rng.uniform(-1, 1, (shape[0], *[1] * (len(shape) - 1))) * shared
        errors = (rng.uniform(-1, 1, shape) + rows) / (1 + shared) * dtype.unit_roundoff
        assert not list(unlike_roundings(due + errors, due, tolerance, dtype))


# -- cases -----------------------------------------------------------------------------------------

CASE = """
function: softmax
about: Rows.
cases:
  - id: one
    clause: SM-1
    level: recommended
    distribution: true
    why: a reason
    dtypes: [float32, bfloat16]
    inputs: {{logits: {{random: normal, shape: {shape}, seed: 1, scale: {scale}}}}}
    wrt: []
    {more}
"""


def written(tmp_path: Path, shape: str = "[128, 3]", scale: float = 0.5, more: str = "") -> Path:
    path = tmp_path / "topic.yaml"
    path.write_text(CASE.format(shape=shape, scale=scale, more=more), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shape": "[127, 3]"}, "of 128 rows at least"),
        ({"shape": "[128, 17]"}, "2,048 at most, not 2,176"),
        ({"more": "parameters: {axis: 0}"}, "another axis than the first"),
        ({"more": "parameters: {axis: -2}"}, "another axis than the first"),
        ({"more": "times: 3"}, "times"),
        (
            {"more": "expected: {value: {sketch: {shape: [128, 3], seed: 1, sums: [[1]], sample: [1]}}}"},
            "each element is needed",
        ),
    ],
)
def test_a_case_that_does_not_fit_is_refused_by_line(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"topic\.yaml:\d+: case 'one': .*{message}"):
        load_file(written(tmp_path, **given))


def test_the_oracle_refuses_inputs_that_show_nothing(tmp_path: Path) -> None:
    path = written(tmp_path)
    text = path.read_text(encoding="utf-8")
    (fine,) = load_file(path)
    assert not certify_case(fine).vacuous
    for function, clause, given, said in (
        # Just below 1 there is nothing in float16 to round to but 1.
        ("sigmoid", "SG-1", "logits: {random: normal, shape: [128], seed: 1, shift: 9, scale: 0.125, "
         "bits: 11}",
         "value: what is right is too large as a whole"),
        # Squares of few bits are exact in float32.
        ("l2_loss", "L2-1", "prediction: {random: normal, shape: [128], seed: 1}, "
         "target: {full: 0, shape: [128]}", "value: what is cut off toward 0 would not be seen in float32"),
    ):  # fmt: skip
        inputs = f"    inputs: {{{given}}}\n" + "    parameters: {reduction: none}\n" * (
            function == "l2_loss"
        )
        changed = text.replace("softmax", function).replace("SM-1", clause)
        if function == "sigmoid":
            changed = changed.replace("[float32, bfloat16]", "[float16]")
        path.write_text(re.sub(" *inputs: .*\n", inputs, changed), encoding="utf-8")
        (case,) = load_file(path)
        assert any(said in problem for problem in certify_case(case).vacuous)
