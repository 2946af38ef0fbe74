"""Choose cases by path, by id or by pattern."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from lossproof.case import Case, load_cases, suggest
from lossproof.errors import LossproofError
from lossproof.functions import FUNCTIONS


def select_cases(references: Sequence[str], functions: Sequence[str]) -> list[Case]:
    """Load the cases that ``references`` name, all of lossproof's own when there is none.

    A reference is a file or folder of case files, a case id, or the beginning of ids
    (``softmax``, ``softmax/limits``), with ``*`` and ``?`` as wildcards.

    Raises:
        LossproofError: a reference matches nothing, or a function is unknown.
    """
    for function in functions:
        if function not in FUNCTIONS:
            raise LossproofError(f"unknown function {function!r}{suggest(function, FUNCTIONS)}")
    paths = [Path(reference) for reference in references if Path(reference).exists()]
    names = [reference for reference in references if not Path(reference).exists()]
    chosen = {case.id: case for case in load_cases(paths)} if paths else {}
    if names or not references:
        own = load_cases()
        for name in names or ["*"]:
            matches = [case for case in own if _matches(case.id, name)]
            if not matches:
                raise LossproofError(
                    f"no case {name!r}{suggest(name, [case.id for case in own])}, and no such file"
                )
            chosen.update((case.id, case) for case in matches)
    selected = [c for c in chosen.values() if not functions or c.function.name in functions]
    if not selected:
        raise LossproofError("no case is left after --function")
    return selected


def _matches(case_id: str, name: str) -> bool:
    return case_id == name or case_id.startswith(name.rstrip("/") + "/") or fnmatch.fnmatchcase(case_id, name)
