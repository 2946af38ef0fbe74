"""Verdicts: what an adapter may do, and what becomes of it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof import Adapter, Unsupported
from lossproof.core.verdicts import Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.errors import InputError, LossproofError
from lossproof.isolation.load import load_adapter
from lossproof.registry.deviations import Deviations, load_deviations
from lossproof.registry.find import BUILTIN
from tests.own_cases import every_case

CASES = {case.id: case for case in every_case()}
NONE = Deviations([], "", "", "")
SIGMOID = "sigmoid/ordinary/moderate"


def verdicts(adapter: Adapter, case: str = SIGMOID, deviations: Deviations = NONE) -> dict[str, Record]:
    rows = run_case(adapter, "test", CASES[case], "float32", deviations)
    return {row.output: row for row in rows}


def adapter(function: Any) -> Adapter:
    made: Adapter = type("Test", (NumpyAdapter,), {"sigmoid": function})()
    return made


def test_pass() -> None:
    rows = verdicts(NumpyAdapter())
    assert {row.verdict for row in rows.values()} == {Verdict.PASS}
    assert rows["value"].error is not None and rows["value"].error_ulp is not None


def test_fail_names_the_worst_element() -> None:
    rows = verdicts(adapter(lambda self, logits: logits))
    assert rows["value"].verdict is Verdict.FAIL and "worst at [0]: -2" in rows["value"].message


def test_wrong_shape_dtype_and_type() -> None:
    wrong = {
        "shape (1, 4)": lambda self, x: NumpyAdapter.sigmoid(self, x)[None],
        "dtype float64": lambda self, x: NumpyAdapter.sigmoid(self, x).astype(np.float64),
        "NumPy array": lambda self, x: NumpyAdapter.sigmoid(self, x),
    }
    for message, function in wrong.items():
        tested = adapter(function)
        if message == "NumPy array":
            tested.to_numpy = lambda array: array.tolist()  # type: ignore[method-assign]
        row = verdicts(tested)["value"]
        due = Verdict.ERROR if message == "NumPy array" else Verdict.FAIL
        assert row.verdict is due and message in row.message


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), MemoryError(), RecursionError()])
def test_an_error_costs_its_outputs_alone(error: BaseException) -> None:
    def sigmoid(self: Any, logits: Any) -> Any:
        raise error

    rows = verdicts(adapter(sigmoid))
    assert {row.verdict for row in rows.values()} == {Verdict.ERROR}
    assert type(error).__name__ in rows["value"].message


def test_an_error_in_the_gradient_leaves_the_value() -> None:
    class Broken(NumpyAdapter):
        def value_and_gradients(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no backward")

    rows = verdicts(Broken())
    assert rows["value"].verdict is Verdict.PASS
    assert rows["gradients.logits"].verdict is Verdict.ERROR


def test_unsupported_function_call_dtype_and_gradients() -> None:
    class Few(Adapter):
        dtypes = ("float32",)

        def sigmoid(self, logits: Any) -> Any:
            return NumpyAdapter().sigmoid(logits)

        def softmax(self, logits: Any, *, axis: int) -> Any:
            raise Unsupported("only on Sundays")

    rows = verdicts(Few())
    assert rows["value"].verdict is Verdict.PASS
    assert rows["gradients.logits"].verdict is Verdict.UNSUPPORTED
    assert verdicts(Few(), "softmax/ordinary/vector")["value"].message == "only on Sundays"
    assert "no l2_loss" in verdicts(Few(), "l2_loss/ordinary/elements")["value"].message
    (row, *_) = run_case(Few(), "test", CASES[SIGMOID], "float16", NONE)
    assert row.verdict is Verdict.UNSUPPORTED and "float16" in row.message


def test_raising_is_a_variant_where_permitted() -> None:
    rows = verdicts(NumpyAdapter(), "sparse_softmax_cross_entropy/invalid/negative")
    assert rows["value"].verdict is Verdict.VARIANT and rows["value"].variant == "raises"


def test_a_named_outcome_and_a_flushed_result_are_variants() -> None:
    class Nan(NumpyAdapter):
        def softmax(self, logits: Any, *, axis: int) -> Any:
            return np.full_like(logits, np.nan)

    row = verdicts(Nan(), "softmax/special/plus-infinity")["value"]
    assert (row.verdict, row.variant) == (Verdict.VARIANT, "nan-row")

    class Flush(NumpyAdapter):
        def sigmoid(self, logits: Any) -> Any:
            y = super().sigmoid(logits)
            return np.where(y < 1e-37, np.float32(0), y)

    row = verdicts(Flush(), "sigmoid/tails/subnormal-float32")["value"]
    assert (row.verdict, row.variant) == (Verdict.VARIANT, "flushes-subnormals")


def test_missing_a_recommended_case_is_below() -> None:
    row = verdicts(adapter(lambda self, x: np.nan * x), "sigmoid/special/infinities")["value"]
    assert row.verdict is Verdict.BELOW


def test_inputs_are_fresh_for_every_call() -> None:
    def sigmoid(self: Any, logits: Any) -> Any:
        result = NumpyAdapter.sigmoid(self, logits)
        logits[...] = 0
        return result

    tested = adapter(sigmoid)
    assert verdicts(tested)["value"].verdict is Verdict.PASS
    assert verdicts(tested)["value"].verdict is Verdict.PASS


# -- deviations -------------------------------------------------------------------------------

DEVIATIONS = """\
deviations:
  - id: wrong
    clause: SG-1
    condition: 'always'
    observed: 'x'
    expected: 'y'
    versions: '>=1.0'
    upstream: none known
    where:
      - cases: [sigmoid/ordinary/moderate]
        outputs: [value]
