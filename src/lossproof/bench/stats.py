"""Medians, quartiles and intervals of timings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """A ratio with its 95 % interval."""

    ratio: float
    low: float
    high: float

    def text(self) -> str:
        return f"{self.ratio:.2f} [{self.low:.2f}, {self.high:.2f}]"


def summary(samples: Sequence[float]) -> dict[str, object]:
    """The fields of pytest-benchmark's ``stats``."""
    q1, median, q3 = np.percentile(samples, [25, 50, 75])
    return {
        "min": min(samples),
        "max": max(samples),
        "mean": float(np.mean(samples)),
        "stddev": float(np.std(samples, ddof=1)) if len(samples) > 1 else 0.0,
        "median": float(median),
        "q1": float(q1),
        "q3": float(q3),
        "iqr": float(q3 - q1),
        "rounds": len(samples),
        "iterations": 1,
        "data": list(samples),
    }


def paired(samples: Sequence[float], others: Sequence[float]) -> Interval:
    """The median over rounds of the ratio of two timings of one round.

    What slows the machine down in a round slows both. The interval is the bootstrap's percentiles.
    """
    return _interval(np.asarray(samples) / np.asarray(others))


def change(new: Sequence[float], old: Sequence[float]) -> Interval:
    """The ratio of the medians of two independent sets of samples, with its bootstrap interval."""
    random = np.random.default_rng(0)
    after, before = (_medians(np.asarray(data), random) for data in (new, old))
    low, high = np.percentile(after / before, [2.5, 97.5])
    return Interval(float(np.median(new) / np.median(old)), float(low), float(high))


def _interval(ratios: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Interval:
    low, high = np.percentile(_medians(ratios, np.random.default_rng(0)), [2.5, 97.5])
    return Interval(float(np.median(ratios)), float(low), float(high))


def _medians(
    data: np.ndarray[tuple[int, ...], np.dtype[np.float64]], random: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    drawn = random.integers(0, len(data), (RESAMPLES, len(data)))
    medians: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.median(data[drawn], axis=1)
    return medians
