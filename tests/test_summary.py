"""The small form of results: what it keeps, what it refuses, and how a run renews it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from msgspec.structs import replace

from lossproof.cli.main import main
from lossproof.core.resources import folder
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.diff import Changes
from lossproof.results.file import read_json, write_json
from lossproof.results.folder import file_name, renew

INFO = AdapterInfo("x", "X", "1.2.3+cpu", "cpu")
SCHEMA = json.loads((folder("spec") / "results.schema.json").read_text(encoding="utf-8"))
Key = tuple[str, str, str]


def key(record: Record) -> Key:
    return record.case, record.dtype, record.output


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """NumPy's, of which some are made wrong or unsupported in every way there is."""
    path = tmp_path_factory.mktemp("run") / "numpy.json"
    assert main(["run", "-a", "numpy", "--json", str(path)]) == 0
    found = read_json(path).records
    numbers = {case: number for number, case in enumerate(dict.fromkeys(record.case for record in found))}
    return [made(record, numbers[record.case]) for record in found]


NOTHING: Mapping[str, Any] = dict.fromkeys(("error", "error_ulp", "allowed", "actual", "worst"))
WRONG: Mapping[str, Any] = {
    "error": 3e30, "error_ulp": 1e20, "allowed": 1e-7, "worst": "[0]: 1 where 2 is due", "actual": None,
}  # fmt: skip
# What becomes of every so manieth case.
KINDS: Mapping[int, Mapping[str, Any]] = {
    0: {"verdict": Verdict.FAIL, "message": "1 of 2 elements are wrong", **WRONG},
    5: {"verdict": Verdict.FAIL, "message": "1 of 2 elements are wrong", **WRONG, "actual": "[0, 1]"},
    6: {"verdict": Verdict.FAIL, "message": "is float32 where float64 is due", **NOTHING, "actual": "[0, 1]"},
    1: {
        "verdict": Verdict.DEVIATION, "deviation": "known", "message": "known: 1 of 2 elements are wrong",
        "upstream": "https://example.org/1", **WRONG,
    },
    2: {"verdict": Verdict.ERROR, "message": "ValueError: no <such> thing", **NOTHING},
    3: {"verdict": Verdict.BELOW, "message": "nan where 0 is due", **NOTHING, "actual": "nan"},
    4: {"verdict": Verdict.VARIANT, "variant": "raises", "message": "ValueError", **NOTHING},
}  # fmt: skip


def made(record: Record, number: int) -> Record:
    record = replace(record, adapter="x")
    if record.function == "pspnet_predict" or (record.dtype == "bfloat16" and number % 3):
        reason = f"has no {record.dtype}"
        return replace(record, verdict=Verdict.UNSUPPORTED, message=reason, **NOTHING, variant=None)
    return record if record.dtype == "float16" else replace(record, **KINDS.get(number % 23, {}))


@pytest.fixture
def written(records: list[Record], tmp_path: Path) -> Path:
    return renew(tmp_path, INFO, records, all_cases=True, dtypes=())


def test_a_summary_keeps_all_but_digits(records: list[Record], written: Path) -> None:
    kept = {key(record): record for record in read_json(written).records}
    assert kept.keys() == {key(record) for record in records}
    for record in records:
        small = kept[key(record)]
        for name in ("function", "clause", "adapter", "verdict", "variant", "deviation", "upstream"):
            assert getattr(small, name) == getattr(record, name), (key(record), name)
        for name in ("error_ulp", "share_used"):
            full, short = getattr(record, name), getattr(small, name)
            assert (full is None) == (short is None), (record, name)
            # Half an ULP, to one place, is what a correctly rounded number may have.
            if full is not None and not (short == 0 and name == "error_ulp" and full < 0.605):
                near = pytest.approx(full, rel=0.051, abs=0.105)
                assert short == near, (record, name)
        if record.verdict is not Verdict.PASS:
            # The whole of a small output says where it is wrong.
            assert small.actual == record.actual
            assert small.worst == record.worst or (small.worst is None and record.actual is not None)
            told = f"worst at {small.worst}" if small.worst else f"gives {record.actual}"
            # A variant is right: it needs no word about where its numbers are worst.
            wrong = record.worst is not None and record.verdict is not Verdict.VARIANT
            assert small.message == (told if wrong else record.message)


