"""Terminal output: progress bars and the tables of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lossproof.gate import Gate
from lossproof.results import FAILURES, AdapterInfo, Record, Verdict

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
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_adapter(
    console: Console, info: AdapterInfo, records: Sequence[Record], verbose: bool, gate: Gate
) -> None:
    """The table of one backend: functions against verdicts, then what is wrong."""
    if info.skipped is not None:
        console.print(Text(f"{info.name}: skipped, {info.skipped}", style="dim"))
        return
    console.print()
    title = f"{info.name}  ({info.backend} {info.version}, {info.device})"
    console.print(Text(title, style="bold"))
    verdicts = [v for v in Verdict if any(r.verdict is v for r in records)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("function", no_wrap=True)
    for verdict in verdicts:
        table.add_column(str(verdict), justify="right")
    table.add_column("worst of bound", justify="right")
    for function in dict.fromkeys(record.function for record in records):
        rows = [record for record in records if record.function == function]
        counts = Counter(record.verdict for record in rows)
        cells = [
            Text(str(counts[v]) if counts[v] else "·", style=STYLES[v] if counts[v] else "dim")
            for v in verdicts
        ]
        table.add_row(function, *cells, _worst_share(rows))
    console.print(table)
    listed = {Verdict.DEVIATION, Verdict.BELOW, Verdict.UNSUPPORTED} | FAILURES if verbose else set()
    _list_records(console, [r for r in records if gate.fails(r) or r.verdict in listed], verbose)


def _worst_share(records: Sequence[Record]) -> str:
    """Largest error of what passes, as a share of what is allowed."""
    shares = [
        record.error / record.allowed
        for record in records
        if record.verdict in (Verdict.PASS, Verdict.VARIANT) and record.error and record.allowed
    ]
    return f"{max(shares):.2f}" if shares else ""


def _list_records(console: Console, records: Sequence[Record], verbose: bool) -> None:
    for record in records if verbose else records[:MAX_LISTED]:
        console.print(
            f"[{STYLES[record.verdict]}]{record.verdict:>11}[/]  {escape(record.case)} "
            f"{record.dtype} {record.output}  [dim]({record.clause})[/] {escape(record.message)}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if not verbose and len(records) > MAX_LISTED:
        console.print(f"… and {len(records) - MAX_LISTED} more; --verbose or --json shows them all")


def show_summary(
    console: Console,
    records: Sequence[Record],
    adapters: Sequence[AdapterInfo],
    seconds: float,
    gate: Gate,
) -> None:
    """The closing lines: one verdict per backend."""
    console.print()
    for info in adapters:
        if info.skipped is not None:
            continue
        own = [record for record in records if record.adapter == info.name]
        failures = sum(map(gate.fails, own))
        tolerated = sum(map(gate.tolerated, own))
        counts = Counter(record.verdict for record in own)
        shown = (Verdict.DEVIATION, Verdict.BELOW, Verdict.UNSUPPORTED)
        extras = [f"{counts[v]} {v}" for v in shown if counts[v]]
        if tolerated:
            extras.append(f"{tolerated} no worse than the baseline")
        text = Text(f"{info.name}: ")
        if failures:
            text.append(f"{_count(failures, 'failure')}", style="bold red")
        elif own and counts[Verdict.UNSUPPORTED] == len(own):
            text.append("nothing to judge, no case is supported", style="yellow")
        elif FAILURES & counts.keys():
            text.append("wrong, but not worse than --fail-on and --baseline allow", style="yellow")
        elif counts[Verdict.DEVIATION]:
            text.append("conforms except for recorded deviations", style="yellow")
        else:
            text.append("conforms", style="green")
        text.append(f"  ({', '.join([_count(len(own), 'output'), *extras])})", style="dim")
        console.print(text)
    cases = len({record.case for record in records})
    console.print(
        f"{_count(cases, 'case')}, {_count(len(records), 'output')} in {seconds:.1f} s", style="dim"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
