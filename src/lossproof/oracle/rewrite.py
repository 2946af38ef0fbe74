"""Store what the oracle found in the text of a case file, and leave all that people wrote as it is.

The text is edited where its YAML nodes say that the certified fields stand, in any order of fields and
at any indentation; where there are none yet they go behind all that people wrote. Comments inside of what
is replaced move above it. The result is read again before anyone gets it: had an edit changed more than
the certified fields, it is refused.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from lossproof.case.read import load_file
from lossproof.case.yaml import compose, read_text
from lossproof.core.files import write
from lossproof.core.text import display
from lossproof.errors import InputError
from lossproof.oracle.render import Stored

# What the oracle writes, in the order in which it is stored.
CERTIFIED = ("expected", "tolerance", "choices")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True)
class _Edit:
    """Characters ``start`` to ``end`` become ``text``."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class _Field:
    """One field of a case: from the first character of its key to the last of its value."""

    name: str
    start: int
    end: int
    scalars: tuple[tuple[int, int], ...]


def rewritten(path: Path, text: str, stored: Mapping[str, Stored]) -> str:
    """The text of a case file with other expectations and tolerances.

    Args:
        path: whose text it is; the file itself is neither read nor written.
        text: what a case file holds.
        stored: by the case's id in its file, what it is to store. Other cases are left alone.

    Raises:
        InputError: it is no case file, or a case is written in a way that cannot be edited safely.
    """
    load_file(path, text, stored=False)
    page = _Page(path, text)
    edits = [
        edit
        for case, node in _cases(compose(path, text))
        if case in stored
        for edit in page.edits(node, stored[case], case)
    ]
    new = text
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        new = new[: edit.start] + edit.text + new[edit.end :]
    _verify(path, text, new, stored)
    return new


def replace(path: Path, old: str, new: str) -> None:
    """Write ``new`` over a file that still holds ``old``: all of it or nothing.

    Raises:
        InputError: the file holds something else by now, or cannot be written.
    """
    if read_text(path) != old:
        raise InputError(display(path), None, "was changed in the meantime; nothing is written to it")
    write(path, new)


class _Page:
    """A text with the places of its lines."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.starts = [0, *(match.end() for match in _BREAK.finditer(text))]
        first = _BREAK.search(text)
        self.newline = first[0] if first else "\n"

    def edits(self, case: yaml.MappingNode, stored: Stored, name: str) -> Iterator[_Edit]:
        """What makes a case store this."""
        line = case.start_mark.line + 1
        if case.flow_style:
            raise self.refuse(line, name, "is written in braces")
        fields = {field.name: field for field in self.fields(case)}
        column = case.start_mark.column
        there = [field for field in CERTIFIED if field in fields]
        for field in there:
            line_start = self.line_start(fields[field].start)
            if self.text[line_start : fields[field].start].strip(" \t-"):
                raise self.refuse(line, name, f"has more than the name of {field} before its value")
        blocks, new = _placed(stored, there)
        for field in there:
            if field in blocks:
                yield self.replaced(fields[field], blocks[field], column)
            else:
                yield self.removed(list(fields.values()), fields[field], column)
        if new:
            yield self.inserted(list(fields.values()), new, column)

    def refuse(self, line: int, case: str, why: str) -> InputError:
        return InputError(
            display(self.path), line,
            f"case {case!r} {why}, which certify --write does not edit; "
            "write each of its fields as `name: value` on a line of its own",
        )  # fmt: skip

    # -- edits -------------------------------------------------------------------------------

    def replaced(self, field: _Field, lines: Sequence[str], column: int) -> _Edit:
        return _Edit(
            field.start,
            field.end,
            self.joined([*self.comments(field.start, field.end, field), *lines], column),
        )

    def inserted(self, fields: Sequence[_Field], lines: Sequence[str], column: int) -> _Edit:
        """After all other fields: what people wrote is read first."""
        place = self.after(fields[-1])
        block = " " * column + self.joined(lines, column)
        if place == len(self.text) and not _BREAK.fullmatch(self.text[-1:]):
            return _Edit(place, place, self.newline + block)
        return _Edit(place, place, block + self.newline)

    def removed(self, fields: Sequence[_Field], field: _Field, column: int) -> _Edit:
        number = fields.index(field)
        if number + 1 < len(fields):
            # Up to the next field, which takes its place, perhaps behind the dash.
            end = fields[number + 1].start
            kept = self.comments(field.start, end, field)
            return _Edit(field.start, end, self.joined([*kept, ""], column))
        start, end = self.line_start(field.start), self.after(field)
        kept = self.comments(start, end, field)
        return _Edit(start, end, "".join(" " * column + line + self.newline for line in kept))

    def joined(self, lines: Sequence[str], column: int) -> str:
        """Lines of which the first one's indentation is there already."""
        return (self.newline + " " * column).join(lines)

    # -- places ------------------------------------------------------------------------------

    def fields(self, case: yaml.MappingNode) -> Iterator[_Field]:
        for key, value in case.value:
            scalars = tuple((self.index(s.start_mark), self.index(s.end_mark)) for s in _scalars(key, value))
            yield _Field(key.value, self.index(key.start_mark), self.index(_end(value)), scalars)

    def index(self, mark: Any) -> int:
        place: int = self.starts[mark.line] + mark.column
        return place

    def line_start(self, index: int) -> int:
        return self.starts[bisect_right(self.starts, index) - 1]

    def after(self, field: _Field) -> int:
        """Where the line after a field begins."""
        start = self.line_start(field.end)
        if not self.text[start : field.end].strip(" "):
            return start  # the end of a block of text is the line after it
        following = bisect_right(self.starts, field.end)
        return self.starts[following] if following < len(self.starts) else len(self.text)

    def comments(self, start: int, end: int, field: _Field) -> list[str]:
        """The comments between two places: outside of scalars a number sign opens nothing else."""
        found = []
        place = start
        for scalar, behind in [*field.scalars, (end, end)]:
            gap = self.text[place : max(scalar, place)]
            found += [line[line.index("#") :].rstrip() for line in _BREAK.split(gap) if "#" in line]
            place = max(behind, place)
        return found


