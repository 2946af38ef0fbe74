"""What an adapter's code raises, says, gives or sets costs its own outputs; the judge stays as it was.

Every attack is one adapter that misbehaves on the scalar 0.75 alone, run in this process and in one of
its own: all other cases pass, and both ways have the same verdicts and messages.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

import lossproof
from lossproof import Adapter, Unsupported
from lossproof.cli.main import main
from lossproof.core.guest import Guest, guest_of
from lossproof.core.raised import describe, own, text_of
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.engine.runner import jobs, run_here
from lossproof.errors import LossproofError
from lossproof.isolation.load import load_adapter
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.loaded import Loaded
from tests.own_cases import quick_cases

CASES = [
    case
    for case in quick_cases()
    if case.id in ("sigmoid/ordinary/moderate", "sigmoid/ordinary/scalar", "sigmoid/tails/subnormal-float32")
]
TRIGGER = "sigmoid/ordinary/scalar"

SOURCE = """
import ctypes, math, os, signal, sys, threading, time, warnings
import numpy as np
from lossproof import Unsupported
from lossproof.adapters.numpy import NumpyAdapter

def attack(self, logits):
    {body}

class Odd:
    def __init__(self, value):
        self.value = value

class Hostile(NumpyAdapter):
    name = "hostile"

    def to_numpy(self, array):
        return array.value if isinstance(array, Odd) else super().to_numpy(array)

    def sigmoid(self, logits):
        right = super().sigmoid(logits)
        if logits.shape == ():
            given = attack(self, logits)
            return right if given is None else given
        return right
