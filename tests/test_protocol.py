"""The protocol: arrays survive it to the bit, and its page, schema and messages agree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import ml_dtypes
import numpy as np
import pytest
import yaml

from lossproof.core.resources import folder
from lossproof.engine.call import bind
from lossproof.isolation import protocol
from lossproof.isolation.encode import encode_array
from lossproof.isolation.load import load_adapter
from lossproof.isolation.protocol import ProtocolError, decode_array
from lossproof.isolation.remote import serving
from tests.own_cases import quick_cases

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((folder("spec") / "protocol.schema.json").read_text(encoding="utf-8"))
PAGE = (folder("spec") / "protocol.md").read_text(encoding="utf-8")
VALID = jsonschema.Draft202012Validator(SCHEMA)
DTYPES: list[Any] = [
    np.float64, np.float32, np.float16, ml_dtypes.bfloat16,
    np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint16, np.uint8, np.bool_,
]  # fmt: skip


def bits(array: np.ndarray[Any, Any]) -> bytes:
    return array.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("encoding", ["any", "text", "base64"])
def test_arrays_survive_to_the_bit(dtype: Any, encoding: str) -> None:
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    raw = rng.integers(0, 256, size=90 * kind.itemsize, dtype=np.uint8)
    if kind == np.bool_:
        raw %= 2
    for array in (raw.view(kind).reshape(9, 10), raw.view(kind)[:1].reshape(()), raw.view(kind)[:0]):
        line = protocol.dump({"x": encode_array(array, encoding)})
        back = decode_array(json.loads(line)["x"], "x")
        assert back.dtype == array.dtype and back.shape == array.shape
        if kind.kind in "iub" or encoding == "base64":
            assert bits(back) == bits(array)
        else:
            # Text has one NaN; all else keeps its bits.
            with np.errstate(invalid="ignore"):
                nan = np.isnan(array.astype(np.float64))
                assert (np.isnan(back.astype(np.float64)) == nan).all()
            assert bits(back[~nan]) == bits(array[~nan])


def test_special_values_are_text() -> None:
    array = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45], np.float32)
    data = encode_array(array)["data"]
    assert data[:5] == ["NaN", "Infinity", "-Infinity", "-0", 0.0] and data[5] == 2.0**-149
    assert bits(decode_array(encode_array(array), "x")) == bits(array)


def test_strides_are_named() -> None:
    base = np.arange(24.0).reshape(4, 6)
    assert "layout" not in encode_array(base)
    assert encode_array(np.asfortranarray(base))["layout"] == "transposed"
    assert encode_array(base[:, ::2])["layout"] == "strided"
    assert (decode_array(encode_array(base[:, ::2]), "x") == base[:, ::2]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "complex64"}, "dtype must be one of"),
        ({"dtype": ["float32"]}, "dtype must be one of"),
        ({"shape": None}, "shape must be a list"),
        ({"shape": [1] * 17}, "at most 16"),
        ({"shape": [True, 2]}, "integer from 0"),
        ({"shape": [2.0]}, "integer from 0"),
        ({"shape": [2**60, 0]}, "integer from 0"),
        ({"shape": [2**26, 2**26]}, "more than"),
        ({"data": None}, "list of numbers or base64"),
        ({"data": [1]}, "1 numbers where 2 are due"),
        ({"data": [1, None]}, "is no number"),
        ({"data": [1, "nan"]}, "is no number"),
        ({"data": [1, [2]]}, "is no number"),
        ({"data": [1, True]}, "is no number"),
        ({"data": [1, 10**400]}, "too large"),
        ({"data": "AAAA"}, "do not fit 4 base64"),
        ({"data": "AAAAAAAAAA=="}, "holds 7 bytes where 8"),
        ({"data": "AAAA====AAA="}, "no base64"),
        ({"data": [1.5, 2], "dtype": "int64"}, "must hold integers"),
        ({"data": [1, 300], "dtype": "uint8"}, "no uint8"),
    ],
)
def test_wrong_arrays_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        decode_array({"shape": [2], "dtype": "float32", "data": [1, 2], **change}, "value")


def test_the_page_the_schema_and_the_reader_agree() -> None:
    examples = [json.loads(line) for line in PAGE.splitlines() if line.startswith('{"')]
    for message in examples:
        VALID.validate(message)
    start = next(m for m in examples if m.get("name") == "tfjs")
    assert protocol.read_start(json.dumps(start).encode())
    answers = [m for m in examples if "id" in m and "command" not in m]
    assert {key for message in answers for key in message} >= {"value", "unsupported", "error"}
    for message in answers:
        derivative = next((kind for kind in ("jvp", "hvp") if kind in message), None)
        protocol.read_answer(json.dumps(message).encode(), 7, ["logits"], derivative, ["logits"])


@pytest.mark.parametrize("kind", ["Start", "Started", "Run", "Value", "Unsupported", "Raised", "Stop"])
def test_every_message_of_a_run_has_an_example(kind: str) -> None:
    only = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]})
    examples = [json.loads(line) for line in PAGE.splitlines() if line.startswith('{"')]
    assert any(only.is_valid(message) for message in examples)


def test_every_request_fits_the_schema() -> None:
    adapter = load_adapter("numpy").adapter
    assert adapter is not None
    seen = set()
    for case in quick_cases():
        kinds = (case.function.name, bool(case.layout), case.cotangent is None)
        if kinds in seen:
            continue
        seen.add(kinds)
        call, arrays, cotangent = bind(adapter, case, case.dtypes[0])
        request = protocol.run_request(
            1, case.function.name, arrays, call.parameters, case.wrt, cotangent, "any"
        )
        message = json.loads(protocol.dump(request))
        VALID.validate(message)
        assert list(message["arrays"]) == [array.name for array in case.function.arrays]


def test_what_lossproof_serves_fits_the_schema() -> None:
    request = {
        "command": "run", "id": 1, "function": "softmax", "parameters": {"axis": -1}, "wrt": ["logits"],
        "arrays": {"logits": {"shape": [2], "dtype": "float32", "data": [0.5, "NaN"]}},
    }  # fmt: skip
    lines = b"".join(map(protocol.dump, [protocol.start_request(), request, {"command": "stop"}]))
    done = subprocess.run(serving("numpy"), input=lines, capture_output=True, check=True)
    started, answer = (json.loads(line) for line in done.stdout.splitlines())
    VALID.validate(started)
    VALID.validate(answer)
    assert answer["value"]["data"] == ["NaN", "NaN"]
    refused = subprocess.run(serving("numpie"), input=lines, capture_output=True, check=True)
    VALID.validate(json.loads(refused.stdout))


# -- the action for other people's repositories ----------------------------------------------------


def run_action(folder: Path, **given: str) -> list[subprocess.CompletedProcess[str]]:
    """Run the steps of action.yml as a runner does: inputs by name, in a shell of their own."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    inputs = {name: given.get(name, row.get("default", "")) for name, row in action["inputs"].items()}
    done = []
    for step in action["runs"]["steps"]:
        variables = {
            name: re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda m: inputs[m[1]], text)
            for name, text in step["env"].items()
        }
        assert "${{" not in step["run"], "an input in the text of a script could be run"
        done.append(
            subprocess.run(
                ["bash", "-c", step["run"]],
                cwd=folder, capture_output=True, text=True,
                env={
                    "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                    "GITHUB_STEP_SUMMARY": str(folder / "summary.md"), **variables,
                },
            )
        )  # fmt: skip
        if done[-1].returncode:
            break
    return done


def test_the_action_runs_and_reports(tmp_path: Path) -> None:
    (tmp_path / "with space.py").write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\n"
        "class Mine(NumpyAdapter):\n    name = 'mine'\n", encoding="utf-8",
    )  # fmt: skip
    given = {"adapter": "with space.py\nnumpy\n", "function": "sigmoid", "install": ""}
    assert [step.returncode for step in run_action(tmp_path, **given)] == [0, 0]
    assert "mine: conforms" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    for name in ("lossproof.json", "lossproof.xml", "lossproof.svg"):
        assert (tmp_path / name).stat().st_size
    worse = {**given, "fail-on": "skipped", "adapter": "torch-cuda", "arguments": "-v"}
    if load_adapter("torch-cuda").adapter is None:
        assert run_action(tmp_path, **worse)[-1].returncode == 1
    assert run_action(tmp_path, **{**given, "adapter": "$(touch run)"})[-1].returncode == 2
    assert not (tmp_path / "run").exists()


def test_the_cases_of_an_installation_are_collected(tmp_path: Path) -> None:
    """``pytest --pyargs lossproof.cases`` in anyone's repository."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "lossproof.cases",
         "--adapter", "numpy", "-k", "sigmoid and float32"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
