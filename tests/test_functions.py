"""One row, one definition, one method, one page: what a function needs, and what follows from its row."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossproof import Adapter, completeness
from lossproof.adapter import ALL_DTYPES
from lossproof.bench.workload import Workload
from lossproof.case import form as forms
from lossproof.case.arrays import numpy_parameters
from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.completeness import missing
from lossproof.core import clauses as clause_pages
from lossproof.core.clauses import clauses
from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.core.functions import FUNCTIONS, Array, Function, Parameter, Values
from lossproof.core.install import install
from lossproof.core.resources import folder
from lossproof.core.shapes import lengths_of, names, resolve, result_shape
from lossproof.core.verdicts import Verdict
from lossproof.engine.judge import run_case
from lossproof.errors import LossproofError
from lossproof.fuzz.search import Search
from lossproof.oracle.balls import arb
from lossproof.oracle.bounds import Bound
from lossproof.oracle.certify import expect
from lossproof.oracle.definition import REGISTER, Arguments, Inputs, Outputs, define
from lossproof.oracle.definitions import definition, definitions
from lossproof.oracle.reading import SILENT, Arrays, Parameters, Reading
from lossproof.oracle.result import Output
from lossproof.registry.deviations import Deviations
from lossproof.registry.find import BUILTIN
from lossproof.registry.loaded import AdapterInfo, Loaded
from lossproof.registry.skeleton import skeleton
from lossproof.site import calls
from tests.functions import COLUMNS, PAGE, renewed, row
from tests.own_cases import every_case

ROOT = PAGE.parent.parent
CASES = every_case()

MADE_UP = Function(
    "made_up",
    clause="MU-1",
    arrays=(
        Array("prediction", "... C", Values.NUMBERS),
        Array("labels", "-axis prediction", Values.LABELS),
    ),
    parameters=(Parameter("axis", "integer", -1),),
    result="-axis prediction",
    operations=(1, 0),
)


# -- what is missing --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_nothing_is_missing(function: Function) -> None:
    assert missing(function) == []


def test_a_row_alone_lacks_everything_else() -> None:
    assert missing(MADE_UP) == [
        "spec/: no page has the clause MU-1, which is to define made_up",
        "src/lossproof/oracle/definitions/: no module defines made_up",
        "adapters/numpy.py: numpy has no method made_up",
        "adapters/torch.py: torch has no method made_up",
        "adapters/torch.py: torch-compile has no method made_up",
        "adapters/torch.py: torch-cuda has no method made_up",
        "adapters/torch.py: torch-mps has no method made_up",
        "adapters/torch.py: torch-xpu has no method made_up",
        "adapters/tensorflow.py: tensorflow has no method made_up",
        "adapters/tensorflow.py: tensorflow-xla has no method made_up",
        "adapters/tensorflow.py: tensorflow-gpu has no method made_up",
        "adapters/keras.py: keras has no method made_up",
        "adapters/jax.py: jax has no method made_up",
        "adapters/jax.py: jax-gpu has no method made_up",
        "adapters/jax.py: jax-tpu has no method made_up",
        "cases/made_up/: no cases",
    ]


def test_a_page_that_does_not_name_the_function_is_not_its_page() -> None:
    found = missing(replace(MADE_UP, clause="SM-1"))
    assert found[0] == "spec/softmax.md: has the clause SM-1, but does not name `made_up`"


def test_an_adapter_of_losses_only_lacks_something() -> None:
    for name in completeness.LOSSES_ONLY:
        assert any(calls.call_of(name, function) is None for function in FUNCTIONS), name


def test_a_missing_definition_is_said() -> None:
    with pytest.raises(LossproofError, match="the oracle has no definition of 'made_up'"):
        definition("made_up")


def test_every_definition_has_a_row() -> None:
    assert set(definitions()) == set(FUNCTIONS)


def test_what_is_missing_is_known_without_flint(tmp_path: Path) -> None:
    script = tmp_path / "without.py"
    script.write_text(
        "import sys\nsys.modules['flint'] = None\n"
        "from lossproof.cli.main import main\n"
        "from lossproof.completeness import missing\nfrom lossproof.core.functions import FUNCTIONS\n"
        "print([line for function in FUNCTIONS.values() for line in missing(function)])\n"
        "raise SystemExit(main(['certify', 'sigmoid']))\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n"
    assert done.returncode == 2
    assert done.stderr == f"lossproof: the oracle needs python-flint: {install('certify')}\n"


# -- a function that is written: a row, a definition, a method, a page ------------------------------


def _read_made_up(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    labels, classes = arrays["labels"], arrays["prediction"].shape[parameters["axis"]]
    return SILENT if ((labels < 0) | (labels >= classes)).any() else Reading("MU-1")


def _made_up(arrays: Inputs, arguments: Arguments) -> Outputs:
    """Each row's element at its label, doubled."""
    picked = _picked(arrays["prediction"], arrays["labels"], arguments["axis"])
    exact = [2 * arb(x) if np.isfinite(x) else x for x in picked.ravel().tolist()]
    return {"value": Output(picked.shape, exact, Bound(0.0, h=0.0))}


