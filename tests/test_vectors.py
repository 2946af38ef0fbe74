"""``lossproof export``: what it writes, and that runners in other languages judge as the engine does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.case.arrays import numpy_arrays, numpy_tangents
from lossproof.case.expected import Sketch
from lossproof.case.model import Case
from lossproof.case.needs import FLAGS, needs
from lossproof.case.read import load_cases
from lossproof.case.select import select_cases
from lossproof.case.suite import suite
from lossproof.cli.main import main
from lossproof.core.dtypes import FLOAT_TYPES, HALF_TYPES, numpy_dtype
from lossproof.core.functions import FUNCTIONS
from lossproof.core.validate import load
from lossproof.core.verdicts import Verdict
from lossproof.engine.answer import Answer
from lossproof.engine.judge import judge
from lossproof.engine.proof import ask_proven
from lossproof.vectors.form import Index, VectorsFile
from lossproof.vectors.tensors import Tensors, hexadecimal

# The reference computes with what it is given.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

RUNNERS = Path(__file__).parent.parent / "examples" / "runners"
REPLAY = Path(__file__).parent / "replay"
CHOSEN = [
    "softmax/special",
    "softmax/range",
    "l2_loss/derivatives",
    "sparse_softmax_cross_entropy/ignored",
    "pspnet_resize_labels",
]
# What of the quick set the runners judge: what asks for more than a bound, and every fifth of the rest.
STEP = 5
NODE = shutil.which("node")
COMPILER = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chosen") / "vectors"
    assert main(["export", *CHOSEN, "-o", str(out)]) == 0
    return out


# -- what is written -------------------------------------------------------------------------------


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_cases_are_the_same_bytes(chosen: Path, tmp_path: Path) -> None:
    assert main(["export", *CHOSEN, "-o", str(tmp_path)]) == 0
    assert everything(tmp_path) == everything(chosen)


def test_files_follow_the_schemas_beside_them(chosen: Path) -> None:
    index = load(chosen / "index.json", Index)
    assert (index.suite, index.digest, index.cases) == (*suite(), "chosen")
    schemas = {
        name: jsonschema.Draft202012Validator(json.loads((chosen / f"{name}.schema.json").read_text("utf-8")))
        for name in ("vectors", "vectors-index")
    }
    schemas["vectors-index"].validate(json.loads((chosen / "index.json").read_text("utf-8")))
    named = {"index.json", "vectors.schema.json", "vectors-index.schema.json"}
    for entry in index.vectors:
        file = load(chosen / entry.file, VectorsFile)
        schemas["vectors"].validate(json.loads((chosen / entry.file).read_text("utf-8")))
        assert (file.function, file.dtype, len(file.cases)) == (entry.function, entry.dtype, entry.cases)
        assert {entry.dtype} <= {*file.constants, *({entry.dtype} - FLOAT_TYPES.keys())}
        named |= {entry.file, *([entry.tensors] if entry.tensors else [])}
    assert named == set(everything(chosen))


def array(given: dict[str, Any], tensors: Any) -> npt.NDArray[Any]:
    """An array of an export, read as docs/runner.md says."""
    dtype = numpy_dtype(given["dtype"])
    if "tensor" in given:
        return np.asarray(tensors[given["tensor"]]).astype(dtype).reshape(given["shape"])
    texts = given["data"] if "data" in given else [given["full"]] * int(np.prod(given["shape"]))
    exact = np.float64 if given["dtype"] in FLOAT_TYPES else dtype
    numbers = [float.fromhex(text) if exact is np.float64 else int(text) for text in texts]
    return np.array(numbers, exact).astype(dtype).reshape(given["shape"])


def tensors_of(path: Path) -> dict[str, npt.NDArray[Any]]:
    """By the library itself, not by lossproof's own code."""
    numpy = pytest.importorskip("safetensors.numpy")
    loaded: dict[str, npt.NDArray[Any]] = numpy.load_file(path)
    return loaded


