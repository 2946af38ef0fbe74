"""Whatever stands in a case file is refused with its line, or is a case that a right backend can run.

Every value of a few valid cases that have all fields between them is replaced by each of a list of bad
ones, removed, and doubled.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lossproof.case.read import load_file
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.runner import run_here
from lossproof.errors import InputError
from lossproof.isolation.load import load_adapter
from lossproof.registry.loaded import Loaded

FILES = {
    "listed": """
function: softmax
about: A row.
thorough: false
cases:
  - id: one
    clause: SM-1
    level: required
    thorough: false
    distribution: false
    why: a reason
    dtypes: [float64, float32, float16, bfloat16]
    inputs: {logits: [[0, 0.5], [1, -2]]}
    parameters: {axis: -1}
    cotangent: [[1, 0.5], [0.25, 2]]
    layout: {logits: transposed, cotangent: strided}
    wrt: [logits]
    expected:
      value: [[0.3775406687981454, 0.6224593312018546], [0.9525741268224334, 0.04742587317756678]]
      gradients: {logits: [[0.117, -0.117], [-0.079, 0.079]]}
    tolerance:
      value: {u: [[1, 2], [3, 4]], a: 0.5, eta: 8}
      gradients: {logits: {u: 1e12, a: {full: 0, shape: [2, 2]}, eta: 0}}
    vacuous: {value: a reason, gradients: {logits: another}}
    variants:
      - {name: raises, raises: true}
      - {name: other, value: [[0, 1], [0, 1]], gradients: {logits: [[0, 0], [0, 0]]}}
    choices:
      other-choice:
        dtypes: [float64]
        expected:
          value: [[0, 1], [0, 1]]
          gradients: {logits: [[0, 0], [0, 0]]}
        tolerance: {value: 1, gradients: {logits: 1}}
""",
    "described": """
function: sparse_softmax_cross_entropy
about: Rows.
cases:
  - id: one
    clause: CE-6
    level: recommended
    why: a reason
    dtypes: [float64, float32]
    inputs:
      logits:
        {random: normal, shape: [4, 3], seed: 7, scale: 2, shift: 0.5, bits: 8, diagonal: 1,
         blocks: [[[[0, 1], [0, 2]], 0.5]], set: [[[3, 2], -1]]}
      labels: {random: integers, shape: [4], seed: 3, low: 0, high: 3}
    parameters:
      {axis: -1, ignore_index: 2, label_smoothing: 0.125, reduction: none,
       weight: {cycle: [1, 0.5], shape: [3]}}
    cotangent: {full: 0.5, shape: [4]}
    layout: {weight: unaligned}
    expected:
      {value: {cycle: [1, 2], shape: [4], set: [[[0], 3]]}, gradients: {logits: {full: 0, shape: [4, 3]}}}
    tolerance: {value: {u: {cycle: [1, 2], shape: [4]}}, gradients: {logits: 1}}
  - id: two
    clause: CE-6
    level: required
    why: a reason
    dtypes: [float32]
    inputs:
      logits: {random: uniform, shape: [4, 3], seed: 7, low: -1, high: 1, bits: 8}
      labels: {random: choice, shape: [4], seed: 3, of: [0, 1, 2]}
    expected: {value: 1}
    tolerance: {value: 1}
""",
    "sketched": """
function: sigmoid
about: Many.
cases:
  - id: one
    clause: SG-1
    level: required
    why: a reason
    dtypes: [float64, float32]
    inputs: {logits: {random: choice, shape: [4, 8], seed: 7, of: [0, 0.5, 1]}}
    expected: {value: {sketch: {shape: [4, 8], seed: 1, sums: [[1, 2], [3, 4]], sample: [0.5, 0.5, 0.5]}}}
    tolerance:
      value: {sums: {u: [1, 2], a: 1, eta: 8}, sample: {u: 1, a: [0, 1, 2], eta: 0}}
""",
    "repeated": """
