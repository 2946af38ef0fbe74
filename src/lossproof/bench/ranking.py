"""Who is fastest on a workload, and by how much the others are slower, as far as the timings show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lossproof.bench.compare import start_ratios
from lossproof.bench.stats import Interval, change, over_starts, paired
from lossproof.bench.timings import Benchmark


@dataclass(frozen=True)
class Place:
    """A backend and its time over that of the fastest, with its interval."""

    row: Benchmark
    ratio: Interval

    @property
    def shown(self) -> bool:
        """Whether it is slower than the fastest beyond what starts differ by."""
        return self.ratio.low > 1

    @property
    def wrong(self) -> bool:
        """Whether what it was timed at is wrong."""
        return bool(self.row.extra_info.wrong)


def ranking(rows: Iterable[Benchmark]) -> list[Place]:
    """The backends of one workload, direction and number of threads, fastest first.

    The fastest is that of the least median among those whose results are right, or among all where none is.
    The others follow by their ratios to it, and after them those that are wrong: no time makes up for that.

    Raises:
        ValueError: a row has no samples with a copy and a start each.
    """
    found = list(rows)
    fastest = min(found, key=lambda row: (bool(row.extra_info.wrong), row.stats.median))
    places = [Place(row, _over(row, fastest)) for row in found]
    return sorted(places, key=lambda place: (place.row is not fastest, place.wrong, place.ratio.ratio))


def _over(row: Benchmark, fastest: Benchmark) -> Interval:
    if row is fastest:
        return Interval(1.0, 1.0, 1.0)
    starts = row.extra_info.starts
    if starts and row.stats.data and starts == fastest.extra_info.starts:
        return paired(row.stats.data, fastest.stats.data, starts)
    own, other = start_ratios(row), start_ratios(fastest)
    if len(own) == len(other):  # a condensed file of backends that took part in the same starts
        return over_starts(np.asarray(own) / np.asarray(other))
    return change(own, other)
