"""The fuzzer: what it draws, how it judges, what it writes, and that its laws can be broken."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.adapter import ALL_DTYPES
from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.cli.main import main
from lossproof.core.functions import FUNCTIONS
from lossproof.engine.call import ask
from lossproof.fuzz import laws
from lossproof.fuzz.search import Search
from lossproof.fuzz.store import exact_number, write_case
from lossproof.isolation.load import load_adapter
from lossproof.oracle.certify import certify_case, expect
from lossproof.oracle.definitions import definition
from tests.own_cases import quick_cases

CLIPPED = """
import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

class Clipped(NumpyAdapter):
    name = "clipped"

    def sigmoid(self, logits):
        return np.clip(super().sigmoid(logits), 1e-7, 1).astype(logits.dtype)
"""


@pytest.fixture
def clipped(tmp_path: Path) -> str:
    file = tmp_path / "clipped.py"
    file.write_text(CLIPPED)
    return str(file)


def test_nothing_is_found_on_the_reference() -> None:
    search = Search(load_adapter("numpy"), list(FUNCTIONS), ALL_DTYPES, seed=7)
    found = [f"{f.signature}: {f.message}" for f in search.run(15)]
    assert not found
    assert search.statistics.cases > 0
    assert search.statistics.laws > 0


def test_subnormal_probabilities_do_not_convict_the_reference() -> None:
    names = ["cross_entropy", "binary_cross_entropy", "mask_rcnn_mask_loss"]
    search = Search(load_adapter("numpy"), names, ALL_DTYPES, recommended=True, seed=7)
    assert not [f"{f.signature}: {f.message}" for f in search.run(10)]
    assert search.statistics.cases > 0


def test_a_mistake_is_found_shrunk_and_stored(clipped: str, tmp_path: Path) -> None:
    search = Search(load_adapter(clipped), ["sigmoid"], ["float64"])
    finding = next(search.run(600))
    assert finding.signature.function == "sigmoid"
    # One element, or two or three from which no step of Hypothesis leads to one: what it draws depends on
    # the constants of the modules that are loaded.
    assert finding.case.exact_arrays["logits"].size <= 3
    path = write_case(finding, tmp_path / "found")
    (case,) = load_file(path)
    assert case.expected is not None
    assert not certify_case(case).differences
    assert case.clause == finding.case.clause
    assert main(["run", str(path), "--adapter", clipped]) == 1
    assert main(["run", str(path), "--adapter", "numpy"]) == 0
    # Another search keeps what the first one found.
    assert write_case(finding, tmp_path / "found") != path


def test_a_row_that_fails_alone_is_the_finding(clipped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Hypothesis draws nothing simpler than several rows."""
    case = next(case for case in quick_cases() if case.id == "sigmoid/ordinary/moderate")
    logits = np.array([26.375, 2.578125, -26.875])
    drawn = replace(case, dtypes=("float64",), inputs={"logits": logits}, expected=None, tolerances={})
    monkeypatch.setattr("lossproof.fuzz.strategies.cases", lambda function, dtype: st.just(drawn))
    finding = next(Search(load_adapter(clipped), ["sigmoid"], ["float64"]).run(600))
    assert finding.case.exact_arrays["logits"].tolist() == [-26.875]


def test_the_command_reports_and_exits(
    clipped: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    arguments = ["fuzz", "--adapter", clipped, "--function", "sigmoid", "--dtype", "float32"]
    assert main([*arguments, "--seconds", "3", "--out", str(out)]) == 1
    text = capsys.readouterr().out
    assert "cases/s" in text
    assert "1e-07" in text
    assert list(out.rglob("*.yaml"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--adapter", "numpy", "--function", "sigmod"], "did you mean 'sigmoid'"),
        (["--adapter", "numpy", "--dtype", "float31"], "unknown dtype"),
        (["--adapter", "nope.py"], "nope.py"),
    ],
)
def test_bad_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--seconds", "1", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(
    clipped: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["fuzz", "-a", clipped, "-f", "sigmoid", "-s", "20", "-o", str(blocked)]) == 2
    assert "the folder cannot be made" in capsys.readouterr().err


@pytest.mark.parametrize("value", [0.1, -0.0, 0.0, 3.0, 1e-45, 5e-324, 1.5, -2.25, 1e22, 2.0**-126])
def test_numbers_are_written_exactly(value: float, tmp_path: Path) -> None:
    file = tmp_path / "exact.yaml"
    file.write_text(
        "function: sigmoid\nabout: exact.\ncases:\n  - id: x\n    clause: SG-1\n    level: required\n"
        f"    why: exact\n    dtypes: [float64]\n    inputs: {{logits: [{exact_number(value)}]}}\n"
    )
    (case,) = load_file(file)
    (read_back,) = case.exact_arrays["logits"]
    assert read_back == value
    assert np.signbit(read_back) == np.signbit(value)


