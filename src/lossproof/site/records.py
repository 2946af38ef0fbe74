"""The records of a site, on disk: there may be more of them than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lossproof.core.escape import visible
from lossproof.core.validate import decode, encode
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.results.disk import Database


@dataclass(frozen=True)
class Column:
    """One backend in one version on one device."""

    name: str
    backend: str
    version: str
    device: str
    reference: str = field(default="", compare=False)
    """How ``--adapter`` finds it."""

    @property
    def label(self) -> str:
        place = "" if self.device in ("", "cpu") else f" on {self.device}"
        return visible(f"{self.name} {self.version}{place}".strip())


@dataclass(frozen=True)
class Rows:
    """What a query finds, asked anew each time: a collection that needs no memory."""

    count: Callable[[], int]
    find: Callable[[], Iterator[Record]]

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Record]:
        return self.find()


@dataclass(frozen=True)
class CaseIds:
    """Ids of cases, asked for anew each time."""

    count: int
    find: Callable[[], Iterator[str]]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return self.find()


class Store:
    """Records by column and case; a record takes the place of an earlier one of the same output."""

    def __init__(self) -> None:
        self._columns: list[Column] = []
        self._disk = Database(
            "CREATE TABLE cases (id INTEGER PRIMARY KEY, name TEXT UNIQUE, function TEXT, place INTEGER)",
            "CREATE TABLE places (place INTEGER PRIMARY KEY, of INTEGER UNIQUE)",
            "CREATE TABLE records (id INTEGER PRIMARY KEY, owner INTEGER, of INTEGER, dtype TEXT, "
            "output TEXT, verdict TEXT, clause TEXT, record BLOB, UNIQUE (of, owner, dtype, output))",
            "CREATE INDEX owners ON records (owner)",
        )

    @property
    def columns(self) -> list[Column]:
        """In the order in which they came."""
        return list(self._columns)

    def column(self, given: Column) -> Column:
        """The column that is like this one; if there is none yet, it becomes one."""
        if given not in self._columns:
            self._columns.append(given)
        return self._columns[self._columns.index(given)]

    def add(self, records: Iterable[tuple[Column, Record]]) -> None:
        """Keep records of columns that are known."""
        numbers = {column: number for number, column in enumerate(self._columns)}
        last, number = "", 0

        def case(record: Record) -> int:
            nonlocal last, number
            if record.case != last:
                self._disk.do(
                    "INSERT OR IGNORE INTO cases (name, function) VALUES (?, ?)",
                    record.case,
                    record.case.partition("/")[0],
                )
                last, (number,) = (
                    record.case,
                    self._disk.one("SELECT id FROM cases WHERE name = ?", record.case),
                )
            return number

        self._disk.fill(
            "INSERT INTO records (owner, of, dtype, output, verdict, clause, record) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (of, owner, dtype, output) DO UPDATE SET "
            "verdict = excluded.verdict, clause = excluded.clause, record = excluded.record",
            (
                (numbers[c], case(r), r.dtype, r.output, str(r.verdict), r.clause, encode(r))
                for c, r in records
            ),
        )

    def of(self, column: Column) -> Rows:
        """The records of a column."""
        owner = self._columns.index(column)
        count = "SELECT COUNT(*) FROM records WHERE owner = ?"
        query = "SELECT record FROM records WHERE owner = ? ORDER BY id"
        return Rows(lambda: int(self._disk.one(count, owner)[0]), lambda: self._records(query, owner))

    def by_case(self, column: Column) -> Iterator[Record]:
        """The records of a column, those of a case and dtype one after the other."""
        query = "SELECT record FROM records WHERE owner = ? ORDER BY of, dtype, id"
        return self._records(query, self._columns.index(column))

    def outputs(self, column: Column, case: str) -> list[Record]:
        """The records of a column and a case."""
        query = (
            "SELECT record FROM records JOIN cases ON cases.id = of "
            "WHERE name = ? AND owner = ? ORDER BY records.id"
        )
        return list(self._records(query, case, self._columns.index(column)))

    def verdicts(self, case: str) -> dict[Column, list[Verdict]]:
        """The verdicts of each column on a case."""
        found: dict[Column, list[Verdict]] = {}
        query = "SELECT owner, verdict FROM records JOIN cases ON cases.id = of WHERE name = ?"
        for owner, verdict in self._disk.rows(query, case):
            found.setdefault(self._columns[owner], []).append(Verdict(verdict))
        return found

    def number_cases(self, first: Sequence[str]) -> None:
        """Put some cases first, in this order; the others follow as they came."""
        self._disk.fill("UPDATE cases SET place = ? WHERE name = ?", enumerate(first))
        self._disk.do("INSERT INTO places (of) SELECT id FROM cases ORDER BY place IS NULL, place, id")
        self._disk.do("UPDATE cases SET place = (SELECT place - 1 FROM places WHERE of = cases.id)")

    def cases(self, function: str | None = None) -> CaseIds:
        """The ids of the cases, of one function or of all."""
        where, values = ("", ()) if function is None else ("WHERE function = ?", (function,))
        (count,) = self._disk.one(f"SELECT COUNT(*) FROM cases {where}", *values)
        query = f"SELECT name FROM cases {where} ORDER BY place"
        return CaseIds(count, lambda: (name for (name,) in self._disk.rows(query, *values)))

    def distinct(self, what: str) -> list[str]:
        """The dtypes, the clauses, or the functions that there are, in the order in which they came."""
        table = "cases" if what == "function" else "records"
        query = f"SELECT {what} FROM {table} GROUP BY {what} ORDER BY MIN(id)"
        return [value for (value,) in self._disk.rows(query)]

    def placed(self, column: Column) -> Iterator[tuple[int, Record]]:
        """The records of a column, each with the place of its case among all."""
        query = (
            "SELECT place, record FROM records JOIN cases ON cases.id = of "
            "WHERE owner = ? ORDER BY records.id"
        )
        for place, row in self._disk.rows(query, self._columns.index(column)):
            yield place, decode(row, Record)

    def _records(self, query: str, *values: object) -> Iterator[Record]:
        for (row,) in self._disk.rows(query, *values):
            yield decode(row, Record)
