"""Processes: none outlives lossproof, one that fails is started again, and no operating system is special."""

from __future__ import annotations

import ast
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lossproof.cli.main import main
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.record import Record
from lossproof.engine.runner import jobs, run_here
from lossproof.errors import LossproofError
from lossproof.isolation import protocol, remote, system
from lossproof.isolation.load import load_adapter
from lossproof.isolation.orphans import GUARD
from lossproof.isolation.parallel import run_parallel
from lossproof.isolation.process import LineProcess
from lossproof.isolation.remote import NotStarted, serving
from lossproof.registry.find import file_and_class
from lossproof.registry.loaded import Loaded
from tests.own_cases import quick_cases

ROOT = Path(__file__).parent.parent
SIGMOID = [case for case in quick_cases() if case.id.startswith("sigmoid/ordinary/")]
TRIGGER = "sigmoid/ordinary/scalar"
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs groups of processes")
# Nothing is expected to take so long (seconds).
HANG = 60.0


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG
    while not what():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def numbers(file: Path, count: int) -> list[int]:
    """The numbers of the processes that have written theirs, a line each, once there are so many."""
    wait_for(lambda: file.exists() and file.read_text("utf-8").count("\n") >= count)
    return [int(line) for line in file.read_text("utf-8").splitlines()]


# -- nothing is left behind ------------------------------------------------------------------------

PYTHON = """
import ctypes, os, subprocess, sys, time
from lossproof.adapters.numpy import NumpyAdapter

def note(pid):
    with open({log!r}, "a") as log:
        log.write(f"{{pid}}\\n")

class Hanging(NumpyAdapter):
    name = "hanging"

    def sigmoid(self, logits):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note(child.pid)
        note(os.getpid())
        {how}
"""
# A library that keeps the interpreter to itself while it computes lets no thread of Python's look around.
HOW = {"asleep": "time.sleep(600)", "busy": "while True: pass", "in-c": "ctypes.PyDLL(None).sleep(600)"}

COMMAND = """
import json, os, subprocess, sys, time
start = {"protocol": 1, "name": "hanging", "functions": ["sigmoid"]}
for line in sys.stdin:
    if json.loads(line)["command"] == "start":
        print(json.dumps(start), flush=True)
        continue
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(sys.argv[1], "a") as log:
        log.write(f"{child.pid}\\n{os.getpid()}\\n")
    time.sleep(600)
"""


@POSIX
@pytest.mark.parametrize("how", ["in-c", "command"])
def test_no_orphan_survives_a_killed_parent(how: str, tmp_path: Path) -> None:
    log, script = tmp_path / "log", tmp_path / "hanging.py"
    script.write_text(
        COMMAND if how == "command" else PYTHON.format(log=str(log), how=HOW[how]), encoding="utf-8"
    )
    adapter = f"{sys.executable} {script} {log}" if how == "command" else str(script)
    run = [sys.executable, "-m", "lossproof", "run", TRIGGER, "-d", "float32", "--isolate", "-a", adapter]
    parent = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    left = numbers(log, 2)
    assert all(map(alive, left))
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(map(alive, left)))


