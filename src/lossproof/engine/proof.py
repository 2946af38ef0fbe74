"""Whether a backend that raised answers a valid call of the same kind; a broken adapter never conforms.

Where the specification permits an error (a label outside of the classes, say), only one that the backend
raises for these inputs counts. So the same function is asked for the same shapes, dtype and parameters
with inputs that nothing is wrong with, once, before an error is taken as an answer.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from lossproof.adapter import Adapter
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, HALF_TYPES
from lossproof.engine.answer import Answer
from lossproof.engine.call import ask, prepare
from lossproof.engine.refusal import lacking, proven

# A number that is valid wherever one is due: as a logit, a probability, a target, a prediction.
VALID_NUMBER = 0.5
# A class that every function has; as a class id it is the background.
VALID_CLASS = 0


def ask_proven(adapter: Adapter, case: Case, dtype: str, twice: bool = False) -> Answer:
    """Make a case's call; of an error that might be permitted, say why it is none of the backend's if so."""
    answer = ask(adapter, case, dtype, twice=twice)
    return proven(answer, case.variants, lambda: failing_valid_call(adapter, case, dtype))


def failing_valid_call(adapter: Adapter, case: Case, dtype: str) -> str | None:
    """What a valid call of the shapes, dtype and parameters of a case gives instead of an answer, or None.

    The same call is made once per adapter.
    """
    key = _key(case, dtype)
    # Beside the adapter itself: adapters may be equal, or have no hash.
    known: dict[Hashable, str | None] = vars(adapter).setdefault("_lossproof_valid_calls", {})
    if key not in known:
        known[key] = _ask(adapter, case, dtype)
    return known[key]


def _key(case: Case, dtype: str) -> Hashable:
    shapes = tuple(case.shape_of(array.name) for array in case.function.arrays)
    return case.function.name, dtype, shapes, repr(sorted(case.parameters.items()))


def valid(case: Case) -> Case:
    """The case with valid inputs of the same shapes."""
    inputs = {
        array.name: {
            "full": VALID_CLASS if array.integer else VALID_NUMBER,
            "shape": list(case.shape_of(array.name)),
        }
        for array in case.function.arrays
    }
    return replace(case, inputs=inputs)


def _ask(adapter: Adapter, case: Case, dtype: str) -> str | None:
    assert case.expected is not None
    shape = case.expected["value"].shape
    dtypes = value_dtypes(case, dtype, bool(adapter.mixed))
    return lacking(adapter, lambda: prepare(adapter, valid(case), dtype), shape, dtypes)


def value_dtypes(case: Case, dtype: str, mixed: bool = False) -> tuple[str, ...]:
    """The dtypes that the value of a call in a dtype may have; none where it is integers."""
    if case.function.integer_result or dtype not in FLOAT_TYPES:
        return ()
    return (dtype, "float32") if (mixed or case.function.widens) and dtype in HALF_TYPES else (dtype,)
