"""What fails a run, baselines, badges, and new adapters from the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import lossproof
from lossproof.cli.main import main
from lossproof.core.functions import FUNCTIONS
from lossproof.core.validate import fit
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.errors import InputError, LossproofError
from lossproof.isolation.load import load_adapter
from lossproof.registry.find import BUILTIN, Builtin
from lossproof.results.badge import conformance, write_badge
from lossproof.results.baseline import Baseline
from lossproof.results.file import read_json
from lossproof.results.gate import LEVELS, Gate
from tests.own_cases import every_case

ROOT = Path(__file__).parent.parent


def record(verdict: Verdict, case: str = "a/b/c") -> Record:
    return Record(case, "a", "A-1", "x", "float32", "value", verdict)


@pytest.mark.parametrize("level", LEVELS)
def test_levels_include_those_before_them(level: str) -> None:
    order = [
        (Verdict.CRASH, Verdict.TIMEOUT),
        (Verdict.FAIL, Verdict.ERROR),
        (Verdict.DEVIATION,),
        (Verdict.BELOW,),
        (Verdict.UNSUPPORTED,),
        (Verdict.SKIPPED,),
    ]
    failing = {v for v in Verdict if Gate(level).fails(record(v))}
    assert failing == {v for group in order[: list(LEVELS).index(level)] for v in group}


def test_with_a_baseline_only_what_got_worse_fails() -> None:
    before = Baseline([record(Verdict.FAIL)])
    gate = Gate("fail", before)
    assert not gate.fails(record(Verdict.FAIL)) and gate.tolerated(record(Verdict.FAIL))
    assert gate.fails(record(Verdict.CRASH))
    assert gate.fails(record(Verdict.FAIL, "a/b/new"))
    assert not gate.tolerated(record(Verdict.PASS))


WRONG = """
import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

class Wrong(NumpyAdapter):
    name = "wrong"
    def sigmoid(self, logits):
        return np.exp(logits) / (1 + np.exp(logits))
