"""Storing what the oracle found: no order, indentation or comment of a case file is lost by it."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lossproof.case import yaml as yamlio
from lossproof.case.read import case_files, load_file, thorough_ids
from lossproof.core.resources import folder
from lossproof.errors import InputError
from lossproof.oracle.certify import certify
from lossproof.oracle.render import Stored, render
from lossproof.oracle.rewrite import CERTIFIED, replace, rewritten

FILES = list(case_files([folder("cases")]))
# Thorough ones, in which each case begins with its id, are all made by one program.
WRITTEN = [path for path in FILES if thorough_ids(path) is None]


def stored_by(path: Path) -> dict[str, Stored]:
    """What the cases of a file store, as the oracle's text."""
    return {
        case.id.rsplit("/", 1)[1]: render(
            case.expected, case.tolerances, case.function.integer_result, case.choices, case.dtypes
        )
        for case in load_file(path)
        if case.expected is not None
    }


def canonical(value: Any) -> Any:
    """A document without regard to the order of fields; NaN is equal to itself."""
    if isinstance(value, dict):
        return sorted((key, canonical(item)) for key, item in value.items())
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return repr(value)


# -- case files as other people might write them -------------------------------------------------


def entries(text: str) -> Iterator[dict[str, list[str]]]:
    """The lines of each field of each case, at no indentation; ``text`` is in the house's own style."""
    (cases,) = (value for key, value in yamlio.compose(Path("x"), text).value if key.value == "cases")
    lines = text.splitlines()
    starts = [[key.start_mark.line for key, _ in case.value] for case in cases.value]
    ends = [case[0] for case in starts[1:]] + [len(lines)]
    for case, keys, end in zip(cases.value, starts, ends, strict=True):
        column = case.start_mark.column
        yield {
            key.value: [line[column:] for line in lines[first:last] if line.strip()]
            for (key, _), first, last in zip(case.value, keys, [*keys[1:], end], strict=True)
        }


def other_numbers(lines: list[str]) -> list[str]:
    """What is stored with other digits, in the same form; a shape stays."""
    described = any(word in line for line in lines for word in ("shape", "sketch"))
    return lines if described else [re.sub("[2-9]", "1", line) for line in lines]


class Scribe:
    """Writes the cases of a file anew: fields in any order, any indentation, comments everywhere."""

    def __init__(self, seed: str, misfits: bool) -> None:
        self.random, self.misfits = random.Random(seed), misfits
        self.comments = 0

    def comment(self) -> str:
        self.comments += 1
        return f"# note {self.comments}: [not, a, list"

    def sometimes(self, odds: float = 0.3) -> bool:
        return self.random.random() < odds

    def file(self, text: str) -> str:
        head = text[: text.index("\n  - id: ")]
        newline = self.random.choice(["\n", "\r\n"])
        outer = " " * self.random.choice([0, 1, 2, 4])
        found = head.splitlines()
        for case in entries(text):
            found += [outer + line for line in self.case(case)]
        return newline.join(found) + self.random.choice(["", newline])

    def case(self, case: dict[str, list[str]]) -> Iterator[str]:
        dash = "-" + " " * self.random.choice([1, 3])
        fields = [self.field(name, lines) for name, lines in self.stored(case).items()]
        self.random.shuffle(fields)
        if self.sometimes(0.2):
            yield f"-  {self.comment()}"
            first = " " * len(dash)
        else:
            first = dash
        for lines in fields:
            for line in lines:
                yield (first + line).rstrip()
                first = " " * len(dash)
            while self.sometimes():
                yield self.random.choice(["", " ", first + self.comment(), self.comment()])

    def stored(self, case: dict[str, list[str]]) -> dict[str, list[str]]:
        """The case with what it stores, without some of it, or with other numbers; none is refused."""
        rest = {name: lines for name, lines in case.items() if name not in CERTIFIED}
        bound_alone = rest | {name: case[name] for name in ("tolerance",) if name in case}
        without_choices = {name: lines for name, lines in case.items() if name != "choices"}
        wrong = {name: other_numbers(case[name]) for name in ("expected", "tolerance") if name in case}
        good = [case, case, case, rest, bound_alone, without_choices, case | wrong]
        # What does not fit, where all of it is stored anew.
        misfit: list[dict[str, list[str]]] = [
            rest | {"expected": ["expected: {value: 17}"], "tolerance": ["tolerance: {}"]},
            {name: lines for name, lines in case.items() if name not in ("tolerance", "choices")},
            rest | {"expected": ["expected: {value: [[17]]}"]},
        ]
        return self.random.choice(good + misfit if self.misfits else good)

    def field(self, name: str, lines: list[str]) -> list[str]:
        lines = list(lines)
        if name in CERTIFIED:
            for number in range(len(lines) - 1, 0, -1):
                if self.sometimes(0.1):
                    lines.insert(number, self.random.choice(["", self.comment(), f"     {self.comment()}"]))
            if self.sometimes():
                lines[0] += f"  {self.comment()}"
        elif self.sometimes(0.1) and len(lines) == 1:
            lines = [re.sub(r"^(\w+): ", r'"\1" :   ', lines[0])]
        if self.sometimes():
            lines[-1] += f" {self.comment()}"
        return lines