def _picked(x: Any, labels: Any, axis: int) -> Any:
    return np.take_along_axis(x, np.expand_dims(labels, axis), axis).squeeze(axis)


class MadeUp(Adapter):
    name = "made-up"

    def made_up(self, prediction: Any, labels: Any, *, axis: int) -> Any:
        picked = _picked(prediction, labels, axis)
        return (picked + picked).astype(prediction.dtype)


class Wrong(MadeUp):
    def made_up(self, prediction: Any, labels: Any, *, axis: int) -> Any:
        return super().made_up(prediction, np.minimum(labels, 1), axis=axis)


def loaded(adapter: Adapter) -> Loaded:
    return Loaded(AdapterInfo(adapter.name, "", "", ""), adapter, Deviations([], adapter.name, "", ""))


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The suite with a row, a definition, a method and a page for ``made_up``; gives its folders' root."""
    folders = {name: tmp_path / name for name in ("spec", "adapters", "cases")}
    for name in ("spec", "adapters"):
        shutil.copytree(folder(name), folders[name])
    (folders["cases"] / "made_up").mkdir(parents=True)
    (folders["spec"] / "made-up.md").write_text(
        "# Made up\n\n`made_up` takes predictions.\n\n**MU-1.** Twice the element of the label.\n", "utf-8"
    )
    (folders["adapters"] / "more.py").write_text(
        "class MadeUp(Adapter):\n    name = 'numpy'\n    def made_up(self, *arrays, axis): ...\n", "utf-8"
    )
    (folders["adapters"] / "numpy.py").unlink()
    monkeypatch.setitem(FUNCTIONS, "made_up", MADE_UP)
    # The form of case files lists the functions that there are when its module is loaded.
    importlib.reload(forms)
    definitions()
    monkeypatch.setitem(REGISTER, "made_up", REGISTER["sigmoid"])
    define("made_up", _read_made_up)(_made_up)
    monkeypatch.setattr(completeness, "BUILTIN", {"numpy": BUILTIN["numpy"]})
    for module in (clause_pages, calls, completeness):
        monkeypatch.setattr(module, "folder", lambda name: folders.get(name) or folder(name))
    for cache in (clause_pages.clauses, calls._classes):
        cache.cache_clear()
    yield tmp_path
    for cache in (clause_pages.clauses, calls._classes):
        cache.cache_clear()
    monkeypatch.undo()
    importlib.reload(forms)


CASE = """
function: made_up
about: Twice the element of the label.
cases:
  - id: two-rows
    clause: MU-1
    level: required
    why: the second class instead of the label gives 4 in the first row
    dtypes: [float64, float16]
    inputs: {prediction: [[1, 2, 4], [0.5, 3, 5]], labels: [2, 0]}
"""


def test_a_row_a_definition_a_method_and_a_page_are_enough(written: Path) -> None:
    assert missing(MADE_UP) == ["cases/made_up/: no cases"]
    path = written / "cases" / "made_up" / "ordinary.yaml"
    path.write_text(CASE, encoding="utf-8")
    assert missing(MADE_UP) == []
    (case,) = load_file(path)
    due = expect(case)
    assert np.array_equal(np.asarray(due.outputs["value"]), [8.0, 1.0])
    case = replace(case, expected=due.outputs, tolerances=due.tolerances)
    for adapter, verdict in ((MadeUp(), Verdict.PASS), (Wrong(), Verdict.FAIL)):
        for dtype in case.dtypes:
            found = run_case(adapter, adapter.name, case, dtype, Deviations([], "", "", ""))
            (record,) = (one for one in found if not one.is_law)
            assert record.verdict is verdict
    assert Workload(case, "float16", False).flops == 6
    assert Workload(case, "float16", False).bytes == 6 * 2 + 2 * 8 + 2 * 2
    assert "def made_up(self, prediction: Any, labels: Any, *, axis: Any)" in skeleton("x", "x.py")
    assert row(MADE_UP)[1] == "prediction (…, C); labels (as prediction without axis), integers"


