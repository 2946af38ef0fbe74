"""Case files, results files and adapters' answers may come from anyone: no crash and no hang.

A few thousand inputs here; ``python -m tests.test_untrusted 100000`` tries that many of each kind.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from lossproof.bench.compare import read_samples, rows  # noqa: E402
from lossproof.case.read import load_file  # noqa: E402
from lossproof.core.resources import folder  # noqa: E402
from lossproof.errors import InputError  # noqa: E402
from lossproof.isolation import protocol  # noqa: E402
from lossproof.isolation.protocol import ProtocolError  # noqa: E402
from lossproof.registry.deviations import load_deviations  # noqa: E402
from lossproof.results.file import read_json  # noqa: E402

QUICK = 1500
# No input may take more of the processor (seconds).
LIMIT = 5.0

CASE_FILES = [p.read_text(encoding="utf-8") for p in sorted(folder("cases").rglob("special.yaml"))]
DEVIATIONS = [
    p.read_text(encoding="utf-8").split("\n  - id: ")[0] + "\n  - id: ".join(["", *_entries[1:6]])
    for p in sorted(folder("adapters").glob("*.deviations.yaml"))
    for _entries in [p.read_text(encoding="utf-8").split("\n  - id: ")]
]
RESULT = {
    "schema": 1,
    "environment": {},
    "adapters": [{"name": "a", "backend": "a", "version": "1", "device": "cpu"}],
    "results": [
        {
            "case": "a/b/c", "function": "a", "clause": "A-1", "adapter": "a", "dtype": "float32",
            "output": "value", "verdict": "pass", "variant": None, "error_ulp": None, "error": 0.5,
            "allowed": 1, "message": "",
        }
    ],
}  # fmt: skip
ARRAY = {"shape": [2, 1], "dtype": "float32", "data": [0.5, "NaN"]}
ANSWER = {"id": 1, "value": ARRAY, "gradients": {"logits": {**ARRAY, "data": "AAAAAAAAAAA="}}}
TIMINGS: dict[str, object] = {
    "machine_info": {"cpu": {"brand_raw": "x", "count": 2}, "limits": {}},
    "benchmarks": [
        {
            "group": "g", "name": "n", "params": None,
            "stats": {"min": 0.5, "q1": 0.5, "median": 1.5, "q3": 1.5, "data": [0.5, 1.5]},
            "extra_info": {
                "adapter": "a", "threads": 1, "starts": [0, 1], "copy_s": [0.5, 0.5], "bytes": 8,
                "peak_bytes": None, "verdicts": {"value": "pass"},
            },
        }
    ],
    "problems": ["p"],
}  # fmt: skip
RUN: dict[str, object] = {
    "command": "run", "id": 1, "function": "softmax", "arrays": {"logits": ARRAY},
    "parameters": {"axis": -1, "weight": None, "size": [2, 3]}, "wrt": ["logits"],
}  # fmt: skip
START = {"protocol": 1, "name": "x", "dtypes": ["float32"], "functions": ["softmax"], "encoding": "any"}

NASTY = [
    "[" * 70, "{" * 70, "- " * 70, "&a [*a, *a]", "!!python/object:os.system", "<<: *a", "1" * 500,
    "1e999999999", "0x1p999999999", "-0x1p-99999", ".nan", "9" * 5000, "\x00", "\ud7ff", "'", '"', "|\n",
    ": ",
    "shape: [99999999, 99999999]", "random: normal", "full: 1", "expected: {sums: 3}", "Infinity", "null",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts with a few edits: cut, doubled, replaced or spiked."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        spike = draw(st.one_of(st.sampled_from(NASTY), st.text(max_size=8), st.just(text[start:end] * 2)))
        text = text[:start] + spike + text[end:]
    return text


@cache
def parsed(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(text, Loader=yaml.CBaseLoader)
    return document


@st.composite
def replaced(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the files, cut to a case or two, with some values replaced by anything."""
    document = dict(parsed(draw(st.sampled_from(texts))))
    key = next(name for name, value in document.items() if isinstance(value, list))
    document[key] = draw(st.lists(st.sampled_from(document[key]), min_size=1, max_size=2, unique_by=id))
    document = json.loads(json.dumps(document))
    anything = values(
        st.none() | st.booleans() | st.integers(-3, 70) | st.floats() | st.text(max_size=6)
        | st.sampled_from([2**26, 2**64, -1, "mean", "float32", "softmax", "normal", ".nan", "0x1p-1074"])
    )  # fmt: skip
    for _ in range(draw(st.integers(1, 2))):
        place: Any = document
        while True:
            places = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            at = draw(st.sampled_from(places))
            if isinstance(place[at], (dict, list)) and place[at] and draw(st.integers(0, 4)):
                place = place[at]
                continue
            place[at] = draw(anything)
            break
    # Quoted numbers would all be text to the loader.
    return re.sub(
        r"'([-+.0-9xpeinfa]+)'", r"\1", yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    )


