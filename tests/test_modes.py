"""Modes: each fails a kernel that is right without it, and passes one that is right with it."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lossproof
from lossproof.case.model import Case
from lossproof.case.select import select_cases
from lossproof.cli.main import main
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.errors import LossproofError
from lossproof.isolation.load import load_adapter
from lossproof.registry import modes
from lossproof.registry.deviations import Deviations

NONE = Deviations([], "", "", "")
HERE = Path(__file__).parent
# Those for which the framework has to be started are tests/test_shards.py's.
PAIRS = [
    (framework, mode)
    for framework, names in modes.KNOWN.items()
    for mode in names
    if not modes.needs_start(mode)
]
COMPILERS = {"compile", "compile-dynamic"}


def kernels(framework: str) -> Any:
    pytest.importorskip(framework)
    return importlib.import_module(f"tests.{framework}_modes")


@cache
def some(function: str, few: bool) -> tuple[Case, ...]:
    """Cases; of softmax those with more than one row or element, for kernels that only know these."""
    topics = {
        "softmax": ["softmax/ordinary/three-classes", "softmax/axis/middle-of-three", "softmax/range"],
        "sigmoid": ["sigmoid/ranks"],
        "pspnet_predict": ["pspnet_predict"],
    }[function]
    cases = [
        case
        for case in select_cases(topics, [], False)
        if case.level == "required"
        and "float32" in case.dtypes
        and (function != "softmax" or case.shape_of("logits")[:1] not in ((0,), (1,)))
    ]
    return tuple(cases[:4] if few else cases)


def overridden(cls: type[lossproof.Adapter]) -> str:
    (name,) = {"softmax", "sigmoid", "pspnet_predict"} & vars(cls).keys()
    return name


def judged(given: Any, function: str, mode: str = "") -> list[Record]:
    loaded = load_adapter(given, mode=mode)
    if loaded.adapter is None:
        pytest.skip(loaded.info.skipped or "")
    cases = some(function, mode in COMPILERS)
    return [r for case in cases for r in run_case(loaded.adapter, loaded.info.name, case, "float32", NONE)]


def broken(records: list[Record]) -> list[str]:
    return [f"{r.case} {r.output}: {r.message}" for r in records if r.verdict in FAILURES]


@pytest.mark.parametrize("framework", modes.KNOWN)
def test_the_modes_that_are_listed_are_those_that_there_are(framework: str) -> None:
    kernel = kernels(framework)
    assert tuple(kernel.Right.modes) == modes.KNOWN[framework]
    assert tuple(kernel.MUTANTS) == modes.KNOWN[framework], "a mutant for each mode"
    assert all(kernel.MUTANTS.values())


@pytest.mark.parametrize(("framework", "mode"), PAIRS)
def test_a_kernel_that_is_right_without_it_fails(framework: str, mode: str) -> None:
    for mutant in kernels(framework).MUTANTS[mode]:
        function = overridden(mutant)
        # JAX's adapter is jitted as it is: what is wrong under jit is right eagerly.
        plain = "eager" if (framework, mode) == ("jax", "jit") else ""
        assert not broken(judged(mutant, function, plain)), mutant
        found = judged(mutant, function, mode)
        assert broken(found), mutant
        assert {record.adapter for record in found} == {f"{mutant.name}+{mode}"}


@pytest.mark.parametrize(("framework", "mode"), PAIRS)
def test_a_kernel_that_is_right_passes(framework: str, mode: str) -> None:
    right = kernels(framework).Right
    function = "sigmoid" if mode == "channels-last" else "softmax"
    found = judged(right, function, mode)
    assert not broken(found)
    passed = {record.output for record in found if record.verdict in (Verdict.PASS, Verdict.VARIANT)}
    gradients = set() if mode == "inference-mode" else {"gradients.logits"}
    assert passed >= {"value", "law.inputs-untouched"} | gradients


def test_modes_are_the_same_in_processes_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A file, a built-in name, ``--jobs`` and ``--python``: what fails fails there, too."""
    pytest.importorskip("torch")
    file = f"{HERE / 'torch_modes.py'}:AxisLost"
    command = ["run", "softmax/axis", "softmax/ordinary", "-d", "float32", "-q"]
    here = main([*command, "-a", file, "--mode", "vmap", "--no-isolate"])
    told = capsys.readouterr().out
    assert here == 1 and "axis-lost+vmap" in told
    wrong = [line for line in told.splitlines() if line.startswith(" ")]
    for more in (["--isolate", "--timeout", "300"], ["--jobs", "2"], ["--python", sys.executable]):
        assert main([*command, "-a", file, *more, "--mode", "vmap"]) == 1
        assert [line for line in capsys.readouterr().out.splitlines() if line.startswith(" ")] == wrong
    assert main([*command, "-a", "torch+vmap", "--isolate"]) == 0
    assert "torch+vmap: conforms" in capsys.readouterr().out


