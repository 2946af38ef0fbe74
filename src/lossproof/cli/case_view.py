"""A case as ``lossproof explain`` prints it: what it says, and what an adapter makes of it."""

from __future__ import annotations

import warnings
from textwrap import wrap
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from lossproof.case.expected import Expected, Sketch, Tolerance
from lossproof.case.inputs import is_description
from lossproof.case.model import Case
from lossproof.cli.terminal import STYLES, title
from lossproof.core.clauses import clauses
from lossproof.core.escape import visible
from lossproof.core.text import display
from lossproof.core.verdicts import Verdict
from lossproof.engine.judge import answered
from lossproof.engine.record import kept_law
from lossproof.registry.loaded import Loaded

# The column of labels, and the room that texts need beside it; without that, and for a label too long, they
# stand below. Where there is no terminal, arrays are as wide as this.
LABEL = 22
NARROWEST = 40
INDENT = 4
LOG_WIDTH = 120


def show_case(console: Console, case: Case) -> None:
    clause = clauses()[case.clause]
    console.print()
    kind = f"{case.level}{', thorough' if case.thorough else ''}{', huge' if case.huge else ''}"
    console.print(Text(case.id, style="bold"), Text(f"({kind})"))
    console.print(Text(visible(f"{display(case.path)}:{case.line}"), style="dim"))
    beside = _beside(console)
    room = _room(console) - (LABEL if beside else INDENT)
    rows = [
        ("about", _paragraph(case.about)),
        ("why", _paragraph(case.why)),
        ("clause", f"{clause.id} ({clause.page}): {clause.plain}"),
        ("dtypes", ", ".join(case.dtypes)),
        *((name, _show_input(spec, room)) for name, spec in case.inputs.items()),
        *((name, str(value)) for name, value in case.parameters.items()),
    ]
    if case.huge:
        rows.append(("times", f"all arrays lie {case.times:,} times one behind the other"))
    if case.distribution:
        rows.append(("distribution", "the errors of all rows are judged together, too (law.distribution)"))
    if case.cotangent is not None:
        rows.append(("cotangent", _show_input(case.cotangent, room)))
    rows += [(f"tangent of {name}", _show_input(spec, room)) for name, spec in case.tangents.items()]
    for name, layout in case.layout.items():
        rows.append((name, f"laid out {layout} in memory"))
    for name, item in (case.expected or {}).items():
        rows.append((f"expected {name}", _show_expected(item, room)))
        bound = case.tolerances.get(name)
        if bound is not None:
            rows.append(("  tolerance", _show_tolerance(bound, room)))
    for variant in case.variants:
        outcome = "raises" if variant.raises else f"gives {variant.outputs}"
        rows.append(("permitted too", f"{variant.name}: {outcome}"))
    for choice in case.choices:
        dtypes = "" if choice.dtypes == case.dtypes else f" ({', '.join(choice.dtypes)})"
        rows.append(("choice", f"{choice.name}{dtypes}"))
        for name, item in choice.expected.items():
            rows.append((f"gives {name}", _show_expected(item, room)))
            rows.append(("  tolerance", _show_tolerance(choice.tolerances[name], room)))
    for label, text in rows:
        # In a log a paragraph is one line; a terminal folds it.
        lines = text.split("\n") if console.soft_wrap else _folded(text, room)
        if beside and len(label) <= LABEL - 2:
            first, *lines = lines or [""]
            console.print(Text.assemble((f"{label:>{LABEL - 2}}  ", "cyan"), first))
        else:
            console.print(Text(label, "cyan"))
        for line in lines:
            console.print(Text(" " * (LABEL if beside else INDENT) + line))


def _beside(console: Console) -> bool:
    """Whether there is room for texts beside their labels; else they stand below."""
    return _room(console) >= LABEL + NARROWEST


def _room(console: Console) -> int:
    return LOG_WIDTH if console.soft_wrap else console.width


def _folded(text: str, width: int) -> list[str]:
    """Lines of at most this width; those of arrays, which fit, are left as they are."""
    return [
        part
        for line in text.split("\n")
        for part in (wrap(line, width, break_on_hyphens=False) if len(line) > width else [line])
    ]


def _paragraph(text: str) -> str:
    """A text that may have been written on several lines."""
    return visible(" ".join(text.split()))


def _show_input(spec: Any, room: int) -> str:
    return str(dict(spec)) if is_description(spec) else _compact(spec, room)


def _show_expected(item: Expected, room: int) -> str:
    if isinstance(item, Sketch):
        return f"{item.shape}, stored as {item.sums.size} certified sums"
    return _compact(item, room)


def _show_tolerance(bound: Tolerance, room: int) -> str:
    """Coefficients of the units that all dtypes share, those of arrays on lines of their own."""
    shown = [(bound.u, "u"), *([(bound.a, "a")] if bound.a.any() else [])]
    terms = [f"{_compact(values, room - 4)}·{unit}" for values, unit in shown]
    several = any("\n" in term for term in terms)
    last = f"{bound.eta:g}·η" + (" per sum" if bound.sample is not None else "")
    return (" +\n" if several else " + ").join([*terms, last])


def _compact(values: Any, width: int) -> str:
    """An array on lines of at most this width, columns under columns."""
    array = np.asarray(values)
    if array.ndim == 0:
        return f"{array[()]}".removesuffix(".0")
    return np.array2string(array, threshold=24, separator=", ", max_line_width=width, precision=17)


def show_answer(console: Console, case: Case, loaded: Loaded) -> None:
    console.print()
    info = loaded.info
    console.print(title(info))
    if loaded.adapter is None:
        console.print(Text(visible(f"  skipped: {info.skipped}"), style="dim"))
        return
    if case.huge:
        console.print(Text(f"  lossproof run --huge -a {info.name} {case.id} runs it", style="dim"))
        return
    for dtype in case.dtypes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer, found = answered(loaded.adapter, info.name, case, dtype, loaded.deviations)
            judged = [record for record in found if not kept_law(record)]
        for record in judged:
            verdict = record.verdict + (f" ({record.variant})" if record.variant else "")
            line = Text(f"  {dtype:>8} {record.output}: ")
            line.append(verdict, style=STYLES[record.verdict])
            if record.error is not None and record.allowed:
                line.append(f", error {record.error:.3g} of {record.allowed:.3g} allowed", "dim")
                if record.error_ulp is not None:
                    line.append(f", {record.error_ulp:.3g} ULP", "dim")
            console.print(line)
            if record.output in answer.outputs:
                for row in _compact(answer.outputs[record.output], _room(console) - 11).split("\n"):
                    console.print(Text(" " * 11 + row))
            if record.message and record.verdict not in (Verdict.PASS,):
                console.print(Text(" " * 11 + visible(record.message), style="dim"))
