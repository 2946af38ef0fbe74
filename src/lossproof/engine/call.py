"""Make a case's call on an adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lossproof.adapter import Adapter, Call
from lossproof.case.arrays import (
    numpy_arrays,
    numpy_cotangent,
    numpy_parameters,
    numpy_tangents,
    repeated,
)
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.raised import own
from lossproof.engine.answer import Answer, Bound, answer_to
from lossproof.errors import Unsupported


def prepare(adapter: Adapter, case: Case, dtype: str) -> Callable[[], Bound]:
    """Make the call's arrays; what comes back hands them to the adapter."""
    arrays = numpy_arrays(case, dtype)
    parameters = numpy_parameters(case, dtype)
    cotangent = numpy_cotangent(case, dtype)

    def bind() -> Bound:
        # One array at a time: where a backend copies, the next one finds room.
        native = {name: adapter.from_numpy(repeated(array, case.times)) for name, array in arrays.items()}
        bound = {
            name: adapter.from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in parameters.items()
        }
        weights = None if cotangent is None else adapter.from_numpy(repeated(cotangent, case.times))
        return Call(adapter, case.function.name, bound), native, weights

    return bind


def bind(adapter: Adapter, case: Case, dtype: str) -> Bound:
    """The call, its native arrays and its native cotangent (or None)."""
    return prepare(adapter, case, dtype)()


def ask(adapter: Adapter, case: Case, dtype: str, wanted: Sequence[str] = (), twice: bool = False) -> Answer:
    """Make the call, and the gradients' where the case has any; nothing is raised.

    Args:
        adapter: whom to ask.
        case: what to ask for.
        dtype: in which dtype.
        wanted: only these outputs.
        twice: make the call again with other numbers, to see what becomes of the first one's results.
    """
    wanted = list(wanted or case.expected or ())
    try:
        why = missing(adapter, case, dtype)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of a property, say
        return Answer(raised=dict.fromkeys(wanted, own(error)))
    if why:
        return Answer(raised=dict.fromkeys(wanted, Unsupported(why)))
    return answer_to(
        adapter,
        lambda: prepare(adapter, case, dtype),
        wanted,
        twice,
        lambda: tangents(adapter, case, dtype),
        case.function.weights,
    )


def tangents(adapter: Adapter, case: Case, dtype: str) -> dict[str, Any]:
    """The native directions of a case's derivatives, by array."""
    return {name: adapter.from_numpy(array) for name, array in numpy_tangents(case, dtype).items()}


def missing(adapter: Adapter, case: Case, dtype: str) -> str | None:
    """Why the adapter is not called at all, if it is not: it lacks the function or the dtype."""
    if getattr(adapter, case.function.name, None) is None:
        return f"the adapter defines no {case.function.name}"
    if dtype in FLOAT_TYPES and dtype not in adapter.dtypes:
        return f"the adapter does not list {dtype}"
    return None
