"""No false green: an error counts as the permitted variant only where the backend answers valid calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.proof import failing_valid_call, valid
from lossproof.engine.record import Record
from lossproof.isolation.load import load_adapter
from lossproof.registry.deviations import Deviations
from tests.own_cases import quick_cases

NONE = Deviations([], "", "", "")
RAISING = [case for case in quick_cases() if any(variant.raises for variant in case.variants)]

# How an adapter is broken, as the body of each of its functions.
BROKEN = {
    "a name that does not exist": "return nosuch(arrays)",
    "an attribute that does not exist": "return np.nosuch(arrays)",
    "an import that fails": "import nosuch_module",
    "a relative import": "from nosuch_module import f",
    "an argument that the backend does not take": "return np.exp(arrays[0], nosuch=1)",
    "a local name before its assignment": "return x\n        x = 1",
    "the way out": "raise SystemExit(0)",
    "always the same error": "raise ValueError('no')",
    "an assertion": "assert False",
    "too few dimensions": "return np.zeros(17, arrays[0].dtype)[[99]]",
}
ADAPTER = """
import numpy as np
from lossproof import Adapter

class Broken(Adapter):
    name = "broken"

    def answer(self, *arrays, **parameters):
        {body}

    {functions}
"""
FUNCTIONS = sorted({case.function.name for case in RAISING})


def broken_adapter(folder: Path, body: str) -> str:
    path = folder / "broken.py"
    functions = "\n    ".join(f"{name} = answer" for name in FUNCTIONS)
    path.write_text(ADAPTER.format(body=body, functions=functions), encoding="utf-8")
    return str(path)


def judged(reference: str, isolate: bool) -> list[Record]:
    loaded = load_adapter(reference, isolate=isolate)
    assert loaded.adapter is not None
    return [
        record
        for case in RAISING
        for record in run_case(loaded.adapter, "broken", case, case.dtypes[0], NONE)
        if record.output == "value"
    ]


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_adapter_never_conforms(how: str, isolate: bool, tmp_path: Path) -> None:
    records = judged(broken_adapter(tmp_path, BROKEN[how]), isolate)
    assert {record.verdict for record in records} == {Verdict.ERROR}
    assert {record.case for record in records} == {case.id for case in RAISING}
    assert all("own making" in r.message or "valid call" in r.message for r in records)


class RaisesForWhatIsInvalid(NumpyAdapter):
    """Checks its inputs before it computes."""

    name = "strict"

    def value_and_gradients(self, function: Any, arrays: Any, wrt: Any, *, cotangent: Any = None) -> Any:
        self._check(arrays)
        return super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)

    def evaluate(self, function: Any, arrays: Any) -> Any:
        self._check(arrays)
        return super().evaluate(function, arrays)

    def _check(self, arrays: Any) -> None:
        for name, array in arrays.items():
            values = np.asarray(array, np.float64)
            integer = name in ("labels", "target_class_ids", "class_ids")
            if integer and ((values < 0) | (values >= 3)).any():
                raise ValueError(f"{name} must be classes")
            if name in ("probabilities", "pred_masks") and not ((values >= 0) & (values <= 1)).all():
                raise ValueError(f"{name} must be probabilities")
            # Of arrays, softmax_cross_entropy takes any target.
            if name == "target" and "logits" in arrays and not values.ndim and not 0 <= values <= 1:
                raise ValueError("target must be a probability")


def test_a_backend_that_answers_valid_calls_may_raise() -> None:
    adapter = RaisesForWhatIsInvalid()
    records = [r for case in RAISING for r in run_case(adapter, "strict", case, case.dtypes[0], NONE)]
    granted = [record for record in records if record.variant == "raises"]
    assert {record.function for record in granted} == set(FUNCTIONS)
    assert not [record for record in records if record.verdict in FAILURES]


@pytest.mark.parametrize("case", quick_cases(), ids=lambda case: case.id)
def test_the_valid_call_of_every_case_is_valid(case: Any) -> None:
    exact = valid(case).exact_arrays
    assert {name: array.shape for name, array in exact.items()} == {
        name: case.shape_of(name) for name in exact
    }
    if all(len(case.shape_of(name)) and 0 not in case.shape_of(name) for name in exact):
        assert failing_valid_call(NumpyAdapter(), case, case.dtypes[0]) is None


def test_a_valid_call_is_made_once() -> None:
    calls = []

    class Counting(RaisesForWhatIsInvalid):
        def evaluate(self, function: Any, arrays: Any) -> Any:
            calls.append(function.function)
            return super().evaluate(function, arrays)

    adapter, case = Counting(), RAISING[0]
    for _ in range(3):
        failing_valid_call(adapter, case, case.dtypes[0])
    assert len(calls) == 1


WRONG_RESULTS = {
    "wider": ("np.asarray(x, np.float64)", "dtype float64 where float32 is due, its values are right"),
    "wider and wrong": ("np.asarray(x, np.float64) + 1", "dtype float64 where float32 is due, and "),
    "narrower": ("np.asarray(x, np.float16)", "dtype float16 where float32 is due"),
    "python numbers": ("x.tolist()", "to_numpy gave list"),
    "masked": ("np.ma.masked_array(x, True)", "gave a masked array"),
    "extended": ("np.asarray(x, np.longdouble)", "to_numpy gave dtype "),
    "objects": ("np.asarray(x, object)", "to_numpy gave dtype object"),
    "bytes": ("np.zeros(x.shape, 'V4')", "to_numpy gave dtype |V4"),
    "text": ("np.asarray(x).astype(str)", "to_numpy gave dtype <U"),
    "complex": ("np.asarray(x, complex)", "to_numpy gave dtype complex128"),
    "big-endian": ("np.asarray(x, '>f4')", ""),
    "fortran": ("np.asfortranarray(x)", ""),
    "reversed strides": ("np.flip(np.flip(x).copy())", ""),
}


@pytest.mark.parametrize("kind", WRONG_RESULTS)
def test_a_result_of_another_type_has_one_verdict_in_process_and_isolated(kind: str, tmp_path: Path) -> None:
    how, message = WRONG_RESULTS[kind]
    path = tmp_path / "typed.py"
    path.write_text(
        "import numpy as np\nfrom lossproof.adapters.numpy import NumpyAdapter\n\n"
        "class Typed(NumpyAdapter):\n    name = 'typed'\n\n    def to_numpy(self, x):\n"
        f"        x = np.asarray(x)\n        return {how}\n",
        encoding="utf-8",
    )
    case = next(case for case in quick_cases() if case.id == "softmax/ordinary/three-classes")
    found = []
    for isolate in (False, True):
        adapter = load_adapter(str(path), isolate=isolate).adapter
        assert adapter is not None
        found.append(run_case(adapter, "typed", case, "float32", NONE))
    verdicts = [[(r.output, r.verdict, r.message) for r in records] for records in found]
    assert verdicts[0] == verdicts[1]
    for record in found[0]:
        if record.is_law:
            continue
        assert record.verdict in (FAILURES if message else {Verdict.PASS})
        assert message in record.message
