"""Make a case's call on an adapter."""

from __future__ import annotations

import numpy as np

from lossproof.adapter import Adapter, Call
from lossproof.case.arrays import numpy_arrays, numpy_cotangent, numpy_parameters
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.engine.answer import Answer, Bound, answer_to
from lossproof.errors import Unsupported


def bind(adapter: Adapter, case: Case, dtype: str) -> Bound:
    """The call, its native arrays and its native cotangent (or None)."""
    arrays = {name: adapter.from_numpy(a) for name, a in numpy_arrays(case, dtype).items()}
    parameters = {
        name: adapter.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in numpy_parameters(case, dtype).items()
    }
    cotangent = numpy_cotangent(case, dtype)
    native = None if cotangent is None else adapter.from_numpy(cotangent)
    return Call(adapter, case.function.name, parameters), arrays, native


def ask(adapter: Adapter, case: Case, dtype: str) -> Answer:
    """Make the call, and the gradients' where the case has any; nothing is raised."""
    wanted = list(case.expected or ())
    why = missing(adapter, case, dtype)
    if why:
        return Answer(raised=dict.fromkeys(wanted, Unsupported(why)))
    return answer_to(adapter, lambda: bind(adapter, case, dtype), wanted)


def missing(adapter: Adapter, case: Case, dtype: str) -> str | None:
    """Why the adapter is not called at all, if it is not: it lacks the function or the dtype."""
    if getattr(adapter, case.function.name, None) is None:
        return f"the adapter defines no {case.function.name}"
    if dtype in FLOAT_TYPES and dtype not in adapter.dtypes:
        return f"the adapter does not list {dtype}"
    return None