function: softmax
about: Rows that repeat.
cases:
  - id: one
    clause: G-24
    level: required
    why: a reason
    dtypes: [float32, float16]
    times: 5
    inputs: {logits: [[0, 0.5], [1, -2], [3, 3]]}
    parameters: {axis: -1}
    cotangent: [[1, 0.5], [0.25, 2], [0, 1]]
    wrt: [logits]
    expected:
      value: [[0.377, 0.622], [0.952, 0.047], [0.5, 0.5]]
      gradients: {logits: [[0.117, -0.117], [-0.079, 0.079], [-0.25, 0.25]]}
    tolerance: {value: {u: [[1, 2], [3, 4], [5, 6]], a: 0.5, eta: 8}, gradients: {logits: 1e12}}
""",
    "integers": """
function: pspnet_resize_labels
about: Labels.
cases:
  - id: one
    clause: PSP-1
    level: required
    why: a reason
    dtypes: [int64, int32, int16, int8, uint8]
    inputs: {labels: [[[1, 2], [3, 4]]]}
    parameters: {size: [1, 1]}
    layout: {labels: sliced}
    expected: {value: [[[1]]]}
""",
    "masks": """
function: mask_rcnn_mask_loss
about: Masks.
cases:
  - id: one
    clause: MRC-1
    level: required
    why: a reason
    dtypes: [float32]
    inputs:
      target_masks: {full: 1, shape: [1, 1, 2, 2]}
      target_class_ids: [[1]]
      pred_masks: {full: 0.5, shape: [1, 1, 2, 2, 2]}
    expected: {value: 0.693, gradients: {pred_masks: {full: -0.25, shape: [1, 1, 2, 2, 2]}}}
    tolerance: {value: 1e6, gradients: {pred_masks: 1e6}}
""",
    "one-hot": """
function: softmax_cross_entropy
about: Rows.
cases:
  - id: one
    clause: CE-5
    level: required
    why: a reason
    dtypes: [float32]
    inputs: {logits: [[0, 1, 2], [3, 4, 5]], target: {random: one_hot, shape: [2, 3], seed: 5}}
    parameters: {axis: 1, label_smoothing: 0, reduction: sum}
    cotangent: 2
    expected: {value: 2.6, gradients: {logits: [[0.5, 0.5, -1], [0.5, 0.5, -1]]}}
    tolerance: {value: 1e9, gradients: {logits: 1e9}}
""",
    "scalar": """
function: sigmoid
about: One number.
cases:
  - id: one
    clause: SG-1
    level: required
    why: a reason
    dtypes: [float64, float32, float16, bfloat16]
    inputs: {logits: 0.75}
    cotangent: 0.5
    expected: {value: 0.679, gradients: {logits: 0.1}}
    tolerance: {value: 1e12, gradients: {logits: 1e12}}
