"""What the harness itself costs.

pytest benchmarks/harness/test_harness.py --benchmark-only
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lossproof.adapter import Adapter
from lossproof.case.model import Case
from lossproof.case.read import load_cases
from lossproof.case.select import select_cases
from lossproof.core.resources import folder
from lossproof.core.verdicts import Verdict
from lossproof.engine import answer, law_calls, laws
from lossproof.engine.runner import jobs, run_here
from lossproof.isolation.load import load_adapter
from lossproof.isolation.parallel import run_parallel
from lossproof.isolation.remote import RemoteAdapter
from lossproof.oracle.certify import certify


def test_help(benchmark: Any) -> None:
    benchmark.pedantic(
        lambda: subprocess.run(
            [sys.executable, "-m", "lossproof", "--help"], check=True, capture_output=True
        ),
        rounds=5,
    )


def test_load_all_cases(benchmark: Any) -> None:
    cases = benchmark.pedantic(load_cases, rounds=5, warmup_rounds=1)
    benchmark.extra_info["cases"] = len(cases)


def test_certify_on_two_processes(benchmark: Any) -> None:
    certificates, problems = benchmark.pedantic(lambda: certify([folder("cases")], jobs=2), rounds=1)
    assert not problems
    elements = sum(certificate.elements for certificate in certificates)
    benchmark.extra_info["elements"] = elements
    benchmark.extra_info["elements_per_second"] = elements / benchmark.stats.stats.mean


class Timed:
    """Adds up the time spent inside an adapter's own calls: the bare framework calls."""

    def __init__(self, adapter: Adapter) -> None:
        self.seconds = 0.0
        for name in ("from_numpy", "evaluate", "value_and_gradients", "to_numpy"):
            setattr(adapter, name, self.wrap(getattr(adapter, name)))

    def wrap(self, method: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


EAGER = ("numpy", "torch", "tensorflow", "keras")


def runnable() -> list[Case]:
    """All but the huge ones."""
    return [case for case in load_cases() if not case.huge]


def test_overhead_over_bare_calls(benchmark: Any) -> None:
    """Time of runs over the time inside the frameworks' calls, all eager backends in this process.

    Adapters of compilers compile for every case; beside that, the harness does not show.
    """
    loaded = [load_adapter(name) for name in EAGER]
    missing = [entry.info.name for entry in loaded if entry.adapter is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} cannot run")
    pairs = list(jobs(runnable(), []))
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in EAGER}
    timed = [Timed(entry.adapter) for entry in loaded if entry.adapter is not None]

    def run() -> None:
        for entry, calls in zip(loaded, timed, strict=True):
            calls.seconds, start = 0.0, time.perf_counter()
            for _ in run_here(entry, pairs):
                pass
            seconds[entry.info.name].append((time.perf_counter() - start, calls.seconds))

    # In the first round inputs are generated and libraries warm up.
    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    best = {name: min(found[1:]) for name, found in seconds.items()}
    for name, (whole, bare) in best.items():
        benchmark.extra_info[name] = {"run_s": whole, "bare_s": bare, "ratio": whole / bare}
    ratio = sum(whole for whole, _ in best.values()) / sum(bare for _, bare in best.values())
    benchmark.extra_info["ratio"] = ratio
    assert ratio <= 1.3


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_cost_of_the_laws(benchmark: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time of a quick run with the laws of a call over the time without them, in turn."""
    loaded = load_adapter(name)
    if loaded.adapter is None:
        pytest.skip(f"{name} cannot run")
    pairs = list(jobs(select_cases([], []), []))
    seconds: dict[bool, list[float]] = {False: [], True: []}

    def run() -> None:
        for lawful in seconds:
            with monkeypatch.context() as patch:
                if not lawful:
                    patch.setattr(laws, "rulings", lambda *args: iter(()))
                    patch.setattr(law_calls, "sampled", lambda case, dtype: False)
                    patch.setattr(answer, "_bits", lambda adapter, arrays: None)
                start = time.perf_counter()
                for _ in run_here(loaded, pairs):
                    pass
                seconds[lawful].append(time.perf_counter() - start)

    # In the first round inputs are generated and libraries warm up.
    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    without, with_ = (min(found[1:]) for found in seconds.values())
    benchmark.extra_info.update(without_s=without, with_s=with_, ratio=with_ / without)
    assert with_ <= 1.5 * without


def test_one_case(benchmark: Any) -> None:
    """From the command line to the verdict of one case: start, imports, reading all case files."""
    command = [sys.executable, "-m", "lossproof", "run", "sigmoid/ordinary/scalar", "-a", "numpy"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=5)


def test_collection(benchmark: Any) -> None:
    """pytest collecting NumPy's conformance, a test per case and dtype."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--pyargs", "lossproof.cases"]
    command += ["--adapter", "numpy", "-p", "no:cacheprovider"]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=3)