def _cases(root: yaml.Node) -> Iterator[tuple[str, yaml.MappingNode]]:
    fields = {key.value: value for key, value in root.value}
    for case in fields["cases"].value:
        yield next(value.value for key, value in case.value if key.value == "id"), case


def _placed(stored: Stored, there: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The lines that take the place of fields that are there, and those that have no place yet.

    A field that is not there yet goes before the next one that stays, or else after the last one.
    """
    blocks: dict[str, list[str]] = {}
    new: list[str] = []
    for field in CERTIFIED:
        new += stored.get(field, ())
        if field in there and field in stored:
            blocks[field], new = new, []
    if new and blocks:
        blocks[list(blocks)[-1]] += new
        new = []
    return blocks, new


def _lines(stored: Stored) -> list[str]:
    return list(chain.from_iterable(stored[field] for field in CERTIFIED if field in stored))


def _scalars(*nodes: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """The scalars of nodes in the order of the text."""
    for node in nodes:
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.SequenceNode):
            yield from _scalars(*node.value)
        else:
            yield from _scalars(*chain.from_iterable(node.value))


def _end(node: yaml.Node) -> Any:
    """The mark behind a node's last character; a block collection's own mark is that of what follows."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return node.end_mark
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


# -- the proof -------------------------------------------------------------------------------


def _verify(path: Path, old: str, new: str, stored: Mapping[str, Stored]) -> None:
    """Refuse a text that says anything else than the old one outside of what is stored."""
    try:
        load_file(path, new)
        before, after = compose(path, old), compose(path, new)
    except InputError as error:
        raise InputError(
            display(path), None,
            f"what certify --write would make of it cannot be read ({error}); nothing is written",
        ) from None  # fmt: skip
    for (name, node), (other, again) in zip(_cases(before), _cases(after), strict=False):
        if name != other or _meaning(again, ()) != _due(path, node, stored.get(name)):
            raise InputError(
                display(path), node.start_mark.line + 1,
                f"case {name!r}: certify --write would change more of it than expected, tolerance and "
                "choices; write each of its fields as `name: value` on a line of its own",
            )  # fmt: skip
    same_cases = [name for name, _ in _cases(before)] == [name for name, _ in _cases(after)]
    if not same_cases or _meaning(before, ("cases",)) != _meaning(after, ("cases",)):
        raise InputError(display(path), None, "certify --write would change more of it than its cases")


def _due(path: Path, case: yaml.Node, stored: Stored | None) -> Any:
    """What a case has to say after the edit, without regard to the order of its fields."""
    if stored is None:
        return _meaning(case, ())
    found = compose(path, "\n".join(_lines(stored)))
    return _meaning(case, CERTIFIED) | _meaning(found, ())


def _meaning(node: yaml.Node, without: Sequence[str]) -> Any:
    """What a node says, letter by letter, without regard to the order of fields, less some of its own."""
    if isinstance(node, yaml.ScalarNode):
        return (node.value, node.style or "")
    if isinstance(node, yaml.SequenceNode):
        return tuple(_meaning(item, ()) for item in node.value)
    return frozenset(
        (key.value, _meaning(value, ())) for key, value in node.value if key.value not in without
    )
