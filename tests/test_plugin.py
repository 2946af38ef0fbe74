"""The pytest plugin, driven by pytest itself."""

from __future__ import annotations

import pytest

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


def test_an_unknown_adapter_is_a_usage_error(pytester: pytest.Pytester) -> None:
    make(pytester)
    result = pytester.runpytest("--adapter", "numpie")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown adapter 'numpie'*did you mean 'numpy'*"])