""",
}


class Raw(str):
    """Text that stands in the file as it is."""


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 0.5, -0.5, 0.1, 300, 65520, 2**31, 2**53 + 1, 2**63, -(2**63) - 1,
    2**64, float("nan"), float("inf"), float("-inf"), Raw("1e400"), Raw("-0"), Raw("0x1p-1074"),
    Raw("0x1p+1023"), Raw("0x1p99999"), Raw("1" + "0" * 389), Raw("9" * 390), Raw("0." + "1" * 390),
    Raw("1e-400"), "text", "", "0.5", "nan", "\u202e\ud7ff", "strided", "mean", "float64", "int8", "one",
    "a" * 300, [], [[]], [[], []], [0], [0.5], [[0]], [1, 2], [2, 1], [[1, 2], [3]], ["text"], [None],
    [True], [float("nan")], [float("nan"), 0], [1, float("inf")], [[[[0]]]], [0] * 40, {}, {"value": 1},
    {"u": 1}, {"u": float("nan")}, {"u": -1}, {"u": []}, {"u": Raw("9" * 390)}, {"u": float("inf")},
    {"sums": 1, "sample": 1}, {"full": 1, "shape": []}, {"full": 1, "shape": [0]},
    {"full": 1, "shape": [0, 3]}, {"full": "x", "shape": [2]}, {"full": float("nan"), "shape": [2, 2]},
    {"full": 1}, {"full": 1, "shape": [-1]}, {"full": 1, "shape": [2.5]}, {"full": 1, "shape": [2] * 17},
    {"full": 1, "shape": [0], "set": [[[0], 1]]}, {"full": 1, "shape": [2], "set": [[[0], "x"]]},
    {"full": 1, "shape": [2], "set": [[[0], float("nan")]]}, {"full": 1, "shape": [2], "set": [[[2], 1]]},
    {"full": 1, "shape": [2], "set": [[[-1], 1]]}, {"full": 1, "shape": [], "set": [[[], 1]]},
    {"full": 1, "shape": [2], "blocks": [[[[0, 3]], 1]]},
    {"full": 1, "shape": [2], "blocks": [[[[1, 1]], 1]]},
    {"full": 1, "shape": [2], "blocks": [[[[0, 2]], float("inf")]]}, {"full": 1, "shape": [2], "diagonal": 1},
    {"full": 1, "shape": [0, 0], "diagonal": 1}, {"full": 1, "shape": [2, 2], "diagonal": Raw("9" * 390)},
    {"cycle": [], "shape": [2]}, {"cycle": [1], "shape": [0]}, {"cycle": ["x"], "shape": [2]},
    {"cycle": [1, 0.5], "shape": [2]}, {"cycle": 1, "shape": [2]},
    {"random": "normal", "shape": [2], "seed": 1, "scale": float("inf")},
    {"random": "normal", "shape": [2], "seed": 1, "scale": float("nan")},
    {"random": "normal", "shape": [2], "seed": 1, "scale": Raw("0x1p1020"), "shift": Raw("-0x1p1020")},
    {"random": "normal", "shape": [2], "seed": 1, "shift": float("nan")},
    {"random": "normal", "shape": [2], "seed": 1, "bits": 0},
    {"random": "normal", "shape": [2], "seed": 1, "bits": 53},
    {"random": "normal", "shape": [2], "seed": 1.5},
    {"random": "uniform", "shape": [2], "seed": 1, "low": float("-inf")},
    {"random": "uniform", "shape": [2], "seed": 1, "low": 2, "high": 1},
    {"random": "uniform", "shape": [2], "seed": 1, "low": Raw("-0x1p1023"), "high": Raw("0x1p1023")},
    {"random": "integers", "shape": [2], "seed": 1, "high": 2**63},
    {"random": "integers", "shape": [2], "seed": 1, "low": -(2**63), "high": 2**63 - 1},
    {"random": "integers", "shape": [2], "seed": 1, "low": 5, "high": 5},
    {"random": "integers", "shape": [2], "seed": 1, "high": 2**40},
    {"random": "choice", "shape": [2], "seed": 1, "of": []},
    {"random": "choice", "shape": [2], "seed": 1, "of": [float("nan")]},
    {"random": "choice", "shape": [2], "seed": 1, "of": [0.5, "x"]},
    {"random": "one_hot", "shape": [], "seed": 1}, {"random": "one_hot", "shape": [2, 0], "seed": 1},
    {"random": "one_hot", "shape": [0, 2], "seed": 1}, {"random": "one_hot", "shape": [2], "seed": 2**64},
    {"random": "cauchy", "shape": [2], "seed": 1},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All parts of a document, from the whole down."""
    yield path
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(item, (*path, key))


