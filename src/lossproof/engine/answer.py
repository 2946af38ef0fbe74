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
from lossproof.core.verdicts import ProcessFault, RemoteError
from lossproof.errors import Unsupported

Bound = tuple[Call, Mapping[str, Any], Any]
"""A call, its native arrays, and its native cotangent or None."""


@dataclass
class Answer:
    """What an adapter gave for a case: NumPy outputs, and per output what was raised instead."""

    outputs: dict[str, Any] = field(default_factory=dict)
    raised: dict[str, BaseException] = field(default_factory=dict)
    broken: str | None = None
    """Why what was raised is no answer of the backend to these inputs, if it is none."""


def answer_to(adapter: Adapter, bind: Callable[[], Bound], wanted: Sequence[str]) -> Answer:
    """Make the call that ``bind`` builds, and the gradients' where ``wanted`` names any; nothing is raised.

    ``bind`` is called once more where the gradients fail: the arrays of the first call may be spoilt.
    """
    answer = Answer()
    wrt = tuple(name.removeprefix("gradients.") for name in wanted if name != "value")
    try:
        call, arrays, cotangent = bind()
    except (Exception, SystemExit) as error:
        answer.raised = dict.fromkeys(wanted, error)
        return answer
    try:
        answer.outputs = call_outputs(adapter, call, arrays, wrt, cotangent)
    except ProcessFault as fault:
        answer.raised = dict.fromkeys(wanted, fault)
    except (Exception, SystemExit) as error:
        answer.raised = dict.fromkeys(wanted, error)
        if wrt:
            # The value may be fine all the same; ask for it alone.
            _ask_value(adapter, bind, answer)
    return answer


def _ask_value(adapter: Adapter, bind: Callable[[], Bound], answer: Answer) -> None:
    try:
        call, arrays, _ = bind()
        answer.outputs = call_outputs(adapter, call, arrays, (), None)
        del answer.raised["value"]
    except (Exception, SystemExit) as error:
        answer.raised["value"] = error


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
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("to_numpy gave a masked array, whose mask says nothing here: give a plain array")
    plain = np.asarray(array)
    if plain.dtype.name not in ARRAY_TYPES:
        raise TypeError(f"to_numpy gave dtype {plain.dtype}; there are {', '.join(ARRAY_TYPES)}")
    # The order of bytes in memory is no difference of dtypes.
    return plain.astype(plain.dtype.newbyteorder("="), copy=False)


# As much is kept of an exception's text, and of all that is said of it.
_TEXT, _MESSAGE = 300, 600

# Names of what an adapter raises by its own mistakes, and no framework for an input.
_MISTAKES = frozenset({
    "AttributeError", "ImportError", "IndentationError", "ModuleNotFoundError", "NameError", "SyntaxError",
    "SystemExit", "TabError", "UnboundLocalError",
})  # fmt: skip


def mistake(error: BaseException) -> bool:
    """Whether an error is of the adapter's own making, also where it comes as text."""
    name = str(error).partition(":")[0] if isinstance(error, RemoteError) else type(error).__name__
    return name in _MISTAKES


def describe(error: BaseException) -> str:
    """Type and first lines of what was raised, on one line that UTF-8 can say; of some, the text alone.

    What comes over a pipe is described there, and here once more: that changes nothing.
    """
    try:
        text = str(error)
    except Exception as another:
        text = f"(its text raises {type(another).__name__})"
    text = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    if not isinstance(error, (ProcessFault, RemoteError, Unsupported)):  # which say what they are
        text = f"{type(error).__name__}: {text[:_TEXT]}" if text else type(error).__name__
    return text[:_MESSAGE].rstrip()
