"""Verdicts and records, and the results file (spec/results.schema.json)."""

from __future__ import annotations

import json
import math
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lossproof.errors import InputError


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


FAILURES = frozenset({Verdict.FAIL, Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT})


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

    def to_json(self) -> dict[str, Any]:
        row = {key: _json_number(getattr(self, key)) for key in _FIELDS}
        return row | {key: getattr(self, key) for key in _OPTIONAL if getattr(self, key) is not None}


_OPTIONAL = ("actual", "deviation", "upstream", "worst")
_FIELDS = tuple(name for name in Record.__dataclass_fields__ if name not in _OPTIONAL)


@dataclass(frozen=True)
class AdapterInfo:
    """An adapter that took part; ``skipped`` says why it could not.

    ``reference`` is how it was asked for, where that is not its name.
    """

    name: str
    backend: str
    version: str
    device: str
    skipped: str | None = None
    reference: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def _json_number(value: Any) -> Any:
    # JSON has no infinity; an error too large to be a number is null.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def environment() -> dict[str, Any]:
    """What the results depend on beside the adapters."""
    import numpy as np

    import lossproof

    return {
        "lossproof": lossproof.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.system(),
        "machine": platform.machine(),
        "processor": processor_name(),
    }


def processor_name() -> str:
    """The CPU's name as the operating system gives it."""
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or "unknown"


def write_json(path: Path, adapters: Sequence[AdapterInfo], records: Iterable[Record]) -> None:
    """Write a results file, one record per line so that two of them can be compared by eye."""
    head = {
        "schema": 1,
        "environment": environment(),
        "adapters": [adapter.to_json() for adapter in adapters],
    }
    between = f'{json.dumps(head, indent=1, allow_nan=False)[:-2]},\n "results": [\n  '
    try:
        with path.open("w", encoding="utf-8") as file:
            for record in records:
                file.write(between + json.dumps(record.to_json(), allow_nan=False, ensure_ascii=False))
                between = ",\n  "
            file.write("\n ]\n}\n" if between == ",\n  " else f"{between.rstrip()}\n ]\n}}\n")
    except OSError as error:
        raise InputError(path, None, f"cannot be written: {error.strerror}") from None


@dataclass(frozen=True)
class Results:
    """A results file."""

    environment: dict[str, Any]
    adapters: tuple[AdapterInfo, ...]
    records: tuple[Record, ...]


def load_json(path: Path) -> Any:
    """What a JSON file holds, whatever it is.

    Raises:
        InputError: it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, None, f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(path, line, f"no JSON: {getattr(error, 'msg', error)}") from None


def read_json(path: Path) -> Results:
    """Read a results file.

    Raises:
        InputError: it cannot be read or is no results file; the message says what is wrong.
    """
    document = load_json(path)
    if not isinstance(document, dict) or document.get("schema") != 1:
        raise InputError(path, None, "is no results file of schema 1 (lossproof run --json)")
    environment, adapters, rows = (document.get(name) for name in ("environment", "adapters", "results"))
    if not isinstance(environment, dict) or not isinstance(adapters, list) or not isinstance(rows, list):
        raise InputError(path, None, "a results file has environment, adapters and results")
    try:
        infos = tuple(_info_from_json(entry) for entry in adapters)
    except ValueError as error:
        raise InputError(path, None, f"adapters: {error}") from None
    records = []
    for number, row in enumerate(rows, 1):
        try:
            records.append(record_from_json(row))
        except ValueError as error:
            raise InputError(path, None, f"result {number}: {error}") from None
    return Results(environment, infos, tuple(records))


_TEXTS = ("case", "function", "clause", "adapter", "dtype", "output", "message")
_NUMBERS = ("error_ulp", "error", "allowed")
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
    for name in (*_TEXTS, *(name for name in _OPTIONAL if name in row)):
        if not isinstance(row[name], str):
            raise ValueError(f"{name} must be text")
    for name in _NUMBERS:
        if row[name] is not None and (not isinstance(row[name], (int, float)) or isinstance(row[name], bool)):
            raise ValueError(f"{name} must be a number or null")
    for name, pattern in _PATTERNS.items():
        # Pages are named after functions, and link to clauses and upstream reports.
        if name in row and not pattern.fullmatch(row[name]):
            raise ValueError(f"{name} is {row[name][:60]!r}, which is none")
    if row["variant"] is not None and not isinstance(row["variant"], str):
        raise ValueError("variant must be text or null")
    return Record(**{**row, "verdict": Verdict(row["verdict"])})


def _info_from_json(entry: Any) -> AdapterInfo:
    known = {"name", "backend", "version", "device"}
    if not isinstance(entry, dict) or not known <= entry.keys() <= {*known, "skipped", "reference"}:
        raise ValueError("an adapter has name, backend, version, device, and maybe skipped and reference")
    if not all(isinstance(value, str) for value in entry.values()):
        raise ValueError("an adapter's fields are text")
    return AdapterInfo(**entry)
