"""The command line as people and CI use it."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from rich.console import Console

from lossproof.case.read import load_cases
from lossproof.cli.explain import show_answer, show_case
from lossproof.cli.main import main
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from lossproof.isolation.load import load_adapter
from lossproof.repro.script import reproduce

FAULTY = """
from lossproof.adapters.numpy import NumpyAdapter

class Faulty(NumpyAdapter):
    name = "faulty <&>"

    def softmax(self, logits, *, axis):
        raise ValueError("hostile \\x00 [bold] text")

    def sigmoid(self, logits):
        return logits
"""


def status(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_numpy_conforms(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    results, junit = tmp_path / "r.json", tmp_path / "r.xml"
    code, out, _ = status(capsys, "run", "-a", "numpy", "--json", str(results), "--junit", str(junit))
    assert code == 0, out
    assert "numpy: conforms" in out
    loaded = json.loads(results.read_text(encoding="utf-8"))
    schema = json.loads((folder("spec") / "results.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(loaded, schema)
    assert {row["case"] for row in loaded["results"]} == {case.id for case in load_cases()}
    suite = ElementTree.parse(junit).getroot()[0]
    assert suite.get("tests") == str(len(loaded["results"])) and suite.get("failures") == "0"


def test_failures_give_status_1_and_are_all_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    adapter, results, junit = tmp_path / "f.py", tmp_path / "r.json", tmp_path / "r.xml"
    adapter.write_text(FAULTY, encoding="utf-8")
    code, out, _ = status(
        capsys, "run", "softmax/ordinary", "sigmoid/ordinary", "-a", str(adapter),
        "--json", str(results), "--junit", str(junit),
    )  # fmt: skip
    assert code == 1
    assert "failures" in out and "[bold]" in out
    rows = json.loads(results.read_text(encoding="utf-8"))["results"]
    assert {row["verdict"] for row in rows if row["function"] == "softmax"} == {"error"}
    assert {"fail", "pass"} <= {row["verdict"] for row in rows if row["function"] == "sigmoid"}
    suite = ElementTree.parse(junit).getroot()[0]
    assert suite.get("name") == "faulty <&>"
    assert int(suite.get("errors", 0)) == sum(row["verdict"] == "error" for row in rows)


def test_missing_backends_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    results = tmp_path / "r.json"
    code, out, _ = status(capsys, "run", "sigmoid/ordinary/zero", "-a", "torch-cuda", "--json", str(results))
    if "skipped" not in out:
        pytest.skip("a CUDA device is here")
    assert code == 0
    loaded = json.loads(results.read_text(encoding="utf-8"))
    assert loaded["adapters"][0]["skipped"]
    assert {row["verdict"] for row in loaded["results"]} == {"skipped"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "softmax/ordinary/vectr"], "did you mean 'softmax/ordinary/vector'"),
        (["run", "-a", "numpie"], "did you mean 'numpy'"),
        (["run", "-a", "numpie", "--isolate", "sigmoid/ordinary"], "did you mean 'numpy'"),
        (["run", "-f", "sofmax"], "did you mean 'softmax'"),
        (["run", "-d", "float23"], "unknown dtype"),
        (["run", "-a", "numpy", "--json", "/absent/r.json"], "folder does not exist"),
        (["run", "softmax", "-f", "sigmoid"], "no case is left after --function"),
        (["run", "softmax", "-d", "int64"], "no case is left after --dtype"),
        (["explain", "no/such/case"], "no case 'no/such/case'"),
        (["repro", "softmax", "-a", "numpy"], "repro takes one"),
        (["repro", "sigmoid/ordinary/zero", "-a", "numpy", "-d", "int8"], "is not for int8"),
        (["certify", "softmx"], "no case file 'softmx'"),
    ],
)
def test_bad_usage_gives_status_2_and_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = status(capsys, *arguments)
    assert code == 2
    assert message in err and len(err.strip().splitlines()) == 1


def test_a_bad_case_file_gives_status_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("function: softmax\nabout: x: y\ncases: []\n", encoding="utf-8")
    code, _, err = status(capsys, "run", str(path), "-a", "numpy")
    assert code == 2 and "bad.yaml:2: malformed YAML" in err


def test_a_case_without_expectation_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(
        "function: sigmoid\nabout: x\ncases:\n  - id: a\n    clause: SG-1\n    level: required\n"
        "    why: x\n    dtypes: [float32]\n    inputs: {logits: 0.5}\n",
        encoding="utf-8",
    )
    code, _, err = status(capsys, "run", str(path), "-a", "numpy")
    assert code == 2 and "certify --write" in err
    assert status(capsys, "certify", str(path), "--write", "-j", "1")[0] == 0
    assert status(capsys, "run", str(path), "-a", "numpy")[0] == 0


def test_unknown_commands_give_status_2() -> None:
    with pytest.raises(SystemExit) as error:
        main(["rum"])
    assert error.value.code == 2


def test_isolated(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = status(capsys, "run", "sigmoid/ordinary", "-a", "numpy", "--isolate")
    assert code == 0 and "numpy: conforms" in out


@pytest.mark.parametrize("function", FUNCTIONS)
def test_explain_works_for_every_case(function: str) -> None:
    cases = [case for case in load_cases() if case.function.name == function]
    adapter = load_adapter("numpy")
    for case in cases:
        shown = StringIO()
        console = Console(file=shown, width=120)
        show_case(console, case)
        show_answer(console, case, adapter)
        out = shown.getvalue()
        assert case.id in out and "expected value" in out
        assert all(f"{dtype} value: " in out for dtype in case.dtypes)


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = status(capsys, "explain", "softmax/special/nan-first", "-a", "numpy")
    assert code == 0 and "SM-3" in out and "float32 value: pass" in out


REPRODUCED = [
    "softmax/special/nan-in-a-row",
    "log_softmax/ordinary/random-1000-classes",
    "sparse_softmax_cross_entropy/weights/cotangent",
    "softmax_cross_entropy/range/equal-66000",
    "pspnet_resize_labels/nearest/exact-ratio",
    "pspnet_predict/argmax/random",
    "mask_rcnn_mask_loss/ordinary/none-positive",
    "sigmoid_cross_entropy/ordinary/both-weights",
    "euclidean_distance/ordinary/random-512",
    "pspnet_total_loss/auxiliary-head/random",
]


@pytest.mark.parametrize("case", REPRODUCED)
def test_repro_runs_without_lossproof(case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, script, _ = status(capsys, "repro", case, "-a", "numpy")
    assert code == 0 and "import lossproof" not in script and "from lossproof" not in script
    path = tmp_path / "repro.py"
    path.write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "value: as defined" in done.stdout


def test_repro_can_be_written_for_every_case() -> None:
    adapter = load_adapter("numpy").adapter
    assert adapter is not None
    for case in load_cases():
        compile(reproduce(case, adapter, case.dtypes[0]), case.id, "exec")


def test_a_repro_of_a_wrong_backend_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    adapter = tmp_path / "f.py"
    adapter.write_text(FAULTY, encoding="utf-8")
    code, script, _ = status(capsys, "repro", "sigmoid/ordinary/moderate", "-a", str(adapter))
    assert code == 0
    path = tmp_path / "repro.py"
    path.write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "value: DEVIATES" in done.stdout


def test_help_imports_no_framework() -> None:
    code = (
        "import sys; sys.argv = ['lossproof', '--help']\n"
        "from lossproof.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'tensorflow', 'jax', 'keras', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_deviations_are_checked_against_all_cases_whatever_the_dtype(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "from lossproof import Adapter\nclass Mine(Adapter):\n    name = 'mine'\n", encoding="utf-8"
    )
    listed = (
        "deviations:\n  - id: x\n    clause: BCE-1\n    condition: 'c'\n    observed: 'o'\n"
        "    expected: 'e'\n    versions: any\n    upstream: none known\n    where:\n"
        "      - cases: [binary_cross_entropy/limits/beyond-a-hundred]\n"
    )
    path = tmp_path / "mine.deviations.yaml"
    path.write_text(listed, encoding="utf-8")
    arguments = ("run", "-a", str(tmp_path / "mine.py"), "-d", "float32")
    assert status(capsys, *arguments)[0] == 0
    path.write_text(listed.replace("hundred", "hundredth"), encoding="utf-8")
    code, _, err = status(capsys, *arguments)
    assert code == 2 and "no case" in err
