"""lossproof's own cases, read once for all tests of a process: reading them takes seconds.

Most tests are of the quick set, which each of their rules can be tried on. Those that are about what the
thorough set holds, or compare with it, take every case.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from lossproof.case.model import Case
from lossproof.case.read import load_cases
from lossproof.case.select import select_cases


def stand_in(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for lossproof's own cases, with one file of this text."""
    own = folder / "cases"
    own.mkdir()
    (own / "topic.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr("lossproof.case.read.folder", lambda name: own)
    return own


@cache
def quick_cases() -> tuple[Case, ...]:
    """What a run takes unless ``--thorough`` is given."""
    return tuple(select_cases([], []))


@cache
def every_case() -> tuple[Case, ...]:
    """Those of the thorough set, too, but for the huge ones, which no test runs as they are."""
    return tuple(case for case in all_cases() if not case.huge)


@cache
def huge_cases() -> tuple[Case, ...]:
    """What ``--huge`` adds."""
    return tuple(case for case in all_cases() if case.huge)


@cache
def all_cases() -> tuple[Case, ...]:
    """Those of each set, in the order of their files."""
    return tuple(load_cases())
