"""Whatever a file holds, every command that reads it says what is wrong in one line, or does its work.

Results, timings, deviations, case files and records of an interrupted run are changed at random and given to
all that reads them and to all that is made of what was read. A few inputs of each kind here;
``python -m tests.test_readers 5000`` tries that many.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

hypothesis = pytest.importorskip("hypothesis")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from lossproof.case.read import load_file  # noqa: E402
from lossproof.cli.main import main  # noqa: E402
from lossproof.core.verdicts import Verdict  # noqa: E402
from lossproof.isolation.load import load_adapter  # noqa: E402
from lossproof.repro.script import reproduce  # noqa: E402
from lossproof.results.file import Results  # noqa: E402
from lossproof.results.folder import file_name  # noqa: E402
from lossproof.site import model, pages  # noqa: E402
from tests.hostile import shows  # noqa: E402
from tests.test_untrusted import LIMIT, messages, mutated, replaced  # noqa: E402

QUICK = 25
CASE = """function: sigmoid
about: a topic
cases:
  - id: zero
    clause: SG-1
    level: required
    why: a reason
    dtypes: [float32, float16]
    inputs: {logits: [0, .inf]}
    expected: {value: [0.5, 1], gradients: {logits: [0.25, 0]}}
    tolerance: {value: [4, 0], gradients: {logits: [4, 0]}}
    variants: [{name: raises, raises: true}]
  - id: described
    clause: SG-1
    level: recommended
    thorough: true
    why: another reason
    dtypes: [float32]
    inputs: {logits: {full: 0, shape: [2, 3]}}
    cotangent: {cycle: [1, 2], shape: [2, 3]}
    layout: {logits: strided}
    wrt: []
    expected: {value: {full: 0.5, shape: [2, 3]}}
    tolerance: {value: {u: 4, a: 1, eta: 2}}
