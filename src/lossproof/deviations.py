"""Known deviations of released frameworks: one YAML file beside each adapter.

The format is described in spec/deviations.md. A deviation turns a failure into the verdict
``deviation``; one that no longer deviates fails the run, so that the list stays true.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from lossproof import yamlio
from lossproof.adapter import ALL_DTYPES
from lossproof.case import suggest
from lossproof.clauses import clauses
from lossproof.errors import InputError
from lossproof.resources import display

_FIELDS = {
    "id": True, "clause": True, "condition": True, "observed": True, "expected": True,
    "versions": True, "upstream": True, "cases": True, "adapters": False, "outputs": False,
    "dtypes": False, "devices": False,
}  # fmt: skip
_TEXTS = ("id", "clause", "condition", "observed", "expected", "versions", "upstream")


@dataclass(frozen=True)
class Deviation:
    """One recorded behaviour. Empty ``dtypes``, ``outputs``, ``devices`` mean all of them."""

    id: str
    clause: str
    condition: str
    observed: str
    expected: str
    versions: str
    upstream: str
    cases: tuple[str, ...]
    adapters: tuple[str, ...]
    outputs: tuple[str, ...]
    dtypes: tuple[str, ...]
    devices: tuple[str, ...]
    path: Path = field(repr=False)
    line: int = field(repr=False)

    def covers(self, case: str, dtype: str, output: str) -> bool:
        return (
            any(case == pattern or fnmatch.fnmatchcase(case, pattern) for pattern in self.cases)
            and (not self.dtypes or dtype in self.dtypes)
            and (not self.outputs or output in self.outputs)
        )


def load_deviations(path: Path) -> list[Deviation]:
    """Read a deviations file.

    Raises:
        InputError: naming file and line of the first thing that is wrong.
    """
    where = display(path)
    document = yamlio.load(path)
    if not isinstance(document, yamlio.Mapping) or set(document) != {"deviations"}:
        raise InputError(where, 1, "a deviations file is a mapping with the one key deviations")
    entries = document["deviations"] or []
    if not isinstance(entries, list):
        raise InputError(where, document.lines["deviations"], "deviations must be a list")
    found: dict[str, Deviation] = {}
    for entry in entries:
        if not isinstance(entry, yamlio.Mapping):
            raise InputError(where, None, "each deviation is a mapping that opens with id")
        for name in entry:
            if name not in _FIELDS:
                raise InputError(
                    where, entry.lines[name], f"unknown field {name!r}{suggest(name, _FIELDS)}"
                )
        for name, needed in _FIELDS.items():
            if needed and name not in entry:
                raise InputError(where, entry.line, f"a deviation lacks the field {name!r}")
            value = entry.get(name)
            if name in _TEXTS and not (isinstance(value, str) and value):
                raise InputError(where, entry.lines[name], f"{name} must be text")
            if name not in _TEXTS and value is not None:
                if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                    raise InputError(where, entry.lines[name], f"{name} must be a list of names")
        if entry["clause"] not in clauses():
            raise InputError(where, entry.lines["clause"], f"no clause {entry['clause']!r} in spec/")
        for dtype in entry.get("dtypes", ()):
            if dtype not in ALL_DTYPES:
                raise InputError(where, entry.lines["dtypes"], f"unknown dtype {dtype!r}")
        try:
            SpecifierSet(entry["versions"].replace("any", ""))
        except InvalidSpecifier:
            raise InputError(
                where, entry.lines["versions"], "versions must be any or a range like >=2.6,<3"
            ) from None
        if entry["id"] in found:
            raise InputError(where, entry.lines["id"], f"duplicate id {entry['id']!r}")
        lists = {
            name: tuple(entry.get(name, ()))
            for name in ("cases", "adapters", "outputs", "dtypes", "devices")
        }
        found[entry["id"]] = Deviation(
            **{name: entry[name] for name in _TEXTS}, **lists, path=path, line=entry.line
        )
    return list(found.values())


class Deviations:
    """The deviations that apply to one adapter at its version and device, indexed by case."""

    def __init__(
        self, deviations: Iterable[Deviation], adapter: str, version: str, device: str
    ) -> None:
        self.entries = [
            deviation
            for deviation in deviations
            if (not deviation.adapters or adapter in deviation.adapters)
            and (not deviation.devices or device.split(":")[0] in deviation.devices)
            and _in_range(version, deviation.versions)
        ]
        self._by_case: dict[str, list[Deviation]] = {}

    def find(self, case: str, dtype: str, output: str) -> Deviation | None:
        """The first deviation that covers an output."""
        if case not in self._by_case:
            self._by_case[case] = [
                d for d in self.entries if any(fnmatch.fnmatchcase(case, p) for p in d.cases)
            ]
        for deviation in self._by_case[case]:
            if deviation.covers(case, dtype, output):
                return deviation
        return None

    def check_ids(self, known: Iterable[str]) -> None:
        """Refuse a deviation that names a case that does not exist.

        Raises:
            InputError: naming the file, the line and the name.
        """
        ids = list(known)
        index = set(ids)
        for deviation in self.entries:
            for pattern in deviation.cases:
                if pattern not in index and not fnmatch.filter(ids, pattern):
                    raise InputError(
                        display(deviation.path),
                        deviation.line,
                        f"deviation {deviation.id!r}: no case {pattern!r}{suggest(pattern, ids)}",
                    )


def _in_range(version: str, versions: str) -> bool:
    if versions == "any":
        return True
    try:
        # A local part (2.13.0+cpu) names a build, not a release.
        return Version(Version(version).public) in SpecifierSet(versions, prereleases=True)
    except InvalidVersion:
        return False
