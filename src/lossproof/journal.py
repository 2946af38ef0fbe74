"""Results on disk as they come, so that a run that is killed loses nothing and can be resumed.

While ``--json FILE`` is being made, ``FILE.partial`` holds one JSON line per case and dtype. It is
removed when the run is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lossproof
from lossproof.case import Case
from lossproof.errors import InputError, LossproofError
from lossproof.results import AdapterInfo, Record, record_from_json

Key = tuple[str, str, str]


class Journal:
    """The growing file beside a results file.

    Raises:
        LossproofError: ``resume`` finds a file of other cases or another lossproof, or one that
            cannot be read or written.
    """

    def __init__(self, results: Path, cases: Sequence[Case], resume: bool) -> None:
        self.path = results.with_name(results.name + ".partial")
        self.done: dict[Key, list[Record]] = {}
        self._infos: dict[str, AdapterInfo] = {}
        head = {"lossproof": lossproof.__version__, "cases": _digest(cases)}
        complete = self._read(head) if resume and self.path.exists() else 0
        try:
            self._file = self.path.open("r+b" if complete else "wb")
        except OSError as error:
            raise InputError(self.path, None, f"cannot be written: {error.strerror}") from None
        # A line that was being written when the run was killed is cut off.
        self._file.seek(complete)
        self._file.truncate()
        if not complete:
            self._write(head)

    def _read(self, head: Mapping[str, str]) -> int:
        """Take in what is there; returns the length of the lines that are whole."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise InputError(self.path, None, f"cannot be read: {error.strerror}") from None
        complete = 0
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = json.loads(line)
                if number == 1:
                    if entry != head:
                        raise LossproofError(
                            f"{self.path} was begun with other cases or another lossproof; "
                            "remove it, or run without --resume"
                        )
                elif "adapter" in entry:
                    info = AdapterInfo(**entry["adapter"])
                    self._infos[info.name] = info
                else:
                    rows = [record_from_json(row) for row in entry["results"]]
                    self.done[rows[0].adapter, rows[0].case, rows[0].dtype] = rows
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                raise InputError(
                    self.path, number, "is not a line that lossproof wrote; remove the file"
                ) from None
            complete += len(line) + 1
        return complete

    def begin(self, info: AdapterInfo) -> None:
        """Note an adapter; results of another version of it are not mixed in.

        Raises:
            LossproofError: it was another version or device before.
        """
        before = self._infos.get(info.name)
        if before is None:
            self._infos[info.name] = info
            self._write({"adapter": info.to_json()})
        elif before != info:
            raise LossproofError(
                f"{self.path} was begun with {before.name} {before.version} on {before.device}, now it is "
                f"{info.version} on {info.device}; remove it, or run without --resume"
            )

    def add(self, rows: Iterable[Record]) -> None:
        """Keep the records of one case and dtype."""
        self._write({"results": [row.to_json() for row in rows]})

    def _write(self, entry: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(entry, allow_nan=False, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise InputError(self.path, None, f"cannot be written: {error.strerror}") from None

    def close(self, complete: bool) -> None:
        """Close the file, and remove it if the run is complete."""
        self._file.close()
        if complete:
            self.path.unlink()


def _digest(cases: Sequence[Case]) -> str:
    """Changes with the content of the case files and the choice of cases."""
    digest = hashlib.sha256()
    for path in dict.fromkeys(case.path for case in cases):
        digest.update(path.read_bytes())
    digest.update("\n".join(case.id for case in cases).encode())
    return digest.hexdigest()
