"""Whatever a text of others says, it stays a text: every format that lossproof writes, on one list of texts.

The texts (tests/hostile.py) go through every place where one can come in (cases, adapters and what they
raise, deviations, fields of results and timings, names of files), and what comes out is read again.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import yaml

from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.cli import output
from lossproof.cli.main import main
from lossproof.core import escape
from lossproof.core.raised import text_of
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.isolation.load import load_adapter
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.find import MAX_NAME
from lossproof.registry.loaded import AdapterInfo
from lossproof.repro import literal
from lossproof.repro.full import full_script
from lossproof.repro.short import MAX_LINES, short_script
from lossproof.results.badge import write_badge
from lossproof.results.file import Results
from lossproof.results.folder import renew
from lossproof.results.junit import write_junit
from tests.hostile import FORGED, HOSTILE, shows
from tests.reproduction import run_script

every_text = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)

FILE = """function: sigmoid
about: {text}
cases:
  - id: zero
    clause: SG-1
    level: required
    why: {text}
    dtypes: [float32]
    inputs: {{logits: 0}}
    expected: {{value: 0.5, gradients: {{logits: 0.25}}}}
    tolerance: {{value: 4, gradients: {{logits: 4}}}}
"""
# What becomes of the one case with the adapter below.
WAYS = ("wrong", "raises", "unsupported", "absent")
ADAPTER = """
from lossproof import Unavailable, Unsupported
from lossproof.adapters.numpy import NumpyAdapter

class Hostile(NumpyAdapter):
    backend = version = device = TEXT or "x"
    # What is not printable is refused as a name.
    name = TEXT if TEXT.isprintable() and TEXT.strip() else "x"

    def __init__(self):
        if WAY == "absent":
            raise Unavailable(TEXT)

    def sigmoid(self, logits):
        if WAY == "raises":
            raise type(TEXT[:90] or "E", (ValueError,), {})(TEXT)
        if WAY == "unsupported":
            raise Unsupported(TEXT)
        return super().sigmoid(logits) + (WAY == "wrong")
