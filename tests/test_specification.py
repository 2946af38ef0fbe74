"""The specification, the cases and the schemas agree with one another."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lossproof.case.model import Case
from lossproof.case.read import case_files, load_cases
from lossproof.core.clauses import clauses
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from lossproof.engine import laws
from lossproof.engine.judge import choices_shown
from lossproof.engine.verdict import FLOAT32_RESULT
from lossproof.registry.deviations import load_deviations
from lossproof.registry.find import BUILTIN
from lossproof.registry.modes import KNOWN, joined
from tests.families._page import is_made
from tests.own_cases import all_cases
from tests.plain_yaml import PlainLoader

ROOT = Path(__file__).parent.parent
CASES = all_cases()
# Of modes, under which every case is judged.
OF_MODES = {"G-20", "G-21"}
# The built-in adapters, and each under every mode.
ADAPTERS = [*BUILTIN, *(joined(name, mode) for name in BUILTIN for modes in KNOWN.values() for mode in modes)]


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder("spec") / name).read_text(encoding="utf-8"))
    return loaded


def test_every_clause_is_cited_and_every_citation_exists() -> None:
    choices = {name for name, clause in clauses().items() if clause.page == "choices.md"}
    assert {case.clause for case in CASES} == set(clauses()) - choices - set(laws.CLAUSES.values()) - OF_MODES


def test_every_law_is_the_output_that_its_clause_names() -> None:
    assert {law: clauses()[name].text.split("`")[1] for law, name in laws.CLAUSES.items()} == {
        law: law for law in laws.CLAUSES
    }
    recommended = {law for law, name in laws.CLAUSES.items() if "MUST" not in clauses()[name].text}
    assert recommended == laws.RECOMMENDED


def test_every_choice_has_a_clause_and_cases_that_show_it() -> None:
    texts = [clause.text for clause in clauses().values() if clause.page == "choices.md"]
    named = [text.split("`")[1] for text in texts if text.startswith("`")]
    assert len(named) == len(texts) == len(set(named))
    shown = {name for case in CASES for dtype in case.dtypes for name in choices_shown(case, dtype)}
    assert {*named} == shown | {FLOAT32_RESULT}


def test_every_function_has_required_cases_in_every_floating_dtype() -> None:
    required = {(c.function.name, dtype) for c in CASES if c.level == "required" for dtype in c.dtypes}
    assert {name for name, _ in required} == set(FUNCTIONS)
    for name in {name for name, function in FUNCTIONS.items() if function.has_float_arrays}:
        assert {(name, dtype) for dtype in FLOAT_TYPES} <= required, name


def test_every_case_has_expectation_tolerance_and_a_reason_of_its_own() -> None:
    for case in CASES:
        assert case.expected is not None and "value" in case.expected, case.id
        if not case.function.integer_result and case.function.has_float_arrays:
            assert set(case.tolerances) == set(case.expected), case.id
    # The same sentence for two functions is fine, for two cases of one it is padding. What a family makes by
    # rule, it gives the rule's reason.
    made = {path for path in {case.path for case in CASES} if is_made(path.read_text(encoding="utf-8"))}
    reasons = Counter((c.function.name, c.why) for c in CASES if c.path not in made)
    repeated = [k for k, n in reasons.items() if n > 1]
    assert not repeated


def test_no_two_cases_have_the_same_content() -> None:
    def content(case: Case) -> str:
        parts = [case.function.name, str(case.dtypes), str(dict(case.parameters)), str(case.wrt)]
        parts += [str(case.cotangent), str(case.layout), str(dict(case.tangents)), str(case.times)]
        parts += [str(v.tolist() if hasattr(v, "tolist") else dict(v)) for v in case.inputs.values()]
        return "|".join(parts)

    assert [k for k, n in Counter(map(content, CASES)).items() if n > 1] == []


@pytest.mark.parametrize("path", sorted(case_files([folder("cases")])), ids=lambda p: p.stem)
def test_case_files_follow_the_schema(path: Path) -> None:
    document = yaml.load(path.read_text(encoding="utf-8"), PlainLoader)
    # Of a file that is made by rule, every eighth case is as good as all.
    if document.get("thorough"):
        document["cases"] = document["cases"][::8]
    jsonschema.Draft202012Validator(schema("case.schema.json")).validate(document)


def test_schema_refuses_an_unknown_field() -> None:
    bad = {"function": "softmax", "about": "x", "cases": [{"id": "a", "dtype": "float32"}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema("case.schema.json"))


def test_deviations_name_existing_cases_and_adapters() -> None:
    ids = {case.id for case in CASES}
    for path in folder("adapters").glob("*.deviations.yaml"):
        for deviation in load_deviations(path):
            for pattern in deviation.adapters:
                assert fnmatch.filter(ADAPTERS, pattern), f"{deviation.id}: no adapter {pattern!r}"
            for case in deviation.cases():
                assert case in ids or fnmatch.filter(ids, case), f"{deviation.id}: no case {case!r}"


def test_links_between_pages_resolve() -> None:
    folders = (ROOT, ROOT / "spec", ROOT / "docs", ROOT / "results")
    for page in [page for place in folders for page in place.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            # The README's links to ../../ are GitHub's pages of the repository.
            if not target.startswith(("http://", "https://", "mailto:", "../../")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_clauses_mentioned_in_pages_exist() -> None:
    known = set(clauses())
    for page in (ROOT / "spec").glob("*.md"):
        for name in re.findall(
            r"\b(?:G|L2|ED|L?SG|L?SM|CE|BCE|PSP|MRC|CH)-[0-9]+\b", page.read_text("utf-8")
        ):
            assert name in known, f"{page.name}: {name}"


def test_every_package_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    source = ROOT / "src"
    found = {".".join(p.parent.relative_to(source).parts) for p in source.rglob("__init__.py")}
    elsewhere = ("lossproof.adapters", "lossproof.cases", "lossproof.spec", "lossproof.workloads")
    assert listed == found | {*elsewhere}


def test_the_benchmark_workloads_are_well_formed() -> None:
    for case in load_cases([ROOT / "benchmarks" / "workloads"]):
        assert case.expected is not None, f"{case.id}: each timed result is judged"