@pytest.mark.parametrize(
    ("path", "seed"),
    [(path, number % 3) for number, path in enumerate(WRITTEN)],
    ids=[f"{path.parent.name}/{path.stem}" for path in WRITTEN],
)
def test_what_people_wrote_stays(path: Path, seed: int) -> None:
    """Each file once: some cases of it stored anew, or all, what no longer fits among them."""
    original = path.read_text(encoding="utf-8")
    scribe = Scribe(f"{path.parent.name}/{path.stem} {seed}", misfits=seed > 0)
    text = scribe.file(original)
    stored = stored_by(path)
    chosen = {name: lines for name, lines in stored.items() if seed or scribe.sometimes(0.6)}
    new = rewritten(path, text, chosen)

    right, before, after = (yamlio.load(path, t) for t in (original, text, new))
    by_id = {case["id"]: case for case in right["cases"]}
    due = [by_id[case["id"]] if case["id"] in chosen else case for case in before["cases"]]
    assert canonical(after["cases"]) == canonical(due)
    assert canonical({**after, "cases": []}) == canonical({**before, "cases": []})

    comments = re.compile(r"# note \d+: \[not, a, list")
    assert sorted(comments.findall(new)) == sorted(comments.findall(text)), "a comment is lost or doubled"
    assert {len(ending) for ending in re.findall(r"\r?\n", new)} == {1 + ("\r\n" in text)}
    assert rewritten(path, new, chosen) == new
    if not chosen:
        assert new == text


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_files_of_the_house_stay_as_they_are_to_the_letter(path: Path) -> None:
    text = yamlio.read_text(path)
    assert rewritten(path, text, stored_by(path)) == text


# -- one case, every way to write it ---------------------------------------------------------------

HEAD = "function: sigmoid\nabout: x\ncases:\n"
REST = "clause: SG-1\n    level: required\n    why: because   # spaced\n    dtypes: [float64]\n"
STORED: dict[str, Stored] = {
    "a": {
        "expected": ("expected:", "  value: 0.5"),
        "tolerance": ("tolerance:", "  value: 0.25"),
    }
}
NEW = "expected:\n      value: 0.5"
BOUND = "tolerance:\n      value: 0.25"
TOPIC = Path("topic.yaml")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            f"  - id: a\n    {REST}    inputs: {{logits: 0}}\n",
            f"  - id: a\n    {REST}    inputs: {{logits: 0}}\n    {NEW}\n    {BOUND}\n",
            id="nothing stored",
        ),
        pytest.param(
            f"  - id: a\n    {REST}    inputs: {{logits: 0}}",
            f"  - id: a\n    {REST}    inputs: {{logits: 0}}\n    {NEW}\n    {BOUND}",
            id="no line break at the end",
        ),
        pytest.param(
            f"  - id: a\n    {REST}    inputs: {{logits: 0}}\n    # why raise\n    variants: []\n",
            f"  - id: a\n    {REST}    inputs: {{logits: 0}}\n    # why raise\n    variants: []\n"
            f"    {NEW}\n    {BOUND}\n",
            id="after variants",
        ),
        pytest.param(
            f"  - variants: []\n    {REST}    inputs: {{logits: 0}}\n    id: a\n\n# the end\n",
            f"  - variants: []\n    {REST}    inputs: {{logits: 0}}\n    id: a\n    {NEW}\n    {BOUND}\n"
            "\n# the end\n",
            id="variants first",
        ),
        pytest.param(
            f"  - expected: {{value: 1}}\n    {REST}    inputs: {{logits: 0}}\n    id: a\n",
            f"  - {NEW}\n    {BOUND}\n    {REST}    inputs: {{logits: 0}}\n    id: a\n",
            id="expected first",
        ),
        pytest.param(
            f"  - tolerance: {{}}\n    id: a\n    {REST}    inputs: {{logits: 0}}\n    expected:\n"
            "      # one half\n      value: 1 # or so\n",
            f"  - {BOUND}\n    id: a\n    {REST}    inputs: {{logits: 0}}\n"
            f"    # one half\n    {NEW} # or so\n",
            id="tolerance before expected",
        ),
        pytest.param(
            f"  - id: a\n    {REST}    tolerance: {{}}\n    inputs: {{logits: 0}}\n",
            f"  - id: a\n    {REST}    {NEW}\n    {BOUND}\n    inputs: {{logits: 0}}\n",
            id="tolerance alone",
        ),
        pytest.param(
            f"  - id: a\n    {REST}    expected: {{value: [1, # first\n      2], gradients: {{\n"
            "        logits: '#'}}\n    inputs: {logits: 0}\n".replace("'#'", "[3, 4]"),
            f"  - id: a\n    {REST}    # first\n    {NEW}\n    {BOUND}\n    inputs: {{logits: 0}}\n",
            id="braces over several lines",
        ),
        pytest.param(
            f"  - id: a\n    {REST.replace('because   # spaced', '|')}".replace(
                "|\n", "|\n      because # this\n\n"
            )
            + "    inputs: {logits: 0}\n    variants: []\n",
            f"  - id: a\n    {REST.replace('because   # spaced', '|')}".replace(
                "|\n", "|\n      because # this\n\n"
            )
            + f"    inputs: {{logits: 0}}\n    variants: []\n    {NEW}\n    {BOUND}\n",
            id="a block of text between",
        ),
        pytest.param(
            f"  - id: a\n    {REST.replace('    why: because   # spaced', '')}    inputs: {{logits: 0}}\n"
            "    why: |\n      because # this\n",
            f"  - id: a\n    {REST.replace('    why: because   # spaced', '')}    inputs: {{logits: 0}}\n"
            f"    why: |\n      because # this\n    {NEW}\n    {BOUND}\n",
            id="a block of text at the end",
        ),
    ],
)
def test_where_things_go(before: str, after: str) -> None:
    assert rewritten(TOPIC, HEAD + before, STORED) == HEAD + after


