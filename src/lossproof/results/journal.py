"""Records on disk as they come: a run that is killed loses nothing, and a long one needs no memory for them.

While ``--json FILE`` is being made, ``FILE.partial`` holds one JSON line per case and dtype. It is
removed when the run is complete. A run that completes an earlier one takes over what would come out again:
the records of cases, adapters and a lossproof that have not changed since, by the digests in the lines.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import lossproof
from lossproof.case.fingerprint import fingerprint
from lossproof.case.model import Case
from lossproof.core.files import is_file, lock, unwritable
from lossproof.core.form import Form
from lossproof.core.validate import decode, encode
from lossproof.engine.record import Record
from lossproof.errors import InputError, LossproofError
from lossproof.registry.loaded import AdapterInfo, Loaded
from lossproof.results.disk import Database


class _Line(Form, frozen=True, omit_defaults=True):
    """One says which lossproof goes on from here, one which adapter is run, the others hold a case's records.

    A line of an earlier lossproof has no ``made``, and its first line a digest of all ``cases``.
    """

    lossproof: str = ""
    cases: str = ""
    adapter: AdapterInfo | None = None
    results: tuple[Record, ...] = ()
    made: str = ""
    """A digest of the adapter or of the case."""


class _Maker(NamedTuple):
    """Who made the records of a line: the lossproof, and the adapter with its digest."""

    lossproof: str
    adapter: AdapterInfo
    made: str


class Journal:
    """The growing file beside a results file, or a nameless one; iterable over the records of the run.

    ``outdated`` counts the cases, once per dtype, that an earlier run has and that are run again, by the
    reason.

    Raises:
        LossproofError: another run is writing the file, or ``resume`` finds one that cannot be read or
            written.
    """

    def __init__(self, results: Path | None, resume: bool) -> None:
        self.outdated: Counter[str] = Counter()
        self.path = None
        if results is not None and is_file(results):
            self.path = results.with_name(results.name + ".partial")
        # Where the lines of this run begin, in their order; those of an earlier one are on disk.
        self._lines = array("q")
        self._makers: list[_Maker] = []
        self._now: dict[str, int] = {}
        """By adapter's name, who makes its records from here on: a place in the list."""
        self._digest: tuple[Case | None, str] = None, ""
        self._earlier: Database | None = None
        self._file = self._open(resume)
        if resume and self.path is not None:
            self._read(self.path)
        # A line that was being written when the run was killed is cut off.
        self._file.truncate(self._end)
        self._now.clear()
        self._write(_Line(lossproof=lossproof.__version__))

    def _open(self, resume: bool) -> IO[bytes]:
        self._end = 0
        try:
            if self.path is None:
                return tempfile.TemporaryFile()
            while True:
                file = os.fdopen(
                    os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b"
                )
                if not lock(file):
                    file.close()
                    raise LossproofError(
                        f"another run is writing {self.path}; wait for its end, or give another --json FILE"
                    )
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                        return file
                # The other run ended, and removed its file, just before this one got hold of it.
                file.close()
        except OSError as error:
            raise unwritable(self.path or "the run's records", error) from None

    def _read(self, path: Path) -> None:
        """Take in the lines that are whole."""
        self._earlier = Database(
            "CREATE TABLE pairs (pair BLOB PRIMARY KEY, line INTEGER, maker INTEGER, made TEXT) WITHOUT ROWID"
        )
        version = ""
        self._file.seek(0)
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = decode(line, _Line)
            except ValueError as error:
                raise InputError(
                    path, number, f"is not a line that lossproof wrote ({error}); remove the file"
                ) from None
            if entry.lossproof:
                version = entry.lossproof
                self._now.clear()
            elif entry.adapter is not None:
                self._note(_Maker(version, entry.adapter, entry.made))
            elif entry.results:
                first = entry.results[0]
                if first.adapter not in self._now:
                    raise InputError(
                        path, number, "has records of an adapter that no line names; remove the file"
                    )
                self._earlier.do(
                    "INSERT OR REPLACE INTO pairs VALUES (?, ?, ?, ?)",
                    _pair(first.adapter, first.case, first.dtype),
                    self._end,
                    self._now[first.adapter],
                    entry.made,
                )
            self._end += len(line)

    def _note(self, maker: _Maker) -> None:
        if maker not in self._makers:
            self._makers.append(maker)
        self._now[maker.adapter.name] = self._makers.index(maker)

    def begin(self, loaded: Loaded) -> None:
        """Note an adapter that is going to run."""
        made = digest(loaded)
        self._note(_Maker(lossproof.__version__, loaded.info, made))
        self._write(_Line(adapter=loaded.info, made=made))

    def has(self, adapter: str, case: Case, dtype: str) -> bool:
        """Whether an earlier run got that far with the same case, adapter and lossproof."""
        found = self._find(adapter, case, dtype)
        return found is not None and not self._why_outdated(adapter, case, found)

    def _find(self, adapter: str, case: Case, dtype: str) -> tuple[int, int, str] | None:
        if self._earlier is None:
            return None
        query = "SELECT line, maker, made FROM pairs WHERE pair = ?"
        found: tuple[int, int, str] | None = self._earlier.one(query, _pair(adapter, case.id, dtype))
        return found

    def _why_outdated(self, adapter: str, case: Case, found: tuple[int, int, str]) -> str:
        """Why a line would not come out again, or nothing."""
        _, maker, made = found
        before, now = self._makers[maker], self._makers[self._now[adapter]]
        if before.lossproof != now.lossproof:
            return f"lossproof was {before.lossproof}"
        if before.adapter != now.adapter:
            return f"{adapter} was {before.adapter.version} on {before.adapter.device}"
        if not before.made or not made:
            return "its file is of an earlier lossproof, which did not say what the records depend on"
        if before.made != now.made:
            return f"the adapter {adapter} has changed"
        return "" if made == self._digest_of(case) else "their cases have changed"

    def _digest_of(self, case: Case) -> str:
        """Dtype after dtype, it is asked for the same case."""
        if self._digest[0] is not case:
            self._digest = case, fingerprint(case)
        return self._digest[1]

    def add(self, case: Case, rows: Iterable[Record]) -> None:
        """Keep the records of one case and dtype."""
        place, records = self._end, tuple(rows)
        if records and (found := self._find(records[0].adapter, case, records[0].dtype)) is not None:
            self.outdated[self._why_outdated(records[0].adapter, case, found)] += 1
        self._write(_Line(results=records, made=self._digest_of(case)))
        self._lines.append(place)

    def recall(self, adapter: str, case: Case, dtype: str) -> list[Record]:
        """The records of an earlier run, which become this run's."""
        found = self._find(adapter, case, dtype)
        assert found is not None
        self._lines.append(found[0])
        return self._at(found[0])

    def __iter__(self) -> Iterator[Record]:
        for place in self._lines:
            yield from self._at(place)

    def _at(self, place: int) -> list[Record]:
        self._file.seek(place)
        return list(decode(self._file.readline(), _Line).results)

    def _write(self, entry: _Line) -> None:
        line = encode(entry) + b"\n"
        try:
            self._file.seek(self._end)
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path or "the run's records", error) from None
        self._end += len(line)

    def close(self, complete: bool) -> None:
        """Close the file, and remove it if the run is complete."""
        # Before another run can get hold of it, where an open file can be removed.
        if complete and self.path is not None and os.name != "nt":
            self.path.unlink(missing_ok=True)
        with suppress(OSError):  # what could not be written was told
            self._file.close()
        if complete and self.path is not None and os.name == "nt":
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


def digest(loaded: Loaded) -> str:
    """Changes with an adapter's sources and with what is recorded of it, wherever that stands."""
    recorded = [(d.id, d.clause, d.upstream, d.sporadic, d.where) for d in loaded.deviations.entries]
    return hashlib.sha256(loaded.sources.encode() + encode(recorded)).hexdigest()[:32]


def _pair(adapter: str, case: str, dtype: str) -> bytes:
    return encode((adapter, case, dtype))
