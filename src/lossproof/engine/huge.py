"""Huge cases: whether there is memory for one, before it is called."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from lossproof.adapter import Adapter
from lossproof.case.arrays import numpy_arrays
from lossproof.case.model import Case
from lossproof.core.dtypes import numpy_dtype
from lossproof.core.guest import Elsewhere, guest_of
from lossproof.core.memory import available, gib
from lossproof.engine.answer import Answer
from lossproof.engine.call import missing
from lossproof.errors import Unsupported

# Beside the arrays: what is made block by block on the way.
_MORE = 2**28
# How frameworks say that they could not have more. (An illegal access to memory is another matter.)
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|bad_alloc|MemoryError|RESOURCE_EXHAUSTED"
    r"|(can't|cannot|unable to|failed to|could not) allocate",
    re.IGNORECASE,
)


class Needed(NamedTuple):
    """Bytes that a huge case takes."""

    backend: int
    """The backend's arrays."""
    copying: int
    """What lies beside them in NumPy's memory while it is copied there or back."""


def too_large(adapter: Adapter, case: Case, dtype: str) -> str | None:
    """Why a huge case cannot be run on this adapter here, if it cannot."""
    longest = max(case.times * math.prod(case.shape_of(array.name)) for array in case.function.arrays)
    if isinstance(guest_of(adapter), Elsewhere):
        if longest <= Elsewhere.longest:
            return None
        return (
            f"an array of {longest:,} elements is not sent to a process of its own, {Elsewhere.longest:,} "
            "are: run a Python adapter in this one (--no-isolate, one job)"
        )
    try:
        if missing(adapter, case, dtype):
            return None  # the call, which is none, says so
    except KeyboardInterrupt:
        raise
    except BaseException:  # of a property, say: the call shows that, too
        return None
    need, free = needed(case, dtype), _free(adapter)
    if free is not None:
        places = [(need.backend, free, f" on {adapter.device}"), (need.copying + _MORE, available(), "")]
    else:
        here = need.backend + (need.copying if _copies(adapter, case, dtype) else 0)
        places = [(here, available(), "")]
    for size, room, where in places:
        if room is not None and size > room:
            return f"needs about {gib(size)} of memory{where}, {gib(room)} are available"
    return None


def needed(case: Case, dtype: str) -> Needed:
    """What a huge case takes of any implementation that does not waste memory.

    Inputs, results, and what is kept on the way: the log-probabilities of a loss, and for gradients those of
    them and what they are weighted with.
    """
    assert case.expected is not None
    size = numpy_dtype(dtype).itemsize
    inputs = [array.nbytes * case.times for array in numpy_arrays(case, dtype).values()]
    value = math.prod(case.expected["value"].shape) * case.times
    gradients = [math.prod(case.shape_of(name)) * case.times * size for name in case.wrt]
    outputs = value * (8 if case.function.integer_result else size) + sum(gradients)
    leading = math.prod(case.shape_of(case.function.leading.name)) * case.times * size
    kept = leading * (2 if gradients else 1) if "reduction" in case.parameters else 0
    if gradients or case.cotangent is not None:
        kept += value * size
    return Needed(sum(inputs) + outputs + kept + _MORE, max(*inputs, outputs))


def _free(adapter: Adapter) -> int | None:
    """What an adapter says is free on its device; None where it says nothing that is a number."""
    try:
        free = guest_of(adapter).visit(adapter.free_memory)
    except Exception:
        return None
    return free if isinstance(free, int) else None


def _copies(adapter: Adapter, case: Case, dtype: str) -> bool:
    """Whether an adapter turns NumPy's arrays into its own and back by copying them, tried on a small one."""
    array = numpy_arrays(case, dtype)[case.function.leading.name]
    try:
        back = guest_of(adapter).visit(lambda: adapter.to_numpy(adapter.from_numpy(array)))
        return not np.shares_memory(array, back)
    except Exception:  # whatever it is, the call will show it
        return True


def out_of_memory(answer: Answer) -> str | None:
    """Why a call is no answer that was broken off for want of memory, if it was."""
    for error in answer.raised.values():
        if not isinstance(error, Unsupported) and _NO_MEMORY.search(str(error)):
            return f"there was too little memory for it: {error}"
    return None
