"""The version of the suite: its manifest, what changes it, and where it is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lossproof.case import suite
from lossproof.case.suite import Manifest, Suite, Version
from lossproof.cli.main import main
from lossproof.core.resources import folder
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.file import environment, read_json, write_json

ONE = Suite("1.0", "1" * 32)
TWO = Suite("1.1", "2" * 32)


def test_the_manifest_is_that_of_the_cases() -> None:
    told = suite.manifest()
    assert told.files == suite.files_digest(), "the cases have changed: lossproof certify --write"
    assert suite.renewed(told, suite.own_cases(), told.files) == told
    assert suite.manifest_path().read_text("utf-8") == suite.manifest_text(told)
    assert suite.suite() == Suite(told.latest.version, told.latest.digest)


# -- the digests -----------------------------------------------------------------------------------

CASE = """function: sigmoid
about: words
cases:
  - id: one
    clause: SG-1
    level: required
    why: words
    dtypes: [float32]
    inputs: {logits: [0.5, 2]}
    expected: {value: [0.5, 0.25]}
    tolerance: {value: 2}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of cases in the place of lossproof's own."""
    cases = tmp_path / "cases"
    for topic in ("a", "b"):
        file = cases / "sigmoid" / f"{topic}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(CASE, encoding="utf-8")

    def instead(name: str) -> Path:
        return cases if name == "cases" else folder(name)

    for module in ("lossproof.case.suite", "lossproof.case.read", "lossproof.cli.certify"):
        monkeypatch.setattr(f"{module}.folder", instead)
    return cases


def test_line_ends_and_the_order_of_files_are_no_matter(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, cases = suite.files_digest(), suite.own_cases()
    listed = Path.glob

    def backwards(self: Path, *given: Any, **more: Any) -> Any:
        return reversed(list(listed(self, *given, **more)))

    monkeypatch.setattr(Path, "glob", backwards)
    assert suite.files_digest() == files
    for path in own.rglob("*.yaml"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert suite.files_digest() == files and suite.own_cases() == cases
    (own / "sigmoid" / "b.yaml").write_text(CASE.replace("words", "other words"), encoding="utf-8")
    assert suite.files_digest() != files and suite.own_cases() == cases
    shutil.move(own / "sigmoid" / "b.yaml", own / "sigmoid" / "c.yaml")
    assert suite.own_cases().keys() == {"sigmoid/a", "sigmoid/c"}


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("why: words", "why: others", True),
        ("about: words", "about: others", True),
        ("    why", "    thorough: true\n    why", True),
        ("[0.5, 2]", "[0x1p-1, 2.0]", True),
        ("[0.5, 2]", "[0.5, 3]", False),
        ("[0.5, 2]", "[0, 2]", False),
        ("tolerance: {value: 2}", "tolerance: {value: 3}", False),
        ("SG-1", "SG-2", False),
        ("required", "recommended", False),
        ("[float32]", "[float32, float64]", False),
        ("sigmoid", "log_sigmoid", False),
        ("    tolerance", "    variants: [{name: raises, raises: true}]\n    tolerance", False),
    ],
)
def test_what_changes_a_case(old: str, new: str, same: bool, own: Path) -> None:
    before = suite.own_cases()["sigmoid/a"]
    assert CASE.count(old) == 1
    (own / "sigmoid" / "a.yaml").write_text(CASE.replace(old, new), encoding="utf-8")
    assert (suite.own_cases()["sigmoid/a"] == before) == same


def test_zeros_of_either_sign_are_told_apart(own: Path) -> None:
    digests = set()
    for number in ("0", "-0.0", "0.0", ".nan", ".inf"):
        (own / "sigmoid" / "a.yaml").write_text(CASE.replace("0.5, 2", number), encoding="utf-8")
        digests.add(suite.own_cases()["sigmoid/a"]["one"])
    assert len(digests) == 4


# -- versions --------------------------------------------------------------------------------------

