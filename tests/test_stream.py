"""Results larger than memory: what reads them one by one says the same as what reads them whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lossproof.cli.main import main
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.baseline import Baseline
from lossproof.results.diff import Changes
from lossproof.results.file import read_json, write_json
from lossproof.results.stream import open_results
from lossproof.site.data import write_data
from lossproof.site.model import load_site
from tests.memory import peak_of

INFO = AdapterInfo("x", "X", "1", "cpu")


def records(count: int, verdict: Verdict = Verdict.PASS) -> Iterator[Record]:
    for n in range(count):
        yield Record(
            f"softmax/generated/case-{n}", "softmax", "SM-1", "x", "float32", "value", verdict,
            error=1e-9, allowed=1e-8, message=f"{n} elements", actual=f"{n}",
        )  # fmt: skip


def written(folder: Path, count: int, verdict: Verdict = Verdict.PASS) -> Path:
    path = folder / f"{count}-{verdict}.json"
    write_json(path, [INFO], records(count, verdict))
    return path


@pytest.fixture
def text(tmp_path: Path) -> str:
    return written(tmp_path, 3).read_text(encoding="utf-8")


def read_both(path: Path) -> list[str]:
    """What the two readers say of a file: its records, or what is wrong with it."""

    def whole() -> tuple[Record, ...]:
        return read_json(path).records

    def one_by_one() -> tuple[Record, ...]:
        return tuple(open_results(path))

    found = []
    for read in (whole, one_by_one):
        try:
            found.append(repr(read()))
        except InputError as error:
            # The line may be known where records are read one by one.
            found.append(str(error).partition(": ")[2])
    return found


DAMAGES: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "other blanks": lambda text: json.dumps(json.loads(text), indent=1),
    "no blanks": lambda text: json.dumps(json.loads(text)),
    "another order": lambda text: json.dumps(json.loads(text), indent=1, sort_keys=True),
    "a record on two lines": lambda text: text.replace(',"clause"', ',\n"clause"'),
    "a later record on two lines": lambda text: ',\n"clause"'.join(text.rsplit(',"clause"', 1)),
    "two records on a line": lambda text: text.replace("},\n", "}, ", 1),
    "an empty line": lambda text: text.replace("},\n", "},\n\n", 1),
    "no end": lambda text: text[:-3],
    "cut in a record": lambda text: text[:-30],
    "cut after a record": lambda text: text[: text.rindex("\n  {")],
    "more behind it": lambda text: text + "x",
    "a comma too many": lambda text: text.replace("}\n ]", "},\n ]"),
    "a comma too few": lambda text: text.replace("},\n", "}\n", 1),
    "an unknown verdict": lambda text: text.replace('"pass"', '"nope"'),
    "an unknown verdict, later": lambda text: '"nope"'.join(text.rsplit('"pass"', 1)),
    "a field too few": lambda text: text.replace('"adapter":"x",', "", 1),
    "a field too many": lambda text: text.replace('"adapter"', '"more":1,"adapter"', 1),
    "not a number": lambda text: text.replace('"allowed":1e-8', '"allowed":NaN'),
    "a number of 400 digits": lambda text: text.replace('"allowed":1e-8', '"allowed":' + "9" * 400),
    "another function": lambda text: text.replace('"function":"softmax"', '"function":"sigmoid"', 1),
    "another function, later": lambda text: '"function":"sigmoid"'.join(
        text.rsplit('"function":"softmax"', 1)
    ),
    "cases that are no set": lambda text: text.replace('"environment": {', '"environment": {"cases": [1],'),
    "another schema": lambda text: text.replace('"schema": 1', '"schema": 2'),
    "no results": lambda text: text[: text.index(' "results"')] + ' "results": 5\n}',
    "a text": lambda text: text.replace("{", '"{', 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_both_readers_say_the_same(damage: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(DAMAGES[damage](text), encoding="utf-8")
    whole, one_by_one = read_both(path)
    assert whole == one_by_one and "Traceback" not in whole


def test_what_lossproof_writes_is_read_line_by_line(tmp_path: Path) -> None:
    for count in (0, 1, 5):
        assert open_results(written(tmp_path, count)).records is None


def test_memory_does_not_grow_with_the_number_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 and 10,000 records, of which all are different in two runs; SQLite's own cache is bounded."""
    monkeypatch.setattr("lossproof.site.model.load_cases", list)
    peaks: dict[str, list[int]] = {"diff": [], "baseline": [], "site": []}
    for count in (1_000, 10_000):
        old, new = written(tmp_path, count), written(tmp_path, count, Verdict.FAIL)

        def compare(old: Path = old, new: Path = new, count: int = count) -> None:
            changes = Changes(open_results(old), open_results(new))
            assert sum(1 for _ in changes) == changes.counts["worse"] == count

        def build(old: Path = old) -> None:
            site = load_site([old], "t")
            with (tmp_path / "data.js").open("wb") as file:
                write_data(site, file)
            assert sum(1 for _ in site.cases_of("softmax")) == len(site.case_ids)

        peaks["diff"].append(peak_of(compare))
        peaks["baseline"].append(peak_of(lambda old=old: Baseline(open_results(old))))  # type: ignore[misc]
        peaks["site"].append(peak_of(build))
    assert all(large < 1.5 * small + 2**18 for small, large in peaks.values()), peaks


def test_commands_read_what_has_another_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = written(tmp_path, 3), written(tmp_path, 3, Verdict.FAIL)
    for path in (old, new):
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    assert main(["diff", str(old), str(new)]) == 1
    assert "3 worse" in capsys.readouterr().out