def test_people_write_first_and_the_oracle_last() -> None:
    """In each case of the house what is certified stands behind all that is not."""
    for path in FILES:
        for case in yamlio.load(path, yamlio.read_text(path))["cases"]:
            names = [name for name in case if name not in CERTIFIED]
            assert list(case)[: len(names)] == names, f"{path}: {case['id']}"


def test_a_tolerance_that_none_is_due_for_goes() -> None:
    """Integers are exact: their cases have no tolerance."""
    stored: dict[str, Stored] = {"a": {"expected": ("expected:", "  value: [[[1]]]")}}
    integers = HEAD.replace("sigmoid", "pspnet_predict")
    rest = f"id: a\n    {REST.replace('SG-1', 'PSP-7')}    inputs: {{logits: [[[[0, 1]]]]}}\n"
    new = NEW.replace("0.5", "[[[1]]]")
    old = "expected: {value: [[[0]]]}"
    last = f"{integers}  - {rest}    {old}\n    tolerance: # none\n      {{}} # really\n# end\n"
    first = f"{integers}  - tolerance: {{}} # none\n\n    {old}\n    {rest}"
    middle = f"{integers}  - {rest}    tolerance: {{}}\n    # the larger\n    {old}\n"
    assert (
        rewritten(TOPIC, last, stored) == f"{integers}  - {rest}    {new}\n    # none\n    # really\n# end\n"
    )
    assert rewritten(TOPIC, first, stored) == f"{integers}  - # none\n    {new}\n    {rest}"
    assert rewritten(TOPIC, middle, stored) == f"{integers}  - {rest}    # the larger\n    {new}\n"


