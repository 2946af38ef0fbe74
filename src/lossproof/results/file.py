"""Results: the records of a run with what they depend on, and their file (spec/results.schema.json)."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from lossproof.core.text import counted
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.record import Record, record_from_json
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.gate import Gate
from lossproof.results.summary import Summary, unfold
from lossproof.results.tally import Tally

_NOT_JUDGED = {Verdict.UNSUPPORTED, Verdict.SKIPPED}
# What a results file in full and a summary begin with.
_COMMON = ("schema", "environment", "adapters")


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


def write_json(
    path: Path,
    adapters: Sequence[AdapterInfo],
    records: Iterable[Record],
    made_in: Mapping[str, Any] | None = None,
) -> None:
    """Write a results file, one record per line so that two of them can be compared by eye.

    ``made_in`` is the environment of the run, by default this one.

    Raises:
        InputError: the file cannot be written.
    """
    head = {
        "schema": 1,
        "environment": environment() if made_in is None else made_in,
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


@dataclass(frozen=True, repr=False)
class Results:
    """What a run gave, or what a results file holds: a sequence of records, one per judged output.

    ``environment`` has the versions and the machine, ``adapters`` who took part (``name``,
    ``backend``, ``version``, ``device``, and ``skipped`` with the reason where one could not).
    """

    environment: dict[str, Any]
    adapters: tuple[AdapterInfo, ...]
    records: tuple[Record, ...]

    @staticmethod
    def from_json(path: str | os.PathLike[str]) -> Results:
        """Read a results file.

        Raises:
            InputError: it cannot be read or is no results file; the message says what is wrong.
        """
        return read_json(Path(path))

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write a results file, as ``lossproof run --json`` does.

        Raises:
            InputError: the file cannot be written.
        """
        write_json(Path(path), self.adapters, self.records, self.environment)

    def to_dicts(self) -> list[dict[str, Any]]:
        """A row per record, all with the same keys: ``pandas.DataFrame(results.to_dicts())``.

        ``verdict`` is plain text; ``error`` and ``allowed`` are absolute, ``error_ulp`` is in ULPs of
        the row's dtype.
        """
        return [{**asdict(record), "verdict": str(record.verdict)} for record in self.records]

    @property
    def counts(self) -> Counter[str]:
        """How many records have each ``Verdict``, or each by its name: ``results.counts["pass"]``."""
        return Counter(record.verdict for record in self.records)

    @property
    def failures(self) -> tuple[Record, ...]:
        """The records that make a run fail: fail, error, crash and timeout."""
        return tuple(record for record in self.records if record.verdict in FAILURES)

    @property
    def conforms(self) -> bool:
        """Whether something was judged, and nothing fails."""
        seen = self.counts.keys()
        return bool(seen - _NOT_JUDGED) and not seen & FAILURES

    def summary(self) -> str:
        """A line per adapter: whether it conforms, and what of its outputs is worth a word."""
        absent = {info.name: info.skipped for info in self.adapters if info.skipped is not None}
        tallies = {info.name: Tally(Gate(), 0) for info in self.adapters}
        for record in self.records:
            tallies.setdefault(record.adapter, Tally(Gate(), 0)).add([record])
        return "\n".join(
            f"{name}: skipped, {absent[name]}"
            if name in absent
            else f"{name}: {tally.outcome}  ({tally.remarks})"
            for name, tally in tallies.items()
        )

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<Results: {counted(len(self), 'output')}\n{self.summary()}>"


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
    """Read a results file, in full or a summary.

    Raises:
        InputError: it cannot be read or is no results file; the message says what is wrong.
    """
    document = load_json(path)
    if not isinstance(document, dict) or document.get("schema") != 1:
        raise InputError(path, None, "is no results file of schema 1 (lossproof run --json)")
    environment, adapters = document.get("environment"), document.get("adapters")
    if not isinstance(environment, dict) or not isinstance(adapters, list):
        raise InputError(path, None, "a results file has environment, adapters and results")
    try:
        infos = tuple(_info_from_json(entry) for entry in adapters)
    except ValueError as error:
        raise InputError(path, None, f"adapters: {error}") from None
    if "judged" in document:
        return Results(environment, infos, _unfolded(path, document, infos))
    rows = document.get("results")
    if not isinstance(rows, list):
        raise InputError(path, None, "a results file has environment, adapters and results")
    records = []
    for number, row in enumerate(rows, 1):
        try:
            records.append(record_from_json(row))
        except ValueError as error:
            raise InputError(path, None, f"result {number}: {error}") from None
    return Results(environment, infos, tuple(records))


def _unfolded(path: Path, document: Mapping[str, Any], infos: Sequence[AdapterInfo]) -> tuple[Record, ...]:
    """The records of a summary."""
    if len(infos) != 1:
        raise InputError(path, None, f"a summary is about one adapter, and here are {len(infos)}")
    own = {name: value for name, value in document.items() if name not in _COMMON}
    try:
        return tuple(unfold(msgspec.convert(own, Summary), infos[0].name))
    except ValueError as error:
        raise InputError(path, None, f"a summary: {error}") from None


def _info_from_json(entry: Any) -> AdapterInfo:
    known = {"name", "backend", "version", "device"}
    if not isinstance(entry, dict) or not known <= entry.keys() <= {*known, "skipped", "reference"}:
        raise ValueError("an adapter has name, backend, version, device, and maybe skipped and reference")
    if not all(isinstance(value, str) for value in entry.values()):
        raise ValueError("an adapter's fields are text")
    return AdapterInfo(**entry)
