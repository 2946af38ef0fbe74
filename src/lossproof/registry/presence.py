"""Which adapters there are and whether they can run here, told without importing a framework."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lossproof.registry.find import BUILTIN, available_names, registered


@dataclass(frozen=True)
class Presence:
    """An adapter that ``--adapter`` knows by name.

    ``missing`` says why it cannot run here; None where nothing is known to be missing (whether a
    device is there, only the framework can tell).
    """

    name: str
    place: str
    """Its module and class."""
    missing: str | None
    framework: str = ""
    """What a built-in adapter is for, with its version where it is installed."""


def presences() -> Iterator[Presence]:
    """All of them, in the order in which a run without ``--adapter`` takes them."""
    others = registered()
    for name in available_names():
        builtin = BUILTIN.get(name)
        if builtin is None:
            yield Presence(name, others[name], _missing(others[name].partition(":")[0]))
            continue
        place = f"{builtin.module}:{builtin.cls}"
        yield Presence(name, place, builtin.missing, _with_version(builtin.requires))


def _with_version(distribution: str) -> str:
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return distribution  # absent, or installed under another name, as tensorflow-cpu is


def _missing(module: str) -> str | None:
    """The module, or the first that it imports, that is not there."""
    try:
        spec = importlib.util.find_spec(module)
        if spec is None:
            return f"{module} is not installed"
        if spec.origin is None or not spec.origin.endswith(".py"):
            return None
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except Exception as error:  # whatever a package's __init__ does
        return f"{module} cannot be read: {type(error).__name__}: {error}"
    absent = (name for name in _imports(tree) if importlib.util.find_spec(name) is None)
    return next((f"{name} is not installed" for name in absent), None)


def _imports(tree: ast.Module) -> Iterator[str]:
    """The packages that a module imports when it is imported itself."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
