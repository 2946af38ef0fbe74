"""What a function of the table still lacks: its definition, its page, its methods, its cases."""

from __future__ import annotations

from collections.abc import Iterator

from lossproof.core.clauses import clauses
from lossproof.core.functions import Function
from lossproof.core.resources import folder
from lossproof.oracle.definitions import definitions
from lossproof.registry.find import BUILTIN
from lossproof.site.calls import call_of

# Adapters of libraries that have losses only; what they lack is unsupported, and rightly so.
LOSSES_ONLY = frozenset({"optax"})


def missing(function: Function) -> list[str]:
    """What has to be written before a row of the table is a function of the suite, a line each.

    Nothing is imported but the oracle's definitions: neither python-flint nor a framework is needed.
    """
    return [*_page(function), *_definition(function), *_methods(function), *_cases(function)]


def _page(function: Function) -> Iterator[str]:
    clause = clauses().get(function.clause)
    if clause is None:
        yield f"spec/: no page has the clause {function.clause}, which is to define {function.name}"
    elif f"`{function.name}" not in (folder("spec") / clause.page).read_text(encoding="utf-8"):
        yield f"spec/{clause.page}: has the clause {function.clause}, but does not name `{function.name}`"


def _definition(function: Function) -> Iterator[str]:
    if function.name not in definitions():
        yield f"src/lossproof/oracle/definitions/: no module defines {function.name}"


def _methods(function: Function) -> Iterator[str]:
    for name, built_in in BUILTIN.items():
        if name not in LOSSES_ONLY and call_of(name, function.name) is None:
            file = built_in.module.removeprefix("lossproof.").replace(".", "/")
            yield f"{file}.py: {name} has no method {function.name}"


def _cases(function: Function) -> Iterator[str]:
    if not any((folder("cases") / function.name).glob("*.yaml")):
        yield f"cases/{function.name}/: no cases"
