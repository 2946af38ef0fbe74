"""``lossproof run``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from lossproof.adapter import ALL_DTYPES
from lossproof.badge import write_badge
from lossproof.case import Case, suggest
from lossproof.cli import Choice
from lossproof.dtypes import INTEGER_TYPES
from lossproof.errors import LossproofError
from lossproof.gate import Gate, Key, key
from lossproof.journal import Journal
from lossproof.junit import write_junit
from lossproof.registry import Loaded, available_names, load_adapter
from lossproof.remote import RemoteAdapter
from lossproof.results import AdapterInfo, Record, Verdict, read_json, write_json
from lossproof.runner import jobs, run_parallel
from lossproof.select import select_cases
from lossproof.terminal import progress, show_adapter, show_summary

Pairs = Sequence[tuple[Case, str]]


def run(options: argparse.Namespace) -> int:
    """Run, print one table per backend, write the files asked for."""
    _check(options)
    cases = select_cases(options.cases, options.function)
    uncertified = [case for case in cases if case.expected is None]
    if uncertified:
        raise uncertified[0].complain("has no expectation yet; run lossproof certify --write")
    pairs = jobs(cases, options.dtype)
    if not pairs:
        raise LossproofError("no case is left after --dtype")
    gate = Gate(options.fail_on, _baseline(options.baseline))
    start = time.perf_counter()
    console = Console(width=None if sys.stdout.isatty() else 120)
    journal = Journal(options.json, cases, options.resume) if options.json else None
    adapters: list[AdapterInfo] = []
    records: list[Record] = []
    complete = False
    try:
        for choice in options.adapter or [Choice(name) for name in available_names()]:
            loaded = load_adapter(
                choice.reference,
                isolate=options.isolate or options.jobs > 1,
                python=choice.python,
                timeout=options.timeout,
            )
            info = loaded.info
            if choice.reference != info.name:
                info = replace(info, reference=choice.reference)
            if info.name in {known.name for known in adapters}:
                raise LossproofError(f"two adapters are called {info.name!r}; rename one")
            if not options.cases and not options.function:
                # Only a run over all cases can tell that a deviation names none of them.
                loaded.deviations.check_ids(case.id for case in cases)
            adapters.append(info)
            # Backends that are not there are named once; asked for, each case is skipped.
            wanted = pairs if options.adapter or info.skipped is None else []
            if journal is not None:
                journal.begin(info)
            before = len(records)
            with progress(info.name) as update:
                _run_adapter(loaded, wanted, options.jobs, journal, records, update)
            show_adapter(console, info, records[before:], options.verbose, gate)
        complete = True
    except KeyboardInterrupt:
        if journal is not None:
            print(
                f"lossproof: {len(records)} outputs so far are in {options.json}; "
                "the same command with --resume completes it",
                file=sys.stderr,
            )
        raise
    finally:
        # An interrupted run keeps what it has.
        if options.json:
            write_json(options.json, adapters, records)
        if options.junit:
            write_junit(options.junit, adapters, records, gate)
        if options.badge:
            write_badge(options.badge, records)
        if journal is not None:
            journal.close(complete)
    show_summary(console, records, adapters, time.perf_counter() - start, gate)
    return 1 if any(map(gate.fails, records)) else 0


def _check(options: argparse.Namespace) -> None:
    for dtype in options.dtype:
        known = [*ALL_DTYPES, *INTEGER_TYPES]
        if dtype not in known:
            raise LossproofError(f"unknown dtype {dtype!r}{suggest(dtype, known)}")
    for file in (options.json, options.junit, options.badge):
        if file is not None and not file.parent.is_dir():
            raise LossproofError(f"{file}: its folder does not exist")
    if options.resume and not options.json:
        raise LossproofError("--resume needs --json FILE, the results file to complete")


def _baseline(path: Path | None) -> dict[Key, Verdict]:
    return {} if path is None else {key(record): record.verdict for record in read_json(path).records}


def _run_adapter(
    loaded: Loaded,
    pairs: Pairs,
    processes: int,
    journal: Journal | None,
    records: list[Record],
    update: Callable[[int, int], None],
) -> None:
    name = loaded.info.name
    done = {} if journal is None else journal.done
    left = [(case, dtype) for case, dtype in pairs if (name, case.id, dtype) not in done]
    fresh = run_parallel(loaded, left, processes)
    try:
        for number, (case, dtype) in enumerate(pairs, 1):
            rows = done.get((name, case.id, dtype))
            if rows is None:
                rows = next(fresh)
                if journal is not None:
                    journal.add(rows)
            records += rows
            update(number, len(pairs))
    finally:
        fresh.close()
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()
