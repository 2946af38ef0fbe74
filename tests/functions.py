"""The table of functions as a table of spec/adapters.md, and what a function still lacks.

``python -m tests.functions`` lists what is missing for the rows of the table; ``--write`` renews
spec/adapters.md from them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from lossproof.completeness import missing
from lossproof.core.clauses import clauses
from lossproof.core.functions import FUNCTIONS, REQUIRED, Array, Function, Parameter
from lossproof.core.shapes import shape_text

PAGE = Path(__file__).parent.parent / "spec" / "adapters.md"
COLUMNS = ("function", "arrays (shape)", "parameters (default)", "result", "gradients", "defined by")


def row(function: Function) -> tuple[str, ...]:
    """The cells of a function, in the order of ``COLUMNS``."""
    page = clauses()[function.clause].page
    result = _bare(function.result) if function.result else "scalar"
    return (
        f"`{function.name}`",
        "; ".join(map(_array, function.arrays)),
        ", ".join(map(_parameter, function.parameters)),
        f"{result}, integers" if function.integer_result else result,
        ", ".join(function.wrt),
        f"[{function.clause}]({page})",
    )


def _array(array: Array) -> str:
    return f"{array.name} {_shape(array.shape)}{', integers' if array.integer else ''}"


def _parameter(parameter: Parameter) -> str:
    if parameter.lengths:
        lengths = parameter.lengths.split()
        return f"{parameter.name} = {lengths[0] if len(lengths) == 1 else _shape(parameter.lengths)}"
    if parameter.default is REQUIRED:
        return parameter.name
    default = str(parameter.default).replace("-", "−").removesuffix(".0")
    given = f", or {_bare(parameter.shape)}" if parameter.shape else ""
    return f"{parameter.name} ({default}{given})"


def _shape(text: str) -> str:
    return shape_text(text).replace("...", "…")


def _bare(text: str) -> str:
    """A shape outside of parentheses: as logits, (N, h, w)."""
    shape = _shape(text)
    return shape[1:-1] if shape.startswith("(as ") else shape


def table(functions: Iterable[Function]) -> list[str]:
    """The lines of the Markdown table."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(row, functions)]
    return [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in rows]


def renewed(text: str) -> str:
    """A page with its table of functions as the rows have it."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| function |"))
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return "\n".join([*lines[:start], *table(FUNCTIONS.values()), *lines[end:]]) + "\n"


def main() -> int:
    lacking = [line for function in FUNCTIONS.values() for line in missing(function)]
    print("\n".join(lacking) or "nothing is missing")
    text = PAGE.read_text(encoding="utf-8")
    if "--write" in sys.argv:
        PAGE.write_text(renewed(text), encoding="utf-8")
    elif renewed(text) != text:
        print("spec/adapters.md: its table differs from the rows; python -m tests.functions --write")
        return 1
    return bool(lacking)


if __name__ == "__main__":
    raise SystemExit(main())