BASE = {"sigmoid/a": {"one": "1" * 12, "two": "2" * 12}}
ADDED = {"sigmoid/a": {**BASE["sigmoid/a"], "three": "3" * 12}}
CHANGED = {"sigmoid/a": {**BASE["sigmoid/a"], "two": "f" * 12}}
GONE = {"sigmoid/a": {"one": "1" * 12}}


def version(number: str, cases: suite.Cases, released: str | None) -> Version:
    return Version(number, released, suite.cases_digest(cases), cases)


@pytest.mark.parametrize(
    ("cases", "number"), [(BASE, "1.4"), (ADDED, "1.5"), (CHANGED, "2.0"), (GONE, "2.0")]
)
def test_the_rules_of_versions(cases: suite.Cases, number: str) -> None:
    """A released version stays; the one in the making has the number that its cases give it."""
    told = Manifest("0" * 32, (version("1.4", BASE, "2026-01-02"),))
    now = suite.renewed(told, cases, "1" * 32)
    assert now.versions[0] == told.versions[0] and now.files == "1" * 32
    assert now.latest.version == number and (now.latest.released is None) == (cases is not BASE)
    assert suite.renewed(now, cases, "1" * 32) == now
    # What is undone before it is released leaves nothing.
    assert suite.renewed(now, BASE, "0" * 32) == told


def test_the_version_in_the_making() -> None:
    told = Manifest("0" * 32, (version("1.0", BASE, None),))
    assert [v.version for v in suite.renewed(told, CHANGED, "0" * 32).versions] == ["1.0"]
    released = version("1.0", BASE, "2026-01-02")
    higher = Manifest("0" * 32, (released, version("3.0", ADDED, None)))
    assert suite.renewed(higher, CHANGED, "0" * 32).latest.version == "3.0"
    lower = Manifest("0" * 32, (released, version("1.1", ADDED, None)))
    assert suite.renewed(lower, CHANGED, "0" * 32).latest.version == "2.0"
    assert suite.renewed(None, BASE, "0" * 32) == told
    assert str(suite.difference(released, GONE)) == "1 case removed"
    assert str(suite.difference(released, ADDED | {"x/y": {"z": "0" * 12}})) == "2 cases added"


