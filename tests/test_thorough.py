"""The quick set of cases, and all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# pytester forgets what its runs import, and NumPy cannot be imported twice.
import lossproof.adapters.numpy
import pytest

import lossproof
import lossproof.engine.runner
import lossproof.isolation.load
from lossproof.case import select
from lossproof.case.select import select_cases
from lossproof.cli.main import main
from lossproof.errors import InputError, LossproofError
from lossproof.registry.deviations import Deviation, Deviations, Where
from lossproof.results.file import read_json
from tests.own_cases import stand_in

CASE = """\
  - id: {id}
    clause: SG-1
    level: required
    why: a reason
    dtypes: [float32]
    inputs: {{logits: 0}}
    expected: {{value: 0.5, gradients: {{logits: 0.25}}}}
    tolerance: {{value: 0, gradients: {{logits: 0}}}}
"""
LONG = CASE.format(id="long").replace("    why", "    thorough: true\n    why")
FILE = "function: sigmoid\nabout: Two cases.\ncases:\n" + CASE.format(id="short") + LONG
SAID = "quick set: 1 of 2 cases; --thorough runs all"


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return stand_in(tmp_path, FILE, monkeypatch)


def ids(*references: str, thorough: bool = False) -> list[str]:
    return [case.id.rsplit("/", 1)[1] for case in select_cases(references, [], thorough)]


def test_the_quick_set_leaves_out_thorough_cases_that_are_not_named(cases: Path) -> None:
    for reference in ([], ["sigmoid"], ["sigmoid/*"], [str(cases)]):
        assert ids(*reference) == ["short"]
        assert ids(*reference, thorough=True) == ["short", "long"]
        assert select_cases(reference, []).left_out == {"sigmoid/topic/long"}
    for named in ("sigmoid/topic", "sigmoid/topic/", str(cases / "topic.yaml")):
        assert ids(named) == ["short", "long"]
    assert ids("sigmoid/topic/long") == ["long"]
    assert ids(str(cases), str(cases / "topic.yaml")) == ["short", "long"]
    assert not select_cases(["sigmoid", "sigmoid/topic/long"], []).left_out


def test_many_cases_are_read_again_without_thorough_ones(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "MAX_KEPT", 0)
    assert ids() == ["short"]


WHOLE = FILE.replace("cases:\n", "thorough: true\ncases:\n").replace("    thorough: true\n", "")


def test_a_file_that_is_thorough_as_a_whole_is_read_only_when_it_is_asked_for(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cases / "all.yaml").write_text(WHOLE, encoding="utf-8")
    assert [case.thorough for case in select_cases([], [], True)] == [False, True, True, True]
    assert ids("sigmoid/all") == ["short", "long"] and ids("sigmoid/all/long") == ["long"]
    assert ids(str(cases / "all.yaml")) == ["short", "long"]
    with pytest.raises(LossproofError, match="did you mean 'sigmoid/all/long'"):
        select_cases(["sigmoid/all/lang"], [])
    # Unread, it may even be broken.
    (cases / "all.yaml").write_text(WHOLE.replace("why: a reason", "why: [a reason]"), encoding="utf-8")
    for references, functions in (([], []), (["sigmoid"], []), (["sig*"], []), ([], ["sigmoid"])):
        selected = select_cases(references, functions)
        assert [case.id for case in selected] == ["sigmoid/topic/short"]
        assert selected.left_out == {"sigmoid/topic/long", "sigmoid/all/short", "sigmoid/all/long"}
    with pytest.raises(InputError, match="why"):
        select_cases([], [], True)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.replace("thorough: true\n", "").replace("function", "thorough: true\nfunction"),
        WHOLE.replace("  - id: long\n    clause: SG-1\n", "  - clause: SG-1\n    id: long\n"),
        WHOLE.replace("  - id: long\n", "  - id: 'long'\n"),
    ],
)
def test_a_thorough_file_shows_its_ids(text: str, cases: Path) -> None:
    (cases / "all.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"all\.yaml:\d+: in a file of thorough cases the line"):
        select_cases([], [], True)


def test_a_choice_of_thorough_cases_alone_says_how_to_run_them(cases: Path) -> None:
    (cases / "topic.yaml").write_text(FILE.replace(CASE.format(id="short"), ""), encoding="utf-8")
    with pytest.raises(LossproofError, match="no case is left but thorough ones; --thorough runs them"):
        select_cases([], [])


@pytest.mark.parametrize(
    ("arguments", "ran", "kind"),
    [([], 1, "quick"), (["--thorough"], 2, "thorough"), (["sigmoid/topic"], 2, "chosen")],
)
def test_a_run_says_and_records_which_set_it_took(
    arguments: list[str], ran: int, kind: str, cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    for quiet in ([], ["-q"]):
        assert main(["run", "-a", "numpy", *arguments, *quiet, "--json", str(file)]) == 0
        assert (SAID in capsys.readouterr().out) == (ran == 1)
        results = read_json(file)
        assert results.environment["cases"] == kind
        assert len({record.case for record in results}) == ran


def test_from_python(cases: Path) -> None:
    assert len(lossproof.run("numpy")) == 3
    results = lossproof.run("numpy", thorough=True)
    assert len(results) == 6
    assert results.environment["cases"] == "thorough"


def test_list_marks_thorough_cases(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--cases", "--json"]) == 0
    texts = {row["id"]: row["text"] for row in json.loads(capsys.readouterr().out)}
    assert texts["sigmoid/topic/long"].startswith("(SG-1, required, thorough)")
    assert texts["sigmoid/topic/short"].startswith("(SG-1, required)")


def test_a_quick_run_does_not_call_deviations_of_thorough_cases_unknown(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deviation(case: str) -> Deviation:
        return Deviation(
            id="x", clause="SG-1", condition="", observed="", expected="", versions="any", upstream="",
            where=(Where((case,)),), path="x.yaml", line=3,
        )  # fmt: skip

    from dataclasses import replace

    from lossproof.isolation.load import load_adapter as load

    def loading(case: str) -> Any:
        def loaded(*given: Any, **named: Any) -> Any:
            return replace(
                load(*given, **named), deviations=Deviations([deviation(case)], "numpy", "2", "cpu")
            )

        return loaded

    monkeypatch.setattr("lossproof.session.load_adapter", loading("sigmoid/topic/long"))
    assert len(lossproof.run("numpy")) == 3
    monkeypatch.setattr("lossproof.session.load_adapter", loading("sigmoid/topic/gone"))
    with pytest.raises(InputError, match="no case 'sigmoid/topic/gone'"):
        lossproof.run("numpy")


def test_a_quick_run_keeps_what_a_folder_has_of_thorough_cases(cases: Path, tmp_path: Path) -> None:
    kept = tmp_path / "results"
    kept.mkdir()

    def run(*arguments: str) -> tuple[set[str], str]:
        assert main(["run", "-a", "numpy", *arguments, "-q", "--results", str(kept)]) == 0
        (file,) = kept.iterdir()
        results = read_json(file)
        return {record.case.rsplit("/", 1)[1] for record in results}, results.environment["cases"]

    assert run() == ({"short"}, "quick")
    assert run("--thorough") == ({"short", "long"}, "thorough")
    assert run() == ({"short", "long"}, "thorough")
    assert run("sigmoid/topic/short") == ({"short", "long"}, "thorough")
    (cases / "topic.yaml").write_text(FILE.replace(LONG, ""), encoding="utf-8")
    assert run() == ({"short"}, "quick")


def test_diff_tells_sets_apart(cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick, whole = str(tmp_path / "quick.json"), str(tmp_path / "all.json")
    assert main(["run", "-a", "numpy", "--json", quick]) == 0
    assert main(["run", "-a", "numpy", "--thorough", "--json", whole]) == 0
    capsys.readouterr()
    for pair in ([quick, whole], [whole, quick]):
        assert main(["diff", *pair]) == 0
        out = capsys.readouterr().out
        assert "no change" in out
        assert "3 outputs in one of the runs only, as the other took the quick set" in out
    assert main(["run", "-a", "numpy", "--thorough", "--baseline", quick]) == 0


def test_pytest_takes_the_quick_set_of_folders(pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("conformance")
    (folder / "topic.yaml").write_text(FILE, encoding="utf-8")
    run = pytester.runpytest
    run("--adapter", "numpy").assert_outcomes(passed=1)
    run("--adapter", "numpy", "conformance").assert_outcomes(passed=1)
    run("--adapter", "numpy", "--thorough").assert_outcomes(passed=2)
    run("--adapter", "numpy", "--lossproof-thorough").assert_outcomes(passed=2)
    run("--adapter", "numpy", "conformance/topic.yaml").assert_outcomes(passed=2)
    pytester.makeini("[pytest]\nlossproof_thorough = numpy\n")
    run("--adapter", "numpy").assert_outcomes(passed=2)


def test_somebody_elses_thorough_is_theirs(pytester: pytest.Pytester) -> None:
    (pytester.path / "topic.yaml").write_text(FILE, encoding="utf-8")
    pytester.makeconftest("def pytest_addoption(parser):\n    parser.addoption('--thorough', type=int)\n")
    pytester.makepyfile("def test_it(request):\n    assert request.config.getoption('--thorough') == 3\n")
    pytester.runpytest("--adapter", "numpy", "--thorough", "3").assert_outcomes(passed=2)
    pytester.runpytest("--adapter", "numpy", "--thorough", "3", "--lossproof-thorough").assert_outcomes(
        passed=3
    )
