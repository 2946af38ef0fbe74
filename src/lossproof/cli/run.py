"""``lossproof run``."""

from __future__ import annotations

import argparse
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossproof.cli.arguments import (
    add_adapters,
    add_cases,
    add_dtypes,
    add_functions,
    add_huge,
    add_isolation,
    add_modes,
    add_scheduler,
    add_thorough,
    path,
    processes,
)
from lossproof.cli.output import say
from lossproof.core.files import check_writable
from lossproof.core.install import install
from lossproof.core.text import counted
from lossproof.errors import LossproofError
from lossproof.results.gate import LEVELS, Gate

if TYPE_CHECKING:
    from lossproof.registry.loaded import AdapterInfo
    from lossproof.results.journal import Journal
    from lossproof.results.tally import Tally
    from lossproof.session import Session

NOT_INSTALLED = "not installed"

DESCRIPTION = (
    "Run cases on backends. Without --adapter, on every installed backend. "
    "Exit status 0: all conform; 1: something fails; 2: bad usage or input."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_cases(parser)
    add_adapters(parser)
    add_modes(parser)
    add_functions(parser)
    add_dtypes(parser)
    add_thorough(parser)
    add_huge(parser)
    parser.add_argument("--json", type=path, metavar="FILE", help="write all results as JSON")
    parser.add_argument(
        "--results", type=path, metavar="DIR",
        help="write or renew a small file for each adapter and version, from which a site is built",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true",
        help="complete the --json FILE of a run that was interrupted or killed",
    )  # fmt: skip
    parser.add_argument("--junit", type=path, metavar="FILE", help="write results as JUnit XML")
    parser.add_argument("--badge", type=path, metavar="FILE", help="write the conformance figure as SVG")
    parser.add_argument(
        "--fail-on", default="fail", metavar="LEVEL", choices=tuple(LEVELS),
        help="what makes the exit status 1: never, crash (and timeouts), fail (the default; errors, too), "
        "deviation, below, unsupported, skipped; each level includes those before it",
    )  # fmt: skip
    parser.add_argument(
        "--baseline", type=path, metavar="FILE",
        help="results (--json) of an earlier run: fail only on what got worse since",
    )  # fmt: skip
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--verbose", "-v", action="store_true",
        help="list all that fails, and deviations, misses of recommended cases and what is unsupported, too",
    )  # fmt: skip
    amount.add_argument(
        "--quiet", "-q", action="store_true",
        help="no tables: list what fails, then one line that says which backends conform",
    )  # fmt: skip
    add_isolation(parser, "every one that is not built in", 60.0, "60")
    parser.add_argument(
        "--jobs", "-j", type=processes, default=1, metavar="N",
        help="spread each adapter's cases over N processes (default: 1, in this one)",
    )  # fmt: skip
    add_scheduler(parser, "them")


def main(options: argparse.Namespace) -> int:
    """Run, print what came out, write the files asked for.

    Nothing is written before all that can be refused is known to be right.
    """
    from lossproof.cli.terminal import progress
    from lossproof.results.journal import Journal
    from lossproof.session import Session

    _check_files(options)
    gate, earlier = _gate(options.fail_on, options.baseline)
    start = time.perf_counter()
    with progress("loading adapters", options.quiet) as update:
        session = Session(
            options.adapter, options.cases, options.function, options.dtype,
            modes=options.mode, thorough=options.thorough, huge=options.huge,
            isolate=options.isolate, timeout=options.timeout, jobs=options.jobs,
            scheduler=options.scheduler, loading=update,
        )  # fmt: skip
    with session:
        if options.results:
            earlier |= _check_folder(options.results, session)
        _say_suites(session, earlier)
        # Records that a file is made of are kept on disk until it is; the tables need counts alone.
        wanted = options.json or options.junit or options.results
        journal = Journal(options.json, options.resume) if wanted else None
        complete = False
        try:
            tallies = _run(options, session, gate, journal, start)
            complete = True
        finally:
            if journal is not None:
                journal.close(complete)
                for why, number in journal.outdated.items():
                    say(f"lossproof: {counted(number, 'earlier result')} made anew: {why}", error=True)
    if any(tally.failures for _, tally in tallies):
        return 1
    # What was asked for and gave nothing to judge does not conform.
    silent = [info.name for info, tally in tallies if not tally.judged]
    nothing = len(silent) == len(tallies) or (bool(options.adapter) and bool(silent))
    if nothing and options.fail_on != "never":
        say(f"lossproof: nothing was judged of {', '.join(silent) or 'any backend'}", error=True)
        return 1
    return 0


