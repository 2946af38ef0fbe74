"""Every bad input gets one message that names file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossproof.case.read import load_cases, load_file
from lossproof.errors import InputError

GOOD = """\
function: softmax
about: A row.
cases:
  - id: one
    clause: SM-1
    level: required
    why: a reason
    dtypes: [float32]
    inputs:
      logits: [1, 2]
"""

# An expectation on one line, so that a tolerance after it can be wrong.
ONE = "expected: {value: [0.25, 0.75]}"


def with_tolerance(text: str) -> str:
    return f"    {ONE}\n    tolerance: {text}\n    inputs:"


BAD = {
    "malformed": ("logits: [1, 2]", "logits: [1, 2", 11, "malformed YAML"),
    "tab": ("    why: a reason", "\twhy: a reason", 7, "malformed YAML"),
    "unknown field": ("    why:", "    whyy: x\n    why:", 7, "unknown field 'whyy'"),
    "unknown top field": ("about: A row.", "about: A row.\nabot: x", 3, "unknown field 'abot'"),
    "missing field": ("    level: required\n", "", 4, "lacks the field 'level'"),
    "unknown function": ("function: softmax", "function: sofmax", 1, "did you mean 'softmax'?"),
    "unknown clause": ("SM-1", "SM-99", 5, "no clause 'SM-99'"),
    "unknown level": ("level: required", "level: optional", 6, "required or recommended"),
    "unknown dtype": ("[float32]", "[float33]", 8, "did you mean 'float32'?"),
    "no dtype": ("[float32]", "[]", 8, "dtypes is empty"),
    "repeated dtype": ("[float32]", "[float32, float32]", 8, "without repeats"),
    "inexact decimal": ("[1, 2]", "[1, 0.1]", 10, "0.1 in logits is not exactly a float64"),
    "too many digits": ("[1, 2]", "[1, 0." + "9" * 5000 + "]", 10, "not exactly a float64"),
    "tiny exponent": ("[1, 2]", "[1, 1e-999999999]", 10, "not exactly a float64"),
    "inexact in dtype": ("[1, 2]", "[1, 16777217]", 10, "not exactly representable in float32"),
    "ragged": ("[1, 2]", "[[1, 2], [3]]", 10, "nested lists of equal lengths"),
    "text": ("[1, 2]", "[1, two]", 10, "must be a number or nested lists"),
    "null": ("[1, 2]", "[1, null]", 10, "must be a number or nested lists"),
    "wrong shape": ("[1, 2]", "3", 9, "no axis -1"),
    "wrong array": ("logits:", "logit:", 10, "unknown field 'logit'"),
    "duplicate key": ("    why: a reason", "    why: a reason\n    why: b", 8, "duplicate key 'why'"),
    "alias": ("[1, 2]", "&a [1, 2]\n    cotangent: *a", 10, "aliases are not allowed"),
    "tag": ("[1, 2]", "!!python/object/apply:os.system [ls]", 10, "tags are not allowed"),
    "unknown parameter": ("    inputs:", "    parameters: {axes: 0}\n    inputs:", 9, "no parameter 'axes'"),
    "bad parameter": ("    inputs:", "    parameters: {axis: x}\n    inputs:", 9, "axis must be an integer"),
    "bad id": ("id: one", "id: One Two", 4, "lower-case words"),
    "unknown random": ("[1, 2]", "{random: gauss, shape: [2], seed: 1}", 10, "unknown random kind 'gauss'"),
    "huge": ("[1, 2]", "{full: 0, shape: [100000, 100000]}", 10, "16,777,216 are the limit"),
    "bad seed": ("[1, 2]", "{random: normal, shape: [2], seed: -1}", 10, "seed of logits must be"),
    "bad layout": ("    inputs:", "    layout: {logits: upside-down}\n    inputs:", 9, "layout of logits"),
    "bad wrt": ("    inputs:", "    wrt: [labels]\n    inputs:", 9, "unknown wrt 'labels'"),
    "bad variant": ("    inputs:", "    variants: [{name: x}]\n    inputs:", 9, "either raises: true"),
    "bad tolerance": ("    inputs:", with_tolerance("{value: -1}"), 10, "u of a tolerance must"),
    "tolerance of another shape": (
        "    inputs:", with_tolerance("{value: [1, 2, 3]}"), 10, "has shape (3,), not (2,)",
    ),
    "tolerance of nothing": (
        "    inputs:", with_tolerance("{gradients: {logits: 1}}"), 10, "which is not expected",
    ),
    "tolerance with an unknown part": (
        "    inputs:", with_tolerance("{value: {u: 1, rel: 1}}"), 10, "unknown field 'rel'",
    ),
    "bad eta": (
        "    inputs:", with_tolerance("{value: {u: 1, eta: .inf}}"), 10, "eta of a tolerance",
    ),
    "cotangent of another shape": (
        "    inputs:", "    cotangent: [1, 2, 3]\n    inputs:", 9, "has shape (3,), but the result has (2,)",
    ),
    "cotangent that is not representable": (
        "    inputs:", "    cotangent: [1, 16777217]\n    inputs:", 9, "not exactly representable in float32",
    ),
    "bad reason": ("    inputs:", "    vacuous: {value: 3}\n    inputs:", 9, "vacuous gives a reason"),
}  # fmt: skip


def test_the_good_one_loads() -> None:
    (case,) = load_file(Path("topic.yaml"), GOOD)
    assert case.id == "softmax/topic/one" and case.line == 4


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_its_line(name: str) -> None:
    old, new, line, message = BAD[name]
    assert old in GOOD
    with pytest.raises(InputError) as error:
        load_file(Path("topic.yaml"), GOOD.replace(old, new, 1))
    text = str(error.value)
    assert text.startswith(f"topic.yaml:{line}:"), text
    assert message in text


def test_duplicate_ids_are_refused() -> None:
    with pytest.raises(InputError, match="duplicate id 'softmax/topic/one', first used at line 4"):
        load_file(Path("topic.yaml"), GOOD + GOOD.split("cases:\n")[1])


def test_duplicate_ids_across_files_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "topic.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(InputError, match="duplicate id"):
        load_cases([tmp_path])


@pytest.mark.parametrize(
    "text",
    ["", "a: " + "[" * 100_000, "- " * 100_000, "\x00", "a: &x [*x]", "{" * 65 + "}" * 65, "x" * 9_000_000],
    ids=["empty", "brackets", "dashes", "nul", "cycle", "braces", "large"],
)  # fmt: skip
def test_hostile_text_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "topic.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        load_file(path)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_file(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"about: \xff")
    with pytest.raises(InputError, match="not UTF-8"):
        load_file(tmp_path / "latin.yaml")


def test_hex_floats_and_yaml_1_2_numbers() -> None:
    text = GOOD.replace("[1, 2]", "[0x1p-149, 1e2, .inf, -.inf, .nan, -0x1.8p1]")
    (case,) = load_file(Path("topic.yaml"), text)
    values = case.exact_arrays["logits"].tolist()
    assert values[:4] == [2.0**-149, 100.0, float("inf"), float("-inf")]
    assert values[4] != values[4] and values[5] == -3.0
