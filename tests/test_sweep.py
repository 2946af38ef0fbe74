"""Sweeps: the reference keeps its bound, wrong implementations are seen, and right ones are not."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest

import lossproof

pytest.importorskip("flint")
from lossproof.adapter import Adapter
from lossproof.case.read import load_cases
from lossproof.cli.main import main
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.resources import folder
from lossproof.errors import LossproofError, Unsupported
from lossproof.oracle.balls import arb, ctx
from lossproof.oracle.definitions import definition
from lossproof.registry.loaded import AdapterInfo
from lossproof.sweeps import search
from lossproof.sweeps.allowed import allowed, bounds, recommended, unspecified
from lossproof.sweeps.elementary import ERROR as ELEMENTARY_ERROR
from lossproof.sweeps.elementary import exp_of_minus, log, log1p
from lossproof.sweeps.exact import certified, rounded_to
from lossproof.sweeps.inputs import Patterns
from lossproof.sweeps.reference import ERROR, EXACT, FORMULAS, Point
from lossproof.sweeps.report import OutputReport, Sweep, read, sweep_of
from lossproof.sweeps.subjects import SUBJECTS, Domain, choose
from lossproof.sweeps.tally import Ranges, Steps, Tally, moments
from lossproof.sweeps.work import Range, empty, measure, merge
from tests import sweep_results
from tests.dying import dying

Array = npt.NDArray[Any]
HALVES = ("float16", "bfloat16")
DRAWS = 40_000


def strata(seed: int, lowest: float, highest: float, count: int = DRAWS) -> Array:
    """Numbers whose logarithms are even."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return np.exp2(generator.uniform(np.log2(lowest), np.log2(highest), count))


# -- the reference ---------------------------------------------------------------------------------

ELEMENTARY: list[tuple[Callable[[Array], Array], Callable[[Any], Any], Array]] = [
    (exp_of_minus, lambda x: (-x).exp(), np.concatenate([[0.0], strata(1, 2.0**-60, 700)])),
    (log1p, lambda x: x.log1p(), np.concatenate([strata(2, 2.0**-300, 1), -strata(3, 2.0**-300, 0.5)])),
    # Around every point of the table, where one entry ends and the next begins.
    (log1p, lambda x: x.log1p(), (np.arange(-2046, 4096)[:, None] / 4096 + [-1e-13, 0, 1e-13]).ravel()),
    (
        exp_of_minus, lambda x: (-x).exp(),
        (np.arange(1, 9000)[:, None] * (math.log(2) / 4096) * [1 - 1e-14, 1, 1 + 1e-14]).ravel(),
    ),
    (log, lambda x: x.log(), np.concatenate([strata(4, 2.0**-1000, 2.0**1000), 1 + strata(5, 2.0**-52, 1)])),
    (log, lambda x: x.log(), 1 - strata(6, 2.0**-53, 0.5)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "exact", "x"), ELEMENTARY)
def test_elementary_functions_keep_their_bound(
    function: Callable[[Array], Array], exact: Callable[[Any], Any], x: Array
) -> None:
    ctx.prec = 128
    limit = arb(ELEMENTARY_ERROR)
    for value, given in zip(function(x).tolist(), x.tolist(), strict=True):
        sure = exact(arb(given))
        assert abs(arb(value) - sure) <= abs(sure) * limit, given


def test_elementary_functions_keep_nan() -> None:
    x = np.array([1.0, np.nan])
    for function in (exp_of_minus, log1p):
        assert np.isnan(function(x)).tolist() == [False, True]


def _power(x: Any) -> Any:
    return (-abs(x)).exp()


EXACT_FORMULAS: dict[str, Callable[[Any], Any]] = {
    "sigma": lambda x: 1 / (1 + (-x).exp()),
    "other": lambda x: 1 / (1 + x.exp()),
    "minus_other": lambda x: -1 / (1 + x.exp()),
    "slope": lambda x: _power(x) / (1 + _power(x)) ** 2,
    "minus_slope": lambda x: -_power(x) / (1 + _power(x)) ** 2,
    "softplus": lambda x: x.exp().log1p(),
    "softplus_of_opposite": lambda x: (-x).exp().log1p(),
    "log_sigma": lambda x: -(-x).exp().log1p(),
    "log_other": lambda x: -x.exp().log1p(),
    "cost_of_one": lambda p: -p.log(),
    "cost_of_zero": lambda p: -(-p).log1p(),
    "slope_of_one": lambda p: -1 / p,
    "slope_of_zero": lambda p: 1 / (1 - p),
    "square": lambda x: x * x,
    "twice": lambda x: 2 * x,
}


