"""What is written, and what cannot be: files stay whole, with one message and the right exit status."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest

from lossproof.cli.main import COMMANDS, main
from lossproof.core import files
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.file import read_json, write_json
from tests.forked import Commands

posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX systems")

SLOW = """
import time
from lossproof.adapters.numpy import NumpyAdapter

class Slow(NumpyAdapter):
    name = "slow"

    def sigmoid(self, logits):
        time.sleep(0.05)
        return super().sigmoid(logits)
"""
WRONG = """
from lossproof.adapters.numpy import NumpyAdapter

class Wrong(NumpyAdapter):
    name = "wrong – ±½ \u4e2d"

    def sigmoid(self, logits):
        raise ValueError("– ±½ \u4e2d \U0001f600")
"""
CASE = """function: sigmoid
about: x
cases:
  - id: one
    clause: SG-1
    level: required
    why: x
    dtypes: [float32]
    inputs: {logits: 0}
"""
MEASURED = str(Path(__file__).parents[1] / "benchmarks" / "results" / "cpu.json")


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with what commands read."""
    for name, text in {"slow.py": SLOW, "wrong.py": WRONG, "t.yaml": CASE}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    info = AdapterInfo("x", "X", "1 – ½ \u4e2d", "cpu")
    row = Record("a/b/c", "a", "A-1", "x", "float32", "value", Verdict.PASS, actual="– ½ \u4e2d")
    write_json(tmp_path / "old.json", [info], [row])
    write_json(tmp_path / "new.json", [AdapterInfo("x", "X", "2", "cpu")], [row])
    return tmp_path


# Every command, with its exit status where nothing is in its way. What it says has characters of all kinds.
TRIED = {
    "run": (["run", "sigmoid/ordinary", "-a", "wrong.py"], 1),
    "list": (["list", "--clauses", "probabilities"], 0),
    "explain": (["explain", "softmax/special/nan-in-a-row", "-a", "numpy"], 0),
    "repro": (["repro", "softmax/special/nan-in-a-row", "-a", "numpy"], 0),
    "report": (["report", "old.json", "new.json", "-o", "site"], 0),
    "diff": (["diff", "old.json", "new.json"], 0),
    "export": (["export", "sigmoid/ordinary", "-o", "vectors"], 0),
    "verify": (["verify", "old.json"], 1),
    "bench": (["bench", "--load", MEASURED], 0),
    "new-adapter": (["new-adapter", "mine"], 0),
    "fuzz": (["fuzz", "-a", "numpy", "-f", "sigmoid", "-s", "0.1"], 0),
    "sweep": (["sweep", "-a", "wrong.py", "-f", "sigmoid", "-d", "float16"], 1),
    "certify": (["certify", "t.yaml", "--write", "-j", "1"], 0),
}


def test_every_command_is_tried() -> None:
    assert TRIED.keys() == COMMANDS.keys()


@posix
@pytest.mark.parametrize("command", TRIED)
def test_outputs_that_cannot_be_written(command: str, commands: Commands, folder: Path) -> None:
    words, usual = TRIED[command]
    for output, status, lines in (("head", usual, 0), ("full", 2, 1), ("closed", 2, 1)):
        (folder / "mine_adapter.py").unlink(missing_ok=True)
        code, _, said = commands.run(words, folder, output)
        assert (code, len(said.splitlines())) == (status, lines), (output, said)
        assert said == "" or said.startswith("lossproof: standard output: cannot be written: "), said


@posix
@pytest.mark.parametrize("command", TRIED)
def test_terminals_that_lack_characters(command: str, commands: Commands, folder: Path) -> None:
    words, usual = TRIED[command]
    for encoding in ("ascii", "cp1252"):
        (folder / "mine_adapter.py").unlink(missing_ok=True)
        code, printed, said = commands.run(words, folder, encoding=encoding)
        assert code == usual and said == "", said
        assert printed.decode("utf-8" if command == "repro" else encoding)
        if command == "repro":
            compile(printed, "script.py", "exec")