def test_the_search_draws_by_the_row(written: Path) -> None:
    search = Search(loaded(MadeUp()), ["made_up"], ALL_DTYPES, recommended=True)
    for _ in range(10):  # three seconds are little on a busy machine
        assert not list(search.run(3))
        if search.statistics.cases:
            break
    assert search.statistics.cases
    finding = next(Search(loaded(Wrong()), ["made_up"], ALL_DTYPES).run(60))
    assert finding.signature.clause == "MU-1" and finding.case.exact_arrays["labels"].max() > 1


# -- what follows from the rows ---------------------------------------------------------------------


def test_the_page_of_adapters_has_the_rows_cell_by_cell() -> None:
    text = PAGE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == list(COLUMNS)
    written = {found[0]: found for found in cells[2:]}
    for function in FUNCTIONS.values():
        found = dict(zip(COLUMNS, written.pop(f"`{function.name}`"), strict=True))
        assert found == dict(zip(COLUMNS, row(function), strict=True)), "python -m tests.functions --write"
    assert not written
    assert renewed(text) == text


def test_the_readme_links_the_page_of_every_function() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for function in FUNCTIONS.values():
        assert f"(spec/{clauses()[function.clause].page})" in readme, function.name


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_the_rows_shapes_are_those_of_the_cases(function: Function) -> None:
    for case in (case for case in CASES if case.function is function):
        shapes = {name: case.shape_of(name) for name in case.inputs}
        assert case.expected is not None
        assert case.expected["value"].shape == result_shape(function, shapes, case.parameters), case.id
        lengths = lengths_of(function, shapes, case.parameters) | {"K": 1}
        for array in function.arrays:
            assert set(names(array.used)) <= set(lengths), array.name
        for parameter in function.parameters:
            value = case.parameters[parameter.name]
            if parameter.kind == "array" and value is not None:
                shape = resolve(parameter.shape, shapes, lengths, case.parameters.get("axis"))
                assert np.broadcast_shapes(np.shape(value), shape) == shape, case.id


def readings() -> Iterator[tuple[Case, str, Reading]]:
    for case in CASES:
        for dtype in case.dtypes:
            parameters = {
                name: value.astype(np.float64) if isinstance(value, np.ndarray) else value
                for name, value in numpy_parameters(case, dtype).items()
            }
            yield case, dtype, definition(case.function.name).read(case.exact_arrays, parameters, dtype)


def test_definitions_read_the_cases_as_the_cases_say() -> None:
    """A definition may be silent, or see a reason for leniency; it permits what the case permits."""
    for case, dtype, reading in readings():
        if not reading.defined:
            continue
        label = f"{case.id} {dtype}: {reading}"
        assert reading.raises == any(variant.raises for variant in case.variants), label
        if case.level == "required":
            assert reading.level == "required" or reading.clause in ("G-8", "ED-3"), label
        elif reading.level == "required":
            # The range that the case is about is another dtype's, a short cycle ends before its infinity, or
            # what is recommended is of all errors together.
            short = case.id.split("/")[1] == "lanes-thorough"
            assert case.clause in ("ED-3", "G-8") or short or case.distribution, label