def test_inputs_and_bounds_are_the_cases(chosen: Path) -> None:
    cases = {case.id: case for case in select_cases(CHOSEN, ())}
    seen = Counter[str]()
    for entry in load(chosen / "index.json", Index).vectors:
        tensors = tensors_of(chosen / entry.tensors) if entry.tensors else {}
        for row in json.loads((chosen / entry.file).read_text("utf-8"))["cases"]:
            case = cases[row["id"]]
            assert row["tangents"].keys() == case.tangents.keys()
            given_arrays = [
                *((row["inputs"][name], given) for name, given in numpy_arrays(case, entry.dtype).items()),
                *(
                    (row["tangents"][name], given)
                    for name, given in numpy_tangents(case, entry.dtype).items()
                ),
            ]
            for stored, given in given_arrays:
                got = array(stored, tensors)
                assert got.dtype == given.dtype and got.shape == given.shape
                assert np.ascontiguousarray(got).tobytes() == np.ascontiguousarray(given).tobytes()
                seen["inputs"] += 1
            assert case.expected is not None and row["outputs"].keys() == case.expected.keys()
            for name, due in case.expected.items():
                if isinstance(due, Sketch):
                    assert np.array_equal(
                        array(row["outputs"][name]["sketch"]["sums"], tensors), due.sums, True
                    )
                    seen["sketches"] += 1
                    continue
                assert np.array_equal(array(row["outputs"][name]["expected"], tensors), due, True)
                bound = array(row["outputs"][name]["bound"], tensors)
                if entry.dtype in FLOAT_TYPES and name in case.tolerances:
                    right = case.tolerances[name].bounds(due, FLOAT_TYPES[entry.dtype])
                    assert np.array_equal(bound, np.where(np.isfinite(due), right, 0))
                else:
                    assert not bound.any()
                seen["bounds"] += 1
    assert seen["inputs"] > 200 and seen["bounds"] > 100


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "0x1p+0"), (-3.0, "-0x1.8p+1"), (0.0, "0x0p+0"), (-0.0, "-0x0p+0"),
        (0.1, "0x1.999999999999ap-4"),
        (5e-324, "0x0.0000000000001p-1022"), (float("inf"), "inf"), (float("-inf"), "-inf"),
        (float("nan"), "nan"), (1.7976931348623157e308, "0x1.fffffffffffffp+1023"), (16.0, "0x1p+4"),
    ],
)  # fmt: skip
def test_numbers_are_exact(number: float, text: str) -> None:
    assert hexadecimal(number) == text
    assert np.float64(float.fromhex(text)).tobytes() == np.float64(number).tobytes() or number != number


def test_alike_arrays_are_stored_once_and_a_repeated_number_as_one() -> None:
    tensors = Tensors()
    rows = np.arange(1000, dtype=np.float32)
    assert tensors.add(rows) == tensors.add(rows.copy()) != tensors.add(rows.astype(np.float64))
    assert "full" in repr(tensors.add(np.full(1000, np.nan))) and len(tensors) == 2
    mixed = np.zeros(1000)
    mixed[500] = -0.0
    assert "tensor" in repr(tensors.add(mixed))
    tensors.close()


def test_every_flag_is_that_of_some_case() -> None:
    """And the reference's own cases have those that are plain from their ids."""
    found: dict[str, set[str]] = {flag: set() for flag in FLAGS}
    for case in load_cases():
        if sum(np.prod(case.shape_of(name)) for name in case.inputs) > 2**17:
            continue  # which takes long to build
        for flag in needs(case, numpy_arrays(case, case.dtypes[0])):
            found[flag].add(case.id)
    assert all(found.values()), {flag for flag, cases in found.items() if not cases}
    assert "sparse_softmax_cross_entropy/ignored/one-of-three" in found["ignore-index"]
    assert "softmax/special/nan-first" in found["non-finite"]
    assert "softmax/axis/first-of-two" in found["axis"] & found["cotangent"] & found["gradients"]
    assert not any(id.startswith("softmax/") for id in found["soft-targets"] | found["reduction-sum"])


