"""The version of the suite: which cases there are, apart from the version of the harness that runs them.

``cases/suite.json`` lists the ids of every version, each with a digest of all that its verdict depends on;
``lossproof certify`` checks it and ``--write`` renews it. spec/suite.md has the rules.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec

from lossproof.case import yaml as yamlio
from lossproof.case.read import own_files
from lossproof.core.files import write
from lossproof.core.form import Form, matching
from lossproof.core.resources import folder
from lossproof.core.text import counted
from lossproof.core.validate import load
from lossproof.errors import InputError

# What of a case is said to people and to the one who runs it, and changes no verdict.
_NO_MATTER = frozenset({"id", "why", "thorough", "vacuous"})
_CHANGED = "+changed"

NUMBER = r"[0-9]+\.[0-9]+"
DIGEST = "[0-9a-f]{32}"
Number = Annotated[str, matching(NUMBER, "a version, like 1.0")]
Digest = Annotated[str, matching(DIGEST, "32 hexadecimal digits")]
Cases = dict[str, dict[str, Annotated[str, matching("[0-9a-f]{12}", "12 hexadecimal digits")]]]
"""By topic (``softmax/special``) and id, a digest of the case."""


class Version(Form, frozen=True):
    """One version of the suite."""

    version: Number
    released: Annotated[str, matching("[0-9]{4}-[0-9]{2}-[0-9]{2}", "a date")] | None
    """The day from which on it stays as it is; the last one may have none yet."""
    digest: Digest
    cases: Cases

    @property
    def ids(self) -> dict[str, str]:
        """The digest of each case by its whole id."""
        return {f"{topic}/{id}": digest for topic, ids in self.cases.items() for id, digest in ids.items()}


class Manifest(Form, frozen=True):
    """``cases/suite.json``."""

    SAYS: ClassVar[str] = "this is no manifest of the suite, which has files and versions"
    files: Digest
    """Of the case files, whatever their line ends and the order in which they are read."""
    versions: Annotated[tuple[Version, ...], msgspec.Meta(min_length=1)]

    @property
    def latest(self) -> Version:
        return self.versions[-1]


class Suite(NamedTuple):
    """Which cases results are of."""

    version: str
    digest: str

    def __str__(self) -> str:
        return f"suite {self.version} ({self.digest[:8]})"


@dataclass(frozen=True)
class Difference:
    """What tells the cases of one version from those of another."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __str__(self) -> str:
        kinds = ("added", "changed", "removed")
        parts = [f"{counted(len(getattr(self, k)), 'case')} {k}" for k in kinds if getattr(self, k)]
        return ", ".join(parts) or "no case differs, but the words of a file do"


def manifest_path() -> Path:
    return folder("cases") / "suite.json"


def manifest() -> Manifest:
    """The manifest that comes with the cases.

    Raises:
        InputError: it cannot be read or is none.
    """
    return load(manifest_path(), Manifest)


def suite() -> Suite:
    """Version and digest of lossproof's own cases as they are here.

    Cases that differ from the manifest's, be it in a word, are ``1.0+changed``, with a digest of the files.

    Raises:
        InputError: the manifest or a case file cannot be read.
    """
    told, files = manifest(), files_digest()
    if told.files == files:
        return Suite(told.latest.version, told.latest.digest)
    return Suite(told.latest.version + _CHANGED, files)


def changed(given: Suite) -> bool:
    """Whether these are cases that someone has changed since the manifest was written."""
    return given.version.endswith(_CHANGED)


