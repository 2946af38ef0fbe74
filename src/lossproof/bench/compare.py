"""What became slower between two benchmark files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossproof.bench.stats import CONFIDENCE, Interval, change, over_starts, start_medians
from lossproof.bench.timings import Benchmark, Timings, read
from lossproof.errors import InputError

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Compared:
    """One backend on one workload in both files."""

    key: Key
    interval: Interval

    @property
    def verdict(self) -> str:
        """Only an interval that lies wholly on one side says anything."""
        if self.interval.low > 1:
            return "slower"
        return "faster" if self.interval.high < 1 else "no difference seen"


def key_of(row: Benchmark) -> Key:
    """Backend, workload, direction and number of threads of a row of the file."""
    extra = row.extra_info
    return extra.adapter, extra.workload, extra.direction, extra.threads


def by_key(timings: Timings) -> dict[Key, Benchmark]:
    """The rows of the file."""
    return {key_of(row): row for row in timings.benchmarks}


def read_samples(path: Path) -> Timings:
    """A file of timings that were each measured beside a copy, as ``lossproof bench --json`` writes it.

    Raises:
        InputError: it cannot be read or is none.
    """
    timings = read(path)
    for number, row in enumerate(timings.benchmarks, 1):
        try:
            start_ratios(row)
        except ValueError as error:
            raise InputError(
                path, None, f"benchmark {number} has {error}; lossproof bench --json has"
            ) from None
    return timings


def rows(timings: Timings) -> dict[Key, list[float]]:
    """What each start of each row gave."""
    return {key_of(row): start_ratios(row) for row in timings.benchmarks}


def start_ratios(row: Benchmark) -> list[float]:
    """Per start, the median of timings over copies of the same rounds.

    A slower or busier machine changes these ratios least. A condensed file has them instead of samples.

    Raises:
        ValueError: the row has no samples with a copy and a start each.
    """
    extra = row.extra_info
    if extra.time_over_copy:
        return list(extra.time_over_copy)
    if not row.stats.data or not len(row.stats.data) == len(extra.copy_s) == len(extra.starts):
        raise ValueError("no copy and start for each sample")
    ratios = np.asarray(row.stats.data) / np.asarray(extra.copy_s)
    return [float(ratio) for ratio in start_medians(ratios, extra.starts)]


def copy_share(row: Benchmark) -> Interval:
    """Copying as many bytes over the time taken, with its interval: 1 is as fast as copying.

    Raises:
        ValueError: as ``start_ratios``.
    """
    return over_starts([1 / ratio for ratio in start_ratios(row)])


def compare(old: Timings, new: Timings) -> Iterator[Compared]:
    """What both have, in the order of the new file.

    The intervals hold together: the chance that one of them all is wrong is one in twenty (Bonferroni).
    """
    before, after = rows(old), rows(new)
    both = [key for key in after if key in before]
    confidence = 1 - (1 - CONFIDENCE) / max(len(both), 1)
    for key in both:
        yield Compared(key, change(after[key], before[key], confidence))
