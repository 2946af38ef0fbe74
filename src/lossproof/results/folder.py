"""A folder of results: one small file for each backend in each version (``results/`` in the repository)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec

from lossproof.core.files import write
from lossproof.core.validate import encode
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.file import CasesSet, Results, environment, read_json
from lossproof.results.summary import Summary, fold

MAX_STEM = 120


def file_name(info: AdapterInfo) -> str:
    """Adapter and version without its local part: ``torch-2.13.0.json`` for torch 2.13.0+cpu."""
    version = info.version.partition("+")[0]
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{info.name}-{version}".strip("-"))
    if len(stem) > MAX_STEM:  # as much as any file system takes
        stem = f"{stem[:MAX_STEM]}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"
    return f"{stem}.json"


def renew(
    folder: Path,
    info: AdapterInfo,
    records: Iterable[Record],
    *,
    all_cases: bool,
    dtypes: Collection[str],
    left_out: Collection[str] = (),
    cases: CasesSet = "thorough",
) -> Path:
    """Write what an adapter gave; what the run left out of an earlier file stays there.

    Args:
        folder: where the file is written, under ``file_name``.
        info: the adapter.
        records: its records of this run.
        all_cases: the run was of all cases, so that cases it does not have are gone.
        dtypes: those that the run was restricted to; none means all.
        left_out: ids of thorough and huge cases, which the run has not taken and which are not gone.
        cases: the set that the run took.

    Returns:
        The file.

    Raises:
        InputError: the file there cannot be read, is another adapter's, or cannot be written.
    """
    fresh = {_key(record): record for record in records}
    run = {(case, dtype) for case, dtype, _ in fresh}

    def stays(record: Record) -> bool:
        gone = all_cases and (not dtypes or record.dtype in dtypes) and record.case not in left_out
        return _key(record) in fresh or not (gone or (record.case, record.dtype) in run)

    before = earlier_file(folder, info)
    kept = {} if before is None else {_key(record): record for record in before if stays(record)}
    path = folder / file_name(info)
    _write(
        path,
        info,
        fold((kept | fresh).values()),
        _set(before, cases, any(r.case in left_out for r in kept.values())),
    )
    return path


def _set(before: Results | None, cases: CasesSet, more: bool) -> CasesSet:
    """Which cases a file is of that had been there; ``more`` than those of the quick set it may have."""
    earlier: CasesSet | None = None if before is None else before.environment.get("cases")
    if earlier is None or not (cases == "chosen" or (cases == "quick" and more)):
        return cases
    return earlier


def _key(record: Record) -> tuple[str, str, str]:
    return record.case, record.dtype, record.output


def earlier_file(folder: Path, info: AdapterInfo) -> Results | None:
    """What the file of an adapter has, if there is one.

    Raises:
        InputError: it cannot be read, or is another adapter's.
    """
    path = folder / file_name(info)
    if not path.exists():
        return None
    results = read_json(path)
    for other in results.adapters:
        if (other.name, other.device) != (info.name, info.device):
            raise InputError(
                path, None, f"holds results of {other.name} on {other.device}, not of {info.name} on "
                f"{info.device}; name another folder",
            )  # fmt: skip
    return results


def _write(path: Path, info: AdapterInfo, summary: Summary, cases: CasesSet) -> None:
    """One line per case, so that a difference shows which cases changed."""
    head = {"schema": 1, "environment": environment(cases), "adapters": [msgspec.to_builtins(info)]}
    # As JSON can hold it, texts with half a character too.
    document = msgspec.json.decode(encode(head | msgspec.to_builtins(summary)))
    depths = {"environment": 2, "adapters": 2, "upstream": 2, "unjudged": 2, "judged": 4, "kept": 4}
    lines = [f'"{name}": {_text(value, depths.get(name, 1))}' for name, value in document.items()]
    write(path, "{\n " + ",\n ".join(lines) + "\n}\n")


def _text(value: Any, lines: int, indent: int = 1) -> str:
    """JSON with a line for each entry of the outer ``lines - 1`` levels."""
    if lines == 1 or not value or not isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if isinstance(value, dict):
        entries = [f"{json.dumps(key)}: {_text(item, lines - 1, indent + 1)}" for key, item in value.items()]
        before, after = "{}"
    else:
        entries = [_text(item, lines - 1, indent + 1) for item in value]
        before, after = "[]"
    space = "\n" + " " * (indent + 1)
    return f"{before}{space}{f',{space}'.join(entries)}\n{' ' * indent}{after}"
