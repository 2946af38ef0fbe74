"""``lossproof verify``: what honest runs gave passes, and what no run can have given is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lossproof.case import suite
from lossproof.case.suite import Manifest
from lossproof.cli.main import main
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.results import verify
from lossproof.results.file import Results, read_json
from lossproof.results.folder import renew
from tests.hostile import HOSTILE, shows

RESULTS = Path(__file__).parent.parent / "results"
CASES = [
    "softmax/special", "softmax/range", "softmax/ordinary", "softmax/remainders", "sigmoid/ordinary",
    "sparse_softmax_cross_entropy/ignored", "sparse_softmax_cross_entropy/invalid",
    "binary_cross_entropy/limits", "pspnet_predict/argmax",
]  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The reference's, whose outputs are all right."""
    path = tmp_path_factory.mktemp("honest") / "r.json"
    assert main(["run", "-a", "numpy", "--json", str(path), *CASES]) == 0
    return read_json(path)


Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Verify results; exit status, the last line, and what is said before it."""

    def checked(results: Results, *words: str) -> tuple[int, str, str]:
        path = tmp_path / "r.json"
        results.to_json(path)
        status = main(["verify", str(path), *words])
        out, err = capsys.readouterr()
        problems, _, last = f"\n{out.rstrip()}".rpartition("\n")
        return status, last, problems.removeprefix("\n") + "\n" * bool(problems) + err

    return checked


def test_what_is_committed_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs of many backends, right and wrong, whose verdicts nobody made up."""
    assert main(["verify", str(RESULTS)]) == 0
    out, err = capsys.readouterr()
    assert err == "" and len(out.splitlines()) == len(list(RESULTS.glob("*.json")))
    assert all(line.endswith("0 problems") for line in out.splitlines())


def test_a_run_can_be_and_its_summary_too(honest: Results, check: Check, tmp_path: Path) -> None:
    status, out, err = check(honest)
    assert (status, err) == (0, "")
    assert f"{len(honest)} outputs" in out and str(suite.suite()) in out and "0 problems" in out
    assert int(out.split(" judged again")[0].rsplit(" ", 1)[1]) > 100
    path = renew(tmp_path, honest.adapters[0], honest.records, all_cases=False, dtypes=(), cases="chosen")
    assert main(["verify", str(path)]) == 0


def first(results: Results, wanted: Callable[[Record], bool]) -> Record:
    return next(record for record in results.records if wanted(record))


def of_case(case: str, output: str = "value", dtype: str = "float32") -> Callable[[Record], bool]:
    return lambda record: (record.case, record.output, record.dtype) == (case, output, dtype)


