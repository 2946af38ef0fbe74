"""What changed between two runs: the comparison behind ``lossproof diff`` and the site's history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from lossproof.core.validate import decode, encode
from lossproof.core.verdicts import RIGHT, Verdict
from lossproof.engine.record import Record
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.disk import Database
from lossproof.results.gate import SEVERITY

KINDS = ("worse", "better", "other", "new", "gone")
MEANING = {
    "worse": "got worse",
    "better": "got better",
    "other": "as good or bad as before, but different",
    "new": "not in the old results",
    "gone": "not in the new results",
}
_WRONG = {Verdict.FAIL, Verdict.ERROR, Verdict.DEVIATION, Verdict.BELOW}


@dataclass(frozen=True)
class Change:
    """One output that differs; ``before`` or ``after`` is None where a run lacks it."""

    kind: str
    before: Record | None
    after: Record | None

    @property
    def record(self) -> Record:
        record = self.after or self.before
        assert record is not None
        return record

    def text(self) -> str:
        """What happened, in a few words."""
        before, after = self.before, self.after
        if before is None or after is None:
            return str(self.record.verdict)
        if before.verdict is not after.verdict:
            return f"{before.verdict} → {after.verdict}"
        if before.actual != after.actual:
            return f"{after.verdict}: {before.actual or 'large'} → {after.actual or 'large'}"
        return f"{after.verdict}: {before.variant or before.message} → {after.variant or after.message}"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json() if self.after else None,
        }


class Changes:
    """What differs between two runs, worst first; on disk, as it may be as much as the runs are.

    Without ``recording`` it is no change that a wrong output is recorded as a deviation in one run and
    not in the other: that tells runs of two versions of a framework apart by what they compute alone.
    """

    def __init__(self, old: Iterable[Record], new: Iterable[Record], recording: bool = True) -> None:
        self.counts: Counter[str] = Counter()
        """By kind, how many there are."""
        self._disk = Database(
            "CREATE TABLE old (number INTEGER PRIMARY KEY, place BLOB UNIQUE, record BLOB)",
            "CREATE TABLE new (number INTEGER PRIMARY KEY, place BLOB UNIQUE, record BLOB)",
            "CREATE TABLE changes (kind TEXT, before BLOB, after BLOB)",
        )
        for name, records in (("old", old), ("new", new)):
            # A record takes the place of an earlier one of the same output.
            self._disk.fill(
                f"INSERT INTO {name} (place, record) VALUES (?, ?) "
                "ON CONFLICT (place) DO UPDATE SET record = excluded.record",
                ((encode((r.adapter, r.case, r.dtype, r.output)), encode(r)) for r in records),
            )
        self._disk.fill("INSERT INTO changes VALUES (?, ?, ?)", self._find(recording))

    def _find(self, recording: bool) -> Iterator[tuple[str, bytes | None, bytes | None]]:
        both = self._disk.rows(
            "SELECT old.record, new.record FROM new LEFT JOIN old USING (place) "
            "WHERE old.record IS NOT new.record ORDER BY new.number"
        )
        gone = self._disk.rows(
            "SELECT record, NULL FROM old WHERE place NOT IN (SELECT place FROM new) ORDER BY number"
        )
        for before, after in chain(both, gone):
            change = _change(_record(before), _record(after), recording)
            if change is not None:
                self.counts[change.kind] += 1
                yield change.kind, before, after

    def of(self, kind: str) -> Iterator[Change]:
        """Those of a kind."""
        query = "SELECT before, after FROM changes WHERE kind = ? ORDER BY rowid"
        for before, after in self._disk.rows(query, kind):
            yield Change(kind, _record(before), _record(after))

    def __iter__(self) -> Iterator[Change]:
        for kind in KINDS:
            yield from self.of(kind)

    def __len__(self) -> int:
        return self.counts.total()

    def leave_out(self, kind: str | None) -> int:
        """Forget those of a kind; returns how many there were."""
        self._disk.do("DELETE FROM changes WHERE kind = ?", kind)
        return self.counts.pop(kind, 0) if kind is not None else 0


def _record(row: bytes | None) -> Record | None:
    return None if row is None else decode(row, Record)


def _change(before: Record | None, after: Record | None, recording: bool) -> Change | None:
    if before is None or after is None:
        return Change("new" if before is None else "gone", before, after)
    wrong = after.verdict not in RIGHT
    if recording or not {before.verdict, after.verdict} <= _WRONG:
        difference = SEVERITY[after.verdict] - SEVERITY[before.verdict]
        if difference:
            return Change("worse" if difference > 0 else "better", before, after)
    # A number that is right may change in its last digits; what is wrong has no such freedom.
    if before.variant != after.variant or (wrong and _seen(before) != _seen(after)):
        return Change("other", before, after)
    return None


def _seen(record: Record) -> tuple[object, ...]:
    """What came out: all of a small output, the worst element of a large one, or what was raised."""
    if record.actual is not None:
        return (record.actual,)
    if record.worst is not None:
        return (record.worst,)
    return (record.message.removeprefix(f"{record.deviation}: "),)


def of_other_set(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The kind of change, if there is one, that comes from one run being of the quick set only.

    A run that left out the thorough cases neither lost nor gained them. Given are the environments.
    """
    sets = tuple(environment.get("cases", "thorough") for environment in (old, new))
    return {("thorough", "quick"): "gone", ("quick", "thorough"): "new"}.get(sets)


def versions(adapters: Iterable[AdapterInfo]) -> Mapping[str, AdapterInfo]:
    return {info.name: info for info in adapters}
