"""A folder of results: one small file for each backend in each version (``results/`` in the repository)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec

from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.file import environment, read_json
from lossproof.results.summary import Summary, fold


def file_name(info: AdapterInfo) -> str:
    """Adapter and version without its local part: ``torch-2.13.0.json`` for torch 2.13.0+cpu."""
    version = info.version.partition("+")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{info.name}-{version}".strip("-")) + ".json"


def renew(
    folder: Path, info: AdapterInfo, records: Iterable[Record], *, all_cases: bool, dtypes: Collection[str]
) -> Path:
    """Write what an adapter gave; what the run left out of an earlier file stays there.

    Args:
        folder: where the file is written, under ``file_name``.
        info: the adapter.
        records: its records of this run.
        all_cases: the run left out no case, so that cases it does not have are gone.
        dtypes: those that the run was restricted to; none means all.

    Returns:
        The file.

    Raises:
        InputError: the file there cannot be read, is another adapter's, or cannot be written.
    """
    fresh = {_key(record): record for record in records}
    run = {(case, dtype) for case, dtype, _ in fresh}

    def stays(record: Record) -> bool:
        gone = all_cases and (not dtypes or record.dtype in dtypes)
        return _key(record) in fresh or not (gone or (record.case, record.dtype) in run)

    kept = {_key(record): record for record in earlier(folder, info) if stays(record)}
    path = folder / file_name(info)
    _write(path, info, fold((kept | fresh).values()))
    return path


def _key(record: Record) -> tuple[str, str, str]:
    return record.case, record.dtype, record.output


def earlier(folder: Path, info: AdapterInfo) -> tuple[Record, ...]:
    """The records that the file of an adapter has, if there is one.

    Raises:
        InputError: it cannot be read, or is another adapter's.
    """
    path = folder / file_name(info)
    if not path.exists():
        return ()
    results = read_json(path)
    for other in results.adapters:
        if (other.name, other.device) != (info.name, info.device):
            raise InputError(
                path, None, f"holds results of {other.name} on {other.device}, not of {info.name} on "
                f"{info.device}; name another folder",
            )  # fmt: skip
    return results.records


def _write(path: Path, info: AdapterInfo, summary: Summary) -> None:
    """One line per case, so that a difference shows which cases changed."""
    head = {"schema": 1, "environment": environment(), "adapters": [msgspec.to_builtins(info)]}
    document = head | msgspec.to_builtins(summary)
    depths = {"environment": 2, "adapters": 2, "upstream": 2, "unjudged": 2, "judged": 4}
    lines = [f'"{name}": {_text(value, depths.get(name, 1))}' for name, value in document.items()]
    try:
        path.write_text("{\n " + ",\n ".join(lines) + "\n}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(path, None, f"cannot be written: {error.strerror}") from None


def _text(value: Any, lines: int, indent: int = 1) -> str:
    """JSON with a line for each entry of the outer ``lines - 1`` levels."""
    if lines == 1 or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if isinstance(value, dict):
        entries = [f"{json.dumps(key)}: {_text(item, lines - 1, indent + 1)}" for key, item in value.items()]
        before, after = "{}"
    else:
        entries = [_text(item, lines - 1, indent + 1) for item in value]
        before, after = "[]"
    space = "\n" + " " * (indent + 1)
    return f"{before}{space}{f',{space}'.join(entries)}\n{' ' * indent}{after}"
