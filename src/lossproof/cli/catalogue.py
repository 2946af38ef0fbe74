"""All that lossproof knows by name, as entries that a word is searched in (``lossproof list``)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lossproof.bench.workload import workloads
from lossproof.case.model import Case
from lossproof.case.needs import FLAGS, needs
from lossproof.case.read import load_cases
from lossproof.core.clauses import clauses
from lossproof.core.functions import FUNCTIONS, REQUIRED, Function
from lossproof.core.text import counted, require
from lossproof.registry.presence import presences
from lossproof.site.edges import edge_cases


@dataclass(frozen=True)
class Entry:
    """One thing: its id, what is shown of it, what else is searched, and what to type next."""

    kind: str
    id: str
    text: str
    then: str
    hidden: str = ""


def entries(kinds: Sequence[str], needed: Collection[str] = ()) -> Iterator[Entry]:
    """The entries of these kinds, each kind in the order of the specification; cases that need all of these.

    Raises:
        LossproofError: what is needed is no flag of ``lossproof.case.needs``.
    """
    for flag in needed:
        require("flag", flag, FLAGS)
    cases = load_cases()
    if needed:
        cases = [case for case in cases if set(needed) <= set(needs(case, case.exact_arrays))]
    for kind in kinds:
        yield from _READERS[kind](cases)


def search(every: Iterable[Entry], words: Sequence[str]) -> list[Entry]:
    """The entries in which each of the words begins a word, first those whose ids begin with them.

    ``SM-1`` is found in neither ``LSM-1`` nor ``SM-10``; case, ``-`` and ``_`` make no difference.
    """
    patterns = [_pattern(word) for word in words]

    def matches(entry: Entry) -> bool:
        text = _plain(f"{entry.id} {entry.text} {entry.hidden}")
        return all(pattern.search(text) for pattern in patterns)

    found = filter(matches, every)
    return sorted(found, key=lambda entry: not all(p.match(_plain(entry.id)) for p in patterns))


def _pattern(word: str) -> re.Pattern[str]:
    plain = _plain(word)
    end = r"(?![0-9])" if plain[-1:].isdigit() else ""
    return re.compile(rf"(?<![^\W_]){re.escape(plain)}{end}")


def _plain(text: str) -> str:
    return re.sub(r"[-_\s]+", " ", text.lower()).strip()


def _functions(cases: Sequence[Case]) -> Iterator[Entry]:
    number = Counter(case.function.name for case in cases)
    for name, function in FUNCTIONS.items():
        text = f"({_signature(function)}), {function.clause}, {counted(number[name], 'case')}"
        clause = clauses()[function.clause]
        definition = f"{clause.text} {clause.plain}"
        yield Entry("functions", name, text, f"lossproof run -f {name}", definition)


def _signature(function: Function) -> str:
    arrays = [array.name for array in function.arrays]
    given = [p.name if p.default is REQUIRED else f"{p.name}={p.default!r}" for p in function.parameters]
    return ", ".join([*arrays, *(["*", *given] if given else [])])


def _cases(cases: Sequence[Case]) -> Iterator[Entry]:
    for case in cases:
        kind = f"{case.level}{', thorough' if case.thorough else ''}{', huge' if case.huge else ''}"
        text = f"({case.clause}, {kind}) {case.why}"
        yield Entry("cases", case.id, text, f"lossproof explain {case.id}", case.about)


def _adapters(cases: Sequence[Case]) -> Iterator[Entry]:
    for presence in presences():
        here = f"{presence.framework} is installed" if presence.framework else "installed"
        text = here if presence.missing is None else f"cannot run here: {presence.missing}"
        yield Entry("adapters", presence.name, text, f"lossproof run -a {presence.name}", presence.place)


def _workloads(cases: Sequence[Case]) -> Iterator[Entry]:
    timed: dict[str, Case] = {}
    for work in workloads():
        timed.setdefault(work.name.removesuffix(f" {work.dtype}"), work.case)
    for name, case in timed.items():
        text = f"({', '.join(case.dtypes)}) {case.why}"
        yield Entry("workloads", name, text, f"lossproof bench {name!r}", case.about)


def _clauses(cases: Sequence[Case]) -> Iterator[Entry]:
    number = Counter(case.clause for case in cases)
    for clause in clauses().values():
        text = f"({clause.page}, {counted(number[clause.id], 'case')}) {clause.plain}"
        # LaTeX is searched as well: "sum", "infty".
        yield Entry("clauses", clause.id, text, f"lossproof list --cases {clause.id}", clause.text)


def _edge_cases(cases: Sequence[Case]) -> Iterator[Entry]:
    for edge in edge_cases({case.id: case for case in cases}):
        shown = " ".join(case.id for case in edge.cases)
        text = f"{edge.title}: {edge.says}"
        yield Entry("edge-cases", edge.function, text, f"lossproof explain {edge.cases[0].id}", shown)


_READERS: dict[str, Callable[[Sequence[Case]], Iterator[Entry]]] = {
    "functions": _functions,
    "cases": _cases,
    "adapters": _adapters,
    "workloads": _workloads,
    "clauses": _clauses,
    "edge-cases": _edge_cases,
}