def written(value: Any) -> str:
    """YAML 1.2 on one line for each part, every mapping of blocks in lines."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=10**6).strip()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if value != value:
        return ".nan"
    return {float("inf"): ".inf", float("-inf"): "-.inf"}.get(value, repr(value))


def text_of(document: Any) -> str:
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        return written(document) + "\n"
    lines = [f"{key}: {written(item)}" for key, item in document.items() if key != "cases"]
    lines.append("cases:")
    for case in document["cases"]:
        if isinstance(case, dict) and case:
            lines += [f"  {'-' if not i else ' '} {k}: {written(v)}" for i, (k, v) in enumerate(case.items())]
        else:
            lines.append(f"  - {written(case)}")
    return "\n".join(lines) + "\n"


def read(text: str) -> Any:
    """The document with numbers as numbers; those that YAML 1.1 reads as text are none of the values."""
    return yaml.safe_load(text.replace("1e12", "1.0e+12").replace("1e6", "1.0e+6").replace("1e9", "1.0e+9"))


def mutations(document: Any, share: int = 1) -> Iterator[tuple[str, Any]]:
    """One in ``share`` of the mutants."""
    number = 0
    for path in places(document):
        for value in [*VALUES, ...]:
            number += 1
            if number % share:
                continue
            mutant = copy.deepcopy(document)
            if not path:
                if value is not ...:
                    yield f"whole: {value!r}", value
                continue
            *above, last = path
            place = mutant
            for part in above:
                place = place[part]
            if value is ...:
                del place[last]
            else:
                place[last] = copy.deepcopy(value)
            yield f"{'.'.join(map(str, path))}: {'removed' if value is ... else value!r}", mutant


# Labels outside of the classes are to be refused by a backend, and only the oracle says which are.
_INVALID = re.compile("labels must be in|class ids must be below|out of bounds for axis .* with size 0")


def outcome(text: str, adapter: Loaded) -> str | None:
    """What is wrong with how a text is read and run; None where nothing is."""
    try:
        cases = load_file(Path("topic.yaml"), text)
    except InputError as error:
        return None if re.match(r"topic\.yaml:[1-9][0-9]*: \S", str(error)) else f"no line: {error}"
    except Exception as error:
        return f"the loader raises {type(error).__name__}: {error}"
    for case in cases:
        case = replace(case, times=min(case.times, 9))  # what more there may be is a matter of memory
        for dtype in case.dtypes:
            if case.expected is None:
                continue
            try:
                rows = [row for rows in run_here(adapter, [(case, dtype)]) for row in rows]
            except Exception as error:
                return f"the run raises {type(error).__name__}: {error}"
            for row in rows:
                about = re.match("shape|dtype|to_numpy", row.message)
                if _INVALID.search(row.message):
                    continue
                if row.verdict in FAILURES - {Verdict.FAIL} or about:
                    return f"blamed on the backend: {row.output} {row.verdict}: {row.message}"
    return None


# One in so many mutants of each file is tried: every place with a part of the values, the places of one
# kind with all of them between them. ``python -m tests.test_bad_cases`` tries every one.
SHARE = 61


@pytest.mark.parametrize("name", FILES)
def test_bad_values_are_refused_or_run(name: str) -> None:
    adapter = load_adapter("numpy")
    assert outcome(FILES[name], adapter) is None
    mutants = mutations(read(FILES[name]), SHARE)
    found = {what: outcome(text_of(mutant), adapter) for what, mutant in mutants}
    assert len(found) > 40
    assert not {what: wrong for what, wrong in found.items() if wrong}


# What has to be refused, not only survived: where, what stands there instead, and what is said of it.
REFUSED = [
    ("listed", "thorough: false\n    distribution", "thorough: 1\n    distribution", "thorough"),
    ("listed", "distribution: false", "distribution: 1", "distribution"),
    ("listed", "      value: {u: [[1, 2], [3, 4]], a: 0.5, eta: 8}\n", "", "no tolerance is given for value"),
    ("listed", "{u: [[1, 2], [3, 4]]", "{u: " + "9" * 390, "u must be a number"),
    ("listed", "a: 0.5, eta", "a: .inf, eta", "finite numbers from 0 up"),
    ("listed", "a: 0.5, eta", "a: .nan, eta", "finite numbers from 0 up"),
    ("listed", "a: 0.5, eta", "a: -1, eta", "finite numbers from 0 up"),
    ("listed", "eta: 8", "eta: -1", "eta"),
    ("listed", "[[1, 0.5], [0.25, 2]]", "[1, 0.5]", "cotangent has shape (2,)"),
    ("listed", "[[1, 0.5], [0.25, 2]]", "[[1, 0.5], [0.25, 65537]]", "not exactly representable in float16"),
    ("listed", "[[0, 0.5], [1, -2]]", "[[0, 0.5], [1, 65520]]", "not exactly representable in float16"),
    ("listed", "value: [[0, 1], [0, 1]], gradients", "value: [0, 1], gradients", "is given in shape (2,)"),
    ("listed", "{logits: [[0.117, -0.117], [-0.079, 0.079]]}", "{logits: 1}", "in shape ()"),
    ("described", "scale: 2", "scale: .inf", "must be finite"),
    ("described", "shift: 0.5", "shift: .nan", "must be finite"),
    ("described", "scale: 2", "scale: 0x1p127", "too large or have too many bits for float32"),
    ("described", "bits: 8, diagonal", "bits: 25, diagonal", "too large or have too many bits for float32"),
    ("described", "low: -1, high: 1", "low: 1, high: -1", "must not be below low"),
    ("described", "low: 0, high: 3", "low: 3, high: 3", "must be above low"),
    ("described", "low: 0, high: 3", "low: 0, high: 4294967297", "by 2**32 at most"),
    ("described", "[[[3, 2], -1]]", "[[[3, 2], x]]", "set"),
    ("described", "[[[3, 2], -1]]", "[[[.nan, 2], -1]]", "set"),
    ("described", "[[[3, 2], -1]]", "[[[4, 2], -1]]", "set"),
    ("described", "[[[[0, 1], [0, 2]], 0.5]]", "[[[[0, 5], [0, 2]], 0.5]]", "blocks"),
    ("described", "weight: {cycle: [1, 0.5], shape: [3]}", "weight: [1, 2]", "weight has shape (2,)"),
    ("described", "{cycle: [1, 0.5], shape: [3]}", "{cycle: [], shape: [3]}", "cycle"),
    ("described", "of: [0, 1, 2]", "of: [0.5]", "integers"),
    ("integers", "[[[1, 2], [3, 4]]]", "[[[1, 2], [3, 300]]]", "300 in labels is not exactly"),
    ("integers", "[[[1, 2], [3, 4]]]", "[[[1, 2], [3, 9223372036854775808]]]", "integers of 64 bits"),
    ("integers", "[[[1, 2], [3, 4]]]", "[[[1, 2], [3, 0.5]]]", "integers of 64 bits"),
    ("integers", "{value: [[[1]]]}", "{value: [[1]]}", "is given in shape (1, 1)"),
    ("one-hot", "shape: [2, 3], seed: 5", "shape: [2, 0], seed: 5", "number of classes"),
    ("sketched", "sketch: {shape: [4, 8]", "sketch: {shape: [8, 4]", "is given in shape (8, 4)"),
    ("scalar", "cotangent: 0.5", "layout: {logits: strided}", "takes an array of 1 axes at least"),
    ("scalar", "cotangent: 0.5", "layout: {logits: transposed}", "takes an array of 2 axes at least"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "message"), REFUSED)
def test_what_is_no_case_is_refused_with_its_line(name: str, old: str, new: str, message: str) -> None:
    assert FILES[name].count(old) == 1
    with pytest.raises(InputError) as error:
        load_file(Path("topic.yaml"), FILES[name].replace(old, new))
    assert re.match(r"topic\.yaml:[1-9][0-9]*: ", str(error.value))
    assert message in str(error.value)


if __name__ == "__main__":
    numpy = load_adapter("numpy")
    for each, contents in FILES.items():
        tried = {what: outcome(text_of(mutant), numpy) for what, mutant in mutations(read(contents))}
        print(each, len(tried), {what: wrong for what, wrong in tried.items() if wrong})
