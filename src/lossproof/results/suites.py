"""Whether results are of one suite; those of an earlier lossproof, which do not say, differ from none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lossproof.case.suite import Suite
from lossproof.core.text import counted
from lossproof.results.file import suite_of

# So many files of a suite are named.
MAX_NAMED = 3


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """From which suite to which, given two environments; None where they are of one."""
    before, after = suite_of(old), suite_of(new)
    if before is None or after is None or before == after:
        return None
    return f"{before} → {after}"


def mixed(environments: Iterable[tuple[str, Mapping[str, Any]]]) -> str | None:
    """Which suites files are of, given their names and environments; None where they are of one."""
    found: dict[Suite | None, list[str]] = {}
    for name, environment in environments:
        found.setdefault(suite_of(environment), []).append(name)
    silent = len(found.pop(None, ()))
    if len(found) < 2:
        return None
    parts = [f"{suite} in {_named(names)}" for suite, names in found.items()]
    parts += [f"{counted(silent, 'file')} of an earlier lossproof"] if silent else []
    return f"results of different suites: {'; '.join(parts)}"


def _named(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join([*names[:MAX_NAMED], *([f"{more} more"] if more > 0 else [])])
