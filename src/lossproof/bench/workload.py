"""What is timed: a workload in a dtype, forward or with its gradients, and what it must move."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.case.read import load_cases
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.resources import folder

# Operations per element that the definition needs, forward and for the gradients: additions,
# multiplications, divisions, comparisons, and exponentials and logarithms as one each.
_FLOPS = {
    "l2_loss": (3, 3),
    "sigmoid": (4, 3),
    "softmax": (5, 4),
    "softmax_cross_entropy": (6, 3),
    "sparse_softmax_cross_entropy": (4, 3),
    "binary_cross_entropy": (7, 5),
    "sigmoid_cross_entropy": (8, 6),
    "pspnet_loss": (4, 3),
    "mask_rcnn_mask_loss_with_logits": (8, 6),
}


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
        function = self.case.function.name
        shape = self.case.shape_of(self.case.function.wrt[0])
        if function.startswith("mask_rcnn"):
            return self._positives * shape[2] * shape[3]
        return math.prod(shape)

    @property
    def bytes(self) -> int:
        """What any implementation must read and write: the inputs that count once, and the results."""
        item = FLOAT_TYPES[self.dtype].numpy.itemsize
        moved = self.size * item
        for array in self.case.function.arrays:
            if array.name == self.case.function.wrt[0]:
                continue
            elements = math.prod(self.case.shape_of(array.name))
            if self.case.function.name == "pspnet_loss":
                elements = math.prod(self.case.shape_of("logits")[:3])  # labels that are sampled
            if array.name == "target_masks":
                elements = self.size  # masks of positive RoIs
            moved += elements * (8 if array.integer else item)
        return moved + self.result_bytes

    @property
    def result_bytes(self) -> int:
        """The size of the result and the gradients."""
        assert self.case.expected is not None
        shapes = [self.case.expected["value"].shape, *(self.case.shape_of(name) for name in self.wrt)]
        return sum(map(math.prod, shapes)) * FLOAT_TYPES[self.dtype].numpy.itemsize

    @property
    def flops(self) -> int:
        forward, backward = _FLOPS[self.case.function.name]
        return self.size * (forward + (backward if self.backward else 0))

    @property
    def _positives(self) -> int:
        return int(np.count_nonzero(materialize(self.case.inputs["target_class_ids"], True)))


def workloads(patterns: Iterable[str] = (), dtypes: Iterable[str] = ()) -> list[Workload]:
    """The workloads whose names contain one of the patterns, in the dtypes; all by default."""
    patterns, dtypes = tuple(patterns), tuple(dtypes)
    return [
        work
        for work in _all()
        if (not dtypes or work.dtype in dtypes)
        and (not patterns or any(pattern in work.name for pattern in patterns))
    ]


@cache
def _all() -> list[Workload]:
    return [
        Workload(case, dtype, backward)
        for case in load_cases([folder("workloads")])
        for dtype in case.dtypes
        for backward in (False, True)
    ]