def inputs_of(dtype: str, domain: Domain, negative: bool) -> Array:
    """Every number of a dtype of 16 bits; of float32 a thousand or more of every binade."""
    patterns = Patterns(dtype)
    end = patterns.infinity if domain is Domain.ALL else patterns.one + 1
    if dtype in HALVES:
        return patterns.numbers(0, end, negative).astype(np.float64)
    generator = np.random.Generator(np.random.PCG64(negative))
    starts = np.arange(0, end, patterns.per_binade)
    places = starts[:, None] + generator.integers(0, patterns.per_binade, (len(starts), 160))
    every = np.unique(np.minimum(places, end - 1)).astype(np.uint32)
    if negative:
        every |= np.uint32(patterns.sign)
    return every.view(np.float32).astype(np.float64)


@pytest.mark.parametrize("dtype", [*HALVES, "float32"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_keep_their_bound(formula: str, dtype: str) -> None:
    """Exhaustive in 16 bits; a formula that is exact has no error at all."""
    users = {s.domain for s in SUBJECTS.values() for t in s.targets if t.formula == formula}
    (domain,) = users
    ctx.prec = 200
    limit, tiny = arb(0 if formula in EXACT else ERROR), arb(2.0**-1000)
    exact = EXACT_FORMULAS[formula]
    for negative in (False, True) if domain is Domain.ALL else (False,):
        x = inputs_of(dtype, domain, negative)
        for value, given in zip(FORMULAS[formula](Point(x)).tolist(), x.tolist(), strict=True):
            if math.isinf(value):
                assert (formula, given) in {
                    ("cost_of_one", 0.0), ("slope_of_one", 0.0),
                    ("cost_of_zero", 1.0), ("slope_of_zero", 1.0),
                }  # fmt: skip
                continue
            # e^x for the largest x has more digits than any precision: its limit is known.
            sure = exact(arb(given)) if abs(given) < 2000 or domain is Domain.UNIT else None
            if sure is None:
                sure = _limit(formula, given)
            assert abs(arb(value) - sure) <= abs(sure) * limit + (tiny if limit > 0 else 0), given


def _limit(formula: str, x: float) -> Any:
    if formula in ("square", "twice"):
        return EXACT_FORMULAS[formula](arb(x))
    left, right = {
        "sigma": (0, 1), "other": (1, 0), "minus_other": (-1, 0), "slope": (0, 0), "minus_slope": (0, 0),
        "softplus": (0, x), "softplus_of_opposite": (-x, 0), "log_sigma": (x, 0), "log_other": (0, -x),
    }[formula]  # fmt: skip
    return arb(left if x < 0 else right)


CASES = [(s, dtype, neg) for s in SUBJECTS for dtype in (*HALVES, "float32") for neg in (False, True)]


@pytest.mark.parametrize(
    ("name", "dtype", "negative"), [c for c in CASES if SUBJECTS[c[0]].domain is Domain.ALL or not c[2]]
)
def test_values_and_bounds_are_the_oracle_s(name: str, dtype: str, negative: bool) -> None:
    subject, kind = SUBJECTS[name], FLOAT_TYPES[dtype]
    x = inputs_of(dtype, subject.domain, negative)
    x = x[:: max(len(x) // 150, 1)]
    sure, point, own = certified(subject, x, dtype), Point(x), bounds(subject, x, dtype)
    assert own.keys() == sure.keys() == {t.name for t in subject.targets}
    for target in subject.targets:
        found = sure[target.name]
        finite = np.isfinite(found.rounded)
        y = FORMULAS[target.formula](point)
        assert (np.isfinite(y) == finite).all()
        error = np.abs(y[finite] - found.rounded[finite])
        assert (error <= np.abs(found.rounded[finite]) * (ERROR + 2.0**-53) + 2.0**-1000).all()
        ours = allowed(own[target.name], found.rounded, kind)[finite]
        theirs = allowed(found.bound, found.rounded, kind)[finite]
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        ulp = np.array([kind.ulp(v) for v in found.rounded[finite]])
        assert (theirs >= target.least * ulp * (1 - 1e-12)).all(), "an error below is never judged"


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("dtype", [*HALVES, "float32"])
def test_what_is_recommended_is_what_the_definitions_read(name: str, dtype: str) -> None:
    subject, kind, patterns = SUBJECTS[name], FLOAT_TYPES[dtype], Patterns(dtype)
    x = np.concatenate([inputs_of(dtype, subject.domain, n) for n in patterns.signs(subject)])
    x = x[:: max(len(x) // 400, 1)]
    if subject.domain is Domain.ALL:
        x = np.append(x, [np.inf, -np.inf, np.nan])
    lax = recommended(subject, x, kind)
    for place, given in enumerate(x.tolist()):
        arrays = subject.arrays(np.array([given]))
        reading = definition(subject.function).read(arrays, subject.all_parameters, dtype)
        assert reading.defined
        assert (reading.level == "recommended") == lax[place], given
        for target in subject.targets:
            if target.source != "value":
                unasked = unspecified(subject, target, np.array([given]), kind)[0]
                assert reading.gradients != unasked, given


def test_rounding_is_decided_by_balls() -> None:
    """2**-24 − 2**-48 makes 1/(1 − p) miss a boundary of float32 by less than 2**-70."""
    subject = SUBJECTS["binary_cross_entropy/target-0"]
    p = float(np.float32(2.0**-24) - np.float32(2.0**-48))
    below, at = (rounded_to(subject, "gradients.probabilities", x, "float32") for x in (p, 2.0**-24))
    assert (below, at) == (1.0, 1 + 2.0**-23)


# -- tallies ----------------------------------------------------------------------------------------


def test_sums_are_exact_whatever_their_size() -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    for largest in (10.0, 2.0**20, 2.0**31):
        units = np.rint(generator.uniform(-largest, largest, 5000))
        whole = [int(u) for u in units]
        assert moments(units, largest) == (sum(whole), sum(u * u for u in whole))


def test_ranges_are_the_same_in_any_order() -> None:
    generator = np.random.Generator(np.random.PCG64(2))
    parts = [np.unique(generator.integers(0, 20_000, 30)) for _ in range(20)]
    parts = [part[~np.isin(part, np.concatenate([[-1], *parts[:i]]))] for i, part in enumerate(parts)]
    results = []
    for order in (parts, parts[::-1]):
        ranges = Ranges(64)
        for part in order:
            ranges.add(part, part.astype(np.float64))
        results.append(ranges.spans)
    assert results[0] == results[1]
    assert sum(s.count for s in results[0]) == len(np.concatenate(parts))
    assert all(b.first - a.last > 64 for a, b in itertools.pairwise(results[0]))


def test_a_step_between_ranges_is_seen() -> None:
    values = np.array([0.0, 1.0, 2.0, 1.5, 3.0], np.float32)
    for cut in range(1, 5):
        steps = Steps((0, 1), 1 << 15)
        steps.add(cut, values[cut:])
        steps.add(0, values[:cut])
        assert (steps.count, steps.first) == (1, 3)


# -- right and wrong implementations ------------------------------------------------------------------


class Right(Adapter):
    """The sigmoid in float64, rounded once; the mutants spoil what they are about."""

    name = "right"
    dtypes: ClassVar[tuple[str, ...]] = ("float16", "bfloat16", "float32")

    def power(self, size: Array) -> Array:
        return np.exp(-size)

    def exact(self, x: Array) -> Array:
        e = self.power(np.abs(x))
        return np.where(np.isnan(x), x, np.where(x >= 0, 1, e) / (1 + e))

    def rounded(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Rounded to nearest, once: float64 to bfloat16 at once."""
        kind = FLOAT_TYPES[dtype.name]
        ulp = np.maximum(np.exp2(np.floor(np.log2(np.maximum(np.abs(y), 1e-300)))), kind.smallest_normal)
        ulp *= 2.0 ** (1 - kind.precision)
        return (np.rint(y / ulp) * ulp).astype(dtype)

    def sigmoid(self, logits: Array) -> Array:
        return self.rounded(self.exact(logits.astype(np.float64)), logits.dtype)

    def value_and_gradients(
        self, function: Any, arrays: Any, wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        x = arrays["logits"].astype(np.float64)
        slope = self.exact(x) * self.exact(-x)
        return function(arrays["logits"]), {"logits": self.rounded(slope, arrays["logits"].dtype)}


class Flushes(Right):
    """Subnormal results become 0."""

    def rounded(self, y: Array, dtype: np.dtype[Any]) -> Array:
        result = super().rounded(y, dtype)
        small = np.abs(result.astype(np.float64)) < FLOAT_TYPES[dtype.name].smallest_normal
        return np.where(small, np.zeros_like(result), result)


class Truncates(Right):
    """Rounds toward 0."""

    def rounded(self, y: Array, dtype: np.dtype[Any]) -> Array:
        kind = FLOAT_TYPES[dtype.name]
        ulp = np.maximum(np.exp2(np.floor(np.log2(np.maximum(np.abs(y), 1e-300)))), kind.smallest_normal)
        ulp *= 2.0 ** (1 - kind.precision)
        return (np.trunc(y / ulp) * ulp).astype(dtype)


class BiasedExp(Right):
    """An exponential that is low by 2 u."""

    def power(self, size: Array) -> Array:
        return super().power(size) * (1 - 2.0**-10)


class OneWrong(Right):
    """9 ULP off at one input of 65,536."""

    def sigmoid(self, logits: Array) -> Array:
        result = super().sigmoid(logits)
        return np.where(logits == -3.5, result + result.dtype.type(9 * 2.0**-16), result)


class NotMonotone(Right):
    """Every fourth result around 2 is a unit too low."""

    def sigmoid(self, logits: Array) -> Array:
        result = super().sigmoid(logits)
        low = (np.abs(logits.astype(np.float64) - 2) < 0.25) & (logits.view(np.uint16) % 4 == 0)
        return np.where(low, result - result.dtype.type(2.0**-11), result)


class NotSymmetric(Right):
    """The slope of negative logits is formed another way."""

    def value_and_gradients(
        self, function: Any, arrays: Any, wrt: tuple[str, ...], *, cotangent: Any = None
    ) -> Any:
        value, slopes = super().value_and_gradients(function, arrays, wrt)
        plain = value * (value.dtype.type(1) - value)
        return value, {"logits": np.where(arrays["logits"] < 0, plain, slopes["logits"])}


class Infinite(Right):
    """Overflows where the result is 0, and forgets NaN."""

    def sigmoid(self, logits: Array) -> Array:
        result = super().sigmoid(logits)
        result = np.where(np.isnan(logits), result.dtype.type(0), result)
        return np.where(logits < -1000, result.dtype.type(np.nan), result)


def swept(adapter: Adapter, name: str = "sigmoid", dtype: str = "float16") -> Sweep:
    subject, found = SUBJECTS[name], empty(SUBJECTS[name], dtype)
    for first, last in Patterns(dtype).ranges(subject):
        merge(found, measure(adapter, Range(name, dtype, first, last)))
    return sweep_of(AdapterInfo("a", "a", "1", "cpu"), subject, dtype, found)


def outputs(adapter: Adapter, dtype: str = "float16") -> tuple[OutputReport, OutputReport]:
    value, slope = swept(adapter, dtype=dtype).outputs
    return value, slope


@pytest.mark.parametrize("dtype", HALVES)
def test_what_is_correctly_rounded_is_called_so(dtype: str) -> None:
    for output in outputs(Right(), dtype):
        assert output.inputs == 2**16 and output.measured == output.correct == output.faithful
        assert output.measured == 2 * Patterns(dtype).infinity
        assert output.worst is not None and abs(output.worst.error_ulp) <= 0.5
        assert not output.exceeded and not output.below and not output.flushed
        assert output.not_monotone.count == output.not_symmetric.count == 0
        assert sum(output.histogram) == output.measured


def test_flushed_subnormals_are_seen() -> None:
    value, slope = outputs(Flushes())
    # From the largest subnormal result on down to what rounds to 0 anyway.
    (span,) = value.flushed
    assert float(span.first.number) > -9.72 and float(span.last.number) < -17
    assert span.count == value.measured - value.correct
    assert not value.exceeded, "the specification permits it"
    assert len(slope.flushed) == 2


def test_truncation_is_seen() -> None:
    value, _ = outputs(Truncates())
    assert not value.exceeded, "every element is within its bound"
    assert value.correct < value.measured
    # Between −8 and −4 no exact value is a float16: half an ULP is lost on average.
    at = Patterns("float16").pattern(-4.0)
    for adapter, bias in ((Truncates(), -0.5), (Right(), 0.0)):
        (binade,) = (b for b in outputs(adapter)[0].binades if b.pattern == at)
        assert binade.sum / binade.count / 2**16 == pytest.approx(bias, abs=0.05)


def test_a_biased_exponential_is_seen() -> None:
    value, _ = outputs(BiasedExp())
    assert not value.exceeded
    right = outputs(Right())[0]
    at = Patterns("float16").pattern(-4.0)
    own, plain = (next(b for b in v.binades if b.pattern == at) for v in (value, right))
    assert own.sum / own.count / 2**16 < -1 < plain.sum / plain.count / 2**16
    assert value.correct < right.correct


def test_one_wrong_input_is_seen() -> None:
    value, slope = outputs(OneWrong())
    (span,) = value.exceeded
    assert (span.count, span.first.number, span.first) == (1, "-3.5", span.last)
    assert span.worst_ulp == pytest.approx(9, abs=0.5)
    assert value.worst is not None and value.worst.inputs[0].number == "-3.5"
    assert not slope.exceeded


def test_what_is_not_monotone_is_seen() -> None:
    value, _ = outputs(NotMonotone())
    assert value.not_monotone.count > 50 and value.not_monotone.first is not None
    assert 1.7 < float(value.not_monotone.first.number) < 2.3
    assert not value.exceeded


def test_what_is_not_symmetric_is_seen() -> None:
    _, slope = outputs(NotSymmetric())
    assert slope.not_symmetric.count > 1000


def test_wrong_infinities_and_nan_are_seen() -> None:
    value, _ = outputs(Infinite())
    # NaN of positive sign; and from −1000 on all numbers, with the NaN behind them.
    nan, below = value.exceeded
    assert (nan.first.number, nan.count) == ("nan", 2**10 - 1)
    assert float(below.first.number) < -1000 and below.last.number == "nan"
    assert below.count == 65_536 - int(below.first.bits, 16) - 1
    assert [span.first.number for span in value.below] == ["-inf"]
    assert sum(s.count for s in value.special) == sum(s.count for s in (*value.exceeded, *value.below))
    assert value.measured < 63_488


class Narrow(Right):
    """Gives float32 for float16, and has no gradient."""

    def sigmoid(self, logits: Array) -> Array:
        return super().sigmoid(logits).astype(np.float32)

    def value_and_gradients(self, *arguments: Any, **rest: Any) -> Any:
        raise Unsupported("there is none")


def test_what_is_not_measured_says_why() -> None:
    value, slope = outputs(Narrow())
    assert value.problem == "dtype float32 where float16 is due" and value.unanswered == 2**16
    assert slope.problem == "unsupported: there is none" and not slope.measured


@pytest.mark.parametrize("name", SUBJECTS)
def test_numpy_is_swept_in_every_function(name: str) -> None:
    from lossproof.adapters.numpy import NumpyAdapter

    sweep = swept(NumpyAdapter(), name)
    assert not sweep.exceeding
    for output in sweep.outputs:
        assert not output.problem and output.inputs == output.histogram[0] + sum(output.histogram[1:]) + (
            output.inputs - output.measured
        )
        assert output.measured >= output.faithful >= output.correct > 0.9 * output.measured


def test_ranges_add_up_to_the_same_in_any_order() -> None:
    """Parts of a float32 sweep, merged forwards, backwards and shuffled; JSON and all."""
    import msgspec

    subject = SUBJECTS["sigmoid"]
    parts = [(k << 18, (k + 1) << 18) for k in (4060, 4061, 4080, 4112, 4140)]
    measured = [measure(Right(), Range("sigmoid", "float32", *part)) for part in parts]
    texts = [msgspec.json.encode(tallies) for tallies in measured]
    found = set()
    for seed in range(4):
        order = texts[:]
        random.Random(seed).shuffle(order)
        total = empty(subject, "float32")
        for text in order:
            merge(total, msgspec.json.decode(text, type=dict[str, Tally]))
        info = AdapterInfo("a", "a", "1", "cpu")
        found.add(msgspec.json.encode(sweep_of(info, subject, "float32", total)))
    assert len(found) == 1


def test_every_number_of_a_dtype_is_in_one_range() -> None:
    for dtype in (*HALVES, "float32"):
        patterns = Patterns(dtype)
        for subject in SUBJECTS.values():
            ends = patterns.ranges(subject)
            assert ends[0][0] == 0
            assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
            last = patterns.sign if subject.domain is Domain.ALL else patterns.one + 1
            assert ends[-1][1] == last


# -- the search ---------------------------------------------------------------------------------------


class OneWrong64(Right):
    """Wrong around one float64: no sample hits it, and a descent does."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)

    def rounded(self, y: Array, dtype: np.dtype[Any]) -> Array:
        return y

    def sigmoid(self, logits: Array) -> Array:
        y = self.exact(logits)
        return y * (1 + 2.0**-46 * np.exp(-((logits - 1.25) ** 2)))


def test_a_search_descends_to_the_worst_input() -> None:
    searched = search.of_one(SUBJECTS["sigmoid"])
    info = AdapterInfo("a", "a", "1", "cpu")
    sweep = search.worst(OneWrong64(), info, searched, "float64", 400, 1)
    assert sweep.method == "search" and sweep.exceeding
    worst = sweep.outputs[0].worst
    assert worst is not None and abs(worst.error_ulp) > 60 and float(worst.inputs[0].number) > 0
    again = search.worst(OneWrong64(), info, searched, "float64", 400, 1)
    assert again == sweep, "a seed gives the same"


@pytest.mark.parametrize("name", search.SUBJECTS)
def test_two_variables_are_searched(name: str) -> None:
    from lossproof.adapters.numpy import NumpyAdapter

    info = AdapterInfo("numpy", "numpy", "1", "cpu")
    sweep = search.worst(NumpyAdapter(), info, search.SUBJECTS[name], "float32", 150, 3)
    assert all(output.measured and output.worst for output in sweep.outputs)
    assert not sweep.exceeding
    assert all(len(output.worst.inputs) == 2 for output in sweep.outputs if output.worst)


# -- the command ----------------------------------------------------------------------------------------


def test_the_command_writes_a_file_of_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.json"
    arguments = ["sweep", "-a", "numpy", "-f", "sigmoid", "-f", "l2_loss", "-d", "float16", "-o", str(file)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "worst ULP" in out and "gradients.prediction" in out
    document = json.loads(file.read_text(encoding="utf-8"))
    schema = json.loads((folder("spec") / "sweeps.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    assert [s["subject"] for s in document["sweeps"]] == ["sigmoid", "l2_loss/target-0"]
    assert not file.with_name("s.json.ranges").exists()


FAULTY = """
from lossproof.adapters.numpy import NumpyAdapter

class Faulty(NumpyAdapter):
    name = "faulty"

    def sigmoid(self, logits):
        return logits
"""


def test_a_wrong_backend_in_a_process_of_its_own_gives_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = tmp_path / "faulty.py"
    adapter.write_text(FAULTY, encoding="utf-8")
    assert main(["sweep", "-a", str(adapter), "-f", "sigmoid", "-d", "float16"]) == 1
    assert "exceeds the bound" in capsys.readouterr().out


def test_a_sweep_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured is not measured again, and a line that was cut off is."""
    from lossproof.sweeps import execute

    whole, file = tmp_path / "whole.json", tmp_path / "s.json"
    arguments = ["sweep", "-a", "numpy", "-f", "sigmoid", "-d", "float16", "-d", "bfloat16", "-o"]
    assert main([*arguments, str(whole)]) == 0
    perform, calls = execute.perform, []

    def interrupted(task: execute.Task) -> bytes:
        calls.append(task.range)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return perform(task)

    monkeypatch.setattr(execute, "perform", interrupted)
    assert main([*arguments, str(file)]) == 130
    assert "--resume" in capsys.readouterr().err and not file.exists()
    left = file.with_name("s.json.ranges")
    with left.open("ab") as journal:
        journal.write(b'{"adapter": {"na')
    assert main([*arguments, str(file), "--resume"]) == 0
    assert len(calls) == 3 + 2, "four ranges, two of them done before"
    assert file.read_bytes() == whole.read_bytes()
    assert not left.exists()


def test_processes_give_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / "1.json", tmp_path / "2.json"]
    for jobs, file in enumerate(files, 1):
        arguments = ["sweep", "-a", "numpy", "-f", "log_sigmoid", "-d", "float16", "-o", str(file)]
        assert main([*arguments, "--jobs", str(jobs)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("scheduler", [None, "local"])
def test_ranges_of_lost_workers_run_again(
    scheduler: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if scheduler:
        pytest.importorskip("distributed")
    files = [tmp_path / "here.json", tmp_path / "spread.json"]
    where = ["--scheduler", scheduler] if scheduler else []
    adapter = [dying(tmp_path, 1), "--no-isolate", "--jobs", "2", *where]
    for choice, file in zip((["numpy"], adapter), files, strict=True):
        assert main(["sweep", "-f", "sigmoid", "-d", "float16", "-o", str(file), "-a", *choice]) == 0
    here, spread = (json.loads(file.read_text(encoding="utf-8"))["sweeps"] for file in files)
    assert [sweep["outputs"] for sweep in here] == [sweep["outputs"] for sweep in spread]
    assert len(list((tmp_path / "marks").iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_worker_that_always_dies_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = dying(tmp_path, 1000)
    assert (
        main(["sweep", "-a", adapter, "--no-isolate", "-f", "sigmoid", "-d", "float16", "--jobs", "2"]) == 2
    )
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "died 3 times" in line and "--isolate" in line


def test_a_scheduler_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    arguments = ["sweep", "-a", "numpy", "-f", "sigmoid", "-d", "float16", "--scheduler"]
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        assert main([*arguments, address]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert f"--scheduler {address}: no scheduler answers there" in line


def test_dask_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    files = [tmp_path / "here.json", tmp_path / "dask.json"]
    arguments = ["sweep", "-a", "numpy", "-f", "log_sigmoid", "-d", "float16", "-d", "bfloat16", "-o"]
    assert main([*arguments, str(files[0])]) == 0
    assert main([*arguments, str(files[1]), "--scheduler", "local", "--jobs", "2"]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-a", "numpy", "-f", "euclidean_distance"], "no function of one variable"),
        (["-a", "numpy", "-f", "sigmid"], "did you mean 'sigmoid'"),
        (["-a", "numpy", "--two", "-f", "sigmoid"], "no form of two variables"),
        (["-a", "numpy", "-d", "float17"], "unknown dtype 'float17'"),
        (["-a", "numpie"], "did you mean 'numpy'"),
        (["-f", "sigmoid"], "sweep takes --adapter"),
        (["-a", "numpy", "--resume"], "--resume needs --json"),
        (["-a", "numpy", "-o", "/absent/s.json"], "folder does not exist"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1


def test_a_dtype_that_a_backend_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = tmp_path / "narrow.py"
    adapter.write_text(FAULTY + '    dtypes = ("float32",)\n', encoding="utf-8")
    assert main(["sweep", "-a", str(adapter), "--no-isolate", "-f", "sigmoid", "-d", "float16"]) == 1
    assert "does not list float16" in capsys.readouterr().out


def test_choosing() -> None:
    assert [s.name for s in choose(["binary_cross_entropy"])] == [
        "binary_cross_entropy/target-0", "binary_cross_entropy/target-1",
    ]  # fmt: skip
    assert [s.name for s in choose([])] == [*SUBJECTS]
    with pytest.raises(LossproofError, match="one variable"):
        choose(["pspnet_loss"])


# -- one function under test ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALVES)
def test_a_kernel_is_swept(dtype: str) -> None:
    adapter = Right()

    def slope(v: Array, x: Array) -> Array:
        _, slopes = adapter.value_and_gradients(adapter.sigmoid, {"logits": x}, ("logits",))
        return np.asarray(slopes["logits"])

    (found,) = lossproof.sweep(adapter.sigmoid, "sigmoid", gradient=slope, dtype=dtype)
    assert [output.correct for output in found.outputs] == [2 * Patterns(dtype).infinity] * 2
    (found,) = lossproof.sweep(adapter.sigmoid, "sigmoid", dtype=dtype)
    assert found.outputs[1].problem.startswith("unsupported")


def test_a_wrong_kernel_is_told_where() -> None:
    with pytest.raises(AssertionError) as error:
        lossproof.sweep(OneWrong().sigmoid, "sigmoid")
    lines = str(error.value).splitlines()
    assert "worst at -3.5 (0xc300)" in lines[2] and "ULP" in lines[2]
    assert lines[3].strip().startswith("from -3.5 to -3.5: 1 input")


def test_a_kernel_of_torch_is_swept() -> None:
    torch = pytest.importorskip("torch")
    (found,) = lossproof.sweep(torch.sigmoid, "sigmoid", framework="torch", dtype="bfloat16")
    assert all(output.measured == 2 * Patterns("bfloat16").infinity for output in found.outputs)


def test_what_cannot_be_swept_is_refused() -> None:
    def raises(logits: Array) -> Array:
        raise ValueError("no")

    with pytest.raises(AssertionError, match="raised ValueError: no"):
        lossproof.sweep(raises, "sigmoid")
    with pytest.raises(LossproofError, match="unknown dtype"):
        lossproof.sweep(raises, "sigmoid", dtype="float64")
    with pytest.raises(LossproofError, match="one variable"):
        lossproof.sweep(raises, "pspnet_loss")

    def refuses(logits: Array) -> Array:
        raise Unsupported("not today")

    with pytest.raises(LossproofError, match="nothing was measured: unsupported: not today"):
        lossproof.sweep(refuses, "sigmoid")


# -- the committed sweeps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sweep_results.files(), ids=lambda p: p.name)
def test_committed_sweeps_follow_the_schema_and_are_whole(file: Path) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))
    schema = json.loads((folder("spec") / "sweeps.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    for sweep in read(file).sweeps:
        assert sweep.method == "every input"
        name = f"{sweep.adapter.name}-{sweep.adapter.version.partition('+')[0]}"
        assert file.stem == (f"{name}-float32" if sweep.dtype == "float32" else name)
        subject, patterns = SUBJECTS[sweep.subject], Patterns(sweep.dtype)
        special = 2 * (patterns.sign - patterns.infinity) if subject.domain is Domain.ALL else 0
        for output in sweep.outputs:
            assert output.inputs == patterns.inputs(subject) + special or output.problem
            assert sum(output.histogram) == output.measured


def test_the_page_of_results_is_current() -> None:
    found = sweep_results.page(sweep_results.sweeps())
    assert sweep_results.PAGE.read_text(encoding="utf-8") == found, "python -m tests.sweep_results --write"


def test_every_broken_bound_has_its_cases() -> None:
    """What a sweep finds beyond a bound is kept by cases, and a row of the page says by which."""
    ids = {case.id for case in load_cases()}
    for finding in sweep_results.FINDINGS:
        assert set(finding.cases) <= ids
    found = [
        (sweep, output) for sweep in sweep_results.sweeps() for output in sweep.outputs if output.exceeded
    ]
    assert found
    for sweep, output in found:
        row = (sweep.adapter.name, sweep.dtype, sweep.subject, output.output)
        assert any(finding.covers(sweep, output) for finding in sweep_results.FINDINGS), row
    for finding in sweep_results.FINDINGS:
        assert any(finding.covers(sweep, output) for sweep, output in found), finding


def test_a_committed_sweep_is_what_is_measured_today() -> None:
    """NumPy's float16 results do not depend on the processor: they are float32's, rounded once more."""
    file = sweep_results.FOLDER / f"numpy-{np.__version__}.json"
    if not file.exists():
        pytest.skip("the committed sweeps are of another NumPy")
    from lossproof.adapters.numpy import NumpyAdapter

    (committed,) = (s for s in read(file).sweeps if (s.subject, s.dtype) == ("l2_loss/target-0", "float16"))
    assert swept(NumpyAdapter(), "l2_loss/target-0").outputs == committed.outputs