UNWEIGHTED = {"weight": None}
READINGS: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("sigmoid", {"logits": [0.5]}, {}, "float32", "SG-2 required"),
    ("sigmoid", {"logits": [np.inf]}, {}, "float32", "SG-3 recommended"),
    ("sigmoid", {"logits": [2.0**-130]}, {}, "float32", "G-8 recommended"),
    ("sigmoid", {"logits": [2.0**-130]}, {}, "float64", "SG-2 required"),
    ("binary_cross_entropy", {"probabilities": [0], "target": [1]}, UNWEIGHTED, "float32", "BCE-3 required"),
    ("binary_cross_entropy", {"probabilities": [0], "target": [0]}, UNWEIGHTED, "float32", "BCE-2 required"),
    (
        "sparse_softmax_cross_entropy",
        {"logits": [[0.0, 1.0]], "labels": [5]},
        {"axis": -1, "weight": None, "ignore_index": None, "label_smoothing": 0.0, "reduction": "mean"},
        "float32",
        "CE-9 required",
    ),
    (
        "sparse_softmax_cross_entropy",
        {"logits": [[0.0, 1.0]], "labels": [5]},
        {"axis": -1, "weight": None, "ignore_index": 5, "label_smoothing": 0.0, "reduction": "mean"},
        "float32",
        "CE-8 required",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arrays", "parameters", "dtype", "expected"), READINGS)
def test_the_clause_is_read_off_the_data(
    function: str, arrays: Mapping[str, Any], parameters: Mapping[str, Any], dtype: str, expected: str
) -> None:
    given = {name: np.asarray(a, np.int64 if name == "labels" else np.float64) for name, a in arrays.items()}
    reading = definition(function).read(given, parameters, dtype)
    assert f"{reading.clause} {reading.level}" == expected


# -- laws -------------------------------------------------------------------------------------

EXAMPLES = {
    "shift invariance": "softmax/ordinary/three-classes",
    "permutation": "l2_loss/ordinary/elements",
    "rows sum to one, gradient rows to zero": "softmax/ordinary/three-classes",
    "splitting a batch": "l2_loss/ordinary/elements",
    "ignored elements replaced": "sparse_softmax_cross_entropy/ignored/one-of-three",
    "integer labels against one-hot": "sparse_softmax_cross_entropy/ordinary/two-rows",
    "probabilities against logits": "sigmoid_cross_entropy/range/confident",
}


def measured(case: Case, factor: float = 1.0) -> laws.Measured:
    found = expect(case)
    case = replace(case, expected=found.outputs, tolerances=found.tolerances)
    with np.errstate(all="ignore"):
        answer = ask(NumpyAdapter(), case, "float64")
    assert not answer.raised
    measures: dict[str, tuple[laws.Array, laws.Array]] = {}
    for name, bound in found.tolerances.items():
        expected = found.outputs[name]
        assert isinstance(expected, np.ndarray), "an example is small"
        value = np.asarray(answer.outputs[name], np.float64) * factor
        measures[name] = (value, laws.allowance(expected, bound, "float64"))
    return measures


def example(law: str) -> Case:
    by_id = {case.id: case for case in quick_cases()}
    return replace(by_id[EXAMPLES[law]], dtypes=("float64",))


@pytest.mark.parametrize("law", laws.LAWS)
def test_a_law_holds_on_the_reference_and_can_be_broken(law: str) -> None:
    case = example(law)
    check = laws.LAWS[law]
    assert check(case, measured(case), measured, np.random.default_rng(3)) is None
    if law.startswith("rows"):
        assert check(case, measured(case, 1.01), measured, np.random.default_rng(3))
    else:
        wrong = lambda other: measured(other, 1.01)  # noqa: E731
        assert check(case, measured(case), wrong, np.random.default_rng(3))


FAULTY = """
import os, time
from lossproof.adapters.numpy import NumpyAdapter

class Faulty(NumpyAdapter):
    name = "faulty"

    def sigmoid(self, logits):
        if logits.size and logits.max() > 3:
            {fault}
        return super().sigmoid(logits)
"""


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("os._exit(0)", "crash", "exit status 0"),
        ("os.abort()", "crash", "SIGABRT"),
        ("time.sleep(600)", "timeout", "no answer within 0.5 s"),
    ],
)
def test_a_crash_and_a_hang_are_found_with_their_inputs_and_the_search_goes_on(
    fault: str, kind: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "faulty.py", tmp_path / "found"
    file.write_text(FAULTY.format(fault=fault))
    arguments = ["fuzz", "-a", str(file), "-f", "sigmoid", "-f", "softmax", "-d", "float64", "-o", str(out)]
    start = time.monotonic()
    assert main([*arguments, "--seconds", "12", "--timeout", "0.5"]) == 1
    # What is begun ends: starting a process, and certifying what was found.
    assert time.monotonic() - start < 60
    text = capsys.readouterr().out
    assert says in text
    assert "cases/s" in text
    found = [path for path in out.rglob("*.yaml") if kind in path.stem]
    assert found
    for path in found:
        (case,) = load_file(path)
        assert case.exact_arrays["logits"].max() > 3


def test_a_call_that_the_end_of_the_search_cuts_short_is_no_hang(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "slow.py"
    file.write_text(FAULTY.format(fault="time.sleep(600)"))
    arguments = ["fuzz", "-a", str(file), "-f", "sigmoid", "-o", str(tmp_path / "found")]
    start = time.monotonic()
    assert main([*arguments, "--seconds", "3", "--timeout", "500"]) == 0
    assert time.monotonic() - start < 60
    assert "0 new findings" in capsys.readouterr().out


def test_shrinking_ends_with_the_search(clipped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(load_adapter(clipped), ["sigmoid"], ["float64"])
    ends: list[float] = []

    def size(case: Case) -> tuple[int, int]:
        ends.append(search._stop_at - search._end)
        return 1, 1

    monkeypatch.setattr("lossproof.fuzz.search._size", size)
    assert [*search.run(2)]
    assert ends and max(ends) <= 0
