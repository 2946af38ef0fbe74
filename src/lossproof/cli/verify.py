"""``lossproof verify``."""

from __future__ import annotations

import argparse

from lossproof.cli.arguments import json_files, path
from lossproof.cli.output import say
from lossproof.core.text import counted

DESCRIPTION = (
    "Check results that somebody publishes, offline: their form, the version of the suite, that every case, "
    "dtype and output exists and none is missing, and what they keep of outputs against what is expected. "
    "Exit status 0: nothing is wrong; 1: something is; 2: bad usage, or no results file."
)
# So many problems of a file are shown unless all are asked for.
MAX_LISTED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", nargs="+", type=path, metavar="FILE", help="results files, or folders of them"
    )
    parser.add_argument("--verbose", "-v", action="store_true", help="list every problem")


def main(options: argparse.Namespace) -> int:
    """Check file after file, say what is wrong, and count; status 1 if anything is wrong."""
    from lossproof.results.stream import open_results
    from lossproof.results.verify import Verification

    wrong = False
    # All that is no results file is refused before minutes are spent on the others.
    for file, results in [(file, open_results(file)) for file in json_files(options.results)]:
        verification = Verification(results)
        problems = 0
        for problems, text in enumerate(verification, 1):
            if options.verbose or problems <= MAX_LISTED:
                say(f"{file}: {text}")
        if not options.verbose and problems > MAX_LISTED:
            say(f"{file}: … and {problems - MAX_LISTED} more; --verbose lists them")
        wrong = wrong or bool(problems)
        counts = verification.counts
        parts = [
            f"{counted(counts['outputs'], 'output')} of {counted(counts['cases'], 'case')}",
            f"{counts['judged']} judged again",
            *([f"{counts['other']} of cases that have changed since"] if counts["other"] else []),
            str(verification.suite or "of a lossproof that did not name the suite"),
            counted(problems, "problem"),
        ]
        say(f"{file}: {', '.join(parts)}")
    return int(wrong)
