"""Read a results file record by record, so that it may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lossproof.core.form import Form
from lossproof.core.misfit import Misfit
from lossproof.core.validate import Malformed, decode
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.file import ResultsFile, check_environment, check_function, read_json

# What write_json puts before the records and behind them.
_FIRST = b' "results": [\n'
_LAST = b"]"
# All before the records: versions, the machine, and a line for each field of each adapter.
_MAX_HEAD = 2**22


class _Row(Form, frozen=True):
    """One record, so that a message calls it a result."""

    results: tuple[Record, ...]


@dataclass(frozen=True)
class StoredResults:
    """What a results file says, with its records where they are: iterating reads them anew each time.

    Raises:
        InputError: while iterating, with the line of a record that is none.
    """

    path: Path
    environment: dict[str, Any]
    adapters: tuple[AdapterInfo, ...]
    records: Sequence[Record] | None
    """All of them, of a file that has not one record on each line."""
    start: int = 0
    """Otherwise, where they begin,"""
    line: int = 0
    """and how many lines there are before them."""

    def __iter__(self) -> Iterator[Record]:
        if self.records is not None:
            yield from self.records
            return
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                yield from self._lines(file)
        except OSError as error:
            raise InputError(self.path, None, f"cannot be read: {error.strerror}") from None

    def _lines(self, file: BinaryIO) -> Iterator[Record]:
        more = True
        for number, line in enumerate(file, 1):
            row = line.strip()
            if row == _LAST:
                break
            record = self._record(row.removesuffix(b","), number) if more else None
            if record is None:
                # Lines are not what they were at the beginning: JSON all the same, or it is said why not.
                yield from read_json(self.path).records[number - 1 :]
                return
            check_function(self.path, self.line + number, number, record)
            more = row.endswith(b",")
            yield record
        if file.read(16).strip() != b"}":
            read_json(self.path)  # says what is wrong

    def _record(self, row: bytes, number: int) -> Record | None:
        """The record of a line; None where it holds something else than one value."""
        try:
            return decode(row, Record)
        except Malformed:
            return None
        except Misfit:
            pass
        try:
            decode(b'{"results":[' + row + b"]}", _Row)
        except Misfit as error:
            message = str(error).replace("result 1", f"result {number}", 1)
            raise InputError(self.path, self.line + number, message) from None
        return None


def open_results(path: Path) -> StoredResults:
    """Open a results file; one that has not one record on each line, and a summary, is read as a whole.

    Raises:
        InputError: it cannot be read or is no results file; the message says what is wrong.
    """
    found = open_in_lines(path)
    if found is not None:
        return found
    results = read_json(path)
    return StoredResults(path, results.environment, results.adapters, results.records)


def open_in_lines(path: Path) -> StoredResults | None:
    """Open a results file that has one record on each line; None of another file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _head(path, file)
    except OSError as error:
        raise InputError(path, None, f"cannot be read: {error.strerror}") from None


def _head(path: Path, file: BinaryIO) -> StoredResults | None:
    """All but the records, if each of these stands on a line of its own."""
    head, lines = bytearray(), 0
    while line := file.readline(_MAX_HEAD):
        lines += 1
        head += line
        if line == _FIRST:
            break
        if len(head) > _MAX_HEAD:
            return None
    first = file.readline()
    if first.strip() != _LAST and not first.rstrip().endswith((b"}", b"},")):
        return None
    try:
        said = decode(bytes(head) + b"]}", ResultsFile)
    except ValueError:
        return None
    check_environment(path, said.environment)
    return StoredResults(path, said.environment, said.adapters, None, len(head), lines)
