"""Make a case's call on an adapter and keep what it gives, or what it raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter, Call
from lossproof.case.arrays import numpy_arrays, numpy_parameters
from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, numpy_dtype
from lossproof.core.verdicts import ProcessFault, RemoteError
from lossproof.errors import Unsupported


@dataclass
class Answer:
    """What an adapter gave for a case: NumPy outputs, and per output what was raised instead."""

    outputs: dict[str, Any] = field(default_factory=dict)
    raised: dict[str, BaseException] = field(default_factory=dict)


def bind(adapter: Adapter, case: Case, dtype: str) -> tuple[Call, dict[str, Any], Any]:
    """The call, its native arrays and its native cotangent (or None)."""
    arrays = {name: adapter.from_numpy(a) for name, a in numpy_arrays(case, dtype).items()}
    parameters = {
        name: adapter.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in numpy_parameters(case, dtype).items()
    }
    cotangent = (
        None
        if case.cotangent is None
        else adapter.from_numpy(materialize(case.cotangent, False).astype(numpy_dtype(dtype)))
    )
    return Call(adapter, case.function.name, parameters), arrays, cotangent


def ask(adapter: Adapter, case: Case, dtype: str) -> Answer:
    """Make the call, and the gradients' where the case has any; nothing is raised."""
    wanted = list(case.expected or ())
    answer = Answer()
    why = _missing(adapter, case, dtype)
    if why:
        answer.raised = dict.fromkeys(wanted, Unsupported(why))
        return answer
    wrt = tuple(name.removeprefix("gradients.") for name in wanted if name != "value")
    try:
        call, arrays, cotangent = bind(adapter, case, dtype)
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
            _ask_value(adapter, case, dtype, answer)
    return answer


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
    return np.asarray(array)


def _ask_value(adapter: Adapter, case: Case, dtype: str, answer: Answer) -> None:
    try:
        call, arrays, _ = bind(adapter, case, dtype)
        answer.outputs = call_outputs(adapter, call, arrays, (), None)
        del answer.raised["value"]
    except (Exception, SystemExit) as error:
        answer.raised["value"] = error


def _missing(adapter: Adapter, case: Case, dtype: str) -> str | None:
    if getattr(adapter, case.function.name, None) is None:
        return f"the adapter defines no {case.function.name}"
    if dtype in FLOAT_TYPES and dtype not in adapter.dtypes:
        return f"the adapter does not list {dtype}"
    return None


def describe(error: BaseException) -> str:
    """Type and first lines of what was raised, on one line."""
    if isinstance(error, (ProcessFault, RemoteError)):
        return " ".join(str(error).split())[:600]  # says what it is itself
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
