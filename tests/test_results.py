"""What is committed in results/: all of it is well formed, and what is installed here gives it again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import jsonschema
import pytest

from lossproof.case.model import Case
from lossproof.core.resources import folder
from lossproof.core.verdicts import Verdict
from lossproof.engine import laws
from lossproof.engine.judge import run_case
from lossproof.isolation.load import load_adapter
from lossproof.registry.find import BUILTIN
from lossproof.registry.loaded import Loaded
from lossproof.results.file import read_json
from lossproof.results.folder import file_name
from tests.own_cases import every_case, quick_cases

FOLDER = Path(__file__).parent.parent / "results"
FILES = sorted(FOLDER.glob("*.json"))


def due(cases: Iterable[Case], more: Iterable[str] = ()) -> set[tuple[str, str, str]]:
    """Every output that the cases have, and ``more``."""
    return {(c.id, dtype, o) for c in cases for dtype in c.dtypes for o in (*(c.expected or ()), *more)}


DUE, DUE_QUICKLY = due(every_case()), due(quick_cases())
POSSIBLE = due(every_case(), laws.CLAUSES)
# Backends that judge all cases in seconds. The others compile each.
QUICK = ("numpy", "torch", "tensorflow", "keras")


def installed(name: str) -> tuple[Loaded, Path]:
    """The adapter, and its file for the version that is installed here."""
    loaded = load_adapter(name)
    if loaded.info.skipped is not None:
        pytest.skip(loaded.info.skipped)
    path = FOLDER / file_name(loaded.info)
    if not path.is_file():
        pytest.skip(f"results/ has no {loaded.info.name} {loaded.info.version}")
    return loaded, path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_a_summary_of_cases_that_exist(path: Path) -> None:
    schema = json.loads((folder("spec") / "results.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text(encoding="utf-8")))
    results = read_json(path)
    (info,) = results.adapters
    assert path.name == file_name(info) and info.skipped is None
    gone = {(r.case, r.dtype, r.output) for r in results.records} - POSSIBLE
    assert not gone, f"run {info.name} on all cases with --results results, or delete the lines of {gone}"


@pytest.mark.parametrize("name", BUILTIN)
def test_no_case_is_missing(name: str) -> None:
    """Of the version that is installed, in the dtypes that were run (torch-compile's are float32).

    A file of chosen cases, as torch-compile's is, has those of its topics.
    """
    _, path = installed(name)
    results = read_json(path)
    found = {(r.case, r.dtype, r.output) for r in results.records}
    dtypes = {dtype for _, dtype, _ in found}
    of_its_set = DUE if results.environment.get("cases") == "thorough" else DUE_QUICKLY
    topics = {case.rsplit("/", 1)[0] for case, _, _ in found}
    chosen = results.environment.get("cases") == "chosen"
    missing = sorted({
        case for case, dtype, _ in of_its_set - found
        if dtype in dtypes and not (chosen and case.rsplit("/", 1)[0] not in topics)
    })  # fmt: skip
    assert not missing, f"run: lossproof run {' '.join(missing)} -a {name} --results results"


# Clause G-8: either is right, and the same kernel of another instruction set does the other.
PROCESSOR_DECIDES = {(Verdict.PASS, None), (Verdict.VARIANT, "flushes-subnormals")}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", QUICK)
def test_verdicts_are_current(name: str) -> None:
    """Of the quick set. A sporadic deviation, and a flush, shows on some processors only."""
    loaded, path = installed(name)
    assert loaded.adapter is not None
    sporadic = {deviation.id for deviation in loaded.deviations.entries if deviation.sporadic}
    kept = {(r.case, r.dtype, r.output): r for r in read_json(path).records}
    changed = []
    for case in quick_cases():
        for dtype in case.dtypes:
            for new in run_case(loaded.adapter, name, case, dtype, loaded.deviations):
                old = kept.get((new.case, new.dtype, new.output))
                if sporadic & {new.deviation, old.deviation if old else None}:
                    continue
                if old and {(r.verdict, r.variant) for r in (old, new)} == PROCESSOR_DECIDES:
                    continue
                if old is None or (old.verdict, old.variant) != (new.verdict, new.variant):
                    changed.append(f"{new.case} {dtype} {new.output}: {old and old.verdict} → {new.verdict}")
    assert not changed, "\n".join([f"run: lossproof run -a {name} --results results", *changed[:20]])
