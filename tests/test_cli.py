"""The command line as people and CI use it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from rich.console import Console

import lossproof
from lossproof.case.read import load_cases
from lossproof.cli.case_view import show_answer, show_case
from lossproof.cli.completion import names
from lossproof.cli.main import COMMANDS, main
from lossproof.core.clauses import clauses
from lossproof.core.functions import FUNCTIONS
from lossproof.core.install import install
from lossproof.core.resources import folder
from lossproof.isolation.load import load_adapter
from lossproof.registry.find import BUILTIN, available_names
from lossproof.registry.presence import presences
from lossproof.results.journal import Journal
from lossproof.site.edges import edge_cases
from tests.own_cases import all_cases, every_case, quick_cases

FAULTY = """
from lossproof.adapters.numpy import NumpyAdapter

class Faulty(NumpyAdapter):
    name = "faulty <&>"

    def softmax(self, logits, *, axis):
        raise ValueError("hostile \\x00 [bold] text, half a character: \\ud800")

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
    assert {row["case"] for row in loaded["results"]} == {case.id for case in quick_cases()}
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
    softmax = [row for row in rows if row["function"] == "softmax"]
    assert {row["verdict"] for row in softmax} == {"error"}
    assert all(row["message"].endswith("half a character: ?") for row in softmax)
    assert {"fail", "pass"} <= {row["verdict"] for row in rows if row["function"] == "sigmoid"}
    suite = ElementTree.parse(junit).getroot()[0]
    assert suite.get("name") == "faulty <&>"
    assert int(suite.get("errors", 0)) == sum(row["verdict"] == "error" for row in rows)


