"""What the pages show: backends as columns, their records, and the cases they are about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from msgspec import UNSET, Raw, UnsetType
from packaging.version import Version

from lossproof.bench.timings import Timings, read
from lossproof.case.model import Case
from lossproof.case.read import load_cases
from lossproof.core.clauses import Clause, clauses
from lossproof.core.form import Form
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from lossproof.core.validate import load
from lossproof.core.verdicts import UNJUDGED, Verdict
from lossproof.engine.judge import choices_shown
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.deviations import load_deviations
from lossproof.registry.find import BUILTIN
from lossproof.results.choices import Choices, Made
from lossproof.results.file import ResultsFile
from lossproof.results.gate import SEVERITY
from lossproof.results.stream import StoredResults, open_in_lines, open_results
from lossproof.site.edges import EdgeCase, edge_cases
from lossproof.site.records import CaseIds, Column, Store
from lossproof.sweeps.report import Sweep, SweepsFile
from lossproof.sweeps.report import read as read_sweeps

# How a verdict is shown: a symbol beside the word, so that colour is never alone.
SYMBOLS = {
    Verdict.PASS: "✓", Verdict.VARIANT: "≈", Verdict.DEVIATION: "△", Verdict.BELOW: "▽",
    Verdict.FAIL: "✗", Verdict.ERROR: "✗", Verdict.CRASH: "✗", Verdict.TIMEOUT: "✗",
    Verdict.UNSUPPORTED: "–", Verdict.SKIPPED: "○",
}  # fmt: skip


@dataclass
class Sweeps:
    """What was tried on every input, the columns in their order."""

    environments: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    _found: dict[tuple[Column, str, str, str], Sweep] = field(default_factory=dict)

    def add(self, name: str, file: SweepsFile) -> None:
        """Keep a file's sweeps; one takes the place of an earlier one of the same form and dtype."""
        self.environments.append((name, file.environment))
        for sweep in file.sweeps:
            info = sweep.adapter
            column = Column(info.name, info.backend, info.version, info.device)
            self._found[column, sweep.subject, sweep.dtype, sweep.method] = sweep

    @property
    def columns(self) -> list[Column]:
        return _sorted({column for column, *_ in self._found})

    def __iter__(self) -> Iterator[tuple[Column, Sweep]]:
        return ((column, sweep) for (column, *_), sweep in self._found.items())

    @cached_property
    def functions(self) -> list[str]:
        found = {sweep.function for _, sweep in self}
        return [name for name in FUNCTIONS if name in found] + sorted(found - FUNCTIONS.keys())


@dataclass
class Site:
    """Everything that the pages are made of."""

    title: str
    columns: list[Column]
    records: Store
    environments: list[tuple[str, Mapping[str, Any]]]
    skipped: dict[str, str]
    timings: list[tuple[str, Timings]] = field(default_factory=list)
    """With the names of their files."""
    sweeps: Sweeps = field(default_factory=lambda: Sweeps())

    @cached_property
    def cases(self) -> dict[str, Case]:
        """The cases that lossproof carries; results of others are shown without their inputs."""
        return {case.id: case for case in load_cases()}

    @cached_property
    def clauses(self) -> dict[str, Clause]:
        return clauses()

    @cached_property
    def case_ids(self) -> CaseIds:
        """Ids of the cases with results: lossproof's in their order, then other people's."""
        self.records.number_cases(list(self.cases))
        return self.records.cases()

    def cases_of(self, function: str) -> CaseIds:
        """Those of a function, in that order."""
        assert self.case_ids is not None
        return self.records.cases(function)

    @cached_property
    def functions(self) -> list[str]:
        found = self.records.distinct("function")
        return [name for name in FUNCTIONS if name in found] + [n for n in found if n not in FUNCTIONS]

    @cached_property
    def observed(self) -> dict[str, dict[str, str]]:
        """What recorded deviations do, in words: by adapter file and id."""
        return {
            path.name.split(".")[0] if path.parent.name == "adapters" else path.parent.name: {
                deviation.id: deviation.observed for deviation in load_deviations(path)
            }
            for path in folder("adapters").rglob("*.deviations.yaml")
            if "node_modules" not in path.parts
        }

    def remark(self, column: Column, record: Record) -> str:
        """What is to be said about an output that is not plainly right."""
        if record.variant:
            return f"{record.variant} (permitted)"
        if record.deviation:
            words = self.observed.get(_stem(column.name), {}).get(record.deviation)
            return words or record.message.removeprefix(f"{record.deviation}: ")
        return record.message

    @cached_property
    def choices(self) -> dict[Column, list[Made]]:
        """By backend, the documented choices that it makes, in the cases that lossproof carries."""
        found = {}
        for column in self.columns:
            counted = Choices()
            for record in self.records.by_case(column):
                case = self.cases.get(record.case)
                counted.add(record, record.choices if case is None else choices_shown(case, record.dtype))
            found[column] = list(counted)
        return {column: made for column, made in found.items() if made}

    @cached_property
    def edge_cases(self) -> list[EdgeCase]:
        return edge_cases(self.cases)


