"""The definitions, a module for each page of spec/: formula, bounds and the clauses that decide a call.

A module registers its definitions with ``define`` when it is imported, and every module here is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from lossproof.errors import LossproofError
from lossproof.oracle.definition import REGISTER, Definition


def definitions() -> Mapping[str, Definition]:
    """All definitions by function."""
    _import_all()
    return REGISTER


def definition(name: str) -> Definition:
    """The definition of a function.

    Raises:
        LossproofError: it has none.
    """
    found = definitions().get(name)
    if found is None:
        raise LossproofError(
            f"the oracle has no definition of {name!r}: write one in a module of "
            "src/lossproof/oracle/definitions/ and register it with define"
        )
    return found


@cache
def _import_all() -> None:
    for module in pkgutil.iter_modules(__path__, __name__ + "."):
        importlib.import_module(module.name)
