"""``lossproof sweep``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lossproof.cli.arguments import (
    add_adapters,
    add_dtypes,
    add_functions,
    add_isolation,
    add_scheduler,
    path,
    positive,
    processes,
    seed,
)
from lossproof.cli.output import say
from lossproof.core.text import require
from lossproof.errors import LossproofError

if TYPE_CHECKING:
    from lossproof.registry.choice import Choice
    from lossproof.sweeps.execute import Execute, Task
    from lossproof.sweeps.report import Sweep
    from lossproof.sweeps.session import Journal

DESCRIPTION = (
    "Try every input of float16, bfloat16 or float32 on functions of one variable, values and gradients, "
    "against float64 arithmetic with a proven error bound: worst error in ULP, share correctly rounded, "
    "bias, monotonicity, symmetry, flushed subnormals, and where the specification's bound is exceeded. "
    "In float64, and of functions of two variables (--two), inputs are searched for: a lower bound. Exit "
    "status 1: a bound is exceeded, or nothing was measured."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_adapters(parser)
    add_functions(parser)
    add_dtypes(parser)
    parser.add_argument(
        "--two", action="store_true",
        help="search functions of two variables (soft targets, three classes) in the place of those of one",
    )  # fmt: skip
    parser.add_argument(
        "--tries", type=positive, default=20_000, metavar="N",
        help="inputs that a search draws, before it descends from the worst (default: 20000)",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of a search (default: 0)")
    parser.add_argument("--json", "-o", type=path, metavar="FILE", help="write all that was measured as JSON")
    parser.add_argument(
        "--resume", action="store_true", help="complete the --json FILE of a sweep that was interrupted"
    )
    parser.add_argument(
        "--jobs", "-j", type=processes, default=1, metavar="N",
        help="spread ranges of inputs over N processes (default: 1, in this one)",
    )  # fmt: skip
    add_scheduler(parser, "them")
    add_isolation(parser, "every one that is not built in", 60.0, "60")


def main(options: argparse.Namespace) -> int:
    """Sweep, print tables, write the file; status 1 where a bound is exceeded."""
    from lossproof.adapter import ALL_DTYPES
    from lossproof.core.files import check_writable, is_file
    from lossproof.oracle.balls import require_flint
    from lossproof.sweeps.session import Journal, executor

    for name in options.dtype:
        require("dtype", name, ALL_DTYPES)
    if options.resume and not options.json:
        raise LossproofError("--resume needs --json FILE, the file to complete")
    if not options.adapter:
        raise LossproofError("sweep takes --adapter A, once or more (lossproof list --adapters)")
    require_flint()
    names = _names(options)
    if options.json:
        check_writable(options.json)
    # Beside a device or a pipe there is no place for ranges that are done.
    journal = Journal(options.json, options.resume) if options.json and is_file(options.json) else None
    complete = False
    try:
        with executor(options.jobs, options.scheduler) as execute:
            sweeps = [
                sweep for choice in options.adapter for sweep in _of(options, choice, names, execute, journal)
            ]
        if options.json:
            from lossproof.results.file import environment
            from lossproof.sweeps.report import write

            write(options.json, environment(), sweeps)
        complete = True
    except KeyboardInterrupt:
        if journal is not None:
            say("lossproof: the same command with --resume goes on from here", error=True)
        raise
    finally:
        if journal is not None:
            journal.close(complete)
    return 1 if any(sweep.exceeding or not sweep.judged for sweep in sweeps) else 0


def _names(options: argparse.Namespace) -> list[str]:
    """The subjects that are asked for; what is none is refused."""
    from lossproof.sweeps import search, subjects

    if options.two:
        return [subject.name for subject in search.choose(options.function)]
    return [subject.name for subject in subjects.choose(options.function)]


def _of(
    options: argparse.Namespace,
    choice: Choice,
    names: list[str],
    execute: Execute[Task],
    journal: Journal | None,
) -> list[Sweep]:
    """One adapter, dtype by dtype, with a table of each."""
    from lossproof.cli.sweep_view import show
    from lossproof.cli.terminal import console, progress
    from lossproof.isolation.load import load_once
    from lossproof.sweeps import search
    from lossproof.sweeps.session import adapter_info, swept
    from lossproof.sweeps.subjects import SUBJECTS, SWEPT_DTYPES

    info = adapter_info(choice, options.isolate, options.timeout)
    loaded = load_once(choice.reference, choice.python, options.isolate, options.timeout)
    out, found = console(140), []
    for dtype in options.dtype or SWEPT_DTYPES:
        own: list[Sweep] = []
        for name in names:
            with progress(f"{info.name} {name} {dtype}") as update:
                if options.two or dtype not in SWEPT_DTYPES:
                    assert loaded.adapter is not None
                    subject = search.SUBJECTS[name] if options.two else search.of_one(SUBJECTS[name])
                    own.append(
                        search.worst(loaded.adapter, info, subject, dtype, options.tries, options.seed)
                    )
                else:
                    own.append(
                        swept(
                            choice, info, SUBJECTS[name], dtype, execute, journal,
                            isolate=options.isolate, timeout=options.timeout, progress=update,
                        )
                    )  # fmt: skip
        show(out, info, dtype, own)
        found += own
    return found
