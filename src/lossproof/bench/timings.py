"""Files of timings: pytest-benchmark's, with what ``lossproof bench`` adds (spec/timings.schema.json).

What pytest-benchmark or others write beside these fields is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from msgspec import field

from lossproof.core.form import Form, must
from lossproof.core.validate import load
from lossproof.core.verdicts import RIGHT
from lossproof.errors import InputError

# What no clock shows and no machine has is no measurement, and nothing to draw or to compare.
Seconds = Annotated[float, must("a number of seconds from 1e-15 to 1e9", ge=1e-15, le=1e9)]
Ratio = Annotated[float, must("a ratio from 1e-15 to 1e15", ge=1e-15, le=1e15)]
Amount = Annotated[float, must("a number from 0 to 1e24", ge=0, le=1e24)]
Count = Annotated[int, must("an integer from 0 to 2**53", ge=0, le=2**53)]


class Stats(Form, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What the samples are like, in seconds per call."""

    min: Seconds
    q1: Seconds
    median: Seconds
    q3: Seconds
    max: Seconds | None = None
    mean: Seconds | None = None
    stddev: Amount | None = None
    iqr: Amount | None = None
    rounds: Count = 0
    iterations: Count = 1
    data: tuple[Seconds, ...] = ()
    """The samples; pytest-benchmark keeps them only if asked."""


class Extra(Form, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What ``lossproof bench`` knows of a row; nothing of it is in a file of pytest-benchmark's alone."""

    adapter: str = ""
    backend: str = ""
    device: str = ""
    device_name: str = ""
    workload: str = ""
    function: str = ""
    dtype: str = ""
    direction: str = ""
    threads: Count = 0
    framework_threads: dict[str, Any] = field(default_factory=dict)
    bytes: Amount | None = None
    flops: Amount | None = None
    first_call_s: Amount | None = None
    warmup_calls: Count = 0
    verdicts: dict[str, str] = field(default_factory=dict)
    starts: tuple[Count, ...] = ()
    """The start of the process that each sample belongs to."""
    copy_s: tuple[Seconds, ...] = ()
    """Copies of as many bytes, one in each round: the limit while this was measured."""
    time_over_copy: tuple[Ratio, ...] = ()
    """Per start, the median of timings over copies, in a condensed file, which has no samples."""
    bandwidth_limit_s: Seconds | None = None
    """Their median."""
    peak_bytes: Amount | None = None
    peak_device_bytes: Amount | None = None

    @property
    def wrong(self) -> list[str]:
        """The outputs that were timed and are not right."""
        return [name for name, verdict in self.verdicts.items() if verdict not in RIGHT]


class Benchmark(Form, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """One row: a backend on a workload in one direction."""

    group: str | None = None
    name: str = ""
    fullname: str = ""
    params: Any = None
    stats: Stats
    extra_info: Extra = field(default_factory=Extra)


class Cpu(Form, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The processor."""

    brand_raw: str = ""
    count: Count | None = None


class Machine(Form, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Where it was measured, and how fast memory is copied and exponentials are computed there."""

    node: str = ""
    processor: str = ""
    machine: str = ""
    system: str = ""
    python_version: str = ""
    cpu: Cpu = field(default_factory=Cpu)
    lossproof: str = ""
    numpy: str = ""
    allocator: tuple[str, ...] = ()
    limits: dict[str, Any] = field(default_factory=dict)


class Timings(Form, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A file of timings."""

    machine_info: Machine = field(default_factory=Machine)
    commit_info: dict[str, Any] = field(default_factory=dict)
    benchmarks: tuple[Benchmark, ...]
    problems: tuple[str, ...] = ()
    datetime: str = ""
    version: str = ""

    def groups(self) -> Iterator[tuple[str, list[Benchmark]]]:
        """Rows that follow each other and belong together, by the name of their group."""
        for name, rows in groupby(self.benchmarks, key=lambda row: row.group or row.name):
            yield name, list(rows)


def read(path: Path) -> Timings:
    """A file that ``lossproof bench --json`` or ``pytest --benchmark-json`` wrote.

    Raises:
        InputError: it cannot be read or is none.
    """
    timings = load(path, Timings)
    for number, row in enumerate(timings.benchmarks, 1):
        stats = row.stats
        if not stats.min <= stats.q1 <= stats.median <= stats.q3 <= (stats.max or stats.q3):
            raise InputError(
                path, None, f"benchmark {number}: min, q1, median, q3 and max must be in this order"
            )
    return timings