@pytest.mark.parametrize("how", ["asleep", "busy"])
def test_what_serves_ends_with_its_input_in_the_middle_of_a_call(how: str, tmp_path: Path) -> None:
    """By itself, as it has to where nobody guards it."""
    log, script = tmp_path / "log", tmp_path / "hanging.py"
    script.write_text(PYTHON.format(log=str(log), how=HOW[how]), encoding="utf-8")
    process = subprocess.Popen(serving(str(script)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    request = {
        "command": "run", "id": 1, "function": "sigmoid", "parameters": {}, "wrt": [],
        "arrays": {"logits": {"shape": [], "dtype": "float32", "data": [0.5]}},
    }  # fmt: skip
    assert process.stdin and process.stdout
    process.stdin.write(b"".join(map(protocol.dump, [protocol.start_request(), request])))
    process.stdin.flush()
    child, _ = numbers(log, 2)
    process.stdin.close()
    try:
        assert process.wait(HANG) == 0
    finally:
        process.stdout.close()
        psutil.Process(child).kill()


def test_an_adapter_cannot_read_the_requests(tmp_path: Path) -> None:
    script = tmp_path / "reading.py"
    script.write_text(
        "import sys\nfrom lossproof.adapters.numpy import NumpyAdapter\n"
        "class Reading(NumpyAdapter):\n    name = 'reading'\n"
        "    def sigmoid(self, logits):\n"
        "        return super().sigmoid(logits) if not sys.stdin.read() else None\n",
        encoding="utf-8",
    )
    assert {r.verdict for r in run(load_adapter(str(script), isolate=True))} == {Verdict.PASS}


@POSIX
def test_the_guard_is_replaced_if_it_is_killed() -> None:
    first = LineProcess([sys.executable, "-c", "input()"])
    assert GUARD._process is not None
    GUARD._process.kill()
    GUARD._process.wait()
    second = LineProcess([sys.executable, "-c", "input()"])
    assert GUARD._process.poll() is None
    assert GUARD._groups >= {first._process.pid, second._process.pid}
    for process in (first, second):
        process.discard()
        assert process._process.pid not in GUARD._groups


def test_a_grandchild_that_holds_the_pipes_is_killed_with_its_parent(tmp_path: Path) -> None:
    log, script = tmp_path / "log", tmp_path / "leaving.py"
    script.write_text(COMMAND.replace("time.sleep(600)\n", "os._exit(3)\n"), encoding="utf-8")
    records = run(load_adapter(f"{sys.executable} {script} {log}"), [TRIGGER])
    assert {r.verdict for r in records} == {Verdict.CRASH}
    assert "exit status 3, and something that it started still holds its output" in records[0].message
    wait_for(lambda: not any(map(alive, numbers(log, 2))))


# -- starts ----------------------------------------------------------------------------------------

# The sigmoid of 0 for everything; ends on the trigger. sys.argv[1] is a folder that counts the starts.
COUNTED = """
import json, os, sys
folder = sys.argv[1]
number = len(os.listdir(folder))
open(os.path.join(folder, str(os.getpid())), "x").close()
for line in sys.stdin:
    message = json.loads(line)
    if message["command"] == "stop":
        break
    if message["command"] == "start":
        if REFUSES(number):
            REFUSAL
            print("sorry", file=sys.stderr, flush=True)
            sys.exit(9)
        print(json.dumps({"protocol": 1, "name": "counted", "functions": ["sigmoid"]}), flush=True)
        continue
    if message["arrays"]["logits"]["shape"] == []:
        os._exit(7)
    print(json.dumps({"id": message["id"], "unsupported": "it counts"}), flush=True)
"""


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.01, 0.01))


def counted(folder: Path, refuses: str, refusal: str = 'print("no room for", number)') -> Loaded:
    """An adapter whose starts of some numbers, from 0, fail."""
    script, starts = folder / "counted.py", folder / "starts"
    starts.mkdir()
    script.write_text(
        COUNTED.replace("REFUSES", f"(lambda n: {refuses})").replace("REFUSAL", refusal), "utf-8"
    )
    return load_adapter(f"{sys.executable} {script} {starts}")


def run(loaded: Loaded, ids: list[str] | None = None, processes: int = 1) -> list[Record]:
    pairs = jobs([case for case in SIGMOID if ids is None or case.id in ids], ["float32"])
    assert loaded.adapter is not None
    try:
        return [row for rows in run_parallel(loaded, pairs, processes) for row in rows]
    finally:
        loaded.adapter.close()  # type: ignore[attr-defined]


def failed(records: list[Record]) -> list[str]:
    return [*dict.fromkeys(r.case for r in records if r.verdict in FAILURES)]


def test_a_failed_start_is_tried_again(tmp_path: Path) -> None:
    assert failed(run(counted(tmp_path, "n in (1, 2)"))) == [TRIGGER]


def test_what_does_not_start_any_more_is_given_up_and_quoted_once(tmp_path: Path) -> None:
    records = run(counted(tmp_path, "n > 0"))
    ids = [*dict.fromkeys(r.case for r in records)]
    given_up = ids[ids.index(TRIGGER) + 1 :]
    assert len(given_up) > 1 and failed(records) == [TRIGGER, *given_up]
    messages = {r.case: r.message for r in records}
    assert "exit status 7" in messages[TRIGGER]
    first, *rest = (messages[case] for case in given_up)
    assert "did not start again, 3 times" in first
    # "no room" is taken for its answer.
    assert "'no room for 3'; it printed: sorry" in first
    assert set(rest) == {"not asked: the process did not start any more"}
    assert len(list((tmp_path / "starts").iterdir())) == 4


