"""Sweeps as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossproof.cli.terminal import show_table, title
from lossproof.core.escape import visible
from lossproof.core.text import counted
from lossproof.registry.loaded import AdapterInfo
from lossproof.sweeps.report import OutputReport, Span, Sweep

MAX_LISTED = 4


def show(console: Console, info: AdapterInfo, dtype: str, sweeps: Sequence[Sweep]) -> None:
    """One adapter in one dtype: a row per output, then what is wrong."""
    console.print()
    console.print(Text.assemble(title(info), f"  {dtype}"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("function, output", no_wrap=True)
    headings = (
        "worst ULP", "at", "correct %", "faithful %", "bias ULP", "falls", "unlike", "flushed", "exceeded",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="right")
    for sweep in sweeps:
        table.add_row(visible(sweep.subject))
        for output in sweep.outputs:
            table.add_row(*_row(sweep, output))
    show_table(console, table)
    for sweep in sweeps:
        for output in sweep.outputs:
            _list(console, sweep, output)
    if any(output.not_monotone.count or output.not_symmetric.count for s in sweeps for output in s.outputs):
        console.print(
            "falls: the result goes the other way than the exact one from an input to the next; unlike: "
            "results at x and −x differ that are alike in exact arithmetic",
            style="dim",
        )
    if any(sweep.method == "search" for sweep in sweeps):
        console.print("≥: not every input was tried, so that the worst error is at least this", style="dim")


def _row(sweep: Sweep, output: OutputReport) -> list[Text]:
    name = f"  {output.output}"
    if not output.measured:
        return [Text(name), Text("·", "dim")]
    searched = sweep.method == "search"
    worst, where = "", ""
    if output.worst is not None:
        worst = ("≥ " if searched else "") + f"{abs(output.worst.error_ulp):.6g}"
        where = ", ".join(given.number for given in output.worst.inputs)
    shares = [f"{100 * part / output.measured:.3f}" for part in (output.correct, output.faithful)]
    counts = [output.not_monotone.count, output.not_symmetric.count, sum(s.count for s in output.flushed)]
    texts = [worst, where, *shares, f"{output.bias_ulp:+.1e}"]
    texts += ["·" if searched or not n else f"{n:,}" for n in counts]
    exceeding = Text(f"{output.exceeding:,}", "bold red") if output.exceeding else Text("·", "dim")
    return [Text(name), *(Text(text) for text in texts), exceeding]


def _list(console: Console, sweep: Sweep, output: OutputReport) -> None:
    """Where the bound is exceeded, and what was raised."""
    name = f"{sweep.subject} {output.output}"
    if output.problem:
        console.print(Text(visible(f"{name}: {output.problem}"), "yellow"))
    for kind, spans, style in (
        ("exceeds the bound", output.exceeded, "red"),
        ("misses what is recommended", output.below, "magenta"),
    ):
        for span in spans[:MAX_LISTED]:
            console.print(Text(visible(f"{name} {kind} {_words(span)}"), style))
        if len(spans) > MAX_LISTED:
            console.print(f"… and in {counted(len(spans) - MAX_LISTED, 'range')} more; --json has them all")


def _words(span: Span) -> str:
    """``at 3 inputs from 1.5 to 2, by up to 7.1 ULP``."""
    error = f", by up to {span.worst_ulp:.4g} ULP" if span.worst_ulp else ""
    if span.count == 1:
        return f"at {span.first.number} ({span.first.bits}){error}"
    return f"at {span.count:,} inputs from {span.first.number} to {span.last.number}{error}"
