"""What an adapter gives for a call, or what it raises instead.

Knows adapters and nothing of cases, so that standalone scripts can carry its source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter, Call
from lossproof.core.dtypes import ARRAY_TYPES
from lossproof.core.guest import guest_of
from lossproof.core.raised import describe, own
from lossproof.core.verdicts import ProcessFault

Bound = tuple[Call, Mapping[str, Any], Any]
"""A call, its native arrays, and its native cotangent or None."""

Prepare = Callable[[], Callable[[], Bound]]
"""Makes fresh arrays; what it gives hands them to the adapter, which is the adapter's code already."""


@dataclass
class Answer:
    """What an adapter gave for a case: NumPy outputs, and per output what was raised instead.

    What was raised is ``own`` of it (``lossproof.core.raised``), whatever it was.
    """

    outputs: dict[str, Any] = field(default_factory=dict)
    raised: dict[str, Exception] = field(default_factory=dict)
    broken: str | None = None
    """Why what was raised is no answer of the backend to these inputs, if it is none."""


def answer_to(adapter: Adapter, prepare: Prepare, wanted: Sequence[str]) -> Answer:
    """Make the call that ``prepare`` is for, and the gradients' if ``wanted`` names any; nothing is raised.

    It is prepared once more where the gradients fail: the arrays of the first call may be spoilt.
    """
    answer = Answer()
    wrt = tuple(name.removeprefix("gradients.") for name in wanted if name != "value")
    try:
        answer.outputs = _outputs(adapter, prepare(), wrt)
    except Exception as error:
        answer.raised = dict.fromkeys(wanted, own(error))
        if wrt and not isinstance(error, ProcessFault):
            # The value may be fine all the same; ask for it alone.
            _ask_value(adapter, prepare, answer)
    return answer


def _ask_value(adapter: Adapter, prepare: Prepare, answer: Answer) -> None:
    try:
        answer.outputs = _outputs(adapter, prepare(), ())
        del answer.raised["value"]
    except Exception as error:
        answer.raised["value"] = own(error)


def _outputs(
    adapter: Adapter, bind: Callable[[], Bound], wrt: tuple[str, ...]
) -> dict[str, npt.NDArray[Any]]:
    def act() -> dict[str, npt.NDArray[Any]]:
        call, arrays, cotangent = bind()
        return call_outputs(adapter, call, arrays, wrt, cotangent if wrt else None)

    return guest_of(adapter).visit(act)


def call_outputs(
    adapter: Adapter, call: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], cotangent: Any
) -> dict[str, npt.NDArray[Any]]:
    """Make one call, with gradients where ``wrt`` names any; NumPy outputs by name."""
    if not wrt:
        return {"value": _numpy(adapter, adapter.evaluate(call, arrays))}
    # Only a case that gives a cotangent needs an adapter that takes one.
    extra = {} if cotangent is None else {"cotangent": cotangent}
    value, gradients = adapter.value_and_gradients(call, arrays, wrt, **extra)
    outputs = {"value": _numpy(adapter, value)}
    for name in wrt:
        outputs[f"gradients.{name}"] = _numpy(adapter, gradients[name])
    return outputs


def _numpy(adapter: Adapter, native: Any) -> npt.NDArray[Any]:
    array = adapter.to_numpy(native)
    if not isinstance(array, (np.ndarray, np.generic)):
        raise TypeError(f"to_numpy gave {type(array).__name__}, not a NumPy array")
    # A conversion to a plain array drops the mask, and shows what stands where nothing does.
    for who, given in (("the function", native), ("to_numpy", array)):
        if isinstance(given, np.ma.MaskedArray):
            raise TypeError(f"{who} gave a masked array, whose mask says nothing here: give a plain array")
    plain = np.asarray(array)
    if plain.dtype.name not in ARRAY_TYPES:
        raise TypeError(f"to_numpy gave dtype {plain.dtype}; there are {', '.join(ARRAY_TYPES)}")
    # The order of bytes in memory is no difference of dtypes.
    return plain.astype(plain.dtype.newbyteorder("="), copy=False)


# Names of what an adapter raises by its own mistakes, and no framework for an input.
_MISTAKES = frozenset({
    "AttributeError", "ImportError", "IndentationError", "ModuleNotFoundError", "NameError", "SyntaxError",
    "SystemExit", "TabError", "UnboundLocalError",
})  # fmt: skip


def mistake(error: Exception) -> bool:
    """Whether an error is of the adapter's own making."""
    return describe(error).partition(":")[0] in _MISTAKES