def test_a_mark_of_byte_order_stays() -> None:
    text = f"\ufeff{HEAD}  - id: a\n    {REST}    inputs: {{logits: 0}}\n"
    assert rewritten(TOPIC, text, STORED) == f"{text}    {NEW}\n    {BOUND}\n"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "  - {id: a, clause: SG-1, level: required, why: x, dtypes: [float64], inputs: {logits: 0}}\n",
            r"topic.yaml:\d+: case 'a' is written in braces, .* on a line of its own",
        ),
        (
            f"  - id: a\n    {REST}    inputs: {{logits: 0}}\n    ? expected\n    : {{value: 1}}\n",
            r"topic.yaml:\d+: case 'a' has more than the name of expected before its value",
        ),
        (
            f"  - id: a\n    {REST}    inputs: {{logits: 0}}\n    ? expected\n    : {{value: 1}}\n"
            "    tolerance: {}\n",
            r"topic.yaml:\d+: case 'a' has more than the name",
        ),
        (
            # The text would gain the line break that it lacks.
            f"  - id: a\n    {REST.replace('    why: because   # spaced', '')}    inputs: {{logits: 0}}\n"
            "    why: |\n      because",
            r"topic.yaml:4: case 'a': certify --write would change more of it",
        ),
    ],
)
def test_what_cannot_be_edited_is_refused(case: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rewritten(TOPIC, HEAD + case, STORED)


def test_another_case_in_braces_is_left_alone() -> None:
    other = "  - {id: b, clause: SG-1, level: required, why: x, dtypes: [float64], inputs: {logits: 0}}\n"
    text = f"{HEAD}{other}  - id: a\n    {REST}    inputs: {{logits: 0}}\n{other.replace('b,', 'c,')}"
    due = text.replace("{logits: 0}\n", f"{{logits: 0}}\n    {NEW}\n    {BOUND}\n")
    assert rewritten(TOPIC, text, STORED) == due


def test_text_that_would_not_load_is_refused() -> None:
    text = f"{HEAD}  - id: a\n    {REST}    inputs: {{logits: 0}}\n"
    with pytest.raises(InputError, match=r"cannot be read .*must be a number or nested lists"):
        rewritten(TOPIC, text, {"a": {"expected": ("expected:", "  value: [1, [2]]")}})


# -- files -----------------------------------------------------------------------------------------


def test_nothing_is_written_when_one_file_is_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "later.yaml"
    good.write_text(f"{HEAD}  - id: a\n    {REST}    inputs: {{logits: 0}}\n", encoding="utf-8")
    bad.write_text(
        HEAD + "  - {id: b, clause: SG-1, level: required, why: x, dtypes: [float64], inputs: {logits: 0}}\n",
        encoding="utf-8",
    )
    before = good.read_bytes()
    with pytest.raises(InputError, match=r"later.yaml:4: case 'b' is written in braces"):
        certify([tmp_path], write=True, jobs=1)
    assert good.read_bytes() == before
    bad.unlink()
    certify([tmp_path], write=True, jobs=1)
    assert load_file(good)[0].expected is not None
    assert certify([tmp_path], jobs=1)[1] == []
    assert os.listdir(tmp_path) == ["good.yaml"]


def test_a_case_that_cannot_be_certified_does_not_keep_another_from_it(tmp_path: Path) -> None:
    path = tmp_path / "topic.yaml"
    inexact = REST.replace("float64", "float16")
    described = "{logits: {random: normal, shape: [4], seed: 1, bits: 8, scale: 0x1p-20}}"
    path.write_text(
        f"{HEAD}  - id: b\n    {inexact}    inputs: {described}\n"
        f"  - id: a\n    {REST}    inputs: {{logits: 0}}\n",
        encoding="utf-8",
    )
    _, problems = certify([path], write=True, jobs=1)
    assert len(problems) == 1 and "not exactly representable in float16" in problems[0]
    assert [case.expected is None for case in load_file(path)] == [True, False]


@pytest.mark.parametrize(
    "stored",
    ["expected: {value: 1}\n    tolerance: {value: 1}", "expected: {value: [1, 2]}", "expected: {value: []}"],
)
def test_what_no_longer_fits_the_inputs_is_stored_anew(stored: str, tmp_path: Path) -> None:
    """As after a case's inputs were changed; every case of the file is."""
    path = tmp_path / "topic.yaml"
    text = f"{HEAD}  - id: a\n    {REST}    inputs: {{logits: [0, 0]}}\n    {stored}\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="certify --write"):
        certify([path], jobs=1)
    assert certify([path], write=True, jobs=1)[1] == []
    assert certify([path], jobs=1)[1] == []


def test_a_file_is_replaced_whole_and_keeps_its_rights(tmp_path: Path) -> None:
    path, link = tmp_path / "topic.yaml", tmp_path / "link.yaml"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    link.symlink_to(path)
    replace(link, "old", "new\r\n")
    assert path.read_bytes() == b"new\r\n" and path.stat().st_mode & 0o777 == 0o640 and link.is_symlink()
    with pytest.raises(InputError, match="was changed in the meantime"):
        replace(path, "old", "newer")
    assert path.read_bytes() == b"new\r\n"


def test_a_failed_write_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "topic.yaml"
    path.write_text("old", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        replace(path, "old", "new")
    assert path.read_text(encoding="utf-8") == "old" and os.listdir(tmp_path) == ["topic.yaml"]