def _run(
    options: argparse.Namespace, session: Session, gate: Gate, journal: Journal | None, start: float
) -> list[tuple[AdapterInfo, Tally]]:
    from lossproof.cli.terminal import (
        MAX_LISTED,
        console,
        progress,
        show_adapter,
        show_columns,
        show_next,
        show_quiet,
        show_skipped,
        show_summary,
    )

    out = console(120)
    if journal is not None:
        for loaded in session.adapters:
            journal.begin(loaded)
    from lossproof.results.tally import Tally

    tallies: list[tuple[AdapterInfo, Tally]] = []
    try:
        for loaded in session.adapters:
            tally = Tally(gate, None if options.verbose else MAX_LISTED)
            tallies.append((loaded.info, tally))
            with (
                progress(loaded.info.name, options.quiet) as update,
                closing(session.records(loaded, journal)) as records,
            ):
                for number, rows in enumerate(records, 1):
                    tally.add(rows)
                    update(number, session.pairs)
            if not options.quiet and loaded.info.skipped is None:
                show_adapter(out, loaded.info, tally)
    except KeyboardInterrupt:
        # An interrupted run keeps what it has.
        _write_files(options, session, tallies, journal, gate)
        if options.json:
            outputs = sum(tally.outputs for _, tally in tallies)
            say(
                f"lossproof: {outputs} outputs so far are in {options.json}; "
                "the same command with --resume completes it",
                error=True,
            )
        raise
    _write_files(options, session, tallies, journal, gate)
    if options.results and journal is not None:
        _renew_folder(options, session, journal)
    elapsed = time.perf_counter() - start
    if options.quiet:
        show_quiet(out, tallies, elapsed, _left_out(session))
    else:
        skipped = _skipped(session)
        show_columns(out, tallies)
        if skipped:
            show_skipped(out, skipped)
        show_summary(out, tallies, session.cases.count(options.dtype), elapsed, _left_out(session))
        show_next(out, list(_next(options, tallies, skipped)))
    return tallies


def _skipped(session: Session) -> dict[str, str]:
    """Why adapters did not run, by name; what pip installs is among the steps that come next."""
    from lossproof.registry.presence import presences

    reasons = {
        loaded.info.name: loaded.info.skipped
        for loaded in session.adapters
        if loaded.info.skipped is not None
    }
    if session.asked:
        return reasons
    absent = {presence.name for presence in presences() if presence.missing is not None}
    return {name: NOT_INSTALLED if name in absent else reason for name, reason in reasons.items()}


def _next(
    options: argparse.Namespace, tallies: Sequence[tuple[AdapterInfo, Tally]], skipped: Mapping[str, str]
) -> Iterator[str]:
    """What to do next, the nearest first."""
    for info, tally in tallies:
        if tally.failures and tally.listed:
            case = tally.listed[0].case
            name = shlex.quote(info.reference or info.name)
            yield f"lossproof explain {case} -a {name}: what is due and what it gives"
            yield f"lossproof repro {case} -a {name}: a script that shows it, to file upstream"
            break
    if NOT_INSTALLED in skipped.values():
        yield f"{install('torch')} (or tensorflow, jax, all): more backends to run"
    if options.adapter:
        if options.json:
            yield f"lossproof report {shlex.quote(str(options.json))} -o site: the results as pages"
        return
    yield "lossproof list softmax: cases, clauses and edge cases; lossproof explain CASE shows one"
    yield "lossproof new-adapter NAME, or lossproof.check in a unit test: a backend of your own"


