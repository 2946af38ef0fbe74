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
    from lossproof.results.diff import compare_runs, without_other_set
    from lossproof.results.file import read_json

    old, new = read_json(options.old), read_json(options.new)
    changes, others = without_other_set(old, new, compare_runs(old.records, new.records))
    if options.format == "json":
        write(json.dumps({"changes": [change.to_json() for change in changes]}, indent=1, allow_nan=False))
    else:
        lines = markdown if options.format == "markdown" else text
        for line in lines(old, new, changes):
            say(line)
        if others:
            say()
            say(f"{counted(others, 'output')} in one of the runs only, as the other took the quick set")
    return 1 if any(change.kind == "worse" for change in changes) else 0
