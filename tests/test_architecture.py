"""The house: imports point one way, from what is built later to what it is built on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import lossproof
from tests.layers import LAYERS, layer

# In the checkout: what is installed has the cases and adapters inside.
CHECKOUT = Path(__file__).parent.parent
ROOT = CHECKOUT / "src" / "lossproof"
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every module of lossproof that a file imports: at the top, lazily, or for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield node.lineno, name if name in MODULES else node.module


def edges(modules: dict[str, Path]) -> Iterator[tuple[str, int, str]]:
    """Importing module, line and imported module; the package itself only hands out public names."""
    for name, path in modules.items():
        if name != "lossproof":
            yield from ((name, line, other) for line, other in imports(path) if other != "lossproof")


def test_every_folder_has_a_place_and_a_purpose() -> None:
    placed = {name for names in LAYERS for name in names}
    found = {name.split(".")[1] for name in MODULES if name != "lossproof"}
    assert found == placed, "tests/layers.py lists the folders and modules in the order of their imports"
    for package in ROOT.glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))), f"{package} says no purpose"


def test_imports_point_to_earlier_layers() -> None:
    upward = [
        f"{name}:{line} imports {other}"
        for name, line, other in edges(MODULES)
        if name.split(".")[1] != other.split(".")[1] and layer(name) <= layer(other)
    ]
    assert not upward, "\n".join(upward)


@pytest.mark.parametrize("package", sorted({name.split(".")[1] for name in MODULES if name.count(".") > 1}))
def test_no_cycle_within_a_folder(package: str) -> None:
    inside = {name: path for name, path in MODULES.items() if name.startswith(f"lossproof.{package}.")}
    graph: dict[str, set[str]] = {name: set() for name in inside}
    for name, _, other in edges(inside):
        if other in inside:
            graph[name].add(other)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_an_import_that_points_back_is_found(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from lossproof.cli import main\n", encoding="utf-8")
    found = [other for _, other in imports(file)]
    assert found == ["lossproof.cli.main"]
    assert layer("lossproof.core.late") <= layer(found[0])


# What the modules of a distribution are called where it is not the distribution's own name.
_MODULES = {"pyyaml": "yaml", "python-flint": "flint", "pytest": "_pytest"}


def test_the_core_needs_nothing_that_is_an_extra() -> None:
    """``lossproof run`` where nothing but the core's requirements can be imported; pytest is none of them."""
    wanted = [Requirement(text) for text in requires("lossproof") or ()]
    core = {need.name.lower() for need in wanted if need.marker is None}
    extras = {need.name.lower() for need in wanted} - core - {"lossproof"}
    assert {"pytest", "pytest-benchmark"} <= extras
    modules = {name.replace("-", "_") for name in extras} | {_MODULES.get(name, name) for name in extras}
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(modules)!r}))\n"
        "from lossproof.cli.main import main\n"
        "raise SystemExit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "run", "sigmoid/ordinary", "--adapter", "numpy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "numpy: conforms" in done.stdout


def test_the_version_stands_in_one_place() -> None:
    assert version("lossproof") == lossproof.__version__, "install lossproof anew: its version has changed"
    project = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    assert not re.search(r"^version\s*=\s*\"", project, re.M)