VECTOR = of_case("softmax/ordinary/vector")
NAN = of_case("softmax/special/nan-first")
NOT_RIGHT, NO_VARIANT = "pass, but what it keeps is not right", "no variant that the case permits"
NO_OUTPUT, NOT_DUE = "what it keeps as its output is none", "nothing like this is due there"
# What is made of the first record that is meant, and what is said of it.
FORGED: dict[str, tuple[Callable[[Record], bool], dict[str, Any], str]] = {
    "a wrong number passes": (VECTOR, {"actual": "[1, 1, 1]"}, NOT_RIGHT),
    "another shape passes": (VECTOR, {"actual": "0.5"}, NOT_RIGHT),
    "a number for a NaN passes": (NAN, {"actual": "[0.5, 0.25, 0.25]"}, NOT_RIGHT),
    "a wrong number is a choice": (
        VECTOR, {"verdict": Verdict.VARIANT, "variant": "clipped-1e-7"}, NO_VARIANT,
    ),
    "a right number fails": (VECTOR, {"verdict": Verdict.FAIL}, "fail, but what it keeps is right"),
    "a right number deviates": (
        VECTOR, {"verdict": Verdict.DEVIATION, "deviation": "known"}, "deviation, but what it keeps is right",
    ),
    "a deviation without a name": (VECTOR, {"verdict": Verdict.DEVIATION}, "does not say which"),
    "a miss of what is required": (VECTOR, {"verdict": Verdict.BELOW}, "below, and the case is required"),
    "an output of what raised": (VECTOR, {"verdict": Verdict.ERROR}, "error, and yet an output is kept"),
    "an output of nothing": (VECTOR, {"verdict": Verdict.UNSUPPORTED}, "and yet an output is kept"),
    "a variant without a name": (VECTOR, {"verdict": Verdict.VARIANT}, "a variant without a name"),
    "a pass with a variant": (VECTOR, {"variant": "raises"}, "pass, and yet a variant"),
    "raising where it is not permitted": (
        VECTOR, {"verdict": Verdict.VARIANT, "variant": "raises", "actual": None}, NO_VARIANT,
    ),
    "an error above what is allowed": (
        VECTOR, {"actual": None, "error": 3.0, "allowed": 1.0}, "off by 3 times what is allowed",
    ),
    "text for an output": (VECTOR, {"actual": "[1, __import__('os')]"}, NO_OUTPUT),
    "deep text for an output": (VECTOR, {"actual": "[" * 1900}, NO_OUTPUT),
    "long text for an output": (VECTOR, {"actual": "9" * 5000}, NO_OUTPUT),
    "digits for an output": (VECTOR, {"actual": "9" * 1900}, NO_OUTPUT),
    "a place that is none": (VECTOR, {"actual": None, "worst": "[9]: 1 where 2 is due"}, NOT_DUE),
    "another due": (VECTOR, {"actual": None, "worst": "[0]: 1 where 2 is due"}, NOT_DUE),
    "text for a place": (VECTOR, {"actual": None, "worst": "somewhere"}, "as its worst element is none"),
    "another clause": (VECTOR, {"clause": "CE-1"}, "CE-1 is not the case's clause"),
    "another dtype": (VECTOR, {"dtype": "int8"}, "the case is for"),
    "another output": (VECTOR, {"output": "gradients.labels"}, "the case expects"),
    "another law's clause": (VECTOR, {"output": "law.repeats"}, "is not the law's clause, G-15"),
    "no law": (VECTOR, {"output": "law.repeat"}, "there is no such law (did you mean 'law.repeats'"),
    "another adapter": (VECTOR, {"adapter": "somebody"}, "no adapter of this name took part"),
    "another case": (VECTOR, {"case": "softmax/ordinary/vectr"}, "did you mean 'softmax/ordinary/vector'"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_what_no_run_gave_is_found(what: str, honest: Results, check: Check) -> None:
    wanted, change, message = FORGED[what]
    record = first(honest, wanted)
    forged = tuple(replace(r, **change) if r is record else r for r in honest.records)
    status, out, err = check(Results(honest.environment, honest.adapters, forged))
    assert status == 1 and "1 problem" in out
    assert message in err and err.count("\n") == 1


def test_a_worst_element_is_judged(honest: Results, check: Check) -> None:
    record = first(
        honest, lambda r: r.worst is not None and r.dtype == "float32" and r.verdict is Verdict.PASS
    )
    assert record.worst is not None
    place, _, rest = record.worst.partition(": ")
    due = rest.partition(" where ")[2]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"worst": f"{place}: 1e30 where {due}"}, "pass, but what it keeps is wrong"),
        ({"worst": record.worst, "verdict": Verdict.FAIL}, "fail, but what it keeps is right"),
        ({"worst": f"{place}: nan where {due}"}, "pass, but what it keeps is wrong"),
    ]
    for change, message in cases:
        forged = tuple(replace(r, actual=None, **change) if r is record else r for r in honest.records)
        status, _, err = check(Results(honest.environment, honest.adapters, forged))
        assert status == 1 and message in err


def test_float64_is_judged_by_what_it_may_have_been(honest: Results, check: Check) -> None:
    """Nine digits are not all of it: what they leave open is nobody's fault, what they show is."""
    record = first(honest, of_case("softmax/ordinary/vector", dtype="float64"))
    for change, status in (
        ({"verdict": Verdict.FAIL}, 0),
        ({"actual": (record.actual or "").replace("[0.", "[0.9")}, 1),
    ):
        forged = tuple(replace(r, **change) if r is record else r for r in honest.records)
        assert check(Results(honest.environment, honest.adapters, forged))[0] == status


def test_an_output_that_is_there_twice(honest: Results, check: Check) -> None:
    records = (*honest.records, honest.records[3])
    status, _, err = check(Results(honest.environment, honest.adapters, records))
    assert status == 1 and "it is there twice" in err


def test_no_outputs(honest: Results, check: Check) -> None:
    status, _, err = check(Results(honest.environment, honest.adapters, ()))
    assert status == 1 and "it has no outputs" in err


