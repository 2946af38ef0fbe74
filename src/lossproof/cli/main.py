"""The command line. Each command's module is imported when the command runs, not before."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossproof.errors import LossproofError
from lossproof.registry.choice import Choice


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``lossproof``; returns the exit status: 0 conforms, 1 something fails, 2 bad usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.command(options))
    except LossproofError as error:
        print(f"lossproof: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lossproof: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, say) has seen enough.
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    from lossproof import __version__

    parser = argparse.ArgumentParser(
        prog="lossproof",
        description="Conformance test suite and specification for neural-network loss functions.",
    )
    parser.add_argument("--version", action="version", version=f"lossproof {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run cases on backends and say which conform",
        description="Run cases on backends. Without --adapter, on every installed backend. "
        "Exit status 0: all conform; 1: something fails; 2: bad usage or input.",
    )
    _add_cases(run)
    _add_adapters(run)
    run.add_argument(
        "--function", "-f", action="append", default=[], metavar="F",
        help="only cases of this function (may be repeated)",
    )  # fmt: skip
    run.add_argument(
        "--dtype", "-d", action="append", default=[], metavar="D",
        help="only this dtype: float64, float32, float16, bfloat16 (may be repeated)",
    )  # fmt: skip
    run.add_argument("--json", type=Path, metavar="FILE", help="write all results as JSON")
    run.add_argument(
        "--resume", action="store_true",
        help="complete the --json FILE of a run that was interrupted or killed",
    )  # fmt: skip
    run.add_argument("--junit", type=Path, metavar="FILE", help="write results as JUnit XML")
    run.add_argument("--badge", type=Path, metavar="FILE", help="write the conformance figure as SVG")
    run.add_argument(
        "--fail-on", default="fail", metavar="LEVEL",
        choices=("never", "crash", "fail", "deviation", "below", "unsupported", "skipped"),
        help="what makes the exit status 1: never, crash (and timeouts), fail (the default; errors, too), "
        "deviation, below, unsupported, skipped; each level includes those before it",
    )  # fmt: skip
    run.add_argument(
        "--baseline", type=Path, metavar="FILE",
        help="results (--json) of an earlier run: fail only on what got worse since",
    )  # fmt: skip
    run.add_argument(
        "--verbose", "-v", action="store_true",
        help="list deviations, misses of recommended cases and what is unsupported, too",
    )  # fmt: skip
    run.add_argument(
        "--isolate", action="store_true",
        help="run each adapter in a process of its own: a crash or hang costs one case "
        "(commands always are)",
    )  # fmt: skip
    run.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="S",
        help="seconds that a call may take in a process of its own (default: 60)",
    )  # fmt: skip
    run.add_argument(
        "--jobs", "-j", type=_positive, default=1, metavar="N",
        help="spread each adapter's cases over N processes (default: 1, in this one)",
    )  # fmt: skip
    run.set_defaults(command=_run)

    explain = commands.add_parser(
        "explain", help="show a case: inputs, clause, expected, tolerance, what backends give"
    )
    explain.add_argument("case", metavar="CASE", help="a case's id (or a pattern)")
    _add_adapters(explain)
    explain.set_defaults(command=_explain)

    repro = commands.add_parser(
        "repro", help="print a standalone script that shows what a backend does, to file upstream"
    )
    repro.add_argument("case", metavar="CASE", help="a case's id")
    repro.add_argument("--adapter", "-a", required=True, metavar="A", help="the adapter")
    repro.add_argument("--dtype", "-d", metavar="D", help="the dtype (default: the case's first)")
    repro.set_defaults(command=_repro)

    report = commands.add_parser(
        "report",
        help="build a static site from results: matrix, edge-case atlas, accuracy, speed, history",
        description="Build a static site that needs no server and no other host. Files are results "
        "(lossproof run --json) and timings (pytest --benchmark-json), in any number.",
    )
    report.add_argument("results", nargs="+", type=Path, metavar="FILE", help="results and timings, as JSON")
    report.add_argument("--out", "-o", type=Path, required=True, metavar="DIR", help="where the site goes")
    report.add_argument("--title", default="lossproof", help="the title of its pages")
    report.set_defaults(command=_report)

    diff = commands.add_parser(
        "diff",
        help="what changed between two runs or releases",
        description="Compare two results files. Exit status 1: something got worse.",
    )
    diff.add_argument("old", type=Path, metavar="OLD", help="results of the earlier run")
    diff.add_argument("new", type=Path, metavar="NEW", help="results of the later run")
    diff.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text",
        help="text, markdown (for a comment on a pull request) or json",
    )  # fmt: skip
    diff.set_defaults(command=_diff)

    bench = commands.add_parser(
        "bench",
        help="time backends on workloads, forward and with gradients, against the speed of memory",
        description="Each backend runs in a process of its own, which is started several times, the order "
        "changes every round, inputs are rotated through more memory than caches hold, and in each round as "
        "many bytes are copied. The first call, with its compilation, is timed apart. Exit status 1: "
        "--compare found something slower.",
    )
    bench.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help="workloads whose names contain this (default: all)"
    )
    _add_adapters(bench)
    bench.add_argument(
        "--dtype", "-d", action="append", default=[], metavar="D", help="only this dtype (may be repeated)"
    )
    bench.add_argument(
        "--threads", default="1,all", metavar="N,…", help="thread counts, one after another (default: 1,all)"
    )
    bench.add_argument(
        "--starts", type=_positive, default=5, metavar="N",
        help="how often each process is started anew; intervals need two (default: 5)",
    )  # fmt: skip
    bench.add_argument(
        "--rounds", type=_positive, default=25, metavar="N",
        help="rounds of samples in all starts together, at most (default: 25)",
    )  # fmt: skip
    bench.add_argument(
        "--seconds", type=_seconds, default=2.0, metavar="S",
        help="time for the slowest backend of a workload, which limits the rounds (default: 2)",
    )  # fmt: skip
    bench.add_argument(
        "--json", type=Path, metavar="FILE", help="write all samples, as pytest-benchmark does"
    )
    bench.add_argument(
        "--compare", type=Path, metavar="OLD", help="an earlier --json: say what became slower or faster"
    )
    bench.add_argument("--load", type=Path, metavar="FILE", help="show or compare this file; measure nothing")
    bench.set_defaults(command=_bench)

    new = commands.add_parser(
        "new-adapter",
        help="write a commented skeleton of an adapter that runs",
        description="Write NAME_adapter.py to the working folder: an adapter, every function in comments.",
    )
    new.add_argument("name", metavar="NAME", help="what the backend is called")
    new.set_defaults(command=_new_adapter)

    fuzz = commands.add_parser(
        "fuzz",
        help="search for inputs on which a backend is wrong, with the oracle live",
        description="Property-based search: draws inputs, dtypes, shapes and parameters where these "
        "functions break, compares with the oracle, checks metamorphic laws, shrinks what fails and writes "
        "it as a certified case. Exit status 1: something was found under a clause that has no recorded "
        "deviation.",
    )
    fuzz.add_argument("--adapter", "-a", required=True, metavar="A", help="the adapter")
    fuzz.add_argument(
        "--function", "-f", action="append", default=[], metavar="F",
        help="only this function (may be repeated; default: all, in turns)",
    )  # fmt: skip
    fuzz.add_argument(
        "--dtype", "-d", action="append", default=[], metavar="D", help="only this dtype (may be repeated)"
    )
    fuzz.add_argument(
        "--seconds", "-s", type=_seconds, default=60.0, metavar="S", help="how long to search (default: 60)"
    )
    fuzz.add_argument("--seed", type=int, default=0, metavar="N", help="first seed (default: 0)")
    fuzz.add_argument(
        "--out", "-o", type=Path, default=Path("lossproof-fuzz"), metavar="DIR",
        help="where cases are written (default: lossproof-fuzz)",
    )  # fmt: skip
    fuzz.add_argument(
        "--recommended", action="store_true", help="count misses of what is only recommended, too"
    )
    fuzz.set_defaults(command=_fuzz)

    certify = commands.add_parser(
        "certify", help="recompute stored expectations and tolerances with the oracle"
    )
    _add_cases(certify)
    certify.add_argument("--write", action="store_true", help="store what is new or different")
    certify.add_argument("--jobs", "-j", type=int, metavar="N", help="processes (default: one per core)")
    certify.set_defaults(command=_certify)
    return parser


def _add_cases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "cases", nargs="*", metavar="CASES",
        help="case files, folders, ids or beginnings of ids (default: all of lossproof's own)",
    )  # fmt: skip


def _add_adapters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--adapter", "-a", action=_AddAdapter, default=[], metavar="A",
        help="a name, path/to/file.py[:Class], package.module:Class, or a command that speaks JSON lines "
        "(may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--python", action=_SetPython, metavar="PATH",
        help="interpreter of the virtual environment in which the --adapter before it runs",
    )  # fmt: skip


class _AddAdapter(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        namespace.adapter = [*namespace.adapter, Choice(values)]


class _SetPython(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        if not namespace.adapter or namespace.adapter[-1].python is not None:
            parser.error("--python belongs after the --adapter that it is for")
        namespace.adapter = [*namespace.adapter[:-1], Choice(namespace.adapter[-1].reference, values)]


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _run(options: argparse.Namespace) -> int:
    from lossproof.cli.run import run

    return run(options)


def _explain(options: argparse.Namespace) -> int:
    from lossproof.cli.explain import explain

    return explain(options)


def _repro(options: argparse.Namespace) -> int:
    from lossproof.cli.repro import repro

    return repro(options)


def _report(options: argparse.Namespace) -> int:
    from lossproof.cli.report import report

    return report(options)


def _diff(options: argparse.Namespace) -> int:
    from lossproof.cli.diff import diff

    return diff(options)


def _bench(options: argparse.Namespace) -> int:
    from lossproof.cli.bench import bench

    return bench(options)


def _new_adapter(options: argparse.Namespace) -> int:
    from lossproof.cli.new_adapter import new_adapter

    return new_adapter(options)


def _fuzz(options: argparse.Namespace) -> int:
    from lossproof.cli.fuzz import fuzz

    return fuzz(options)


def _certify(options: argparse.Namespace) -> int:
    from lossproof.cli.certify import certify

    return certify(options)


if __name__ == "__main__":
    sys.exit(main())
