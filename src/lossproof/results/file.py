"""Verdicts and records, and the results file (spec/results.schema.json)."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossproof.engine.record import Record, record_from_json
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo


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


def _info_from_json(entry: Any) -> AdapterInfo:
    known = {"name", "backend", "version", "device"}
    if not isinstance(entry, dict) or not known <= entry.keys() <= {*known, "skipped", "reference"}:
        raise ValueError("an adapter has name, backend, version, device, and maybe skipped and reference")
    if not all(isinstance(value, str) for value in entry.values()):
        raise ValueError("an adapter's fields are text")
    return AdapterInfo(**entry)
