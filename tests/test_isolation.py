"""Adapters in processes of their own: whatever they do costs one case, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lossproof.case.model import Case
from lossproof.cli.main import main
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.engine.runner import jobs, run_here
from lossproof.errors import LossproofError
from lossproof.isolation.load import load_adapter
from lossproof.isolation.parallel import run_parallel
from lossproof.registry.loaded import Loaded
from lossproof.results.file import read_json
from tests.misbehaving import FAULTS, POSIX_FAULTS, START_FAULTS
from tests.own_cases import quick_cases

ROOT = Path(__file__).parent.parent
SIGMOID = [case for case in quick_cases() if case.id.startswith("sigmoid/ordinary/")]
TRIGGER = "sigmoid/ordinary/scalar"


POSIX = pytest.mark.skipif(os.name != "posix", reason="shell scripts and signals")


def misbehaving(kind: str, timeout: float = 20.0) -> Loaded:
    return load_adapter(f"{sys.executable} {ROOT / 'tests' / 'misbehaving.py'} {kind}", timeout=timeout)


def run(loaded: Loaded, cases: list[Case], dtypes: tuple[str, ...] = ("float32",)) -> list[Record]:
    records = [row for rows in run_here(loaded, jobs(cases, dtypes)) for row in rows]
    loaded.adapter.close()  # type: ignore[union-attr]
    return records


def run_outputs(loaded: Loaded, cases: list[Case]) -> list[Record]:
    """The same without the laws of a call, of which these processes show nothing."""
    return [record for record in run(loaded, cases) if not record.is_law]


EXPECTED = {
    "segfault": (Verdict.CRASH, "SIGSEGV"),
    "abort": (Verdict.CRASH, "SIGABRT"),
    "floating-point-exception": (Verdict.CRASH, "SIGFPE"),
    "killed": (Verdict.CRASH, "SIGKILL (out of memory, perhaps)"),
    "out-of-memory": (Verdict.CRASH, "SIGABRT"),
    "real-time-signal": (Verdict.CRASH, "SIGRTMIN+3"),
    "stopped": (Verdict.TIMEOUT, "no answer within 1 s"),
    "grandchild": (Verdict.CRASH, "exit status 3, and something that it started still holds its output"),
    "exit-0": (Verdict.CRASH, "exit status 0"),
    "exit-7": (Verdict.CRASH, "exit status 7"),
    "endless-loop": (Verdict.TIMEOUT, "no answer within 1 s"),
    "half-a-line-then-silence": (Verdict.TIMEOUT, "so far it wrote"),
    "half-a-line-then-exit": (Verdict.CRASH, "exit status 3"),
    "closed-output": (Verdict.CRASH, "closed its output"),
    "endless-line": (Verdict.ERROR, "wrote more than"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_costs_one_case(kind: str) -> None:
    if kind in POSIX_FAULTS and os.name != "posix":
        pytest.skip("only POSIX has that")
    waits = kind in ("endless-loop", "half-a-line-then-silence", "closed-input", "stopped")
    records = run_outputs(misbehaving(kind, 1.0 if waits else 20.0), SIGMOID)
    assert {r.case for r in records} == {case.id for case in SIGMOID if "float32" in case.dtypes}
    wrong = [r for r in records if r.verdict is not Verdict.PASS]
    verdict, message = EXPECTED.get(kind, (None, ""))
    if kind in ("two-answers", "endless-lines", "closed-input", "garbage-before-the-answer"):
        # What comes late is seen when the next case is asked for.
        assert 1 <= len({r.case for r in wrong}) <= 2
    else:
        assert {r.case for r in wrong} == {TRIGGER}
    seen = {r.verdict for r in wrong} - ({Verdict.FAIL} if kind == "two-answers" else set())
    assert seen <= {Verdict.CRASH, Verdict.TIMEOUT, Verdict.ERROR}
    assert all(r.message for r in wrong)
    assert verdict is None or {r.verdict for r in wrong} == {verdict}
    assert message in wrong[0].message or os.name != "posix"
    if verdict is Verdict.CRASH and kind != "closed-output":
        assert "its last words: about to fail" in wrong[0].message


@pytest.mark.parametrize("kind", START_FAULTS)
def test_an_adapter_that_does_not_start_is_reported_once(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"{sys.executable} {ROOT / 'tests' / 'misbehaving.py'} {kind}"
    assert main(["run", "sigmoid/ordinary", "-a", "numpy", "-a", command]) == 2
    out, err = capsys.readouterr()
    assert err.count("did not start: ") == 1 and kind in err
    assert "crash" not in out + err


FAULTY = """
import os, signal, sys, time
from lossproof.adapters.numpy import NumpyAdapter