def test_list_finds_cases_by_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["list", "softmax", "--needs", "non-finite", "--needs", "layout", "--json"]
    assert main(words) == 2  # no softmax case of either
    assert "nothing matches" in capsys.readouterr().err
    assert main(["list", "sparse", "--needs", "ignore-index", "--needs", "weights", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["kind"] for row in rows} == {"cases"} and len(rows) > 5
    assert all(row["id"].startswith("sparse") for row in rows)
    assert main(["list", "--needs", "ignore-indx"]) == 2
    assert "unknown flag 'ignore-indx' (did you mean 'ignore-index'?)" in capsys.readouterr().err


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-f", "sofmax"], "unknown function 'sofmax' (did you mean 'softmax'?)"),
        (["-d", "float23"], "unknown dtype 'float23'"),
        (["softmax/ordinary/vectr"], "no case 'softmax/ordinary/vectr'"),
        (["softmax", "-d", "int64"], "no case is left after --dtype"),
        (["softmax", "-f", "sigmoid"], "no case is left after --function"),
        (["absent.yaml"], "no case 'absent.yaml'"),
    ],
)
def test_bad_usage(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words, "-o", str(tmp_path / "v")]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "v").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    for out, message in ((file, "is a file; give a folder"), (file / "v", "the folder cannot be made")):
        assert main(["export", "sigmoid/ordinary", "-o", str(out)]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert file.read_text(encoding="utf-8") == "mine"


def test_what_is_in_the_folder_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    words = ["export", "-o", str(tmp_path), "-d", "float32"]
    assert main([*words, "sigmoid/ordinary"]) == 0 and main([*words, "log_sigmoid/ordinary"]) == 0
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "sigmoid" / "float32.json").exists()
    index = load(tmp_path / "index.json", Index)
    assert [entry.file for entry in index.vectors] == ["log_sigmoid/float32.json"]
    assert list(index.functions) == ["log_sigmoid"]
    assert "vectors of" in capsys.readouterr().out


# -- runners ---------------------------------------------------------------------------------------


class Replayed(NamedTuple):
    """Vectors, answers to them, and the verdict of the engine by case, dtype and output."""

    vectors: Path
    answers: Path
    verdicts: dict[str, str]


def answers(case: Case, dtype: str) -> Iterator[tuple[str, Answer]]:
    """Answers of all kinds, right and wrong, with a word for what the call did."""
    right = ask_proven(NumpyAdapter(), case, dtype)
    outputs = right.outputs
    refusing = Answer(raised=dict.fromkeys(case.expected or (), ValueError("refused")))
    broken = Answer(raised=refusing.raised, broken="a valid call raises, too")
    made = [right] if not right.raised else []
    with np.errstate(all="ignore"):
        made += [
            Answer({name: change(output) for name, output in outputs.items()})
            for change in (
                np.zeros_like, np.negative, lambda x: x + x, lambda x: np.where(x == x, x, 0).astype(x.dtype),
                lambda x: x.reshape(-1), lambda x: x.astype(np.float32), lambda x: x.astype(np.int64),
                flushed, first_is_nan,
            )
            if len(outputs) == len(case.expected or ())
        ]  # fmt: skip
    made += [
        Answer({name: cast(due, dtype) for name, due in choice.expected.items()})
        for choice in case.choices
        if dtype in choice.dtypes and not any(isinstance(due, Sketch) for due in choice.expected.values())
    ]
    if dtype in HALF_TYPES and not isinstance((case.expected or {})["value"], Sketch) and not right.raised:
        made.append(Answer(outputs | {"value": cast((case.expected or {})["value"], "float32")}))
    yield from (("answers", answer) for answer in made)
    yield from (("raises", refusing), ("broken", broken))


def flushed(output: npt.NDArray[Any]) -> npt.NDArray[Any]:
    kind = FLOAT_TYPES.get(output.dtype.name)
    if kind is None:
        return output
    return np.where(np.abs(output.astype(np.float64)) < kind.smallest_normal, 0, output).astype(output.dtype)


