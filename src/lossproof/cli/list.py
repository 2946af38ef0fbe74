"""``lossproof list``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lossproof.cli.output import say, write
from lossproof.core.escape import visible
from lossproof.core.text import counted, suggest
from lossproof.errors import LossproofError

if TYPE_CHECKING:
    from rich.console import Console

    from lossproof.cli.catalogue import Entry

KINDS = {
    "functions": "with their arguments and the clause that defines each",
    "cases": "with clause, level and reason",
    "adapters": "known by name; installed, or why they cannot run here",
    "workloads": "which lossproof bench times",
    "clauses": "of the specification",
    "edge-cases": "of the atlas: what happens when …",
}
# So many of a kind are shown unless the kind is asked for.
MAX_LISTED = 20
# As much room a terminal has to have beside ids for texts to stand there, and not below.
NARROWEST = 30

DESCRIPTION = (
    "List functions, cases, adapters, workloads, clauses and edge cases, or those in which all the words "
    "begin a word: in ids, titles, clauses and reasons. Exit status 2: nothing matches."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="WORD", help="what to look for (default: everything)")
    for kind, about in KINDS.items():
        parser.add_argument(
            f"--{kind}", dest="kinds", action="append_const", const=kind,
            help=f"only {kind.replace('-', ' ')}, all of them: {about}",
        )  # fmt: skip
    parser.add_argument(
        "--needs", action="append", default=[], metavar="FLAG",
        help="only cases, and of these those with this flag: gradients, ignore-index, weights, non-finite, "
        "long-rows … (docs/runner.md; may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print kind, id, text and command of each as JSON"
    )


def main(options: argparse.Namespace) -> int:
    """Print what is found, kind by kind, each with what to type next."""
    from lossproof.cli.catalogue import entries, search
    from lossproof.cli.terminal import console

    kinds = ["cases"] if options.needs else list(dict.fromkeys(options.kinds or KINDS))
    every = list(entries(kinds, options.needs))
    found = search(every, options.words)
    if not found:
        asked = " ".join([*options.words, *options.needs])
        ids = {part for entry in every for part in (entry.id, *entry.id.split("/"))}
        raise LossproofError(f"nothing matches {asked!r}{suggest(asked, ids)} among {', '.join(kinds)}")
    if options.json:
        rows = [{"kind": e.kind, "id": e.id, "text": e.text, "then": e.then} for e in found]
        write(json.dumps(rows, indent=1))
        return 0
    out = console()
    limit = None if options.kinds or options.needs else MAX_LISTED
    for kind in kinds:
        own = [entry for entry in found if entry.kind == kind]
        if own:
            _show(out, kind, own, limit, options.words)
    return 0


def _show(
    console: Console, kind: str, found: Sequence[Entry], limit: int | None, words: Sequence[str]
) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from lossproof.cli.terminal import show_table

    shown = found[:limit]
    width = max(len(entry.id) for entry in shown)
    console.print(Text(counted(len(found), kind.replace("-", " ").removesuffix("s")), style="bold"))
    if sys.stdout.isatty() and console.width < min(width, 50) + NARROWEST:
        for entry in shown:
            console.print(Text(f"  {visible(entry.id)}", style="cyan"))
            console.print(Padding(Text(visible(entry.text)), (0, 0, 0, 4)))
    elif sys.stdout.isatty():
        table = Table.grid(padding=(0, 2), pad_edge=True)
        table.add_column(no_wrap=True, style="cyan", min_width=min(width, 50))
        table.add_column()
        for entry in shown:
            table.add_row(Text(visible(entry.id)), Text(visible(entry.text)))
        show_table(console, table)
    else:
        # Whole lines, for grep.
        for entry in shown:
            say(f"  {entry.id:{width}}  {entry.text}")
    if len(shown) < len(found):
        again = " ".join(["lossproof list", f"--{kind}", *words])
        console.print(Text(f"  … and {len(found) - len(shown)} more: {again}", style="dim"))
    console.print(Text(f"  → {found[0].then}", style="dim"))
    console.print()
