"""The text of a generated case file, which keeps what the oracle stored in it."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from tests.families._topic import FIELDS, Topic

HEADER = (
    "# Made by `python -m tests.families --write` and certified by `lossproof certify --write`; "
    "edit the family."
)
WIDTH = 110
# Longer decimals than this are written as hex floats.
MAX_DIGITS = 12

_CASE = re.compile(r"^  - ", re.MULTILINE)
_FIELD = re.compile(r"^(?:  - |    )([a-z]+):", re.MULTILINE)
_PLAIN = re.compile(r"[\w(][^#]*\Z")


def page(topic: Topic, old: str = "") -> str:
    """The text of a topic's file.

    Args:
        topic: whose file it is.
        old: what the file holds now. A case whose human part is in it word for word keeps the rest of
            its fields, which the oracle wrote.
    """
    stored = {_first_line(block): block for block in _blocks(old)}
    cases = [_unless_changed(_case(case), stored) for case in topic.cases]
    about = _text("", "about", topic.about)
    thorough = "thorough: true\n" if topic.thorough else ""
    return f"{HEADER}\nfunction: {topic.function}\n{about}{thorough}cases:\n" + "\n".join(cases)


def is_made(text: str) -> bool:
    """Whether a file says that it is a family's."""
    return text.startswith(HEADER)


def _unless_changed(case: str, stored: Mapping[str, str]) -> str:
    """The stored case where it says the same, with what the oracle wrote."""
    there = stored.get(_first_line(case), "")
    return there if _part(there, set(_FIELD.findall(case))) == case else case


def _first_line(block: str) -> str:
    return block.partition("\n")[0]


def _blocks(text: str) -> list[str]:
    """The cases of a file that ``page`` made, each as its lines without blank ones behind."""
    starts = [match.start() for match in _CASE.finditer(text)]
    return [text[a:b].rstrip("\n") + "\n" for a, b in zip(starts, [*starts[1:], len(text)])]


def _part(block: str, fields: set[str]) -> str:
    """The lines of some of the fields of a case."""
    starts = [(match.start(), match[1]) for match in _FIELD.finditer(block)]
    ends = [*(start for start, _ in starts[1:]), len(block)]
    return "".join(block[start:end] for (start, name), end in zip(starts, ends) if name in fields)


# -- text --------------------------------------------------------------------------------------


def _case(case: Mapping[str, Any]) -> str:
    lines = "".join(_field(name, case[name]) for name in FIELDS if name in case)
    return "  - " + lines[4:]


def _field(name: str, value: Any) -> str:
    if name == "why":
        return _text("    ", name, value)
    if name == "inputs":
        flow = f"    {name}: {_flow(value, exact=True)}"
        if len(flow) <= WIDTH:
            return flow + "\n"
        entries = (_wrapped("      ", f"{key}: {_flow(item, exact=True)}") for key, item in value.items())
        return f"    {name}:\n" + "".join(entries)
    if name == "variants":
        return f"    {name}:\n" + "".join(
            _wrapped("      ", f"- {_flow(item, exact=True)}") for item in value
        )
    if name == "parameters":
        # Numbers alone mean the nearest float64, arrays are exact.
        inner = (f"{key}: {_flow(item, exact=not np.isscalar(item))}" for key, item in value.items())
        return _wrapped("    ", f"{name}: {{{', '.join(inner)}}}")
    return _wrapped("    ", f"{name}: {_flow(value, exact=True)}")


def _text(indent: str, name: str, sentence: str) -> str:
    plain = _PLAIN.match(sentence) and ": " not in sentence
    return _wrapped(indent, f"{name}: {sentence if plain else json.dumps(sentence, ensure_ascii=False)}")


def _wrapped(indent: str, text: str) -> str:
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(lines) + "\n"


def _flow(value: Any, exact: bool) -> str:
    """A value on one line, as YAML's flow style has it."""
    if isinstance(value, np.ndarray):
        return _flow(value.tolist(), exact)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item, exact)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item, exact) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./-]+", value) else json.dumps(value, ensure_ascii=False)
    return _number(value, exact)


def _number(value: float, exact: bool) -> str:
    """As a person writes it: a short decimal, or where that is not exact a hex float."""
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    value = float(value)
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    if value == int(value) and abs(value) < 1e6:
        return "-0.0" if math.copysign(1, value) < 0 and not value else str(int(value))
    text = repr(value)
    if exact and (len(text) > MAX_DIGITS or Fraction(text) != Fraction(value)):
        return _hex(value)
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+03d}" if exponent else text


def _hex(value: float) -> str:
    """C's hex float without zeros behind."""
    mantissa, _, exponent = value.hex().partition("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}" if "." in mantissa else f"{mantissa}p{exponent}"