def without_subnormals(right: Answer) -> Answer | None:
    """A right answer of which subnormal results are flushed, or None where it has none."""
    outputs = {name: flushed(output) for name, output in right.outputs.items()}
    same = all(output.tobytes() == right.outputs[name].tobytes() for name, output in outputs.items())
    return None if same or right.raised else Answer(outputs)


def first_is_nan(output: npt.NDArray[Any]) -> npt.NDArray[Any]:
    changed = output.copy()
    if changed.dtype.name in FLOAT_TYPES:
        changed.reshape(-1)[:1] = np.nan
    return changed


def cast(due: Any, dtype: str) -> npt.NDArray[Any]:
    with np.errstate(all="ignore"):
        made: npt.NDArray[Any] = np.asarray(due).astype(numpy_dtype(dtype))
    return made


def word(verdict: Verdict, variant: str | None) -> str:
    return "flushes-subnormals" if variant == "flushes-subnormals" else variant or str(verdict)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """Cases, each with one of the answers, so that all kinds come up."""
    folder = tmp_path_factory.mktemp("replayed")
    wanted = [
        case
        for number, case in enumerate(select_cases((), ()))
        if (case.choices or case.variants or number % STEP == 0)
        and sum(int(np.prod(case.shape_of(name))) for name in case.inputs) < 2**17
    ]
    assert main(["export", *(case.id for case in wanted), "-o", str(folder / "vectors")]) == 0
    verdicts, number = {}, 0
    with (folder / "answers").open("w", encoding="utf-8") as file:
        for case in wanted:
            for dtype in case.dtypes:
                given = list(answers(case, dtype))
                number += 1
                kind, answer = given[number % len(given)]
                if number % 2 and (other := without_subnormals(given[0][1])):
                    kind, answer = "answers", other
                print(case.id, dtype, kind, len(answer.outputs), file=file)
                for name, output in answer.outputs.items():
                    numbers = output.astype(np.float64).ravel().tolist()
                    print(name, output.dtype.name, output.ndim, *output.shape, file=file)
                    # As both languages read them: Number has no hexadecimal floats, and no nan.
                    print(
                        *(repr(x).replace("inf", "Infinity").replace("nan", "NaN") for x in numbers),
                        file=file,
                    )
                for name, judged in judge(case, dtype, answer).items():
                    verdicts[f"{case.id} {dtype} {name}"] = word(judged.verdict, judged.variant)
    kinds = Counter(verdicts.values())
    assert {
        "pass",
        "fail",
        "error",
        "below",
        "raises",
        "flushes-subnormals",
        "float32-result",
    } <= kinds.keys()
    assert {"log-clamped-at-100", "clipped-1e-7", "zero-for-an-empty-mean"} <= kinds.keys(), kinds
    assert kinds["pass"] > 50 and kinds["fail"] > 500
    return Replayed(folder / "vectors", folder / "answers", verdicts)