@pytest.mark.parametrize("refuses", ["n > 0", "n > 1", "n in (1, 3)"])
def test_a_process_that_does_not_start_leaves_the_work_to_the_others(tmp_path: Path, refuses: str) -> None:
    """All that is not started is one process; it does not take the cases of those that are."""
    without = [case.id for case in SIGMOID if case.id != TRIGGER]
    assert not failed(run(counted(tmp_path, refuses), without, processes=3))


def test_a_process_that_cannot_start_again_leaves_the_work_to_the_others(tmp_path: Path) -> None:
    assert failed(run(counted(tmp_path, "n > 1"), processes=2)) == [TRIGGER]


def test_all_processes_may_be_given_up(tmp_path: Path) -> None:
    records = run(counted(tmp_path, "n > 0"), processes=3)
    assert TRIGGER in failed(records)
    assert {r.case for r in records} == {case.id for case in SIGMOID if "float32" in case.dtypes}


def test_a_device_that_is_gone_after_a_crash_is_no_answer(tmp_path: Path) -> None:
    records = run(
        counted(tmp_path, "n > 0", """print('{"protocol": 1, "name": "c", "skipped": "no device"}')""")
    )
    assert any("it cannot run here any more: no device" in r.message for r in records)


def test_a_start_obeys_the_timeout() -> None:
    with pytest.raises(NotStarted, match=r"did not start: no answer within 0\.5 s"):
        load_adapter(f'{sys.executable} -c "import time; time.sleep(600)"', timeout=0.5)


PRINTING = """
import sys
print("reading the weights")
for number in range(100):
    print(f"layer {number}", file=sys.stderr)
sys.exit("no room for layer 100")
"""


def test_a_command_that_does_not_start_is_quoted_from_both_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "printing.py"
    script.write_text(PRINTING, encoding="utf-8")
    assert main(["run", "sigmoid/ordinary", "-a", f"{sys.executable} {script}"]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("did not start") == 1
    first, *_, last = err.partition("it printed: ")[2].strip().split(" | ")
    assert "reading the weights" in err and (first, last) == ("layer 0", "no room for layer 100")


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "-inf", "soon"])
def test_timeouts_that_are_none_are_refused(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "sigmoid/ordinary", "-a", "numpy", "--timeout", timeout])
    assert "--timeout" in capsys.readouterr().err
    if timeout != "soon":
        with pytest.raises(LossproofError, match="above 0"):
            load_adapter("numpy", isolate=True, timeout=float(timeout))


@pytest.mark.parametrize("timeout", [math.inf, 1e300])
def test_timeouts_may_be_as_long_as_one_likes(timeout: float) -> None:
    records = run(load_adapter("numpy", isolate=True, timeout=timeout))
    assert {r.verdict for r in records} == {Verdict.PASS}


# -- operating systems -----------------------------------------------------------------------------


def test_every_death_has_a_message() -> None:
    messages = {code: system.ending(code) for code in range(-64, 256)}
    assert len(set(messages.values())) == len(messages)
    assert system.ending(-signal.SIGTERM) == "the process was killed by SIGTERM"
    if hasattr(signal, "SIGRTMIN"):
        assert system.ending(-signal.SIGRTMIN - 3) == "the process was killed by SIGRTMIN+3"
    assert system.ending(-99) == "the process was killed by signal 99"
    assert system.ending(0xC0000005) == "the process ended with exit status 3221225477 (0xC0000005)"


@pytest.mark.parametrize(
    ("reference", "file", "cls"),
    [
        ("adapter.py", "adapter.py", ""),
        ("a/b.py:Class", "a/b.py", "Class"),
        (r"C:\x\adapter.py", r"C:\x\adapter.py", ""),
        (r"C:\x\adapter.py:Class", r"C:\x\adapter.py", "Class"),
        ("C:/x/adapter.py:Class", "C:/x/adapter.py", "Class"),
        ("a:b/c:d.py:Class", "a:b/c:d.py", "Class"),
        ("package.module:Class", "package.module", "Class"),
        ("torch", "torch", ""),
    ],
)
def test_a_colon_may_be_part_of_a_path(reference: str, file: str, cls: str) -> None:
    assert file_and_class(reference) == (file, cls)


