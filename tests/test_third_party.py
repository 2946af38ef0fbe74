"""spec/ says enough for another runner: one written from it in plain Python gives the same verdicts."""

from __future__ import annotations

import ast
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import yaml
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.case.expected import Sketch
from lossproof.case.model import Case
from lossproof.case.read import case_files, load_file
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.resources import folder
from lossproof.engine.call import ask
from lossproof.engine.compare import compare
from tests import third_party
from tests.plain_yaml import PlainLoader

FILES = sorted(case_files([folder("cases")]))
# Outputs larger than this, and thorough cases, are compared in few ways: plain Python takes a microsecond
# per element.
LARGE = 4096
FEW = ("expected", "half", "off by 1.001")


def test_it_is_independent() -> None:
    tree = ast.parse(Path(third_party.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert modules == {
        "__future__",
        "collections.abc",
        "dataclasses",
        "functools",
        "itertools",
        "math",
        "typing",
    }


@pytest.mark.parametrize("name", FLOAT_TYPES)
def test_the_constants_are_those_of_the_dtype(name: str) -> None:
    info: Any = ml_dtypes.finfo(FLOAT_TYPES[name].numpy)  # type: ignore[no-untyped-call]
    table = third_party.CONSTANTS[name]
    assert (table.nu, table.eta) == (float(info.smallest_normal), float(info.smallest_subnormal))
    assert table.u == 2.0 ** -(info.nmant + 1) and table.a == min(table.u, 2.0**-24)
    if name != "float64":
        with np.errstate(over="ignore"):
            below, at = (
                np.array(x).astype(FLOAT_TYPES[name].numpy)
                for x in (table.omega * (1 - 2.0**-24), table.omega)
            )
        assert np.isfinite(below) and np.isinf(at)


@lru_cache(maxsize=2)
def documents(path: Path) -> dict[str, Any]:
    document = yaml.load(path.read_text(encoding="utf-8"), PlainLoader)
    return {case["id"]: case for case in document["cases"]}


def entry(fields: dict[str, Any], output: str) -> Any:
    found = fields
    for part in output.split("."):
        found = found[part]
    return found


def right_in_float64(case: Case, output: str) -> npt.NDArray[Any]:
    """What is expected of an output, or for a sketch what a correct implementation gives."""
    expected = (case.expected or {})[output]
    if not isinstance(expected, Sketch):
        return expected
    return np.asarray(ask(NumpyAdapter(), case, case.dtypes[0]).outputs[output], dtype=np.float64)


def perturbed(
    right: npt.NDArray[Any], allowed: npt.NDArray[Any], dtype: str, seed: str
) -> dict[str, npt.NDArray[Any]]:
    """Results about and beyond what is allowed, and nonsense, in a dtype."""
    random = np.random.default_rng(list(seed.encode()))
    finite = np.isfinite(right)
    found = {"expected": right}
    for share in (0.5, 0.999, 1.001, 2.0):
        direction = random.choice([-1.0, 1.0], size=right.shape)
        found[f"off by {share}"] = np.where(finite, right + share * direction * allowed, right)
    found |= {"zero": right * 0.0, "negative": -right, "half": right * 0.5, "flushed": right.copy()}
    found["flushed"][np.abs(right) < FLOAT_TYPES[dtype].smallest_normal] = 0
    if right.size:
        for name, value in (("nan", np.nan), ("infinity", np.inf), ("-infinity", -np.inf), ("one zero", 0.0)):
            changed = right.copy()
            changed.reshape(-1)[random.integers(right.size)] = value
            found[name] = changed
    return {name: array.astype(FLOAT_TYPES[dtype].numpy) for name, array in found.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_verdicts_are_the_same(path: Path) -> None:
    verdicts: Counter[tuple[bool, bool]] = Counter()
    cases = load_file(path)
    # The thorough set is made by rule: every fourth of its cases is as good as all.
    chosen = [*(c for c in cases if not c.thorough), *[c for c in cases if c.thorough][::4]]
    for number, case in enumerate(chosen):
        fields = documents(path)[case.id.rsplit("/", 1)[1]]
        assert case.expected is not None
        for turn, (output, expected) in enumerate(case.expected.items(), number):
            tolerance = case.tolerances.get(output)
            if tolerance is None:
                continue
            with np.errstate(all="ignore"):
                right = right_in_float64(case, output)
            few = case.thorough or right.size > LARGE
            # The rule is the same in every dtype: case by case, each output has another.
            dtype = case.dtypes[turn % len(case.dtypes)]
            allowed = (
                np.full(right.shape, float(np.max(tolerance.bounds(expected.sums, FLOAT_TYPES[dtype]))))
                if isinstance(expected, Sketch)
                else tolerance.bounds(expected, FLOAT_TYPES[dtype])
            )
            with np.errstate(all="ignore"):
                results = perturbed(right, allowed, dtype, f"{case.id} {output} {dtype}")
            for name, result in results.items():
                if few and name not in FEW:
                    continue
                ours = compare(result, expected, tolerance, dtype)
                theirs = third_party.judge(
                    third_party.Output(result.shape, result.astype(np.float64).ravel().tolist()),
                    entry(fields["expected"], output),
                    entry(fields["tolerance"], output),
                    dtype,
                )
                assert (theirs.right, theirs.flushed) == (ours.ok, ours.ok and ours.flushed), (
                    f"{case.id} {output} in {dtype}, {name}: {ours.message}"
                )
                verdicts[theirs.right, theirs.flushed] += 1
    exact = all(case.function.integer_result for case in cases)
    assert exact or min(verdicts[True, False], verdicts[False, False]) > 0, "one verdict only proves nothing"
