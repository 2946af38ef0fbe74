"""``lossproof bench``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lossproof.bench.compare import compare, read
from lossproof.bench.session import Plan, measure
from lossproof.bench.stats import paired
from lossproof.bench.workload import workloads
from lossproof.errors import InputError, LossproofError
from lossproof.registry.choice import Choice
from lossproof.registry.find import available_names


def bench(options: argparse.Namespace) -> int:
    """Measure (or load), show, and compare; exit status 1 if something is slower."""
    old = read(options.compare) if options.compare else None
    if options.json and not options.json.resolve().parent.is_dir():
        raise InputError(options.json, None, "cannot be written: no such folder")
    if options.load:
        document = read(options.load)
    else:
        document = measure(_plan(options), lambda text: print(text, file=sys.stderr, flush=True))
        if options.json:
            options.json.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    console = Console(width=None if sys.stdout.isatty() else 130)
    _show(console, document)
    return _show_comparison(console, old, document) if old else 0


def _plan(options: argparse.Namespace) -> Plan:
    chosen = workloads(options.workloads, options.dtype)
    if not chosen:
        names = ", ".join(dict.fromkeys(work.name for work in workloads()))
        raise LossproofError(f"no workload is left; there are {names}")
    every = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        counts = [every if text == "all" else int(text) for text in options.threads.split(",")]
    except ValueError:
        raise LossproofError(f"--threads {options.threads!r} must be like 1,all") from None
    if not all(0 < count <= every for count in counts):
        raise LossproofError(f"--threads {options.threads!r}: there are {every} cores")
    return Plan(
        options.adapter or [Choice(name) for name in available_names()],
        chosen,
        list(dict.fromkeys(counts)),
        options.starts,
        options.rounds,
        options.seconds,
    )


def _show(console: Console, document: Mapping[str, Any]) -> None:
    for group, rows in groupby(document["benchmarks"], key=lambda row: row["group"]):
        table = Table(title=escape(group), title_justify="left", box=None, pad_edge=False)
        table.add_column("backend")
        table.add_column("direction")
        for heading in ("median ms", "quartiles", "copy/time", "first call s", "peak MiB", "result"):
            table.add_column(heading, justify="right")
        for row in rows:
            stats, extra = row["stats"], row["extra_info"]
            limit = paired(extra["copy_s"], stats["data"], extra["starts"])
            peak = extra.get("peak_bytes")
            wrong = [f"{name} {verdict}" for name, verdict in extra["verdicts"].items() if verdict != "pass"]
            table.add_row(
                escape(extra["backend"]), extra["direction"], f"{1e3 * stats['median']:.3f}",
                f"{1e3 * stats['q1']:.3f}–{1e3 * stats['q3']:.3f}", escape(limit.text()),
                f"{extra['first_call_s']:.3f}", "" if peak is None else f"{peak / 2**20:.1f}",
                escape(", ".join(wrong) or "right"),
            )  # fmt: skip
        console.print(table)
        console.print()
    for problem in document["problems"]:
        console.print(escape(problem), style="yellow")


def _show_comparison(console: Console, old: Mapping[str, Any], new: Mapping[str, Any]) -> int:
    found = list(compare(old, new))
    if not found:
        raise LossproofError("the two files have no backend and workload in common")
    for entry in sorted(found, key=lambda entry: -entry.interval.low):
        if entry.verdict != "no difference seen":
            adapter, workload, direction, threads = entry.key
            text = f"{entry.verdict}: {adapter}, {workload}, {direction}, {threads} thread(s): new/old "
            console.print(escape(text + entry.interval.text()))
    counts = Counter(entry.verdict for entry in found)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["slower"] else 0