def values(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    )


@st.composite
def messages(draw: st.DrawFn, example: dict[str, object]) -> bytes:
    """A message with some fields replaced by anything, now and then one that is no JSON."""
    anything = values(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
        | st.sampled_from([2**26, 2**63, 10**400, -1, "NaN", "AAAA", "float32", "bfloat16", "int64", "bool"])
    )  # fmt: skip
    message: Any = json.loads(json.dumps(example))
    for _ in range(draw(st.integers(0, 3))):
        place = message
        while True:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.integers(0, 3)):
                place = place[key]
                continue
            place[key] = draw(anything)
            break
    line = json.dumps(message).encode()
    if draw(st.integers(0, 3)) == 0:
        line = draw(mutated([line.decode()])).encode("utf-8", "surrogatepass")
    return line


def try_case_file(text: str) -> None:
    for_sure(lambda: load_file(Path("fuzzed.yaml"), text), InputError)


def try_deviations(text: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8", errors="replace") as file:
        file.write(text)
        file.flush()
        for_sure(lambda: load_deviations(Path(file.name)), InputError)


def try_results(line: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(line)
        file.flush()
        for_sure(lambda: read_json(Path(file.name)), InputError)


def try_timings(line: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(line)
        file.flush()
        for_sure(lambda: rows(read_samples(Path(file.name))), InputError)


def try_request(line: bytes) -> None:
    for_sure(lambda: protocol.read_request(line), ProtocolError)


def try_answer(line: bytes) -> None:
    for_sure(lambda: protocol.read_answer(line, 1, ["logits"]), ProtocolError)


def try_start(line: bytes) -> None:
    for_sure(lambda: protocol.read_start(line), ProtocolError)


def for_sure(read: Callable[[], object], refusal: type[Exception]) -> None:
    """It is read, or refused with a message; anything else is a bug of ours."""
    start = time.process_time()  # not the clock: a shared machine stalls now and then
    with contextlib.suppress(refusal):
        read()
    assert time.process_time() - start < LIMIT


KINDS: dict[str, tuple[Callable[..., None], st.SearchStrategy[object]]] = {
    "case file": (try_case_file, mutated(CASE_FILES)),
    "case file with other values": (try_case_file, replaced(CASE_FILES)),
    "deviations file with other values": (try_deviations, replaced(DEVIATIONS)),
    "deviations file": (try_deviations, mutated(DEVIATIONS)),
    "results file": (try_results, messages(RESULT)),
    "timings file": (try_timings, messages(TIMINGS)),
    "request": (try_request, messages(RUN)),
    "answer": (try_answer, messages(ANSWER)),
    "start": (try_start, messages(START)),
}


def fuzz(kind: str, inputs: int) -> None:
    target, strategy = KINDS[kind]

    @settings(
        max_examples=inputs, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def search(text: object) -> None:
        target(text)

    search()


@pytest.mark.parametrize("kind", KINDS)
def test_anything_is_read_or_refused(kind: str) -> None:
    fuzz(kind, QUICK // 3)


if __name__ == "__main__":
    for each in sys.argv[2:] or KINDS:
        begun = time.perf_counter()
        fuzz(each, int(sys.argv[1]))
        print(f"{each}: {sys.argv[1]} inputs in {time.perf_counter() - begun:.0f} s", flush=True)
