"""The site: what its pages hold, and that they work in a real browser (Chromium, headless)."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, Request, sync_playwright

from lossproof.cli.main import main
from lossproof.core.functions import FUNCTIONS
from lossproof.core.install import install
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.registry.find import BUILTIN
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.file import read_json, write_json
from lossproof.site.calls import call_of
from lossproof.site.model import load_site
from lossproof.site.plots import BOTTOM, LEFT, RIGHT, TOP, Plot, frame
from lossproof.sweeps.inputs import Patterns
from lossproof.sweeps.report import Binade, Extreme, Found, Input, OutputReport, Span, Sweep
from lossproof.sweeps.report import read as read_sweeps
from lossproof.sweeps.report import write as write_sweeps

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

ROOT = Path(__file__).parent.parent
HOSTILE = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>\"</script>"


def hostile_results(path: Path) -> None:
    """Every text that a results file may hold tries to be HTML."""
    name = f"hostile {HOSTILE}"
    info = AdapterInfo(name, HOSTILE, f"1 {HOSTILE}", "cpu", reference=f"x.py; $(touch pwned) {HOSTILE}")
    row = Record(
        "sigmoid/ordinary/scalar", "sigmoid", "SIG-1", name, "float32", "value", Verdict.DEVIATION,
        error_ulp=3.0, error=1e-7, allowed=1e-8, message=HOSTILE, actual=HOSTILE,
        deviation=HOSTILE, upstream="https://example.org/\"onclick='window.pwned=1'", worst=HOSTILE,
    )  # fmt: skip
    unknown = replace(row, case="not_ours/some/case", function="not_ours", variant=HOSTILE)
    gone = AdapterInfo(f"gone {HOSTILE}", "b", "1", "cpu", skipped=HOSTILE)
    write_json(path, [info, gone], [row, unknown])
    document = json.loads(path.read_text(encoding="utf-8"))
    document["environment"][HOSTILE] = HOSTILE
    path.write_text(json.dumps(document), encoding="utf-8")


def spans(*patterns: int) -> tuple[Span, ...]:
    given = [Input(f"0x{pattern:04x}", HOSTILE) for pattern in patterns]
    return tuple(Span(first, last, 3, 2047.0) for first, last in zip(given[::2], given[1::2], strict=True))


def made_up_sweeps(path: Path) -> None:
    """Two versions of a backend, one that is wrong in places, and a search; texts try to be HTML."""
    info = AdapterInfo(f"swept {HOSTILE}", "x", "1.0", "cpu")
    exact = OutputReport(output="value", inputs=65536, measured=63488, correct=63488, faithful=63488)
    wrong = OutputReport(
        output="value", inputs=65536, measured=63488, correct=63000, faithful=63400, bias_ulp=-0.25,
        mean_square=7.5, worst=Extreme(-2047.0, (Input("0xc7a0", HOSTILE),), HOSTILE, HOSTILE),
        binades=(Binade(0x3C00, 1024, -65536, 65536**2, 0.5), Binade(0xC400, 1024, 0, 0, 2047.0)),
        not_monotone=Found(1234), not_symmetric=Found(5678), exceeded=spans(0x7BFF, 0x8001, 0x7C00, 0x7C00),
        flushed=spans(0xC801, 0xC900), below=spans(0x0001, 0x0003),
    )  # fmt: skip
    nothing = OutputReport(output="gradients.logits", problem=HOSTILE)
    searched = OutputReport(
        output="value", inputs=20000, measured=20000, correct=1, faithful=2,
        worst=Extreme(3.25, (Input("0x3fe0000000000000", "0.5"), Input("0x0", "0")), "1", "1"),
    )  # fmt: skip

    def sweep(version: str, subject: str, dtype: str, method: Any, *outputs: OutputReport) -> Sweep:
        return Sweep(
            adapter=replace(info, version=version), subject=subject, function="sigmoid", about=HOSTILE,
            dtype=dtype, method=method, outputs=outputs,
        )  # fmt: skip

    found = [
        sweep("2.0", "sigmoid", "float16", "every input", exact, nothing),
        sweep("1.0", "sigmoid", "float16", "every input", wrong, nothing),
        sweep("1.0", "sigmoid", "float64", "search", searched),
        sweep("1.0", "sigmoid/soft-target", "float16", "search", searched),
    ]
    write_sweeps(path, {HOSTILE: HOSTILE}, found)


def timings(path: Path) -> None:
    """A file of pytest-benchmark's, with what ``lossproof bench`` adds."""

    def row(backend: str, direction: str, median: float) -> dict[str, Any]:
        stats: dict[str, Any] = {
            "median": median,
            "q1": median * 0.9,
            "q3": median * 1.2,
            "min": median * 0.9,
            "rounds": 7,
        }
        stats["data"] = [median] * 7
        extra = {
            "backend": backend, "direction": direction, "dtype": "float32", "bytes": 10**6,
            "first_call_s": 1.5, "bandwidth_limit_s": 1e-4, "copy_s": [1e-4] * 7,
            "starts": [0, 0, 0, 1, 1, 1, 1],
        }  # fmt: skip
        return {"group": "softmax rows float32", "name": "x", "stats": stats, "extra_info": extra}

    rows = [
        row(b, d, m)
        for b, m in (("numpy", 3e-3), (f"b {HOSTILE}", 1e-3))
        for d in ("forward", "forward+backward")
    ]
    document = {"machine_info": {"cpu": {"brand_raw": f"A CPU {HOSTILE}"}}, "benchmarks": rows}
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NumPy's real results, and those of two made-up versions of a backend that is wrong in places."""
    folder = tmp_path_factory.mktemp("results")
    assert main(["run", "--adapter", "numpy", "--json", str(folder / "numpy.json")]) == 0
    records = read_json(folder / "numpy.json").records
    for version, wrong in (("1.0", Verdict.FAIL), ("2.0", Verdict.DEVIATION)):
        changed = [
            replace(
                r, adapter="other", verdict=wrong, message="1 of 2 elements are wrong", actual="0",
                upstream="https://example.org/1",
            )
            if r.case.startswith("softmax/special/nan") and r.dtype == "float32"
            else replace(r, adapter="other")
            for r in records
            if version == "1.0" or not r.case.startswith("log_softmax/")
        ]  # fmt: skip
        write_json(folder / f"other-{version}.json", [AdapterInfo("other", "other", version, "cpu")], changed)
    hostile_results(folder / "hostile.json")
    timings(folder / "timings.json")
    made_up_sweeps(folder / "sweeps.json")
    return folder


