"""``lossproof explain``."""

from __future__ import annotations

import argparse

from lossproof.cli.arguments import add_adapters, add_case
from lossproof.registry.choice import Choice

MAX_CASES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_case(parser, several=True)
    add_adapters(parser)


def main(options: argparse.Namespace) -> int:
    """Print what a case says and what each backend makes of it."""
    from lossproof.case.select import select_cases
    from lossproof.cli.case_view import show_answer, show_case
    from lossproof.cli.terminal import console
    from lossproof.isolation.load import load_adapter, runs_apart
    from lossproof.registry.find import available_names

    out = console(120)
    cases = list(select_cases([options.case], [], thorough=True, huge=True))
    choices = options.adapter or [Choice(name) for name in available_names()]
    loaded = [
        load_adapter(choice.reference, isolate=runs_apart(choice.reference, None), python=choice.python)
        for choice in choices
    ]
    if not options.adapter:
        # Of backends that nobody asked for and that are not here there is nothing to say.
        loaded = [adapter for adapter in loaded if adapter.adapter is not None]
    for case in cases[:MAX_CASES]:
        show_case(out, case)
        for adapter in loaded:
            show_answer(out, case, adapter)
    if len(cases) > MAX_CASES:
        out.print(f"… and {len(cases) - MAX_CASES} more cases")
    return 0
