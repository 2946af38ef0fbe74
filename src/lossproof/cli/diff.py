"""``lossproof diff``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lossproof.core.text import counted

DESCRIPTION = "Compare two results files. Exit status 1: something got worse."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", type=Path, metavar="OLD", help="results of the earlier run")
    parser.add_argument("new", type=Path, metavar="NEW", help="results of the later run")
    parser.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text",
        help="text, markdown (for a comment on a pull request) or json",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Print what changed; exit status 1 if anything got worse."""
    from lossproof.cli.diff_view import markdown, text
    from lossproof.results.diff import Changes, of_other_set
    from lossproof.results.stream import open_results

    old, new = open_results(options.old), open_results(options.new)
    changes = Changes(old, new)
    others = changes.leave_out(of_other_set(old.environment, new.environment))
    if options.format == "json":
        print('{\n "changes": [', end="")
        for number, change in enumerate(changes):
            print("," * bool(number) + "\n  " + json.dumps(change.to_json(), allow_nan=False), end="")
        print("\n ]\n}")
    else:
        for line in (markdown if options.format == "markdown" else text)(old, new, changes):
            print(line)
        if others:
            print(f"\n{counted(others, 'output')} in one of the runs only, as the other took the quick set")
    return 1 if changes.counts["worse"] else 0
