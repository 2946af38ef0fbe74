"""What someone sees in the first minutes: in a terminal, narrow or wide, in colour or not, and in a log."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.status import Status
from rich.table import Table
from rich.text import Text

import lossproof.cli.terminal as terminal
from lossproof.cli.case_view import show_case
from lossproof.cli.main import main
from lossproof.core.clauses import clauses
from lossproof.core.install import _requirement
from lossproof.core.mathematics import unicode
from lossproof.core.verdicts import MEANING, Verdict
from lossproof.registry.find import BUILTIN
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.gate import Gate
from lossproof.results.tally import Tally
from tests.own_cases import every_case

CHECKOUT = Path(__file__).parent.parent
BRACKETS = "pip install 'lossproof[torch]' [bold]x[/bold] [/] [link=y] :smile: [0, 1]"


class _Terminal(terminal._Console):
    """A console that keeps what it prints, as a terminal of some width, in colour or without."""

    def __init__(self, width: int, colour: bool) -> None:
        super().__init__(width=width)
        self._force_terminal, self.soft_wrap, self.no_color = True, False, not colour
        self.record = True

    @property
    def text(self) -> str:
        return self.export_text(clear=False)


@pytest.fixture(params=[(80, True), (80, False), (40, True), (40, False)], ids=str)
def shown(request: pytest.FixtureRequest) -> _Terminal:
    return _Terminal(*request.param)


# -- square brackets -----------------------------------------------------------------------------------


def test_no_text_in_square_brackets_is_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console = _Terminal(400, colour=True)
    console.print(BRACKETS)
    table = Table(BRACKETS, title=BRACKETS, caption=BRACKETS)
    table.add_column(header=BRACKETS, footer=BRACKETS)
    table.add_row(BRACKETS, Text(BRACKETS))
    terminal.show_table(console, table)
    terminal.show_next(console, [BRACKETS])
    terminal.show_skipped(console, {BRACKETS: BRACKETS})
    info = AdapterInfo(BRACKETS, BRACKETS, BRACKETS, BRACKETS)
    terminal.show_adapter(console, info, Tally(Gate("fail"), 1))
    assert console.text.count(BRACKETS) >= 11


def test_neither_are_those_beside_a_spinner(monkeypatch: pytest.MonkeyPatch) -> None:
    console = _Terminal(400, colour=True)
    made: list[Status] = []

    def status(*arguments: Any) -> Status:
        made.append(Status(*arguments, console=console))
        return made[-1]

    monkeypatch.setattr(console, "status", status)
    monkeypatch.setattr(terminal, "_Console", lambda **_: console)
    with terminal.status(BRACKETS) as line:
        console.print(made[0].renderable)
        line(f"then {BRACKETS}")
        console.print(made[0].renderable)
    assert BRACKETS in console.text and f"then {BRACKETS}" in console.text


def test_all_that_is_printed_goes_through_that_console() -> None:
    """Whatever else of rich reads markup is used nowhere: panels, prompts, consoles of other modules."""
    allowed = {"Console", "ConsoleOptions", "RenderableType", "Table", "Text", "Padding", "Segment"}
    for path in (CHECKOUT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Import) or all(n.name.split(".")[0] != "rich" for n in node.names)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rich":
                assert path.parent.name == "cli", path
                if path.name != "terminal.py":
                    assert {alias.name for alias in node.names} <= allowed, path
            made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
            assert made != "Console", f"{path}: a console of its own reads markup"
            assert not (isinstance(node, ast.Attribute) and node.attr == "from_markup"), path


# -- tables -------------------------------------------------------------------------------------------


def test_a_table_loses_nothing_on_a_narrow_terminal(shown: _Terminal) -> None:
    tally = Tally(Gate("fail"), 1)
    numbers = {v: 1000 + n for n, v in enumerate(Verdict)}
    tally.rows = {"mask_rcnn_mask_loss_with_logits": Counter(numbers), "softmax": Counter({Verdict.PASS: 7})}
    tally.worst_share = {"softmax": 0.25}
    terminal.show_adapter(shown, AdapterInfo("numpy", "numpy", "1", "cpu"), tally)
    terminal.show_columns(shown, [(AdapterInfo("numpy", "numpy", "1", "cpu"), tally)])
    lines = shown.text.splitlines()
    assert all(len(line) <= shown.width for line in lines)
    words = re.findall(r"[^\s,:]+", shown.text)
    for word in ("mask_rcnn_mask_loss_with_logits", "softmax", "7", "0.25", *map(str, numbers.values())):
        assert word in words
    said = " ".join(shown.text.split())
    assert all(f"{verdict}: {meaning}" in said for verdict, meaning in MEANING.items())


def test_meanings_are_those_of_the_readme() -> None:
    assert MEANING.keys() == set(Verdict)
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{verdict}`" in readme for verdict in Verdict)


# -- explain ------------------------------------------------------------------------------------------


def test_arrays_are_aligned(shown: _Terminal) -> None:
    """Each row of a matrix begins one column behind its first bracket, whatever stands before it."""
    ids = ["sparse_softmax_cross_entropy/ignored/one-of-three", "softmax/special/nan-first"]
    for case in [case for case in every_case() if case.id in ids]:
        show_case(shown, case)
    lines = shown.text.splitlines()
    assert max(map(len, lines)) <= shown.width
    opened = [number for number, line in enumerate(lines) if "[[" in line]
    assert len(opened) >= 4
    for number in opened:
        column = lines[number].index("[[") + 1
        rows = [line for line in lines[number + 1 : number + 6] if line.strip().startswith("[")]
        assert rows and all(line.index("[") == column for line in rows[:2] if "[[" not in line), "\n".join(
            lines[number : number + 6]
        )


def test_backends_that_are_absent_are_not_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_numpy(monkeypatch)
    assert main(["explain", "softmax/special/nan-first"]) == 0
    out = capsys.readouterr().out
    assert "numpy" in out and "skipped" not in out and "torch" not in out
    assert main(["explain", "softmax/special/nan-first", "-a", "torch"]) == 0
    assert "skipped: absent_torch is not installed" in capsys.readouterr().out


def _only_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, builtin in BUILTIN.items():
        if name != "numpy":
            monkeypatch.setitem(BUILTIN, name, replace(builtin, requires=f"absent_{builtin.requires}"))
    monkeypatch.setattr("lossproof.registry.find.registered", dict)
    monkeypatch.setattr("lossproof.registry.presence.registered", dict)


# -- the first run ------------------------------------------------------------------------------------


def test_the_first_run_explains_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_numpy(monkeypatch)
    assert main(["run", "softmax/special/nan-first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (skipped,) = [line for line in lines if "skipped" in line]
    assert skipped.startswith("skipped: torch, ") and skipped.endswith(" (not installed)")
    assert "pass: within the tolerance" in lines
    steps = [line for line in lines if line.startswith("→")]
    assert lines[-len(steps) :] == steps and "[torch]" in steps[0] and "new-adapter" in steps[-1]


def test_what_fails_says_how_to_go_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    adapter = tmp_path / "my kernel.py"
    adapter.write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\n\nclass Wrong(NumpyAdapter):\n"
        "    name = 'wrong'\n"
        "    def sigmoid(self, logits):\n        return logits\n"
    )
    assert main(["run", "sigmoid/ordinary", "-a", str(adapter), "--no-isolate"]) == 1
    steps = [line for line in capsys.readouterr().out.splitlines() if line.startswith("→")]
    assert steps[0].startswith("→ lossproof explain sigmoid/ordinary/") and f"-a '{adapter}'" in steps[0]
    assert main(["run", "sigmoid/ordinary", "-a", "numpy", "-q"]) == 0
    assert "→" not in capsys.readouterr().out


# -- hints and mathematics -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "'lossproof[torch]'"),
        ({"url": "file:///a%20b/c", "dir_info": {}}, "'/a b/c[torch]'"),
        ({"url": "file:///c", "dir_info": {"editable": True}}, "-e '/c[torch]'"),
        (
            {"url": "https://h/r.git", "vcs_info": {"vcs": "git", "commit_id": "1f"}},
            "'lossproof[torch] @ git+https://h/r.git@1f'",
        ),
        ({"url": "https://h/l.whl", "archive_info": {}}, "'lossproof[torch] @ https://h/l.whl'"),
    ],
)
def test_install_lines_work_from_where_lossproof_came(origin: object, line: str) -> None:
    assert _requirement("torch", origin) == line


def test_every_hint_is_made_by_that_function() -> None:
    for path in (CHECKOUT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "pip install 'lossproof[" not in node.value or path.name == "__init__.py", path


@pytest.mark.parametrize("name", clauses())
def test_clauses_read_as_text(name: str) -> None:
    assert not set("$\\{}") & set(re.sub(r"`[^`]*`", "", clauses()[name].plain))


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"p_i = e^{x_i} / \sum_j e^{x_j}", "pᵢ = e^xᵢ / Σⱼ e^xⱼ"),
        (r"\partial/\partial x_i = p_i\,(v_i - \sum_j p_j v_j)", "∂/∂xᵢ = pᵢ (vᵢ − Σⱼ pⱼ vⱼ)"),
        (r"\tfrac12\gamma_n a + 2^{-53}|y|", "1/2γₙ a + 2⁻⁵³|y|"),
        (r"(\lfloor iH/h \rfloor)", "(⌊iH/h⌋)"),
        (r"\unknown x_{q+1} {unended", "unknown x_(q+1) unended"),
        (r"-\sqrt{\sum_k m_k^2}", "−√(Σₖ mₖ²)"),
        (r"_", "_()"),
    ],
)
def test_mathematics_is_unicode(latex: str, text: str) -> None:
    assert unicode(latex) == text
