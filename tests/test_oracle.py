"""The oracle against decimal arithmetic, which shares nothing with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

from lossproof.case.expected import Tolerance
from lossproof.case.read import load_file
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.errors import InputError
from lossproof.oracle import evaluate
from lossproof.oracle.bounds import Bound
from lossproof.oracle.certify import certify, certify_case
from lossproof.oracle.result import Output, rounded_up
from lossproof.oracle.vacuity import NONSENSE, passing_nonsense
from tests.own_cases import quick_cases

CASES = {case.id: case for case in quick_cases()}


def decimal_softmax(row: Sequence[float]) -> list[Decimal]:
    powers = [Decimal(x).exp() for x in row]
    return [power / sum(powers) for power in powers]


def test_softmax_is_correctly_rounded() -> None:
    case = CASES["softmax/ordinary/three-classes"]
    with localcontext() as context:
        context.prec = 60
        expected = [[float(p) for p in decimal_softmax(row)] for row in [[0.5, -1.25, 2.0], [3.0, 0.0, -4.0]]]
    assert evaluate(case)["value"].array().tolist() == expected


def test_weighted_smoothed_cross_entropy_is_correctly_rounded() -> None:
    case = CASES["sparse_softmax_cross_entropy/smoothing/with-weights-mean"]
    rows = [[0.5, -1.25, 2.0], [1.0, 0.25, 1.0], [-3.0, 0.0, 4.0]]
    labels = [2, 1, 0]
    weight, epsilon = [Decimal(2), Decimal("0.5"), Decimal(4)], Decimal("0.25")
    with localcontext() as context:
        context.prec = 60
        total = Decimal(0)
        for row, label in zip(rows, labels, strict=True):
            for c, p in enumerate(decimal_softmax(row)):
                share = epsilon / 3 + (1 - epsilon if c == label else 0)
                total -= weight[c] * share * p.ln()
        expected = float(total / sum(weight[label] for label in labels))
    assert float(evaluate(case)["value"].array()) == expected


def test_binary_cross_entropy_gradient_is_correctly_rounded() -> None:
    case = CASES["binary_cross_entropy/ordinary/soft-targets"]
    expected = []
    with localcontext() as context:
        context.prec = 60
        for p, y in zip([0.5, 0.25, 0.875, 0.125], [0.5, 0.25, 0.75, 0.5], strict=True):
            d, t = Decimal(p), Decimal(y)
            expected.append(float((1 - t) / (1 - d) - t / d))
    assert evaluate(case)["gradients.probabilities"].array().tolist() == expected


def test_a_wrong_stored_value_is_found(tmp_path: Path) -> None:
    source = CASES["softmax/ordinary/vector"].path.read_text(encoding="utf-8")
    folder = tmp_path / "softmax"
    folder.mkdir()
    path = folder / "ordinary.yaml"
    value = float(evaluate(CASES["softmax/ordinary/vector"])["value"].array()[3])
    assert repr(value) in source
    path.write_text(source.replace(repr(value), repr(np.nextafter(value, 1).item())), "utf-8")
    _, problems = certify([path], jobs=1)
    assert len(problems) == 1 and "value differs" in problems[0] and "vector" in problems[0]
    certify([path], write=True, jobs=1)
    assert path.read_text(encoding="utf-8") == source
    assert certify([path], jobs=1)[1] == []


def test_a_wrong_tolerance_is_found(tmp_path: Path) -> None:
    case = CASES["softmax/ordinary/vector"]
    text = case.path.read_text(encoding="utf-8")
    start = text.index("    tolerance:\n", text.index("- id: vector"))
    loose = text[:start] + text[start:].replace("value: {u: [", "value: {u: [9", 1)
    assert loose != text
    found = [certify_case(c) for c in load_file(case.path, loose)]
    assert sum("tolerances differ" in d for c in found for d in c.differences) == 1


def test_an_inexact_described_input_is_refused(tmp_path: Path) -> None:
    text = (
        "function: sigmoid\nabout: x\ncases:\n  - id: a\n    clause: SG-1\n    level: required\n"
        "    why: x\n    dtypes: [float16]\n    inputs:\n"
        "      logits: {random: normal, shape: [4], seed: 1, bits: 20}\n"
    )
    path = tmp_path / "sigmoid.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"sigmoid\.yaml:10: .* too many bits for float16"):
        certify([path], jobs=1)


def test_coefficients_are_rounded_up_to_two_digits() -> None:
    random = np.random.default_rng(0)
    values = np.exp(random.normal(0, 30, 2000))
    for value, stored in zip(values.tolist(), rounded_up(values).tolist(), strict=True):
        assert value * (1 - 1e-9) <= stored <= value * 1.1
        assert float(f"{stored:.1e}") == stored
    special = [0.0, 5e-324, 1e-300, 1.0, 9.9, 9.91, 1.2, 1.2 * (1 + 2**-52), 1.7e308, math.inf]
    due = [0.0, 5e-324, 1e-300, 1.0, 9.9, 10.0, 1.2, 1.2, 1.7e308, math.inf]
    assert rounded_up(np.array(special)).tolist() == due


def test_what_is_left_out_and_what_is_not_finite_has_no_tolerance() -> None:
    output = Output(
        (4,), [1.0, 0.0, float("inf"), 0.0], Bound(2.0, 0.0, 1.0), np.array([False, True, False, False])
    )
    held = output.tolerance().bounds(output.array(), FLOAT_TYPES["float32"]) == 0
    assert held.tolist() == [False, True, True, False]


def test_the_accumulator_counts_for_less_in_half_precision() -> None:
    bound = Output((), [1.0], Bound(1.0, 100.0)).tolerance()
    in_float32, in_bfloat16 = (
        float(bound.bounds(np.ones(()), FLOAT_TYPES[dtype])) for dtype in ("float32", "bfloat16")
    )
    assert in_float32 == pytest.approx(101 * 2.0**-24, rel=1e-3)
    assert in_bfloat16 == pytest.approx(2.0**-8 + 100 * 2.0**-24, rel=1e-3)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_nonsense_passes_a_tolerance_of_the_size_of_the_expectation(dtype: str) -> None:
    exact = np.array([1.0, -2.0])
    u = FLOAT_TYPES[dtype].unit_roundoff
    loose, half, tight = (Tolerance(np.array(size / u), np.zeros(())) for size in (5.0, 1.1, 0.1))
    assert set(passing_nonsense(exact, exact, loose, dtype)) == set(NONSENSE)
    assert set(passing_nonsense(exact, exact, half, dtype)) == {"half"}
    assert not set(passing_nonsense(exact, exact, tight, dtype))


def test_an_output_that_decides_nothing_is_a_problem_unless_the_case_says_why(tmp_path: Path) -> None:
    case = CASES["sigmoid/tails/right-tail"]
    assert case.vacuous
    text = case.path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    silent = "".join(line for line in lines if not line.startswith("    vacuous:"))
    path = tmp_path / "tails.yaml"
    path.write_text(silent, encoding="utf-8")
    _, problems = certify([path], jobs=1)
    assert any("right-tail: gradients.logits is passed by zero in float32" in p for p in problems)
    path.write_text(text.replace("    vacuous: {gra", "    vacuous: {value: so it is, gra"), encoding="utf-8")
    _, problems = certify([path], jobs=1)
    assert any("value is listed as vacuous, and decides" in p for p in problems)
