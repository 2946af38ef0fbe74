"""The page of findings says what the deviations files say, and its scripts are of what they record."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from lossproof.case import yaml as yamlio
from lossproof.cli.main import build_parser
from lossproof.core.resources import folder
from lossproof.registry.deviations import Deviation
from lossproof.registry.modes import split
from lossproof.site import findings
from lossproof.site.findings import NONE_KNOWN, Framework, effect, frameworks, page, report, script
from lossproof.site.markdown import to_html
from tests.findings import LINK, PAGE
from tests.own_cases import every_case

FOUND = [(framework, deviation) for framework in frameworks() for deviation in framework.deviations]
CASES = {case.id: case for case in every_case()}


def test_the_page_is_current() -> None:
    assert page(LINK) == PAGE.read_text(encoding="utf-8"), "run: python -m tests.findings --write"


def test_every_deviations_file_is_on_it() -> None:
    files = set(folder("adapters").rglob("*.deviations.yaml"))
    assert {framework.file for framework in frameworks()} == files
    headings = Counter(re.findall(r"^### (.+)$", page(LINK), re.M))
    assert headings == Counter(deviation.id for _, deviation in FOUND)
    assert page(LINK).count("```text") == sum(d.upstream == NONE_KNOWN for _, d in FOUND)


def test_every_effect_is_used_and_a_sentence() -> None:
    effects = yamlio.load(Path(findings.__file__).with_name("effects.yaml"))
    assert effects["deviations"].keys() <= {deviation.id for _, deviation in FOUND}
    assert effects["clauses"].keys() <= {deviation.clause for _, deviation in FOUND}
    assert all(re.fullmatch(r"[A-Zf].+[^.]\.", effect(deviation)) for _, deviation in FOUND)


@pytest.mark.parametrize(("framework", "deviation"), FOUND, ids=lambda given: getattr(given, "id", "of"))
def test_its_script_is_of_what_is_recorded(framework: Framework, deviation: Deviation) -> None:
    words = shlex.split(script(framework, deviation))
    options = build_parser(["repro"]).parse_args(words[1:])
    case = CASES[options.case]
    dtype = options.dtype or case.dtypes[0]
    assert dtype in case.dtypes and fnmatch_any(case.id, deviation)
    assert not deviation.where[0].dtypes or dtype in deviation.where[0].dtypes
    assert not deviation.adapters or deviation.is_of(options.adapter) or split(options.adapter)[1]
    if deviation.upstream == NONE_KNOWN:
        text = report(framework, deviation)
        assert deviation.versions in text and " ".join(deviation.observed.split()) in text


def fnmatch_any(case: str, deviation: Deviation) -> bool:
    first = deviation.where[0]
    return any(first.covers(case, dtype, output) for dtype in ("float32", *first.dtypes)
               for output in ("value", *first.outputs))  # fmt: skip


def test_no_mark_of_a_recorded_text_has_a_meaning() -> None:
    text = "*a* _b_ [torch](x) <b> $p_i$ `c` | # & ~~d~~ [torch]"
    html = to_html(f"**{findings._marked(text)}**")
    assert re.sub(r"<[^>]+>", "", html).strip() == text.replace("&", "&amp;").replace("<b>", "&lt;b&gt;")
