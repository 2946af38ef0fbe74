"""The Python interface: what is public, ``lossproof.run`` and its results."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lossproof.adapters.numpy import NumpyAdapter
from msgspec.structs import fields

import lossproof
from lossproof import Record, Results, Verdict
from lossproof.cli.main import main
from lossproof.core.functions import FUNCTIONS

PAGE = Path(__file__).parent.parent / "docs" / "python.md"


class Wrong(NumpyAdapter):
    name = "wrong"

    def sigmoid(self, logits):  # type: ignore[no-untyped-def]
        return logits


class Empty(lossproof.Adapter):
    name = "empty"


class Absent(lossproof.Adapter):
    name = "absent"

    def __init__(self) -> None:
        raise lossproof.Unavailable("it is not here")


@pytest.fixture(scope="module")
def results() -> Results:
    return lossproof.run(["numpy", Wrong], cases="sigmoid/ordinary", dtypes=["float64", "float32"])


# -- what is public -------------------------------------------------------------------------------


def test_public_names_are_listed_once_and_found() -> None:
    tree = ast.parse(Path(lossproof.__file__).read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    for_types = {
        alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert {*for_types, "__version__"} == set(lossproof.__all__)
    assert list(lossproof.__all__) == sorted(lossproof.__all__)
    for name in lossproof.__all__:
        assert getattr(lossproof, name) is not None and name in dir(lossproof)
    with pytest.raises(AttributeError, match="no attribute 'sotfmax'"):
        lossproof.sotfmax  # noqa: B018


def test_the_page_and_the_list_agree() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = {name for line in re.findall(r"^## (.+)$", text, re.M) for name in line.split(", ")}
    rows = set(re.findall(r"^\| `(\w+)` \|", text[text.index("## Exceptions") :], re.M))
    assert (headings - {"Exceptions"}) | rows | {"__version__"} == set(lossproof.__all__)
    assert "`lossproof.__version__`" in text
    record = text[text.index("## Record") : text.index("## Verdict")]
    cells = " ".join(re.findall(r"^\| (`.+?`) \|", record, re.M))
    assert set(re.findall(r"`(\w+)`", cells)) == {field.name for field in fields(Record)}
    verdicts = text[text.index("## Verdict") : text.index("## check")]
    assert set(Verdict) <= set(re.findall(r"`(\w+)`", verdicts))


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S):
        exec(compile(block, str(PAGE), "exec"), names)
    assert (tmp_path / "results.json").is_file() and names["records"]


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, lossproof; print([m for m in sys.modules if m.startswith(('lossproof.', 'numpy'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- run ------------------------------------------------------------------------------------------


def test_run_judges_what_the_command_judges(results: Results, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\nclass Wrong(NumpyAdapter):\n    name = 'wrong'\n"
        "    def sigmoid(self, logits): return logits\n",
        encoding="utf-8",
    )
    file = tmp_path / "r.json"
    dtypes = ["-d", "float64", "-d", "float32"]
    adapters = ["-a", "numpy", "-a", str(tmp_path / "wrong.py")]
    assert main(["run", "sigmoid/ordinary", *adapters, *dtypes, "--json", str(file)]) == 1
    assert Results.from_json(file).records == results.records
    assert [info.name for info in results.adapters] == ["numpy", "wrong"]
    assert {record.dtype for record in results} == {"float64", "float32"}


def test_one_adapter_by_name_class_instance_and_file_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\nclass Mine(NumpyAdapter):\n    name = 'numpy'\n",
        encoding="utf-8",
    )
    given = ["numpy", NumpyAdapter, NumpyAdapter(), file, "lossproof.adapters.numpy:NumpyAdapter"]
    first, *others = (lossproof.run(one, cases="softmax/axis").records for one in given)
    assert first and all(other == first for other in others)


def test_arguments_choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = lossproof.run("numpy", functions=["sigmoid", "softmax"], dtypes="float64")
    assert {record.function for record in chosen} == {"sigmoid", "softmax"}
    assert {record.dtype for record in chosen} == {"float64"}
    # A path object is a path even where it looks like a name.
    monkeypatch.chdir(tmp_path)
    Path("softmax").mkdir()
    assert {r.function for r in lossproof.run("numpy", cases=["softmax/axis"])} == {"softmax"}
    with pytest.raises(lossproof.LossproofError, match="no case is left"):
        lossproof.run("numpy", cases=Path("softmax"))


def test_processes_of_their_own_give_the_same(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\nclass Other(NumpyAdapter):\n    name = 'other'\n",
        encoding="utf-8",
    )
    here = lossproof.run(["numpy", other], cases="softmax/ordinary")
    apart = lossproof.run(["numpy", other], cases="softmax/ordinary", isolate=True)
    assert apart.records == here.records and apart.adapters == here.adapters
    two = lossproof.run("numpy", cases="softmax/ordinary", jobs=2, python=sys.executable, timeout=30)
    assert two.records == tuple(record for record in here if record.adapter == "numpy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"adapter": "numpie"}, "did you mean 'numpy'"),
        ({"adapter": []}, "no adapter is given"),
        ({"adapter": [NumpyAdapter, dict]}, "<class 'dict'> is no adapter"),
        ({"adapter": 42}, "42 is no adapter"),
        ({"adapter": ["numpy", NumpyAdapter]}, "two adapters are called 'numpy'"),
        ({"adapter": NumpyAdapter, "isolate": True}, "runs in this process"),
        ({"adapter": NumpyAdapter, "jobs": 2}, "runs in this process"),
        ({"adapter": NumpyAdapter, "python": sys.executable}, "runs in this process"),
        ({"adapter": "numpy", "functions": "sofmax"}, "unknown function 'sofmax'.*'softmax'"),
        ({"adapter": "numpy", "dtypes": "float23"}, "unknown dtype 'float23'"),
        ({"adapter": "numpy", "cases": "softmax/x/y"}, "no case 'softmax/x/y'"),
        ({"adapter": "numpy", "jobs": 0}, "jobs 1 or more"),
        ({"adapter": "numpy", "timeout": 0}, "timeout must be above 0"),
        ({"adapter": "numpy", "cases": "softmax", "dtypes": "int64"}, "no case is left"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(lossproof.LossproofError, match=message):
        lossproof.run(**arguments)  # type: ignore[arg-type]


# -- Results --------------------------------------------------------------------------------------


def test_results_count_and_conclude(results: Results) -> None:
    assert len(results) == len(list(results)) == sum(results.counts.values())
    assert not results.conforms
    assert {record.adapter for record in results.failures} == {"wrong"}
    assert len(results.failures) == results.counts["fail"] == results.counts[Verdict.FAIL] > 0
    assert lossproof.run("numpy", cases="sigmoid/ordinary").conforms


@pytest.mark.parametrize(
    ("adapter", "says"), [(Empty, "nothing to judge"), (Absent, "skipped, it is not here")]
)
def test_what_judged_nothing_does_not_conform(adapter: type[lossproof.Adapter], says: str) -> None:
    nothing = lossproof.run(adapter, cases="sigmoid/ordinary")
    assert len(nothing) and not nothing.failures and not nothing.conforms
    assert says in nothing.summary()


def test_results_say_what_they_are(results: Results) -> None:
    lines = repr(results).splitlines()
    assert lines[0] == f"<Results: {len(results)} outputs"
    assert re.fullmatch(r"numpy: conforms  \(\d+ outputs\)", lines[1])
    assert lines[2].startswith(f"wrong: {len(results.failures)} failures  (")
    assert results.summary() in repr(results)


def test_rows_are_plain_and_alike(results: Results) -> None:
    rows = results.to_dicts()
    assert len(rows) == len(results)
    assert {tuple(row) for row in rows} == {tuple(field.name for field in fields(Record))}
    assert {type(value) for row in rows for value in row.values()} <= {str, float, type(None)}
    assert rows[0]["function"] in FUNCTIONS and rows[0]["verdict"] == "pass"


def test_a_file_is_read_as_what_was_written(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    other = Results({**results.environment, "lossproof": "0.0.0"}, results.adapters, results.records)
    other.to_json(str(path))
    assert Results.from_json(path) == other
    with pytest.raises(lossproof.InputError, match=r"absent.json: cannot be read"):
        Results.from_json(tmp_path / "absent.json")
    with pytest.raises(lossproof.InputError, match="cannot be written"):
        results.to_json(tmp_path)
