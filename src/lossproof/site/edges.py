"""The edge cases of the atlas (edge_cases.yaml): what happens when …?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lossproof.case import yaml as yamlio
from lossproof.case.model import Case


@dataclass(frozen=True)
class EdgeCase:
    """A question of the atlas: what happens when …?"""

    function: str
    title: str
    says: str
    cases: tuple[Case, ...]

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower()).strip("-")


def edge_cases(cases: Mapping[str, Case]) -> list[EdgeCase]:
    """All of them in the order of the file, with their cases out of ``cases``, lossproof's own by id."""
    document = yamlio.load(Path(__file__).with_name("edge_cases.yaml"))
    return [
        EdgeCase(function, title, says, tuple(cases[f"{function}/{case}"] for case in shown))
        for function, entries in document.items()
        for title, says, shown in entries
    ]