SMALLEST = {name: float_type.smallest_subnormal for name, float_type in FLOAT_TYPES.items()}
PLAIN = {"reduction": "mean"}
SUBNORMAL: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        "sparse_softmax_cross_entropy",
        {"logits": [[0.0, "tiny"]], "labels": [-1]},
        {"axis": -1, "weight": None, "ignore_index": None, "label_smoothing": 0.0, **PLAIN},
        {"raises": True, "gradients": False},
    ),
    (
        "pspnet_loss",
        {"logits": [[[["tiny"]]]], "labels": [[[-1]]]},
        {"num_classes": 1, **PLAIN},
        {"raises": True, "gradients": False},
    ),
    (
        "pspnet_total_loss",
        {"logits": [[[["tiny"]]]], "aux_logits": [[[[0.0]]]], "labels": [[[-1]]]},
        {"num_classes": 1, "aux_weight": 0.4},
        {"raises": True, "gradients": False},
    ),
    (
        "mask_rcnn_mask_loss",
        {"target_masks": [[[[0.0]]]], "target_class_ids": [[1]], "pred_masks": [[[[["tiny"]]]]]},
        {},
        {"raises": True, "gradients": False},
    ),
    (
        "mask_rcnn_mask_loss_with_logits",
        {"target_masks": [[[[0.0]]]], "target_class_ids": [[1]], "mask_logits": [[[[["tiny"]]]]]},
        {},
        {"raises": True, "gradients": False},
    ),
    # The probability's own slope 1/p leaves the range.
    (
        "cross_entropy",
        {"probabilities": ["tiny"], "target": [1.0]},
        {"axis": 0, **PLAIN},
        {"gradients": False},
    ),
    (
        "cross_entropy",
        {"probabilities": ["tiny", 2.0], "target": [0.5, 0.5]},
        {"axis": 0, **PLAIN},
        {"raises": True, "infinite": True, "gradients": False},
    ),
    (
        "binary_cross_entropy",
        {"probabilities": [0.0, "tiny"], "target": [1.0, 1.0]},
        {"weight": np.zeros(2), **PLAIN},
        {"defined": False},
    ),
    (
        "euclidean_distance",
        {"prediction": [-np.inf, 0.0], "target": ["tiny", "tiny"]},
        {"axis": 0},
        {"gradients": False},
    ),
    ("sigmoid", {"logits": ["tiny"]}, {}, {}),
]


def _with(value: Any, tiny: float) -> Any:
    if isinstance(value, list):
        return [_with(item, tiny) for item in value]
    return tiny if value == "tiny" else value


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("function", "arrays", "parameters", "permitted"), SUBNORMAL)
def test_a_subnormal_input_takes_no_permission_away(
    function: str, arrays: dict[str, Any], parameters: dict[str, Any], permitted: dict[str, Any], dtype: str
) -> None:
    integers = {array.name: array.integer for array in FUNCTIONS[function].arrays}
    given = {
        name: np.asarray(_with(value, SMALLEST[dtype]), np.int64 if integers[name] else np.float64)
        for name, value in arrays.items()
    }
    reading = definition(function).read(given, parameters, dtype)
    assert {key: getattr(reading, key) for key in permitted} == permitted
    if reading.defined:
        assert (reading.clause, reading.level) == ("G-8", "recommended")


INFINITE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "sigmoid_cross_entropy",
        {"logits": [np.inf], "target": [0.0]},
        {"pos_weight": None, **PLAIN},
        "weight",
    ),
    (
        "sparse_softmax_cross_entropy",
        {"logits": [[np.inf, 0.0]], "labels": [1]},
        {"axis": -1, "ignore_index": None, "label_smoothing": 0.0, **PLAIN},
        "weight",
    ),
    (
        "binary_cross_entropy",
        {"probabilities": [0.0], "target": [1.0]},
        PLAIN,
        "weight",
    ),
    (
        "pspnet_total_loss",
        {"logits": [[[[0.0]]]], "aux_logits": [[[[np.inf]]]], "labels": [[[0]]]},
        {"num_classes": 1},
        "aux_weight",
    ),
]


@pytest.mark.parametrize(("function", "arrays", "parameters", "weight"), INFINITE)
def test_zero_times_an_infinite_cost_is_left_open(
    function: str, arrays: dict[str, Any], parameters: dict[str, Any], weight: str
) -> None:
    integers = {array.name: array.integer for array in FUNCTIONS[function].arrays}
    given = {name: np.asarray(a, np.int64 if integers[name] else np.float64) for name, a in arrays.items()}
    for value, defined in ((np.zeros(2), False), (np.ones(2), True)):
        scalar = weight == "aux_weight"
        reading = definition(function).read(
            given, {**parameters, weight: float(value[0]) if scalar else value}, "float32"
        )
        assert reading.defined is defined


def test_a_bound_beyond_the_range_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="leaves float64's range"):
        Output((2,), [1.0, 1.0], Bound(np.array([1.0, np.inf]))).tolerance()
    assert not Output((2,), [1.0, np.inf], Bound(np.array([0.0, np.inf]))).tolerance().u.any()
