"""Records on disk as they come: a run that is killed loses nothing, and a long one needs no memory for them.

While ``--json FILE`` is being made, ``FILE.partial`` holds one JSON line per case and dtype. It is
removed when the run is complete.
"""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import lossproof
from lossproof.case.select import Selection
from lossproof.core.form import Form
from lossproof.core.validate import decode, encode
from lossproof.engine.record import Record
from lossproof.errors import InputError, LossproofError
from lossproof.registry.loaded import AdapterInfo

Key = tuple[str, str, str]


class _Line(Form, frozen=True, omit_defaults=True):
    """The first line says what the run is of; the others name an adapter, or hold one case's records."""

    lossproof: str = ""
    cases: str = ""
    adapter: AdapterInfo | None = None
    results: tuple[Record, ...] = ()


class Journal:
    """The growing file beside a results file, or a nameless one; iterable over the records of the run.

    Raises:
        LossproofError: ``resume`` finds a file of other cases or another lossproof, or one that
            cannot be read or written.
    """

    def __init__(self, results: Path | None, cases: Selection, resume: bool) -> None:
        # Where the lines of an earlier run begin, and in their order those of this one.
        self._done: dict[Key, int] = {}
        self._lines = array("q")
        self._infos: dict[str, AdapterInfo] = {}
        self.path = results and results.with_name(results.name + ".partial")
        self._file = self._open(resume)
        self._end = self._file.seek(0, 2)
        head = _Line(lossproof=lossproof.__version__, cases=_digest(cases))
        self._end = self._read(head) if self._end else 0
        # A line that was being written when the run was killed is cut off.
        self._file.truncate(self._end)
        if not self._end:
            self._write(head)

    def _open(self, resume: bool) -> IO[bytes]:
        if self.path is None:
            return tempfile.TemporaryFile()
        try:
            return self.path.open("r+b" if resume and self.path.exists() else "w+b")
        except OSError as error:
            raise self._fault(None, f"cannot be written: {error.strerror}") from None

    def _fault(self, line: int | None, message: str) -> InputError:
        return InputError(self.path or "the run's records", line, message)

    def _read(self, head: _Line) -> int:
        """Take in what is there; returns the length of the lines that are whole."""
        complete = 0
        self._file.seek(0)
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = decode(line, _Line)
            except ValueError as error:
                raise self._fault(
                    number, f"is not a line that lossproof wrote ({error}); remove the file"
                ) from None
            if number == 1:
                if entry != head:
                    raise LossproofError(
                        f"{self.path} was begun with other cases or another lossproof; "
                        "remove it, or run without --resume"
                    )
            elif entry.adapter is not None:
                self._infos[entry.adapter.name] = entry.adapter
            elif entry.results:
                first = entry.results[0]
                self._done[first.adapter, first.case, first.dtype] = complete
            complete += len(line)
        return complete

    def begin(self, info: AdapterInfo) -> None:
        """Note an adapter; results of another version of it are not mixed in.

        Raises:
            LossproofError: it was another version or device before.
        """
        before = self._infos.get(info.name)
        if before is None:
            self._infos[info.name] = info
            self._write(_Line(adapter=info))
        elif before != info:
            raise LossproofError(
                f"{self.path} was begun with {before.name} {before.version} on {before.device}, now it is "
                f"{info.version} on {info.device}; remove it, or run without --resume"
            )

    def has(self, adapter: str, case: str, dtype: str) -> bool:
        """Whether an earlier run got that far."""
        return (adapter, case, dtype) in self._done

    def add(self, rows: Iterable[Record]) -> None:
        """Keep the records of one case and dtype."""
        place = self._end
        self._write(_Line(results=tuple(rows)))
        self._lines.append(place)

    def recall(self, adapter: str, case: str, dtype: str) -> list[Record]:
        """The records of an earlier run, which become this run's."""
        place = self._done[adapter, case, dtype]
        self._lines.append(place)
        return self._at(place)

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
            raise self._fault(None, f"cannot be written: {error.strerror}") from None
        self._end += len(line)

    def close(self, complete: bool) -> None:
        """Close the file, and remove it if the run is complete."""
        self._file.close()
        if complete and self.path is not None:
            self.path.unlink()


def _digest(cases: Selection) -> str:
    """Changes with the content of the case files and the choice of cases."""
    digest = hashlib.sha256()
    for path in cases.files:
        digest.update(path.read_bytes())
    for identifier in cases.ids:
        digest.update(identifier.encode() + b"\n")
    return digest.hexdigest()