def test_certify_checks_and_renews_it(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = own / "sigmoid" / "a.yaml"
    file.write_text(CASE.split("    expected")[0], encoding="utf-8")
    shutil.copy(file, own / "sigmoid" / "b.yaml")
    assert main(["certify", "--write", "-j", "1"]) == 0
    assert "suite.json: suite 1.0" in capsys.readouterr().out
    assert main(["certify", "-j", "1"]) == 0
    assert suite.suite() == Suite("1.0", suite.cases_digest(suite.own_cases()))
    file.write_text(file.read_text("utf-8").replace("id: one", "id: other"), encoding="utf-8")
    assert suite.changed(suite.suite())
    capsys.readouterr()
    assert main(["certify", "-j", "1"]) == 1
    assert "suite 1.0: 1 case added, 1 case removed; lossproof certify --write" in capsys.readouterr().err
    # One file alone, too, where it is written.
    assert main(["certify", str(file), "--write", "-j", "1"]) == 0
    assert not suite.changed(suite.suite()) and "other" in suite.manifest().latest.cases["sigmoid/a"]
    assert main(["certify", "-j", "1"]) == 0


def test_a_manifest_that_is_none(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in (("{", "no JSON"), ("{}", "no manifest"), ('{"files": 1, "versions": []}', "files")):
        (own / "suite.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            suite.suite()


# -- where it is told ------------------------------------------------------------------------------

RECORD = Record("a/b/c", "a", "A-1", "x", "float32", "value", Verdict.PASS)
Write = Callable[[str, Suite | None], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, of: Suite | None) -> str:
        said = {} if of is None else {"suite": of.version, "suite_digest": of.digest}
        write_json(tmp_path / name, [AdapterInfo("x", "X", "1", "cpu")], [RECORD], said)
        return str(tmp_path / name)

    return written


def test_results_carry_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    assert main(["run", "sigmoid/ordinary", "-a", "numpy", "--json", str(path)]) == 0
    said = read_json(path).environment
    assert Suite(said["suite"], said["suite_digest"]) == suite.suite()
    assert "suite" not in environment()
    assert "suite" not in capsys.readouterr().err


def test_diff_says_where_suites_differ(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, none = write("1.json", ONE), write("2.json", TWO), write("0.json", None)
    arrow = "suite 1.0 (11111111) → suite 1.1 (22222222)"
    assert main(["diff", one, two]) == 0
    assert arrow in capsys.readouterr().out
    assert main(["diff", one, two, "--format", "markdown"]) == 0
    assert f"- `{arrow}`" in capsys.readouterr().out
    for old, new in ((one, one), (none, one), (one, none), (none, none)):
        assert main(["diff", old, new]) == 0
        assert capsys.readouterr().out.strip() == "no change"
    assert main(["diff", none, two, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["suites"] == [None, {"version": "1.1", "digest": "2" * 32}]


def test_report_says_where_suites_differ(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    files = [write("1.json", ONE), write("2.json", TWO), write("0.json", None)]
    assert main(["report", *files, "-o", str(tmp_path / "site")]) == 0
    said = capsys.readouterr().err
    assert "different suites: suite 1.0 (11111111) in 1.json; suite 1.1 (22222222) in 2.json; 1 file" in said
    assert main(["report", *files[1:], "-o", str(tmp_path / "site")]) == 0
    assert capsys.readouterr().err == ""


def test_a_baseline_or_a_file_of_another_suite_is_named(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", "sigmoid/ordinary", "-a", "numpy", "-q"]
    now = str(suite.suite())
    assert main([*run, "--baseline", write("1.json", ONE)]) == 0
    assert f"1.json: suite 1.0 (11111111) → {now}" in capsys.readouterr().err
    for of in (suite.suite(), None):
        assert main([*run, "--baseline", write("1.json", of)]) == 0
        assert capsys.readouterr().err == ""
    results = tmp_path / "results"
    results.mkdir()
    assert main([*run, "--results", str(results)]) == 0
    (file,) = results.iterdir()
    assert main([*run, "--results", str(results)]) == 0
    assert capsys.readouterr().err == ""
    text = file.read_text("utf-8")
    file.write_text(text.replace(suite.suite().digest, "f" * 32), encoding="utf-8")
    assert main([*run, "--results", str(results)]) == 0
    assert f"{file.name}: suite" in capsys.readouterr().err


def test_a_run_of_changed_cases_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = suite.suite().version
    monkeypatch.setattr(suite, "files_digest", lambda: "c" * 32)
    path = tmp_path / "r.json"
    words = ["run", "-a", "numpy", "-d", "int64", "-q", "--json", str(path)]
    assert main(words) == 0
    said = f"the cases differ from cases/suite.json: results are of suite {version}+changed"
    assert said in capsys.readouterr().err
    assert read_json(path).environment["suite_digest"] == "c" * 32


@pytest.mark.parametrize("said", [{"suite": "one"}, {"suite": 1}, {"suite_digest": "x"}, {"suite": ["1.0"]}])
def test_what_is_no_version_is_refused(
    said: dict[str, Any], write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(write("r.json", None))
    for text in (path.read_text("utf-8"), json.dumps(json.loads(path.read_text("utf-8")))):
        path.write_text(text.replace('"environment": {', f'"environment": {json.dumps(said)[:-1]}').replace(
            f"{json.dumps(said)[:-1]}}}", json.dumps(said)), encoding="utf-8")  # fmt: skip
        assert main(["diff", str(path), str(path)]) == 2
        err = capsys.readouterr().err
        assert "environment: suite" in err and err.count("\n") == 1
        path.write_text(text, encoding="utf-8")


def test_a_version_says_its_ids() -> None:
    one = version("1.0", ADDED, None)
    assert one.ids == {"sigmoid/a/one": "1" * 12, "sigmoid/a/two": "2" * 12, "sigmoid/a/three": "3" * 12}
    assert replace(one, cases={}).ids == {}
