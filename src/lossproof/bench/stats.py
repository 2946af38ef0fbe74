"""Medians, quartiles and intervals of timings.

What is repeated is the start of a process: where its memory lies, and how large its pages are, varies
more between two starts than time varies within one. So each start gives one number, its median, and
the interval of a ratio is Student's, over the logarithms of these numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossproof.bench.timings import Stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A ratio with its interval; from 0 to infinity where one start alone says nothing of it."""

    ratio: float
    low: float
    high: float

    def text(self) -> str:
        return f"{_short(self.ratio)} [{_short(self.low)}, {_short(self.high)}]"


def _short(ratio: float) -> str:
    # The interval of two starts can be hundreds of digits wide.
    return f"{ratio:.2f}" if ratio < 1e4 else f"{ratio:.0e}"


def summary(samples: Sequence[float]) -> Stats:
    """What the samples are like, as pytest-benchmark says it."""
    q1, median, q3 = np.percentile(samples, [25, 50, 75])
    return Stats(
        min=min(samples),
        max=max(samples),
        mean=float(np.mean(samples)),
        stddev=float(np.std(samples, ddof=1)) if len(samples) > 1 else 0.0,
        median=float(median),
        q1=float(q1),
        q3=float(q3),
        iqr=float(q3 - q1),
        rounds=len(samples),
        data=tuple(samples),
    )


def paired(samples: Sequence[float], others: Sequence[float], starts: Sequence[int]) -> Interval:
    """The ratio of timings that were made in the same rounds, over starts of the processes.

    What slows the machine down in a round slows both.
    """
    return over_starts(start_medians(np.asarray(samples) / np.asarray(others), starts))


def over_starts(ratios: npt.ArrayLike) -> Interval:
    """The ratio that each start gave a number for, with its interval."""
    logs = np.log(np.asarray(ratios, float))
    return _interval(float(np.mean(logs)), _variance(logs), len(logs) - 1, CONFIDENCE)


def change(new: Sequence[float], old: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The ratio of two sets of positive numbers, each of one start: Welch's interval of unequal variances."""
    logs = [np.log(np.asarray(data, float)) for data in (new, old)]
    difference = float(np.mean(logs[0]) - np.mean(logs[1]))
    if min(map(len, logs)) < 2:
        return _interval(difference, math.inf, 0, confidence)
    parts = [_variance(data) for data in logs]
    return _interval(difference, sum(parts), _freedom(parts, [len(data) for data in logs]), confidence)


def _freedom(variances: Sequence[float], sizes: Sequence[int]) -> int:
    """Welch and Satterthwaite's degrees of freedom of a sum of variances of means.

    Rounded down, which makes the interval slightly wider. The variances enter as shares of their sum:
    the squares of what barely varies would vanish.
    """
    total = sum(variances)
    if not total:
        return sum(sizes) - len(sizes)
    shares = [variance / total for variance in variances]
    freedom = 1 / sum(share**2 / (size - 1) for share, size in zip(shares, sizes, strict=True))
    # It lies between the least n − 1 and their sum; the rounding of the shares may not cost a whole one.
    return math.floor(freedom * (1 + 1e-9))


def start_medians(values: npt.ArrayLike, starts: Sequence[int]) -> npt.NDArray[np.float64]:
    """The median of each start's values."""
    values, of = np.asarray(values, float), np.asarray(starts)
    return np.array([np.median(values[of == start]) for start in np.unique(of)])


def _variance(logs: npt.NDArray[np.float64]) -> float:
    """The variance of their mean."""
    return float(np.var(logs, ddof=1) / len(logs)) if len(logs) > 1 else math.inf


def _interval(log: float, variance: float, freedom: int, confidence: float) -> Interval:
    if not math.isfinite(variance):
        return Interval(_exp(log), 0.0, math.inf)
    half = student(confidence, freedom) * math.sqrt(variance)
    return Interval(_exp(log), _exp(log - half), _exp(log + half))


def _exp(log: float) -> float:
    """The exponential, infinite where it is too large: two starts that differ say next to nothing."""
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf


def student(confidence: float, freedom: int) -> float:
    """The t that Student's distribution does not exceed in magnitude with this probability."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < confidence:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| ≤ t) (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, freedom, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if freedom > 1 else 0))
