"""``lossproof repro``."""

from __future__ import annotations

import argparse
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from lossproof.cli.arguments import add_adapter, add_case
from lossproof.cli.output import write
from lossproof.errors import LossproofError

if TYPE_CHECKING:
    from lossproof.case.model import Case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_case(parser, several=False)
    add_adapter(parser)
    parser.add_argument("--dtype", "-d", metavar="D", help="the dtype (default: the case's first)")
    parser.add_argument(
        "--full",
        action="store_true",
        help="carry the sources of adapter and comparison even where a short script says it all",
    )


def _misses_a_law(reference: str, case: Case, dtype: str) -> bool:
    """Whether a run finds a law of the call broken, in a process that the call may crash."""
    from lossproof.core.verdicts import RIGHT, UNJUDGED
    from lossproof.engine.runner import run_pair
    from lossproof.isolation.load import load_adapter
    from lossproof.isolation.remote import RemoteAdapter

    loaded = load_adapter(reference, isolate=True)
    try:
        records = run_pair(loaded, loaded.adapter, case, dtype)
    finally:
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()
    return any(record.is_law and record.verdict not in RIGHT | UNJUDGED for record in records)


def main(options: argparse.Namespace) -> int:
    """Print the script."""
    from lossproof.case.select import select_cases
    from lossproof.core.dtypes import INTEGER_TYPES
    from lossproof.isolation.load import load_adapter
    from lossproof.isolation.remote import RemoteAdapter
    from lossproof.registry.modes import ranks_of, split
    from lossproof.repro.script import reproduce

    cases = list(select_cases([options.case], [], thorough=True, huge=True))
    if len(cases) != 1:
        raise LossproofError(f"{options.case!r} names {len(cases)} cases; repro takes one")
    (case,) = cases
    reference, mode = split(options.adapter)
    if ranks_of(mode) == 1:
        loaded = load_adapter(options.adapter)
    else:
        # This process is no rank; the script starts them.
        plain = load_adapter(reference)
        loaded = plain if plain.adapter is None else load_adapter(plain.adapter, mode=mode)
    if loaded.adapter is None:
        raise LossproofError(f"adapter {options.adapter!r} cannot run: {loaded.info.skipped}")
    supported = [d for d in case.dtypes if d in loaded.adapter.dtypes or d in INTEGER_TYPES]
    dtype = options.dtype or (supported or case.dtypes)[0]
    if dtype not in case.dtypes:
        raise LossproofError(f"{case.id} is not for {dtype}, but for {', '.join(case.dtypes)}")
    try:
        # A command's laws can only be seen where it runs; this process is no rank.
        seen = ranks_of(mode) == 1 and not isinstance(loaded.adapter, RemoteAdapter)
        script = reproduce(
            case, loaded.adapter, dtype,
            full=options.full, misses_a_law=lambda: seen and _misses_a_law(options.adapter, case, dtype),
        )  # fmt: skip
        if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.isatty():
            sys.stdout.reconfigure(encoding="utf-8")  # what Python reads a file as
        write(script.removesuffix("\n"))
    finally:
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()
    return 0
