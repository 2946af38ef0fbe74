"""Timings as tables, and what became slower or faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from lossproof.bench.compare import compare, copy_share
from lossproof.bench.ranking import Place, ranking
from lossproof.bench.timings import Benchmark, Timings
from lossproof.cli.terminal import show_table
from lossproof.core.escape import visible
from lossproof.errors import LossproofError


def show(console: Console, timings: Timings) -> None:
    """A table per workload and number of threads, and who is fastest in it."""
    for group, rows in timings.groups():
        table = Table(title=visible(group), title_justify="left", box=None, pad_edge=False)
        table.add_column("backend")
        table.add_column("direction")
        for heading in ("median ms", "quartiles", "copy/time", "first call s", "peak MiB", "result"):
            table.add_column(heading, justify="right")
        for row in rows:
            stats, extra = row.stats, row.extra_info
            limit = copy_share(row)
            peak, first = extra.peak_bytes, extra.first_call_s
            wrong = [f"{name} {verdict}" for name, verdict in extra.verdicts.items() if verdict != "pass"]
            table.add_row(
                visible(extra.backend), visible(extra.direction), f"{1e3 * stats.median:.3f}",
                f"{1e3 * stats.q1:.3f}–{1e3 * stats.q3:.3f}", limit.text(),
                "" if first is None else f"{first:.3f}", "" if peak is None else f"{peak / 2**20:.1f}",
                visible(", ".join(wrong)) or "right",
            )  # fmt: skip
        show_table(console, table)
        for direction in dict.fromkeys(row.extra_info.direction for row in rows):
            own = [row for row in rows if row.extra_info.direction == direction]
            if len(own) > 1:
                console.print(visible(f"{direction}: {_ranked(own)}"))
        console.print()
    for problem in timings.problems:
        console.print(visible(problem), style="yellow")


def _ranked(rows: Sequence[Benchmark]) -> str:
    """The backends from the fastest on, each with its time over the fastest's."""
    fastest, *others = ranking(rows)
    texts = [f"{place.row.extra_info.adapter} {place.ratio.text()}{_remark(place)}" for place in others]
    none = "none is right; " if fastest.wrong else ""
    return f"{none}{fastest.row.extra_info.adapter} is fastest; {', '.join(texts)} times as long"


def _remark(place: Place) -> str:
    if place.wrong:
        return " (wrong)"
    return "" if place.shown or place.ratio.high < 1 else " (no difference shown)"


def show_comparison(console: Console, old: Timings, new: Timings) -> int:
    found = list(compare(old, new))
    if not found:
        raise LossproofError("the two files have no backend and workload in common")
    for entry in sorted(found, key=lambda entry: -entry.interval.low):
        if entry.verdict != "no difference seen":
            adapter, workload, direction, threads = entry.key
            text = f"{entry.verdict}: {adapter}, {workload}, {direction}, {threads} thread(s): new/old "
            console.print(visible(text + entry.interval.text()))
    counts = Counter(entry.verdict for entry in found)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["slower"] else 0