"""


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    path = tmp_path / "wrong.py"
    path.write_text(WRONG, encoding="utf-8")
    return str(path)


def test_baseline_badge_and_junit_together(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, junit, badge = tmp_path / "r.json", tmp_path / "r.xml", tmp_path / "r.svg"
    run = ["run", "sigmoid", "-a", wrong]
    files = ["--json", str(results), "--junit", str(junit), "--badge", str(badge)]
    assert main([*run, *files]) == 1
    failures = int(ElementTree.parse(junit).getroot()[0].get("failures", 0))
    assert failures > 0 and "#b42318" in badge.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*run, "--baseline", str(results), "--junit", str(junit)]) == 0
    out = capsys.readouterr().out
    assert f"{failures} no worse than the baseline" in out
    suite = ElementTree.parse(junit).getroot()[0]
    assert suite.get("failures") == "0" and suite.find(".//skipped") is not None
    assert main([*run, "--fail-on", "never"]) == 0
    # What was right in the baseline is not forgiven.
    document = json.loads(results.read_text(encoding="utf-8"))
    for row in document["results"]:
        row["verdict"] = "pass"
    results.write_text(json.dumps(document), encoding="utf-8")
    assert main([*run, "--baseline", str(results)]) == 1


def test_fail_on_deviation_and_unsupported(wrong: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.py"
    empty.write_text("from lossproof import Adapter\nclass E(Adapter):\n    name = 'e'\n", encoding="utf-8")
    assert main(["run", "sigmoid", "-a", str(empty), "--fail-on", "never"]) == 0
    some = tmp_path / "some.py"
    some.write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\n"
        "class S(NumpyAdapter):\n    name = 's'\n    softmax = None\n", encoding="utf-8",
    )  # fmt: skip
    assert main(["run", "sigmoid/ordinary/zero", "softmax/ordinary/vector", "-a", str(some)]) == 0
    assert main(["run", "softmax", "sigmoid", "-a", str(some), "--fail-on", "unsupported"]) == 1
    assert main(["run", "sigmoid", "-a", "numpy", "--fail-on", "skipped"]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", "no JSON"),
        ("[" * 100000, "no JSON"),
        ("[]", "no results file"),
        ('{"schema": 2}', "no results file of schema 1"),
        ('{"schema": 1}', "has environment, adapters and results"),
        ('{"schema": 1, "environment": {}, "adapters": [1], "results": []}', "an adapter has name"),
        (
            '{"schema": 1, "environment": {}, "adapters": [], "results": [{}]}',
            "result 1 lacks the field 'case'; it must have case, function",
        ),
    ],
)
def test_bad_results_files_are_named(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.json"):
        read_json(path)
    assert main(["run", "sigmoid", "-a", "numpy", "--baseline", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [{"verdict": "good"}, {"case": 1}, {"error": "1"}, {"error": True}, {"variant": 3}, {"extra": 1}],
)
def test_bad_records_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        fit({**record(Verdict.PASS).to_json(), **change}, Record)


def test_the_figure_of_the_badge(tmp_path: Path) -> None:
    assert conformance({}) == ("nothing judged", "#b42318")
    assert conformance({Verdict.UNSUPPORTED: 1})[0] == "nothing judged"
    assert conformance({Verdict.PASS: 1, Verdict.UNSUPPORTED: 1}) == ("100 %", "#2a7f3b")
    assert conformance({Verdict.PASS: 9999, Verdict.BELOW: 1}) == ("99.9 %", "#8a6d00")
    assert conformance({Verdict.PASS: 1, Verdict.CRASH: 1}) == ("50.0 %", "#b42318")
    write_badge(tmp_path / "b.svg", {Verdict.PASS: 1}, label="a <&> b")
    root = ElementTree.parse(tmp_path / "b.svg").getroot()
    assert root.get("aria-label") == "a <&> b: 100 %"


# -- new adapters ----------------------------------------------------------------------------


def test_a_new_adapter_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-adapter", "my-backend"]) == 0
    path = tmp_path / "my_backend_adapter.py"
    assert "lossproof run --adapter my_backend_adapter.py" in capsys.readouterr().out
    assert main(["run", "-a", path.name]) == 1
    assert "my-backend: nothing to judge" in capsys.readouterr().out
    text = path.read_text(encoding="utf-8")
    for function in FUNCTIONS.values():
        assert f"# def {function.name}(self, " in text
    # Filling in a function makes its cases run.
    filled = text.replace("    # def sigmoid(self", "    def sigmoid(self").replace(
        "    #     return my_backend.sigmoid(logits)",
        "        from lossproof.adapters.numpy import NumpyAdapter\n"
        "        return NumpyAdapter().sigmoid(logits)",
    )
    path.write_text(filled, encoding="utf-8")
    assert main(["run", "-a", path.name, "--json", "r.json"]) == 0
    judged = {r.function for r in read_json(Path("r.json")).records if r.verdict is Verdict.PASS}
    assert judged == {"sigmoid"}
    # Every commented method is Python once its comment signs are gone.
    body = text[text.index("    # def l2_loss") : text.index("    # One kernel")]
    compile("class C:\n" + re.sub("^    # ", "    ", body, flags=re.M), "skeleton", "exec")


@pytest.mark.parametrize(
    ("name", "message"),
    [("numpy", "there is an adapter"), ("a/b", "is no name"), ("here", "is there already")],
)
def test_bad_names_of_new_adapters(
    name: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here_adapter.py").touch()
    assert main(["new-adapter", name]) == 2
    assert message in capsys.readouterr().err


PLUGIN = "from lossproof import Adapter\nclass Plugged(Adapter):\n    name = 'plugged'\n"


def test_installed_packages_register_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "plugged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lossproof.adapters]\nplugged = plugged_module:Plugged\nbare = needs_framework:Adapter\n"
        "gone = no_such_module:Adapter\nbroken = needs_broken:Adapter\npartly = needs_part:Adapter\n"
        "wrong = wrong_module:Adapter\n"
    )
    (tmp_path / "plugged_module.py").write_text(PLUGIN)
    (tmp_path / "needs_framework.py").write_text("import framework_that_is_absent\n")
    (tmp_path / "needs_broken.py").write_text("import framework_that_is_broken\n")
    (tmp_path / "framework_that_is_broken.py").write_text("import library_that_is_absent\n")
    (tmp_path / "needs_part.py").write_text("import framework_that_is_broken.part\n")
    (tmp_path / "wrong_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert main(["run", "sigmoid", "-a", "plugged", "--fail-on", "never"]) == 0
    assert "plugged: nothing to judge" in capsys.readouterr().out
    skipped = load_adapter("bare").info.skipped
    assert skipped == "framework_that_is_absent is not installed"
    with pytest.raises(LossproofError, match="its package lacks no_such_module"):
        load_adapter("gone")
    # What is there and does not work is no absence.
    for name, message in (
        ("broken", "ModuleNotFoundError: No module named 'library_that_is_absent'"),
        ("partly", "ModuleNotFoundError"),
        ("wrong", "ZeroDivisionError"),
    ):
        with pytest.raises(LossproofError, match=f"adapter '{name}': .* fails to import: {message}"):
            load_adapter(name)


@pytest.mark.parametrize(
    "error", ["raise ImportError('libcudart.so.12: no such file')", "import absent_module_x", "1 / 0",
              "import sys; sys.exit(0)", "import os; os._exit(0)"],
)  # fmt: skip
def test_a_built_in_adapter_that_fails_to_import_is_an_error(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_framework_x.py").write_text(error, encoding="utf-8")
    (tmp_path / "adapter_of_x.py").write_text("import broken_framework_x\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "adapter_of_x", raising=False)
    builtin = Builtin("adapter_of_x", "Adapter", "broken_framework_x", "torch")
    monkeypatch.setitem(BUILTIN, "torch", builtin)
    assert main(["run", "sigmoid/ordinary/scalar", "-a", "torch"]) == 2
    assert "adapter 'torch': adapter_of_x fails to import" in capsys.readouterr().err


def test_a_framework_or_its_backend_that_is_absent_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    for absent in (
        Builtin("m", "A", "absent_module_x", "keras"),
        Builtin("m", "A", "os", "k", "absent_module_x"),
    ):
        monkeypatch.setitem(BUILTIN, "keras", absent)
        assert "absent_module_x is not installed" in str(load_adapter("keras").info.skipped)


# -- lossproof.check ------------------------------------------------------------------------------


def test_check_passes_what_is_right_and_says_what_is_wrong() -> None:
    from lossproof.adapters.numpy import NumpyAdapter

    numpy = NumpyAdapter()
    records = lossproof.check(numpy.softmax, "softmax")
    assert {r.verdict for r in records} <= {Verdict.PASS, Verdict.VARIANT}
    assert {r.output for r in records if not r.is_law} == {"value"}

    def gradient(v, logits, *, axis):  # type: ignore[no-untyped-def]
        return numpy._grad_softmax(v, logits, axis=axis)["logits"].astype(logits.dtype)

    with_gradients = lossproof.check(numpy.softmax, "softmax", gradient=gradient)
    assert {r.output for r in with_gradients if not r.is_law} == {"value", "gradients.logits"}
    with pytest.raises(AssertionError) as error:
        lossproof.check(lambda logits: logits, "sigmoid", dtypes=["float32"])
    text = str(error.value)
    for part in ("sigmoid/", "float32 value", "(SG-", "worst at", "is due", "ULP", "is allowed", "and "):
        assert part in text


def test_check_leaves_out_what_the_function_cannot_take() -> None:
    seen = set()

    def last_axis(logits):  # type: ignore[no-untyped-def]
        seen.add(logits.shape)
        raise lossproof.Unsupported("nothing, really")

    with pytest.raises(LossproofError, match="no case is left to run"):
        lossproof.check(last_axis, "softmax")
    assert seen
    with pytest.raises(LossproofError, match="did you mean 'softmax'"):
        lossproof.check(last_axis, "sofmax")
    with pytest.raises(LossproofError, match="no case is left"):
        lossproof.check(last_axis, "softmax", cases=["nothing/*"])


def test_check_finds_every_case_of_a_function_without_parameters() -> None:
    from lossproof.adapters.numpy import NumpyAdapter

    records = lossproof.check(NumpyAdapter().sigmoid, "sigmoid", thorough=True)
    required = {c.id for c in every_case() if c.function.name == "sigmoid" and c.level == "required"}
    assert {r.case for r in records} == required


# -- examples ---------------------------------------------------------------------------------------


def test_the_example_kernels() -> None:
    pytest.importorskip("torch")
    folder = ROOT / "examples" / "one_kernel"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_kernels.py"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
    arguments = ["run", "-a", str(folder / "adapter.py"), "-f", "sparse_softmax_cross_entropy"]
    assert main(arguments) == 0


# -- nothing judged is not green ---------------------------------------------------------------


NOTHING = {
    "no function": "",
    "no device": "    def __init__(self):\n        raise Unavailable('no device')\n",
    "everything refused": "    def sigmoid(self, logits):\n        raise Unsupported('not today')\n",
}


@pytest.mark.parametrize("kind", NOTHING)
def test_what_judges_nothing_is_not_green(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, badge = tmp_path / "nothing.py", tmp_path / "badge.svg"
    path.write_text(
        "from lossproof import Adapter, Unavailable, Unsupported\n"
        "class A(Adapter):\n    name = 'a'\n" + NOTHING[kind],
        encoding="utf-8",
    )
    asked = ["run", "sigmoid", "-a", str(path)]
    assert main([*asked, "--badge", str(badge)]) == 1
    assert "nothing was judged of a" in capsys.readouterr().err
    assert "nothing judged" in badge.read_text(encoding="utf-8") and "#b42318" in badge.read_text("utf-8")
    # One that conforms beside it does not make it green.
    assert main([*asked, "-a", "numpy"]) == 1
    assert main([*asked, "--fail-on", "never"]) == 0


def test_what_conforms_says_how_much_was_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "values.py"
    path.write_text(
        "from lossproof import Adapter\nfrom lossproof.adapters.numpy import NumpyAdapter\n"
        "class V(Adapter):\n    name = 'v'\n"
        "    def sigmoid(self, logits):\n        return NumpyAdapter().sigmoid(logits)\n", encoding="utf-8",
    )  # fmt: skip
    assert main(["run", "sigmoid", "-a", str(path)]) == 0
    out = capsys.readouterr().out
    found = re.search(r"v: conforms  \((\d+) of (\d+) outputs, unsupported: ([^)]*)\)", out)
    assert found and 0 < int(found[1]) < int(found[2])
    assert found[3].split("; ") == [
        f"this adapter defines no {what}" for what in ("value_and_gradients", "jvp", "hvp")
    ]


def test_an_expectation_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "topic.yaml"
    path.write_text(
        "function: sigmoid\nabout: x\ncases:\n  - id: a\n    clause: SG-1\n    level: required\n    why: x\n"
        "    dtypes: [float32]\n    inputs: {logits: 0}\n    expected: {}\n", encoding="utf-8",
    )  # fmt: skip
    assert main(["run", str(path), "-a", "numpy"]) == 2
    assert "expected is empty" in capsys.readouterr().err
