"""Standalone scripts: they judge as a run does, need nothing of lossproof, and nothing gets into them.

What is covered pair by pair (``test_scripts_judge_as_the_engine_does``), long form and short, of the quick
set: every case in one of its dtypes in turn for torch, every other one in its first for numpy, every third
for tensorflow and keras, and a sample for the compilers, which take a second a pair: every 120th of all
pairs for jax and tensorflow-xla, every 60th for optax. torch-compile takes longer still and is left out.
``python -m tests.reproduction`` takes any of it.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof import Adapter
from lossproof.case.expected import Tolerance
from lossproof.case.model import Case
from lossproof.case.select import select_cases
from lossproof.cli.main import main
from lossproof.core.resources import folder
from lossproof.engine import law_calls, laws
from lossproof.errors import LossproofError
from lossproof.isolation.load import load_adapter
from lossproof.registry.find import BUILTIN
from lossproof.repro import embed, literal
from lossproof.repro.expression import expression
from lossproof.repro.full import full_script
from lossproof.repro.script import reproduce
from lossproof.repro.short import short_script
from tests.own_cases import quick_cases
from tests.reproduction import Outcome, compare, run_script

CASES = {case.id: case for case in quick_cases()}
HERE = Path(__file__).parent


# -- pair by pair ------------------------------------------------------------------------------

# A prime stride meets every dtype, of which most cases have four.
COVERED = {
    "numpy": ("first", "5"),
    "torch": ("turn", "2"),
    "tensorflow": ("first", "7"),
    "keras": ("first", "7"),
    "jax": ("all", "113"),
    "optax": ("all", "59"),
    "tensorflow-xla": ("all", "113"),
}
INSTALLED = [name for name in COVERED if importlib.util.find_spec(BUILTIN[name].requires)]
# Of all scripts; forms that no pair has would go unnoticed. NumPy's functions are lossproof's own, and of
# what JAX and TensorFlow's compiler are asked most is laid out or permitted in ways that a short form lacks.
LEAST_SHORT = {"numpy": 0.0, "keras": 0.1, "jax": 0.1, "tensorflow-xla": 0.05}


@pytest.mark.parametrize("name", INSTALLED)
def test_scripts_judge_as_the_engine_does(name: str) -> None:
    # In a process of its own, as a framework may be set up once only.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.reproduction", name, *COVERED[name]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads(done.stdout)
    assert not outcome["wrong"], "\n".join(outcome["wrong"][:20])
    assert outcome["full"] > 20 and outcome["short"] >= LEAST_SHORT.get(name, 0.2) * outcome["full"]


# -- adapters of others ------------------------------------------------------------------------


def adapter_file(folder: Path, source: str, name: str = "mine.py") -> Adapter:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(textwrap.dedent(source), encoding="utf-8")
    loaded = load_adapter(str(folder / name))
    assert loaded.adapter is not None
    return loaded.adapter


FAULTS = {
    "right": "super().sigmoid(logits)",
    "zero": "0 * super().sigmoid(logits)",
    "float32": "super().sigmoid(logits).astype(np.float32)",
    "float64": "super().sigmoid(logits).astype(np.float64)",
    "integers": "super().sigmoid(logits).astype(np.int64)",
    "shape": "super().sigmoid(logits)[None]",
    "unequal-shape": "np.zeros(7, logits.dtype)",
    "list": "Wrong()",
    "raises": "1 / 0",
    "exits": "sys.exit(3)",
    "unsupported": "unsupported()",
}


# What breaks a law of the call and, as far as that can be, nothing else; and of which function.
BROKEN_LAWS = {
    "law.inputs-untouched": ("softmax", """
        def evaluate(self, function, arrays):
            value = np.array(super().evaluate(function, arrays))
            arrays["logits"][...] = 1
            return value

        def value_and_gradients(self, function, arrays, wrt, *, cotangent=None):
            found = super().value_and_gradients(function, arrays, wrt, cotangent=cotangent)
            arrays["logits"][...] = 1
            return found
    """),
    "law.value-alone": ("softmax", """
        def evaluate(self, function, arrays):
            return super().evaluate(function, arrays) + np.float32(0.125)
    """),
    "law.repeats": ("softmax", """
        calls = 0

        def softmax(self, logits, *, axis):
            self.calls += 1
            return super().softmax(logits, axis=axis) + logits.dtype.type(self.calls > 3)
    """),
    "law.results-kept": ("softmax", """
        memory = np.zeros(2**16, np.uint8)

        def softmax(self, logits, *, axis):
            value = super().softmax(logits, axis=axis)
            shared = self.memory[: value.nbytes].view(value.dtype).reshape(value.shape)
            shared[...] = value
            return shared
    """),
    "law.same-bits": ("softmax", """
        calls = 0

        def softmax(self, logits, *, axis):
            self.calls += 1
            value = super().softmax(logits, axis=axis)
            return np.nextafter(value, value.dtype.type(8)) if self.calls > 3 else value
    """),
    "law.rows": ("log_softmax", """
        def log_softmax(self, logits, *, axis):
            value = super().log_softmax(logits, axis=axis)
            return np.nextafter(value, value.dtype.type(8)) if len(logits) == 1 else value
    """),
    "law.accumulation": ("l2_loss", """
        def l2_loss(self, prediction, target, *, reduction, half):
            value = super().l2_loss(prediction, target, reduction=reduction, half=half)
            return value * value.dtype.type(0.5 if len(prediction) == 1 else 1)
    """),
    "law.threads": ("softmax", """
        count = 0

        @contextmanager
        def threads(self, count):
            self.count = count
            yield
            self.count = 0

        def softmax(self, logits, *, axis):
            value = super().softmax(logits, axis=axis)
            return np.nextafter(value, value.dtype.type(8)) if self.count == 3 else value
    """),
    "law.distribution": ("sigmoid", """
        def sigmoid(self, logits):
            value = super().sigmoid(logits)
            exact = 1 / (1 + np.exp(-logits.astype(float)))
            return np.where(value > exact, np.nextafter(value, value.dtype.type(0)), value)
    """),
}  # fmt: skip


def case_for(law: str, function: str) -> Case:
    """The first one in the sample to which the law applies, in float32."""
    if law == "law.distribution":
        return next(iter(select_cases([f"{function}/distribution-thorough"], [])))
    due = {
        "law.rows": lambda case: law_calls.rows_of(case, "none"),
        "law.accumulation": law_calls.count_of_parts,
    }
    applies = due.get(law, lambda case: 2)
    return next(
        case
        for case in CASES.values()
        if case.function.name == function and law_calls.sampled(case, "float32") and applies(case) > 1
    )


def printed_script(case: Case, adapter: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What ``lossproof repro`` prints in float32."""
    assert main(["repro", case.id, "-a", adapter, "-d", "float32"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("law", BROKEN_LAWS)
def test_a_script_shows_the_law_that_is_broken(
    law: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function, methods = BROKEN_LAWS[law]
    head = (
        "from contextlib import contextmanager\nimport numpy as np\n"
        "from lossproof.adapters.numpy import NumpyAdapter\nclass Mine(NumpyAdapter):\n"
    )
    source = head + textwrap.indent(textwrap.dedent(methods), "    ")
    adapter_file(tmp_path, source)
    script = printed_script(case_for(law, function), str(tmp_path / "mine.py"), capsys)
    code, printed = run_script(script)
    assert code == 1 and f"\n{law}: {'below' if law in laws.RECOMMENDED else 'fail'}: " in printed, printed
    assert "value: pass" in printed


def test_a_script_of_pytorch_shows_a_graph_that_is_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
        import torch
        from lossproof.adapters.torch import TorchAdapter

        class Spent(torch.autograd.Function):
            @staticmethod
            def forward(ctx, logits):
                ctx.value = torch.sigmoid(logits)
                return ctx.value.clone()

            @staticmethod
            def backward(ctx, cotangent):
                return ctx.value.mul_(1 - ctx.value).mul_(cotangent)

        class Mine(TorchAdapter):
            def sigmoid(self, logits):
                return Spent.apply(logits)
    """
    adapter_file(tmp_path, source)
    script = printed_script(case_for("law.backward-twice", "sigmoid"), str(tmp_path / "mine.py"), capsys)
    code, printed = run_script(script)
    assert code == 1 and "\nlaw.backward-twice: fail: by a second backward pass " in printed, printed


def test_a_script_says_nothing_of_laws_that_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = run_script(printed_script(case_for("law.rows", "log_softmax"), "numpy", capsys))
    assert code == 0 and "law." not in printed


def test_a_call_that_crashes_is_left_to_the_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
        import os
        from lossproof.adapters.numpy import NumpyAdapter

        class Mine(NumpyAdapter):
            def softmax(self, logits, *, axis):
                os.abort()
    """
    adapter = adapter_file(tmp_path, source)
    case = case_for("law.repeats", "softmax")
    assert reproduce(case, adapter, "float32")
    path = tmp_path / "repro.py"
    path.write_text(printed_script(case, str(tmp_path / "mine.py"), capsys), encoding="utf-8")
    assert subprocess.run([sys.executable, str(path)], capture_output=True).returncode < 0


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("case", ["sigmoid/ordinary/moderate", "sigmoid/tails/subnormal-float32"])
def test_whatever_an_adapter_does_is_judged_as_in_a_run(fault: str, case: str, tmp_path: Path) -> None:
    adapter = adapter_file(
        tmp_path,
        f"""
        import sys
        import numpy as np
        from lossproof import Unsupported
        from lossproof.adapters.numpy import NumpyAdapter

        class Wrong:
            dtype = "none"

        def unsupported():
            raise Unsupported("not this one")

        class Mine(NumpyAdapter):
            name = "mine"

            def sigmoid(self, logits):
                return {FAULTS[fault]}

            def to_numpy(self, array):
                return array
        """,
    )
    outcome = Outcome()
    for dtype in CASES[case].dtypes:
        compare(adapter, CASES[case], dtype, outcome)
    assert outcome.full and not outcome.wrong, "\n".join(outcome.wrong)


def test_what_is_permitted_is_permitted_in_a_script(tmp_path: Path) -> None:
    adapter = adapter_file(
        tmp_path,
        """
        import numpy as np
        from lossproof.adapters.numpy import NumpyAdapter

        class Mine(NumpyAdapter):
            name = "mine"

            def sigmoid(self, logits):
                value = super().sigmoid(logits)
                return np.where(abs(value) < np.finfo(np.float32).tiny, 0, value).astype(value.dtype)

            def sparse_softmax_cross_entropy(self, logits, labels, **parameters):
                if (labels < 0).any() or (labels >= logits.shape[-1]).any():
                    raise IndexError("a label is outside")
                return super().sparse_softmax_cross_entropy(logits, labels, **parameters)
        """,
    )
    code, printed = run_script(full_script(CASES["sigmoid/tails/subnormal-float32"], adapter, "float32"))
    assert code == 0 and "value: variant (flushes-subnormals)" in printed
    raising = next(c for c in CASES.values() if "/invalid/" in c.id and any(v.raises for v in c.variants))
    code, printed = run_script(full_script(raising, adapter, "float32"))
    assert code == 0 and "value: variant (raises): IndexError: a label is outside" in printed


@pytest.mark.parametrize("layout", ["transposed", "strided", "sliced", "reversed"])
def test_arrays_lie_in_memory_as_the_case_says(layout: str, tmp_path: Path) -> None:
    adapter = adapter_file(
        tmp_path,
        f"""
        from lossproof.adapters.numpy import NumpyAdapter

        class Mine(NumpyAdapter):
            name = "mine"

            def softmax(self, logits, *, axis):
                assert not logits.flags.c_contiguous
                assert logits.flags.f_contiguous is ({layout!r} == "transposed")
                return super().softmax(logits, axis=axis)
        """,
    )
    case = replace(CASES["softmax/special/nan-in-a-row"], layout={"logits": layout})
    code, printed = run_script(full_script(case, adapter, "float32"))
    assert code == 0, printed
    code, printed = run_script(full_script(replace(case, layout={}), adapter, "float32"))
    assert code == 1 and "value: error: AssertionError" in printed


def test_a_script_carries_all_that_an_adapter_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("FACTOR: float = 1.0\n", encoding="utf-8")
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "kernels" / "late.py").write_text("from . import far\nHALF = far.HALF\n", encoding="utf-8")
    (tmp_path / "kernels" / "far.py").write_text("HALF = 0.5\n", encoding="utf-8")
    adapter = adapter_file(
        tmp_path,
        '''
        from __future__ import annotations

        from dataclasses import dataclass
        from typing import TYPE_CHECKING

        import beside
        import numpy as np

        from lossproof import Adapter, Call, check
        from lossproof.adapters.numpy import NumpyAdapter as Reference

        if TYPE_CHECKING:
            from nowhere import Nothing

        LIMIT: int = 30

        @dataclass(frozen=True)
        class Helper:
            """Keeps \\'\\'\\' and \\\\ whole."""

            half: float = beside.FACTOR / 2

            @property
            def one(self) -> float:
                return 2 * self.half

        class Mixin:
            scale: float = 1.0

        class Mine(Mixin, Reference):
            name = "mine"
            helper: Helper = Helper()

            @staticmethod
            def half() -> float:
                from kernels.late import HALF
                return HALF

            def sigmoid(self, logits):
                assert LIMIT == 30 and self.half() == self.helper.half
                return super().sigmoid(logits) * logits.dtype.type(self.helper.one * self.scale)
        ''',
        "my-adapter.v2.py",
    )
    script = reproduce(CASES["sigmoid/ordinary/moderate"], adapter, "float32")
    code, printed = run_script(script)
    assert code == 0, printed
    for name in ("beside", "kernels", "kernels.far", "kernels.late", "lossproof_adapter_my_adapter_v2"):
        assert f"    {name!r}: " in script


def test_a_framework_that_brings_its_adapter_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "acmeworks"
    package.mkdir()
    (package / "__init__.py").write_text("def halve(x):\n    return x / 2\n", encoding="utf-8")
    (package / "testing.py").write_text(
        "import acmeworks\nfrom lossproof.adapters.numpy import NumpyAdapter\n\n\n"
        "class Mine(NumpyAdapter):\n    name = 'acme'\n    backend = 'acmeworks'\n\n"
        "    def sigmoid(self, logits):\n        return acmeworks.halve(2 * super().sigmoid(logits))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    adapter = load_adapter("acmeworks.testing:Mine").adapter
    assert adapter is not None
    script = reproduce(CASES["sigmoid/ordinary/moderate"], adapter, "float32")
    assert "def halve" not in script and "class Mine" not in script
    code, printed = run_script(script)
    assert code == 0, printed
    # The adapters of a package that is no framework go along, with what they import of it.
    monkeypatch.setattr(type(adapter), "backend", "other")
    embed.embed.cache_clear()
    script = reproduce(CASES["sigmoid/ordinary/moderate"], adapter, "float32")
    assert "def halve" in script and "class Mine" in script
    code, printed = run_script(script)
    assert code == 0, printed
    embed.embed.cache_clear()


def test_an_adapter_without_a_source_is_refused(tmp_path: Path) -> None:
    made = type("Made", (NumpyAdapter,), {})()
    with pytest.raises(LossproofError, match="class Made cannot be found in module"):
        full_script(CASES["sigmoid/ordinary/moderate"], made, "float32")
    gone = adapter_file(
        tmp_path, "from lossproof.adapters.numpy import NumpyAdapter\nclass Gone(NumpyAdapter):\n    pass\n"
    )
    module = sys.modules[type(gone).__module__]
    assert module.__file__ is not None
    Path(module.__file__).unlink()
    with pytest.raises(LossproofError, match=r"the source of module lossproof_adapter_mine cannot be read"):
        full_script(CASES["sigmoid/ordinary/moderate"], gone, "float32")


def test_what_adapters_import_of_lossproof_is_in_its_stand_in() -> None:
    names = {node.name for node in ast.walk(ast.parse(embed.stand_in())) if isinstance(node, ast.alias)}
    imported = {
        alias.name
        for file in folder("adapters").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "lossproof"
        for alias in node.names
    }
    assert names >= imported and "Adapter" in imported


def test_there_is_nothing_to_reproduce() -> None:
    case = CASES["sigmoid/ordinary/moderate"]
    with pytest.raises(LossproofError, match="'none': the adapter defines no sigmoid: nothing to reproduce"):
        reproduce(case, type("None_", (Adapter,), {"name": "none"})(), "float32")
    narrow = type("Narrow", (NumpyAdapter,), {"dtypes": ("float64",)})()
    with pytest.raises(LossproofError, match="the adapter does not list float32"):
        reproduce(case, narrow, "float32")
    with pytest.raises(LossproofError, match="has no expectation yet"):
        reproduce(replace(case, expected=None), NumpyAdapter(), "float32")


# -- without lossproof -------------------------------------------------------------------------

HIDING = (
    "import runpy, sys\n"
    "class Hidden:\n"
    "    @staticmethod\n"
    "    def find_spec(name, path=None, target=None):\n"
    "        if name.partition('.')[0] == 'lossproof': raise ModuleNotFoundError(name)\n"
    "sys.meta_path.insert(0, Hidden)\n"
    "runpy.run_path(sys.argv[1], run_name='__main__')\n"
)


@pytest.mark.parametrize(
    ("case", "name", "full", "due"),
    [
        ("log_softmax/ordinary/random-1000-classes", "numpy", False, 0),
        ("sparse_softmax_cross_entropy/weights/cotangent", "numpy", False, 0),
        ("softmax_cross_entropy/range/equal-66000", "numpy", False, 0),
        ("pspnet_resize_labels/nearest/exact-ratio", "numpy", False, 0),
        ("softmax/special/nan-in-a-row", "torch", False, 0),
        ("softmax/special/nan-in-a-row", "torch", True, 0),
        ("cross_entropy/limits/gradient-at-zero", "torch", False, 1),
        ("cross_entropy/limits/gradient-at-zero", "torch", True, 1),
    ],
)
def test_a_script_runs_where_lossproof_is_not(
    case: str, name: str, full: bool, due: int, tmp_path: Path
) -> None:
    adapter = load_adapter(name).adapter
    if adapter is None:
        pytest.skip(f"{name} is not installed")
    path = tmp_path / "repro.py"
    path.write_text(reproduce(CASES[case], adapter, CASES[case].dtypes[0], full=full), encoding="utf-8")
    command = [sys.executable, "-c", HIDING, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == due and "value: " in done.stdout, done.stdout + done.stderr


# -- texts -------------------------------------------------------------------------------------

# What others wrote is tried in tests/test_hostile.py.


def test_a_source_is_copied_character_by_character() -> None:
    sources = [
        "x = 1\n",
        "x = '''a'''\n",
        'x = """b"""\n',
        "x = 'no newline at the end'",
        "# \\\n",
        "",
        "'\n",
    ]
    for source in sources:
        assert ast.literal_eval(literal.module_source(source)) == source


def test_numbers_are_written_to_the_bit() -> None:
    names = {"np": np, "nan": float("nan"), "inf": float("inf")}
    arrays = [
        np.array(-0.0), np.zeros((0, 3)), np.zeros(0), np.full((5, 5), 0.1), np.full(40, np.nan),
        np.full(20, -0.0), np.where(np.arange(20) < 10, 0.0, -0.0), np.array([1e-320, np.inf, -np.inf]),
        np.arange(30).reshape(2, 3, 5), np.array([2**53 + 1, -(2**63)]), np.full(20, 7),
    ]  # fmt: skip
    for array in arrays:
        text = "\n".join(literal.wrapped(f"x = {literal.array(array)}"))
        scope = dict(names)
        exec(text, scope)
        back: Any = scope["x"]
        assert back.shape == array.shape and back.tobytes() == array.astype(back.dtype).tobytes()
    with pytest.raises(TypeError, match="a set cannot be written"):
        literal.value({1})


# -- the short form ----------------------------------------------------------------------------


def test_a_short_script_calls_the_framework_alone() -> None:
    adapter = load_adapter("torch").adapter
    if adapter is None:
        pytest.skip("torch is not installed")
    script = reproduce(CASES["softmax/special/nan-in-a-row"], adapter, "bfloat16")
    assert script.count("\n") <= 25 and "lossproof" not in script
    assert "import torch.nn.functional as F" in script and "value = F.softmax(logits, dim=-1)" in script
    assert "dtype=torch.bfloat16, requires_grad=True" in script and "torch.autograd.grad(" in script
    compile(script, "script", "exec")


def test_a_short_script_sees_what_is_wrong(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    adapter = adapter_file(
        tmp_path,
        """
        import torch
        from lossproof.adapters.torch import TorchAdapter

        FACTORS = {-1: 1.25, 0: 1.0}

        class Mine(TorchAdapter):
            name = "mine"

            def softmax(self, logits, *, axis):
                return FACTORS[axis] * torch.softmax(logits, axis)

            def sigmoid(self, logits):
                return torch.sigmoid(logits).double()

            def l2_loss(self, prediction, target, *, reduction, half):
                return torch.nn.functional.mse_loss(prediction, target)[None]

            def pspnet_predict(self, logits):
                return logits.argmin(dim=-1)
        """,
    )
    chosen = ("sigmoid", "softmax", "l2_loss", "pspnet_predict")
    outcome = Outcome()
    for case in [case for case in CASES.values() if case.function.name in chosen]:
        compare(adapter, case, "float32" if "float32" in case.dtypes else case.dtypes[0], outcome)
    assert outcome.short > 50 and not outcome.wrong, "\n".join(outcome.wrong)
    script = short_script(CASES["softmax/ordinary/three-classes"], adapter, "float32")
    assert script is not None and "1.25 * torch.softmax(logits, -1)" in script
    code, printed = run_script(script)
    assert code == 1 and "value: WRONG" in printed


NAN, INF = float("nan"), float("inf")


def near(u: float) -> Tolerance:
    """So many unit roundoffs."""
    return Tolerance(np.array(u), np.array(0.0))


@pytest.mark.parametrize(
    ("value", "due", "bound", "right"),
    [
        (0.0, [1e-40], near(1e-40), True),  # flushed
        (0.0, [1e-37], near(1e-40), False),
        (INF, [3.40282357e38], near(1), True),  # overflows as it rounds
        (-INF, [3.40282357e38], near(1), False),
        (INF, [3.3e38], near(1), False),
        (1e-10, [0.0], near(0.001), False),
        (1e-10, [0.0], near(0.01), True),
        (1e-40, [0.0], near(0), False),  # must be exactly 0
        (0.0, [0.0], near(0), True),
        (5.0, [INF], near(1), False),
        (INF, [INF], near(1), True),
        (NAN, [NAN], near(0), True),
        (NAN, [1.0], near(1e8), False),
        (1.0, [NAN], near(1e8), False),
        (1.0, [[1.0]], near(0), False),  # another shape
        (1.0 + 2**-23, [1.0], near(2), True),
        (1.0 + 2**-23, [1.0], near(1.9), False),
    ],
)
def test_a_short_script_compares_as_the_engine_does(
    value: float, due: Any, bound: Tolerance, right: bool, tmp_path: Path
) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    case = replace(
        CASES["sigmoid/ordinary/moderate"],
        inputs={"logits": np.array([value])},
        expected={"value": np.array(due)},
        tolerances={"value": bound},
    )
    adapter = adapter_file(
        tmp_path,
        "from lossproof.adapters.torch import TorchAdapter\nclass Mine(TorchAdapter):\n"
        "    name = 'mine'\n    def sigmoid(self, logits):\n        return logits.clone()\n",
    )
    outcome = Outcome()
    compare(adapter, case, "float32", outcome)
    assert outcome.short == 1 and not outcome.wrong, outcome.wrong
    script = short_script(case, adapter, "float32")
    assert script is not None and run_script(script)[0] == (0 if right else 1)


METHODS = '''
import importlib
import msgspec
import numpy as np
import torch.nn.functional as F
from torch import tensor as make
from torch import special
from lossproof import Adapter, Unsupported
from lossproof.adapters import torch as ours
from . import sibling

TABLE = {"none": lambda loss: loss, "sum": np.sum, "mean": np.mean}
WORDS = {"none": "nothing", "sum": "sum"}
TWICE = 1
TWICE = 2

class Mine(Adapter):
    @staticmethod
    def static(x): return x
    def name_(self, x): return x.dtype
    def pair(self, x): return x + 1, x + 2
    def forever(self, x): return self.forever(x)
    def once(self, x, *, factor=2.0): return factor * x

    def f1(self, a): return F.softmax(a)
    def f2(self, a, *, axis): return F.softmax(a, dim=axis)
    def f3(self, a, b, *, reduction):
        """A docstring."""
        loss = F.mse_loss(a, b)
        return TABLE[reduction](loss)
    def f4(self, a, *, weight):
        extra = {} if weight is None else {"weight": weight}
        return F.relu(a, **extra)
    def f5(self, a, *, axis):
        if axis > 0 and a.ndim > 2: raise Unsupported("no")
        if not (axis in (0, -1) or a.ndim - 1 != 1): raise Unsupported("no")
        a = a.movedim(axis, 1) if a.ndim > 1 else a
        return F.relu(a)
    def f6(self, a, b): a, b = b, a; return F.mse_loss(a, b)
    def f7(self, a): return self.once(self.name_(a), factor=3)
    def f8(self, a, *, reduction): return F.pad(a, mode=WORDS[reduction], size=tuple(a.shape[1:3]))
    def f9(self, a, *, reduction): return {"none": a, "sum": boom(a)}[reduction]
    def f10(self, a): return make(a, dtype=special.float64)
    def f11(self, a): return a.argmax(dim=-1)[..., None]
    def f12(self, a, *, weight): return a if weight is None or not weight else weight * a

    def n1(self, a): return sibling.softmax(a)
    def n2(self, a): return ours.softmax(a)
    def n3(self, a): return helper(a)
    def n4(self, a):
        for _ in range(3): a = a + 1
        return a
    def n5(self, a): raise Unsupported("no")
    def n6(self, a): return a if a.sum() > 0 else -a
    def n7(self, a): return self.scale * a
    def n8(self, a): return [x for x in a]
    def n9(self, a): return TWICE * a
    def n10(self, a): return self.forever(a)
    def n11(self, a): return self.static(a)
    def n12(self, a): x, y = self.pair(a); return x
    def n13(self, a): return F.relu(*a)
    def n14(self, a): return {"a": a}
    def n15(self, a, *, reduction): return TABLE["other"](a)
    def n16(self, a): return F.relu(a, lambda x: x)
    def n17(self, a): a += 1; return a
    def n18(self, a):
        b = a + a; c = b + b; d = c + c; e = d + d; f = e + e; g = f + f
        h = g + g; i = h + h; j = i + i; k = j + j
        return k + k
    def n19(self, a): return a if 1 < a.ndim < 3 else -a
    def n20(self, a): return (b := a)

def helper(a): return a
'''
REDUCED: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "f1": ("F.softmax(a)", {}, ("import torch.nn.functional as F",)),
    "f2": ("F.softmax(a, dim=-1)", {"axis": -1}, ("import torch.nn.functional as F",)),
    "f3": ("np.mean(F.mse_loss(a, b))", {"reduction": "mean"},
           ("import numpy as np", "import torch.nn.functional as F")),
    "f4": ("F.relu(a)", {"weight": None}, ("import torch.nn.functional as F",)),
    "f5": ("F.relu(a.movedim(-1, 1))", {"axis": -1}, ("import torch.nn.functional as F",)),
    "f6": ("F.mse_loss(b, a)", {}, ("import torch.nn.functional as F",)),
    "f7": ("3 * a.dtype", {}, ()),
    "f8": ("F.pad(a, mode='nothing', size=tuple(a.shape[1:3]))", {"reduction": "none"},
           ("import torch.nn.functional as F",)),
    "f9": ("a", {"reduction": "none"}, ()),
    "f10": ("make(a, dtype=special.float64)", {},
            ("from torch import special", "from torch import tensor as make")),
    "f11": ("a.argmax(dim=-1)[..., None]", {}, ()),
    "f12": ("a", {"weight": 0.0}, ()),
}  # fmt: skip


@pytest.fixture(scope="module")
def methods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Adapter]]:
    """The class above; its module is read, and never needs to be imported."""
    folder = tmp_path_factory.mktemp("methods")
    (folder / "methods_under_test.py").write_text(METHODS, encoding="utf-8")
    runnable = METHODS.replace("from . import sibling", "sibling = None")
    runnable = "\n".join(line for line in runnable.split("\n") if "torch" not in line)
    spec = importlib.util.spec_from_file_location("methods_under_test", folder / "methods_under_test.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # The lines of the file are kept, so that a method's source is found where it stands.
    lines = [line if line in runnable.split("\n") else "" for line in METHODS.split("\n")]
    exec(compile("\n".join(lines), str(folder / "methods_under_test.py"), "exec"), module.__dict__)
    sys.modules["methods_under_test"] = module
    yield module.Mine
    del sys.modules["methods_under_test"]


def reduced(cls: type[Adapter], name: str, constants: dict[str, Any]) -> Any:
    arrays = {"a": 2, "b": 2} if name in ("f3", "f6") else {"a": 2}
    return expression(
        vars(cls)[name], cls, arrays, {}, constants, lambda module: module.startswith("lossproof")
    )


@pytest.mark.parametrize("name", REDUCED)
def test_a_method_comes_down_to_one_expression(name: str, methods: type[Adapter]) -> None:
    text, constants, imports = REDUCED[name]
    found = reduced(methods, name, constants)
    assert found is not None and (found.text, found.imports) == (text, imports)


@pytest.mark.parametrize("name", [f"n{i}" for i in range(1, 21)])
def test_a_method_that_is_more_than_an_expression_is_left_alone(name: str, methods: type[Adapter]) -> None:
    constants = {"reduction": "sum"} if name == "n15" else {}
    assert reduced(methods, name, constants) is None


def test_other_arrays_and_gradients_are_no_framework_of_the_table(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    source = """
        from lossproof.adapters.torch import TorchAdapter

        class Mine(TorchAdapter):
            name = "mine"

            def {method}(self, *arguments, **keywords):
                return super().{method}(*arguments, **keywords)
    """
    case = CASES["sigmoid/ordinary/zero"]
    for method in ("from_numpy", "to_numpy", "evaluate", "value_and_gradients", "step", "__init__"):
        adapter = adapter_file(tmp_path / method, source.format(method=method))
        assert short_script(case, adapter, "float32") is None
    assert short_script(case, adapter_file(tmp_path, source.format(method="softmax")), "float32")


@pytest.mark.parametrize(
    ("above", "within", "short"),
    [
        ("import torch\nSCALE = 1.0\nKEPT: int = 1", "", True),
        ("import torch\ntorch.set_flush_denormal(False)", "", False),
        ("import os\nos.environ['ACME'] = '1'\nimport torch", "", False),
        ("import torch\ntorch.backends.cudnn.benchmark = False", "", False),
        ("try:\n    import torch\nexcept ImportError:\n    pass", "", False),
        ("import torch", "device = 'meta'", False),
        ("import torch\nimport torch as np", "def sigmoid(self, logits): return np.sigmoid(logits)", False),
        ("import torch\nfrom torch import sigmoid as value",
         "def sigmoid(self, logits): return value(logits)", False),
    ],
)  # fmt: skip
def test_what_an_adapter_sets_is_not_lost(above: str, within: str, short: bool, tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    source = f"{above}\nfrom lossproof.adapters.torch import TorchAdapter\nclass Mine(TorchAdapter):\n"
    adapter = adapter_file(tmp_path, f"{source}    name = 'mine'\n    {within}\n")
    script = short_script(CASES["sigmoid/ordinary/zero"], adapter, "float32")
    assert (script is not None) is short


# -- commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        "softmax/special/nan-in-a-row",
        "sparse_softmax_cross_entropy/weights/cotangent",
        "pspnet_resize_labels/nearest/exact-ratio",
        "log_softmax/ordinary/random-1000-classes",
    ],
)
@pytest.mark.parametrize("encoding", ["any", "text", "base64"])
def test_a_command_is_asked_by_the_script(case: str, encoding: str) -> None:
    loaded = load_adapter("numpy", isolate=True)
    remote: Any = loaded.adapter
    assert remote is not None
    remote.start = msgspec.structs.replace(remote.start, encoding=encoding)
    outcome = Outcome()
    try:
        for dtype in CASES[case].dtypes:
            compare(remote, CASES[case], dtype, outcome)
    finally:
        remote.close()
    assert outcome.full and not outcome.short and not outcome.wrong, "\n".join(outcome.wrong)


FAULTY_COMMAND = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["command"] == "start":
        print(json.dumps({"protocol": 1, "name": "faulty", "functions": ["sigmoid"]}), flush=True)
    elif message["command"] == "run":
        if KIND == "dies":
            sys.exit(7)
        if KIND == "garbage":
            print("Loading...", flush=True)
            continue
        answer = {"id": message["id"]}
        if KIND == "unsupported" or message["wrt"]:
            answer["unsupported"] = "no gradients"
        elif KIND == "error":
            answer["error"] = "RangeError: no"
        else:
            array = message["arrays"]["logits"]
            layout = array.pop("layout", None)
            assert layout == ("strided" if KIND == "layout" else None)
            answer["value"] = array
        print(json.dumps(answer), flush=True)
"""


@pytest.mark.parametrize("kind", ["dies", "unsupported", "error", "wrong", "layout", "garbage"])
def test_what_a_command_answers_is_judged_as_in_a_run(kind: str, tmp_path: Path) -> None:
    program = tmp_path / "faulty.py"
    program.write_text(f"KIND = {kind!r}\n{FAULTY_COMMAND}", encoding="utf-8")
    loaded = load_adapter(f"{sys.executable} {program}")
    remote: Any = loaded.adapter
    case: Case = CASES["sigmoid/ordinary/moderate"]
    if kind == "layout":
        case = replace(case, layout={"logits": "strided"})
    outcome = Outcome()
    try:
        compare(remote, case, "float32", outcome)
    finally:
        remote.close()
    assert outcome.full == 1 and not outcome.wrong, outcome.wrong


# -- the command line --------------------------------------------------------------------------


def test_the_command_prints_either_form(capsys: pytest.CaptureFixture[str]) -> None:
    from lossproof.cli.main import main

    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    assert main(["repro", "sigmoid/ordinary/zero", "-a", "torch"]) == 0
    short = capsys.readouterr().out
    assert short.count("\n") <= 25 and "torch.sigmoid(logits)" in short
    assert main(["repro", "sigmoid/ordinary/zero", "-a", "torch", "--full"]) == 0
    full = capsys.readouterr().out
    assert "class TorchAdapter(" in full and "def compare(" in full