@POSIX
def test_an_adapter_in_a_folder_with_a_colon(tmp_path: Path) -> None:
    script = tmp_path / "C:" / "my adapter.py"
    script.parent.mkdir()
    script.write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\n"
        "class One(NumpyAdapter):\n    name = 'one'\n"
        "class Two(NumpyAdapter):\n    name = 'two'\n",
        encoding="utf-8",
    )
    for isolate in (False, True):
        loaded = load_adapter(f"{script}:Two", isolate=isolate)
        assert loaded.info.name == "two"
        if isolate:
            loaded.adapter.close()  # type: ignore[union-attr]


def test_backslashes_are_parts_of_paths_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    command = r'"C:\Program Files\node.exe" adapters\tfjs\adapter.mjs wasm'
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        split = system.words(command)
    assert split == [r"C:\Program Files\node.exe", r"adapters\tfjs\adapter.mjs", "wasm"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "posix")
        assert system.words(r"node 'a b' c\ d '#e'") == ["node", "a b", "c d", "#e"]


# What a program does before lossproof so that it finds no more than Windows has.
LIKE_WINDOWS = """
import os, psutil, signal, subprocess, sys
for name in ("killpg", "setsid", "fork", "forkpty", "getpgid", "setpgid", "waitid", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
for name in dir(signal):
    if name.startswith("SIG") and name not in ("SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV",
                                               "SIG_DFL", "SIG_IGN"):
        delattr(signal, name)
kill = os.kill
subprocess.Popen.kill = psutil.Process.kill = lambda self: kill(self.pid, 9)
import lossproof.core.files  # asks for the system, and imports what that one has
for name in ("resource", "fcntl", "termios", "pwd", "grp", "pty", "syslog"):
    sys.modules[name] = None
"""


def test_isolation_needs_nothing_that_windows_lacks(tmp_path: Path) -> None:
    """A crash, a hang with a grandchild, two processes of a command; and a Python adapter apart."""
    log, script = tmp_path / "log", tmp_path / "faulty.py"
    answer = """
    message = json.loads(line)
    shape = message["arrays"]["logits"]["shape"]
    if shape == [2]:
        os._exit(7)
    if shape:
        print(json.dumps({"id": message["id"], "unsupported": "it is faulty"}), flush=True)
        continue
    child ="""
    script.write_text(COMMAND.replace("\n    child =", answer), encoding="utf-8")
    code = (
        f"{LIKE_WINDOWS}\nfrom lossproof.cli.main import main\n"
        "assert main(['run', 'sigmoid/ordinary', '-d', 'float32', '-a', 'numpy', '--isolate']) == 0\n"
        "raise SystemExit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "sigmoid/ordinary", "-d", "float32", "--timeout", "6",
         "--jobs", "2", "-a", f"{sys.executable} {script} {log}"],
        capture_output=True, text=True, timeout=2 * HANG,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "numpy: conforms" in done.stdout
    assert "no answer within 6 s" in done.stdout and "exit status 7" in done.stdout, done.stdout
    wait_for(lambda: not any(map(alive, numbers(log, 2))))


# Where such names may stand: modules that ask first whether there is such a thing.
SPECIAL = {
    "killpg": ("orphans", "system"),
    "SIGKILL": ("orphans", "system"),
    "resource": ("worker",),
    "fcntl": ("files",),
}
NOT_EVERYWHERE = {
    *SPECIAL, "fork", "setsid", "setpgid", "getpgid", "waitid", "waitpid", "preexec_fn", "SIGALRM", "SIGUSR1",
    "set_blocking", "select", "selectors", "termios", "pwd", "pty",
}  # fmt: skip


def test_no_module_takes_an_operating_system_for_granted() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                names = [name for name in names if not name.startswith("lossproof")]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = [node.attr] if node.value.id in ("os", "signal", "subprocess") else []
            elif isinstance(node, ast.keyword):
                names = [node.arg or ""]
            for name in NOT_EVERYWHERE.intersection(names):
                assert path.stem in SPECIAL.get(name, ()), f"{path}: {name}"
            if isinstance(node, ast.List) and node.elts and isinstance(node.elts[0], ast.Constant):
                assert node.elts[0].value != "env", f"{path}:{node.lineno}: not every system has env"


@POSIX
def test_what_runs_here_is_closed() -> None:
    """Processes, one after the other, leave no descriptors open."""
    before = psutil.Process().num_fds()
    loaded = load_adapter("numpy", isolate=True)
    for _ in range(3):
        list(run_here(loaded, jobs(SIGMOID[:1], ["float32"])))
        loaded.adapter.close()  # type: ignore[union-attr]
    wait_for(lambda: psutil.Process().num_fds() <= before + 1)  # the guard's pipe
