"""Results: the records of a run with what they depend on, and their file (spec/results.schema.json)."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import asdict

from lossproof.case.suite import DIGEST, NUMBER, Suite, suite
from lossproof.core.dtypes import Dtype
from lossproof.core.escape import visible
from lossproof.core.files import replacing
from lossproof.core.form import Form
from lossproof.core.text import counted, shortened
from lossproof.core.validate import encode, load
from lossproof.core.verdicts import FAILURES, UNJUDGED
from lossproof.engine.record import Record
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.gate import Gate
from lossproof.results.summary import Group, Judgements, Link, Summary, unfold
from lossproof.results.tally import Tally

CasesSet = Literal["quick", "thorough", "chosen"]

# What a results file in full and a summary begin with.
_COMMON = ("schema", "environment", "adapters")
# What an environment says of the suite, where it says anything.
_SUITE = {"suite": rf"{NUMBER}(\+changed)?", "suite_digest": DIGEST}


def cases_set(whole: bool, thorough: bool) -> CasesSet:
    """Which cases a run took: the quick set of lossproof's own, all of them, or those that were chosen."""
    return ("thorough" if thorough else "quick") if whole else "chosen"


def environment(cases: CasesSet | None = None) -> dict[str, Any]:
    """What the results depend on beside the adapters; ``cases`` says which cases ran."""
    import numpy as np

    import lossproof

    ran = {} if cases is None else {"cases": cases, **said_of(suite())}
    return {
        "lossproof": lossproof.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.system(),
        "machine": platform.machine(),
        "processor": processor_name(),
        **ran,
    }


def said_of(suite: Suite) -> dict[str, str]:
    """How an environment names a suite."""
    return {"suite": suite.version, "suite_digest": suite.digest}


def suite_of(environment: Mapping[str, Any]) -> Suite | None:
    """The suite that results are of; None where they are of a lossproof that did not say."""
    if "suite" not in environment or "suite_digest" not in environment:
        return None
    return Suite(environment["suite"], environment["suite_digest"])


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


class ResultsFile(Form, frozen=True):
    """A results file."""

    SAYS: ClassVar[str] = (
        "this is no results file of schema 1 (lossproof run --json), "
        "which has environment, adapters and results"
    )
    schema: Literal[1]
    environment: Annotated[
        dict[str, Any],
        Meta(
            extra_json_schema={
                "properties": {
                    "cases": {"enum": list(get_args(CasesSet))},
                    "suite": {"type": "string", "pattern": f"^{_SUITE['suite']}$"},
                    "suite_digest": {"type": "string", "pattern": f"^{_SUITE['suite_digest']}$"},
                }
            }
        ),
    ]
    """Versions, the machine, and in ``cases`` which cases ran, of which suite."""
    adapters: tuple[AdapterInfo, ...]
    results: (
        tuple[Annotated[Record, Meta(extra_json_schema={"required": Record.__struct_fields__[:12]})], ...]
        | UnsetType
    ) = UNSET
    """In full; the fields below are those of a summary of one adapter, which has them all instead."""
    dtypes: tuple[Dtype, ...] | UnsetType = UNSET
    upstream: dict[str, Link] | UnsetType = UNSET
    unjudged: tuple[Group, ...] | UnsetType = UNSET
    judged: Judgements | UnsetType = UNSET
    kept: tuple[Group, ...] | UnsetType = UNSET
    """Absent from files of before the laws of a call."""


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
    made_in = environment() if made_in is None else dict(made_in)
    head = msgspec.json.format(encode(ResultsFile(1, made_in, tuple(adapters), ())), indent=1)
    with replacing(path) as file:
        file.write(head.removesuffix(b"]\n}"))
        between = b"\n  "
        for record in records:
            file.write(between + encode(record))
            between = b",\n  "
        file.write(b"\n ]\n}\n")


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

        ``verdict`` and ``choices`` are plain text; ``error`` and ``allowed`` are absolute, ``error_ulp``
        is in ULPs of the row's dtype.
        """
        return [
            {**asdict(record), "verdict": str(record.verdict), "choices": ", ".join(record.choices)}
            for record in self.records
        ]

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
        return bool(seen - UNJUDGED) and not seen & FAILURES

    def summary(self) -> str:
        """A line per adapter: whether it conforms, and what of its outputs is worth a word."""
        absent = {info.name: info.skipped for info in self.adapters if info.skipped is not None}
        tallies = {info.name: Tally(Gate(), 0) for info in self.adapters}
        for record in self.records:
            tallies.setdefault(record.adapter, Tally(Gate(), 0)).add([record])
        return "\n".join(
            visible(
                f"{name}: skipped, {absent[name]}"
                if name in absent
                else f"{name}: {tally.outcome}  ({tally.remarks})"
            )
            for name, tally in tallies.items()
        )

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<Results: {counted(len(self), 'output')}\n{self.summary()}>"


def read_json(path: Path) -> Results:
    """Read a results file, in full or a summary.

    Raises:
        InputError: it cannot be read or is no results file; the message says what is wrong.
    """
    file = load(path, ResultsFile)
    check_environment(path, file.environment)
    if isinstance(file.results, UnsetType):
        return Results(file.environment, file.adapters, _unfolded(path, file))
    for number, record in enumerate(file.results, 1):
        check_function(path, None, number, record)
    return Results(file.environment, file.adapters, file.results)


def check_environment(path: Path, environment: Mapping[str, Any]) -> None:
    """Refuse a file that says of itself that it is of cases which are no set, or of no version of the suite.

    Raises:
        InputError: it does.
    """
    cases = environment.get("cases", "thorough")
    if cases not in get_args(CasesSet):
        allowed, given = ", ".join(get_args(CasesSet)), shortened(repr(cases))
        raise InputError(path, None, f"environment: cases must be one of {allowed}, not {given}")
    for name, pattern in _SUITE.items():
        said = environment.get(name)
        if name in environment and not (isinstance(said, str) and re.fullmatch(pattern, said)):
            due = "a version, like 1.0" if name == "suite" else "32 hexadecimal digits"
            raise InputError(path, None, f"environment: {name} must be {due}, not {shortened(repr(said))}")


def check_function(path: Path, line: int | None, number: int, record: Record) -> None:
    """Refuse a record, the file's ``number``-th, of another function than its case's.

    Raises:
        InputError: it is one.
    """
    if record.case.partition("/")[0] != record.function:
        wrong = f"function {record.function!r} is not that of case {record.case!r}"
        raise InputError(path, line, f"result {number}: {wrong}")


def _unfolded(path: Path, file: ResultsFile) -> tuple[Record, ...]:
    """The records of a summary."""
    parts = (file.dtypes, file.upstream, file.unjudged, file.judged)
    if any(isinstance(part, UnsetType) for part in parts):
        raise InputError(path, None, ResultsFile.SAYS)
    if len(file.adapters) != 1:
        raise InputError(path, None, f"a summary is about one adapter, and here are {len(file.adapters)}")
    try:
        kept = () if isinstance(file.kept, UnsetType) else file.kept
        return tuple(unfold(Summary(*parts, kept), file.adapters[0].name))  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError(path, None, f"a summary: {error}") from None
