"""Known deviations of released frameworks: one YAML file beside each adapter.

The format is described in spec/deviations.md. A deviation turns a failure into the verdict
``deviation``; one that no longer deviates fails the run, so that the list stays true.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from lossproof.case import yaml as yamlio
from lossproof.core.clauses import clauses
from lossproof.core.dtypes import Dtype
from lossproof.core.form import Form, must
from lossproof.core.text import display, suggest
from lossproof.errors import InputError

Text = Annotated[str, must("text", min_length=1)]
Names = Annotated[tuple[str, ...], must("a list of names")]


class Where(Form, frozen=True):
    """Cases in which a deviation shows; empty ``dtypes`` or ``outputs`` mean all of them, but for laws."""

    cases: Names
    dtypes: tuple[Dtype, ...] = ()
    outputs: Names = ()

    def covers(self, case: str, dtype: str, output: str) -> bool:
        return (
            (not self.dtypes or dtype in self.dtypes)
            and (output in self.outputs if self.outputs else not output.startswith("law."))
            and any(fnmatch.fnmatchcase(case, pattern) for pattern in self.cases)
        )


class Recorded(Form, frozen=True, kw_only=True):
    """One behaviour, as a file lists it; empty ``adapters`` or ``devices`` mean all of the file's.

    ``adapters`` are names or patterns of names, ``torch+autocast-*`` for two modes of one.

    A ``sporadic`` one (memory read out of bounds, say) does not show every time.
    """

    id: Text
    clause: Text
    condition: Text
    observed: Text
    expected: Text
    versions: Text
    upstream: Text
    adapters: Names = ()
    devices: Names = ()
    sporadic: bool = False
    where: tuple[Where, ...]

    def is_of(self, adapter: str) -> bool:
        """Whether it lists an adapter of this name."""
        return any(fnmatch.fnmatchcase(adapter, pattern) for pattern in self.adapters)


class Deviation(Recorded, frozen=True, kw_only=True):
    """One recorded behaviour, and where it is recorded."""

    path: str
    line: int

    def cases(self) -> set[str]:
        """Ids and patterns of the cases it names."""
        return {case for where in self.where for case in where.cases}


class DeviationsFile(Form, frozen=True):
    """What is recorded beside an adapter."""

    SAYS: ClassVar[str] = "a deviations file is a mapping with the one key deviations"
    deviations: tuple[Recorded, ...] | None
    """None where nothing is listed yet."""


def is_range(versions: str) -> bool:
    """Whether it is a PEP 440 range, or ``any``."""
    try:
        SpecifierSet("" if versions == "any" else versions)
    except ValueError:  # InvalidSpecifier, or more digits than Python reads
        return False
    return True


def load_deviations(path: Path) -> list[Deviation]:
    """Read a deviations file.

    Raises:
        InputError: naming file and line of the first thing that is wrong.
    """
    document, file = yamlio.load_as(path, DeviationsFile)

    def fail(number: int, field: str, message: str) -> InputError:
        return InputError(display(path), yamlio.line_of(document, ("deviations", number, field)), message)

    found: dict[str, Deviation] = {}
    for number, entry in enumerate(file.deviations or ()):
        if entry.clause not in clauses():
            raise fail(
                number, "clause", f"no clause {entry.clause!r} in spec/{suggest(entry.clause, clauses())}"
            )
        if not is_range(entry.versions):
            raise fail(number, "versions", "versions must be any or a range like >=2.6,<3")
        if entry.id in found:
            raise fail(number, "id", f"duplicate id {entry.id!r}")
        line = document["deviations"][number].line
        found[entry.id] = Deviation(**msgspec.structs.asdict(entry), path=str(path), line=line)
    return list(found.values())


class Deviations:
    """The deviations that apply to one adapter at its version and device, indexed by case."""

    def __init__(self, deviations: Iterable[Deviation], adapter: str, version: str, device: str) -> None:
        self.entries = [
            deviation
            for deviation in deviations
            if (not deviation.adapters or deviation.is_of(adapter))
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
                        display(Path(deviation.path)),
                        deviation.line,
                        f"deviation {deviation.id!r}: no case {pattern!r}{suggest(pattern, ids)}",
                    )


def _in_range(version: str, versions: str) -> bool:
    if versions == "any":
        return True
    try:
        # A local part (2.13.0+cpu) names a build, not a release.
        return Version(Version(version).public) in SpecifierSet(versions, prereleases=True)
    except ValueError:  # InvalidVersion, or more digits than Python reads
        return False