def test_right_numbers_of_a_wrong_dtype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder keeps numbers without their dtype, and says why they are wrong."""
    adapter = tmp_path / "wide.py"
    adapter.write_text(
        "import numpy as np\nfrom lossproof.adapters.numpy import NumpyAdapter\n"
        "class Wide(NumpyAdapter):\n    name = 'wide'\n"
        "    def softmax(self, logits, *, axis):\n"
        "        return super().softmax(logits, axis=axis).astype(np.float64)\n",
        encoding="utf-8",
    )
    kept = tmp_path / "results"
    kept.mkdir()
    assert main(["run", "-a", str(adapter), "-q", "--results", str(kept), "softmax/ordinary/*"]) == 1
    capsys.readouterr()
    assert main(["verify", str(kept)]) == 0
    assert " 0 problems" in capsys.readouterr().out


# -- the suite -------------------------------------------------------------------------------------


def of(results: Results, **said: Any) -> Results:
    return Results({**results.environment, **said}, results.adapters, results.records)


def test_a_suite_that_is_not_known(honest: Results, check: Check) -> None:
    for said in ({"suite": "9.0"}, {"suite_digest": "f" * 32}, {"suite": "1.0+changed"}):
        status, _, err = check(of(honest, **said))
        assert status == 1 and "is no version of the suite that this lossproof knows" in err, said


def test_results_that_do_not_say_are_read_as_ever(honest: Results, check: Check) -> None:
    environment = {key: value for key, value in honest.environment.items() if "suite" not in key}
    status, out, err = check(Results(environment, honest.adapters, honest.records))
    assert status == 0 and err == "" and "did not name the suite" in out


def test_an_earlier_version(honest: Results, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases that have changed since are not judged by what they are now."""
    told = suite.manifest()
    cases = {
        **told.latest.cases,
        "softmax/ordinary": {**told.latest.cases["softmax/ordinary"], "vector": "0" * 12},
    }
    before = replace(told.latest, version="0.9", digest="9" * 32, cases=cases, released="2026-01-01")
    monkeypatch.setattr(verify, "manifest", lambda: Manifest(told.files, (before, told.latest)))
    record = first(honest, VECTOR)
    forged = tuple(replace(r, actual="[1, 1, 1]") if r is record else r for r in honest.records)
    earlier = Results(
        {**honest.environment, "suite": "0.9", "suite_digest": "9" * 32}, honest.adapters, forged
    )
    status, out, _ = check(earlier)
    assert status == 0 and "of cases that have changed since" in out


def test_what_a_set_lacks(honest: Results, check: Check) -> None:
    status, _, err = check(of(honest, cases="quick"))
    assert status == 1 and "numpy: lacks " in err and "outputs of the quick set" in err


def test_changed_cases_are_no_measure(honest: Results, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "files_digest", lambda: "c" * 32)
    status, out, err = check(honest)
    assert status == 2 and "lossproof certify --write renews it" in err and out == ""


# -- what is no results file -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON"),
        (b"\x00\xff", "no JSON"),
        (b"{}", "no results file"),
        (b"[1, 2]", "no results file"),
        (b'{"schema": 1, "environment": {}, "adapters": []', "no JSON"),
        (b"[" * 100000, "no JSON: nested too deeply"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_results_file(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["verify", str(path)]) == 2
    err = capsys.readouterr().err
    assert message in err and "r.json" in err and err.count("\n") == 1


def test_a_truncated_file(honest: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    honest.to_json(path)
    whole = path.read_bytes()
    for share in (0.2, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert main(["verify", str(path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "there is no .json file in this folder" in capsys.readouterr().err


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_texts_of_others_stay_texts(text: str, honest: Results, check: Check) -> None:
    record = first(honest, VECTOR)
    for change in ({"actual": text}, {"worst": text, "actual": None}, {"adapter": text}, {"variant": text}):
        forged = (replace(record, **change),)
        status, out, err = check(Results(honest.environment, honest.adapters, forged))
        assert status == 1 and shows(out + err)


def test_many_problems_are_counted(honest: Results, check: Check) -> None:
    wrong = tuple(replace(r, clause="X-1") for r in honest.records)
    status, out, err = check(Results(honest.environment, honest.adapters, wrong))
    assert status == 1 and f"… and {len(wrong) - 20} more; --verbose" in err and err.count("\n") == 21
    _, _, err = check(Results(honest.environment, honest.adapters, wrong), "--verbose")
    assert err.count("\n") == len(wrong)
    assert json.dumps(len(wrong)) in out