"""
DEVIATIONS = """deviations:
  - id: {text}
    clause: SG-1
    condition: {text}
    observed: {text}
    expected: {text}
    versions: any
    upstream: {text}
    where: [{{cases: [sigmoid/*], outputs: [value]}}]
"""


@pytest.fixture(autouse=True)
def nothing_is_obeyed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No text was run as Python, and none by a shell in the working folder."""
    import builtins

    monkeypatch.chdir(tmp_path)
    yield
    assert not hasattr(builtins, "pwned")
    assert not (tmp_path / "pwned").exists()


def hostile_case(text: str, at: Path = Path("topic.yaml")) -> Case:
    """The case with this text wherever a case has one; what its file cannot hold is put in afterwards."""
    (case,) = load_file(at, FILE.format(text=escape.yaml(text)))
    return replace(case, about=text, why=text)


def hostile_adapter(text: str, at: Path, way: str, recorded: bool = False) -> str:
    """A file with an adapter that says the text wherever it says any."""
    file = at / "hostile.py"
    head = f"TEXT = {text!r}\nWAY = {way!r}\n"
    file.write_text(head + ADAPTER, encoding="utf-8")
    if recorded:
        entry = DEVIATIONS.format(text=escape.yaml(text or "x"))
        file.with_suffix(".deviations.yaml").write_text(entry, encoding="utf-8")
    return str(file)


def hostile_results(text: str) -> Results:
    """Each kind of record and of adapter, with the text in each field that may hold any."""
    name = text or "empty"
    info = AdapterInfo(name, text, text, text, reference=text)
    row = Record(
        "sigmoid/topic/zero", "sigmoid", "SG-1", name, "float32", "value", Verdict.FAIL, variant=text,
        error_ulp=3.0, error=1e-7, allowed=1e-8, message=text, actual=text, deviation=text, worst=text,
        upstream="https://example.org/\"onclick='pwned()'", choices=(text,),
    )  # fmt: skip
    rows = [msgspec.structs.replace(row, case=f"sigmoid/topic/{v}", verdict=v) for v in Verdict]
    absent = AdapterInfo(f"absent {text}", text, "", "", skipped=text)
    return Results({"lossproof": "1", text: text, "more": {text: [text]}}, (info, absent), tuple(rows))


def check_terminal(printed: str) -> None:
    assert shows(printed)
    assert not any(line.startswith(FORGED) for line in printed.splitlines())


# -- the functions -----------------------------------------------------------------------------


@every_text
def test_what_is_visible_stays_so(text: str) -> None:
    for lines in (False, True):
        once = escape.visible(text, lines=lines)
        assert shows(once) and escape.visible(once, lines=lines) == once
    assert "\n" not in escape.visible(text)
    if shows(text.replace("\n", "?")):
        assert escape.visible(text) == text.replace("\n", "\\n")
    assert escape.utf8(text).encode("utf-8").decode("utf-8") == escape.utf8(text)


@every_text
@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.CSafeLoader])
def test_yaml_reads_as_the_text(text: str, loader: Any) -> None:
    written = f"key: {escape.yaml(text)} # comment\nother: [{escape.yaml(text)}, {{x: {escape.yaml(text)}}}]"
    assert shows(written) and written.count("\n") == 1
    due = re.sub("[\ud800-\udfff]", lambda half: repr(half[0])[1:-1], text)
    assert yaml.load(written, loader) == {"key": due, "other": [due, {"x": due}]}


@every_text
def test_python_reads_as_the_text(text: str) -> None:
    source = literal.docstring(text, "second") + "\nx = 1\n"
    assert shows(source)
    doc, assigned = ast.parse(source.encode("utf-8")).body
    assert isinstance(doc, ast.Expr) and isinstance(assigned, ast.Assign)
    assert ast.literal_eval(doc.value).split() == [*text.split(), "second"]
    for carried in (text, f"'{text}", f"# {text}\n"):
        written = literal.module_source(carried)
        assert shows(written) and ast.literal_eval(written) == carried


@every_text
def test_markdown_is_inert(text: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("gfm-like", {"linkify": False})
    code = escape.markdown(text)
    page = f"- {code}\n\n| {code} | {code} |\n| --- | --- |\n| {code} | {code} |\n"
    html = parser.render(page)
    seen = structure(html)
    expected = {"ul": 1, "li": 1, "table": 1, "thead": 1, "tbody": 1, "tr": 2, "th": 2, "td": 2}
    cells = 5 if code else 0
    assert seen == Counter(
        {(tag, ()): n for tag, n in expected.items()} | ({("code", ()): cells} if cells else {})
    )
    assert shows(code) and len(code) <= escape.MAX_CELL + 2


# -- scripts -----------------------------------------------------------------------------------


def check_script(script: str, plain: str) -> None:
    """It differs from a harmless one in texts alone, and runs as it does."""
    assert shows(script)
    tree, other = ast.parse(script.encode("utf-8")), ast.parse(plain)
    assert [type(node) for node in ast.walk(tree)] == [type(node) for node in ast.walk(other)]
    code, printed = run_script(script)
    assert code == 0 and "value: " in printed, printed
    check_terminal(printed)


@every_text
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_script_runs_nothing_of_a_text(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = load_adapter(name).adapter
    if adapter is None:
        pytest.skip(f"{name} is not installed")
    make: Any = full_script if name == "numpy" else short_script
    plain = make(hostile_case("x"), adapter, "float32")
    for attribute in ("version", "backend", "device"):
        monkeypatch.setattr(type(adapter), attribute, text)
    case = replace(hostile_case(text), id=f"sigmoid/topic/{text}", clause=text)
    script = make(case, adapter, "float32")
    if name == "torch":
        if script is None:
            assert len(ascii(text)) > 150  # it has a long one
            return
        assert script.count("\n") <= MAX_LINES
    check_script(script, plain)


@pytest.fixture(scope="module")
def remote() -> Iterator[Any]:
    loaded = load_adapter("numpy", isolate=True)
    assert isinstance(loaded.adapter, RemoteAdapter)
    yield loaded.adapter
    loaded.adapter.close()


@every_text
def test_a_script_that_starts_a_command_runs_nothing_of_a_text(
    text: str, remote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = full_script(hostile_case("x"), remote, "float32")
    start = msgspec.structs.replace(remote.start, name=text, backend=text, version=text, device=text)
    monkeypatch.setattr(remote, "start", start)
    words = [*remote.command, text]
    monkeypatch.setattr(remote, "command", words)
    script = full_script(hostile_case(text), remote, "float32")
    assert shows(script)
    tree, other = ast.parse(script.encode("utf-8")), ast.parse(plain)
    assert [type(node) for node in tree.body] == [type(node) for node in other.body]
    assert words in [ast.literal_eval(n) for n in ast.walk(tree) if isinstance(n, ast.List) and _is_text(n)]


def _is_text(node: ast.List) -> bool:
    return bool(node.elts) and all(
        isinstance(e, ast.Constant) and isinstance(e.value, str) for e in node.elts
    )


# -- the terminal ------------------------------------------------------------------------------


@every_text
@pytest.mark.parametrize("way", WAYS)
def test_a_run_prints_and_writes_texts(
    text: str, way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, adapter = tmp_path / "topic.yaml", hostile_adapter(text, tmp_path, way)
    case.write_text(FILE.format(text=escape.yaml(text or "x")), encoding="utf-8")
    results = tmp_path / "results"
    results.mkdir()
    json_file, junit, badge = (str(tmp_path / name) for name in ("out.json", "out.xml", "out.svg"))
    asked = ["run", str(case), "--adapter", adapter, "--no-isolate"]
    files = ["--json", json_file, "--junit", junit, "--badge", badge, "--results", str(results)]
    again = [["--quiet"], ["--json", json_file, "--baseline", json_file]] if way == "wrong" else []
    for more in (["--verbose", *files], *again):
        main([*asked, *more])
        captured = capsys.readouterr()
        check_terminal(captured.out + captured.err)
        assert "Traceback" not in captured.err
    if way == "wrong":  # in a process of its own
        assert main(["explain", str(case), "--adapter", adapter]) == 0
        check_terminal(capsys.readouterr().out)
    ElementTree.parse(junit)
    ElementTree.parse(badge)
    written = Path(json_file).read_bytes()
    (info,) = json.loads(written)["adapters"]
    assert info["name"] == (text_of(text, MAX_NAME) if text.isprintable() and text.strip() else "x")
    assert main(["diff", json_file, json_file]) == 0
    for file in results.iterdir():
        assert main(["diff", str(file), json_file]) in (0, 1)
        check_terminal(capsys.readouterr().out)


@every_text
def test_a_recorded_deviation_is_a_text(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tmp_path / "topic.yaml"
    case.write_text(FILE.format(text=escape.yaml(text or "x")), encoding="utf-8")
    for way, status in (("wrong", 0), ("right", 1)):
        adapter = hostile_adapter(text, tmp_path, way, recorded=True)
        # Blank ids are refused.
        assert main(["run", str(case), "-a", adapter, "--no-isolate", "-v", "--junit", "out.xml"]) == status
        check_terminal("".join(capsys.readouterr()))
        ElementTree.parse("out.xml")


@every_text
def test_what_is_wrong_is_told_in_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quoted, good = escape.yaml(text), FILE.format(text="x")
    bad = [
        good.replace("SG-1", quoted),
        good.replace("id: zero", f"id: {quoted}"),
        good.replace("why:", f"{quoted}:"),
        good.replace("logits: 0}", f"logits: {quoted}}}"),
        good.replace("float32", quoted),
        text,
    ]
    for content in bad:
        Path("bad.yaml").write_bytes(content.encode("utf-8", "replace"))
        check_refusal(["run", "./bad.yaml", "-a", "numpy"], capsys)
    Path("good.yaml").write_text(good, encoding="utf-8")
    uses = [
        ["run", "./good.yaml", "-a", text], ["run", "./good.yaml", "-a", "numpy", "-d", text],
        ["explain", "./good.yaml", "-a", text], ["repro", "./good.yaml", "-a", text],
        ["new-adapter", text], ["fuzz", "-a", "numpy", "-f", text], ["bench", "--threads", text],
        ["diff", text, text], ["bench", "--load", text], ["report", text, "-o", "x"],
        ["verify", text], ["export", "-o", "x", "-f", text], ["export", "-o", "x", text],
    ]  # fmt: skip
    for use in uses:
        if use[-1] != "":  # which is the working folder
            check_refusal(use, capsys)


def check_refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(arguments)
    except SystemExit as error:  # what argparse refuses
        status = int(error.code or 0)
    captured = capsys.readouterr()
    check_terminal(captured.out + captured.err)
    assert status in (0, 2) and "Traceback" not in captured.err
    if captured.err.startswith("lossproof: "):
        assert captured.err.count("\n") == 1


@every_text
def test_a_file_may_be_called_anything(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A colon stands before the name of a class in a reference.
    name = text.translate({ord(c): "_" for c in "/\0:"})[:60]
    try:
        (tmp_path / name).mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("the file system has no such name")
    case = tmp_path / name / "topic.yaml"
    case.write_text(FILE.format(text="x"), encoding="utf-8")
    adapter = hostile_adapter("x", case.parent, "wrong")
    written = str(case.parent / "out.json")
    assert main(["run", str(case), "-a", f"{adapter}:Hostile", "--json", written]) == 1
    assert main(["explain", str(case), "-a", "numpy"]) == 0
    assert main(["diff", written, written]) == 0
    case.write_text("function: x", encoding="utf-8")
    assert main(["run", str(case), "-a", "numpy"]) == 2
    captured = capsys.readouterr()
    check_terminal(captured.out + captured.err)


@every_text
def test_a_console_obeys_its_own_colours_alone(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.table import Table
    from rich.text import Text

    from lossproof.cli import terminal

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    console = terminal.console(100)
    console.file = io.StringIO()
    table = Table(text, title=text)
    table.add_row(text)
    table.add_row(Text(text, style="red"))
    console.print(table, text, Text(text, style="bold"), style="dim")
    with terminal.progress(text) as update:
        update(1, 2)
    printed = console.file.getvalue()
    colours = re.compile(r"\x1b\[[0-9;]*m")
    assert colours.search(printed) and shows(colours.sub("", printed))
    assert console.is_terminal


@every_text
def test_a_comparison_is_told_in_texts(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = hostile_results(text)
    right = tuple(msgspec.structs.replace(r, verdict=Verdict.PASS, variant=None) for r in new.records[:-2])
    old = replace(new, adapters=(msgspec.structs.replace(new.adapters[0], version="1"),), records=right)
    old.to_json("old.json")
    new.to_json("new.json")
    for style in ("text", "markdown", "json"):
        assert main(["diff", "old.json", "new.json", "--format", style]) == 1
        printed = capsys.readouterr().out
        check_terminal(printed)
        if style == "json":
            assert json.loads(printed)["changes"]
        if style == "markdown":
            check_markdown(printed)
    check_terminal(new.summary())
    assert new.summary().count("\n") == 1


def check_markdown(page: str) -> None:
    """Rendered, it has the elements that lossproof writes, and no text between them but in code."""
    markdown_it = pytest.importorskip("markdown_it")
    html = (
        markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(page)
    )
    ours = {"h3", "ul", "li", "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "code", "p"}
    assert {tag for tag, _ in structure(html)} <= ours
    rows = re.findall(r"<tr>.*?</tr>", html, re.S)
    assert rows and all(len(re.findall("<t[hd]>", row)) == 6 for row in rows)


@every_text
def test_timings_are_shown_as_texts(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("timings.json").write_bytes(msgspec.json.encode(hostile_timings(text)))
    assert main(["bench", "--load", "timings.json", "--compare", "timings.json"]) == 0
    check_terminal(capsys.readouterr().out)


def hostile_timings(text: str) -> dict[str, Any]:
    """A file of timings with the text wherever it holds any."""
    text = escape.utf8(text)
    rows = [
        {
            "group": text, "name": text, "fullname": text, "params": {text: text},
            "stats": {"min": 0.1, "q1": 0.1, "median": 0.2, "q3": 0.3, "data": [0.1, 0.2, 0.3]},
            "extra_info": {
                "adapter": text, "backend": text, "device": text, "device_name": text, "workload": text,
                "function": text, "dtype": text, "direction": direction, "threads": 1,
                "verdicts": {text: text},
                "starts": [0, 1, 2], "copy_s": [0.1, 0.1, 0.1], "framework_threads": {text: text},
            },
        }
        for direction in (text, "forward")
    ]  # fmt: skip
    machine = dict.fromkeys(("node", "processor", "machine", "system", "python_version", "lossproof"), text)
    return {
        "machine_info": {**machine, "cpu": {"brand_raw": text}, "limits": {text: text}, "allocator": [text]},
        "benchmarks": rows, "problems": [text], "datetime": text, "version": text,
    }  # fmt: skip


# -- files -------------------------------------------------------------------------------------


@every_text
def test_results_are_written_and_read_again(text: str, tmp_path: Path) -> None:
    results = hostile_results(text)
    results.to_json("all.json")
    back = Results.from_json("all.json")
    assert [r.message for r in back.records] == [escape.utf8(text)] * len(results.records)
    assert {line for line in Path("all.json").read_text("utf-8").split("\n") if "topic/pass" in line}
    file = renew(tmp_path, results.adapters[0], results.records, all_cases=False, dtypes=())
    again = Results.from_json(file)
    assert len(again.records) == len(results.records) and len(file.name) < 200
    assert again.adapters == tuple(back.adapters[:1])


@every_text
def test_junit_and_badge_are_xml(text: str, tmp_path: Path) -> None:
    results = hostile_results(text)
    write_junit(tmp_path / "out.xml", results.adapters, results.records)
    root = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert Counter(e.tag for e in root.iter()) == {
        "testsuites": 1, "testsuite": 2, "testcase": len(Verdict), "failure": 1, "error": 3, "skipped": 4,
    }  # fmt: skip
    said = {element.get("message", "") for element in root.iter("failure")}
    assert said == {f"fail: {escape.visible(text, lines=True)}"}
    write_badge(tmp_path / "out.svg", {Verdict.PASS: 1}, label=text)
    badge = ElementTree.parse(tmp_path / "out.svg").getroot()
    assert len(list(badge.iter())) == 10 and shows((tmp_path / "out.svg").read_text("utf-8"))


@every_text
def test_a_finding_is_stored_as_a_case(text: str, tmp_path: Path) -> None:
    pytest.importorskip("flint")
    pytest.importorskip("hypothesis")
    from lossproof.fuzz.search import Finding, Signature
    from lossproof.fuzz.store import write_case

    case = replace(hostile_case(text), expected=None, tolerances={})
    finding = Finding(Signature("sigmoid", "SG-1", "value", "error"), case, text, text)
    file = write_case(finding, tmp_path / "found")
    (stored,) = load_file(file)
    assert stored.why == "float32 value, " + re.sub("[\ud800-\udfff]", lambda half: repr(half[0])[1:-1], text)
    assert shows(file.read_text("utf-8")) and file.parent == tmp_path / "found" / "sigmoid"


@every_text
def test_certify_keeps_the_texts_of_a_file(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("flint")
    from lossproof.oracle.certify import certify_case
    from lossproof.oracle.rewrite import rewritten

    head = FILE.format(text=escape.yaml(text or "x")).split("    expected")[0]
    file = tmp_path / "topic.yaml"
    (case,) = load_file(file, head)
    stored = certify_case(case).stored
    assert stored is not None
    new = rewritten(file, head, {"zero": stored})
    assert new.startswith(head) and load_file(file, new)[0].why == case.why


# -- the site ----------------------------------------------------------------------------------


class _Structure(HTMLParser):
    """Counts elements with the names of their attributes, and the links among these."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag, tuple(name for name, _ in attrs)] += 1
        self.links |= {
            value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")
        }


def structure(html: str) -> Counter[tuple[str, tuple[str, ...]]]:
    parser = _Structure()
    parser.feed(html)
    parser.close()
    return parser.seen


def test_no_page_has_an_element_of_others(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    seen = {}
    for kind, texts in (("hostile", HOSTILE.values()), ("plain", [f"x{n}" for n in range(len(HOSTILE))])):
        out = tmp_path / kind
        build_site(list(texts), out)
        for page in sorted(out.rglob("*.html")):
            html = page.read_text("utf-8")
            parser = _Structure()
            parser.feed(html)
            seen[kind, page.relative_to(out)] = parser
            assert shows(html)
        script = (out / "data.js").read_text("utf-8")
        data = script.removeprefix("window.LOSSPROOF = ").removesuffix(";\n")
        assert shows(script) and "<" not in script and len(json.loads(data)["columns"]) == len(HOSTILE)
    pages = {page for kind, page in seen if kind == "plain"}
    assert pages == {page for kind, page in seen if kind == "hostile"} and len(pages) > 20
    for page in pages:
        hostile, plain = seen["hostile", page], seen["plain", page]
        assert hostile.seen == plain.seen, page
        # Backends and cases are in the names of places, and nowhere else.
        assert all(re.match(r"[\w./-]*#", link) for link in hostile.links - plain.links)


def build_site(texts: list[str], out: Path) -> None:
    """A site of a backend for each text, on a case that says it."""
    from lossproof.site.edges import EdgeCase
    from lossproof.site.model import load_site
    from lossproof.site.pages import write_site

    out.mkdir()
    files = []
    for number, text in enumerate(texts):
        results = hostile_results(f"{text} {number}")
        results.to_json(out / f"{number}.json")
        files.append(out / f"{number}.json")
    timings = [hostile_timings(f"{text} {number}") for number, text in enumerate(texts)]
    # One chart of all of them: drawing takes its time.
    rows = [
        {**row, "group": escape.utf8("".join(texts))[:9999]} for one in timings for row in one["benchmarks"]
    ]
    files.append(out / "timings.json")
    files[-1].write_bytes(msgspec.json.encode({**timings[0], "benchmarks": rows}))
    site = load_site(files, texts[0])
    cases = [
        replace(hostile_case(text), id=f"sigmoid/topic/{verdict}") for text, verdict in zip(texts, Verdict)
    ]
    site.__dict__["cases"] = {case.id: case for case in cases}
    site.__dict__["edge_cases"] = [
        EdgeCase("sigmoid", text, text, (case,)) for text, case in zip(texts, cases)
    ]
    write_site(site, out)


# -- everything goes through there ---------------------------------------------------------------


def test_commands_print_through_one_module() -> None:
    """``say`` and ``write``, and consoles of ``terminal``: whoever prints otherwise is found here."""
    source = Path(output.__file__).parent
    for path in source.glob("*.py"):
        called = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        allowed = {"output": {"print"}}.get(path.stem, set())
        assert called & {"print", "Console"} <= allowed, path
        assert "sys.stdout.write" not in path.read_text("utf-8")
