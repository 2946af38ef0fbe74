"""Modes: each fails a kernel that is right without it, and passes one that is right with it."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lossproof
from lossproof.case.model import Case
from lossproof.case.select import select_cases
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.isolation.load import load_adapter
from lossproof.registry import modes
from lossproof.registry.deviations import Deviations

NONE = Deviations([], "", "", "")
HERE = Path(__file__).parent
PAIRS = [(framework, mode) for framework, names in modes.KNOWN.items() for mode in names]
COMPILERS = {"compile", "compile-dynamic"}


def kernels(framework: str) -> Any:
    pytest.importorskip(framework)
    return importlib.import_module(f"tests.{framework}_modes")


@cache
def some(function: str, few: bool) -> tuple[Case, ...]:
    """Cases of more than one row or element, so that a kernel that only knows those is right."""
    topics = {
        "softmax": ["softmax/ordinary/three-classes", "softmax/axis/middle-of-three", "softmax/range"],
        "sigmoid": ["sigmoid/ranks"],
        "pspnet_predict": ["pspnet_predict"],
    }[function]
    cases = [
        case
        for case in select_cases(topics, [], False)
        if case.level == "required" and case.shape_of(case.function.leading.name)[:1] not in ((0,), (1,))
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
