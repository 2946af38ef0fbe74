"""Paragraphs of the specification for a terminal: mathematics, which is written as LaTeX, as Unicode."""

from __future__ import annotations

import re

_SYMBOLS = {
    "Delta": "Δ", "Omega": "Ω", "approx": "≈", "cdot": "·", "delta": "δ", "eta": "η", "gamma": "γ", "ge": "≥",
    "infty": "∞", "lVert": "‖", "le": "≤", "lfloor": "⌊", "ne": "≠", "nu": "ν", "partial": "∂", "pm": "±",
    "rVert": "‖", "rfloor": "⌋", "sigma": "σ", "sum": "Σ", "times": "×", "varepsilon": "ε",
    ",": " ", ";": " ", " ": " ",
}  # fmt: skip
_ACCENTS = {"dot": "\u0307", "bar": "\u0304"}
_NAMED = {"mathrm", "operatorname", "text"}
_BELOW = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_ABOVE = dict(zip("0123456789+-=()in", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿ", strict=True))
_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|[A-Za-z]+|\s+|.", re.S)
# The space that ends a command and that no mathematician writes.
_SPACE = re.compile(r"(?<=[∂⌊]) +| +(?=⌋)")
_MATHS = re.compile(r"\$\$?([^$]+)\$\$?")
_LINK = re.compile(r"\[([^\]]*)\]\([^)\s]*\)")


def plain(text: str) -> str:
    """A paragraph of Markdown as text: LaTeX between dollars as Unicode, of links their words."""
    return _LINK.sub(r"\1", _MATHS.sub(lambda maths: unicode(maths[1]), text))


def unicode(latex: str) -> str:
    """LaTeX as one line of Unicode.

    A script that Unicode has no characters for stands in parentheses behind ``_`` or ``^``, and a command
    that is not known here is its name.
    """
    text = _SPACE.sub("", _Reader(latex).all())
    return " ".join(text.split())


class _Reader:
    """Reads tokens one by one; an argument is a group in braces, a command with its own, or a character."""

    def __init__(self, latex: str) -> None:
        # A word is as many arguments as it has letters.
        self.tokens: list[str] = [
            part for token in _TOKEN.findall(latex) for part in (token if token.isalpha() else [token])
        ]
        self.tokens.reverse()

    def all(self) -> str:
        """What is left, up to the end of the group."""
        parts = []
        while self.tokens and self.tokens[-1] != "}":
            parts.append(self.one())
        return "".join(parts)

    def argument(self) -> str:
        while self.tokens and self.tokens[-1].isspace():
            self.tokens.pop()
        return self.one() if self.tokens and self.tokens[-1] != "}" else ""

    def one(self) -> str:
        token = self.tokens.pop()
        if token == "{":
            inside = self.all()
            if self.tokens:
                self.tokens.pop()  # the brace that ends it
            return inside
        if token in "_^":
            return _script(token, self.argument())
        if token == "-":
            return "−"
        if not token.startswith("\\") or token == "\\":
            return token
        return self.command(token[1:])

    def command(self, name: str) -> str:
        if name in _ACCENTS:
            return self.argument() + _ACCENTS[name]
        if name in _NAMED:
            return self.argument().replace("−", "-")
        if name == "sqrt":
            return f"√{_grouped(self.argument())}"
        if name in ("frac", "tfrac"):
            return f"{_grouped(self.argument())}/{_grouped(self.argument())}"
        return _SYMBOLS.get(name, name)


def _script(mark: str, text: str) -> str:
    characters = _BELOW if mark == "_" else _ABOVE
    plain = text.replace("−", "-")
    if plain and all(character in characters for character in plain):
        return "".join(characters[character] for character in plain)
    return mark + _grouped(text)


def _grouped(text: str) -> str:
    return text if len(text) == 1 or text.isalnum() else f"({text})"
