"""``lossproof export``."""

from __future__ import annotations

import argparse
import time

from lossproof.cli.arguments import add_cases, add_dtypes, add_functions, path
from lossproof.cli.output import say
from lossproof.core.text import counted

DESCRIPTION = (
    "Write cases as vectors for programs in any language: JSON with exact numbers, and safetensors files of "
    "large arrays. docs/runner.md says how to judge an implementation by them."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_cases(parser)
    parser.add_argument("--out", "-o", type=path, required=True, metavar="DIR", help="where the files go")
    add_functions(parser)
    add_dtypes(parser)
    parser.add_argument(
        "--thorough", action="store_true",
        help="the long and the redundant cases, too, which the quick set leaves out",
    )  # fmt: skip
    parser.add_argument(
        "--huge", action="store_true",
        help="the huge cases, too: some rows and how often a runner is to repeat them",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Write the vectors and say how many there are."""
    from lossproof.case.select import select_pairs
    from lossproof.cli.terminal import progress
    from lossproof.results.file import cases_set
    from lossproof.vectors.write import export

    start = time.perf_counter()
    selection = select_pairs(options.cases, options.function, options.dtype, options.thorough, options.huge)
    taken = cases_set(not options.cases and not options.function, options.thorough)
    with progress("exporting") as update:
        index = export(selection, options.dtype, taken, options.out, update)
    vectors = counted(sum(file.cases for file in index.vectors), "vector")
    cases = counted(selection.count(options.dtype), "case")
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    seconds = time.perf_counter() - start
    say(
        f"{options.out / 'index.json'}: suite {index.suite}, {vectors} of {cases} in "
        f"{counted(len(index.vectors), 'file')}, {size / 2**20:.1f} MiB in {seconds:.1f} s"
    )
    return 0
