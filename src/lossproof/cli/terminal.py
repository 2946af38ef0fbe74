"""Terminal output: progress bars and the tables of a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from lossproof.core.escape import visible
from lossproof.core.text import counted
from lossproof.core.verdicts import MEANING, Verdict
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.tally import CONFORMS, Tally

STYLES = {
    Verdict.PASS: "green",
    Verdict.VARIANT: "cyan",
    Verdict.DEVIATION: "yellow",
    Verdict.BELOW: "magenta",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.CRASH: "bold red",
    Verdict.TIMEOUT: "bold red",
    Verdict.UNSUPPORTED: "dim",
    Verdict.SKIPPED: "dim",
}
MAX_LISTED = 50
# What stands in a table where there is nothing, and the blanks between two columns.
NOTHING = "·"
WORST = "worst of bound"
GAP = 2


class _Console(Console):
    """Prints texts as they are: none is markup, and none holds what a terminal would obey."""

    def __init__(self, *, width: int | None = None, error: bool = False) -> None:
        super().__init__(width=width, stderr=error, markup=False, emoji=False, highlight=False)
        # In a log a message is one line, and no part of it that is somebody's text begins another.
        self.soft_wrap = not self.is_terminal

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, lines=True), style, control)


def show_table(console: Console, table: Table) -> None:
    """Print a table, whose columns fit the width also where lines of text need not.

    A terminal too narrow for the columns gets each row as a paragraph, in which nothing is cut off.
    """
    if console.width >= _narrowest(table):
        console.print(table, soft_wrap=False)
        return
    if table.title:
        console.print(table.title)
    headings, columns = [column.header for column in table.columns], [list(c.cells) for c in table.columns]
    for first, *cells in zip(*columns, strict=True):
        parts = [
            Text.assemble(_text(cell), " ", (str(heading), "dim"))
            for heading, cell in zip(headings[1:], cells, strict=True)
            if _text(cell).plain not in ("", NOTHING)
        ]
        console.print(Text.assemble(_text(first), ": " if parts else "", Text(", ").join(parts)))


def _narrowest(table: Table) -> int:
    """The width below which words would be cut in two."""
    words = [
        max((len(word) for cell in (c.header, *c.cells) for word in _words(cell, c.no_wrap)), default=0)
        for c in table.columns
    ]
    return sum(words) + GAP * (len(words) - 1)


def _words(cell: RenderableType, whole: bool) -> Sequence[str]:
    text = _text(cell).plain
    return [text] if whole else text.split()


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def console(width: int | None = None) -> Console:
    """Standard output; ``width`` is for where that is no terminal, which knows its own."""
    return _Console(width=None if sys.stdout.isatty() else width)


@contextmanager
def progress(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where that is a terminal and no quiet is asked for."""
    console = _Console(error=True)
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(visible(label), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def status(label: str) -> Iterator[Callable[[str], None]]:
    """A line on standard error that says what is being done, where that is a terminal."""
    # As texts: rich reads a string beside a spinner as markup, whatever the console says.
    with _Console(error=True).status(Text(visible(label))) as line:
        yield lambda text: line.update(Text(visible(text)))


def title(info: AdapterInfo) -> Text:
    """What an adapter is, on one line."""
    text = f"{info.name}  ({info.backend} {info.version}, {info.device})"
    return Text(visible(text), style="bold")


def show_adapter(console: Console, info: AdapterInfo, tally: Tally) -> None:
    """The table of one backend: functions against verdicts, then what is wrong."""
    console.print()
    console.print(title(info))
    seen = tally.verdicts
    verdicts = [v for v in Verdict if seen[v]]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("function", no_wrap=True)
    for verdict in verdicts:
        table.add_column(str(verdict), justify="right")
    table.add_column(WORST, justify="right")
    laws_last = sorted(tally.rows.items(), key=lambda row: row[0].startswith("law."))
    for function, counts in laws_last:
        cells = [
            Text(str(counts[v]) if counts[v] else NOTHING, style=STYLES[v] if counts[v] else "dim")
            for v in verdicts
        ]
        share = tally.worst_share.get(function)
        table.add_row(function, *cells, "" if share is None else f"{share:.2f}")
    show_table(console, table)
    _list_records(console, tally)


def _list_records(console: Console, tally: Tally) -> None:
    for record in tally.listed:
        line = Text.assemble(
            (f"{record.verdict:>11}", STYLES[record.verdict]),
            f"  {record.case} {record.dtype} {record.output}  ", (f"({record.clause})", "dim"),
            f" {visible(record.message)}",
        )  # fmt: skip
        console.print(line)
    if tally.limit is not None and tally.failures > tally.limit:
        console.print(f"… and {tally.failures - tally.limit} more; --verbose or --json shows them all")


def show_columns(console: Console, tallies: Sequence[tuple[AdapterInfo, Tally]]) -> None:
    """What the columns of the tables say, of those that there are."""
    seen = {verdict for info, tally in tallies if info.skipped is None for verdict in tally.verdicts}
    lines = [(str(v), STYLES[v], MEANING[v]) for v in Verdict if v in seen]
    if any(tally.worst_share for _, tally in tallies):
        lines.append(
            (WORST, "", "the largest error of what is right, as a share of what the tolerance allows")
        )
    console.print()
    for name, style, meaning in lines:
        console.print(Text.assemble((name, style), (f": {meaning}", "dim")))


def show_skipped(console: Console, skipped: Mapping[str, str]) -> None:
    """Backends that are not here, by name with the reason: one line, equal reasons together."""
    names: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        names.setdefault(reason, []).append(name)
    groups = [f"{', '.join(group)} ({reason})" for reason, group in names.items()]
    console.print(Text(visible(f"skipped: {'; '.join(groups)}"), style="dim"))


def show_next(console: Console, steps: Sequence[str]) -> None:
    """What to type next, if there is anything."""
    if steps:
        console.print()
    for step in steps:
        console.print(Text(visible(f"→ {step}")))


def show_summary(
    console: Console,
    tallies: Sequence[tuple[AdapterInfo, Tally]],
    cases: int,
    seconds: float,
    left_out: str = "",
) -> None:
    """The closing lines: one verdict per backend, and what was ``left_out``."""
    console.print()
    for info, tally in tallies:
        if info.skipped is None:
            name = visible(info.name)
            console.print(Text.assemble(f"{name}: ", _outcome(tally), (f"  ({tally.remarks})", "dim")))
            for line in tally.choices.lines():
                console.print(Text(f"  makes the choice {line}", "cyan"))
    outputs = sum(tally.outputs for _, tally in tallies)
    console.print(
        f"{counted(cases if outputs else 0, 'case')}, {counted(outputs, 'output')} in {seconds:.1f} s",
        style="dim",
    )
    if left_out:
        console.print(left_out, style="dim")


def show_quiet(
    console: Console, tallies: Sequence[tuple[AdapterInfo, Tally]], seconds: float, left_out: str = ""
) -> None:
    """What fails, backend by backend, and a single line of verdicts."""
    parts: list[Text] = []
    for info, tally in tallies:
        if tally.listed:
            console.print(Text(visible(info.name), style="bold"))
            _list_records(console, tally)
        if tally.outputs:
            absent = None if info.skipped is None else Text(visible(f"skipped, {info.skipped}"), "yellow")
            parts += [Text(f"{visible(info.name)}: "), absent or _outcome(tally), Text("; ")]
    outputs = sum(tally.outputs for _, tally in tallies)
    rest = f" ({left_out})" if left_out else ""
    end = Text(f"{counted(outputs, 'output')} in {seconds:.1f} s{rest}", style="dim")
    console.print(Text.assemble(*parts, end))


def _outcome(tally: Tally) -> Text:
    style = "bold red" if tally.failures else "green" if tally.outcome == CONFORMS else "yellow"
    return Text(tally.outcome, style=style)
