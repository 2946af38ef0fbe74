"""What changed between two runs: the comparison behind ``lossproof diff`` and the site's history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossproof.core.verdicts import RIGHT, Verdict
from lossproof.engine.record import Record
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.file import Results
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


def compare_runs(old: Iterable[Record], new: Iterable[Record], recording: bool = True) -> list[Change]:
    """What differs, worst first.

    Without ``recording`` it is no change that a wrong output is recorded as a deviation in one run and
    not in the other: that tells runs of two versions of a framework apart by what they compute alone.
    """

    def keyed(records: Iterable[Record]) -> Mapping[tuple[str, ...], Record]:
        return {(r.adapter, r.case, r.dtype, r.output): r for r in records}

    before, after = keyed(old), keyed(new)
    found = [
        change
        for place in dict.fromkeys([*after, *before])
        if (change := _change(before.get(place), after.get(place), recording)) is not None
    ]
    return sorted(found, key=lambda change: KINDS.index(change.kind))


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


def without_other_set(old: Results, new: Results, changes: Sequence[Change]) -> tuple[list[Change], int]:
    """The changes less those that come from one run being of the quick set only, and how many those are.

    A run that left out the thorough cases neither lost nor gained them.
    """
    sets = tuple(results.environment.get("cases", "thorough") for results in (old, new))
    kind = {("thorough", "quick"): "gone", ("quick", "thorough"): "new"}.get(sets)
    kept = [change for change in changes if change.kind != kind]
    return kept, len(changes) - len(kept)


def versions(results: Results) -> Mapping[str, AdapterInfo]:
    return {info.name: info for info in results.adapters}
