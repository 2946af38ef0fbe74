"""``lossproof report``."""

from __future__ import annotations

import argparse
import time

from lossproof.cli.arguments import json_files, path
from lossproof.cli.output import say
from lossproof.errors import LossproofError

DESCRIPTION = (
    "Build a static site that needs no server and no other host. Files are results "
    "(lossproof run --json, or --results), timings (lossproof bench --json) and sweeps (lossproof sweep "
    "--json), in any number."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        nargs="+",
        type=path,
        metavar="FILE",
        help="results, timings and sweeps, or folders of them",
    )
    parser.add_argument("--out", "-o", type=path, required=True, metavar="DIR", help="where the site goes")
    parser.add_argument("--title", default="lossproof", help="the title of its pages")


def main(options: argparse.Namespace) -> int:
    """Build the site and say where it is."""
    from lossproof.results.suites import mixed

    start = time.perf_counter()
    try:
        from lossproof.site.model import load_site
        from lossproof.site.pages import write_site
    except ModuleNotFoundError as error:
        raise LossproofError(f"report needs {error.name}: pip install 'lossproof[report]'") from None
    site = load_site(json_files(options.results), options.title)
    if options.out.exists() and not options.out.is_dir():
        raise LossproofError(f"{options.out} is a file; give a folder")
    write_site(site, options.out)
    suites = mixed(site.environments)
    if suites is not None:
        say(f"lossproof: {suites}", error=True)
    records = sum(len(site.records.of(column)) for column in site.columns)
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    say(
        f"{options.out / 'index.html'}: {len(site.columns)} backends, {records} results, "
        f"{size / 2**20:.1f} MiB in {time.perf_counter() - start:.1f} s"
    )
    return 0
