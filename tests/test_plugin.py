"""The pytest plugin, driven by pytest itself."""

from __future__ import annotations

import os
import time
from pathlib import Path

# pytester forgets what its runs import, and NumPy cannot be imported twice.
import lossproof.adapters.numpy
import pytest

import lossproof.engine.runner
import lossproof.isolation.load  # noqa: F401
from lossproof.pytest_plugin import _is_case_file

CASE = """\
function: sigmoid
about: One case.
cases:
  - id: half
    clause: SG-1
    level: required
    why: a reason
    dtypes: [float64, float32]
    inputs:
      logits: 0
    expected:
      value: {value}
      gradients:
        logits: 0.25
    tolerance:
      value: 0
      gradients:
        logits: 0
"""


def make(pytester: pytest.Pytester, value: float = 0.5, name: str = "topic.yaml") -> None:
    (pytester.path / name).write_text(CASE.format(value=value), encoding="utf-8")


def test_one_item_per_case_adapter_and_dtype(pytester: pytest.Pytester) -> None:
    make(pytester)
    result = pytester.runpytest("--adapter", "numpy", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*topic.yaml::half*numpy-float64* PASSED*"])


def test_selection_by_keyword(pytester: pytest.Pytester) -> None:
    make(pytester)
    pytester.runpytest("--adapter", "numpy", "-k", "float32 and sigmoid").assert_outcomes(
        passed=1, deselected=1
    )


def test_a_failure_is_explained(pytester: pytest.Pytester) -> None:
    make(pytester, value=0.75)
    result = pytester.runpytest("--adapter", "numpy")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "SG-1: a reason",
            "value: fail: *0.5 where 0.75 is due*",
            "lossproof explain sigmoid/topic/half*",
        ]
    )


def test_xdist(pytester: pytest.Pytester) -> None:
    make(pytester)
    pytester.runpytest("--adapter", "numpy", "-n", "2").assert_outcomes(passed=2)


def test_a_malformed_case_file_is_one_error_and_stops_nothing(pytester: pytest.Pytester) -> None:
    make(pytester)
    make(pytester, name="broken.yaml")
    text = (pytester.path / "broken.yaml").read_text(encoding="utf-8").replace("SG-1", "SG-99")
    (pytester.path / "broken.yaml").write_text(text, encoding="utf-8")
    result = pytester.runpytest("--adapter", "numpy", "--continue-on-collection-errors")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*broken.yaml:5: *no clause 'SG-99'*"])


def test_other_yaml_is_left_alone(pytester: pytest.Pytester) -> None:
    (pytester.path / "compose.yaml").write_text("services:\n  a: 1\n", encoding="utf-8")
    assert pytester.runpytest("--adapter", "numpy").ret == pytest.ExitCode.NO_TESTS_COLLECTED


ITEMS = "- id: x\n" * 200_000


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (CASE, True),
        ("\ufeff# a comment\n---\nabout: >\n  function: no\n" + CASE.replace("about: One case.\n", ""), True),
        (CASE.replace("\n", "\r\n"), True),
        (CASE.replace("about:", "abot:"), True),  # a typing error is to be told, not passed over
        ("function: sigmoid\n" * 100_000, False),
        ("function: " + "x" * 5_000_000, False),
        ("function:" + " " * 5_000_000 + "\n", False),
        ("function:\n" * 400_000 + "cases :\n", False),
        ("services:\n" + ITEMS + "function: x\ncases:\n", False),
        ("#\n" * 500_000, False),
        ("function: sigmoid\nabout: " + "cases:" * 1_000_000, False),
        ("cases:\nfunction: sigmoid\n", False),
        ("", False),
        ("\x00" * 5_000_000, False),
    ],
    ids=range(14),
)
def test_case_files_are_recognised_in_one_reading(text: str, is_one: bool, tmp_path: Path) -> None:
    path = tmp_path / "topic.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    start = time.process_time()
    assert _is_case_file(path) == is_one
    assert time.process_time() - start < 5  # what takes the square of its length takes minutes


def test_no_more_is_read_than_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "topic.yaml"
    for first, is_one in (("services: []\n", False), ("function: x\ncases:\n", True)):
        with path.open("wb") as file:
            file.write(first.encode())
            file.truncate(2**40)  # a terabyte, of which nothing is written
        assert _is_case_file(path) == is_one


def test_what_is_no_file_is_no_case_file(tmp_path: Path) -> None:
    assert not _is_case_file(tmp_path)
    assert not _is_case_file(tmp_path / "absent.yaml")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.yaml")
        assert not _is_case_file(tmp_path / "pipe.yaml")


def test_an_unknown_adapter_is_a_usage_error(pytester: pytest.Pytester) -> None:
    make(pytester)
    result = pytester.runpytest("--adapter", "numpie")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown adapter 'numpie'*did you mean 'numpy'*"])


# -- somebody else's --adapter -------------------------------------------------------------------

OPTION = "def pytest_addoption(parser):\n    parser.addoption('--adapter', {attributes})\n"
THEIRS = "def test_theirs(request):\n    assert request.config.getoption('--adapter') == {value!r}\n"


@pytest.mark.parametrize("where", ["conftest", "plugin loaded before", "plugin loaded after"])
@pytest.mark.parametrize(
    ("attributes", "given", "value"),
    [("default='none'", ["--adapter", "serial"], "serial"), ("action='store_true'", ["--adapter"], True)],
)
def test_a_projects_own_option_is_its_own(
    where: str,
    attributes: str,
    given: list[str],
    value: object,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(pytester)
    pytester.makepyfile(test_theirs=THEIRS.format(value=value))
    option = OPTION.format(attributes=attributes)
    arguments = [*given, "--lossproof-adapter", "numpy"]
    if where == "conftest":
        pytester.makeconftest(option)
    else:
        pytester.makepyfile(theirs=option)
        pytester.syspathinsert()
        if where == "plugin loaded before":
            arguments += ["-p", "theirs"]
        else:
            monkeypatch.setenv("PYTEST_PLUGINS", "theirs")
    pytester.runpytest(*arguments).assert_outcomes(passed=3)


def test_an_option_that_is_found_while_collecting_is_no_conflict(pytester: pytest.Pytester) -> None:
    make(pytester)
    deep = pytester.mkdir("deep")
    (deep / "conftest.py").write_text(OPTION.format(attributes="default='none'"), encoding="utf-8")
    (deep / "test_deep.py").write_text("def test_deep(): pass\n", encoding="utf-8")
    result = pytester.runpytest("--adapter", "numpy")
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "given", [["--adapter", "numpy"], ["--adapter=numpy"], ["--lossproof-adapter=numpy"]]
)
def test_the_short_name_is_the_option_where_nobody_else_has_it(
    given: list[str], pytester: pytest.Pytester
) -> None:
    make(pytester)
    result = pytester.runpytest(*given, "topic.yaml")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["lossproof adapter numpy: *"])


def test_the_value_is_not_taken_for_a_path(pytester: pytest.Pytester) -> None:
    make(pytester)
    pytester.makeini("[pytest]\ntestpaths = checks\n")
    checks = pytester.mkdir("checks")
    (checks / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--ours', action='store_true')\n"
    )
    (checks / "test_ours.py").write_text(
        "def test_ours(request): assert request.config.getoption('--ours')\n"
    )
    pytester.runpytest("--adapter", "numpy", "--ours").assert_outcomes(passed=1)


def test_help_names_the_option(pytester: pytest.Pytester) -> None:
    pytester.runpytest("--help").stdout.fnmatch_lines(
        ["*--lossproof-adapter*", "*--adapter A is short for it*"]
    )
