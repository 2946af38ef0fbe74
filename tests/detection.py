"""What the required cases detect: mutants against cases, and the page that says so.

``python -m tests.detection`` prints docs/detection.md; ``--write`` stores it.
"""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.case.model import Case
from lossproof.case.read import load_cases
from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.registry.deviations import Deviations

from .mutants import KINDS, MUTANTS, Mutant

PAGE = Path(__file__).parents[1] / "docs" / "detection.md"
NO_DEVIATIONS = Deviations([], "", "", "")


@cache
def required() -> list[Case]:
    """The required cases, small ones first."""
    cases = [case for case in load_cases() if case.level == "required"]
    return sorted(cases, key=lambda case: sum(a.size for a in case.exact_arrays.values()))


def judged(adapter: NumpyAdapter, functions: Iterable[str]) -> Iterator[Record]:
    """The records of the required cases of the functions."""
    wanted = set(functions)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for case in required():
            if case.function.name in wanted:
                for dtype in case.dtypes:
                    yield from run_case(adapter, adapter.name, case, dtype, NO_DEVIATIONS)


def failures(adapter: NumpyAdapter, functions: Iterable[str]) -> Iterator[Record]:
    """What of the required cases of the functions an adapter fails."""
    return (record for record in judged(adapter, functions) if record.verdict in FAILURES)


@cache
def caught(mutant: Mutant, function: str) -> Mapping[str, frozenset[Verdict]]:
    """The required cases that fail a mutant, each with the verdicts; computed once for tests and page."""
    found: dict[str, set[Verdict]] = defaultdict(set)
    for record in failures(mutant.cls(), [function]):
        found[record.case].add(record.verdict)
    return {case: frozenset(verdicts) for case, verdicts in found.items()}


def catches() -> dict[tuple[str, str], set[str]]:
    """Per mutant and function, the cases that fail it."""
    return {
        (mutant.cls.__name__, function): set(caught(mutant, function))
        for mutant in MUTANTS
        for function in mutant.functions
    }


def page() -> str:
    """The text of docs/detection.md."""
    found = catches()
    by_case: dict[str, set[str]] = defaultdict(set)
    alone: dict[str, set[str]] = defaultdict(set)
    for (name, _), cases in found.items():
        for case in cases:
            by_case[case].add(name)
        if len(cases) == 1:
            alone[next(iter(cases))].add(name)
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
    for kind, meaning in KINDS.items():
        own = [m for m in MUTANTS if m.kind == kind]
        all_found = sum(all(found[m.cls.__name__, f] for f in m.functions) for m in own)
        reported = sum(m.upstream is not None for m in own)
        lines.append(f"| {kind} | {meaning} | {len(own)} | {all_found} | {reported} |")
    total = sum(all(found[m.cls.__name__, f] for f in m.functions) for m in MUTANTS)
    reported = sum(m.upstream is not None for m in MUTANTS)
    lines.append(f"| **all** | | **{len(MUTANTS)}** | **{total}** | **{reported}** |")
    lines += ["", "## Mutants and the cases that catch them", ""]
    lines.append(
        "The number is that of the required cases of the function that fail the mutant; up to two are named."
    )
    for function in FUNCTIONS:
        count = sum(case.function.name == function for case in required())
        lines += [
            "",
            f"### {function} ({count} required cases)",
            "",
            "| mutant | kind | mistake | cases | such as | upstream |",
            "| --- | --- | --- | ---: | --- | --- |",
        ]
        for mutant in MUTANTS:
            if function not in mutant.functions:
                continue
            catching = sorted(found[mutant.cls.__name__, function], key=lambda c: (len(by_case[c]), c))
            named = ", ".join(f"`{case.partition('/')[2]}`" for case in catching[:2])
            link = f"[{_reference(mutant.upstream)}]({mutant.upstream})" if mutant.upstream else ""
            row = [mutant.cls.__name__, mutant.kind, mutant.bug, str(len(catching)), named, link]
            lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "## Cases that alone catch something",
        "",
        "| case | mutants that no other case catches |",
        "| --- | --- |",
    ]
    for case in sorted(alone):
        lines.append(f"| `{case}` | {', '.join(sorted(alone[case]))} |")
    unique = {case.id for case in required() if alone[case.id]}
    idle = [case.id for case in required() if not by_case[case.id]]
    lines += [
        "",
        "## The other cases",
        "",
        f"{len(unique)} of {len(required())} required cases catch a mutant that no other does;",
        f"{len(required()) - len(unique) - len(idle)} catch mutants that others catch as well, and",
        f"{len(idle)} catch none. Those that share their catch earn their place otherwise: real frameworks",
        "deviate there (the files `adapters/*.deviations.yaml` name the cases), they show the mistake in",
        "another dtype, shape or reduction, for which a kernel may have code of its own, or they are the",
        "small, readable case beside a large one.",
    ]
    lines += [f"- `{case}` catches no mutant." for case in idle]
    return "\n".join(lines) + "\n"


def _reference(url: str) -> str:
    """``owner/name#123`` of an issue or pull request."""
    owner, name, _, number = url.removeprefix("https://github.com/").split("/")
    return f"{owner}/{name}#{number}"


if __name__ == "__main__":
    text = page()
    if "--write" in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
