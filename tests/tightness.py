"""How tight the tolerances are: what correct results use of them, and what they still let pass.

``python -m tests.tightness`` prints docs/tightness.md from results/ and from the correct implementations;
``--write`` stores it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from packaging.version import Version

from lossproof.case.expected import Sketch
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import FAILURES, RIGHT
from lossproof.engine.record import Record
from lossproof.registry.find import BUILTIN
from lossproof.results.file import Results, read_json

from . import reference
from .correct import CORRECT, PLAIN
from .detection import judged
from .own_cases import every_case

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tightness.md"
# What the last digits of the correct implementations depend on: NumPy has other code for other processors.
PROCESSORS_DIFFER = 0.2
# Function, dtype, one of KINDS.
Cell = tuple[str, str, str]
KINDS = {"value": "value", "gradients": "gradient", "jvp": "derivative", "hvp": "derivative"}


def output_kind(output: str) -> str:
    return KINDS[output.partition(".")[0]]


def shares(rows: Iterable[Record]) -> dict[Cell, float]:
    """The largest error of what passes, as a share of what is allowed there."""
    worst: dict[Cell, float] = {}
    for row in rows:
        if row.verdict in RIGHT and row.share_used is not None:
            cell = (row.function, row.dtype, output_kind(row.output))
            worst[cell] = max(worst.get(cell, 0.0), row.share_used)
    return worst


@dataclass(frozen=True)
class Outcome:
    """What a correct implementation gives for the required cases."""

    wrong: tuple[str, ...]
    passed: frozenset[tuple[str, str, str]]
    """Case, dtype and output of what passes."""
    shares: Mapping[Cell, float]


@cache
def outcome(name: str) -> Outcome:
    """Of one of ``CORRECT``; computed once for tests and page.

    The loop as a textbook writes it takes all cases, the others the quick set: they differ in arithmetic,
    which is tried there, and not in the lengths and layouts that they are right for.
    """
    variant = CORRECT[name]
    with reference.replaced(variant.replaced):
        rows = list(judged(variant.cls(), variant.functions, name == PLAIN))
    wrong = [row for row in rows if row.verdict in FAILURES]
    return Outcome(
        tuple(f"{row.case} {row.dtype} {row.output}: {row.message}" for row in wrong),
        frozenset((row.case, row.dtype, row.output) for row in rows if row.verdict in RIGHT),
        shares(rows),
    )


def correct_shares() -> dict[Cell, float]:
    """The largest over all correct implementations."""
    found: dict[Cell, float] = {}
    for name in CORRECT:
        for cell, share in outcome(name).shares.items():
            found[cell] = max(found.get(cell, 0.0), share)
    return found


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


def backends() -> tuple[dict[str, dict[Cell, float]], list[str]]:
    """A column for each backend in results/, of its newest version, and these versions."""
    newest: dict[str, Results] = {}
    for path in sorted((ROOT / "results").glob("*.json")):
        results = read_json(path)
        (info,) = results.adapters
        before = newest.get(info.name)
        if before is None or Version(before.adapters[0].version) < Version(info.version):
            newest[info.name] = results
    names = sorted(newest, key=lambda name: ([*BUILTIN, name].index(name), name))
    return (
        {name: shares(newest[name].records) for name in names},
        [f"{name} {newest[name].adapters[0].version}" for name in names],
    )


def written_shares(text: str) -> dict[Cell, float]:
    """The column of the correct implementations in a page."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    table = rows[: next(place for place, row in enumerate(rows) if row[-1] == "decided by")]
    return {
        # A share of 0.00 is small, but one.
        (function, dtype, kind): 0.0 if figures[-1] == "·" else max(float(figures[-1]), 1e-3)
        for function, dtype, kind, *figures in table
        if function in FUNCTIONS
    }


def page(correct: Mapping[Cell, float]) -> str:
    """The text of docs/tightness.md, given the shares of the correct implementations."""
    columns: dict[str, Mapping[Cell, float]] = {}
    measured, versions = backends()
    columns.update(measured)
    columns["correct"] = correct
    smallest: dict[Cell, tuple[float, str]] = defaultdict(lambda: (float("inf"), ""))
    for case in every_case():
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
        "by `python -m tests.tightness --write` from [results](../results/README.md):",
        f"{', '.join(versions)}; the test suite fails if it is not current.",
        "",
        "## Shares of the allowed error",
        "",
        "The largest error of any output that passes, divided by what is allowed there; *correct* is the",
        f"worst of the {len(CORRECT)} correct implementations in `tests/correct.py`. Nothing is above 1;",
        "what deviates is not in the table. · means that the backend has no such output, or no error at all;",
        "*derivative* stands for `jvp` and `hvp`, which the correct implementations have in",
        "`tests/test_derivatives.py`.",
        "",
        f"| function | dtype | output | {' | '.join(columns)} |",
        f"| --- | --- | --- |{' ---: |' * len(columns)}",
    ]
    cells = [
        (function, dtype, kind)
        for function in FUNCTIONS
        for dtype in FLOAT_TYPES
        for kind in dict.fromkeys(KINDS.values())
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
    text = page(correct_shares())
    if "--write" in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
