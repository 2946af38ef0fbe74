"""What became slower between two benchmark files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossproof.bench.stats import CONFIDENCE, Interval, change, over_starts, start_medians
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


def read(path: Path) -> dict[str, Any]:
    """A file that ``lossproof bench --json`` wrote.

    Raises:
        InputError: it cannot be read or is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, None, f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(path, None, f"no JSON: {error}") from None
    try:
        rows(document)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise InputError(path, None, "is no file of lossproof bench --json") from None
    return dict(document)


def key_of(row: Mapping[str, Any]) -> Key:
    """Backend, workload, direction and number of threads of a row of the file."""
    extra = row["extra_info"]
    return extra["adapter"], extra["workload"], extra["direction"], int(extra["threads"])


def by_key(document: Mapping[str, Any]) -> dict[Key, Mapping[str, Any]]:
    """The rows of the file."""
    return {key_of(row): row for row in document["benchmarks"]}


def rows(document: Mapping[str, Any]) -> dict[Key, list[float]]:
    """What each start of each row gave."""
    return {key_of(row): start_ratios(row) for row in document["benchmarks"]}


def start_ratios(row: Mapping[str, Any]) -> list[float]:
    """Per start, the median of timings over copies of the same rounds.

    A slower or busier machine changes these ratios least. A condensed file has them instead of samples.

    Raises:
        KeyError, TypeError, ValueError: the row has no samples with a copy and a start each.
    """
    extra = row["extra_info"]
    if "time_over_copy" in extra:
        kept = np.asarray(extra["time_over_copy"], float)
    else:
        times = [np.asarray(data, float) for data in (row["stats"]["data"], extra["copy_s"])]
        if not all(data.ndim == 1 and data.size and np.isfinite(data).all() for data in times):
            raise ValueError("no samples")
        if not all((data > 0).all() for data in times):
            raise ValueError("something took no time")
        ratios = times[0] / times[1]
        if len(extra["starts"]) != len(ratios):
            raise ValueError("not a start for each sample")
        kept = start_medians(ratios, extra["starts"])
    if kept.ndim != 1 or not kept.size or not (np.isfinite(kept) & (kept > 0)).all():
        raise ValueError("no samples")
    return [float(ratio) for ratio in kept]


def copy_share(row: Mapping[str, Any]) -> Interval:
    """Copying as many bytes over the time taken, with its interval: 1 is as fast as copying.

    Raises:
        KeyError, TypeError, ValueError: as ``start_ratios``.
    """
    return over_starts([1 / ratio for ratio in start_ratios(row)])


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Compared]:
    """What both have, in the order of the new file.

    The intervals hold together: the chance that one of them all is wrong is one in twenty (Bonferroni).
    """
    before, after = rows(old), rows(new)
    both = [key for key in after if key in before]
    confidence = 1 - (1 - CONFIDENCE) / max(len(both), 1)
    for key in both:
        yield Compared(key, change(after[key], before[key], confidence))