def _stem(adapter: str) -> str:
    """The adapter file that an adapter is defined in."""
    if adapter in BUILTIN:
        return BUILTIN[adapter].module.rsplit(".", 1)[1]
    return re.split("[-+]", adapter)[0]


def worst(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The gravest verdict, a supported one before one that is not."""
    judged = [verdict for verdict in verdicts if verdict not in UNJUDGED]
    return max(judged or verdicts, key=lambda verdict: SEVERITY[verdict], default=None)


def counts(records: Iterable[Record]) -> Counter[Verdict]:
    return Counter(record.verdict for record in records)


class _Kind(Form, frozen=True, forbid_unknown_fields=False):
    """What tells timings and sweeps from results: the rest of a file is skipped."""

    SAYS: ClassVar[str] = ResultsFile.SAYS
    benchmarks: Raw | UnsetType = UNSET
    sweeps: Raw | UnsetType = UNSET


def load_site(paths: Sequence[Path], title: str) -> Site:
    """Read results files, pytest-benchmark files and files of sweeps.

    Columns of the same name, version and device are one: the later file wins where both have an
    output.

    Raises:
        InputError: a file is none of them.
    """
    store = Store()
    environments: list[tuple[str, Mapping[str, Any]]] = []
    skipped: dict[str, str] = {}
    timings = []
    sweeps = Sweeps()
    for path in paths:
        results = open_in_lines(path)
        if results is None:
            kind = load(path, _Kind)
            if kind.benchmarks is not UNSET:
                timings.append((path.name, read(path)))
                continue
            if kind.sweeps is not UNSET:
                sweeps.add(path.name, read_sweeps(path))
                continue
            results = open_results(path)
        environments.append((path.name, results.environment))
        _keep(results, store, skipped)
    if not store.columns and not timings and not sweeps.columns:
        raise InputError(paths[0], None, "holds no results of any backend")
    return Site(title, _sorted(store.columns), store, environments, skipped, timings, sweeps)


def _keep(results: StoredResults, store: Store, skipped: dict[str, str]) -> None:
    by_name = {}
    for info in results.adapters:
        if info.skipped is not None:
            skipped[info.name] = info.skipped
            continue
        by_name[info.name] = store.column(
            Column(info.name, info.backend, info.version, info.device, info.reference or info.name)
        )
    store.add((by_name[record.adapter], record) for record in results if record.adapter in by_name)


def _sorted(columns: Iterable[Column]) -> list[Column]:
    """Backends in their order, versions of one from the oldest."""
    return sorted(columns, key=lambda column: (_order(column.name), column.name, version_key(column.version)))


def _order(name: str) -> int:
    """The reference first, then the built-in backends in their order."""
    names = list(BUILTIN)
    return names.index(name) if name in names else len(names)


def version_key(text: str) -> tuple[int, Any]:
    """Sorts versions; what is none comes first, by its text."""
    try:
        return 1, Version(text)
    except ValueError:  # InvalidVersion, or more digits than Python reads
        return 0, text