@pytest.fixture(scope="session")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    assert main(["report", *map(str, sorted(results.glob("*.json"))), "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the committed results and timings, as the Pages workflow builds it."""
    out = tmp_path_factory.mktemp("published")
    given = [ROOT / "results", ROOT / "results" / "sweeps", ROOT / "benchmarks" / "results" / "cpu.json"]
    assert main(["report", *map(str, given), "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Watched:
    """A page whose errors and requests are kept."""

    def __init__(self, browser: Browser, width: int = 1440, scheme: Any = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", self.request)

    def request(self, request: Request) -> None:
        if not request.url.startswith(("file://", "data:")):
            self.problems.append(f"asks for {request.url}")

    def go(self, path: Path, fragment: str = "") -> Page:
        self.page.goto(path.as_uri() + fragment)
        return self.page


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    made = Watched(browser)
    yield made
    assert made.problems == []
    assert made.page.evaluate("window.pwned") is None
    made.context.close()


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


# -- without a browser -------------------------------------------------------------------------


# HTMLParser takes minutes for a site. In text and in values angles and quotes are escaped.
_ELEMENT = re.compile(r"<[a-zA-Z][^>]*>")
_ATTRIBUTE = re.compile(r"""\s([\w:-]+)=(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")


def _named(page: Path) -> tuple[set[str], set[str]]:
    """The links of a page, and its elements' ids, of which no two are equal."""
    links, ids = set(), []
    elements = " ".join(_ELEMENT.findall(page.read_text(encoding="utf-8")))
    for name, *values in _ATTRIBUTE.findall(elements):
        value = unescape("".join(values))
        if name == "id":
            ids.append(value)
        elif name in ("href", "src") and value:
            links.add(value)
    twice = [name for name in set(ids) if ids.count(name) > 1] if len(ids) > len(set(ids)) else []
    assert not twice, f"{page.name}: several elements have the id {twice[0]}"
    return links, set(ids)


@pytest.mark.parametrize("of", ["site", "published"])
def test_every_link_leads_somewhere(of: str, request: pytest.FixtureRequest) -> None:
    """Links within the site: the page is there, and so is the anchor."""
    site: Path = request.getfixturevalue(of)
    found = {page: _named(page) for page in pages(site)}
    files = {str(file) for file in site.rglob("*")} | {str(site)}
    dead = []
    for page, (links, _) in found.items():
        for link in links:
            path, _, fragment = link.partition("#")
            if link.startswith(("https://", "http://", "data:")) or "index.html#f=" in link:
                continue
            target = os.path.normpath(page.parent / path) if path else str(page)
            known = found.get(Path(target))
            if target not in files or (fragment and known is not None and fragment not in known[1]):
                dead.append(f"{page.relative_to(site)}: {link}")
    assert dead == []


def test_nothing_is_loaded_from_elsewhere(site: Path, published: Path) -> None:
    for file in [*site.rglob("*"), *published.rglob("*")]:
        if file.suffix in (".html", ".css", ".js"):
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"""src=["']?(http|//)|url\((?!#)|@import""", text), file


def test_every_edge_case_is_answered(site: Path, results: Path) -> None:
    loaded = load_site([results / "numpy.json"], "t")
    assert {edge.function for edge in loaded.edge_cases} == set(loaded.functions)
    assert set(FUNCTIONS) == set(loaded.functions)
    for function in loaded.functions:
        anchors = [edge.anchor for edge in loaded.edge_cases if edge.function == function]
        assert len(set(anchors)) == len(anchors)
    page = (site / "functions" / "softmax.html").read_text(encoding="utf-8")
    assert "A logit is NaN" in page and "https://example.org/1" in page
    assert "lossproof repro softmax/special/nan-in-a-row --adapter other" in page


def test_committed_results_are_all_in_the_published_site(published: Path) -> None:
    files = sorted((ROOT / "results").glob("*.json"))
    loaded = load_site(files, "t")
    assert len(loaded.columns) == len(files)
    labels = {column.label for column in loaded.columns}
    for function in loaded.functions:
        text = (published / "functions" / f"{function}.html").read_text(encoding="utf-8")
        # What has no such function is named, too.
        assert all(f">{label}</" in text for label in labels), function
    accuracy = (published / "accuracy.html").read_text(encoding="utf-8")
    places = re.findall(r'<span class="why">([^<]+) where ([^<;]+) is due', accuracy)
    assert len(places) > 10 * len(files)
    assert "<svg" in (published / "speed.html").read_text(encoding="utf-8")
    assert "→" in (published / "history.html").read_text(encoding="utf-8")


def test_a_folder_means_its_json_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "there is no .json file in this folder" in capsys.readouterr().err


def test_pages_show_how_a_backend_is_called(site: Path) -> None:
    assert "return map_elements(sigmoid, logits)" in (site / "functions" / "sigmoid.html").read_text("utf-8")
    # Inherited, from a class of another file, and not there at all.
    assert "F.cross_entropy" in str(call_of("torch-cuda", "sparse_softmax_cross_entropy"))
    assert "softmax_cross_entropy_with_integer_labels" in str(
        call_of("optax", "sparse_softmax_cross_entropy")
    )
    assert call_of("optax", "softmax") is None and call_of("unheard-of", "softmax") is None
    for name in BUILTIN:
        assert any(call_of(name, function) for function in FUNCTIONS), name


def test_a_later_file_completes_an_earlier_one(results: Path, tmp_path: Path) -> None:
    document = json.loads((results / "numpy.json").read_text(encoding="utf-8"))
    half = len(document["results"]) // 2
    for name, rows in (("a", document["results"][: half + 9]), ("b", document["results"][half:])):
        (tmp_path / f"{name}.json").write_text(json.dumps(document | {"results": rows}), encoding="utf-8")
    loaded = load_site([tmp_path / "a.json", tmp_path / "b.json"], "t")
    (column,) = loaded.columns
    assert len(loaded.records.of(column)) == len(document["results"])


def test_history_names_what_changed_and_not_what_was_recorded(site: Path) -> None:
    text = (site / "history.html").read_text(encoding="utf-8")
    assert "1.0 → 2.0" in text and "not in the new results" in text
    assert "got better" not in text  # fail → deviation: the number is the same


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ("[]", "is no results file of schema 1"),
        (
            '{"benchmarks": [{"stats": {"median": "x"}}]}',
            "benchmark 1: median must be a number of seconds from 1e-15 to 1e9, not 'x'",
        ),
        ('{"benchmarks": [{"stats": {"median": 1}}]}', "benchmark 1 lacks the field 'min'"),
        ('{"benchmarks": {}}', "benchmarks must be a list, not {}"),
    ],
)
def test_what_is_no_results_file(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    assert main(["report", str(path), "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"case": "../../x/y"}, {"case": "a/b/c'\"><script>"}, {"function": "../x"}, {"clause": "<b>"},
        {"upstream": "javascript:alert(1)"}, {"output": "gradients.<b>"}, {"verdict": "x"},
    ],
)  # fmt: skip
def test_what_could_become_a_path_or_a_link_is_refused(
    change: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    row = Record("a/b/c", "a", "A-1", "x", "float32", "value", Verdict.PASS).to_json() | change
    write_json(path, [AdapterInfo("x", "x", "1", "cpu")], [])
    document = json.loads(path.read_text(encoding="utf-8")) | {"results": [row]}
    path.write_text(json.dumps(document), encoding="utf-8")
    assert main(["report", str(path), "-o", str(tmp_path / "out")]) == 2
    assert "result 1: " in capsys.readouterr().err


def test_out_may_not_be_a_file(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    assert main(["report", str(results / "numpy.json"), "-o", str(tmp_path / "out")]) == 2
    assert "is a file; give a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_a_missing_extra_is_named(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("lossproof.site.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", str(results / "numpy.json"), "-o", str(tmp_path / "out")]) == 2
    assert f"report needs jinja2: {install('report')}" in capsys.readouterr().err


# -- sweeps ------------------------------------------------------------------------------------


def test_every_sweep_is_in_the_tables_and_drawn(published: Path) -> None:
    found = [s for file in (ROOT / "results" / "sweeps").glob("*.json") for s in read_sweeps(file).sweeps]
    table = (published / "sweeps.html").read_text(encoding="utf-8")
    functions = {sweep.function for sweep in found}
    for function in functions:
        page = (published / "sweeps" / f"{function}.html").read_text(encoding="utf-8")
        own = [(s, output) for s in found if s.function == function for output in s.outputs]
        drawn = page.count('<svg class="plot" role="img"')
        assert page.count('<figure class="sweep"') == len(own) >= drawn > 0
        # Each has its name, and what it says stands in a table as well.
        assert page.count("<title id=") == page.count("<desc id=") == drawn
        rows = sum(len(output.binades) for _, output in own)
        assert page.count("<tr>") >= rows > 0
        assert f'href="../functions/{function}.html"' in page
        assert (
            f'href="../sweeps/{function}.html"' in (published / "functions" / f"{function}.html").read_text()
        )
        for sweep, output in own:
            if output.worst is not None:
                assert f'<td data-value="{abs(output.worst.error_ulp)}">' in table, (sweep.subject, output)
    exceeded = sum(len(output.exceeded) for sweep in found for output in sweep.outputs)
    assert table.count("</td></tr>") >= exceeded > 30
    for page in ("index.html", "atlas.html", "accuracy.html"):
        assert (published / page).read_text(encoding="utf-8").count('href="sweeps.html"') == 2, page


def test_what_was_searched_for_is_called_a_lower_bound(site: Path) -> None:
    table = (site / "sweeps.html").read_text(encoding="utf-8")
    assert table.count("≥ 3.25") == 4 and "a lower bound" in table
    page = (site / "sweeps" / "sigmoid.html").read_text(encoding="utf-8")
    assert page.count("≥ 3.25") == 2 and "Searched: lower bounds" in page
    assert "≥ 2047" not in table + page and "✗ 2047" in table


def test_without_sweeps_a_page_says_how_to_make_them(tmp_path: Path) -> None:
    timings(tmp_path / "timings.json")
    assert main(["report", str(tmp_path / "timings.json"), "-o", str(tmp_path / "out")]) == 0
    assert "lossproof sweep -a torch" in (tmp_path / "out" / "sweeps.html").read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "sweeps").exists()
    assert "on <a" not in (tmp_path / "out" / "atlas.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"function": "../x"}, "function must be a function's name"),
        ({"subject": "../x"}, "subject must be a function, or function/form"),
        ({"dtype": "float64"}, "sweep 1: every input is tried of float16, bfloat16, float32, not of float64"),
        ({"dtype": "int8", "method": "search"}, "sweep 1: dtype must be one of float64"),
        ({"outputs": [{"output": "value<b>"}]}, "must be value or gradients.<array>"),
        (
            {"outputs": [{"output": "value", "binades": [[65536, 1, 0, 0, 0.0]]}]},
            "sweep 1: value: float16 has no bit pattern 0x10000",
        ),
        (
            {"outputs": [{"output": "value", "binades": [[0, 0, 1, 0, 0.0]]}]},
            "sweep 1: value: 0 errors cannot add up to those of 0x0",
        ),
        (
            {"outputs": [{"output": "value", "binades": [[0, 1, 0, 10**400, 0.0]]}]},
            "sweep 1: value: 1 errors cannot add up to those of 0x0",
        ),
    ],
)
def test_a_sweep_that_is_none(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    made_up_sweeps(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["sweeps"][0] |= change
    path.write_text(json.dumps(document), encoding="utf-8")
    assert main(["report", str(path), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert str(path) in said and message in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_plots_put_every_input_and_error_in_its_place(dtype: str) -> None:
    patterns = Patterns(dtype)
    first, last = patterns.pattern(-96.0), patterns.pattern(2.0)
    output = OutputReport(
        output="value", measured=9,
        binades=(
            Binade(patterns.pattern(0.5), 9, 0, 9 * 2**30, 0.5),
            Binade(patterns.pattern(2.0), 9, 0, 0, 100.0),
            Binade(patterns.pattern(-64.0), 9, 0, 0, 1000.0),
            Binade(patterns.pattern(-(2.0**-9)), 9, 0, 0, 0.001),
        ),
        exceeded=tuple(
            Span(Input(hex(a), ""), Input(hex(b), ""), 1, 0.0)
            for a, b in ((last, last), (first, first), (patterns.infinity, patterns.infinity))
        ),
    )  # fmt: skip
    axes = frame(dtype, [output])
    assert axes is not None and axes.negative and axes.positive and axes.top == 3
    # From the binade of 1/2 to that of 64; the error below 0.01 ULP asks for no room.
    bias = patterns.one // patterns.per_binade
    assert (axes.first, axes.last) == (bias - 1, bias + 6)
    values = (-96.0, -64.0, -2.0, -0.5, 0.5, 1.0, 2.0, 96.0)
    places = [axes.x(patterns.pattern(abs(value)), value < 0) for value in values]
    assert places == sorted(set(places)) and places[0] >= LEFT and places[-1] <= RIGHT
    heights = [axes.y(error) for error in (0.0, 0.01, 0.5, 1.0, 1000.0, 1e9)]
    assert heights == sorted(heights, reverse=True) and (heights[0], heights[-1]) == (BOTTOM, TOP)
    plot = Plot(axes, output)
    assert f"{axes.y(1000.0):g}H" in plot.worst and f"{axes.y(0.5):g}H" in plot.worst
    assert f"{axes.y(0.5):g}H" in plot.mean
    # Infinity has no place between the binades; the table has it.
    assert [band.left for band in plot.exceeded] == [axes.x(last, False), axes.x(first % patterns.sign, True)]
    ticks = axes.x_ticks
    assert {"−1", "1"} <= {tick.text for tick in ticks}
    assert all(abs(a.place - b.place) >= 30 for a in ticks for b in ticks if a is not b)
    assert frame(dtype, [OutputReport(output="value", measured=9)]) is None


# -- in a browser ------------------------------------------------------------------------------


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_opens_cleanly(
    browser: Browser, site: Path, published: Path, width: int, scheme: str
) -> None:
    watched = Watched(browser, width, scheme)
    for path in [*pages(site), *pages(published)]:
        page = watched.go(path)
        assert page.title() and page.locator("h1").count() >= 1, path
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path.name} is {wide} px wider than the window"
        assert page.evaluate("window.pwned") is None, path
    assert watched.problems == []
    watched.context.close()


AXE_PAGES = [
    "index.html", "atlas.html", "accuracy.html", "speed.html", "history.html", "spec/index.html",
    "spec/softmax.html", "sweeps.html", "sweeps/sigmoid.html", "functions/sigmoid.html",
    "functions/not_ours.html",
    "index.html", "atlas.html", "accuracy.html", "speed.html", "history.html", "findings.html",
    "spec/index.html", "spec/softmax.html", "functions/sigmoid.html", "functions/not_ours.html",
]  # fmt: skip


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_serious_accessibility_violation(browser: Browser, site: Path, width: int, scheme: str) -> None:
    watched = Watched(browser, width, scheme)
    found = []
    for name in AXE_PAGES:
        page = watched.go(site / name)
        for violation in Axe().run(page).response["violations"]:
            nodes = [node["html"][:90] for node in violation["nodes"][:3]]
            found.append((name, violation["impact"], violation["id"], nodes))
    assert [entry for entry in found if entry[1] in ("serious", "critical")] == []
    watched.context.close()


def count(page: Page) -> int:
    return int(page.locator("#count", has_text=" of ").inner_text().split(" of ")[0])


@needs_browser
def test_filters(watched: Watched, site: Path, results: Path) -> None:
    records = [
        r for name in ("numpy", "other-1.0", "other-2.0") for r in read_json(results / f"{name}.json").records
    ]
    page = watched.go(site / "index.html")
    assert count(page) == len(records) + 2
    page.select_option("[name=f]", "softmax")
    assert count(page) == sum(r.function == "softmax" for r in records)
    page.select_option("[name=d]", "float32")
    assert count(page) == sum(r.function == "softmax" and r.dtype == "float32" for r in records)
    page.select_option("[name=b]", "other 2.0")
    page.select_option("[name=v]", "deviation")
    deviating = [r for r in records if r.verdict is Verdict.DEVIATION]
    assert count(page) == len(deviating) > 0
    assert page.locator("#results tbody tr").count() == len(deviating)
    page.fill("[name=q]", "NAN-IN-A-ROW")
    wanted = [r for r in deviating if "nan-in-a-row" in r.case]
    assert count(page) == len(wanted) > 0
    page.reload()  # the state is in the address
    assert count(page) == len(wanted)
    assert page.input_value("[name=q]") == "NAN-IN-A-ROW"
    page.click("button[type=reset]")
    page.wait_for_url(re.compile(r"index\.html$"))
    assert count(page) == len(records) + 2


@needs_browser
def test_cells_count_their_results(watched: Watched, site: Path, results: Path) -> None:
    page = watched.go(site / "index.html")
    cell = page.locator("button[aria-label^='softmax on other 1.0']")
    records = [r for r in read_json(results / "other-1.0.json").records if r.function == "softmax"]
    wrong = sum(r.verdict is Verdict.FAIL for r in records)
    assert f"{wrong} fail" in cell.inner_text()
    assert cell.get_attribute("aria-label") == (
        f"softmax on other 1.0: {wrong} fail, {len(records) - wrong} pass of {len(records)}"
    )
    cell.click()
    assert count(page) == len(records)
    first = page.locator("#results tbody tr").first
    assert "fail" in first.inner_text()  # the gravest first
    first.locator("a").click()
    assert "/functions/softmax.html#special/nan" in page.url


@needs_browser
def test_clauses_open_by_keyboard_and_stay_in_the_address(watched: Watched, site: Path) -> None:
    page = watched.go(site / "index.html")
    button = page.get_by_role("button", name="log_softmax", exact=False).first
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("#matrix tr.clause").count() > 0
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert "open=log_softmax" in page.url
    link = page.locator("#matrix tr.clause a").first.get_attribute("href")
    assert link is not None and re.fullmatch(r"spec/[a-z-]+\.html#[A-Z]+-[0-9]+", link)
    page.reload()
    assert page.locator("#matrix tr.clause").count() > 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


@needs_browser
def test_deep_links(watched: Watched, site: Path) -> None:
    page = watched.go(site / "index.html", "#f=softmax&b=other+1.0&v=fail")
    assert 0 < count(page) < 100 and page.input_value("[name=f]") == "softmax"
    page = watched.go(site / "functions" / "softmax.html", "#special/nan-in-a-row")
    row = page.locator("[id='special/nan-in-a-row']")
    assert row.is_visible() and page.evaluate("scrollY") > 0
    row.locator("a.chip", has_text="fail").first.click()
    assert 0 < count(page) < 20
    page = watched.go(site / "spec" / "softmax.html", "#SM-1")
    assert page.locator("#SM-1 math").count() > 0


@needs_browser
def test_headings_stay_in_sight(watched: Watched, site: Path) -> None:
    watched.page.set_viewport_size({"width": 390, "height": 600})
    page = watched.go(site / "index.html")
    scroller = page.locator(".scroll").first
    scroller.evaluate("e => e.scrollTo(60, 200)")
    box, frame = page.locator("#matrix thead th").first.bounding_box(), scroller.bounding_box()
    assert box is not None and frame is not None
    assert abs(box["y"] - frame["y"]) < 3 and abs(box["x"] - frame["x"]) < 3


@needs_browser
def test_the_picture_shows_the_matrix(published: Path, tmp_path: Path) -> None:
    picture = tmp_path / "matrix.png"
    command = [sys.executable, str(ROOT / ".ci" / "picture.py"), str(published / "index.html"), str(picture)]
    subprocess.run(command, check=True)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG") and struct.unpack(">II", content[16:24]) == (1280, 760)
    # An empty page takes a tenth.
    assert len(content) > 50_000


@needs_browser
def test_copy(watched: Watched, site: Path) -> None:
    watched.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = watched.go(site / "functions" / "softmax.html")
    details = page.locator("details.repro").first
    details.locator("summary").click()
    details.locator("button.copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == details.locator("code").inner_text().strip()
    assert copied.startswith("lossproof ")


@needs_browser
def test_tables_sort(watched: Watched, site: Path) -> None:
    page = watched.go(site / "accuracy.html")
    page.get_by_role("button", name="Share of bound").click()
    cells = page.locator("table.sortable tbody tr td:nth-child(6)")
    shares = [float(text) for text in cells.all_inner_texts()]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1]
    page.get_by_role("button", name="Share of bound").click()
    assert [float(text) for text in cells.all_inner_texts()] == sorted(shares)


@needs_browser
def test_timings_are_drawn(watched: Watched, site: Path) -> None:
    page = watched.go(site / "speed.html")
    assert page.locator("figure svg").count() == 1
    page.locator("summary", has_text="Numbers").click()
    assert page.locator("table tbody tr").count() == 4
    text = page.locator("table").inner_text()
    assert "1.5" in text and "0.03 [0.03, 0.03]" in text and "forward+backward" in text


@needs_browser
def test_hostile_text_shows_as_text(watched: Watched, site: Path) -> None:
    page = watched.go(site / "index.html", "#v=deviation&f=sigmoid")
    assert count(page) == 1
    assert "<script>window.pwned = 1</script>" in page.locator("#results").inner_text()
    page.locator("#matrix button.cell").first.click()
    page = watched.go(site / "functions" / "sigmoid.html")
    assert "<img src=x" in page.locator("main").inner_text()
    assert page.locator("main img, main script").count() == 0
