"""What one output of a call is found to be, and the faults that are verdicts themselves."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What one output of one case is for one adapter and dtype."""

    PASS = "pass"
    VARIANT = "variant"
    DEVIATION = "deviation"
    BELOW = "below"
    FAIL = "fail"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    SKIPPED = "skipped"


MEANING = {
    Verdict.PASS: "within the tolerance",
    Verdict.VARIANT: "another outcome that the specification permits, by name",
    Verdict.DEVIATION: "fails, as is recorded beside the adapter",
    Verdict.BELOW: "misses a recommended case",
    Verdict.FAIL: "wrong",
    Verdict.ERROR: "raised where a value was due",
    Verdict.CRASH: "the process died",
    Verdict.TIMEOUT: "no answer in time",
    Verdict.UNSUPPORTED: "the backend has no such function",
    Verdict.SKIPPED: "its framework or device is not here",
}
FAILURES = frozenset({Verdict.FAIL, Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT})
RIGHT = frozenset({Verdict.PASS, Verdict.VARIANT})
# The backend was asked for nothing that it has.
UNJUDGED = frozenset({Verdict.UNSUPPORTED, Verdict.SKIPPED})


class RemoteError(Exception):
    """What an adapter in a process of its own raised there, as text."""


class ProcessFault(Exception):
    """An adapter's process failed instead of answering.

    ``verdict`` is ``crash``, ``timeout`` or ``error`` (an answer that is none).
    """

    def __init__(self, verdict: Verdict, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict
