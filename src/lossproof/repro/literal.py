"""Python source text for values and for texts that others wrote, which must never become code."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.core.escape import visible

WIDTH = 106  # with an indentation in front of it


def docstring(*paragraphs: str) -> str:
    """A module's docstring, whatever stands in the texts.

    It is the first thing in a file: no text can pass for a declaration of the file's encoding, which
    has to stand before any code.
    """
    lines: list[str] = []
    for paragraph in paragraphs:
        # No line ends within a word, so none ends within an escape.
        words = " ".join(map(_escaped, paragraph.split()))
        lines += ["", *textwrap.wrap(words, 96, break_long_words=False, break_on_hyphens=False)]
    return '"""' + "\n".join(lines[1:]) + '"""'


def _escaped(word: str) -> str:
    return "".join(_ESCAPES.get(c) or (c if c.isprintable() else repr(c)[1:-1]) for c in word)


_ESCAPES = {"\\": "\\\\", '"': '\\"'}


def sentence(text: str) -> str:
    """A reason as a case file has it, without capital and full stop, as a sentence."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("." if text and not text.endswith((".", "!", "?")) else "")


def module_source(source: str) -> str:
    """A string literal that holds a module's source, readable unless the source forbids it."""
    plain = visible(source, lines=True) == source
    if "'''" in source or not plain or not source.endswith("\n"):
        return repr(source)
    return f"r'''{source}'''"


def value(item: Any) -> str:
    """A literal of a parameter or an input's description: numbers, texts, sequences, mappings, None.

    Names NaN and infinity ``nan`` and ``inf``, which the script has to define.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{value(key)}: {value(entry)}" for key, entry in item.items()) + "}"
    if isinstance(item, (np.ndarray, np.generic)):
        return value(item.tolist())
    if isinstance(item, tuple):
        return "(" + ", ".join(map(value, item)) + ("," if len(item) == 1 else "") + ")"
    if isinstance(item, list):
        return "[" + ", ".join(map(value, item)) + "]"
    # Subclasses may print as anything.
    if item is None or type(item) in (bool, int, float, str):
        return repr(item)
    raise TypeError(f"a {type(item).__name__} cannot be written into a script")


def nested(array: npt.NDArray[Any]) -> str | None:
    """Nested lists of an array's elements, or None where they would lose its shape."""
    if array.size == 0 and array.shape != (0,):
        return None
    return value(array)


def array(values: npt.NDArray[Any], dtype: str = "") -> str:
    """An expression for an array with ``np``; ``dtype`` is source text, NumPy's choice if empty."""
    last = f", {dtype}" if dtype else ""
    if not values.size:
        return f"np.zeros({values.shape!r}{last})"
    if values.size > 16 and _all_same(values):
        return f"np.full({values.shape!r}, {value(values.flat[0])}{last})"
    return f"np.array({value(values)}{last})"


def _all_same(values: npt.NDArray[Any]) -> bool:
    # Bit by bit: NaN is like NaN, and -0.0 unlike 0.0.
    first: bytes = values.flat[0].tobytes()
    return values.tobytes() == first * values.size


def wrapped(line: str, width: int = WIDTH) -> list[str]:
    """A line with nested lists of numbers, broken after commas where it is too long.

    Breaks at any space, so the line must hold no text in quotation marks that has one.
    """
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