class Faulty(NumpyAdapter):
    name = "faulty"

    def sigmoid(self, logits):
        if logits.shape == ():
            os.kill(os.getpid(), signal.SIGSEGV)
        if logits.size == 2:
            time.sleep(60)
        if logits.size == 10000:
            os._exit(7)
        if logits.size == 0:
            print("on stdout", flush=True)
        return super().sigmoid(logits)
"""


@POSIX
def test_python_adapters_are_isolated_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "faulty.py"
    path.write_text(FAULTY, encoding="utf-8")
    found = {
        r.case.rsplit("/", 1)[1]: r
        for r in run_outputs(load_adapter(str(path), isolate=True, timeout=2.0), SIGMOID)
    }
    assert set(found) == {case.id.rsplit("/", 1)[1] for case in SIGMOID}
    assert found["scalar"].verdict is Verdict.CRASH and "SIGSEGV" in found["scalar"].message
    assert found["zero"].verdict is Verdict.TIMEOUT and "2 s" in found["zero"].message
    assert found["random"].verdict is Verdict.CRASH and "exit status 7" in found["random"].message
    for name in ("moderate", "empty", "cotangent", "strided", "transposed"):
        assert found[name].verdict is Verdict.PASS, found[name]


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_isolated_parallel_and_direct_runs_agree(name: str) -> None:
    # Of each topic the first case in each dtype, and every 7th besides.
    first = {case.id.rpartition("/")[0]: case.id for case in reversed(quick_cases())}.values()
    cases = [case for number, case in enumerate(quick_cases()) if case.id in first or number % 7 == 0]
    pairs = list(jobs(cases, []))
    here = load_adapter(name)
    if here.adapter is None:
        pytest.skip(str(here.info.skipped))
    direct = [row.to_json() for rows in run_here(here, pairs) for row in rows]
    apart = load_adapter(name, isolate=True)
    assert apart.info == here.info
    assert apart.deviations.entries == here.deviations.entries
    parallel = [row.to_json() for rows in run_parallel(apart, pairs, 3) for row in rows]
    apart.adapter.close()  # type: ignore[union-attr]
    assert parallel == direct


def test_every_shape_and_stride_survives_the_pipe() -> None:
    """A Python adapter sees the strides that the case asks for, through the pipe as well."""
    cases = [case for case in quick_cases() if case.layout]
    assert cases
    here = [row for rows in run_here(load_adapter("numpy"), jobs(cases, [])) for row in rows]
    assert run(load_adapter("numpy", isolate=True), cases, ()) == here


@POSIX
def test_an_isolated_adapter_that_cannot_be_loaded_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(LossproofError, match="did you mean 'numpy'"):
        load_adapter("numpie", isolate=True)
    with pytest.raises(LossproofError, match="cannot be started: No such file"):
        load_adapter("/absent/program --flag")
    with pytest.raises(LossproofError, match="No closing quotation"):
        load_adapter("node 'x")
    with pytest.raises(LossproofError, match="brings its own interpreter"):
        load_adapter("node x.mjs", python=sys.executable)
    with pytest.raises(LossproofError, match="lossproof is not installed there"):
        load_adapter("numpy", python=_python_without_lossproof(tmp_path))


def _python_without_lossproof(folder: Path) -> str:
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} -S -I -c "import lossproof"\n')
    script.chmod(0o755)
    return str(script)


@POSIX
def test_another_environments_interpreter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marked = tmp_path / "python"
    marked.write_text(f'#!/bin/sh\ntouch {tmp_path}/used\nexec {sys.executable} "$@"\n')
    marked.chmod(0o755)
    arguments = ["run", "sigmoid/ordinary", "-a", "numpy", "--python", str(marked)]
    assert main(arguments) == 0
    assert (tmp_path / "used").exists()
    assert "numpy: conforms" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["run", "--python", str(marked)])
    assert "--python belongs after" in capsys.readouterr().err


def test_a_missing_framework_is_skipped_in_its_own_process() -> None:
    loaded = load_adapter("torch-cuda", isolate=True)
    if loaded.adapter is not None:
        pytest.skip("a CUDA device is here")
    assert loaded.info.skipped


@pytest.fixture(scope="module")
def c_adapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "the example in C needs a compiler"
    program = tmp_path_factory.mktemp("c") / "adapter"
    source = ROOT / "examples" / "c" / "adapter.c"
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-o", program, source, "-lm"], check=True)
    return str(program)


@POSIX
def test_the_example_in_c_conforms(c_adapter: str, capsys: pytest.CaptureFixture[str]) -> None:
    functions = ["-f", "sigmoid", "-f", "softmax", "-f", "softmax_cross_entropy"]
    assert main(["run", "-a", c_adapter, *functions]) == 0
    assert "c: conforms" in capsys.readouterr().out
    source = (ROOT / "examples" / "c" / "adapter.c").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 100


@POSIX
def test_a_command_is_explained_and_reproduced(
    c_adapter: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "softmax/special/nan-in-a-row", "-a", c_adapter]) == 0
    assert "float32 value: pass" in capsys.readouterr().out
    assert main(["repro", "softmax/special/nan-in-a-row", "-a", c_adapter]) == 0
    script = tmp_path / "repro.py"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "value: pass" in done.stdout


@POSIX
def test_an_interrupted_run_keeps_its_results_and_resumes(tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\nfrom lossproof.adapters.numpy import NumpyAdapter\n"
        "class Slow(NumpyAdapter):\n    name = 'slow'\n"
        "    def sigmoid(self, logits):\n        time.sleep(0.05)\n        return super().sigmoid(logits)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "lossproof", "run", "sigmoid", "-a", str(slow)]
    whole, results = tmp_path / "whole.json", tmp_path / "results.json"
    partial = tmp_path / "results.json.partial"
    for how in (signal.SIGINT, signal.SIGKILL):
        started = subprocess.Popen(
            [*command, "--json", str(results), "--resume"],
            stderr=subprocess.PIPE,
            # What runs in the background of a shell ignores Ctrl-C, and so does what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        before = partial.stat().st_size if partial.exists() else 0
        deadline = time.monotonic() + 60
        while not partial.exists() or partial.stat().st_size < before + 1500:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(started.pid, how)
        _, err = started.communicate(timeout=60)
        if how is signal.SIGINT:
            assert started.returncode == 130 and b"--resume completes it" in err
            kept = len(read_json(results).records)
            assert kept
    # A line that was cut off in the middle is dropped.
    with partial.open("ab") as file:
        file.write(b'{"results": [{"case": "sig')
    done = subprocess.run([*command, "--json", str(results), "--resume"], capture_output=True)
    assert done.returncode == 0 and not partial.exists()
    subprocess.run([*command, "--json", str(whole)], check=True, capture_output=True)
    assert read_json(results).records == read_json(whole).records
    assert len(read_json(results).records) > kept


def test_resuming_refuses_what_does_not_belong_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "r.json"
    partial = tmp_path / "r.json.partial"
    assert main(["run", "--resume", "-a", "numpy", "sigmoid/ordinary"]) == 2
    assert "--resume needs --json" in capsys.readouterr().err
    partial.write_text("nonsense\n", encoding="utf-8")
    assert main(["run", "sigmoid/ordinary", "-a", "numpy", "--json", str(results), "--resume"]) == 2
    assert "r.json.partial:1" in capsys.readouterr().err
    # Without --resume it is begun anew.
    assert main(["run", "sigmoid/ordinary", "-a", "numpy", "--json", str(results)]) == 0
    assert not partial.exists() and json.loads(results.read_text())["results"]


RECORDING = """
import json, os, sys

