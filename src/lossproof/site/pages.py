"""Write the pages of a site."""

from __future__ import annotations

import math
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import unescape
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import lossproof
from lossproof.bench.compare import copy_share
from lossproof.bench.timings import Benchmark, Timings
from lossproof.case.arrays import numpy_arrays
from lossproof.case.expected import Sketch
from lossproof.case.inputs import is_description
from lossproof.case.model import Case
from lossproof.core import files
from lossproof.core.clauses import clauses
from lossproof.core.escape import visible
from lossproof.core.files import make_folder, replacing
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from lossproof.core.verdicts import FAILURES, UNJUDGED, Verdict
from lossproof.engine.judge import MAX_SHOWN, small_text
from lossproof.engine.record import Record, kept_law
from lossproof.results.diff import KINDS, MEANING, Changes
from lossproof.site import findings, plots, sweeps
from lossproof.site.calls import call_of
from lossproof.site.data import dtype_order, share, write_data
from lossproof.site.edges import EdgeCase
from lossproof.site.markdown import inline, to_html, with_anchors
from lossproof.site.model import SYMBOLS, Site, counts, version_key, worst
from lossproof.site.records import Column

_HERE = Path(__file__).parent
# Inputs that are generated only to show one of their elements have at most this many.
MAX_GENERATED = 2**16


def write_site(site: Site, out: Path) -> None:
    """Write all pages; files that are there already are replaced."""
    environment = _environment(site)
    make_folder(out / "functions")
    make_folder(out / "spec")
    for file in (_HERE / "static").iterdir():
        files.copy(file, out / file.name)
    with replacing(out / "data.js") as data:
        write_data(site, data)

    def write(name: str, template: str, **given: Any) -> None:
        root = "../" * name.count("/")
        text = environment.get_template(template).stream(root=root, page=name, **given)
        text.enable_buffering()
        with replacing(out / name) as file:
            text.dump(file, "utf-8", "replace")

    write("index.html", "matrix.html")
    write("atlas.html", "atlas.html", groups=_grouped(site.edge_cases, site.functions))
    for function in site.functions:
        edges = [(edge, list(_answers(site, edge))) for edge in site.edge_cases if edge.function == function]
        write(
            f"functions/{function}.html", "function.html",
            function=function, edges=edges, cases=site.cases_of(function),
            definition=FUNCTIONS[function].clause if function in FUNCTIONS else None,
            calls=_calls(site, function),
        )  # fmt: skip
    cells = list(_accuracy(site))
    write("accuracy.html", "accuracy.html", cells=cells, heat=_heat(cells, site.functions))
    write("speed.html", "speed.html", timings=[_speed(name, timings) for name, timings in site.timings])
    write("history.html", "history.html", histories=list(_histories(site)), meaning=MEANING, kinds=KINDS)
    _write_sweeps(site, write, out)
    text = findings.page("spec/{}.html")
    write("findings.html", "findings.html", html=Markup(to_html(text)))
    for schema in folder("spec").glob("*.json"):
        files.copy(schema, out / "spec" / schema.name)
    pages = _specification()
    write("spec/index.html", "spec_index.html", pages=pages)
    citing, box = _citing(site), environment.get_template("clause_cases.html")
    for stem, _, text in pages:
        html = _with_cases(site, with_anchors(to_html(text)), citing, box)
        write(f"spec/{stem}.html", "spec.html", html=Markup(html), stem=stem)


def _write_sweeps(site: Site, write: Callable[..., None], out: Path) -> None:
    """A page with the tables, and one of each function with the plots."""
    rows = sweeps.measured(site.sweeps.columns, site.sweeps)
    write(
        "sweeps.html", "sweeps.html",
        rows=rows, tables=sweeps.worst_errors(rows), columns=site.sweeps.columns,
        searched=any(row.searched for row in rows),
    )  # fmt: skip
    if rows:
        make_folder(out / "sweeps")
    for function in site.sweeps.functions:
        own = [row for row in rows if row.function == function]
        write(
            f"sweeps/{function}.html", "sweep.html",
            function=function, subjects=sweeps.subjects(row for row in own if not row.searched),
            searched=[row for row in own if row.searched],
        )  # fmt: skip


