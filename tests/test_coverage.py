"""What is tested of one function is tested of its relatives, and the page says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossproof.case.read import load_file
from lossproof.core.functions import FUNCTIONS

from . import kinds
from .coverage import PAGE, TOPICS, Topic, holes, page, table
from .kinds import Look

CASE = """\
function: {function}
about: One case.
cases:
  - id: one
    clause: G-2
    level: required
    why: a reason
    dtypes: [float64, float32]
    inputs: {{{inputs}}}
    parameters: {{{parameters}}}
"""


def look(tmp_path: Path, function: str, inputs: str, parameters: str = "") -> Look:
    text = CASE.format(function=function, inputs=inputs, parameters=parameters)
    (case,) = load_file(tmp_path / "one.yaml", text.replace("    parameters: {}\n", ""))
    return Look(case)


def test_no_cell_is_empty() -> None:
    assert list(holes()) == [], "write a case, or say in tests/coverage.py why the topic does not apply"


def test_the_page_is_current() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python -m tests.coverage --write"


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_that_does_not_apply_says_why(topic: Topic) -> None:
    without = [name for name, f in FUNCTIONS.items() if not tuple(topic.needed(f))]
    assert bool(without) == bool(topic.otherwise)
    assert len(without) < len(FUNCTIONS)


def test_every_topic_has_every_function() -> None:
    assert set(table()) == {(topic.name, name) for topic in TOPICS for name in FUNCTIONS}


LABELS = "logits: [[0.5, {}], [3, {}]], labels: [{}, {}]"


@pytest.mark.parametrize(
    ("kind", "values", "found"),
    [
        (kinds.nan_counts, (".nan", 1, 0, 1), {"NaN"}),
        (kinds.nan_counts, (".nan", 1, 255, 1), set()),
        (kinds.nan_elsewhere, (".nan", 1, 255, 1), {"NaN"}),
        (kinds.nan_elsewhere, (".nan", 1, 0, 255), set()),
        (kinds.infinite, ("-.inf", ".inf", 0, 255), {"−∞"}),
        (kinds.partly, (1, 1, 0, 255), {"some"}),
        (kinds.partly, (1, 1, 0, 0), set()),
        (kinds.nothing, (1, 1, 255, 255), {"sum"}),
        (kinds.invalid, (1, 1, 255, 1), set()),
        (kinds.invalid, (1, 1, 2, 1), {"label"}),
        (kinds.wide_labels, (1, 1, 2**32, 1), {"16 bits", "32 bits"}),
        (kinds.ordinary, (1, 1, 0, 1), {"ordinary"}),
        (kinds.ordinary, (1, ".inf", 0, 1), set()),
        (kinds.significands, ("0x1.000002p+0", 1, 0, 1), {"float32"}),
        (kinds.lengths, (1, 1, 0, 1), {"2"}),
        (kinds.reduction, (1, 1, 0, 1), {"sum"}),
    ],
)
def test_kinds_of_labelled_rows(kind: Any, values: tuple[Any, ...], found: set[str], tmp_path: Path) -> None:
    seen = look(
        tmp_path, "sparse_softmax_cross_entropy", LABELS.format(*values), "ignore_index: 255, reduction: sum"
    )
    assert set(kind(seen)) == found


@pytest.mark.parametrize(
    ("kind", "ids", "found"),
    [
        (kinds.nan_counts, "[0, 1]", set()),
        (kinds.nan_counts, "[1, 0]", {"NaN"}),
        (kinds.nan_elsewhere, "[0, 1]", {"NaN"}),
        (kinds.partly, "[0, 1]", {"some"}),
        (kinds.partly, "[1, 1]", set()),
        (kinds.nothing, "[0, -1]", {"no reduction"}),
        (kinds.invalid, "[0, 2]", {"label"}),
        (kinds.invalid, "[0, 1]", {"probability"}),
        (kinds.invalid, "[0, 0]", set()),
    ],
)
def test_kinds_of_masks(kind: Any, ids: str, found: set[str], tmp_path: Path) -> None:
    inputs = (
        f"target_masks: [[[[1]], [[0]]]], target_class_ids: [{ids}], "
        "pred_masks: [[[[[0.5, .nan]]], [[[0.5, 1.5]]]]]"
    )
    assert set(kind(look(tmp_path, "mask_rcnn_mask_loss", inputs))) == found


@pytest.mark.parametrize(
    ("kind", "prediction", "found"),
    [
        (kinds.offset, "[1024, 1025]", {"offset"}),
        (kinds.offset, "[0, 1025]", set()),
        (kinds.extreme, "[0, 1025]", {"extreme"}),
        (kinds.subnormals, "[0, 0x1p-140]", {"subnormal"}),
        (kinds.subnormals, "[0, 0x1p-120]", set()),
        (kinds.nothing, "[]", {"mean"}),
        (kinds.sizes, "[]", {"empty"}),
        (kinds.sizes, "[1]", {"single"}),
        (kinds.ranks, "[[1]]", {"rank 2"}),
    ],
)
def test_kinds_of_numbers(kind: Any, prediction: str, found: set[str], tmp_path: Path) -> None:
    seen = look(tmp_path, "l2_loss", f"prediction: {prediction}, target: {prediction}")
    assert set(kind(seen)) == found


def test_pixels_count_after_resizing(tmp_path: Path) -> None:
    seen = look(
        tmp_path, "pspnet_loss", "logits: [[[[.nan, 1], [0, 1]]]], labels: [[[9, 1, 0, 9]]]", "num_classes: 2"
    )
    assert set(kinds.nan_elsewhere(seen)) == {"NaN"}
    assert seen.units == 1


def test_the_largest_logit_stands_behind_tiles(tmp_path: Path) -> None:
    seen = look(tmp_path, "softmax", "logits: {full: 0, shape: [200], set: [[[130], 2]]}")
    assert set(kinds.behind_tiles(seen)) == {"behind 32", "behind 64", "behind 128"}
