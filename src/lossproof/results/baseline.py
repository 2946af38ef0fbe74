"""The verdicts of an earlier run, on disk: only what got worse since fails (``--baseline``)."""

from __future__ import annotations

from collections.abc import Iterable

from lossproof.core.validate import encode
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.results.disk import Database


class Baseline:
    """The verdict of each output of a run; of two records of one output, that of the later."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._disk = Database("CREATE TABLE verdicts (place BLOB PRIMARY KEY, verdict TEXT) WITHOUT ROWID")
        self._disk.fill(
            "INSERT OR REPLACE INTO verdicts VALUES (?, ?)",
            ((_place(record), str(record.verdict)) for record in records),
        )

    def verdict(self, record: Record) -> Verdict | None:
        """What the run said of an output; None where it has none."""
        found = self._disk.one("SELECT verdict FROM verdicts WHERE place = ?", _place(record))
        return None if found is None else Verdict(found[0])


def _place(record: Record) -> bytes:
    return encode((record.adapter, record.case, record.dtype, record.output))
