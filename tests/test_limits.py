"""What a small file may ask for: more elements than fit are refused before they are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossproof.case.expected import Sketch
from lossproof.case.form import MAX_ELEMENTS
from lossproof.case.inputs import materialize
from lossproof.case.random import generate
from lossproof.case.read import load_file
from lossproof.case.select import select_cases
from lossproof.cli.main import main
from lossproof.errors import InputError
from tests.memory import peak_of

HEAD = """
function: {function}
about: x
cases:
  - id: large
    clause: {clause}
    level: required
    why: x
    dtypes: [{dtype}]
"""

# Function, clause, and the rest of a case that asks for too much.
TOO_MUCH = {
    "full": ("sigmoid", "SG-1", "inputs: {logits: {full: 0, shape: [4097, 4096]}}"),
    "one axis": ("sigmoid", "SG-1", "inputs: {logits: {full: 0, shape: [67108864]}}"),
    "cycle": ("sigmoid", "SG-1", "inputs: {logits: {cycle: [0, 1], shape: [8192, 4096]}}"),
    "blocks": (
        "sigmoid", "SG-1",
        "inputs: {logits: {full: 0, shape: [8192, 4096], blocks: [[[[0, 9], [0, 9]], 1]]}}",
    ),
    "random": ("sigmoid", "SG-1", "inputs: {logits: {random: normal, seed: 1, shape: [8192, 8192]}}"),
    "one hot": ("sigmoid", "SG-1", "inputs: {logits: {random: one_hot, seed: 1, shape: [8192, 8192]}}"),
    "broadcast": (
        "sigmoid", "SG-1",
        "inputs: {logits: {full: 0, shape: [8192, 4096]}}\n    layout: {logits: broadcast}",
    ),
    "two inputs that would fit alone": (
        "l2_loss", "L2-1",
        "inputs: {prediction: {full: 0, shape: [2048, 4096]}, target: {full: 0, shape: [2048, 4096]}}",
    ),
    "gradients": (
        "l2_loss", "L2-1",
        "inputs: {prediction: {full: 0, shape: [1024, 4097]}, target: {full: 0, shape: [1024, 4097]}}\n"
        "    parameters: {reduction: mean}",
    ),
    "a parameter": (
        "binary_cross_entropy", "BCE-1",
        "inputs: {probabilities: 0, target: 0}\n    parameters: {weight: {full: 1, shape: [8192, 4096]}}",
    ),
    "a cotangent": (
        "sigmoid", "SG-1",
        "inputs: {logits: {full: 0, shape: [1025, 4096]}}\n    cotangent: {full: 1, shape: [1025, 4096]}",
    ),
    "a resize": (
        "pspnet_resize_labels", "PSP-1",
        "inputs: {labels: [[[1]]]}\n    parameters: {size: [8192, 4096]}",
    ),
    "a resize to a side": (
        "pspnet_resize_labels", "PSP-1",
        "inputs: {labels: [[[1]]]}\n    parameters: {size: [1099511627776, 1]}",
    ),
    "an expectation": (
        "sigmoid", "SG-1", "inputs: {logits: 0}\n    expected: {value: {full: 0.5, shape: [8192, 4096]}}",
    ),
    "expectations that would fit alone": (
        "sigmoid", "SG-1",
        "inputs: {logits: 0}\n    expected: {value: {cycle: [0, 1], shape: [4096, 4096]}, "
        "gradients: {logits: {full: 1, shape: [2]}}}",
    ),
    "a sketch": (
        "sigmoid", "SG-1",
        "inputs: {logits: 0}\n    expected: {value: {sketch: "
        "{shape: [8192, 8192], seed: 1, sums: [[0]], sample: [0]}}}",
    ),
    "a coefficient": (
        "sigmoid", "SG-1",
        "inputs: {logits: 0}\n    expected: {value: 0.5}\n"
        "    tolerance: {value: {u: {full: 1, shape: [8192, 4096]}}}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_would_not_fit_is_refused_before_it_is_there(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function, clause, rest = TOO_MUCH[name]
    dtype = "int32" if function == "pspnet_resize_labels" else "float32"
    path = tmp_path / "topic.yaml"
    path.write_text(
        HEAD.format(function=function, clause=clause, dtype=dtype) + f"    {rest}\n", encoding="utf-8"
    )

    def refused() -> None:
        with pytest.raises(InputError) as caught:
            load_file(path)
        said = str(caught.value)
        assert said.startswith(f"{path}:") and "\n" not in said
        assert any(f"{MAX_ELEMENTS:{form}}" in said for form in ("d", ",d"))

    # Of several expectations the first are there when one is too many.
    assert peak_of(refused) < (2**23 if name != "expectations that would fit alone" else 24 * MAX_ELEMENTS)
    assert main(["run", "-a", "numpy", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_descriptions_take_the_memory_of_what_they_describe() -> None:
    shape = [2**20]
    for spec in (
        {"random": "normal", "seed": 1, "shape": shape},
        {"random": "uniform", "seed": 1, "shape": shape},
        {"random": "integers", "seed": 1, "shape": shape, "high": 9},
        {"random": "choice", "seed": 1, "shape": shape, "of": [1, 2]},
    ):
        assert peak_of(lambda spec=spec: generate(spec)) < 2 * 8 * 2**20  # type: ignore[misc]
    assert peak_of(lambda: materialize({"full": 1, "shape": shape}, False)) < 2 * 8 * 2**20


def test_a_sketch_takes_no_copies_of_a_tensor() -> None:
    tensor = np.ones(2**20, dtype=np.float32)
    sketch = Sketch((2**20,), 1, np.zeros((4, 32)), np.zeros(32))
    assert peak_of(lambda: sketch.of(tensor)) < 8 * 2**20


def test_the_cases_of_a_file_keep_no_arrays(tmp_path: Path) -> None:
    """Many large cases in one file take the memory of one."""
    head = HEAD.format(function="sigmoid", clause="SG-1", dtype="float32").split("  - id")
    case = "  - id" + head[1].replace("large", "large-{}")
    case += "    inputs: {{logits: {{random: normal, seed: {}, shape: [131072]}}}}\n    wrt: []\n"
    path = tmp_path / "topic.yaml"
    path.write_text(head[0] + "".join(case.format(n, n) for n in range(20)), encoding="utf-8")
    chosen = select_cases([str(path)], [])

    def build() -> None:
        for one in chosen:
            assert one.exact_arrays["logits"].size == 131072

    assert peak_of(build) < 10 * 8 * 131072
