"""When a run fails: by level, and with a baseline only on what got worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lossproof.core.verdicts import Verdict

if TYPE_CHECKING:
    from lossproof.engine.record import Record

SEVERITY = {
    Verdict.PASS: 0, Verdict.VARIANT: 0, Verdict.SKIPPED: 1, Verdict.UNSUPPORTED: 2, Verdict.BELOW: 3,
    Verdict.DEVIATION: 4, Verdict.FAIL: 5, Verdict.ERROR: 5, Verdict.CRASH: 6, Verdict.TIMEOUT: 6,
}  # fmt: skip

# Each level fails on its own verdicts and on those of the levels before it.
LEVELS = {"never": 7, "crash": 6, "fail": 5, "deviation": 4, "below": 3, "unsupported": 2, "skipped": 1}


class Earlier(Protocol):
    """The verdicts of an earlier run."""

    def verdict(self, record: Record) -> Verdict | None:
        """What it said of the same output; None where it has none."""


@dataclass(frozen=True)
class Gate:
    """What makes a run fail.

    ``level`` is one of ``LEVELS``; ``baseline`` has the verdicts of an earlier run, whose failures
    are tolerated as long as they are no worse.
    """

    level: str = "fail"
    baseline: Earlier | None = None

    def fails(self, record: Record) -> bool:
        return self._reaches(record) and not self.known(record)

    def known(self, record: Record) -> bool:
        """Whether the baseline was as bad there already."""
        before = None if self.baseline is None else self.baseline.verdict(record)
        return before is not None and SEVERITY[record.verdict] <= SEVERITY[before]

    def tolerated(self, record: Record) -> bool:
        """Whether it would fail but for the baseline."""
        return self._reaches(record) and self.known(record)

    def _reaches(self, record: Record) -> bool:
        return SEVERITY[record.verdict] >= LEVELS[self.level]
