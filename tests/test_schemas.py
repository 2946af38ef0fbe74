"""The JSON Schemas in spec/ are current, and say what the readers do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from lossproof.core.misfit import Misfit  # noqa: E402
from lossproof.core.resources import folder  # noqa: E402
from lossproof.core.validate import fit  # noqa: E402
from tests.schemas import FORMS, page, path  # noqa: E402
from tests.test_untrusted import ANSWER, RESULT, RUN, START, TIMINGS  # noqa: E402

ROOT = Path(__file__).parent.parent
CASE = {
    "function": "softmax",
    "about": "a",
    "cases": [
        {
            "id": "a", "clause": "SM-1", "level": "required", "why": "w", "dtypes": ["float32"],
            "inputs": {"logits": {"random": "normal", "shape": [2], "seed": 1, "set": [[[0], 1.5]]}},
            "parameters": {"axis": 0}, "layout": {"logits": "strided"}, "wrt": ["logits"],
            "expected": {
                "value": {"sketch": {"shape": [2], "seed": 1, "sums": [[0.5]], "sample": [0.5]}},
                "gradients": {"logits": {"full": 0.5, "shape": [2]}},
            },
            "tolerance": {
                "value": {"sums": 1.5, "sample": {"u": 1.5, "a": [0.5]}},
                "gradients": {"logits": {"u": [1.5, 0], "a": 0.5, "eta": 2.5}},
            },
            "vacuous": {"gradients": {"logits": "w"}},
            "variants": [{"name": "r", "raises": True}],
        }
    ],
}  # fmt: skip
DEVIATION = {
    **dict.fromkeys(("id", "clause", "condition", "observed", "expected", "versions", "upstream"), "x"),
    "adapters": ["a"], "sporadic": False, "where": [{"cases": ["c"], "dtypes": ["float32"]}],
}  # fmt: skip
SPAN = {"first": {"bits": "0x0", "number": "0"}, "last": {"bits": "0x0", "number": "0"}, "count": 1}
SWEEPS = {
    "schema": 1,
    "environment": {},
    "sweeps": [
        {
            "adapter": {"name": "a", "backend": "a", "version": "1", "device": "cpu"},
            **dict.fromkeys(("subject", "function", "about"), "x"), "dtype": "float32",
            "method": "every input",
            "outputs": [
                {
                    "output": "value", "inputs": 2, "measured": 2, "histogram": [1, 1],
                    "binades": [[0, 2, -1, 1, 0.5]], "exceeded": [SPAN], "not_monotone": {"count": 1},
                    "worst": {
                        "error_ulp": 0.5, "inputs": [SPAN["first"]], "actual": "1", "expected": "1",
                    },
                }
            ],
        }
    ],
}  # fmt: skip
# What is looked into when its form is known to be right: numbers in lists.
LEAVES = ("sums", "sample", "u", "a", "eta", "data", "cotangent")
_TENSOR = {"shape": [2], "dtype": "float32", "data": ["0x1p+0", "nan"]}
_WHOLE = {"expected": _TENSOR, "bound": {"shape": [2], "dtype": "float64", "full": "0x0p+0"}}
_KEPT = {"shape": [2], "dtype": "int64", "tensor": "t0"}
_SKETCH = dict.fromkeys(("sums", "sums_bound", "places", "sample", "sample_bound"), _KEPT)
VECTORS: dict[str, Any] = {
    "schema": 1, "suite": "1.0", "digest": "0" * 32, "function": "softmax", "dtype": "float32",
    "constants": {"float32": {"smallest_normal": "0x1p-126", "overflow_threshold": "inf"}}, "tensors": "f",
    "cases": [
        {
            "id": "a/b/c", "clause": "A-1", "level": "required", "why": "w", "thorough": False,
            "needs": ["axis"], "inputs": {"logits": _TENSOR}, "cotangent": None, "layout": {"x": "strided"},
            "tangents": {"logits": _TENSOR}, "times": 1,
            "parameters": {"axis": {"integer": "-1"}, "reduction": {"reduction": "mean"}, "weight": None},
            "outputs": {"value": _WHOLE, "gradients.x": {"sketch": {"shape": [2], "seed": "7", **_SKETCH}}},
            "variants": [{"name": "raises", "raises": True}, {"name": "v", "outputs": {"value": _WHOLE}}],
            "choices": [{"name": "c", "outputs": {"value": [_WHOLE]}, "dtypes": {"value": "float32"}}],
        }
    ],
}  # fmt: skip
INDEX = {
    "schema": 1, "suite": "1.0+changed", "digest": "0" * 32, "cases": "quick",
    "functions": {
        "a": {"arrays": [{"name": "x", "integer": False}], "parameters": ["axis"], "gradients": ["x"]}
    },
    "vectors": [{"function": "a", "dtype": "int8", "file": "f", "tensors": None, "cases": 1}],
}  # fmt: skip
EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("case", CASE),
    ("deviations", {"deviations": [DEVIATION]}),
    ("results", RESULT),
    ("sweeps", SWEEPS),
    ("timings", TIMINGS),
    ("vectors", VECTORS),
    ("vectors-index", INDEX),
    ("protocol", START | {"deviations": [{**DEVIATION, "path": "p", "line": 1}]}),
    ("protocol", ANSWER),
    ("protocol", RUN),
    ("protocol", {"protocol": 1, "name": "x", "skipped": "y"}),
]


# How far two runs agree is no file of timings.
TIMING_FILES = [p for p in sorted((ROOT / "benchmarks" / "results").glob("*.json")) if p.stem != "agreement"]


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(page(name)))


@pytest.mark.parametrize("name", FORMS)
def test_the_schemas_are_current(name: str) -> None:
    assert path(name).read_text(encoding="utf-8") == page(name), "python -m tests.schemas --write"


def test_there_is_no_schema_that_is_not_made() -> None:
    assert {file.name for file in folder("spec").glob("*.json")} == {path(name).name for name in FORMS}


@pytest.mark.parametrize("name", FORMS)
def test_the_schemas_are_schemas(name: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    loaded = json.loads(page(name), parse_constant=refuse)
    jsonschema.Draft202012Validator.check_schema(loaded)


@pytest.mark.parametrize("file", sorted(folder("adapters").rglob("*.deviations.yaml")), ids=lambda p: p.name)
def test_deviations_files_follow_the_schema(file: Path) -> None:
    validator("deviations").validate(yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", TIMING_FILES, ids=lambda p: p.name)
def test_committed_timings_follow_the_schema(file: Path) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))
    document["benchmarks"] = document["benchmarks"][::25]
    validator("timings").validate(document)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_reader_and_schema_take_the_same(name: str, example: dict[str, Any]) -> None:
    """Any value in the place of any other, and any field more, is refused by both or by neither."""
    check, form = validator(name), FORMS[name][0]
    leaves = st.sampled_from(
        # Whole floats are integers to a schema alone, and a number as text is one to a YAML schema alone.
        [
            None,
            True,
            -1,
            0,
            1,
            0.5,
            2**63,
            "",
            "x",
            "mean",
            "float32",
            "int8",
            "value",
            "a/b/c",
            "exact",
            "any",
        ]
    )
    anything = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    )
    seen = {"taken": 0, "refused": 0}

    @settings(max_examples=120, deadline=None, database=None, derandomize=True)
    @given(st.data())
    def search(data: st.DataObject) -> None:
        document = json.loads(json.dumps(example))
        place: Any = document
        while True:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.integers(0, 5)):
                place = place[key]
                continue
            if isinstance(place, dict) and not data.draw(st.integers(0, 5)):
                key = "surplus"
            place[key] = data.draw(anything)
            break
        try:
            fit(document, form)
            taken = True
        except Misfit:
            taken = False
        lax = isinstance(place, list) or key in (*LEAVES, "logits", "value")
        assert check.is_valid(document) == taken or (taken and lax), document
        seen["taken" if taken else "refused"] += 1

    search()
    assert seen["taken"] and seen["refused"]
    assert check.is_valid(example)
