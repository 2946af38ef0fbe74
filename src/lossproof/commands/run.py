"""``lossproof run``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lossproof.adapter import ALL_DTYPES
from lossproof.case import Case, suggest
from lossproof.dtypes import INTEGER_TYPES
from lossproof.errors import LossproofError
from lossproof.junit import write_junit
from lossproof.registry import available_names, load_adapter
from lossproof.results import FAILURES, AdapterInfo, Record, write_json
from lossproof.runner import jobs, run_here, run_isolated
from lossproof.select import select_cases
from lossproof.terminal import progress, show_adapter, show_summary


def run(options: argparse.Namespace) -> int:
    """Run, print one table per backend, write the files asked for."""
    for dtype in options.dtype:
        known = [*ALL_DTYPES, *INTEGER_TYPES]
        if dtype not in known:
            raise LossproofError(f"unknown dtype {dtype!r}{suggest(dtype, known)}")
    for file in (options.json, options.junit):
        if file is not None and not file.parent.is_dir():
            raise LossproofError(f"{file}: its folder does not exist")
    cases = select_cases(options.cases, options.function)
    uncertified = [case for case in cases if case.expected is None]
    if uncertified:
        raise uncertified[0].complain("has no expectation yet; run lossproof certify --write")
    pairs = jobs(cases, options.dtype)
    if not pairs:
        raise LossproofError("no case is left after --dtype")
    start = time.perf_counter()
    console = Console(width=None if sys.stdout.isatty() else 120)
    adapters: list[AdapterInfo] = []
    records: list[Record] = []
    try:
        for reference in options.adapter or available_names():
            info, found = _run_adapter(
                reference, pairs, options, [] if options.cases or options.function else cases
            )
            if info.name in {known.name for known in adapters}:
                raise LossproofError(f"two adapters are called {info.name!r}; rename one")
            # Backends that are not there are named once; asked for, each case is skipped.
            adapters.append(info)
            records += found if options.adapter or info.skipped is None else []
            show_adapter(console, info, found, options.verbose)
    finally:
        # An interrupted run keeps what it has.
        if options.json:
            write_json(options.json, adapters, records)
        if options.junit:
            write_junit(options.junit, adapters, records)
    show_summary(console, records, adapters, time.perf_counter() - start)
    return 1 if any(record.verdict in FAILURES for record in records) else 0


def _run_adapter(
    reference: str,
    pairs: Sequence[tuple[Case, str]],
    options: argparse.Namespace,
    every_case: Sequence[Case],
) -> tuple[AdapterInfo, list[Record]]:
    records: list[Record] = []
    with progress(Path(reference).name) as update:
        if options.isolate:
            info = AdapterInfo(reference, reference, "", "")
            for done, answer in enumerate(run_isolated(reference, pairs, options.timeout), 1):
                info = answer[0]
                records += answer[1]
                update(done, len(pairs))
            return info, records
        loaded = load_adapter(reference)
        # Only a run over all cases can tell that a deviation names none of them.
        if every_case:
            loaded.deviations.check_ids(case.id for case in every_case)
        for done, rows in enumerate(run_here(loaded, pairs), 1):
            records += rows
            update(done, len(pairs))
    return loaded.info, records
