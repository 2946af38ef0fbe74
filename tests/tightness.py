"""How tight the tolerances are: what correct results use of them, and what they still let pass.

``python -m tests.tightness RESULTS.json…`` prints spec/tightness.md from results of ``lossproof run --json``
and from the correct implementations; ``--write`` stores it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lossproof.case.expected import Sketch
from lossproof.case.model import Case
from lossproof.case.read import load_cases
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import Verdict

from . import reference
from .correct import CORRECT
from .detection import judged

PAGE = Path(__file__).parents[1] / "spec" / "tightness.md"
# Function, dtype, "value" or "gradient".
Cell = tuple[str, str, str]
PASSING = (Verdict.PASS, Verdict.VARIANT)


def output_kind(output: str) -> str:
    return "value" if output == "value" else "gradient"


def shares(rows: Iterable[dict[str, Any]]) -> dict[Cell, float]:
    """The largest error of what passes, as a share of what is allowed there."""
    worst: dict[Cell, float] = {}
    for row in rows:
        if row["verdict"] in PASSING and row["error"] is not None and row["allowed"]:
            cell = (row["function"], row["dtype"], output_kind(row["output"]))
            worst[cell] = max(worst.get(cell, 0.0), row["error"] / row["allowed"])
    return worst


def correct_shares() -> dict[Cell, float]:
    """The same over all correct implementations."""
    rows = []
    for variant in CORRECT.values():
        with reference.replaced(variant.replaced):
            rows += [record.to_json() for record in judged(variant.cls(), FUNCTIONS)]
    return shares(rows)


def perturbation(case: Case, dtype: str, output: str) -> float:
    """The largest δ for which the exact output times 1 + δ passes (infinite if it says nothing)."""
    assert case.expected is not None
    expected, tolerance = case.expected[output], case.tolerances[output]
    kind = FLOAT_TYPES[dtype]
    if isinstance(expected, Sketch):
        assert tolerance.sample is not None
        parts = [(expected.sums, tolerance), (expected.sample, tolerance.sample)]
    else:
        parts = [(expected, tolerance)]
    smallest = float("inf")
    for values, bound in parts:
        size = np.abs(values)
        # A perturbation below the smallest normal number may be flushed away.
        told = np.isfinite(size) & (size >= kind.smallest_normal) & (size < kind.largest)
        if told.any():
            smallest = min(smallest, float(np.min(bound.bounds(values, kind)[told] / size[told])))
    return smallest


def page(results: list[Path]) -> str:
    """The text of spec/tightness.md."""
    columns: dict[str, dict[Cell, float]] = {}
    versions = []
    for path in results:
        content = json.loads(path.read_text(encoding="utf-8"))
        for adapter in content["adapters"]:
            own = [row for row in content["results"] if row["adapter"] == adapter["name"]]
            columns[adapter["name"]] = shares(own)
            versions.append(f"{adapter['name']} {adapter['version']}")
    columns["correct"] = correct_shares()
    smallest: dict[Cell, tuple[float, str]] = defaultdict(lambda: (float("inf"), ""))
    for case in load_cases():
        if case.level != "required" or case.function.integer_result or case.expected is None:
            continue
        for dtype in case.dtypes:
            for output in case.expected:
                cell = (case.function.name, dtype, output_kind(output))
                smallest[cell] = min(smallest[cell], (perturbation(case, dtype, output), case.id))
    lines = [
        "# Tightness",
        "",
        "How much of their tolerances correct results use, and what the tolerances still let pass. Written",
        "by `python -m tests.tightness RESULTS.json… --write` from results of `lossproof run --json` on the",
        f"CPU: {', '.join(versions)}.",
        "",
        "## Shares of the allowed error",
        "",
        "The largest error of any output that passes, divided by what is allowed there; *correct* is the",
        f"worst of the {len(CORRECT)} correct implementations in `tests/correct.py`. Nothing is above 1;",
        "what deviates is not in the table. · means that the backend has no such output, or no error at all.",
        "",
        f"| function | dtype | output | {' | '.join(columns)} |",
        f"| --- | --- | --- |{' ---: |' * len(columns)}",
    ]
    cells = [
        (function, dtype, kind)
        for function in FUNCTIONS
        for dtype in FLOAT_TYPES
        for kind in ("value", "gradient")
    ]
    for cell in cells:
        if not any(cell in column for column in columns.values()):
            continue
        figures = [f"{column[cell]:.2f}" if column.get(cell) else "·" for column in columns.values()]
        lines.append(f"| {' | '.join(cell)} | {' | '.join(figures)} |")
    lines += [
        "",
        "## The largest relative perturbation that passes",
        "",
        "If every element of an output is multiplied by $1 + \\delta$, this is the largest $\\delta$ with",
        "all required cases of the function still pass (in units of the dtype's unit roundoff $u$), and the",
        "case that decides.",
        "",
        "| function | dtype | output | δ/u | decided by |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for cell in cells:
        delta, case_id = smallest[cell]
        if np.isfinite(delta):
            ratio = delta / FLOAT_TYPES[cell[1]].unit_roundoff
            lines.append(f"| {' | '.join(cell)} | {ratio:.3g} | `{case_id.partition('/')[2]}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    files = [Path(argument) for argument in sys.argv[1:] if argument != "--write"]
    text = page(files)
    if "--write" in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
