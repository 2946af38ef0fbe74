"""The inputs of a dtype by their bit patterns: magnitudes from 0 on, and a sign."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.sweeps.subjects import Domain, Subject

# Inputs of a call: as many magnitudes, of each sign.
BLOCK = 2**20
# Inputs that are compared at a time, whose temporaries stay in a core's cache.
CHUNK = 2**15


@dataclass(frozen=True)
class Patterns:
    """The bit patterns of a dtype of 16 or 32 bits."""

    dtype: str

    @cached_property
    def kind(self) -> FloatType:
        return FLOAT_TYPES[self.dtype]

    @cached_property
    def bits(self) -> int:
        return self.kind.numpy.itemsize * 8

    @property
    def per_binade(self) -> int:
        """Numbers between two powers of 2."""
        return 1 << (self.kind.precision - 1)

    @property
    def sign(self) -> int:
        """The bit that makes a pattern negative; magnitudes are below it."""
        return 1 << (self.bits - 1)

    @cached_property
    def infinity(self) -> int:
        """Infinity's pattern; those of NaN are above it."""
        return self.sign - self.per_binade

    @cached_property
    def one(self) -> int:
        return int(np.ones(1, self.kind.numpy).view(self._unsigned)[0])

    @cached_property
    def _unsigned(self) -> np.dtype[Any]:
        return np.dtype(f"u{self.bits // 8}")

    def numbers(self, first: int, last: int, negative: bool) -> npt.NDArray[Any]:
        """The numbers whose magnitudes have the patterns from ``first`` up to ``last``, without it."""
        patterns = np.arange(first, last, dtype=np.uint64).astype(self._unsigned)
        if negative:
            patterns |= self._unsigned.type(self.sign)
        return patterns.view(self.kind.numpy)

    def value(self, pattern: int) -> float:
        """The number of one pattern, sign included."""
        return float(np.array([pattern], self._unsigned).view(self.kind.numpy).astype(np.float64)[0])

    def pattern(self, value: float) -> int:
        """The pattern of a number, sign included."""
        return int(np.array([value], np.float64).astype(self.kind.numpy).view(self._unsigned)[0])

    @property
    def gap(self) -> int:
        """Inputs of a kind that are no further apart are listed as one range."""
        return 1 << max(self.bits - 10, 0)

    def end(self, subject: Subject) -> int:
        """The first magnitude that is not tried as a number."""
        return self.infinity if subject.domain is Domain.ALL else self.one + 1

    def signs(self, subject: Subject) -> tuple[bool, ...]:
        """Whether negative, of the signs that are tried."""
        return (False, True) if subject.domain is Domain.ALL else (False,)

    def inputs(self, subject: Subject) -> int:
        """How many numbers are tried."""
        return self.end(subject) * len(self.signs(subject))

    def ranges(self, subject: Subject) -> list[tuple[int, int]]:
        """What a sweep is divided into: as many magnitudes as a block has, or a binade of 32 bits.

        The last, if it begins at infinity, is that of infinities and NaN.
        """
        step = max(BLOCK, self.per_binade)
        end = self.end(subject)
        found = [(first, min(first + step, end)) for first in range(0, end, step)]
        return [*found, (self.infinity, self.sign)] if subject.domain is Domain.ALL else found

    def chunks(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Parts of a range of magnitudes, none across a power of 2."""
        while first < last:
            binade = (first // self.per_binade + 1) * self.per_binade
            end = min(last, binade, first + CHUNK)
            yield first, end
            first = end


def blocks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """A range of magnitudes in blocks, which begin at multiples of their length."""
    while first < last:
        end = min(last, (first // BLOCK + 1) * BLOCK)
        yield first, end
        first = end
