"""Tables on disk, for what there may be more of than memory: a temporary database, gone with the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from lossproof.errors import LossproofError

# Of the database in memory, in KiB.
_CACHE = 16 * 2**10


class Database:
    """A temporary database, made of these statements."""

    def __init__(self, *statements: str) -> None:
        # The empty name is a file of the system's temporary folder that nobody else sees.
        self._connection = sqlite3.connect("", isolation_level=None)
        for statement in ("PRAGMA journal_mode=OFF", f"PRAGMA cache_size=-{_CACHE}", "BEGIN", *statements):
            self.do(statement)

    def do(self, statement: str, *values: Any) -> int:
        """Execute a statement; returns the number of rows that it changed.

        Raises:
            LossproofError: the disk of the temporary folder is full, say.
        """
        return self._execute(statement, values).rowcount

    def fill(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Execute a statement once for each row of values, of any number.

        Raises:
            LossproofError: the disk of the temporary folder is full, say.
        """
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise _fault(error) from None

    def one(self, statement: str, *values: Any) -> Any:
        """The first row that a query finds, or None."""
        return self._execute(statement, values).fetchone()

    def rows(self, statement: str, *values: Any) -> Iterator[Any]:
        """All rows that a query finds, one after the other."""
        found = self._execute(statement, values)
        try:
            yield from found
        except sqlite3.Error as error:
            raise _fault(error) from None

    def _execute(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise _fault(error) from None


def _fault(error: sqlite3.Error) -> LossproofError:
    return LossproofError(f"the temporary database: {error} (TMPDIR names another folder for it)")