def test_the_largest_errors_keep_their_place(records: list[Record], written: Path) -> None:
    passed = {key(record): record for record in records if record.verdict is Verdict.PASS}
    renew(written.parent, INFO, passed.values(), all_cases=True, dtypes=())
    small = read_json(written).records
    for function in ("softmax", "l2_loss"):
        for dtype in ("float32", "float16"):
            own = [r for r in small if (r.function, r.dtype) == (function, dtype)]
            for name in ("share_used", "error_ulp"):
                errors = [getattr(r, name) or 0 for r in own]
                full = [
                    getattr(r, name) or 0
                    for r in passed.values()
                    if (r.function, r.dtype) == (function, dtype)
                ]
                assert max(errors) == pytest.approx(max(full), rel=0.051, abs=0.0051)
                # Several may be as large when rounded; one of them says where.
                places = [r for r, error in zip(own, errors, strict=True) if error == max(errors) and r.worst]
                assert places and max(errors) > 0
                assert all(r.worst == passed[key(r)].worst for r in places)


def test_a_comparison_sees_no_difference_between_a_file_and_its_summary(
    records: list[Record], written: Path
) -> None:
    changes = Changes(records, read_json(written).records)
    assert [change.text() for change in changes] == []


def test_summaries_follow_the_schema_and_are_small(
    records: list[Record], written: Path, tmp_path: Path
) -> None:
    document = json.loads(written.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    write_json(tmp_path / "full.json", [INFO], records)
    assert written.stat().st_size < (tmp_path / "full.json").stat().st_size / 5
    # What was not judged has no line.
    assert "pspnet_predict" not in document["judged"]


def test_the_order_of_records_does_not_matter(records: list[Record], written: Path, tmp_path: Path) -> None:
    before = written.read_text(encoding="utf-8")
    shuffled = random.Random(1).sample(records, len(records))
    assert renew(tmp_path, INFO, shuffled, all_cases=True, dtypes=()) == written
    assert written.read_text(encoding="utf-8") == before


def test_a_message_tells_no_folder_of_the_machine(tmp_path: Path) -> None:
    message = "RuntimeError: kernel, /tmp/x/lj/abc.main.cpp:49 (xla/padder.cc, 1/2, https://example.org/a/b)"
    row = Record("a/b/c", "a", "A-1", "x", "float32", "value", Verdict.ERROR, message=message)
    (record,) = read_json(renew(tmp_path, INFO, [row], all_cases=True, dtypes=())).records
    assert record.message == message.replace("/tmp/x/lj/", "")


def test_file_names() -> None:
    assert file_name(INFO) == "x-1.2.3.json"
    assert file_name(AdapterInfo("a b/../c", "X", "", "cpu")) == "a-b-..-c.json"


# -- a run renews what it ran ------------------------------------------------------------------


def of_dtype(records: list[Record], dtype: str) -> list[Record]:
    return [record for record in records if record.dtype == dtype]


def test_a_run_of_some_cases_or_dtypes_leaves_the_rest(records: list[Record], written: Path) -> None:
    before = written.read_text(encoding="utf-8")
    some = [record for record in records if record.function == "softmax"]
    renew(written.parent, INFO, some, all_cases=False, dtypes=())
    renew(
        written.parent,
        INFO,
        of_dtype(records, "float16"),
        all_cases=True,
        dtypes=("float16",),
    )
    assert written.read_text(encoding="utf-8") == before
    renew(written.parent, INFO, [replace(r, verdict=Verdict.CRASH) for r in some], all_cases=False, dtypes=())
    crashed = {r.function for r in read_json(written).records if r.verdict is Verdict.CRASH}
    assert crashed == {"softmax"}


def test_a_run_of_all_cases_forgets_those_that_are_gone(records: list[Record], written: Path) -> None:
    rest = [record for record in records if record.function != "softmax"]
    renew(written.parent, INFO, of_dtype(rest, "float32"), all_cases=True, dtypes=("float32",))
    left = {r.dtype for r in read_json(written).records if r.function == "softmax"}
    assert left and "float32" not in left
    renew(written.parent, INFO, rest, all_cases=True, dtypes=())
    assert {key(r) for r in read_json(written).records} == {key(r) for r in rest}


def test_run_writes_a_file_for_each_backend_that_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "sigmoid/ordinary", "-a", "numpy", "-a", "torch-cuda", "--results", str(tmp_path)]
    # One that was asked for and is not on this machine does not conform; the other's file is written.
    assert main(command) == 1
    assert "nothing was judged of torch-cuda" in capsys.readouterr().err
    (path,) = tmp_path.iterdir()
    assert re_named(path) == "numpy" and {r.function for r in read_json(path).records} == {"sigmoid"}
    assert main([*command[:-1], str(tmp_path / "absent")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def re_named(path: Path) -> str:
    return path.name.rpartition("-")[0]


def test_another_adapter_of_that_name_is_refused(records: list[Record], written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(InputError, match="holds results of x on cpu, not of x on cuda"):
        renew(written.parent, replace(INFO, device="cuda"), records, all_cases=True, dtypes=())
    assert written.read_bytes() == before


# -- bad input ---------------------------------------------------------------------------------

ENTRY: Mapping[str, Any] = {"verdict": "fail"}


def summary(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": 1, "environment": {}, "adapters": [msgspec.to_builtins(INFO)],
        "dtypes": ["float32"], "upstream": {},
        "unjudged": [], "judged": {"softmax": {"SM-1": {"ordinary/x": {"value": dict(ENTRY)}}}},
    }  # fmt: skip
    return document | changes


def judged(**entry: Any) -> dict[str, Any]:
    return {"judged": {"softmax": {"SM-1": {"ordinary/x": {"value": {**ENTRY, **entry}}}}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (judged(dtypes=["float32", "float16"], error_ulp=[1]), "softmax/ordinary/x: error_ulp has 1 entries"),
        (judged(verdict="fine"), "unknown verdict 'fine'"),
        (judged(error="large"), "unknown field 'error'"),
        (judged(error_ulp="large"), "error_ulp"),
        ({"judged": {"../softmax": {}}}, "a key of judged must be a function's name, not '../softmax'"),
        ({"judged": {"softmax": {"<b>": {}}}}, "must be a clause's number"),
        ({"judged": {"softmax": {"SM-1": {"x": {}}}}}, "must be topic/id of a case, not 'x'"),
        ({"judged": {"softmax": {"SM-1": {"a/b\n": {}}}}}, "must be topic/id of a case"),
        (
            {"judged": {"softmax": {"SM-1": {"a/b": {"gradients.<b>": {}}}}}},
            "value, gradients.<array>, jvp, hvp.<array> or law.<name>, not 'gradients.<b>'",
        ),
        ({"upstream": {"id": "javascript:alert(1)"}}, "must be a link that begins with"),
        ({"judged": []}, "judged must be a mapping, not []"),
        ({"dtypes": ["float8"]}, "unknown dtype 'float8'"),
        ({"more": 1}, "unknown field 'more'"),
        ({"unjudged": [{"message": "why"}]}, "lacks the field 'dtypes'"),
        (
            {"unjudged": [{"message": ["a"], "dtypes": ["float32", "int8"], "outputs": [], "cases": {}}]},
            "unjudged: message has 1 entries for 2 dtypes",
        ),
        ({"adapters": []}, "a summary is about one adapter, and here are 0"),
    ],
)
def test_what_is_no_summary(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(summary(**changes)), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_json(path)
    assert message in str(caught.value) and "s.json" in str(caught.value)
    path.write_text(json.dumps(summary()), encoding="utf-8")
    (record,) = read_json(path).records
    assert (record.case, record.verdict, record.dtype) == ("softmax/ordinary/x", Verdict.FAIL, "float32")
