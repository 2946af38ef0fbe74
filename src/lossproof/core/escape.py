"""Texts that others wrote, put into another format: one function for each, after which they are text only.

Names, versions and errors of adapters, reasons of cases and whatever a file holds may come from anyone.
Characters that act or hide (control characters, escape sequences, marks that turn the direction of
writing, invisible ones, half a character) are shown as the escapes that Python has for them, in every
format; then the marks of the format itself are taken their meaning. Python source has its own module,
``lossproof.repro.literal``, and JSON its own encoders.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from html import escape as _marks_escaped

# As much of a text is shown in a cell of a table.
MAX_CELL = 160


def visible(text: str, *, lines: bool = False) -> str:
    """The text with all that acts or hides as escapes; on one line unless it may have ``lines``.

    Printable text is left as it is, spaces of other widths too, so it may be given twice.
    """
    if text.isprintable():
        return text
    if lines:
        return "\n".join(map(visible, text.split("\n")))
    return "".join(map(_shown, text))


@cache
def _shown(character: str) -> str:
    shows = character.isprintable() or unicodedata.category(character) == "Zs"
    return character if shows else repr(character)[1:-1]


def utf8(text: str) -> str:
    """The text as UTF-8 can say it: half a character, which it cannot, becomes an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def markdown(text: str) -> str:
    """A piece of code on one line, in which no mark, link, mention, number of an issue or HTML has a meaning.

    The only characters with a meaning there are replaced by their likes: the one that ends the code, and
    the one that ends a table's cell.
    """
    line = visible(" ".join(text.split())).replace("`", "'").replace("|", "¦")
    if len(line) > MAX_CELL:
        line = f"{line[: MAX_CELL - 1]}…"
    return f"`{line}`" if line else ""


def xml(text: str) -> str:
    """Characters that XML 1.0 can hold; a writer of XML escapes its marks."""
    return visible(text, lines=True)


def html(text: str) -> str:
    """Content of an element or of a quoted attribute."""
    return _marks_escaped(visible(text, lines=True))


def yaml(text: str) -> str:
    """A quoted scalar on one line that reads as the text, but for half a character, which YAML has not."""
    return '"' + "".join(map(_yaml_character, text)) + '"'


def _yaml_character(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    if character.isprintable():
        return character
    if "\ud800" <= character <= "\udfff":
        return "\\" + _shown(character)  # an escape of its backslash, so that it reads as an escape
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
