"""Sweeps as the pages show them: every input of a dtype, by backend, with plots of error against input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.site.plots import Plot, frame, rms
from lossproof.site.records import Column
from lossproof.sweeps.inputs import Patterns
from lossproof.sweeps.report import OutputReport, Span, Sweep
from lossproof.sweeps.tally import UNITS

# Correctly rounded results err by half an ULP, which is shown with four digits.
HALF = 0.50005


@dataclass(frozen=True)
class Line:
    """A binade in numbers: inputs from one power of 2 up to the next, away from 0."""

    first: str
    count: int
    worst: float
    mean: float
    rms: float


@dataclass(frozen=True)
class Measured:
    """One output of one sweep."""

    column: Column
    sweep: Sweep
    output: OutputReport

    @property
    def function(self) -> str:
        return self.sweep.function

    @property
    def form(self) -> str:
        """What of the function was swept, beside its name: target-0."""
        return self.sweep.subject.partition("/")[2]

    @property
    def searched(self) -> bool:
        return self.sweep.method == "search"

    @property
    def worst(self) -> float | None:
        """The largest error in ULP without its sign, as far as it is known."""
        found = self.output.worst
        return None if found is None or not self.output.measured else abs(found.error_ulp)

    @property
    def at(self) -> str:
        found = self.output.worst
        return "" if found is None else ", ".join(f"{given.number} ({given.bits})" for given in found.inputs)

    @property
    def kind(self) -> str:
        """How the worst error looks in a table."""
        if self.output.exceeded:
            return "over"
        if self.worst is None:
            return "muted"
        return "s0" if self.worst <= HALF else "s3" if self.worst < 1 else ""

    @property
    def bound(self) -> str:
        """≥ where not every input was tried."""
        return "≥ " if self.searched else ""

    def share(self, count: int) -> float | None:
        """In percent of what was measured."""
        return 100 * count / self.output.measured if self.output.measured else None

    @cached_property
    def flushed(self) -> int:
        return sum(span.count for span in self.output.flushed)

    @property
    def anchor(self) -> str:
        return anchor(self.form, self.sweep.dtype, self.output.output)

    @property
    def binades(self) -> Iterator[Line]:
        """The numbers behind a plot, from the most negative input to the largest."""
        patterns = Patterns(self.sweep.dtype)
        for binade in sorted(self.output.binades, key=lambda b: patterns.value(b.pattern)):
            mean = binade.sum / max(binade.count, 1) / UNITS
            first = f"{patterns.value(binade.pattern):.4g}"
            yield Line(first, binade.count, binade.worst_ulp, mean, rms(binade))

    @property
    def ranges(self) -> Iterator[tuple[str, Span]]:
        """What is remarkable about ranges of inputs, in words, the gravest first."""
        for words, spans in (
            ("bound exceeded", self.output.exceeded),
            ("recommendation missed", self.output.below),
            ("subnormal result is 0", self.output.flushed),
        ):
            yield from ((words, span) for span in spans)


@dataclass(frozen=True)
class Panel:
    """One output in one dtype on all backends, side by side."""

    subject: str
    dtype: str
    output: str
    plots: tuple[tuple[Measured, Plot | None], ...]

    @property
    def anchor(self) -> str:
        return anchor(self.subject.partition("/")[2], self.dtype, self.output)


@dataclass(frozen=True)
class Subject:
    """One form of a function, and its panels."""

    name: str
    about: str
    panels: tuple[Panel, ...]


def anchor(*parts: str) -> str:
    return "-".join(re.findall(r"[A-Za-z0-9_]+", " ".join(parts)))


def measured(columns: Sequence[Column], sweeps: Iterable[tuple[Column, Sweep]]) -> list[Measured]:
    """Output by output, by form, dtype, output, and by column."""
    rows = [Measured(column, sweep, output) for column, sweep in sweeps for output in sweep.outputs]
    subjects = list(dict.fromkeys(row.sweep.subject for row in rows))
    outputs = list(dict.fromkeys(row.output.output for row in rows))
    dtypes = list(FLOAT_TYPES)
    return sorted(
        rows,
        key=lambda r: (
            subjects.index(r.sweep.subject), dtypes.index(r.sweep.dtype), r.sweep.method,
            outputs.index(r.output.output), columns.index(r.column),
        ),
    )  # fmt: skip


Table = dict[tuple[str, str, bool], dict[Column, Measured]]


def worst_errors(rows: Iterable[Measured]) -> dict[str, Table]:
    """By dtype: by form and output, and whether it was a search, what each backend gave."""
    tables: dict[str, Table] = {}
    for row in rows:
        line = row.sweep.subject, row.output.output, row.searched
        tables.setdefault(row.sweep.dtype, {}).setdefault(line, {})[row.column] = row
    return {dtype: tables[dtype] for dtype in FLOAT_TYPES if dtype in tables}


def subjects(rows: Iterable[Measured]) -> list[Subject]:
    """The forms of one function that were tried on every input."""
    by_name: dict[str, list[Measured]] = {}
    for row in rows:
        by_name.setdefault(row.sweep.subject, []).append(row)
    return [Subject(name, own[0].sweep.about, tuple(_panels(own))) for name, own in by_name.items()]


def _panels(rows: Iterable[Measured]) -> Iterator[Panel]:
    groups: dict[tuple[str, str, str], list[Measured]] = {}
    for row in rows:
        groups.setdefault((row.sweep.subject, row.sweep.dtype, row.output.output), []).append(row)
    for (subject, dtype, output), own in groups.items():
        axes = frame(dtype, (row.output for row in own))
        plots = (None if axes is None or not r.output.measured else Plot(axes, r.output) for r in own)
        yield Panel(subject, dtype, output, tuple(zip(own, plots, strict=True)))
