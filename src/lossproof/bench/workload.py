"""What is timed: a workload in a dtype, forward or with its gradients, and what it must move."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

import numpy as np

from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.case.read import load_cases
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.functions import Array, Values
from lossproof.core.resources import folder
from lossproof.core.shapes import lengths_of, names, resolve


@dataclass(frozen=True)
class Workload:
    """One thing to time."""

    case: Case
    dtype: str
    backward: bool

    @property
    def direction(self) -> str:
        return "forward+backward" if self.backward else "forward"

    @property
    def name(self) -> str:
        return f"{self.case.function.name} {self.case.id.split('/')[-1]} {self.dtype}"

    @property
    def wrt(self) -> tuple[str, ...]:
        return self.case.wrt if self.backward else ()

    @property
    def size(self) -> int:
        """Elements of the array that leads the definition, those that the result depends on."""
        return self._used(self.case.function.leading)

    @property
    def bytes(self) -> int:
        """What any implementation must read and write: the inputs that count once, and the results."""
        item = FLOAT_TYPES[self.dtype].numpy.itemsize
        read = sum(self._used(array) * (8 if array.integer else item) for array in self.case.function.arrays)
        return read + self.result_bytes

    @property
    def result_bytes(self) -> int:
        """The size of the result and the gradients."""
        assert self.case.expected is not None
        shapes = [self.case.expected["value"].shape, *(self.case.shape_of(name) for name in self.wrt)]
        return sum(map(math.prod, shapes)) * FLOAT_TYPES[self.dtype].numpy.itemsize

    @property
    def flops(self) -> int:
        """Operations that the definition needs, exponentials and logarithms as one each."""
        forward, backward = self.case.function.operations
        return self.size * (forward + (backward if self.backward else 0))

    def _used(self, array: Array) -> int:
        """The elements of an array that the result depends on."""
        function = self.case.function
        shapes = {a.name: self.case.shape_of(a.name) for a in function.arrays}
        if not array.used:
            return math.prod(shapes[array.name])
        lengths = lengths_of(function, shapes, self.case.parameters)
        counted = {"K": self._positives} if "K" in names(array.used) else {}
        return math.prod(resolve(array.used, {}, lengths | counted, None))

    @property
    def _positives(self) -> int:
        """How many class ids are above 0."""
        (ids,) = (a.name for a in self.case.function.arrays if a.values is Values.CLASS_IDS)
        return int(np.count_nonzero(materialize(self.case.inputs[ids], True) > 0))


def workloads(patterns: Iterable[str] = (), dtypes: Iterable[str] = ()) -> list[Workload]:
    """The workloads whose names have the words of one of the patterns, in the dtypes; all by default.

    ``softmax`` is the function of this name alone; ``*softmax*`` is every one with it in its name, and
    ``classification-128x1000 float32`` two words that follow each other.
    """
    wanted, dtypes = [pattern.split() for pattern in patterns], tuple(dtypes)
    return [
        work
        for work in _all()
        if (not dtypes or work.dtype in dtypes)
        and (not wanted or any(_named(work.name.split(), words) for words in wanted))
    ]


def _named(words: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the pattern's words match some that follow each other."""
    return any(
        all(fnmatchcase(word, wanted) for word, wanted in zip(words[start:], pattern, strict=False))
        for start in range(len(words) - len(pattern) + 1)
    )


@cache
def _all() -> list[Workload]:
    return [
        Workload(case, dtype, backward)
        for case in load_cases([folder("workloads")])
        for dtype in case.dtypes
        for backward in (False, True)
    ]