"""

# -- what is raised -----------------------------------------------------------------------------

RAISED = {
    "lone-surrogate": ("raise ValueError('half \\ud800 a character')", "ValueError: half ? a character"),
    "str-raises": (
        "class E(Exception):\n        def __str__(self): raise RuntimeError('no')\n    raise E",
        "E: (what it says cannot be read: RuntimeError from its __str__)",
    ),
    "str-exits": (
        "class E(Exception):\n        def __str__(self): sys.exit(0)\n    raise E",
        "E: (what it says cannot be read: SystemExit from its __str__)",
    ),
    "str-is-none": (
        "class E(Exception):\n        def __str__(self): return None\n    raise E",
        "E: (what it says cannot be read: TypeError from its __str__)",
    ),
    "str-is-odd": (
        "class S(str):\n        def split(self, *a): raise OSError\n"
        "        def encode(self, *a): raise OSError\n"
        "        def __getitem__(self, *a): raise OSError\n"
        "    class E(Exception):\n        def __str__(self): return S('a  b')\n    raise E",
        "E: a b",
    ),
    "str-recurses": (
        "class E(Exception):\n        def __str__(self): return str(self)\n    raise E",
        "E: (what it says cannot be read: RecursionError from its __str__)",
    ),
    "class-raises": (
        "class E(Exception):\n        @property\n        def __class__(self): raise RuntimeError\n"
        "    raise E('x')",
        "E: x",
    ),
    "class-lies": (
        "class E(Exception):\n        @property\n        def __class__(self): return Unsupported\n"
        "    raise E('x')",
        "E: x",
    ),
    "name-raises": (
        "class M(type):\n        @property\n        def __name__(cls): raise RuntimeError\n"
        "    class E(Exception, metaclass=M): pass\n    raise E('x')",
        "E: x",
    ),
    "megabytes": ("raise ValueError('x' * 10**7)", "ValueError: xxx"),
    "lines": ("raise ValueError('a\\nb\\r\\n\\tc')", "ValueError: a b c"),
    "nul": ("raise ValueError('a\\x00b')", "ValueError: a\x00b"),
    "system-exit": ("sys.exit(0)", "SystemExit: 0"),
    "generator-exit": ("raise GeneratorExit", "GeneratorExit"),
    "keyboard-interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "base-exception": ("class E(BaseException): pass\n    raise E('x')", "E: x"),
    "stop-iteration": ("raise StopIteration('x')", "StopIteration: x"),
    "recursion": ("attack(self, logits)", "RecursionError"),
    "memory": ("raise MemoryError", "MemoryError"),
    "group": ("raise ExceptionGroup('all', [ValueError('x')])", "ExceptionGroup: all (1 sub-exception)"),
    "base-group": (
        "raise BaseExceptionGroup('all', [KeyboardInterrupt()])", "BaseExceptionGroup: all (1 sub-exception)",
    ),
    "pytest-outcome": ("import pytest; pytest.skip('x')", "Skipped: x"),
    "no-exception": ("raise 3", "TypeError: exceptions must derive from BaseException"),
    "harness-error": (
        "from lossproof.errors import LossproofError; raise LossproofError('x')", "LossproofError: x",
    ),
}  # fmt: skip

# -- what is given ------------------------------------------------------------------------------

GIVEN = {
    "none": ("return Odd(None)", "to_numpy gave NoneType"),
    "list": ("return Odd([0.5])", "to_numpy gave list"),
    **{
        f"dtype-{name}": (f"return {code}", "to_numpy gave dtype")
        for name, code in {
            "void": "np.zeros((), 'V4')",
            "object": "np.array(None)",
            "text": "np.array('0.5')",
            "bytes": "np.array(b'0.5')",
            "structured": "np.zeros((), [('\\ud800', 'f4')])",
            "datetime": "np.array('2020', 'M8')",
            "timedelta": "np.array(1, 'm8')",
            "complex": "np.array(0.5j)",
            "longdouble": "np.longdouble(0.5)",
        }.items()
    },
    "masked": ("return np.ma.masked_array(np.float32(0.5), True)", "the function gave a masked array"),
    "masked-constant": ("return np.ma.masked", "the function gave a masked array"),
    "unmasked": ("return np.ma.masked_array(np.float32(0.5))", "the function gave a masked array"),
}


def loaded(tmp_path: Path, body: str, isolate: bool) -> Loaded:
    path = tmp_path / "hostile.py"
    path.write_text(SOURCE.format(body=body), encoding="utf-8")
    return load_adapter(str(path), isolate=isolate, timeout=60.0)


def run(one: Loaded, cases: Any = CASES) -> list[Record]:
    records = [row for rows in run_here(one, jobs(cases, ("float32",))) for row in rows]
    if isinstance(one.adapter, RemoteAdapter):
        one.adapter.close()
    return records


ATTACKS = {**RAISED, **GIVEN}


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loaded, Loaded]]:
    """One adapter that knows all attacks, each by its number, in this process and in one of its own."""
    attacks = "".join(
        f"if logits == {number}:\n" + textwrap.indent(textwrap.dedent(f"    {body}"), "        ") + "\n    "
        for number, (body, _) in enumerate(ATTACKS.values(), 1000)
    )
    folder = tmp_path_factory.mktemp("hostile")
    here, apart = loaded(folder, attacks, False), loaded(folder, attacks, True)
    yield here, apart
    if isinstance(apart.adapter, RemoteAdapter):
        apart.adapter.close()


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_misbehaviour_costs_its_case_both_ways_alike(kind: str, both_ways: tuple[Loaded, Loaded]) -> None:
    scalar = next(case for case in CASES if case.id == TRIGGER)
    attack = replace(scalar, inputs={"logits": np.array(1000.0 + [*ATTACKS].index(kind))})
    pairs = [(attack, "float32"), (CASES[0], "float32")]
    here, apart = ([row for rows in run_here(one, pairs) for row in rows] for one in both_ways)
    assert here == apart
    rows = [row for row in here if row.case == TRIGGER]
    assert {row.verdict for row in rows} == {Verdict.ERROR}
    assert ATTACKS[kind][1] in rows[0].message and len(rows[0].message) < 1000
    rows[0].message.encode("utf-8")
    assert {row.verdict for row in here if row.case == CASES[0].id} == {Verdict.PASS}


def test_a_long_reason_is_the_same_both_ways(tmp_path: Path) -> None:
    body = "raise Unsupported('only\\n on \\ud800' + ' x' * 10**5)"
    here, apart = (run(loaded(tmp_path, body, isolate)) for isolate in (False, True))
    assert here == apart
    (row, *_) = [row for row in here if row.case == TRIGGER]
    assert row.verdict is Verdict.UNSUPPORTED and row.message.startswith("only on ? x x")
    assert len(row.message) <= 600


def test_results_of_hostile_texts_are_one_json_document(tmp_path: Path) -> None:
    path = tmp_path / "hostile.py"
    path.write_text(SOURCE.format(body=RAISED["lone-surrogate"][0]), encoding="utf-8")
    file = tmp_path / "results.json"
    assert main(["run", TRIGGER, "-a", str(path), "--no-isolate", "-q", "--json", str(file)]) == 1
    rows = json.loads(file.read_text(encoding="utf-8"))["results"]
    assert {row["verdict"] for row in rows} == {"error"}


# -- what an adapter says of itself -------------------------------------------------------------


class Raising:
    def __get__(self, instance: Any, owner: Any) -> Any:
        raise SystemExit(0)


class Unsayable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("field", ["name", "version", "device", "backend", "dtypes"])
@pytest.mark.parametrize(
    "value",
    [5, None, Unsayable(), "a\ud800b", "a\x1b[31m", "x" * 10**6, b"x", ["float99"], "float32"],
    ids=["number", "none", "unsayable", "surrogate", "escape", "long", "bytes", "unknown", "text"],
)
def test_what_an_adapter_says_of_itself_is_read_once_and_checked(field: str, value: Any) -> None:
    cls = type("Odd", (NumpyAdapter,), {"name": "odd", field: value})
    with contextlib.suppress(LossproofError):
        info = load_adapter(cls).info
        for text in (info.name, info.backend, info.version, info.device):
            assert type(text) is str and len(text) <= 100
            text.encode("utf-8")


@pytest.mark.parametrize("field", ["version", "device", "dtypes"])
def test_an_attribute_that_raises_is_bad_usage(field: str) -> None:
    class Odd(NumpyAdapter):
        def __getattribute__(self, name: str) -> Any:
            if name == field:
                raise SystemExit(0)
            return super().__getattribute__(name)

    with pytest.raises(LossproofError, match="says of itself is wrong: SystemExit"):
        load_adapter(Odd)


def test_an_attribute_that_raises_later_costs_its_cases() -> None:
    class Odd(NumpyAdapter):
        calls = 0

        @property
        def dtypes(self) -> Any:
            self.calls += 1
            if self.calls > 1:
                raise GeneratorExit
            return ("float32",)

    rows = run(load_adapter(Odd))
    assert {row.verdict for row in rows} == {Verdict.ERROR}


def test_adapters_without_a_hash_are_judged() -> None:
    @dataclass
    class Equal(NumpyAdapter):
        size: int = 3

    cases = [c for c in quick_cases() if c.function.name == "sparse_softmax_cross_entropy"][:40]
    assert {row.verdict for row in run(load_adapter(Equal()), cases)} <= {Verdict.PASS, Verdict.VARIANT}


@pytest.mark.parametrize(
    "where", ["import os; os._exit(0)", "import sys; sys.exit(0)", "raise KeyboardInterrupt",
              "raise ValueError('\\ud800')"],
)  # fmt: skip
def test_no_import_and_no_constructor_ends_the_run(where: str, tmp_path: Path) -> None:
    path = tmp_path / "early.py"
    for text in (where, f"from lossproof import Adapter\nclass A(Adapter):\n def __init__(self):\n  {where}"):
        path.write_text(text, encoding="utf-8")
        for isolate in (False, True) if "_exit" in text else (False,):
            with pytest.raises(LossproofError, match="fails"):
                load_adapter(str(path), isolate=isolate)


# -- what is set in this process ----------------------------------------------------------------

X86_LINUX = (sys.platform, platform.machine()) == ("linux", "x86_64")
# Bits 6 and 15 of an x86's MXCSR, which lies behind 28 bytes of an older unit's state.
FLUSHING = (
    "env = (ctypes.c_uint32 * 32)(); ctypes.CDLL(None).fegetenv(env); env[7] |= 0x8040; "
    "ctypes.CDLL(None).fesetenv(env)"
)
SET = {
    "rounding-upwards": "ctypes.CDLL(None).fesetround(0x800)",
    "errors-of-numpy": "np.seterr(all='raise')",
    "warnings": "warnings.simplefilter('error')",
    "working-folder": "os.chdir('/')",
    "recursion-limit": "import inspect; sys.setrecursionlimit(len(inspect.stack()) + 30)",
    "stdout": "sys.stdout = sys.stderr = None",
    "signals": "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "numpy": "np.isnan = np.isfinite = np.abs = np.where = np.asarray = lambda *a, **k: True",
    "math": "math.isfinite = math.frexp = None",
    "numpy-deleted": "del np.abs, np.where",
    "exit-hook": "os._exit = lambda code: None",
    "swallowed": "try: os._exit(0)\n    except BaseException: pass",
}


@pytest.mark.parametrize("kind", [*SET, *(["flushing"] if X86_LINUX else [])])
def test_what_an_adapter_sets_does_not_reach_the_judge(kind: str, tmp_path: Path) -> None:
    def state() -> Any:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        subnormal = float(np.float32(1e-40) * np.float32(1))
        return (
            np.geterr(), os.getcwd(), sys.getrecursionlimit(), sys.stdout, sys.stderr, handlers, os._exit,
            np.isnan, np.abs, np.where, np.isfinite, subnormal, float(np.float64(1) + 2.0**-53),
        )  # fmt: skip

    one = loaded(tmp_path, (SET | {"flushing": FLUSHING})[kind], False)
    before = state()
    filters = [*warnings.filters]
    rows = run(one, [CASES[1], CASES[0], CASES[2]])
    assert state() == before and filters == [*warnings.filters]
    assert {row.verdict for row in rows if row.case == CASES[0].id} <= {Verdict.PASS}


def test_what_an_adapter_sets_holds_for_its_own_calls(tmp_path: Path) -> None:
    class Settled(NumpyAdapter):
        def __init__(self) -> None:
            os.chdir(tmp_path)
            np.seterr(under="raise")

        def sigmoid(self, logits: Any) -> Any:
            seen.append((os.getcwd(), np.geterr()["under"]))
            return super().sigmoid(logits)

    seen: list[Any] = []
    here = os.getcwd()
    run(load_adapter(Settled), CASES[:1])
    assert os.getcwd() == here
    assert {*seen} == {(str(tmp_path), "raise")}


def test_leaving_is_a_crash_and_the_run_goes_on(tmp_path: Path) -> None:
    here = run(loaded(tmp_path, "os._exit(0)", False))
    assert {row.verdict for row in here if row.case == TRIGGER} == {Verdict.CRASH}
    assert "os._exit(0)" in next(row.message for row in here if row.case == TRIGGER)
    apart = run(loaded(tmp_path, "os._exit(0)", True))
    assert [row.verdict for row in here] == [row.verdict for row in apart]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_an_adapter_forks_may_leave(tmp_path: Path) -> None:
    body = (
        "child = os.fork()\n    if not child: os._exit(7)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7"
    )
    assert {row.verdict for row in run(loaded(tmp_path, body, False))} <= {Verdict.PASS, Verdict.VARIANT}


@pytest.mark.parametrize("swallow", [False, True])
def test_the_users_interrupt_is_none_of_the_adapters(swallow: bool) -> None:
    class Caught(NumpyAdapter):
        def sigmoid(self, logits: Any) -> Any:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                if swallow:
                    return super().sigmoid(logits)
                raise

    with pytest.raises(KeyboardInterrupt):
        run(load_adapter(Caught))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_all_interrupts_are_the_adapters() -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            Guest().visit(lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert describe(own(raised[0])) == "KeyboardInterrupt"


def test_where_arithmetic_cannot_be_restored_the_adapter_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one = load_adapter("numpy")
    monkeypatch.setattr("lossproof.core.guest._computes", lambda: False)
    rows = run(one)
    assert {row.verdict for row in rows} == {Verdict.ERROR}
    assert "a process of its own (--isolate)" in rows[0].message


def test_torch_that_flushes_is_judged_as_it_computes() -> None:
    torch = pytest.importorskip("torch")
    base: Any = type(load_adapter("torch").adapter)

    class Flushing(base):
        name = "flushing"

        def __init__(self) -> None:
            super().__init__()
            torch.set_flush_denormal(True)

    rows = run(load_adapter(Flushing))
    assert {row.verdict for row in rows} <= {Verdict.PASS, Verdict.VARIANT}
    assert float(np.float32(1e-40) * np.float32(1)) != 0


# -- the command line ---------------------------------------------------------------------------


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lossproof", *arguments],
        capture_output=True, text=True, cwd=folder, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("how", [["--no-isolate"], []], ids=str)
def test_no_way_out_is_a_success(how: list[str], tmp_path: Path) -> None:
    path = tmp_path / "hostile.py"
    path.write_text(SOURCE.format(body="os.chdir('/'); os._exit(0)"), encoding="utf-8")
    options = ["run", TRIGGER, "-q", "-a", "hostile.py", "--json", "results.json", *how]
    done = command(*options, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    rows = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["results"]
    assert {row["verdict"] for row in rows} == {"crash"}


def test_threads_that_an_adapter_leaves_do_not_hold_the_command(tmp_path: Path) -> None:
    path = tmp_path / "hostile.py"
    path.write_text(SOURCE.format(body="threading.Thread(target=time.sleep, args=(600,)).start()"), "utf-8")
    start = time.monotonic()
    done = command("run", TRIGGER, "-q", "-a", "hostile.py", "--no-isolate", folder=tmp_path)
    assert done.returncode == 0 and "conforms" in done.stdout
    assert "threads" in done.stderr
    assert time.monotonic() - start < 100


def test_what_is_built_in_runs_here_and_the_rest_apart(tmp_path: Path) -> None:
    path = tmp_path / "where.py"
    path.write_text(
        "import os\nfrom lossproof.adapters.numpy import NumpyAdapter\n"
        "class Where(NumpyAdapter):\n    name = 'where'\n    version = str(os.getpid())\n",
        encoding="utf-8",
    )

    def process(**options: Any) -> str:
        return lossproof.run(str(path), cases=TRIGGER, **options).adapters[0].version

    assert process() != str(os.getpid())
    assert process(isolate=False) == str(os.getpid())
    with pytest.raises(LossproofError, match="jobs above 1"):
        process(isolate=False, jobs=2)


# -- the one rendering of what is raised ----------------------------------------------------------


def test_own_is_of_our_classes_and_idempotent() -> None:
    for error in (ValueError("x"), Unsupported("y"), SystemExit(3)):
        once = own(error)
        assert type(once).__module__.startswith("lossproof.")
        assert (type(own(once)), str(own(once))) == (type(once), str(once))
    assert text_of("a \n b\ud800") == "a b?"
    assert guest_of(Adapter()) is not guest_of(Adapter())
