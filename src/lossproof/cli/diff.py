"""``lossproof diff``."""

from __future__ import annotations

import argparse
import json

from lossproof.cli.arguments import path
from lossproof.cli.output import say, write
from lossproof.core.text import counted

DESCRIPTION = "Compare two results files. Exit status 1: something got worse."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", type=path, metavar="OLD", help="results of the earlier run")
    parser.add_argument("new", type=path, metavar="NEW", help="results of the later run")
    parser.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text",
        help="text, markdown (for a comment on a pull request) or json",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Print what changed; exit status 1 if anything got worse."""
    from lossproof.cli.diff_view import markdown, text
    from lossproof.results.diff import Changes, of_other_set
    from lossproof.results.file import suite_of
    from lossproof.results.stream import open_results

    old, new = open_results(options.old), open_results(options.new)
    changes = Changes(old, new)
    others = changes.leave_out(of_other_set(old.environment, new.environment))
    if options.format == "json":
        suites = [suite_of(results.environment) for results in (old, new)]
        said = [None if suite is None else suite._asdict() for suite in suites]
        write(f'{{\n "suites": {json.dumps(said)},\n "changes": [')
        between = "  "
        for change in changes:
            write(between + json.dumps(change.to_json(), allow_nan=False))
            between = ", "
        write(" ]\n}")
    else:
        lines = markdown if options.format == "markdown" else text
        for line in lines(old, new, changes):
            say(line)
        if others:
            say()
            say(f"{counted(others, 'output')} in one of the runs only, as the other took the quick set")
    return 1 if changes.counts["worse"] else 0
