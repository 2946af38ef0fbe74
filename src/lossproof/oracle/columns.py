"""Columns of equally many elements of which most may be the same, so that each is worked out once.

Inputs of cases have few significant bits and repeat themselves; a definition gives the same for the
same, so that what is left to ball arithmetic are the distinct combinations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from lossproof.oracle.balls import Quantity, arb, nearest
from lossproof.oracle.bounds import Floats

Indices = npt.NDArray[np.int64]
T = TypeVar("T")


class Column(Generic[T]):
    """Elements in C order: the distinct ``values``, and ``at`` each place which of them stands there."""

    def __init__(self, values: Sequence[T], at: Indices | None = None) -> None:
        self.values = values
        self.at = np.arange(len(values)) if at is None else at

    def __len__(self) -> int:
        return len(self.at)

    def __iter__(self) -> Iterator[T]:
        return map(self.values.__getitem__, self.at.tolist())

    def __getitem__(self, place: int) -> T:
        value: T = self.values[self.at[place]]
        return value

    def take(self, places: npt.NDArray[Any] | slice) -> Self:
        """The elements at some places: a slice, their numbers or a mask."""
        return type(self)(self.values, self.at[places])


class Balls(Column[Quantity]):
    """Exact numbers, each a float or a ball."""

    @cached_property
    def rounded(self) -> Floats:
        """What each rounds to.

        Raises:
            Undecided: a ball spans two neighbouring float64 numbers.
        """
        return np.array([nearest(value) for value in self.values], dtype=np.float64)[self.at]

    @cached_property
    def sizes(self) -> Floats:
        """Magnitudes; 0 for what is not finite (it is compared for equality, not with a bound)."""
        return np.where(np.isfinite(self.rounded), np.abs(self.rounded), 0.0)

    def sum(self, times: npt.NDArray[Any] | None = None) -> Quantity:
        """The sum of all elements, each ``times`` a whole number; NaN and both infinities give NaN."""
        which, at = np.unique(self.at, return_inverse=True)
        weights = np.ones(len(self)) if times is None else times
        counts = np.bincount(at, weights, len(which))
        values = [self.values[i] for i in which.tolist()]
        lost = [isinstance(value, float) and not math.isfinite(value) for value in values]
        if any(lost):
            # They do not cancel, whatever their signs.
            there = np.array(lost)[at]
            with np.errstate(invalid="ignore"):
                return float(np.sum(self.rounded[there] * weights[there]))
        return _combination(values, counts)


def _combination(values: Sequence[Quantity], counts: npt.NDArray[Any]) -> Quantity:
    """Σ count·value of finite values and whole counts."""
    sum_: Quantity = arb(0)
    for value, count in zip(values, counts.tolist(), strict=True):
        if count == 1:
            sum_ += value
        elif count == -1:
            sum_ -= value
        elif count:
            sum_ += value * count
    return sum_


def column(array: npt.NDArray[Any] | Sequence[float]) -> Column[float]:
    """The distinct numbers of an array; zeros of both signs are one, and all NaN."""
    values, at = np.unique(np.asarray(array, dtype=np.float64).ravel(), return_inverse=True)
    return Column(values.tolist(), at)


def elementwise(function: Callable[..., Quantity], *columns: Column[Any]) -> Balls:
    """The function of the elements side by side, once for each combination."""
    first, at = combinations(*columns)
    arguments = (part.take(first) for part in columns)
    return Balls([function(*elements) for elements in zip(*arguments, strict=True)], at)


def combinations(*columns: Column[Any]) -> tuple[Indices, Indices]:
    """Of elements side by side, where each combination stands first, and at each place which it is."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for part in {id(part.at): part for part in columns if len(part.values) > 1}.values():
        # Numbered anew each time, so that no product leaves 64 bits.
        _, key = np.unique(key * len(part.values) + part.at, return_inverse=True)
    _, first, at = np.unique(key, return_index=True, return_inverse=True)
    return first, at


def sums_of_rows(elements: Balls, count: int) -> list[Quantity]:
    """The sums of so many equally long rows; NaN, and infinities of both signs, give NaN."""
    rows = Column(range(count), np.repeat(np.arange(count), len(elements) // max(count, 1)))
    first, at = combinations(rows, elements)
    return totals(count, rows.at[first], elements.take(first), np.bincount(at, minlength=len(first)))


def totals(count: int, groups: Indices, terms: Iterable[Quantity], times: Indices) -> list[Quantity]:
    """For each of ``count`` groups the sum of its terms, each counted so many times."""
    sums: list[Quantity] = [arb(0)] * count
    special = [0.0] * count
    for group, term, n in zip(groups.tolist(), terms, times.tolist(), strict=True):
        if isinstance(term, float) and not math.isfinite(term):
            special[group] += term
        else:
            sums[group] += term if n == 1 else term * n
    return [sum_ if extra == 0 else extra for sum_, extra in zip(sums, special, strict=True)]
