"""``lossproof certify``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lossproof.cli.terminal import progress
from lossproof.core.resources import folder
from lossproof.core.text import suggest
from lossproof.errors import LossproofError
from lossproof.oracle.certify import certify as certify_files


def certify(options: argparse.Namespace) -> int:
    """Certify and print problems and a summary; status 1 when anything differs."""
    paths = [_path(reference) for reference in options.cases] or [folder("cases")]
    start = time.perf_counter()
    with progress("certifying") as update:
        certificates, problems = certify_files(paths, options.write, options.jobs, update)
    seconds = time.perf_counter() - start
    for problem in problems:
        print(problem, file=sys.stderr)
    elements = sum(certificate.elements for certificate in certificates)
    changed = sum(bool(certificate.differences) for certificate in certificates)
    print(
        f"{len(certificates)} cases, {elements} elements in {seconds:.1f} s "
        f"({elements / seconds:,.0f} elements/s): "
        + (f"{changed} rewritten" if options.write else f"{len(problems)} problems")
    )
    return 1 if problems else 0


def _path(reference: str) -> Path:
    path = Path(reference)
    if path.exists():
        return path
    own = folder("cases")
    for candidate in (own / reference, own / f"{reference}.yaml"):
        if candidate.exists():
            return candidate
    names = [str(p.relative_to(own).with_suffix("")) for p in own.rglob("*.yaml")]
    raise LossproofError(f"no case file {reference!r}{suggest(reference, names)}")
