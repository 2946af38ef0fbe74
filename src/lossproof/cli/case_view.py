"""A case as ``lossproof explain`` prints it: what it says, and what an adapter makes of it."""

from __future__ import annotations

import warnings
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


def show_case(console: Console, case: Case) -> None:
    clause = clauses()[case.clause]
    console.print()
    kind = f"{case.level}{', thorough' if case.thorough else ''}{', huge' if case.huge else ''}"
    console.print(Text(case.id, style="bold"), Text(f"({kind})"))
    console.print(Text(visible(f"{display(case.path)}:{case.line}"), style="dim"))
    rows = [
        ("about", _paragraph(case.about)),
        ("why", _paragraph(case.why)),
        ("clause", f"{clause.id} ({clause.page}): {clause.text}"),
        ("dtypes", ", ".join(case.dtypes)),
        *((name, _show_input(spec)) for name, spec in case.inputs.items()),
        *((name, str(value)) for name, value in case.parameters.items()),
    ]
    if case.huge:
        rows.append(("times", f"all arrays lie {case.times:,} times one behind the other"))
    if case.distribution:
        rows.append(("distribution", "the errors of all rows are judged together, too (law.distribution)"))
    if case.cotangent is not None:
        rows.append(("cotangent", _show_input(case.cotangent)))
    rows += [(f"tangent of {name}", _show_input(spec)) for name, spec in case.tangents.items()]
    for name, layout in case.layout.items():
        rows.append((name, f"laid out {layout} in memory"))
    for name, item in (case.expected or {}).items():
        rows.append((f"expected {name}", _show_expected(item)))
        bound = case.tolerances.get(name)
        if bound is not None:
            rows.append(("  tolerance", _show_tolerance(bound)))
    for variant in case.variants:
        outcome = "raises" if variant.raises else f"gives {variant.outputs}"
        rows.append(("permitted too", f"{variant.name}: {outcome}"))
    for choice in case.choices:
        dtypes = "" if choice.dtypes == case.dtypes else f" ({', '.join(choice.dtypes)})"
        rows.append(("choice", f"{choice.name}{dtypes}"))
        for name, item in choice.expected.items():
            rows.append((f"gives {name}", _show_expected(item)))
            rows.append(("  tolerance", _show_tolerance(choice.tolerances[name])))
    for label, text in rows:
        console.print(Text(f"{label:>20}  ", style="cyan"), Text(text), sep="", end="\n")


def _paragraph(text: str) -> str:
    """A text that may have been written on several lines."""
    return visible(" ".join(text.split()))


def _show_input(spec: Any) -> str:
    return str(dict(spec)) if is_description(spec) else _compact(spec)


def _show_expected(item: Expected) -> str:
    if isinstance(item, Sketch):
        return f"{item.shape}, stored as {item.sums.size} certified sums"
    return _compact(item)


def _show_tolerance(bound: Tolerance) -> str:
    terms = [f"{_compact(bound.u)}·u"]
    if bound.a.any():
        terms.append(f"{_compact(bound.a)}·a")
    return " + ".join([*terms, f"{bound.eta:g}·η"]) + (" per sum" if bound.sample is not None else "")


def _compact(values: Any) -> str:
    text = np.array2string(np.asarray(values), threshold=24, separator=", ", max_line_width=90, precision=17)
    return text.replace("\n", "\n" + " " * 22)


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
                console.print(Text(" " * 11 + _compact(answer.outputs[record.output])))
            if record.message and record.verdict not in (Verdict.PASS,):
                console.print(Text(" " * 11 + visible(record.message), style="dim"))
