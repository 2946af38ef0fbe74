"""The numbered clauses of the specification, read from its pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from lossproof.core.mathematics import plain
from lossproof.core.resources import folder

# A clause is a paragraph that opens with its number in bold: **SM-3.** The rows of …
_CLAUSE = re.compile(r"^\*\*([A-Z][A-Z0-9]*-[0-9]+)\.\*\*\s+(.*?)(?=\n\s*\n|\Z)", re.M | re.S)


@dataclass(frozen=True)
class Clause:
    """One normative paragraph: its number, its Markdown text and the page that holds it."""

    id: str
    text: str
    page: str

    @property
    def plain(self) -> str:
        """The text for a terminal: mathematics as Unicode instead of LaTeX."""
        return plain(self.text)


@cache
def clauses() -> dict[str, Clause]:
    """All clauses by number, in the order of the pages."""
    found: dict[str, Clause] = {}
    for page in sorted(folder("spec").glob("*.md")):
        for match in _CLAUSE.finditer(page.read_text(encoding="utf-8")):
            clause = Clause(match[1], " ".join(match[2].split()), page.name)
            if clause.id in found:
                raise ValueError(f"{page.name}: clause {clause.id} is defined twice")
            found[clause.id] = clause
    return found
