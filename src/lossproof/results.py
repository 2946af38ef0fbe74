"""Verdicts and records, and the results file (spec/results.schema.json)."""

from __future__ import annotations

import json
import math
import platform
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

    def to_json(self) -> dict[str, Any]:
        return {key: _json_number(value) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class AdapterInfo:
    """An adapter that took part; ``skipped`` says why it could not."""

    name: str
    backend: str
    version: str
    device: str
    skipped: str | None = None

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        if self.skipped is None:
            del fields["skipped"]
        return fields


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
    text = json.dumps(head, indent=1, allow_nan=False)[:-2]
    rows = ",\n".join(
        "  " + json.dumps(record.to_json(), allow_nan=False, ensure_ascii=False) for record in records
    )
    content = f'{text},\n "results": [\n{rows}\n ]\n}}\n'
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(path, None, f"cannot be written: {error.strerror}") from None
