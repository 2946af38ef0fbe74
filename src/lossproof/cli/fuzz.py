"""``lossproof fuzz``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lossproof.adapter import ALL_DTYPES
from lossproof.cli.arguments import (
    add_adapter,
    add_dtypes,
    add_functions,
    add_isolation,
    add_scheduler,
    path,
    processes,
    seconds,
    seed,
)
from lossproof.cli.output import say
from lossproof.core.functions import FUNCTIONS
from lossproof.core.install import install
from lossproof.core.text import display, require
from lossproof.errors import LossproofError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lossproof.fuzz.search import Finding, Search
    from lossproof.registry.loaded import Loaded

DESCRIPTION = (
    "Property-based search: draws inputs, dtypes, shapes and parameters where these "
    "functions break, compares with the oracle, checks metamorphic laws, shrinks what fails and writes "
    "it as a certified case; a crash or a hang of a backend in a process of its own is a finding, too. "
    "Exit status 1: something was found under a clause that has no recorded "
    "deviation."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_adapter(parser)
    add_functions(parser)
    add_dtypes(parser)
    parser.add_argument(
        "--seconds", "-s", type=seconds, default=60.0, metavar="S", help="how long to search (default: 60)"
    )
    add_isolation(parser, "every one", None, "60, or a quarter of --seconds if that is less")
    parser.add_argument(
        "--jobs", "-j", type=processes, default=1, metavar="N",
        help="processes that --scheduler local starts (default: 1)",
    )  # fmt: skip
    add_scheduler(parser, "seeds")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="first seed (default: 0)")
    parser.add_argument(
        "--out", "-o", type=path, default=Path("lossproof-fuzz"), metavar="DIR",
        help="where cases are written (default: lossproof-fuzz)",
    )  # fmt: skip
    parser.add_argument(
        "--recommended", action="store_true", help="count misses of what is only recommended, too"
    )


def main(options: argparse.Namespace) -> int:
    """Search, write what fails, say how fast it went; status 1 when something new was found."""
    for name in options.function:
        require("function", name, FUNCTIONS)
    for name in options.dtype:
        require("dtype", name, ALL_DTYPES)
    from lossproof.isolation.load import CASE_TIMEOUT, load_adapter, runs_apart
    from lossproof.isolation.remote import RemoteAdapter
    from lossproof.oracle.balls import require_flint

    require_flint()
    if options.jobs > 1 and options.scheduler is None:
        raise LossproofError("--jobs are of --scheduler local")
    try:
        import hypothesis  # noqa: F401
    except ImportError as error:
        raise LossproofError(f"fuzz needs {error.name}: {install('fuzz')}") from None
    # Inputs that nobody has tried crash what is built in, too, and the calls are not what takes time.
    timeout = options.timeout or min(CASE_TIMEOUT, options.seconds / 4)
    apart = runs_apart(options.adapter, options.isolate is not False)
    loaded = load_adapter(options.adapter, isolate=apart, timeout=max(timeout, CASE_TIMEOUT))
    if isinstance(loaded.adapter, RemoteAdapter):
        # A short search has no time for long calls; a start takes what it takes.
        loaded.adapter.timeout = timeout
    if loaded.adapter is None:
        raise LossproofError(f"adapter {options.adapter!r} cannot run: {loaded.info.skipped}")
    try:
        return _search(options, loaded, timeout)
    finally:
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()


def _search(options: argparse.Namespace, loaded: Loaded, timeout: float) -> int:
    from lossproof.cli.terminal import progress
    from lossproof.fuzz.search import Search
    from lossproof.fuzz.store import write_case

    new = recorded = 0
    start = time.perf_counter()
    with progress(loaded.info.name) as update:
        search = Search(
            loaded,
            options.function or list(FUNCTIONS),
            options.dtype or ALL_DTYPES,
            recommended=options.recommended,
            seed=options.seed,
            progress=lambda: update(round(time.perf_counter() - start), round(min(options.seconds, 1e9))),
        )
        if not search.functions or not search.dtypes:
            raise LossproofError(f"{loaded.info.name} has nothing of what --function and --dtype name")
        for finding in _findings(options, search, loaded, timeout):
            path = write_case(finding, options.out)
            signature = finding.signature
            known_as = f" [recorded: {finding.deviation}]" if finding.deviation else ""
            new, recorded = new + (not known_as), recorded + bool(known_as)
            say(f"{display(path)}: {signature.clause} {finding.dtype} {signature.output}: "
                  f"{finding.message}{known_as}")  # fmt: skip
    done = search.statistics
    elapsed = max(done.seconds, 1e-9)
    say(
        f"{loaded.info.name} {loaded.info.version}: {done.cases} cases, {done.laws} laws in {elapsed:.0f} s "
        f"({done.cases / elapsed:.0f} cases/s; oracle {done.oracle / elapsed:.0%}, "
        f"backend {done.backend / elapsed:.0%} of the time, the rest draws and judges): "
        f"{new} new findings, {recorded} under clauses with recorded deviations"
    )
    return 1 if new else 0


def _findings(
    options: argparse.Namespace, search: Search, loaded: Loaded, timeout: float
) -> Iterator[Finding]:
    """What is found here, or on a cluster."""
    if options.scheduler is None:
        yield from search.run(options.seconds)
        return
    from lossproof.fuzz.spread import search_on
    from lossproof.isolation.cluster import cluster
    from lossproof.isolation.load import CASE_TIMEOUT
    from lossproof.isolation.pieces import Wanted
    from lossproof.isolation.remote import RemoteAdapter

    if isinstance(loaded.adapter, RemoteAdapter):
        loaded.adapter.close()  # each worker has its own
    wanted = Wanted(
        options.adapter, "", None, options.isolate is not False, max(timeout, CASE_TIMEOUT), loaded.info
    )
    with cluster(options.scheduler, options.jobs) as workers:
        yield from search_on(workers, wanted, search, options.seconds, timeout, search.progress)
