"""What the required cases detect: mutants against cases, and the page that says so.

``python -m tests.detection`` prints docs/detection.md; ``--write`` stores it, ``--uncaught`` prints the
mutants that no required case fails.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from lossproof import Adapter
from lossproof.case.model import Case
from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.registry.deviations import Deviations

from .mutants import KINDS, MUTANTS, Mutant
from .own_cases import every_case, quick_cases

PAGE = Path(__file__).parents[1] / "docs" / "detection.md"
NO_DEVIATIONS = Deviations([], "", "", "")
# The kinds of mutants that are made for every function.
GENERATED = ("lanes", "tiles", "counts", "layouts", "ranks", "pairs", "narrowing")


@cache
def required(thorough: bool = True) -> list[Case]:
    """The required cases, small ones first; of the quick set unless ``thorough``.

    Without those with tangents, for which test_derivatives has implementations of its own, right and wrong.
    """
    cases = every_case() if thorough else quick_cases()
    chosen = [case for case in cases if case.level == "required" and not case.tangents]
    return sorted(chosen, key=size_of)


def size_of(case: Case) -> int:
    """How many elements its inputs have."""
    return sum(math.prod(case.shape_of(array.name)) for array in case.function.arrays)


def judged_case(adapter: Adapter, case: Case) -> Iterator[Record]:
    """The records of one case in all of its dtypes."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for dtype in case.dtypes:
            yield from run_case(adapter, adapter.name, case, dtype, NO_DEVIATIONS)


def judged(adapter: Adapter, functions: Iterable[str], thorough: bool = True) -> Iterator[Record]:
    """The records of the required cases of the functions."""
    wanted = set(functions)
    for case in required(thorough):
        if case.function.name in wanted:
            yield from judged_case(adapter, case)


def failures(adapter: Adapter, functions: Iterable[str]) -> Iterator[Record]:
    """What of the required cases of the functions an adapter fails."""
    return (record for record in judged(adapter, functions) if record.verdict in FAILURES)


@cache
def first_catch(mutant: Mutant, function: str) -> str | None:
    """The first required case that fails a mutant as a wrong value, likely topics first, or None."""
    adapter = mutant.cls()
    for case in _likely_first(mutant, function):
        if any(record.verdict is Verdict.FAIL for record in judged_case(adapter, case)):
            return case.id
    return None


def _likely_first(mutant: Mutant, function: str) -> list[Case]:
    """The required cases of a function: those of the mutant's topics in their order, then the others."""
    rank = {topic: place for place, topic in enumerate(mutant.topics)}
    cases = [case for case in required() if case.function.name == function]
    return sorted(cases, key=lambda case: rank.get(case.path.stem, len(rank)))


Catches = Mapping[tuple[str, str], str | None]
"""By the class of a mutant and a function: a case that catches it there."""


def catches() -> Catches:
    """What catches each mutant; minutes."""
    return {(m.cls.__name__, function): first_catch(m, function) for m in MUTANTS for function in m.functions}


def named_catches(text: str) -> dict[tuple[str, str], str]:
    """The cases that a text of the page names."""
    found: dict[tuple[str, str], str] = {}
    function = ""
    for line in text.splitlines():
        if line.startswith("### "):
            function = line.split()[1]
        row = re.match(r"\| (\w+) \| .* \| `([a-z0-9/-]+)` \| [^|]*\|$", line)
        if row and function:
            found[row[1], function] = f"{function}/{row[2]}"
    return found


def page(caught: Catches) -> str:
    """The text of docs/detection.md."""
    escaped = {place for place, case in caught.items() if case is None}
    lines = [
        "# Detection",
        "",
        "What the required cases find. A *mutant* is the NumPy reference with one mistake",
        "(`tests/mutants/`); it is *caught* if a required case fails it. This page is written by",
        "`python -m tests.detection --write`, and the test suite fails if it is not current.",
        "",
        "## Mutants by kind",
        "",
        "| kind | mistake | mutants | caught | with an upstream report |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    rows = [
        (f"{kind} | {meaning}", [m for m in MUTANTS if m.kind == kind]) for kind, meaning in KINDS.items()
    ]
    for label, own in [*rows, ("**all** |", MUTANTS)]:
        found = sum(all((m.cls.__name__, f) not in escaped for f in m.functions) for m in own)
        lines.append(f"| {label} | {len(own)} | {found} | {sum(m.upstream is not None for m in own)} |")
    lines += [
        "",
        "## Mistakes that any function can have",
        "",
        "These mutants are made for every function that the mistake applies to",
        "(`tests/mutants/generated.py`): how many of them are caught, and of how many.",
        "",
        f"| function | {' | '.join(GENERATED)} |",
        f"| --- |{' ---: |' * len(GENERATED)}",
    ]
    for function in FUNCTIONS:
        cells = []
        for kind in GENERATED:
            own = [m for m in MUTANTS if m.kind == kind and function in m.functions]
            found = sum((m.cls.__name__, function) not in escaped for m in own)
            cells.append(f"{found} of {len(own)}" if own else "·")
        lines.append(f"| {function} | {' | '.join(cells)} |")
    lines += ["", "## The other mutants, and a case that catches each", ""]
    for function in FUNCTIONS:
        count = sum(case.function.name == function for case in required())
        lines += [
            f"### {function} ({count} required cases)",
            "",
            "| mutant | kind | mistake | such as | upstream |",
            "| --- | --- | --- | --- | --- |",
        ]
        for mutant in MUTANTS:
            if function not in mutant.functions or mutant.kind in GENERATED:
                continue
            case = caught[mutant.cls.__name__, function]
            named = f"`{case.partition('/')[2]}`" if case else "**none**"
            link = f"[{_reference(mutant.upstream)}]({mutant.upstream})" if mutant.upstream else ""
            lines.append(f"| {mutant.cls.__name__} | {mutant.kind} | {mutant.bug} | {named} | {link} |")
        lines.append("")
    return "\n".join(lines)


def _reference(url: str) -> str:
    """``owner/name#123`` of an issue or pull request."""
    owner, name, _, number = url.removeprefix("https://github.com/").split("/")
    return f"{owner}/{name}#{number}"


if __name__ == "__main__":
    if "--uncaught" in sys.argv:
        for mutant in MUTANTS:
            for function in mutant.functions:
                if first_catch(mutant, function) is None:
                    print(f"{mutant.kind:10} {function:32} {mutant.cls.__name__}: {mutant.bug}", flush=True)
        sys.exit()
    text = page(catches())
    if "--write" in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
