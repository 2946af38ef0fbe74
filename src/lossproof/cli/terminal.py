"""Terminal output: progress bars and the tables of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lossproof.core.text import counted
from lossproof.core.verdicts import Verdict
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


@contextmanager
def progress(label: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where that is a terminal and no quiet is asked for."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_adapter(console: Console, info: AdapterInfo, tally: Tally) -> None:
    """The table of one backend: functions against verdicts, then what is wrong."""
    if info.skipped is not None:
        console.print(Text(f"{info.name}: skipped, {info.skipped}", style="dim"))
        return
    console.print()
    title = f"{info.name}  ({info.backend} {info.version}, {info.device})"
    console.print(Text(title, style="bold"))
    seen = tally.verdicts
    verdicts = [v for v in Verdict if seen[v]]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("function", no_wrap=True)
    for verdict in verdicts:
        table.add_column(str(verdict), justify="right")
    table.add_column("worst of bound", justify="right")
    for function, counts in tally.functions.items():
        cells = [
            Text(str(counts[v]) if counts[v] else "·", style=STYLES[v] if counts[v] else "dim")
            for v in verdicts
        ]
        share = tally.worst_share.get(function)
        table.add_row(function, *cells, "" if share is None else f"{share:.2f}")
    console.print(table)
    _list_records(console, tally)


def _list_records(console: Console, tally: Tally) -> None:
    for record in tally.listed:
        console.print(
            f"[{STYLES[record.verdict]}]{record.verdict:>11}[/]  {escape(record.case)} "
            f"{record.dtype} {record.output}  [dim]({record.clause})[/] {escape(record.message)}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if tally.limit is not None and tally.failures > tally.limit:
        console.print(f"… and {tally.failures - tally.limit} more; --verbose or --json shows them all")


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
            console.print(Text.assemble(f"{info.name}: ", _outcome(tally), (f"  ({tally.remarks})", "dim")))
            for line in tally.choices.lines():
                console.print(Text(f"  makes the choice {line}", "cyan"), soft_wrap=True)
    outputs = sum(tally.outputs for _, tally in tallies)
    console.print(
        f"{counted(cases if outputs else 0, 'case')}, {counted(outputs, 'output')} in {seconds:.1f} s",
        style="dim",
    )
    if left_out:
        console.print(left_out, style="dim", highlight=False)


def show_quiet(
    console: Console, tallies: Sequence[tuple[AdapterInfo, Tally]], seconds: float, left_out: str = ""
) -> None:
    """What fails, backend by backend, and a single line of verdicts."""
    parts: list[Text] = []
    for info, tally in tallies:
        if tally.listed:
            console.print(Text(info.name, style="bold"))
            _list_records(console, tally)
        if tally.outputs:
            outcome = _outcome(tally) if info.skipped is None else Text(f"skipped, {info.skipped}", "yellow")
            parts += [Text(f"{info.name}: "), outcome, Text("; ")]
    outputs = sum(tally.outputs for _, tally in tallies)
    rest = f" ({left_out})" if left_out else ""
    end = Text(f"{counted(outputs, 'output')} in {seconds:.1f} s{rest}", style="dim")
    console.print(Text.assemble(*parts, end), soft_wrap=True)


def _outcome(tally: Tally) -> Text:
    style = "bold red" if tally.failures else "green" if tally.outcome == CONFORMS else "yellow"
    return Text(tally.outcome, style=style)