log = open(sys.argv[1], "a")
start = {"protocol": 1, "name": "recording", "functions": ["sigmoid"], "dtypes": ["float32"]}
for line in sys.stdin:
    message = json.loads(line)
    print(os.getpid(), message["command"], file=log, flush=True)
    if message["command"] == "stop":
        break
    answer = start if message["command"] == "start" else {"id": message["id"], "unsupported": "it records"}
    print(json.dumps(answer), flush=True)
print(os.getpid(), "exit", file=log, flush=True)
"""


@pytest.fixture
def recording(tmp_path: Path) -> tuple[str, Path]:
    """A command that keeps every rule of the protocol, and the file in which it says what it was sent."""
    script, log = tmp_path / "recording.py", tmp_path / "log"
    script.write_text(RECORDING, encoding="utf-8")
    return f"{sys.executable} {script} {log}", log


def processes(log: Path) -> dict[str, list[str]]:
    """What each process was sent, in order, and that it came to its end."""
    sent: dict[str, list[str]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        process, what = line.split()
        sent.setdefault(process, []).append(what)
    return sent


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "sigmoid/ordinary"],
        ["run", "sigmoid/ordinary", "--jobs", "2"],
        ["explain", "sigmoid/ordinary/scalar"],
        ["repro", "sigmoid/ordinary/scalar"],
    ],
    ids=" ".join,
)
def test_every_process_is_told_to_stop_and_exits_by_itself(
    recording: tuple[str, Path], arguments: list[str]
) -> None:
    command, log = recording
    subprocess.run(
        [sys.executable, "-m", "lossproof", *arguments, "--adapter", command],
        capture_output=True,
        check=False,  # nothing is judged of a recording
    )
    found = processes(log)
    assert found
    for sent in found.values():
        assert sent[0] == "start" and sent[-2:] == ["stop", "exit"]
        assert set(sent[1:-2]) <= {"run"}


def test_a_forgotten_adapter_is_told_to_stop(recording: tuple[str, Path]) -> None:
    command, log = recording
    loaded = load_adapter(command)
    assert loaded.adapter is not None
    del loaded
    assert list(processes(log).values()) == [["start", "stop", "exit"]]


def test_an_adapter_that_is_skipped_is_told_to_stop(recording: tuple[str, Path]) -> None:
    command, log = recording
    script = log.with_name("recording.py")
    script.write_text(RECORDING.replace('"functions"', '"skipped": "no device", "functions"'), "utf-8")
    assert load_adapter(command).info.skipped == "no device"
    assert list(processes(log).values()) == [["start", "stop", "exit"]]


def test_what_is_broken_off_in_the_middle_of_a_call_is_killed(recording: tuple[str, Path]) -> None:
    """A process that was asked and has not answered is out of step; it is not waited for."""
    command, log = recording
    script = log.with_name("recording.py")
    script.write_text(
        RECORDING.replace("    answer", '    if message["command"] == "run":\n        continue\n    answer'),
        encoding="utf-8",
    )
    records = run_outputs(load_adapter(command, timeout=0.5), SIGMOID[:1])
    assert {r.verdict for r in records} == {Verdict.TIMEOUT}
    (sent, *_) = processes(log).values()
    assert sent == ["start", "run"]


def test_parallel_runs_end_on_an_error_of_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = load_adapter("numpy", isolate=True)

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lossproof.engine.runner.run_case", broken)
    with pytest.raises(KeyboardInterrupt):
        list(run_parallel(apart, jobs(SIGMOID, []), 2))


def test_arrays_of_an_isolated_run_are_its_own() -> None:
    """What an adapter does to its inputs does not reach the next case."""
    from lossproof.isolation.encode import encode_array
    from lossproof.isolation.protocol import decode_array

    array = decode_array(encode_array(np.arange(3.0)), "x")
    array[0] = 7
    assert array.flags.writeable
