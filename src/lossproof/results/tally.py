"""What the tables of a run show, counted record by record, so that no record needs to be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lossproof.core.escape import visible
from lossproof.core.text import counted, shortened
from lossproof.core.verdicts import FAILURES, RIGHT, UNJUDGED, Verdict
from lossproof.engine.record import Record
from lossproof.results.choices import Choices
from lossproof.results.gate import Gate

_WORTH_LISTING = {Verdict.DEVIATION, Verdict.BELOW, Verdict.UNSUPPORTED} | FAILURES
CONFORMS = "conforms"
# So many reasons for what was not judged are told.
MAX_REASONS = 3


def row_of(record: Record) -> str:
    """What a record is counted under: its function, or the law of a call."""
    return record.output if record.is_law else record.function


@dataclass
class Tally:
    """The records of one adapter: counts, and the few that are listed.

    ``limit`` records that fail are kept; None keeps all, and whatever else is not right.
    """

    gate: Gate
    limit: int | None
    rows: dict[str, Counter[Verdict]] = field(default_factory=dict)
    worst_share: dict[str, float] = field(default_factory=dict)
    """By row, the largest error of what is right, as a share of what is allowed."""
    listed: list[Record] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why outputs were not judged, and how many."""
    choices: Choices = field(default_factory=Choices)
    failures: int = 0
    tolerated: int = 0

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            name, verdict = row_of(record), record.verdict
            self.rows.setdefault(name, Counter())[verdict] += 1
            if verdict in RIGHT and record.share_used:
                self.worst_share[name] = max(self.worst_share.get(name, 0.0), record.share_used)
            self.choices.add(record, record.choices)
            if verdict in UNJUDGED:
                self.reasons[record.message] += 1
            failing = self.gate.fails(record)
            self.failures += failing
            self.tolerated += self.gate.tolerated(record)
            if self.limit is None:
                if failing or verdict in _WORTH_LISTING:
                    self.listed.append(record)
            elif failing and len(self.listed) < self.limit:
                self.listed.append(record)

    @property
    def verdicts(self) -> Counter[Verdict]:
        """Of all together."""
        return sum(self.rows.values(), Counter())

    @property
    def outputs(self) -> int:
        return self.verdicts.total()

    @property
    def judged(self) -> int:
        """How many outputs the backend gave, or should have given."""
        return sum(number for verdict, number in self.verdicts.items() if verdict not in UNJUDGED)

    @property
    def outcome(self) -> str:
        """In words: ``CONFORMS``, or what keeps the adapter from it."""
        counts = self.verdicts
        if self.failures:
            return counted(self.failures, "failure")
        if counts[Verdict.SKIPPED] == self.outputs:
            return "nothing was run"
        if not self.judged:
            return "nothing to judge, no case is supported"
        if FAILURES & counts.keys():
            return "wrong, but not worse than --fail-on and --baseline allow"
        return f"{CONFORMS} except for recorded deviations" if counts[Verdict.DEVIATION] else CONFORMS

    @property
    def remarks(self) -> str:
        """How much was judged, what of it is worth a word, and why the rest was not."""
        counts = self.verdicts
        whole = counted(self.outputs, "output")
        parts = [whole if self.judged == self.outputs else f"{self.judged} of {whole}"]
        parts += [f"{counts[v]} {v}" for v in (Verdict.DEVIATION, Verdict.BELOW) if counts[v]]
        if self.judged and counts[Verdict.UNSUPPORTED]:
            shown = [shortened(visible(reason)) for reason, _ in self.reasons.most_common(MAX_REASONS)]
            more = len(self.reasons) - len(shown)
            parts.append(
                "; ".join(["unsupported: " + shown[0], *shown[1:], *([f"{more} more"] if more else [])])
            )
        if self.tolerated:
            parts.append(f"{self.tolerated} no worse than the baseline")
        return ", ".join(parts)