def compare(command: list[str], replayed: Replayed) -> None:
    """The runner's verdict is the engine's, output by output."""
    environment = os.environ | {"VERBOSE": "1", "ANSWERS": str(replayed.answers)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 1 and not done.stderr, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        place, _, verdict = line.partition(": ")
        if not line.startswith("suite"):
            found[place] = "error" if verdict.startswith("error") else verdict
    assert found.keys() == replayed.verdicts.keys()
    wrong = [f"{p}: {v}, not {replayed.verdicts[p]}" for p, v in found.items() if v != replayed.verdicts[p]]
    assert not wrong, "\n".join(wrong[:20])


needs_node = pytest.mark.skipif(NODE is None, reason="there is no node")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


@needs_node
def test_javascript_judges_as_the_engine_does(replayed: Replayed, tmp_path: Path) -> None:
    exports = "".join(f"export const {name} = replay;\n" for name in FUNCTIONS)
    made = tmp_path / "replay.mjs"
    made.write_text((REPLAY / "replay.mjs").read_text(encoding="utf-8") + exports, encoding="utf-8")
    compare(["node", str(RUNNERS / "runner.mjs"), str(replayed.vectors), str(made)], replayed)


@pytest.fixture(scope="module")
def runner_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runner") / "runner.o"
    compile_(RUNNERS / "runner.cpp", "-c", "-o", str(made))
    return made


def compile_(source: Path, *words: str) -> None:
    assert COMPILER is not None
    command = [
        COMPILER,
        "-std=c++17",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{RUNNERS}",
        str(source),
        *words,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_compiler
def test_cpp_judges_as_the_engine_does(replayed: Replayed, runner_object: Path, tmp_path: Path) -> None:
    compile_(REPLAY / "replay.cpp", str(runner_object), "-o", str(tmp_path / "replay"))
    compare([str(tmp_path / "replay"), str(replayed.vectors)], replayed)


# What is changed in the implementations that come with the runners, and what then is seen.
MISTAKES = {
    "no maximum is taken off": [("data[i] - largest", "data[i]"), ("(x[i]) - largest", "(x[i])")],
    "the gradient lacks its mean": [("weights[i] - mean", "weights[i]"), ("weight(i) - mean", "weight(i)")],
    "always refuses": [
        ("const { shape, data } = logits,", 'throw new Error("no"); const { shape, data } = logits,'),
        ("double axis =", "if (given.wrt.size() < 9) { throw 0; }\n    double axis ="),
    ],
    "supports nothing": [("if (!round) return null;", "return null;"), ("if (!last)", "if (true)")],
}  # fmt: skip


@needs_node
@pytest.mark.parametrize("mistake", [None, *MISTAKES])
def test_the_javascript_example(mistake: str | None, chosen: Path, tmp_path: Path) -> None:
    source = (RUNNERS / "implementation.mjs").read_text(encoding="utf-8")
    if mistake is not None:
        old, new = MISTAKES[mistake][0]
        assert old in source
        source = source.replace(old, new)
    (tmp_path / "implementation.mjs").write_text(source, encoding="utf-8")
    command = ["node", str(RUNNERS / "runner.mjs"), str(chosen), str(tmp_path / "implementation.mjs")]
    check(command, mistake)


@needs_compiler
@pytest.mark.parametrize("mistake", [None, *MISTAKES])
def test_the_cpp_example(mistake: str | None, chosen: Path, runner_object: Path, tmp_path: Path) -> None:
    source = (RUNNERS / "implementation.cpp").read_text(encoding="utf-8")
    if mistake is not None:
        old, new = MISTAKES[mistake][1]
        assert old in source
        source = source.replace(old, new.replace("throw 0", 'throw std::runtime_error("no")'))
        source = "#include <stdexcept>\n" + source
    (tmp_path / "implementation.cpp").write_text(source, encoding="utf-8")
    compile_(
        tmp_path / "implementation.cpp", str(runner_object), "-Wno-unused", "-o", str(tmp_path / "runner")
    )
    check([str(tmp_path / "runner"), str(chosen)], mistake)


def check(command: list[str], mistake: str | None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    last = done.stdout.splitlines()[-1]
    assert done.returncode == (mistake is not None) and not done.stderr, done.stdout + done.stderr
    assert last.startswith(f"suite {suite().version}:") and ("wrong" in last) == (
        mistake not in (None, "supports nothing")
    )
    assert ("pass" in last) == (mistake in (None, "no maximum is taken off", "the gradient lacks its mean"))


def test_the_page_says_what_is() -> None:
    page = (RUNNERS.parents[1] / "docs" / "runner.md").read_text(encoding="utf-8")
    assert "".join(f"| `{flag}` | {about} |\n" for flag, about in FLAGS.items()) in page
    for name in ("runner.mjs", "runner.cpp"):
        lines = len((RUNNERS / name).read_text(encoding="utf-8").splitlines())
        assert f"{name}) for Node, {lines} lines" in page or f"{name}), {lines} lines" in page


def test_the_javascript_runner_is_short_and_needs_nothing() -> None:
    source = (RUNNERS / "runner.mjs").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 150
    assert all("node:" in line for line in source.splitlines() if line.startswith("import"))
