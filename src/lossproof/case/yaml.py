"""YAML 1.2 core values with line numbers, read safely.

PyYAML's C parser reads the text; the plain scalars are resolved here, because PyYAML follows
YAML 1.1 (where ``1e-5`` is a string and ``on`` is true) and keeps no line numbers. Tags, anchors,
aliases, duplicate keys, huge files and deep nesting are refused: case files may come from anyone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lossproof.core.misfit import Misfit
from lossproof.core.text import display
from lossproof.core.validate import fit
from lossproof.errors import InputError

T = TypeVar("T")

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 64

_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_HEX_FLOAT = re.compile(r"[-+]?0[xX][0-9a-fA-F]+(\.[0-9a-fA-F]*)?[pP][-+]?[0-9]+\Z")
# As many brackets in a row as may be nested.
_DEEP = re.compile(rf"[\[{{]{{{MAX_DEPTH}}}")
_SPECIAL = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
}  # fmt: skip
for _text in (".inf", ".Inf", ".INF"):
    _SPECIAL[_text] = _SPECIAL["+" + _text] = float("inf")
    _SPECIAL["-" + _text] = float("-inf")


_TAGS = {
    yaml.ScalarNode: "tag:yaml.org,2002:str",
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
    yaml.MappingNode: "tag:yaml.org,2002:map",
}


class _Loader(_BaseLoader):
    """Gives what has no tag the tag of its kind: every plain scalar is text, which `_scalar` resolves."""

    def resolve(self, kind: type[yaml.Node], value: str, implicit: Any) -> str:
        return _TAGS[kind]

    def descend_resolver(self, current_node: yaml.Node, current_index: Any) -> None:
        """Nothing to do: no tag depends on the way to a node."""

    def ascend_resolver(self) -> None:
        """Nothing to do, as above."""


class Mapping(dict[str, Any]):
    """A mapping that knows the line it starts on and the line of each of its keys."""

    line: int
    lines: dict[str, int]
    nodes: dict[str, yaml.Node]


def read_text(path: Path) -> str:
    """The text of a file with the line breaks that it has.

    Raises:
        InputError: the file cannot be read, is too large or is not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(path, None, f"larger than {MAX_BYTES >> 20} MiB; split the file")
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(path, None, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(path, None, f"not UTF-8 at byte {error.start}") from None


def load(path: Path, text: str | None = None) -> Any:
    """Read one YAML document; ``text`` stands in for the file's content.

    Raises:
        InputError: the file cannot be read, is no well-formed YAML, or uses what is refused.
    """
    return _construct(path, compose(path, text), set(), 0)


def compose(path: Path, text: str | None = None) -> yaml.Node:
    """The nodes of one YAML document, which know where in the text they stand.

    Raises:
        InputError: the file cannot be read or is no well-formed YAML.
    """
    if text is None:
        text = read_text(path)
    _refuse_deep_nesting(path, text)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(
            path, mark.line + 1 if mark else None, f"malformed YAML: {error.problem or error}"
        ) from None
    except yaml.YAMLError as error:
        raise InputError(path, None, f"malformed YAML: {error}") from None
    if node is None:
        raise InputError(path, None, "the file is empty")
    root: yaml.Node = node
    return root


def load_as(path: Path, form: type[T], text: str | None = None) -> tuple[Any, T]:
    """One YAML document, as it stands with its lines and in the form that is due.

    Raises:
        InputError: as ``load``, and naming the line of what has another.
    """
    document = load(path, text)
    try:
        return document, fit(document, form)
    except Misfit as error:
        raise InputError(display(path), line_of(document, error.place), str(error)) from None


def line_of(document: Any, place: Sequence[str | int]) -> int:
    """The line of a part of a document, or of the last thing on the way to it that is there."""
    line, value = 1, document
    node: yaml.Node | None = None
    for part in place:
        if isinstance(value, Mapping) and isinstance(part, str) and part in value:
            line, node, value = value.lines[part], value.nodes[part], value[part]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(value):
            node, value = node.value[part], value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _refuse_deep_nesting(path: Path, text: str) -> None:
    # The C parser composes recursively, so depth has to be bounded before it starts. Brackets in
    # prose are counted too; where they make a text look deep, it is looked at more closely.
    depth = 0
    for line in text.splitlines():
        opened = line.count("[") + line.count("{")
        depth = max(0, depth + opened - line.count("]") - line.count("}"))
        # "- - - -" and long indentation open block levels without a bracket.
        indent = len(line) - len(line.lstrip(" -?:\t"))
        deep = opened > MAX_DEPTH and re.search(_DEEP, re.sub(r"\s", "", line))
        if deep or depth > 8 * MAX_DEPTH or opened > 2**16 or indent > 8 * MAX_DEPTH:
            _refuse_deep_events(path, text)
            return


def _refuse_deep_events(path: Path, text: str) -> None:
    """The same by events, which are not made recursively, and take as long as the text does."""
    depth = 0
    with suppress(yaml.YAMLError):  # reading the text says what is wrong with it
        for event in yaml.parse(text, Loader=_BaseLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                mark = event.start_mark
                raise InputError(path, mark.line + 1 if mark else None, "nested too deeply")


def _construct(path: Path, node: yaml.Node, seen: set[int], depth: int) -> Any:
    if id(node) in seen or depth > MAX_DEPTH or node.tag != _TAGS[type(node)]:
        raise _refusal(path, node, depth)
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        return _scalar(path, node)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(path, child, seen, depth + 1) for child in node.value]
    result = Mapping()
    result.line, result.lines, result.nodes = node.start_mark.line + 1, {}, {}
    for key_node, value_node in node.value:
        key = key_node.value
        key_line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise InputError(path, key_line, "a key must be plain text")
        if key in result:
            raise InputError(path, key_line, f"duplicate key {key!r}")
        result[key] = _construct(path, value_node, seen, depth + 1)
        result.lines[key], result.nodes[key] = key_line, value_node
    return result


def _refusal(path: Path, node: yaml.Node, depth: int) -> InputError:
    line = node.start_mark.line + 1
    if depth > MAX_DEPTH:
        return InputError(path, line, "nested too deeply")
    if node.tag != _TAGS[type(node)]:
        return InputError(path, line, f"YAML tags are not allowed ({node.tag})")
    return InputError(path, line, "YAML aliases are not allowed; write the value out")


def _scalar(path: Path, node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style:  # quoted or block text; libyaml says "" for plain, PyYAML None
        return text
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INTEGER.match(text):
        if len(text) > 400:
            raise InputError(path, node.start_mark.line + 1, "integer with over 400 digits")
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    if _HEX_FLOAT.match(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            return text
    return text


def first_inexact(node: yaml.Node) -> tuple[int, str] | None:
    """Line and text of the first number below ``node`` that is not exactly a float64."""
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, yaml.ScalarNode):
            text = current.value
            if current.style:
                continue
            if not _is_exact(text):
                return current.start_mark.line + 1, text
        elif isinstance(current, yaml.SequenceNode):
            stack.extend(reversed(current.value))
        else:
            stack.extend(value for _, value in reversed(current.value))
    return None


def _is_exact(text: str) -> bool:
    if len(text) <= 15 and text.isdecimal():  # below 2**53
        return True
    decimal = _INTEGER.match(text) or _FLOAT.match(text)
    if not decimal and not _HEX_FLOAT.match(text):
        return True
    try:
        value = float(text) if decimal else float.fromhex(text)
    except OverflowError:
        return False
    # Zero and infinity first: the exact value of 1e-999999999 would not fit in memory.
    if value == 0:
        digits = re.split("[eE]", text)[0] if decimal else text.lower().split("p")[0].split("x")[1]
        return not digits.strip("+-0.")
    # The smallest float64 takes 1,076 characters; what is longer is none, and slow to compare.
    if value in (float("inf"), float("-inf")) or len(text) > 1100:
        return False
    return (Fraction(text) if decimal else _hex_fraction(text)) == Fraction(value)


def _hex_fraction(text: str) -> Fraction:
    sign = -1 if text.startswith("-") else 1
    digits, exponent = text.lower().lstrip("+-")[2:].split("p")
    whole, _, part = digits.partition(".")
    return sign * int(whole + part, 16) * Fraction(2) ** (int(exponent) - 4 * len(part))
