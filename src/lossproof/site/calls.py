"""How a backend is called: the source of its adapter's methods, which is read and not run."""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass
from functools import cache

from lossproof.core.resources import folder


@dataclass(frozen=True)
class _Class:
    """A class of an adapter file: what it is called in reports, its bases, its methods' sources."""

    adapter: str | None
    bases: tuple[str, ...]
    methods: dict[str, str]


def call_of(adapter: str, function: str) -> str | None:
    """The method with which an adapter of lossproof's answers for a function, if it has one."""
    for found in _classes().values():
        if found.adapter == adapter:
            return _method(found, function)
    return None


def _method(found: _Class, function: str) -> str | None:
    if function in found.methods:
        return found.methods[function]
    inherited = (_method(_classes()[base], function) for base in found.bases if base in _classes())
    return next(filter(None, inherited), None)


@cache
def _classes() -> dict[str, _Class]:
    classes = {}
    for path in sorted(folder("adapters").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = _read(node, source)
    return classes


def _read(node: ast.ClassDef, source: str) -> _Class:
    named = [
        statement.value.value
        for statement in node.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id == "name"
        and isinstance(statement.value, ast.Constant)
    ]
    return _Class(
        str(named[0]) if named else None,
        tuple(base.id for base in node.bases if isinstance(base, ast.Name)),
        {
            method.name: textwrap.dedent(ast.get_source_segment(source, method, padded=True) or "")
            for method in node.body
            if isinstance(method, ast.FunctionDef)
        },
    )
