"""``lossproof certify``."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from lossproof.cli.arguments import add_cases, processes
from lossproof.cli.output import say
from lossproof.core.resources import folder
from lossproof.core.text import suggest
from lossproof.errors import LossproofError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_cases(parser)
    parser.add_argument("--write", action="store_true", help="store what is new or different")
    parser.add_argument("--jobs", "-j", type=processes, metavar="N", help="processes (default: one per core)")


def main(options: argparse.Namespace) -> int:
    """Certify and print problems and a summary; status 1 when anything differs."""
    from lossproof.cli.terminal import progress
    from lossproof.oracle.certify import certify

    paths = [_path(reference) for reference in options.cases] or [folder("cases")]
    start = time.perf_counter()
    with progress("certifying") as update:
        certificates, problems = certify(paths, options.write, options.jobs, update)
    seconds = time.perf_counter() - start
    own = folder("cases").resolve()
    if not options.cases or (
        options.write and any(own in (p.resolve(), *p.resolve().parents) for p in paths)
    ):
        problems += _check_suite(options.write)
    for problem in problems:
        say(problem, error=True)
    elements = sum(certificate.elements for certificate in certificates)
    changed = sum(bool(certificate.differences) for certificate in certificates)
    say(
        f"{len(certificates)} cases, {elements} elements in {seconds:.1f} s "
        f"({elements / seconds:,.0f} elements/s): "
        + (f"{changed} rewritten" if options.write else f"{len(problems)} problems")
    )
    return 1 if problems else 0


def _check_suite(write: bool) -> list[str]:
    """The manifest of the suite is that of the cases, or is made so; returns what is wrong with it."""
    from lossproof.case.suite import manifest_path, renew
    from lossproof.core.text import display

    differs = renew(write)
    if differs is None:
        return []
    path = display(manifest_path())
    if write:
        say(f"{path}: {differs}")
        return []
    return [f"{path}: is not of the cases: {differs}; lossproof certify --write renews it"]


def _path(reference: str) -> Path:
    from lossproof.case.select import marked_as_path

    own, path = folder("cases"), Path(reference)
    if not (marked_as_path(reference) and os.path.exists(path)):
        for candidate in (own / reference, own / f"{reference}.yaml"):
            if os.path.exists(candidate):
                return candidate
    if os.path.exists(path):
        return path
    names = [str(p.relative_to(own).with_suffix("")) for p in own.rglob("*.yaml")]
    raise LossproofError(f"no case file {reference!r}{suggest(reference, names)}")
