"""Known deviations of released frameworks: one YAML file beside each adapter.

The format is described in spec/deviations.md. A deviation turns a failure into the verdict
``deviation``; one that no longer deviates fails the run, so that the list stays true.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from lossproof.adapter import ALL_DTYPES
from lossproof.case import yaml as yamlio
from lossproof.core.clauses import clauses
from lossproof.core.dtypes import INTEGER_TYPES
from lossproof.core.text import display, suggest
from lossproof.errors import InputError

_TEXTS = ("id", "clause", "condition", "observed", "expected", "versions", "upstream")
_FIELDS = {**dict.fromkeys(_TEXTS, True), "adapters": False, "devices": False, "sporadic": False,
           "where": True}  # fmt: skip
_WHERE = {"cases": True, "dtypes": False, "outputs": False}


@dataclass(frozen=True)
class Where:
    """Cases in which a deviation shows; empty ``dtypes`` or ``outputs`` mean all of them."""

    cases: tuple[str, ...]
    dtypes: tuple[str, ...]
    outputs: tuple[str, ...]

    def covers(self, case: str, dtype: str, output: str) -> bool:
        return (
            (not self.dtypes or dtype in self.dtypes)
            and (not self.outputs or output in self.outputs)
            and any(fnmatch.fnmatchcase(case, pattern) for pattern in self.cases)
        )


@dataclass(frozen=True)
class Deviation:
    """One recorded behaviour; empty ``adapters`` or ``devices`` mean all of the file's.

    A ``sporadic`` one (memory read out of bounds, say) does not show every time.
    """

    id: str
    clause: str
    condition: str
    observed: str
    expected: str
    versions: str
    upstream: str
    adapters: tuple[str, ...]
    devices: tuple[str, ...]
    where: tuple[Where, ...]
    path: Path = field(repr=False)
    line: int = field(repr=False)
    sporadic: bool = False

    def cases(self) -> set[str]:
        """Ids and patterns of the cases it names."""
        return {case for where in self.where for case in where.cases}

    def to_json(self) -> dict[str, Any]:
        """As plain data, for a process that judges in another's place."""
        return {**asdict(self), "path": str(self.path)}


def deviation_from_json(entry: Mapping[str, Any]) -> Deviation:
    """The reverse of ``Deviation.to_json``.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type.
    """
    texts = {**{name: entry.get(name) for name in _TEXTS}, "path": entry.get("path")}
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(entry.get("line"), int):
        raise ValueError("a deviation has texts, a path and a line")
    places = entry.get("where")
    if not isinstance(places, list) or not all(isinstance(place, dict) for place in places):
        raise ValueError("a deviation's where is a list of objects")
    _range(str(texts["versions"]))
    return Deviation(
        **{name: str(texts[name]) for name in _TEXTS},
        adapters=_texts(entry, "adapters"),
        devices=_texts(entry, "devices"),
        where=tuple(
            Where(_texts(place, "cases"), _texts(place, "dtypes"), _texts(place, "outputs"))
            for place in places
        ),
        path=Path(str(texts["path"])),
        line=entry["line"],
        sporadic=entry.get("sporadic") is True,
    )


def _texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = entry.get(name, ())
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"a deviation's {name} is a list of texts")
    return tuple(value)


def _range(versions: str) -> SpecifierSet:
    return SpecifierSet("" if versions == "any" else versions)


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
        deviation = _deviation(path, entry)
        if deviation.id in found:
            raise InputError(where, deviation.line, f"duplicate id {deviation.id!r}")
        found[deviation.id] = deviation
    return list(found.values())


def _deviation(path: Path, entry: Any) -> Deviation:
    where = display(path)
    if not isinstance(entry, yamlio.Mapping):
        raise InputError(where, None, "each deviation is a mapping that opens with id")
    _check_fields(where, entry, _FIELDS)
    for name in _TEXTS:
        if not (isinstance(entry[name], str) and entry[name]):
            raise InputError(where, entry.lines[name], f"{name} must be text")
    if entry["clause"] not in clauses():
        raise InputError(where, entry.lines["clause"], f"no clause {entry['clause']!r} in spec/")
    try:
        _range(entry["versions"])
    except InvalidSpecifier:
        raise InputError(
            where, entry.lines["versions"], "versions must be any or a range like >=2.6,<3"
        ) from None
    if not isinstance(entry.get("sporadic", False), bool):
        raise InputError(where, entry.lines["sporadic"], "sporadic must be true or false")
    places = entry["where"]
    if not isinstance(places, list) or not all(isinstance(p, yamlio.Mapping) for p in places):
        raise InputError(where, entry.lines["where"], "where must be a list of mappings")
    return Deviation(
        **{name: entry[name] for name in _TEXTS},
        adapters=_names(where, entry, "adapters"),
        devices=_names(where, entry, "devices"),
        where=tuple(_place(where, place) for place in places),
        path=path,
        line=entry.line,
        sporadic=entry.get("sporadic", False),
    )


def _place(where: str, place: yamlio.Mapping) -> Where:
    _check_fields(where, place, _WHERE)
    for dtype in place.get("dtypes", ()):
        if dtype not in (*ALL_DTYPES, *INTEGER_TYPES):
            raise InputError(where, place.lines["dtypes"], f"unknown dtype {dtype!r}")
    return Where(*(_names(where, place, name) for name in _WHERE))


def _names(where: str, mapping: yamlio.Mapping, name: str) -> tuple[str, ...]:
    value = mapping.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(where, mapping.lines[name], f"{name} must be a list of names")
    return tuple(value)


def _check_fields(where: str, mapping: yamlio.Mapping, fields: dict[str, bool]) -> None:
    for name in mapping:
        if name not in fields:
            raise InputError(where, mapping.lines[name], f"unknown field {name!r}{suggest(name, fields)}")
    for name, needed in fields.items():
        if needed and name not in mapping:
            raise InputError(where, mapping.line, f"the field {name!r} is missing")


class Deviations:
    """The deviations that apply to one adapter at its version and device, indexed by case."""

    def __init__(self, deviations: Iterable[Deviation], adapter: str, version: str, device: str) -> None:
        self.entries = [
            deviation
            for deviation in deviations
            if (not deviation.adapters or adapter in deviation.adapters)
            and (not deviation.devices or device.split(":")[0] in deviation.devices)
            and _in_range(version, deviation.versions)
        ]
        self._by_case: dict[str, list[tuple[Deviation, Where]]] = {}

    def find(self, case: str, dtype: str, output: str) -> Deviation | None:
        """The first deviation that covers an output."""
        if case not in self._by_case:
            self._by_case[case] = [
                (deviation, where)
                for deviation in self.entries
                for where in deviation.where
                if any(fnmatch.fnmatchcase(case, pattern) for pattern in where.cases)
            ]
        for deviation, where in self._by_case[case]:
            if where.covers(case, dtype, output):
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
            for pattern in sorted(deviation.cases()):
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
