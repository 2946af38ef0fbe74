"""The oracle against decimal arithmetic, which shares nothing with it."""

from __future__ import annotations

from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

from lossproof.case.read import load_cases, load_file
from lossproof.oracle import evaluate
from lossproof.oracle.certify import certify, certify_case, rewrite
from lossproof.oracle.result import cover

CASES = {case.id: case for case in load_cases()}


def decimal_softmax(row: list[float]) -> list[Decimal]:
    powers = [Decimal(x).exp() for x in row]
    return [power / sum(powers) for power in powers]


def test_softmax_is_correctly_rounded() -> None:
    case = CASES["softmax/ordinary/three-classes"]
    with localcontext() as context:
        context.prec = 60
        expected = [[float(p) for p in decimal_softmax(row)] for row in [[0.5, -1.25, 2], [3, 0, -4]]]
    assert evaluate(case)["value"].array().tolist() == expected


def test_weighted_smoothed_cross_entropy_is_correctly_rounded() -> None:
    case = CASES["sparse_softmax_cross_entropy/smoothing/with-weights-mean"]
    rows, labels = [[0.5, -1.25, 2], [1, 0.25, 1], [-3, 0, 4]], [2, 1, 0]
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
    loose = text.replace(
        "tolerance:\n      float64: {value: {rel: ", "tolerance:\n      float64: {value: {rel: 9", 1
    )
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
    _, problems = certify([path], jobs=1)
    assert "not exactly representable in float16" in problems[0]


@pytest.mark.parametrize("seed", range(20))
def test_cover_covers(seed: int) -> None:
    random = np.random.default_rng(seed)
    bounds = np.exp(random.normal(0, 5, 40))
    magnitudes = np.exp(random.normal(0, 5, 40)) * (random.random(40) < 0.9)
    rel, abs_ = cover(bounds, magnitudes)
    assert (bounds <= (abs_ + rel * magnitudes) * (1 + 2.0**-40)).all()


def test_rewriting_keeps_what_people_wrote(tmp_path: Path) -> None:
    text = (
        "# A comment.\nfunction: sigmoid\nabout: x\ncases:\n  # another\n  - id: a\n    clause: SG-1\n"
        "    level: required\n    why: because   # spaced\n    dtypes: [float64]\n"
        "    inputs: {logits: 0}\n    expected:\n      value: 1\n    variants:\n"
        "      - {name: raises, raises: true}\n\n  - id: b\n    clause: SG-1\n    level: required\n"
        "    why: y\n    dtypes: [float64]\n    inputs: {logits: 1}\n"
    )
    path = tmp_path / "topic.yaml"
    path.write_text(text, encoding="utf-8")
    rewrite(path, {"a": ("expected:", "  value: 0.5"), "b": ("expected:", "  value: 0.75")})
    assert path.read_text(encoding="utf-8") == text.replace("value: 1\n", "value: 0.5\n").replace(
        "inputs: {logits: 1}\n", "inputs: {logits: 1}\n    expected:\n      value: 0.75\n"
    )
