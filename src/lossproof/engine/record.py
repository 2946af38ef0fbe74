"""The record of one judged output, and its form in a results file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from lossproof.core.verdicts import Verdict


@dataclass(frozen=True)
class Record:
    """One judged output."""

    case: str
    function: str
    clause: str
    adapter: str
    dtype: str
    output: str
    verdict: Verdict
    variant: str | None = None
    error_ulp: float | None = None
    error: float | None = None
    allowed: float | None = None
    message: str = ""
    actual: str | None = None
    """A small output as text."""
    deviation: str | None = None
    """Id of the recorded deviation that covers the output."""
    upstream: str | None = None
    """Where that deviation is reported or documented."""
    worst: str | None = None
    """The place of the largest error, with what is there and what is due."""
    share: float | None = None
    """``error`` over ``allowed``, where a file keeps neither of the two."""

    @property
    def share_used(self) -> float | None:
        """The largest error as a share of what is allowed; None where nothing or no error is."""
        if self.share is not None:
            return self.share
        return self.error / self.allowed if self.error is not None and self.allowed else None

    def to_json(self) -> dict[str, Any]:
        row = {key: _json_number(getattr(self, key)) for key in _FIELDS}
        return row | {key: getattr(self, key) for key in _OPTIONAL if getattr(self, key) is not None}


_OPTIONAL = ("actual", "deviation", "upstream", "worst", "share")
_FIELDS = tuple(name for name in Record.__dataclass_fields__ if name not in _OPTIONAL)


def _json_number(value: Any) -> Any:
    # JSON has no infinity; an error too large to be a number is null.
    return None if isinstance(value, float) and not math.isfinite(value) else value


_TEXTS = ("case", "function", "clause", "adapter", "dtype", "output", "message")
_NUMBERS = ("error_ulp", "error", "allowed", "share")
LINK = re.compile(r"https?://\S+")
_PATTERNS = {
    "case": re.compile("[a-z0-9_]+/[a-z0-9-]+/[a-z0-9-]+"),
    "function": re.compile("[a-z0-9_]+"),
    "clause": re.compile("[A-Z][A-Z0-9]*-[0-9]+"),
    "output": re.compile(r"value|gradients\.[a-z_]+"),
    "upstream": LINK,
}


def record_from_json(row: Any) -> Record:
    """The reverse of ``Record.to_json``.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type.
    """
    if not isinstance(row, dict):
        raise ValueError("is no JSON object")
    if not row.keys() >= set(_FIELDS) or row.keys() - {*_FIELDS, *_OPTIONAL}:
        raise ValueError(f"must have the fields {', '.join(_FIELDS)}, and may have {', '.join(_OPTIONAL)}")
    for name in (*_TEXTS, *(name for name in _OPTIONAL if name in row and name not in _NUMBERS)):
        if not isinstance(row[name], str):
            raise ValueError(f"{name} must be text")
    for name in _NUMBERS:
        value = row.get(name)
        if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
            raise ValueError(f"{name} must be a number or null")
    for name, pattern in _PATTERNS.items():
        # Pages are named after functions, and link to clauses and upstream reports.
        if name in row and not pattern.fullmatch(row[name]):
            raise ValueError(f"{name} is {row[name][:60]!r}, which is none")
    if row["variant"] is not None and not isinstance(row["variant"], str):
        raise ValueError("variant must be text or null")
    return Record(**{**row, "verdict": Verdict(row["verdict"])})