@posix
def test_an_interpreter_without_utf_8(folder: Path) -> None:
    """The real thing, once."""
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [
        sys.executable,
        "-m",
        "lossproof",
        "run",
        "sigmoid/ordinary",
        "-a",
        "wrong.py",
        "--json",
        "r.json",
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    assert done.returncode == 1 and done.stderr == b"" and b"wrong \\u2013" in done.stdout
    (info,) = read_json(folder / "r.json").adapters
    assert info.name == "wrong – ±½ \u4e2d"


# -- files ---------------------------------------------------------------------------------------

# Every command that writes files, and the files; those that are there already stay whole.
WRITING = {
    "run": (["run", "sigmoid/ordinary", "-a", "numpy", "--json", "r.json"], "r.json"),
    "junit": (["run", "sigmoid/ordinary", "-a", "numpy", "--junit", "r.xml"], "r.xml"),
    "badge": (["run", "sigmoid/ordinary", "-a", "numpy", "--badge", "b.svg"], "b.svg"),
    "results": (["run", "sigmoid/ordinary", "-a", "numpy", "--results", "."], None),
    "report": (["report", "old.json", "-o", "site"], "site/index.html"),
    "data": (["report", "old.json", "-o", "site"], "site/data.js"),
    "export": (["export", "sigmoid/ordinary", "-o", "v"], "v/sigmoid/float32.json"),
    "new-adapter": (["new-adapter", "mine"], None),
    "fuzz": (["fuzz", "-a", "wrong.py", "-f", "sigmoid", "-d", "float32", "-s", "5"], None),
    "sweep": (["sweep", "-a", "numpy", "-f", "l2_loss", "-d", "float16", "-o", "s.json"], "s.json"),
    "certify": (["certify", "t.yaml", "--write", "-j", "1"], "t.yaml"),
}


class Full:
    """A file on a disk that is full."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        self._file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@pytest.mark.parametrize("what", WRITING)
def test_a_full_disk_leaves_the_earlier_file(
    what: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, target = WRITING[what]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("lossproof.site.model.load_cases", list)
    monkeypatch.setattr("lossproof.site.model.edge_cases", lambda cases: [])
    if target == "t.yaml":
        earlier = CASE
    elif target is not None:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        earlier = "earlier"
        Path(target).write_text(earlier, encoding="utf-8")
    before = {path for path in folder.rglob("*") if path.is_file()}
    opened = Path.open

    def full(self: Path, mode: str = "r", *rest: Any, **given: Any) -> Any:
        file = opened(self, mode, *rest, **given)
        wanted = target is None or (folder / target).parent == self.parent
        return Full(file) if "x" in mode and wanted else file

    monkeypatch.setattr(Path, "open", full)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "cannot be written: No space left on device" in said
    monkeypatch.undo()
    if target is not None:
        assert (folder / target).read_text(encoding="utf-8") == earlier
    left = {path for path in folder.rglob("*") if path.is_file()} - before
    assert {path.name for path in left} <= {"r.json.partial", "s.json.ranges"}


@posix
@pytest.mark.parametrize("option", ["--json", "--junit", "--badge"])
def test_devices_and_pipes_are_written_to(option: str, commands: Commands, folder: Path) -> None:
    words = ["run", "sigmoid/ordinary", "-a", "numpy", "-q", option]
    code, _, said = commands.run([*words, "/dev/full"], folder)
    assert code == 2 and said == "lossproof: /dev/full: cannot be written: No space left on device\n"
    code, printed, said = commands.run([*words, "/dev/stdout"], folder)
    assert code == 0 and said == "" and printed.rstrip().endswith(b" s")
    assert {"--json": b'"results"', "--junit": b"</testsuites>", "--badge": b"</svg>"}[option] in printed
    assert commands.run([*words, "/dev/null"], folder)[0] == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and not Path("/dev/null.partial").exists()
    os.mkfifo(folder / "pipe")
    reader = subprocess.Popen(["cat", str(folder / "pipe")], stdout=subprocess.PIPE)
    assert commands.run([*words, "pipe"], folder)[0] == 0
    assert reader.communicate(timeout=60)[0] and (folder / "pipe").is_fifo()


def test_a_file_is_replaced_as_it_was(tmp_path: Path) -> None:
    """Permissions stay, a link stays one, and what reads the earlier file reads all of it."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("earlier", encoding="utf-8")
    if os.name == "posix":
        target.chmod(0o640)
        link.symlink_to("target")
    else:
        link = target
    with target.open("r", encoding="utf-8") as reading:
        files.write(link, "later \ud800")
        if os.name == "posix":
            assert reading.read() == "earlier"
    assert target.read_text(encoding="utf-8") == "later ?"
    if os.name == "posix":
        assert link.is_symlink() and stat.S_IMODE(target.stat().st_mode) == 0o640
        mask = os.umask(0o027)
        files.write(tmp_path / "new", "x")
        os.umask(mask)
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    with pytest.raises(FileExistsError):
        files.write(target, "x", new=True)
    with suppress(ZeroDivisionError), files.replacing(target) as file:
        file.write(b"half" * (1 // 0))
    assert target.read_text(encoding="utf-8") == "later ?"
    assert {path.name for path in tmp_path.iterdir()} <= {"target", "link", "new"}


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for path in (tmp_path, tmp_path / "absent" / "x", tmp_path / "file" / "x", tmp_path / ("x" * 300)):
        for write in (files.check_writable, lambda path: files.write(path, "x")):
            if len(path.name) == 300 and write is files.check_writable and os.name != "posix":
                continue
            with pytest.raises(InputError, match="cannot be written"):
                write(path)


def test_nothing_else_writes_files() -> None:
    """One function does; the exceptions say why."""
    root = Path(files.__file__).parents[1]
    others = {
        "core/files.py",  # this function
        "results/journal.py",  # grows while the run goes on, and is locked
        "bench/worker.py",  # answers over a pipe, and resets a figure of the kernel's
        "isolation/serve.py",  # answers over a pipe
        "cli/shell.py",  # standard output
    }
    for path in root.rglob("*.py"):
        if str(path.relative_to(root)) not in others:
            text = path.read_text(encoding="utf-8")
            for way in (
                ".write_text(",
                ".write_bytes(",
                '"w"',
                '"wb"',
                "copyfile",
                "os.replace",
                "mkstemp",
            ):
                assert way not in text, f"{path} writes by itself: {way}"


# -- runs that are interrupted, and runs at the same time ------------------------------------------


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_asked_to_end_writes_what_there_is(number: signal.Signals, folder: Path) -> None:
    (folder / "r.json").write_text("earlier", encoding="utf-8")
    command = [sys.executable, "-m", "lossproof", "run", "sigmoid", "-a", "slow.py", "--json", "r.json"]
    with subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        # A shell, and nohup, ignore it for what they run in the background, tests among it.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as run:  # fmt: skip
        _wait(
            lambda: (folder / "r.json.partial").exists() and (folder / "r.json.partial").stat().st_size > 3000
        )
        # Another run on the same file is refused, and harms neither.
        assert (folder / "r.json").read_text(encoding="utf-8") == "earlier"
        other = subprocess.run(command, cwd=folder, capture_output=True)
        assert other.returncode == 2 and b"another run is writing r.json.partial" in other.stderr
        run.send_signal(number)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 128 + number
    assert b"--resume completes it" in said and len(said.splitlines()) == 2
    assert len(read_json(folder / "r.json").records) > 10


def _wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_runs_on_one_file_leave_one_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that only write in the end, the later one wins."""
    monkeypatch.chdir(folder)
    for version in "12":
        info = AdapterInfo("x", "X", version, "cpu")
        row = Record("a/b/c", "a", "A-1", "x", "float32", "value", Verdict.PASS)

        def records(row: Record = row) -> Iterator[Record]:
            # Another run writes its own in the meantime.
            write_json(Path("r.json"), [AdapterInfo("y", "Y", "1", "cpu")], [])
            yield row

        write_json(Path("r.json"), [info], records())
        assert read_json(Path("r.json")).adapters == (info,)
    assert json.loads(Path("r.json").read_text(encoding="utf-8"))["results"]