def test_check_takes_modes() -> None:
    torch = pytest.importorskip("torch")

    def right(logits: Any, *, axis: int) -> Any:
        return torch.softmax(logits, axis)

    def fast(logits: Any, *, axis: int) -> Any:
        if torch.is_inference_mode_enabled():
            return logits.exp() / logits.exp().sum(axis, keepdim=True)
        return torch.softmax(logits, axis)

    def scalar(logits: Any, *, axis: int) -> Any:
        if logits.ndim == 2:
            return torch.softmax(logits, axis)
        raise lossproof.Unsupported("two axes only")

    chosen: Any = {"framework": "torch", "dtypes": ["float32"], "cases": ["range/*", "axis/*"]}
    records = lossproof.check(right, "softmax", modes=["vmap", "checkpoint", "vmap"], **chosen)
    assert {r.adapter for r in records} == {"right", "right+vmap", "right+checkpoint"}
    lossproof.check(fast, "softmax", **chosen)
    with pytest.raises(AssertionError, match="value under inference-mode"):
        lossproof.check(fast, "softmax", modes=["inference-mode"], **chosen)
    with pytest.raises(LossproofError, match="no case is left to run under channels-last: channels-last is"):
        lossproof.check(scalar, "softmax", modes=["channels-last"], **chosen)
    with pytest.raises(LossproofError, match=r"no mode 'vmpa' \(did you mean 'vmap'\?\); it has compile, "):
        lossproof.check(right, "softmax", modes=["vmpa"], **chosen)
    with pytest.raises(LossproofError, match="leave out one of them"):
        lossproof.check(right, "softmax", modes=["vmap"], gradient=lambda g, x: g, **chosen)
    with pytest.raises(LossproofError, match="no mode 'vmap'; its framework has none"):
        lossproof.check(lambda logits: logits, "softmax", modes=["vmap"])


def test_what_has_no_such_mode_is_refused_or_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "softmax/ordinary", "-d", "float32", "-q"]
    assert main([*run, "-a", "numpy", "--mode", "vmap"]) == 1
    out = capsys.readouterr()
    assert "numpy+vmap" in out.out + out.err and "nothing was judged" in out.err
    assert load_adapter("numpy", mode="vmap").info.skipped == "no mode 'vmap'; its framework has none"
    assert main([*run, "-a", "numpy", "--mode", "vmpa"]) == 2
    assert "no mode 'vmpa'" in capsys.readouterr().err
    assert main([*run, "--mode", "vmpa"]) == 2
    assert "did you mean 'vmap'?" in capsys.readouterr().err
    assert main([*run, "-a", "node x.mjs", "--mode", "vmap"]) == 2
    assert "modes are for Python adapters" in capsys.readouterr().err
    assert main([*run, "-a", "numpie+vmap"]) == 2
    assert "unknown adapter 'numpie' (did you mean 'numpy'?)" in capsys.readouterr().err


def test_an_adapter_may_bring_modes_of_its_own() -> None:
    from lossproof.adapters.numpy import NumpyAdapter

    class Doubled(lossproof.Adapter):
        def evaluate(self, function: Any, arrays: Any) -> Any:
            return 2 * super().evaluate(function, arrays)

    class Mine(NumpyAdapter):
        name = "mine"
        modes = {"doubled": Doubled}  # noqa: RUF012

    case = some("softmax", False)[0]
    for given in (Mine, Mine()):
        loaded = load_adapter(given, mode="doubled")
        assert loaded.info.name == "mine+doubled" and loaded.adapter is not None
        found = {r.output: r.verdict for r in run_case(loaded.adapter, "x", case, "float64", NONE)}
        assert found["law.value-alone"] is Verdict.FAIL and found["value"] is Verdict.PASS
    assert lossproof.run(Mine, cases="softmax/ordinary", modes="doubled").adapters[0].name == "mine+doubled"


@pytest.mark.parametrize("name", ["torch-mps", "torch-xpu", "jax-gpu", "jax-tpu", "tensorflow-gpu"])
def test_a_device_that_is_not_here_is_skipped_with_the_reason(name: str) -> None:
    pytest.importorskip(name.partition("-")[0])
    loaded = load_adapter(name)
    if loaded.adapter is not None:
        pytest.skip("it is here")
    assert loaded.info.name == name and (loaded.info.skipped or "").strip()