def files_digest() -> str:
    """Of the bytes of lossproof's own case files, so that it costs no parsing.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(folder("cases").glob("*/*.yaml"), key=_topic):
        try:
            text = path.read_bytes().replace(b"\r\n", b"\n")
        except OSError as error:
            raise InputError(path, None, f"cannot be read: {error.strerror}") from None
        digest.update(f"{_topic(path)} {len(text)}\n".encode())
        digest.update(text)
    return digest.hexdigest()[:32]


def own_cases() -> Cases:
    """The digest of each of lossproof's own cases; reads all of them.

    Raises:
        InputError: a file is malformed.
    """
    found: Cases = {}
    for path in own_files():
        document = yamlio.load(path)
        found[_topic(path)] = {
            entry["id"]: case_digest(document["function"], entry) for entry in document["cases"]
        }
    return {topic: dict(sorted(found[topic].items())) for topic in sorted(found)}


def case_digest(function: str, entry: Mapping[str, Any]) -> str:
    """Of what a case asks for and demands, as its file says it; how numbers are written is no matter."""
    said = {key: _plain(value) for key, value in entry.items() if key not in _NO_MATTER}
    return _digest([json.dumps([function, said], sort_keys=True, separators=(",", ":"))])[:12]


def difference(old: Version, new: Cases) -> Difference:
    before, after = old.ids, Version(old.version, None, old.digest, new).ids
    return Difference(
        tuple(id for id in after if id not in before),
        tuple(id for id in after if after[id] != before.get(id, after[id])),
        tuple(id for id in before if id not in after),
    )


def following(version: str, found: Difference) -> str:
    """The version of cases that differ so from those of a released one."""
    major, minor = map(int, version.split("."))
    if found.changed or found.removed:
        return f"{major + 1}.0"
    return f"{major}.{minor + 1}" if found.added else version


def renewed(told: Manifest | None, cases: Cases, files: str) -> Manifest:
    """The manifest of these cases: versions that were released stay, the one in the making is made anew."""
    digest = cases_digest(cases)
    if told is None:
        return Manifest(files, (Version("1.0", None, digest, cases),))
    released = tuple(version for version in told.versions if version.released is not None)
    number = told.latest.version
    if released:
        due = following(released[-1].version, difference(released[-1], cases))
        # A higher number that someone gave the version in the making is kept.
        number = max(due, number, key=_order) if told.latest.released is None else due
        if cases == released[-1].cases:
            return Manifest(files, released)
    return Manifest(files, (*released, Version(number, None, digest, cases)))


def renew(write_it: bool) -> str | None:
    """Compare the manifest with the cases, and write it anew if it differs and ``write_it`` says so.

    Returns:
        What differed, in words.

    Raises:
        InputError: the manifest or a case file is malformed, or the manifest cannot be written.
    """
    path = manifest_path()
    told = manifest() if path.exists() else None
    now = renewed(told, own_cases(), files_digest())
    if now == told:
        return None
    if write_it:
        write(path, manifest_text(now))
    latest = f"suite {now.latest.version}"
    return latest if told is None else f"{latest}: {difference(told.latest, now.latest.cases)}"


def manifest_text(told: Manifest) -> str:
    """One line per topic, so that a difference shows what changed."""
    lines = ["{", f' "files": {json.dumps(told.files)},', ' "versions": [']
    for number, version in enumerate(told.versions):
        lines += ["  {" if not number else "  }, {"]
        lines += [
            f'   "{key}": {json.dumps(getattr(version, key))},' for key in ("version", "released", "digest")
        ]
        rows = [f"    {json.dumps(topic)}: {json.dumps(ids)}" for topic, ids in version.cases.items()]
        lines += ['   "cases": {', ",\n".join(rows), "   }"]
    return "\n".join([*lines, "  }", " ]", "}"]) + "\n"


def cases_digest(cases: Cases) -> str:
    """The digest of a version, which results carry."""
    return _digest(
        f"{topic}/{id} {cases[topic][id]}\n" for topic in sorted(cases) for id in sorted(cases[topic])
    )


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _topic(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
    return digest.hexdigest()[:32]


def _plain(value: Any) -> Any:
    """With every number written in one way."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 2**53 and (value or math.copysign(1, value) > 0)
        return int(value) if whole else value.hex()
    return value