"""


def deviations(tmp_path: Path, text: str = DEVIATIONS, version: str = "1.5+cpu") -> Deviations:
    path = tmp_path / "test.deviations.yaml"
    path.write_text(text, encoding="utf-8")
    return Deviations(load_deviations(path), "test", version, "cpu")


def test_a_listed_failure_is_a_deviation(tmp_path: Path) -> None:
    rows = verdicts(adapter(lambda self, x: x), deviations=deviations(tmp_path))
    assert rows["value"].verdict is Verdict.DEVIATION
    assert rows["gradients.logits"].verdict is Verdict.PASS


def test_a_deviation_that_no_longer_deviates_fails(tmp_path: Path) -> None:
    rows = verdicts(NumpyAdapter(), deviations=deviations(tmp_path))
    assert rows["value"].verdict is Verdict.FAIL
    assert "remove it from test.deviations.yaml:2" in rows["value"].message


def test_a_deviation_applies_to_its_versions_only(tmp_path: Path) -> None:
    rows = verdicts(adapter(lambda self, x: x), deviations=deviations(tmp_path, version="0.9"))
    assert rows["value"].verdict is Verdict.FAIL


def test_a_deviation_of_an_unknown_case_is_refused(tmp_path: Path) -> None:
    listed = deviations(tmp_path, DEVIATIONS.replace("ordinary/moderate", "ordinary/moderat"))
    with pytest.raises(InputError, match=r"no case 'sigmoid/ordinary/moderat'.*did you mean"):
        listed.check_ids(CASES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("SG-1", "SG-77", "no clause"),
        (">=1.0", "about 1", "PEP 440|range like"),
        ("    upstream: none known\n", "", "lacks the field 'upstream'"),
        ("[value]", "value", "must be a list"),
        ("id: wrong", "idd: wrong", "unknown field 'idd'"),
    ],
)
def test_bad_deviations_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        deviations(tmp_path, DEVIATIONS.replace(old, new))


# -- finding adapters -------------------------------------------------------------------------


def write(tmp_path: Path, text: str, name: str = "mine.py") -> str:
    path = tmp_path / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return str(path)


def test_every_builtin_loads_or_says_why_not() -> None:
    for name in ("numpy", "torch-cuda", "optax"):
        assert name in BUILTIN
        loaded = load_adapter(name)
        assert loaded.info.name == name
        assert (loaded.adapter is None) == bool(loaded.info.skipped)


def test_an_adapter_by_path_inherits_deviations_of_what_it_does_not_override(
    tmp_path: Path,
) -> None:
    (tmp_path / "base_backend.py").write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\n"
        "class Base(NumpyAdapter):\n    name = 'base'\n    version = '1.0'\n"
        "    def sigmoid(self, logits): return logits\n"
        "    def softmax(self, logits, *, axis): return logits\n",
        encoding="utf-8",
    )
    (tmp_path / "base_backend.deviations.yaml").write_text(
        DEVIATIONS.replace(
            "cases: [sigmoid/ordinary/moderate]",
            "cases: [sigmoid/ordinary/moderate, softmax/ordinary/vector]",
        ),
        encoding="utf-8",
    )
    path = write(
        tmp_path,
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from base_backend import Base
        class Mine(Base):
            name = "mine"
            def sigmoid(self, logits): return logits + 1
        """,
    )
    loaded = load_adapter(path)
    assert loaded.info.name == "mine"
    assert loaded.deviations.find("softmax/ordinary/vector", "float32", "value") is not None
    assert loaded.deviations.find("sigmoid/ordinary/moderate", "float32", "value") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import absent_module_x", r"mine.py:1: the adapter fails to import: ModuleNotFoundError"),
        ("x = 1\ndef f(:\n", r"mine.py:2: the adapter fails to import: SyntaxError"),
        ("x = 1", "defines no subclass"),
        (
            "from lossproof import Adapter\nclass A(Adapter): pass\nclass B(Adapter): pass",
            "several adapters; give one of A, B",
        ),
        (
            "from lossproof import Adapter\nclass A(Adapter):\n    def __init__(self): 1 / 0",
            "its constructor fails: ZeroDivisionError",
        ),
    ],
)
def test_a_bad_adapter_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LossproofError, match=message):
        load_adapter(str(path))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("numpie", "did you mean 'numpy'"),
        ("absent/file.py", "no such adapter file"),
        ("absent_module_x:Thing", "fails to import"),
        ("lossproof.adapters.numpy:Thing", "not a subclass"),
    ],
)
def test_an_unknown_adapter_is_refused(reference: str, message: str) -> None:
    with pytest.raises(LossproofError, match=message):
        load_adapter(reference)


# -- isolation --------------------------------------------------------------------------------