def test_missing_backends_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    results = tmp_path / "r.json"
    code, out, _ = status(capsys, "run", "sigmoid/ordinary/zero", "-a", "torch-cuda", "--json", str(results))
    if "skipped" not in out:
        pytest.skip("a CUDA device is here")
    assert code == 1
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
    cases = [case for case in quick_cases() if case.function.name == function]
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


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help_is_light(arguments: list[str]) -> None:
    """No command's help needs NumPy, rich or a framework; the list of commands not even their modules."""
    code = (
        "import sys\nfrom lossproof.cli.main import main\n"
        "try: main([*sys.argv[1:], '--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'tensorflow', 'jax', 'numpy', 'yaml', 'rich', 'pytest'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "ours = {m for m in sys.modules if m.startswith('lossproof.cli.')}\n"
        "ours -= {f'lossproof.cli.{n}' for n in ('main', 'output', 'shell')}\n"
        "assert sys.argv[1:] or not ours, ours\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert arguments or re.findall(r"^    (\S+)", done.stdout, re.M) == list(COMMANDS)


def test_the_package_is_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "lossproof", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == f"lossproof {lossproof.__version__}\n"


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
    arguments = ("run", "-a", str(tmp_path / "mine.py"), "-d", "float32", "--fail-on", "never")
    assert status(capsys, *arguments)[0] == 0
    path.write_text(listed.replace("hundred", "hundredth"), encoding="utf-8")
    code, _, err = status(capsys, *arguments)
    assert code == 2 and "no case" in err


# -- what is written, and when --------------------------------------------------------------------

NO_CASE = """
deviations:
  - id: x
    clause: SG-1
    condition: c
    observed: o
    expected: e
    versions: any
    upstream: none known
    where:
      - cases: [sigmoid/ordinary/absent]
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["-a", "numpy", "-a", "nosuch"],
        ["-a", "nosuch", "--isolate"],
        ["-a", "numpy", "-a", "broken.py"],
        ["-a", "numpy", "-a", "broken.py", "--isolate"],
        ["-a", "numpy", "-a", "listed.py"],
        ["-a", "numpy", "-a", "lossproof.adapters.numpy:NumpyAdapter"],
        ["-a", "numpy", "-a", "./absent --flag"],
        ["-a", "numpy", "--baseline", "absent.json"],
        ["-a", "numpy", "--dtype", "float23"],
        ["-a", "numpy", "no/such/case"],
        ["-a", "numpy", "--junit", "."],
        ["-a", "numpy", "--badge", "absent/b.svg"],
    ],
    ids=" ".join,
)
def test_bad_usage_leaves_every_file_alone(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("1 / 0", encoding="utf-8")
    adapter = "from lossproof import Adapter\nclass Listed(Adapter):\n    name = 'listed'\n"
    Path("listed.py").write_text(adapter, encoding="utf-8")
    Path("listed.deviations.yaml").write_text(NO_CASE, encoding="utf-8")
    kept = {name: f"good {name}" for name in ("r.json", "r.json.partial", "r.xml", "b.svg")}
    for name, text in kept.items():
        Path(name).write_text(text, encoding="utf-8")
    files = ["--json", "r.json", "--junit", "r.xml", "--badge", "b.svg"]
    code, out, err = status(capsys, "run", *files, *arguments)
    assert code == 2 and not out and len(err.splitlines()) == 1
    assert {name: Path(name).read_text(encoding="utf-8") for name in kept} == kept


def test_results_of_another_version_are_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    adapter = (
        "from lossproof.adapters.numpy import NumpyAdapter\nclass A(NumpyAdapter):\n    name = 'a'\n"
        "    version = '{}'\n    def __init__(self): pass\n"
    )
    Path("a.py").write_text(adapter.format(1), encoding="utf-8")
    command = ["run", "sigmoid/ordinary", "-a", "numpy", "-a", "a.py", "--json", "r.json"]
    monkeypatch.setattr(Journal, "close", lambda self, complete: None)
    assert status(capsys, *command)[0] == 0  # leaves r.json.partial
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text(adapter.format(2), encoding="utf-8")
    code, _, err = status(capsys, *command, "--resume")
    assert code == 0 and err == "lossproof: 32 earlier results made anew: a was 1 on cpu\n"
    results = lossproof.Results.from_json("r.json")
    assert [info.version for info in results.adapters if info.name == "a"] == ["2"]
    assert not Path("r.json.partial").exists()


# -- names and files ------------------------------------------------------------------------------


@pytest.fixture
def shadows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose files are called like functions, cases and adapters."""
    monkeypatch.chdir(tmp_path)
    one = "function: sigmoid\nabout: x\ncases:\n  - id: half\n    clause: SG-1\n    level: required\n"
    one += "    why: x\n    dtypes: [float32]\n    inputs: {logits: 0}\n"
    for folder_name in ("softmax", "mine"):
        (tmp_path / folder_name / "special").mkdir(parents=True)
        (tmp_path / folder_name / "special" / "mine.yaml").write_text(one, encoding="utf-8")
    assert main(["certify", "mine", "./softmax", "--write", "-j", "1"]) == 0
    for name in ("torch", "mlx", "mine-too"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "functions"),
    [
        ("softmax", {"softmax"}),
        ("softmax/special", {"softmax"}),
        ("./softmax", {"sigmoid"}),
        ("softmax/", {"sigmoid"}),
        ("softmax/special/mine.yaml", {"sigmoid"}),
        ("mine", {"sigmoid"}),
    ],
)
def test_names_of_cases_win_over_files(
    reference: str, functions: set[str], shadows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(capsys, "run", reference, "-a", "numpy", "--json", "r.json")[0] == 0
    assert {record.function for record in lossproof.Results.from_json("r.json")} == functions


def test_certify_takes_names_before_files(shadows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = sum(case.id.startswith("softmax/special/") for case in every_case())
    assert own > 1
    assert status(capsys, "certify", "softmax/special", "-j", "1")[1].startswith(f"{own} cases")
    assert status(capsys, "certify", "./softmax/special", "-j", "1")[1].startswith("1 cases")


def test_names_of_adapters_win_over_executables(shadows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_adapter("torch").info.backend == "torch"
    assert load_adapter("mlx").info.backend == "mlx"
    code, _, err = status(capsys, "run", "sigmoid/ordinary", "-a", "./torch")
    assert code == 2 and "./torch" in err and "exit status 3" in err
    code, _, err = status(capsys, "run", "-a", "mine-too")
    assert code == 2 and "unknown adapter 'mine-too'" in err and "write ./mine-too" in err


# -- quiet ----------------------------------------------------------------------------------------


def test_quiet_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = status(capsys, "run", "sigmoid/ordinary", "-a", "numpy", "-q")
    assert code == 0 and not err
    assert re.fullmatch(r"numpy: conforms; \d+ outputs in \d+\.\d s\n", out)


def test_quiet_lists_what_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    adapter = tmp_path / "f.py"
    adapter.write_text(FAULTY, encoding="utf-8")
    command = ["run", "sigmoid/ordinary", "-a", "numpy", "-a", str(adapter), "-a", "torch-cuda"]
    code, out, _ = status(capsys, *command, "--quiet")
    assert code == 1
    first, *listed, last = out.splitlines()
    assert first == "faulty <&>" and all(" fail  sigmoid/ordinary/" in line for line in listed)
    assert re.match(rf"numpy: conforms; faulty <&>: {len(listed)} failures; torch-cuda: ", last)


def test_quiet_and_verbose_exclude_each_other() -> None:
    with pytest.raises(SystemExit) as error:
        main(["run", "-q", "-v"])
    assert error.value.code == 2


# -- list -----------------------------------------------------------------------------------------


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    code, out, _ = status(capsys, "list", "--json", *arguments)
    assert code == 0
    return json.loads(out)  # type: ignore[no-any-return]


def test_list_knows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, list[str]] = {}
    for row in listed(capsys):
        found.setdefault(row["kind"], []).append(row["id"])
    assert list(found) == ["functions", "cases", "adapters", "workloads", "clauses", "edge-cases"]
    assert found["functions"] == list(FUNCTIONS)
    assert found["cases"] == [case.id for case in all_cases()]
    assert found["adapters"] == available_names()
    assert found["clauses"] == list(clauses())
    assert len(found["workloads"]) == len(load_cases([folder("workloads")]))
    assert len(found["edge-cases"]) == len(edge_cases({case.id: case for case in every_case()}))


def test_list_says_how_many_and_what_to_type_next(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = status(capsys, "list")
    assert code == 0
    number = len(all_cases())
    assert f"\n{number} cases\n" in out and f"… and {number - 20} more: lossproof list --cases\n" in out
    assert "→ lossproof run -f l2_loss\n" in out
    code, out, _ = status(capsys, "list", "--cases", "softmax")
    assert code == 0 and " more: " not in out
    assert out.splitlines()[1].startswith("  softmax/") and "→ lossproof explain softmax/" in out


@pytest.mark.parametrize(
    ("words", "kind", "identifier"),
    [
        (["ignore_index"], "functions", "sparse_softmax_cross_entropy"),
        (["label-smoothing"], "functions", "softmax_cross_entropy"),
        (["ImageNet"], "cases", "softmax/ordinary/random-1000-classes"),  # its reason
        (["ImageNet"], "workloads", "softmax classification-128x1000"),
        (["stagnate"], "clauses", "SM-9"),
        (["equal", "half", "precision"], "edge-cases", "softmax"),  # a title
        (["torch"], "adapters", "torch-compile"),
    ],
)
def test_a_word_is_looked_for_in_everything(
    words: list[str], kind: str, identifier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = listed(capsys, *words)
    assert (kind, identifier) in {(row["kind"], row["id"]) for row in rows}
    assert len(rows) < len(every_case())


def test_the_cases_of_a_clause(capsys: pytest.CaptureFixture[str]) -> None:
    found = {row["id"] for row in listed(capsys, "--cases", "SM-1")}
    assert found == {case.id for case in every_case() if case.clause == "SM-1"}


def test_what_list_prints_next_works(capsys: pytest.CaptureFixture[str]) -> None:
    seen = {row["kind"]: row["then"] for row in listed(capsys, "sigmoid") if "bench" not in row["then"]}
    seen.pop("adapters", None)
    assert {"functions", "cases", "clauses", "edge-cases"} <= seen.keys()
    for command in seen.values():
        _, *arguments = command.split()
        assert status(capsys, *arguments, *(["-a", "numpy"] if arguments[0] != "list" else []))[0] == 0


def test_nothing_found(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = status(capsys, "list", "sofmax", "--functions", "--cases")
    assert code == 2 and not out
    assert err == "lossproof: nothing matches 'sofmax' (did you mean 'softmax'?) among functions, cases\n"


def test_missing_adapters_are_told_without_importing_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "plugged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lossproof.adapters]\nready = ready_module:A\nbare = bare_module:A\ngone = gone_module:A\n"
    )
    (tmp_path / "ready_module.py").write_text("import json\nraise SystemExit('imported')\n")
    (tmp_path / "bare_module.py").write_text("import json\nfrom absent_framework.nn import f\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BUILTIN, "jax", replace(BUILTIN["jax"], requires="absent_jax"))
    missing = {presence.name: presence.missing for presence in presences()}
    assert missing["ready"] is None and missing["numpy"] is None
    assert missing["bare"] == "absent_framework is not installed"
    assert missing["gone"] == "gone_module is not installed"
    assert missing["jax"] == f"absent_jax is not installed: {install('jax')}"


# -- completion -----------------------------------------------------------------------------------


def test_names_lead_to_ids() -> None:
    assert names("cases", "soft") == [f"{name}/" for name in FUNCTIONS]
    assert "softmax/special/" in names("case", "softmax/s")
    own = [case.id for case in every_case() if case.id.startswith("softmax/special/")]
    assert names("case", "softmax/special/nan") == own
    assert names("adapter", "") == available_names()
    assert names("json", "") == []


@pytest.mark.parametrize(
    ("line", "due"),
    [
        ("lossproof rep", {"repro", "report"}),
        ("lossproof run --js", {"--json"}),
        ("lossproof run -a torch-", {"torch-compile", "torch-cuda", "torch-mps", "torch-xpu"}),
        ("lossproof run -f softmax_", {"softmax_cross_entropy"}),
        ("lossproof run --dtype b", {"bfloat16"}),
        ("lossproof explain softmax/special/nan-f", {"softmax/special/nan-first"}),
        ("lossproof run ma", {"mask_rcnn_mask_loss/", "mask_rcnn_mask_loss_with_logits/",
                              "mask_rcnn_select_masks/", "makeshift.yaml"}),
    ],
)  # fmt: skip
def test_bash_completes(line: str, due: set[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    (tmp_path / "makeshift.yaml").touch()
    bash = shutil.which("bash")
    assert bash, "completion is tested in bash"
    script = (
        'eval "$(register-python-argcomplete lossproof)"\n'
        'COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9 COMPREPLY=()\n'
        '_python_argcomplete lossproof\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [bash, "--norc", "-c", script, "bash", line],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert {word.strip() for word in done.stdout.split()} == due, done.stderr
