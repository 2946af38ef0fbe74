"""Generated case files are what their families make."""

from __future__ import annotations

import pytest

from lossproof.case.read import load_file
from lossproof.core.functions import FUNCTIONS
from tests.families import Topic, every_topic
from tests.families._cover import uncovered
from tests.families._narrow import BITS, float_arguments, narrowing_caught
from tests.families._page import is_made, page
from tests.families._topic import CASES
from tests.families.pairs import TABLES

TOPICS = list(every_topic())
CASE = {
    "id": "one", "clause": "SG-1", "level": "required", "why": "at 1: base 2, not e", "dtypes": ["float64"],
    "inputs": {"logits": [0.1, 2.0**-149]},
}  # fmt: skip


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: f"{topic.function}/{topic.name}")
def test_a_file_is_what_its_family_makes(topic: Topic) -> None:
    text = topic.path.read_text(encoding="utf-8")
    assert page(topic, text) == text, "python -m tests.families --write"


def test_every_file_that_says_so_is_made_by_a_family() -> None:
    made = {path for path in CASES.rglob("*.yaml") if is_made(path.read_text(encoding="utf-8"))}
    assert made == {topic.path for topic in TOPICS}


def test_numbers_are_exact_and_sentences_read_back() -> None:
    topic = Topic("sigmoid", "example", "An example.", [CASE])
    (case,) = load_file(topic.path, page(topic))
    assert case.inputs["logits"].tolist() == CASE["inputs"]["logits"]  # type: ignore[index]
    assert case.why == CASE["why"]


def test_a_case_keeps_what_the_oracle_wrote_until_its_human_part_changes() -> None:
    topic = Topic("sigmoid", "example", "An example.", [CASE, CASE | {"id": "two"}])
    stored = page(topic).replace(
        "\n\n", "\n    expected:\n      value: [0.5,\n        0.5]\n    tolerance: {value: 4}\n\n"
    )
    assert stored.count("expected") == 1
    assert page(topic, stored) == stored
    changed = Topic("sigmoid", "example", "An example.", [CASE | {"why": "another"}, CASE | {"id": "two"}])
    assert page(changed, stored) == page(changed)
    reordered = Topic("sigmoid", "example", "An example.", [CASE | {"id": "two"}, CASE])
    assert page(reordered, stored).count("expected") == 1


def test_mistakes_in_a_family_are_named() -> None:
    with pytest.raises(ValueError, match="sigmoid/example/one has the field 'expect'"):
        Topic("sigmoid", "example", "An example.", [CASE | {"expect": 1}])
    with pytest.raises(ValueError, match="sigmoid/example/one is there twice"):
        Topic("sigmoid", "example", "An example.", [CASE, CASE])


# Rounding alone may cost such an output more than narrowing does (8 units of roundoff where float16 becomes
# bfloat16, 16 where bfloat16 becomes an 8-bit float), so that no required case can tell.
UNSEEN = {
    ("binary_cross_entropy", "cotangent", "float16"),
    ("binary_cross_entropy", "weight", "float16"),
    ("euclidean_distance", "cotangent", "float16"),
    ("log_sigmoid", "cotangent", "float16"),
    ("mask_rcnn_mask_loss", "cotangent", "float16"),
    ("mask_rcnn_mask_loss_with_logits", "cotangent", "float16"),
    ("mask_rcnn_mask_loss_with_logits", "target_masks", "float16"),
    ("sigmoid", "cotangent", "bfloat16"),
    ("sigmoid", "cotangent", "float16"),
    ("sigmoid_cross_entropy", "cotangent", "float16"),
    ("sigmoid_cross_entropy", "target", "float16"),
    ("softmax", "cotangent", "bfloat16"),
    ("softmax", "cotangent", "float16"),
}


@pytest.mark.parametrize("function", [name for name, f in FUNCTIONS.items() if f.has_float_arrays])
def test_narrowing_any_one_array_fails_a_required_case(function: str) -> None:
    unseen = {
        (function, argument, dtype)
        for argument in float_arguments(FUNCTIONS[function])
        for dtype in BITS
        if narrowing_caught(function, argument, dtype) is None
    }
    assert unseen == {entry for entry in UNSEEN if entry[0] == function}


@pytest.mark.parametrize("function", TABLES)
def test_every_pair_and_the_named_triples_are_in_the_file(function: str) -> None:
    table = TABLES[function]
    words = {tuple(row.values()): row for row in table.rows()}
    ids = {case.id.rsplit("/", 1)[1] for case in load_file(CASES / function / "pairs-thorough.yaml")}
    there = [row for values, row in words.items() if "-".join(values) in ids]
    assert uncovered(there, table.options, table.allowed, table.triples) == []
    assert all(table.allowed(row) for row in there)


def test_a_cover_that_lacks_a_row_is_not_full() -> None:
    table = TABLES["sparse_softmax_cross_entropy"]
    # The last row was added for something that no other has.
    assert uncovered(table.rows()[:-1], table.options, table.allowed, table.triples)


def test_functions_with_several_parameters_have_pairs() -> None:
    several = {f.name for f in FUNCTIONS.values() if sum(p.name != "num_classes" for p in f.parameters) > 1}
    assert several <= TABLES.keys()
