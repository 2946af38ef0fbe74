"""``lossproof run``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import tee
from pathlib import Path

from rich.console import Console

from lossproof.adapter import ALL_DTYPES
from lossproof.case.model import Case
from lossproof.case.select import Selection, select_cases
from lossproof.cli.terminal import MAX_LISTED, progress, show_adapter, show_summary
from lossproof.core.dtypes import INTEGER_TYPES
from lossproof.core.text import suggest
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.engine.runner import jobs
from lossproof.errors import LossproofError
from lossproof.isolation.load import load_adapter
from lossproof.isolation.parallel import run_parallel
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.choice import Choice
from lossproof.registry.find import available_names
from lossproof.registry.loaded import AdapterInfo, Loaded
from lossproof.results.badge import write_badge
from lossproof.results.file import read_json, write_json
from lossproof.results.gate import Gate, Key, key
from lossproof.results.journal import Journal
from lossproof.results.junit import write_junit
from lossproof.results.tally import Tally


def run(options: argparse.Namespace) -> int:
    """Run, print one table per backend, write the files asked for."""
    _check(options)
    cases = select_cases(options.cases, options.function)
    if cases.uncertified is not None:
        raise cases.uncertified.complain("has no expectation yet; run lossproof certify --write")
    total = cases.pairs(options.dtype)
    if not total:
        raise LossproofError("no case is left after --dtype")
    gate = Gate(options.fail_on, _baseline(options.baseline))
    start = time.perf_counter()
    console = Console(width=None if sys.stdout.isatty() else 120)
    # Records that a file is made of are kept on disk until it is; the tables need counts alone.
    journal = Journal(options.json, cases, options.resume) if options.json or options.junit else None
    tallies: list[tuple[AdapterInfo, Tally]] = []
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
            if info.name in {known.name for known, _ in tallies}:
                raise LossproofError(f"two adapters are called {info.name!r}; rename one")
            if not options.cases and not options.function:
                # Only a run over all cases can tell that a deviation names none of them.
                loaded.deviations.check_ids(cases.ids)
            tally = Tally(gate, None if options.verbose else MAX_LISTED)
            tallies.append((info, tally))
            if journal is not None:
                journal.begin(info)
            # Backends that are not there are named once; asked for, each case is skipped.
            if options.adapter or info.skipped is None:
                with progress(info.name) as update:
                    for number, rows in enumerate(_run_adapter(loaded, cases, options, journal), 1):
                        tally.add(rows)
                        update(number, total)
            show_adapter(console, info, tally)
        complete = True
    except KeyboardInterrupt:
        if options.json:
            outputs = sum(tally.outputs for _, tally in tallies)
            print(
                f"lossproof: {outputs} outputs so far are in {options.json}; "
                "the same command with --resume completes it",
                file=sys.stderr,
            )
        raise
    finally:
        # An interrupted run keeps what it has.
        _write_files(options, tallies, journal, gate)
        if journal is not None:
            journal.close(complete)
    show_summary(console, tallies, cases.count(options.dtype), time.perf_counter() - start)
    return 1 if any(tally.failures for _, tally in tallies) else 0


def _run_adapter(
    loaded: Loaded, cases: Selection, options: argparse.Namespace, journal: Journal | None
) -> Iterator[list[Record]]:
    """The records of each pair, in order; those of an earlier run are not made again."""
    name = loaded.info.name

    def known(case: Case, dtype: str) -> bool:
        return journal is not None and journal.has(name, case.id, dtype)

    # The runner may be a few pairs ahead.
    pairs, ahead = tee(jobs(cases, options.dtype))
    fresh = run_parallel(loaded, (pair for pair in ahead if not known(*pair)), options.jobs)
    try:
        for case, dtype in pairs:
            if journal is not None and known(case, dtype):
                yield journal.recall(name, case.id, dtype)
                continue
            rows = next(fresh)
            if journal is not None:
                journal.add(rows)
            yield rows
    finally:
        fresh.close()
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()


def _write_files(
    options: argparse.Namespace,
    tallies: Sequence[tuple[AdapterInfo, Tally]],
    journal: Journal | None,
    gate: Gate,
) -> None:
    adapters = [info for info, _ in tallies]
    if options.json and journal is not None:
        write_json(options.json, adapters, journal)
    if options.junit and journal is not None:
        write_junit(options.junit, adapters, journal, gate)
    if options.badge:
        write_badge(options.badge, sum((tally.verdicts for _, tally in tallies), Counter()))


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