"""
DEVIATIONS = """deviations:
  - id: one
    clause: SG-1
    condition: always
    observed: something
    expected: else
    versions: ">=1,<3"
    upstream: https://example.org/1
    devices: [cpu]
    sporadic: true
    where: [{cases: [sigmoid/*], dtypes: [float32], outputs: [value]}]
"""
ADAPTER = """
from lossproof.adapters.numpy import NumpyAdapter

class Own(NumpyAdapter):
    name, version = "own", "2.1"
    def sigmoid(self, logits):
        return super().sigmoid(logits) + (logits.dtype == "float32")
"""


@cache
def workplace() -> Path:
    """A folder with a file of each kind as lossproof writes it."""
    folder = Path(tempfile.mkdtemp(prefix="lossproof-readers-"))
    (folder / "topic.yaml").write_text(CASE, encoding="utf-8")
    (folder / "own.py").write_text(ADAPTER, encoding="utf-8")
    (folder / "own.deviations.yaml").write_text(DEVIATIONS, encoding="utf-8")
    (folder / "results").mkdir()
    asked = ["run", str(folder / "topic.yaml"), "-a", str(folder / "own.py"), "--no-isolate"]
    files = ["--json", str(folder / "all.json"), "--results", str(folder / "results")]
    with contextlib.redirect_stdout(io.StringIO()):
        main([*asked, *files])
    results = Results.from_json(folder / "all.json")
    assert len(results) and {r.verdict for r in results} > {Verdict.PASS}
    lines = [{"lossproof": "0", "cases": "0"}, {"adapter": msgspec.to_builtins(results.adapters[0])}]
    lines += [{"results": [record.to_json()]} for record in results]
    (folder / "all.json.partial").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (folder / "timings.json").write_text(json.dumps(TIMINGS), "utf-8")
    return folder


TIMINGS = {
    "machine_info": {"cpu": {"brand_raw": "a CPU", "count": 2}, "limits": {"copy": {"cpu": 1.5}}},
    "benchmarks": [
        {
            "group": f"softmax rows {way}", "name": "n", "params": None,
            "stats": {
                "min": 0.5, "q1": 0.5, "median": 1.5, "q3": 1.5, "max": 2.5, "rounds": 2, "data": [0.5, 1.5],
            },
            "extra_info": {
                "adapter": "a", "backend": "a 1", "workload": "w", "direction": way, "threads": 1,
                "starts": [0, 1], "copy_s": [0.5, 0.5], "bytes": 8, "peak_bytes": 5, "first_call_s": 2.5,
                "verdicts": {"value": "pass"}, "bandwidth_limit_s": 0.5, "time_over_copy": ratios,
            },
        }
        for way, ratios in (("forward", []), ("backward", [1.5, 2.5]))
    ],
    "problems": ["p"],
}  # fmt: skip


def example(name: str) -> Any:
    return json.loads((workplace() / name).read_text("utf-8"))


def summary_name() -> str:
    (file,) = (workplace() / "results").glob("*.json")
    return f"results/{file.name}"


# -- what is done with a file --------------------------------------------------------------------


def use_results(path: Path) -> None:
    """Compare, draw, take as a baseline, complete."""
    good, folder = workplace() / "all.json", path.parent
    given = str(path)
    if attempt(["diff", given, str(good)], path) != 2:
        for style in ("markdown", "json"):
            attempt(["diff", str(good), given, "--format", style], path)
        attempt(["report", given, str(good), "-o", str(folder / "site")], path)
        results = Results.from_json(path)
        assert shows(results.summary())
        results.to_json(folder / "again.json")
    asked = ["run", str(workplace() / "topic.yaml"), "-a", str(workplace() / "own.py"), "--no-isolate", "-q"]
    attempt([*asked, "--baseline", given], path)
    (folder / "summaries").mkdir(exist_ok=True)
    (info,) = Results.from_json(good).adapters
    summary = folder / "summaries" / file_name(info)
    summary.write_bytes(path.read_bytes())
    attempt([*asked, "--results", str(summary.parent)], summary)


def use_timings(path: Path) -> None:
    """Show, compare, draw."""
    good, given = str(workplace() / "timings.json"), str(path)
    if attempt(["bench", "--load", given], path) != 2:
        attempt(["bench", "--load", given, "--compare", good], path, "no backend and workload in common")
        attempt(["bench", "--load", good, "--compare", given], path, "no backend and workload in common")
    attempt(["report", given, "-o", str(path.parent / "site")], path)


def use_deviations(path: Path) -> None:
    """Run the adapter that they are beside."""
    adapter = path.with_name(path.name.split(".")[0] + ".py")
    adapter.write_text(ADAPTER, encoding="utf-8")
    asked = [str(workplace() / "topic.yaml"), "-a", str(adapter)]
    # In this process: what is read is read here, and another one takes a second to start.
    ran = attempt(["run", *asked, "-v", "--no-isolate", "--json", str(path.parent / "out.json")], path)
    if ran != 2:
        attempt(["explain", *asked], path)


def use_cases(path: Path) -> None:
    """Run, explain, make scripts, which are Python."""
    given = str(path)
    if attempt(["run", given, "-a", "numpy", "-v", "--thorough"], path, "no case is left") == 2:
        return
    attempt(["explain", given, "-a", "numpy"], path)
    adapter = load_adapter("numpy").adapter
    assert adapter is not None
    for case in load_file(path):
        for full in (False, True):
            script = reproduce(case, adapter, case.dtypes[0], full=full)
            assert shows(script) and ast.parse(script)


def use_partial(path: Path) -> None:
    """Complete the run."""
    asked = ["run", str(workplace() / "topic.yaml"), "-a", str(workplace() / "own.py"), "--no-isolate", "-q"]
    attempt([*asked, "--json", str(path.with_suffix("")), "--resume"], path, "was begun with")


def attempt(arguments: list[str], path: Path, otherwise: str = "\0") -> int:
    """Run a command: it does its work, or says in one line what is wrong in the file (or ``otherwise``)."""
    out, errors = io.StringIO(), io.StringIO()
    begun = time.process_time()  # not the clock: a shared machine stalls now and then
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = main(arguments)
    said = errors.getvalue()
    assert time.process_time() - begun < LIMIT, arguments
    assert status in (0, 1, 2) and shows(out.getvalue()) and shows(said)
    if status == 2:
        assert said.startswith("lossproof: ") and said.count("\n") == 1, said
        assert path.name in said or otherwise in said, said
    return status


# -- what is in a file ---------------------------------------------------------------------------


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Records of an interrupted run, some of which are changed."""
    texts = (workplace() / "all.json.partial").read_bytes().splitlines(keepends=True)
    for number in draw(st.sets(st.integers(0, len(texts) - 1), min_size=1, max_size=3)):
        texts[number] = draw(messages(json.loads(texts[number]))) + b"\n"
    return b"".join(texts)


def encoded(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    return texts.map(lambda text: text.encode("utf-8", "replace"))


Use = Callable[[Path], None]
KINDS: dict[str, tuple[str, Use, Callable[[], st.SearchStrategy[bytes]]]] = {
    "results": ("all.json", use_results, lambda: messages(example("all.json"))),
    "summary": (summary_name(), use_results, lambda: messages(example(summary_name()))),
    "timings": ("timings.json", use_timings, lambda: messages(example("timings.json"))),
    "deviations": ("own.deviations.yaml", use_deviations, lambda: encoded(mutated([DEVIATIONS]))),
    "deviations, other values": (
        "own.deviations.yaml", use_deviations, lambda: encoded(replaced([DEVIATIONS])),
    ),
    "cases": ("topic.yaml", use_cases, lambda: encoded(mutated([CASE]))),
    "cases, other values": ("topic.yaml", use_cases, lambda: encoded(replaced([CASE]))),
    "interrupted run": ("all.json.partial", use_partial, lines),
}  # fmt: skip


@contextlib.contextmanager
def small_sites() -> Iterator[None]:
    """Pages of results alone: all cases of lossproof's and its specification take seconds to read."""
    with pytest.MonkeyPatch.context() as patch:
        cases = load_file(workplace() / "topic.yaml")
        patch.setattr(model, "load_cases", lambda: cases)
        patch.setattr(model, "edge_cases", lambda cases: [])
        patch.setattr(model.Site, "observed", {})
        patch.setattr(pages, "_specification", list)
        patch.setattr(pages, "_calls", lambda site, function: [])
        yield


def fuzz(kind: str, inputs: int) -> None:
    name, use, strategy = KINDS[kind]

    @settings(
        max_examples=inputs, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy())
    def search(content: bytes) -> None:
        try_one(name, use, content)

    with small_sites():
        search()


def try_one(name: str, use: Use, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        use(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_read_or_refused(kind: str) -> None:
    fuzz(kind, QUICK)


DEEP = b"[" * 100_000 + b"]" * 100_000
# Files that no change of a good one comes to.
WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "white space": lambda good: b" \n\t\n",
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "UTF-8 with a mark": lambda good: b"\xef\xbb\xbf" + good,
    "Latin-1": lambda good: good + b"# \xe9\n",
    "half a character": lambda good: good.replace(b"sigmoid", b"\xed\xa0\x80"),
    "NUL": lambda good: b"\0" * 1000,
    "cut": lambda good: good[: len(good) // 2],
    "twice": lambda good: good + good,
    "brackets": lambda good: b"[" * 100_000,
    "brackets that close": lambda good: DEEP,
    "braces": lambda good: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep in a field": lambda good: good.replace(b"{", b'{"x": ' + DEEP + b", ", 1),
    "digits": lambda good: b"9" * 100_000,
    "a list": lambda good: b"[]",
    "a text": lambda good: b'"results"',
    "null": lambda good: b"null",
    "NaN": lambda good: good.replace(b"1", b"NaN"),
    "Infinity": lambda good: good.replace(b"0.5", b"-Infinity"),
    "large": lambda good: good.replace(b"0.5", b"1e400"),
    "long": lambda good: good.replace(b"0.5", b"9" * 400),
    "small": lambda good: good.replace(b"0.5", b"5e-324"),
    "words": lambda good: good.replace(b"float32", b"float31"),
    "other function": lambda good: good.replace(b'"function": "sigmoid"', b'"function": "softmax"').replace(
        b'"function":"sigmoid"', b'"function":"softmax"'
    ),
    "five": lambda good: good.replace(b'"dtypes":["float32"]', b'"dtypes":5').replace(b"[float32]", b"5"),
    "order": lambda good: good.replace(b'"q1": 0.5', b'"q1": 2.0'),
    "escapes": lambda good: good.replace(b"sigmoid", b"\\u0000\\u001b[31m\\u202e"),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "," not in kind])
@pytest.mark.parametrize("change", WHOLE)
def test_another_file_is_read_or_refused(kind: str, change: str) -> None:
    name, use, _ = KINDS[kind]
    with small_sites():
        try_one(name, use, WHOLE[change]((workplace() / name).read_bytes()))


def test_good_files_are_good() -> None:
    with small_sites():
        for name, use, _ in KINDS.values():
            try_one(name, use, (workplace() / name).read_bytes())


NUMBERS = ["-1", "0", "nan", "-inf", "1e400", "9" * 5000, "x", "", "0x10", "1.5", "10000000000"]
# Each with what is wrong in the command line where the number is not.
OPTIONS = {
    "certify --jobs": "./nothing",
    "run --jobs": "--results=nothing",
    "run --timeout": "--results=nothing",
    "bench --starts": "--load=nothing",
    "bench --rounds": "--load=nothing",
    "bench --seconds": "--load=nothing",
    "bench --threads": "--compare=nothing",
    "fuzz --seconds": "--adapter=./nothing.py",
    "fuzz --seed": "--adapter=./nothing.py",
}


@pytest.mark.parametrize("value", NUMBERS, ids=range(len(NUMBERS)))
@pytest.mark.parametrize("option", OPTIONS)
def test_numbers_out_of_range_are_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, name = option.split()
    try:
        status = main([command, f"{name}={value}", OPTIONS[option]])
    except SystemExit as error:  # what argparse refuses
        status = int(error.code or 0)
    said = capsys.readouterr().err
    assert status == 2 and ("error: " in said or said.startswith("lossproof: "))
    assert "Traceback" not in said and shows(said) and len(said) < 1500


if __name__ == "__main__":
    for each in sys.argv[2:] or KINDS:
        started = time.perf_counter()
        fuzz(each, int(sys.argv[1]))
        print(f"{each}: {sys.argv[1]} inputs in {time.perf_counter() - started:.0f} s", flush=True)
