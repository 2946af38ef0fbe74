"""``--resume`` takes over what would come out again, and runs the rest anew, saying how much and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lossproof.case.fingerprint import fingerprint
from lossproof.cli.main import main
from lossproof.isolation.load import load_adapter
from lossproof.results.file import read_json
from lossproof.results.journal import Journal, digest
from tests.own_cases import quick_cases

ADAPTER = """
from helper import one
from lossproof.adapters.numpy import NumpyAdapter

class Mine(NumpyAdapter):
    name = "mine"
    version = "1"

    def __init__(self): pass

    def sigmoid(self, logits):
        with open("calls", "a") as file:
            file.write("x")
        return super().sigmoid(logits) * one
"""
CASE = """function: sigmoid
about: x
cases:
  - id: first
    clause: SG-1
    level: required
    why: x
    dtypes: [float32]
    inputs: {logits: 0}
    wrt: []
  - id: second
    clause: SG-1
    level: required
    why: x
    dtypes: [float32]
    inputs: {logits: 1}
    wrt: []
"""
DEVIATION = """
deviations:
  - {id: x, clause: SG-1, condition: c, observed: o, expected: e, versions: any, upstream: none known,
     where: [{cases: [sigmoid/mine/other]}]}
"""
COMMAND = ["run", "mine.yaml", "-a", "mine.py", "--json", "r.json"]


def change(name: str, old: str, new: str) -> Callable[[], None]:
    def edit() -> None:
        path = Path(name)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def other_case() -> None:
    change("mine.yaml", "logits: 1}", "logits: 2}")()
    assert main(["certify", "mine.yaml", "--write", "-j", "1"]) == 0


# What changed since, how often the adapter is called then, and what is said.
CHANGES: dict[str, tuple[Callable[[], None], int, str]] = {
    "nothing": (change("mine.py", "", ""), 0, ""),
    "a comment beside a case": (change("mine.yaml", "why: x", "why: another"), 0, ""),
    "a case": (other_case, 1, "1 earlier result made anew: their cases have changed"),
    "the adapter": (change("mine.py", "import one", "import one  # "), 2, "the adapter mine has changed"),
    "what it imports": (change("helper.py", "1", "1.0"), 2, "the adapter mine has changed"),
    "deviations": (change("mine.deviations.yaml", "", DEVIATION), 2, "the adapter mine has changed"),
    "the framework": (change("mine.py", '"1"', '"2"'), 2, "mine was 1 on cpu"),
    "lossproof": (
        change("r.json.partial", '"lossproof":"', '"lossproof":"0.0.9+'),
        2,
        "lossproof was 0.0.9+",
    ),
}


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that has all records and did not come to its end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    for name, text in {"mine.py": ADAPTER, "helper.py": "one = 1\n", "mine.yaml": CASE}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["certify", "mine.yaml", "--write", "-j", "1"]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "close", lambda self, complete: self._file.close())
        assert main(COMMAND) == 0
    Path("calls").write_text("", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_run_again(
    what: str, begun: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, again, said = CHANGES[what]
    edit()
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    capsys.readouterr()
    assert main([*COMMAND, "--resume"]) == 0
    err = capsys.readouterr().err
    calls = len(Path("calls").read_text(encoding="utf-8"))
    assert (calls > 0) == (again > 0) and said in err and len(err.splitlines()) == (1 if said else 0)
    if said:
        assert err.startswith(f"lossproof: {again} earlier result")
    records = [record for record in read_json(Path("r.json")).records if not record.is_law]
    assert len(records) == 2 and not Path("r.json.partial").exists()


def test_a_journal_of_an_earlier_lossproof_is_read_and_run_again(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = Path("r.json.partial")
    lines = [json.loads(line) for line in partial.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line.pop("made", None)
    lines[0]["cases"] = "0" * 64
    partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    capsys.readouterr()
    assert main([*COMMAND, "--resume"]) == 0
    assert "2 earlier results made anew: its file is of an earlier lossproof" in capsys.readouterr().err


def test_an_isolated_adapter_is_the_same_one(begun: Path) -> None:
    assert digest(load_adapter("mine.py")) == digest(load_adapter("mine.py", isolate=True))


def test_no_two_cases_are_alike() -> None:
    prints = {fingerprint(case) for case in quick_cases()}
    assert len(prints) == len(list(quick_cases()))