@pytest.fixture(scope="module")
def peaks() -> dict[int, float]:
    """Peak memory of a run in MiB, by number of cases."""
    return {}


@pytest.mark.parametrize("cases", [1_000, 10_000, 100_000])
def test_many_cases(benchmark: Any, cases: int, tmp_path: Path, peaks: dict[int, float]) -> None:
    """Synthetic cases, 500 in a file, in one dtype, with a results file and JUnit."""
    text = (folder("cases") / "softmax" / "ordinary.yaml").read_text(encoding="utf-8")
    head, first, *_ = re.split(r"(?m)^(?=  - id: )", text)
    for number in range(cases // 500):
        body = (re.sub(r"id: \S+", f"id: case-{n}", first, count=1) for n in range(500))
        (tmp_path / f"synthetic-{number}.yaml").write_text(head + "".join(body), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "lossproof",
        "run",
        "-a",
        "numpy",
        "-d",
        "float32",
        str(tmp_path),
    ]
    command += ["--json", str(tmp_path / "results.json"), "--junit", str(tmp_path / "junit.xml")]

    # A small process starts it: what a large one starts is said to have been as large.
    start = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); "
    start += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"

    def run() -> None:
        done = subprocess.run([sys.executable, "-c", start, *command], check=True, stdout=subprocess.PIPE)
        peaks[cases] = float(done.stdout)

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["peak_mib"] = peaks[cases]
    benchmark.extra_info["milliseconds_per_case"] = 1000 * benchmark.stats.stats.mean / cases
    # Ids are kept, and so are line numbers in the results file: some hundred bytes a case.
    assert peaks[cases] - min(peaks.values()) < 64


@pytest.fixture(scope="module")
def c_adapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("c") / "adapter"
    source = Path(__file__).parents[2] / "examples" / "c" / "adapter.c"
    subprocess.run(["cc", "-O2", "-o", program, source, "-lm"], check=True)
    return str(program)


@pytest.mark.parametrize("how", ["in-process", "isolated", "pipe-to-c"])
def test_cost_per_case(benchmark: Any, how: str, c_adapter: str) -> None:
    """Small cases of one function, so that what is measured is the way there and back."""
    reference = c_adapter if how == "pipe-to-c" else "numpy"
    loaded = load_adapter(reference, isolate=how == "isolated")
    pairs = list(jobs(runnable(), ["float32"]))
    pairs = [(case, d) for case, d in pairs if case.id.startswith("sigmoid/tails/")]

    def run() -> None:
        for _ in run_here(loaded, pairs):
            pass

    benchmark.pedantic(run, rounds=20, warmup_rounds=2)
    benchmark.extra_info["milliseconds_per_case"] = 1000 * benchmark.stats.stats.median / len(pairs)
    if isinstance(loaded.adapter, RemoteAdapter):
        loaded.adapter.close()


def test_recovery_after_a_crash(benchmark: Any, tmp_path: Path) -> None:
    """From the crash to the next answer: a new process that imports NumPy and lossproof."""
    path = tmp_path / "crashing.py"
    path.write_text(
        "import os\nfrom lossproof.adapters.numpy import NumpyAdapter\nclass Crashing(NumpyAdapter):\n"
        "    name = 'crashing'\n    def sigmoid(self, logits):\n"
        "        return os.abort() if logits.shape == () else super().sigmoid(logits)\n",
        encoding="utf-8",
    )
    loaded = load_adapter(str(path), isolate=True)
    by_id = {case.id: case for case in load_cases()}
    crash, fine = by_id["sigmoid/ordinary/scalar"], by_id["sigmoid/ordinary/moderate"]

    def run() -> None:
        (rows,) = run_here(loaded, [(fine, "float32")])
        assert rows[0].verdict is Verdict.PASS

    benchmark.pedantic(run, setup=lambda: list(run_here(loaded, [(crash, "float32")])) and None, rounds=5)


@pytest.mark.parametrize("name", ["torch", "jax"])
@pytest.mark.parametrize("processes", [1, 2])
def test_jobs(benchmark: Any, name: str, processes: int) -> None:
    """All float32 cases, isolated, start of the framework included."""
    if load_adapter(name).adapter is None:
        pytest.skip(f"{name} is not installed")
    pairs = list(jobs(runnable(), ["float32"]))

    def run() -> None:
        loaded = load_adapter(name, isolate=True)
        for _ in run_parallel(loaded, pairs, processes):
            pass
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()

    benchmark.pedantic(run, rounds=1)
