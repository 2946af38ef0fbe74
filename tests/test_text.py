"""What the pages of spec/ tabulate is what the code and the cases say."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from lossproof.case.model import Case
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from tests.own_cases import every_case

CASES = {case.id: case for case in every_case()}
Row = dict[str, str]


def tables(page: str) -> Iterator[list[Row]]:
    """The tables of a page as rows by heading, without the marks of code."""
    text = (folder("spec") / f"{page}.md").read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        heading, _, *rows = [
            [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
            for line in block.splitlines()
        ]
        yield [dict(zip(heading, row, strict=True)) for row in rows]


def table_with(page: str, *headings: str) -> list[Row]:
    (found,) = (rows for rows in tables(page) if rows and set(headings) <= set(rows[0]))
    return found


def test_the_arrays_whose_gradients_are_checked() -> None:
    stated = {row["function"]: row["arrays"] for row in table_with("cases", "function", "arrays")}
    assert stated == {name: ", ".join(f.wrt) or "none" for name, f in FUNCTIONS.items()}


def test_the_cases_that_tables_name_exist() -> None:
    named = [
        row["case"] for page in ("cross-entropy",) for rows in tables(page) for row in rows if "case" in row
    ]
    assert len(named) > 10 and {name for name in named if name} <= CASES.keys()


# -- pairs of special values, element by element -----------------------------------------------------

KINDS: dict[str, Callable[[float], bool]] = {
    "NaN": math.isnan,
    "any": lambda x: True,
    "+∞": lambda x: x == math.inf,
    "−∞": lambda x: x == -math.inf,
    "finite": math.isfinite,
    "0": lambda x: x == 0,
    "1": lambda x: x == 1,
    "−1": lambda x: x == -1,
    "[0, 1]": lambda x: 0 <= x <= 1,
    "[0, 1)": lambda x: 0 <= x < 1,
    "(0, 1]": lambda x: 0 < x <= 1,
    "outside": lambda x: x < 0 or x > 1,
}

# The two arrays, a function of each table, and how many rows it has.
PAIRS = [
    ("l2", "l2_loss", 10),
    ("binary-cross-entropy", "binary_cross_entropy", 8),
    ("binary-cross-entropy", "sigmoid_cross_entropy", 7),
]


Element = tuple[str, float, float, float | None, float | None]


def seen(function: str) -> Iterator[Element]:
    """Case, both inputs, cost and gradient of every element of the cases without weights and means."""
    for name, case in CASES.items():
        parameters = case.parameters
        weighed = any(parameters.get(key) is not None for key in ("weight", "pos_weight"))
        if case.function.name != function or weighed or parameters["reduction"] == "mean":
            continue
        if parameters.get("half") or case.cotangent is not None:
            continue
        yield from elements(name, case)


def elements(name: str, case: Case) -> Iterator[Element]:
    first, second = (np.ravel(case.exact_arrays[array.name]) for array in case.function.arrays)
    expected = case.expected or {}
    costs, slopes = expected["value"], expected.get(f"gradients.{case.function.wrt[0]}")
    reduced = case.parameters["reduction"] == "sum"
    for i in range(first.size):
        cost = float(costs.flat[i]) if isinstance(costs, np.ndarray) and not reduced else None
        slope = float(slopes.flat[i]) if isinstance(slopes, np.ndarray) else None
        yield name, float(first[i]), float(second[i]), cost, slope


def agrees(text: str, actual: float, y: float) -> bool:
    due = {"1 − y": 1 - y, "−y": -y}.get(text)
    return actual == due if due is not None else KINDS[text](actual)


@pytest.mark.parametrize(("page", "function", "count"), PAIRS)
def test_pairs_of_special_values_are_tested_as_they_are_tabulated(
    page: str, function: str, count: int
) -> None:
    names = [array.name for array in FUNCTIONS[function].arrays]
    rows = table_with(page, *names, "cost", "gradient", "case")
    assert len(rows) == count
    tested: dict[tuple[int, str], set[str]] = defaultdict(set)
    for name, a, b, cost, slope in seen(function):
        for number, row in enumerate(rows):
            if not (KINDS[row[names[0]]](a) and KINDS[row[names[1]]](b)):
                continue
            if cost is not None:
                assert agrees(row["cost"], cost, b), f"{name}: {a}, {b} cost {cost}, not {row['cost']}"
                tested[number, "cost"].add(name)
            if row["gradient"] != "not specified" and slope is not None:
                assert agrees(row["gradient"], slope, b), f"{name}: {a}, {b} slope {slope}"
                tested[number, "gradient"].add(name)
    for number, row in enumerate(rows):
        cases = {f"{function}/{name}" for name in row["case"].split(", ")}
        assert cases <= CASES.keys()
        for what in ("cost", "gradient"):
            if row[what] != "not specified":
                assert cases & tested[number, what], f"{what} of {row} is not tested"
