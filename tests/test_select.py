"""Choosing more cases than are kept in memory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lossproof.case import select
from lossproof.case.select import select_cases
from lossproof.cli.main import main
from lossproof.core.resources import folder
from lossproof.errors import LossproofError

FOLDER = str(folder("cases") / "sigmoid")


def results(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    file = tmp_path / "results.json"
    assert main(["run", "-a", "numpy", *arguments, "--json", str(file)]) == 0
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["results"]
    return rows


@pytest.mark.parametrize("references", [[FOLDER], ["sigmoid", "softmax/range"], [FOLDER, "softmax/range"]])
def test_what_is_not_kept_is_read_again(
    references: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = select_cases(references, [])
    ids = [case.id for case in kept]
    rows = results(tmp_path, *references)
    monkeypatch.setattr(select, "MAX_KEPT", 3)
    streamed = select_cases(references, [])
    assert len(streamed) == len(kept) == len(ids) > select.MAX_KEPT
    assert [case.id for case in streamed] == list(streamed.ids) == ids
    assert next(iter(streamed)) is not next(iter(streamed))
    assert results(tmp_path, *references) == rows
    assert streamed.pairs([]) == len({(row["case"], row["dtype"]) for row in rows})
    assert streamed.pairs(["float32"]) == streamed.count(["float32"]) <= len(ids)


def test_an_interrupted_run_of_many_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = results(tmp_path, FOLDER)
    monkeypatch.setattr(select, "MAX_KEPT", 3)
    file = tmp_path / "results.json"
    calls = 0

    def interrupted(*_: Any, **__: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return original(*_, **__)

    from lossproof.engine import runner

    original: Any = vars(runner)["run_case"]
    with monkeypatch.context() as patched:
        patched.setattr(runner, "run_case", interrupted)
        assert main(["run", "-a", "numpy", FOLDER, "--json", str(file)]) == 130
    assert 0 < len(json.loads(file.read_text(encoding="utf-8"))["results"]) < len(whole)
    assert results(tmp_path, FOLDER, "--resume") == whole


def test_junit_alone_needs_no_file_beside_it(tmp_path: Path) -> None:
    assert main(["run", "-a", "numpy", FOLDER, "--junit", str(tmp_path / "junit.xml")]) == 0
    (suite,) = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert int(suite.attrib["tests"]) == len(suite) == len(results(tmp_path, FOLDER))
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


def test_two_files_with_one_id_are_refused(tmp_path: Path) -> None:
    text = (folder("cases") / "sigmoid" / "ordinary.yaml").read_text(encoding="utf-8")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ordinary.yaml").write_text(text, encoding="utf-8")
    place = re.escape(str(Path("a") / "ordinary.yaml"))
    with pytest.raises(LossproofError, match=rf"duplicate id, first used at .*{place}:4"):
        select_cases([str(tmp_path)], [])
