"""``lossproof diff``: what changed between two results files, for people, pull requests and programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from lossproof.cli.main import main
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.diff import Changes
from lossproof.results.file import write_json

BASE = Record("a/b/c", "a", "A-1", "x", "float32", "value", Verdict.PASS, error=1.0, allowed=2.0, actual="1")
WRONG = replace(BASE, verdict=Verdict.FAIL, message="wrong", actual="7")
RECORDED = replace(WRONG, verdict=Verdict.DEVIATION, deviation="known", message="known: wrong")


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (BASE, BASE, None),
        (BASE, replace(BASE, error=0.5, actual="1.0000001"), None),  # both right
        (BASE, WRONG, "worse"),
        (WRONG, BASE, "better"),
        (WRONG, RECORDED, "better"),  # it is known now
        (RECORDED, WRONG, "worse"),
        (WRONG, replace(WRONG, actual="8"), "other"),
        (WRONG, replace(WRONG, message="wrong in other words"), None),
        (replace(WRONG, actual=None), replace(WRONG, actual=None, message="else"), "other"),
        (BASE, replace(BASE, verdict=Verdict.VARIANT, variant="nan"), "other"),
        (WRONG, replace(WRONG, verdict=Verdict.CRASH), "worse"),
    ],
)
def test_kinds_of_change(before: Record, after: Record, kind: str | None) -> None:
    changes = Changes([before], [after])
    assert [change.kind for change in changes] == ([kind] if kind else [])


def test_without_recording_a_deviation_is_the_wrong_number_that_it_is() -> None:
    assert list(Changes([WRONG], [RECORDED], recording=False)) == []
    assert list(Changes([RECORDED], [WRONG], recording=False)) == []
    raised = replace(WRONG, verdict=Verdict.ERROR, message="ValueError: x", actual=None)
    known = replace(raised, verdict=Verdict.DEVIATION, deviation="raises", message="raises: ValueError: x")
    assert list(Changes([raised], [known], recording=False)) == []
    assert [c.kind for c in Changes([BASE], [RECORDED], recording=False)] == ["worse"]


def test_new_and_gone_come_last() -> None:
    other = replace(BASE, case="a/b/other")
    changes = Changes([BASE, replace(BASE, case="a/b/gone")], [WRONG, other])
    assert [(c.kind, c.record.case) for c in changes] == [
        ("worse", "a/b/c"), ("new", "a/b/other"), ("gone", "a/b/gone"),
    ]  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    evil = replace(WRONG, message="<b> | @everyone", actual=None, case="a/b/evil")
    write_json(old, [AdapterInfo("x", "X", "1", "cpu")], [BASE, replace(evil, message="")])
    write_json(new, [AdapterInfo("x", "X", "2", "cpu"), AdapterInfo("y", "Y", "1", "cpu")], [WRONG, evil])
    return str(old), str(new)


def test_text(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *files]) == 1
    out = capsys.readouterr().out
    assert "x: 1 (cpu) → 2 (cpu)" in out and "y: new" in out
    assert "1 got worse" in out and "x  a/b/c float32 value  (A-1)  pass → fail" in out
    assert main(["diff", files[0], files[0]]) == 0
    assert capsys.readouterr().out.strip() == "no change"


def test_markdown_holds_no_html_or_mentions_of_others(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *files, "--format", "markdown"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("### lossproof: 1 worse, 1 other")
    assert "<details open><summary>1 got worse</summary>" in out
    assert "| `x` | `a/b/c` | float32 | value | A-1 | `pass → fail` |" in out
    # In code, nothing of it has a meaning; tests/test_hostile.py renders it.
    assert "| `fail: → <b> ¦ @everyone` |" in out


def test_json(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *files, "--format", "json"]) == 1
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert [change["kind"] for change in changes] == ["worse", "other"]
    assert changes[0]["before"]["verdict"] == "pass" and changes[0]["after"]["actual"] == "7"


def test_a_missing_file_is_named(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", files[0], "missing.json"]) == 2
    assert "missing.json: cannot be read" in capsys.readouterr().err