def _environment(site: Site) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        # Names, messages and texts of cases come from anyone.
        autoescape=True,
        finalize=_finished,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        site=site,
        version=lossproof.__version__,
        symbols=SYMBOLS,
        worst=worst,
        counts=counts,
        Verdict=Verdict,
        UNJUDGED=UNJUDGED,
        frame=plots,
    )
    environment.filters.update(
        maths=lambda text: Markup(inline(text)),
        kind=kind_of,
        short=short,
        number=number,
        ulp=lambda value: f"{value:.4g}",
        percent=percent,
        having=lambda columns, table: [c for c in columns if any(c in cells for cells in table.values())],
        of_kind=lambda changes, kind, most: islice(changes.of(kind), most),
        inputs=inputs,
        lacking=lacking,
        snippet=snippet,
        inputs_there=lambda record: inputs_there(site, record),
        remarks=lambda outcome, column: remarks(site, column, outcome),
    )
    return environment


def _finished(value: Any) -> Any:
    """What a template shows; text gets its marks escaped after it."""
    return visible(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value


def kind_of(verdict: Verdict | None) -> str:
    """The class of a verdict's cell in the style sheet."""
    if verdict is None:
        return "none"
    return "fail" if verdict in FAILURES else str(verdict)


def short(value: str | None, length: int = 90) -> str:
    text = value or ""
    return text if len(text) <= length else text[: length - 1] + "…"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def percent(share: float) -> str:
    """Two places; 100 only where it is all."""
    return "100" if share == 100 else f"{min(share, 99.99):.2f}"


def inputs(case: Case) -> str:
    """Inputs and parameters as they would be written in a call."""
    given = {
        **{name: _shown(spec) for name, spec in case.inputs.items()},
        **{name: _shown(value) for name, value in case.parameters.items() if value is not None},
    }
    return ", ".join(f"{name}={text}" for name, text in given.items())


def _shown(value: Any) -> str:
    if is_description(value):
        return str(dict(value))
    return (
        small_text(value) if getattr(value, "size", 99) <= MAX_SHOWN else short(str(value).replace("\n", ""))
    )


# -- the atlas ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What one backend gives for one case in some dtypes; no ``dtypes`` mean all of the case's."""

    dtypes: tuple[str, ...]
    value: Record | None
    gradients: tuple[Record, ...]

    @property
    def verdict(self) -> Verdict | None:
        return worst([record.verdict for record in (self.value, *self.gradients) if record is not None])


@dataclass(frozen=True)
class Answers:
    """One case of an edge case: what is due, and what each backend gives."""

    case: Case
    due: Mapping[str, str]
    outcomes: Mapping[Column, Sequence[Outcome]]


def _grouped(edges: Sequence[EdgeCase], functions: Sequence[str]) -> dict[str, list[EdgeCase]]:
    return {name: [edge for edge in edges if edge.function == name] for name in functions}


def _answers(site: Site, edge: EdgeCase) -> Iterator[Answers]:
    for case in edge.cases:
        yield Answers(
            case,
            {name: _due(item) for name, item in (case.expected or {}).items()},
            {column: _outcomes(site.records.outputs(column, case.id), case) for column in site.columns},
        )


def _calls(site: Site, function: str) -> list[tuple[str, str]]:
    """By adapter, how it calls its framework for a function."""
    names = dict.fromkeys(column.name for column in site.columns)
    return [(name, source) for name in names if (source := call_of(name, function))]


def remarks(site: Site, column: Column, outcome: Outcome) -> list[tuple[str, str | None]]:
    """What is to be said about an outcome, each thing once, with its upstream reference."""
    records = [r for r in (outcome.value, *outcome.gradients) if r and r.verdict is not Verdict.PASS]
    return list(dict.fromkeys((site.remark(column, record), record.upstream) for record in records))


def lacking(answers: Answers) -> list[tuple[str, str]]:
    """The backends that have no answer in any dtype, and why."""
    return [
        (column.label, next((o.value.message for o in outcomes if o.value is not None), ""))
        for column, outcomes in answers.outcomes.items()
        if all(outcome.verdict in UNJUDGED for outcome in outcomes)
    ]


def snippet(answers: Answers) -> str:
    """The commands that show what the backends that differ do."""
    differing = [
        column
        for column, outcomes in answers.outcomes.items()
        if any(outcome.verdict in FAILURES | {Verdict.DEVIATION, Verdict.BELOW} for outcome in outcomes)
    ]
    case = answers.case.id
    return (
        "\n".join(
            f"lossproof repro {case} --adapter {shlex.quote(column.reference)} > repro.py && python repro.py"
            for column in differing
        )
        or f"lossproof explain {case}"
    )


def _due(item: Any) -> str:
    if isinstance(item, Sketch):
        return f"an array of shape {item.shape}"
    return small_text(item) if item.size <= MAX_SHOWN else f"an array of shape {item.shape}"


def _outcomes(records: Sequence[Record], case: Case) -> list[Outcome]:
    """One row for the dtypes that agree."""
    by_dtype: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        # Laws are asked about in some dtypes only.
        if not kept_law(record):
            by_dtype[record.dtype].append(record)
    groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for dtype, rows in by_dtype.items():
        # Numbers that are right differ by roundings; they are one answer all the same.
        key = tuple(
            (r.output, r.verdict, r.variant, r.deviation, None if r.verdict is Verdict.PASS else shown(r))
            for r in rows
        )
        groups[key].append(dtype)
    return [
        Outcome(
            () if set(dtypes) == set(case.dtypes) else tuple(dtypes),
            next((r for r in by_dtype[dtypes[0]] if r.output == "value"), None),
            tuple(r for r in by_dtype[dtypes[0]] if r.output != "value"),
        )
        for dtypes in groups.values()
    ]


def shown(record: Record) -> str:
    """What came out, as far as it is known."""
    if record.actual is not None:
        return record.actual
    if record.verdict is Verdict.PASS:
        return "as due"
    return record.variant or record.message


# -- accuracy ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """The largest errors of one backend, function and dtype, each with its case."""

    column: Column
    function: str
    dtype: str
    by_ulp: Record
    by_share: Record
    outputs: int

    @property
    def share(self) -> float:
        return _share(self.by_share)


def _accuracy(site: Site) -> Iterator[Cell]:
    for column in site.columns:
        cells: dict[tuple[str, str], Cell] = {}
        for record in site.records.of(column):
            if record.verdict in UNJUDGED or record.share_used is None:
                continue
            place = record.function, record.dtype
            cell = cells.get(place) or Cell(column, *place, record, record, 0)
            cells[place] = replace(
                cell,
                by_ulp=max(cell.by_ulp, record, key=lambda r: -1.0 if r.error_ulp is None else r.error_ulp),
                by_share=max(cell.by_share, record, key=_share),
                outputs=cell.outputs + 1,
            )
        yield from cells.values()


def _share(record: Record) -> float:
    return share(record.share_used)


def inputs_there(site: Site, record: Record) -> str:
    """The inputs at the place of the largest error, where they have the output's shape and are few."""
    case = site.cases.get(record.case)
    place = re.match(r"\[([0-9, ]+)\]", record.worst or "")
    if case is None or place is None or not _is_small(case):
        return ""
    index = case.in_copy(tuple(map(int, place[1].split(","))))
    return ", ".join(
        f"{name} {_number_text(array[index])}"
        for name, array in numpy_arrays(case, record.dtype).items()
        if array.ndim == len(index) and all(i < n for i, n in zip(index, array.shape, strict=True))
    )


def _is_small(case: Case) -> bool:
    return all(math.prod(case.shape_of(name)) <= MAX_GENERATED for name in case.inputs)


def _number_text(value: Any) -> str:
    return f"{float(value):.9g}"


def _heat(cells: Iterable[Cell], functions: Sequence[str]) -> dict[tuple[str, str], dict[Column, Cell]]:
    heat: dict[tuple[str, str], dict[Column, Cell]] = defaultdict(dict)
    for cell in sorted(cells, key=lambda cell: (functions.index(cell.function), dtype_order(cell.dtype))):
        heat[cell.function, cell.dtype][cell.column] = cell
    return heat


# -- speed and history -------------------------------------------------------------------------


@dataclass(frozen=True)
class SpeedRow:
    """One timing as text; what a file does not say is empty."""

    backend: str
    direction: str
    median: str
    quartiles: str
    rate: str
    share: str
    first_call: str
    peak: str
    rounds: str


def _speed_row(row: Benchmark) -> SpeedRow:
    stats, extra = row.stats, row.extra_info
    return SpeedRow(
        backend=extra.backend or row.name,
        direction=_direction(row),
        median=number(1e3 * stats.median),
        quartiles=f"{number(1e3 * stats.q1)} to {number(1e3 * stats.q3)}",
        rate=number(extra.bytes / stats.median / 1e9) if extra.bytes else "",
        share=_limit_share(row),
        first_call=number(extra.first_call_s),
        peak="" if extra.peak_bytes is None else number(extra.peak_bytes / 2**20),
        rounds=str(stats.rounds or ""),
    )


def _speed(name: str, timings: Timings) -> dict[str, Any]:
    """One chart per workload, forward and backward side by side."""
    from lossproof.site.charts import Bar, bar_chart

    groups: dict[str, list[Benchmark]] = defaultdict(list)
    for row in timings.benchmarks:
        groups[row.group or row.name].append(row)
    charts = []
    for group, rows in groups.items():
        bars = [
            Bar(
                row.extra_info.backend or row.name, _direction(row),
                row.stats.median, row.stats.q1, row.stats.q3,
            )
            for row in rows
        ]  # fmt: skip
        limit = next(filter(None, (row.extra_info.bandwidth_limit_s for row in rows)), None)
        charts.append(
            (
                group,
                Markup(bar_chart(f"Time of {group}", bars, limit, name)),
                list(map(_speed_row, rows)),
            )
        )
    machine = timings.machine_info
    return {
        "name": name,
        "cpu": machine.cpu.brand_raw,
        "cores": machine.cpu.count or "",
        "python": machine.python_version,
        "system": f"{machine.system} {machine.machine}",
        "charts": charts,
    }


def _limit_share(row: Benchmark) -> str:
    """Copying as many bytes over the time taken, with its interval, where both were measured together."""
    try:
        return copy_share(row).text()
    except ValueError:
        return ""


def _direction(row: Benchmark) -> str:
    both = "forward+backward"
    return row.extra_info.direction or (both if both in row.name else "forward")


def _histories(site: Site) -> Iterator[tuple[str, list[tuple[Column, Column, Changes]]]]:
    by_name: dict[tuple[str, str], list[Column]] = defaultdict(list)
    for column in site.columns:
        by_name[column.name, column.device].append(column)
    for (name, _), columns in by_name.items():
        columns.sort(key=lambda column: version_key(column.version))
        steps = [
            (old, new, Changes(site.records.of(old), site.records.of(new), recording=False))
            for old, new in pairwise(columns)
        ]
        if steps:
            yield name, steps


# -- the specification -------------------------------------------------------------------------


def _specification() -> list[tuple[str, str, str]]:
    """Stem, title and text of every page: general, the functions in the table's order, the rest by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder("spec").glob("*.md")}
    defining = [clauses()[function.clause].page.removesuffix(".md") for function in FUNCTIONS.values()]
    stems = dict.fromkeys(["general", *defining, *sorted(texts)])
    return [(stem, texts[stem].splitlines()[0].lstrip("# "), texts[stem]) for stem in stems]


def _citing(site: Site) -> dict[str, list[str]]:
    """The cases of each clause that a backend was run on; the others have no place in the site."""
    found: dict[str, list[str]] = defaultdict(list)
    for id in site.case_ids:
        if id in site.cases:
            found[site.cases[id].clause].append(id)
    return found


def _with_cases(site: Site, html: str, citing: Mapping[str, Sequence[str]], template: jinja2.Template) -> str:
    """Below each clause, its cases and how the backends fare on them."""
    parts = html.split('<p id="')
    text = [parts[0]]
    for part in parts[1:]:
        clause = unescape(part[: part.index('"')])
        paragraph, _, rest = part.partition("</p>")
        cases = citing.get(clause, [])
        given: dict[Column, list[Verdict]] = defaultdict(list)
        for case in cases:
            for column, own in site.records.verdicts(case).items():
                given[column] += own
        verdicts = [(column, worst(given[column])) for column in site.columns]
        box = template.render(cases=cases, verdicts=verdicts, root="../")
        text.append(f'<p id="{paragraph}</p>{box}{rest}')
    return "".join(text)