def _left_out(session: Session) -> str:
    """What to say of cases that the quick set has not."""
    count, left_out = len(session.cases), len(session.cases.left_out)
    said = [f"quick set: {count:,} of {count + left_out:,} cases; --thorough runs all"] if left_out else []
    huge = len(session.cases.huge_left_out)
    said += (
        [f"{counted(huge, 'huge case')} left out; --huge runs {'it' if huge == 1 else 'them'}"]
        if huge
        else []
    )
    return "; ".join(said)


def _write_files(
    options: argparse.Namespace,
    session: Session,
    tallies: Sequence[tuple[AdapterInfo, Tally]],
    journal: Journal | None,
    gate: Gate,
) -> None:
    from lossproof.results.badge import write_badge
    from lossproof.results.file import environment, write_json
    from lossproof.results.junit import write_junit

    adapters = [info for info, _ in tallies]
    if options.json and journal is not None:
        write_json(options.json, adapters, journal, environment(session.set))
    if options.junit and journal is not None:
        write_junit(options.junit, adapters, journal, gate)
    if options.badge:
        write_badge(options.badge, sum((tally.verdicts for _, tally in tallies), Counter()))


def _renew_folder(options: argparse.Namespace, session: Session, journal: Journal) -> None:
    """A small file for each adapter that ran; its records come one adapter after another."""
    from lossproof.results.folder import renew

    infos = {loaded.info.name: loaded.info for loaded in session.adapters}
    for name, records in groupby(journal, key=lambda record: record.adapter):
        if infos[name].skipped is None:
            renew(
                options.results, infos[name], records, all_cases=session.whole, dtypes=options.dtype,
                left_out=session.left_out, cases=session.set,
            )  # fmt: skip


def _check_folder(folder: Path, session: Session) -> dict[Path, dict[str, Any]]:
    """Refuse files of other adapters before anything runs; returns the environments of those to renew."""
    from lossproof.results.folder import earlier_file, file_name

    files = {
        folder / file_name(loaded.info): earlier_file(folder, loaded.info) for loaded in session.adapters
    }
    return {path: earlier.environment for path, earlier in files.items() if earlier is not None}


def _say_suites(session: Session, earlier: Mapping[Path, Mapping[str, Any]]) -> None:
    """Say where the cases are no version of the suite, or of another than the results that this run meets."""
    from lossproof.case.suite import changed, suite
    from lossproof.results.file import said_of
    from lossproof.results.suites import differing

    now = suite()
    if changed(now) and session.set != "chosen":
        say(f"lossproof: the cases differ from cases/suite.json: results are of {now}", error=True)
    for file, environment in earlier.items():
        suites = differing(environment, said_of(now))
        if suites is not None:
            say(f"lossproof: {file}: {suites}", error=True)


def _check_files(options: argparse.Namespace) -> None:
    if options.results is not None and not options.results.is_dir():
        raise LossproofError(f"{options.results}: there is no such folder")
    if options.resume and not options.json:
        raise LossproofError("--resume needs --json FILE, the results file to complete")
    for file in filter(None, (options.json, options.junit, options.badge)):
        check_writable(file)


def _gate(level: str, baseline: Path | None) -> tuple[Gate, dict[Path, dict[str, Any]]]:
    """What makes the run fail, and the environment of the baseline."""
    from lossproof.results.stream import open_results

    if baseline is None:
        return Gate(level), {}
    from lossproof.results.baseline import Baseline

    results = open_results(baseline)
    return Gate(level, Baseline(results)), {baseline: results.environment}
