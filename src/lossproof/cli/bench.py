"""``lossproof bench``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lossproof.cli.arguments import add_adapters, add_dtypes, path, positive, seconds
from lossproof.core.text import shortened
from lossproof.errors import LossproofError
from lossproof.registry.choice import Choice

if TYPE_CHECKING:
    from lossproof.bench.session import Plan

DESCRIPTION = (
    "Each backend runs in a process of its own, which is started several times, the order "
    "changes every round, inputs are rotated through more memory than caches hold, and in each round as "
    "many bytes are copied. The first call, with its compilation, is timed apart. Exit status 1: "
    "--compare found something slower."
)


# Of a first look; otherwise the plan's own defaults hold.
_QUICK: dict[str, Any] = {"starts": 2, "rounds": 6, "seconds": 0.2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD",
        help="functions, cases or names of workloads; * stands for anything, as in '*softmax*' "
        "(default: all; lossproof list --workloads)",
    )  # fmt: skip
    add_adapters(parser)
    add_dtypes(parser)
    parser.add_argument(
        "--threads", default="1,all", metavar="N,…", help="thread counts, one after another (default: 1,all)"
    )
    parser.add_argument(
        "--starts", type=positive, metavar="N",
        help="how often each process is started anew; intervals need two (default: 5)",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=positive, metavar="N",
        help="rounds of samples in all starts together, at most (default: 25)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=seconds, metavar="S",
        help="time for the slowest backend of a workload, which limits the rounds (default: 2)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true",
        help="a first look, with wide intervals: 2 starts, 6 rounds, 0.2 seconds, unless they are given",
    )  # fmt: skip
    parser.add_argument(
        "--json", type=path, metavar="FILE", help="write all samples, as pytest-benchmark does"
    )
    parser.add_argument(
        "--compare", type=path, metavar="OLD", help="an earlier --json: say what became slower or faster"
    )
    parser.add_argument(
        "--plot", type=path, metavar="FILE", help="draw the timings as bars with quartiles: .png or .svg"
    )
    parser.add_argument(
        "--load", type=path, metavar="FILE", help="show or compare this file; measure nothing"
    )


def main(options: argparse.Namespace) -> int:
    """Measure (or load), show, and compare; exit status 1 if something is slower."""
    from lossproof.bench import plot
    from lossproof.bench.compare import read_samples
    from lossproof.bench.session import measure
    from lossproof.cli.bench_view import show, show_comparison
    from lossproof.cli.terminal import console, status
    from lossproof.core.files import check_writable, replacing
    from lossproof.core.validate import encode

    if options.plot:
        plot.check(options.plot)
    old = read_samples(options.compare) if options.compare else None
    if options.json:
        check_writable(options.json)
    if options.load:
        timings = read_samples(options.load)
    else:
        with status("starting") as update:
            timings = measure(_plan(options), update)
        if options.json:
            with replacing(options.json) as file:
                file.write(encode(timings) + b"\n")
    out = console(130)
    show(out, timings)
    if options.plot:
        plot.plot(timings, options.plot)
    return show_comparison(out, old, timings) if old else 0


def _plan(options: argparse.Namespace) -> Plan:
    from lossproof.bench.session import Plan, cores
    from lossproof.bench.workload import workloads
    from lossproof.registry.find import available_names

    chosen = workloads(options.workloads, options.dtype)
    if not chosen:
        names = ", ".join(dict.fromkeys(work.name for work in workloads()))
        raise LossproofError(f"no workload is left; there are {names}")
    every = len(cores())
    try:
        counts = [every if text == "all" else int(text) for text in options.threads.split(",")]
    except ValueError:
        raise LossproofError(f"--threads {shortened(options.threads)!r} must be like 1,all") from None
    if not all(0 < count <= every for count in counts):
        raise LossproofError(f"--threads {shortened(options.threads)!r}: there are {every} cores")
    given = {name: value for name in _QUICK if (value := getattr(options, name)) is not None}
    return Plan(
        options.adapter or [Choice(name) for name in available_names()],
        chosen,
        list(dict.fromkeys(counts)),
        **{**(_QUICK if options.quick else {}), **given},
    )
