"""What an adapter gives for a call, or what it raises instead.

Knows adapters and nothing of cases, so that standalone scripts can carry its source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter, Call
from lossproof.core.dtypes import ARRAY_TYPES
from lossproof.core.guest import Elsewhere, guest_of
from lossproof.core.raised import describe, own
from lossproof.core.verdicts import ProcessFault
from lossproof.errors import Unsupported

Bound = tuple[Call, Mapping[str, Any], Any]
"""A call, its native arrays, and its native cotangent or None."""

Prepare = Callable[[], Callable[[], Bound]]
"""Makes fresh arrays; what it gives hands them to the adapter, which is the adapter's code already."""

Tangents = Callable[[], Mapping[str, Any]]
"""Hands the directions of derivatives to the adapter, as its own arrays by name."""


# What larger arrays held is remembered by a digest, which takes no memory.
_REMEMBERED = 2**20

# What parameters are that are no arrays.
_PLAIN = (bool, int, float, str, tuple, type(None))


@dataclass
class Answer:
    """What an adapter gave for a case: NumPy outputs, and per output what was raised instead.

    What was raised is ``own`` of it (``lossproof.core.raised``), whatever it was.
    """

    outputs: dict[str, Any] = field(default_factory=dict)
    raised: dict[str, Exception] = field(default_factory=dict)
    broken: str | None = None
    """Why what was raised is no answer of the backend to these inputs, if it is none."""
    touched: Sequence[str] | None = None
    """The arrays that the call changed; None where nothing was given or that cannot be seen."""
    kept: bool | None = None
    """Whether a second call left the results of the first alone; None where none was made."""
    shared: Sequence[str] = ()
    """The results in memory that is an input's or another result's, as far as it was looked at."""


def answer_to(
    adapter: Adapter,
    prepare: Prepare,
    wanted: Sequence[str],
    twice: bool = False,
    tangents: Tangents | None = None,
    weights: Sequence[str] = (),
) -> Answer:
    """Make the call that ``prepare`` is for, and those of the derivatives that ``wanted`` names.

    Nothing is raised. The call is prepared once more where the gradients fail: the arrays of the first call
    may be spoilt. With ``twice`` the call is made again with other numbers, to see what becomes of the first
    one's results. ``jvp`` and ``hvp`` are asked for along ``tangents``, each in a call of its own, and so is
    the gradient with respect to each of the function's ``weights``.
    """
    answer = Answer()
    of_weights = [name for name in wanted if name in {f"gradients.{weight}" for weight in weights}]
    further = [name for name in wanted if name.partition(".")[0] in ("jvp", "hvp")]
    usual = [name for name in wanted if name not in (*further, *of_weights)]
    wrt = tuple(name.removeprefix("gradients.") for name in usual if name != "value")
    try:
        answer = _visit(adapter, prepare(), wrt, twice)
    except Exception as error:
        answer.raised = dict.fromkeys(usual, own(error))
        if isinstance(error, ProcessFault):
            answer.raised |= dict.fromkeys([*further, *of_weights], error)
            return answer
    if wrt and answer.raised:
        # The value may be fine all the same; ask for it alone, once the error keeps no arrays alive.
        _ask_value(adapter, prepare, answer)
    if further and tangents is not None:
        _ask_further(adapter, prepare, tangents, further, answer)
    for name in of_weights:
        _ask_weight(adapter, prepare, name, answer)
    return answer


def _ask_weight(adapter: Adapter, prepare: Prepare, output: str, answer: Answer) -> None:
    try:
        bind, name = prepare(), output.removeprefix("gradients.")
        found = guest_of(adapter).visit(lambda: weight_gradient(adapter, bind, name))
        answer.outputs[output] = found[output]
    except Exception as error:
        answer.raised[output] = own(error)


def weight_gradient(adapter: Adapter, bind: Callable[[], Bound], name: str) -> dict[str, Any]:
    """Ask for the gradient with respect to one weight, and for the value that comes with it.

    Most backends have it of some weights only, so what they raise is no answer to the inputs: it says why
    there is none.
    """
    if not adapter.weight_gradients:
        raise Unsupported("the adapter does not say that it gives gradients of weights")
    _refuse_others(adapter, "weight_gradients")
    call, arrays, cotangent = bind()
    arrays = {**arrays, name: call.parameters[name]}
    try:
        native = _native(adapter, call.taking((name,)), arrays, (name,), cotangent)
    except (ProcessFault, Unsupported):
        raise
    except Exception as error:
        raise Unsupported(f"no gradient with respect to {name}: {describe(error)}") from None
    return {output: _numpy(adapter, item) for output, item in native.items()}


def _ask_further(
    adapter: Adapter, prepare: Prepare, tangents: Tangents, wanted: Sequence[str], answer: Answer
) -> None:
    for kind in ("jvp", "hvp"):
        names = [name for name in wanted if name.partition(".")[0] == kind]
        if not names:
            continue
        try:
            ask = partial(jvp if kind == "jvp" else hvp, adapter, prepare(), tangents)
            found = guest_of(adapter).visit(ask)
            answer.outputs |= {name: found[name] for name in names}
        except Exception as error:
            answer.raised |= dict.fromkeys(names, own(error))


def _refuse_others(adapter: Adapter, method: str) -> None:
    """Refuse a derivative that is not of the gradients which the adapter gives.

    A class that differentiates by itself inherits what a class above it derives from the function.
    """
    order = type(adapter).__mro__
    owner, own = (
        next(place for place, cls in enumerate(order) if name in vars(cls))
        for name in (method, "value_and_gradients")
    )
    if owner > own and order[owner] is not Adapter:  # which says itself that it has none
        raise Unsupported(f"the adapter gives gradients of its own, and defines no {method} beside them")


def jvp(adapter: Adapter, bind: Callable[[], Bound], tangents: Tangents) -> dict[str, Any]:
    """Ask for the derivative of a call's result."""
    _refuse_others(adapter, "jvp")
    call, arrays, _ = bind()
    return {"jvp": _numpy(adapter, adapter.jvp(call, arrays, tangents()))}


def hvp(adapter: Adapter, bind: Callable[[], Bound], tangents: Tangents) -> dict[str, Any]:
    """Ask for the derivatives of a call's gradients."""
    _refuse_others(adapter, "hvp")
    call, arrays, cotangent = bind()
    extra = {} if cotangent is None else {"cotangent": cotangent}
    found = adapter.hvp(call, arrays, tangents(), **extra)
    return {f"hvp.{name}": _numpy(adapter, array) for name, array in found.items()}


def ask_second_backward(adapter: Adapter, prepare: Prepare, wrt: tuple[str, ...]) -> Answer:
    """The gradients of a second backward pass through the graph of one call; nothing is raised."""
    try:
        bind = prepare()
        return Answer(guest_of(adapter).visit(lambda: second_backward(adapter, bind, wrt)))
    except Exception as error:
        return Answer(raised=dict.fromkeys([f"gradients.{name}" for name in wrt], own(error)))


def second_backward(adapter: Adapter, bind: Callable[[], Bound], wrt: tuple[str, ...]) -> dict[str, Any]:
    """Ask for the gradients of a second backward pass through the graph of a call, and for its value."""
    _refuse_others(adapter, "backward_twice")
    call, arrays, cotangent = bind()
    extra = {} if cotangent is None else {"cotangent": cotangent}
    value, gradients = adapter.backward_twice(call, arrays, wrt, **extra)
    native = {"value": value, **{f"gradients.{name}": gradients[name] for name in wrt}}
    return {name: _numpy(adapter, array) for name, array in native.items()}


@contextmanager
def with_threads(adapter: Adapter, count: int) -> Iterator[None]:
    """Have an adapter compute with so many threads.

    Raises:
        Unsupported: it cannot, for whatever reason.
    """
    guest = guest_of(adapter)
    try:
        changed = guest.visit(lambda: adapter.threads(count))
        guest.visit(changed.__enter__)
    except ProcessFault:
        raise
    except Exception as error:
        raise Unsupported(f"the number of threads cannot be changed: {describe(error)}") from None
    try:
        yield
    finally:
        guest.visit(lambda: changed.__exit__(None, None, None))


def _ask_value(adapter: Adapter, prepare: Prepare, answer: Answer) -> None:
    try:
        alone = _visit(adapter, prepare(), (), False)
        answer.outputs, answer.touched = alone.outputs, alone.touched
        del answer.raised["value"]
    except Exception as error:
        answer.raised["value"] = own(error)


def _visit(adapter: Adapter, bind: Callable[[], Bound], wrt: tuple[str, ...], twice: bool) -> Answer:
    return guest_of(adapter).visit(lambda: watched(adapter, bind, wrt, twice))


def watched(adapter: Adapter, bind: Callable[[], Bound], wrt: tuple[str, ...], twice: bool = False) -> Answer:
    """Make one call, with gradients where ``wrt`` names any, and see what it does beside."""
    guest = guest_of(adapter)
    elsewhere = isinstance(guest, Elsewhere)
    if isinstance(guest, Elsewhere):
        guest.twice, guest.touched, guest.kept, guest.shared = twice, None, None, ()
    call, arrays, cotangent = bind()
    if not wrt:
        cotangent = None
    given = {
        **arrays,
        **{name: item for name, item in call.parameters.items() if not isinstance(item, _PLAIN)},
        **({} if cotangent is None else {"cotangent": cotangent}),
    }
    before = None if elsewhere else _bits(adapter, given)
    native = _native(adapter, call, arrays, wrt, cotangent)
    answer = Answer({name: _numpy(adapter, item) for name, item in native.items()})
    if isinstance(guest, Elsewhere):
        answer.touched, answer.kept, answer.shared = guest.touched, guest.kept, guest.shared
        return answer
    after = None if before is None else _bits(adapter, given)
    if before is not None and after is not None:
        answer.touched = [name for name in given if before[name] != after[name]]
    if twice:
        answer.shared = _shared(adapter, answer.outputs, given)
        # A view of the backend's memory would change with it.
        answer.outputs = {name: array.copy() for name, array in answer.outputs.items()}
        with suppress(Exception):  # whether it answers these is another question
            others = {name: _other(adapter, array) for name, array in arrays.items()}
            _native(adapter, call, others, wrt, cotangent)
        answer.kept = all(
            _numpy(adapter, item).tobytes() == answer.outputs[name].tobytes() for name, item in native.items()
        )
    return answer


def _shared(adapter: Adapter, outputs: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The outputs that lie in the memory of an input, or of an output before them.

    What cannot be written to (JAX's arrays) may lie anywhere, and of what is copied from a device nothing
    is seen.
    """
    with suppress(Exception):
        others = [adapter.to_numpy(array) for array in given.values()]
        found = []
        for name, array in outputs.items():
            if array.flags.writeable and any(np.shares_memory(array, other) for other in others):
                found.append(name)
            others.append(array)
        return found
    return []


def _other(adapter: Adapter, array: Any) -> Any:
    """An array of the same shape and dtype with other numbers, which are valid wherever numbers are due."""
    plain = adapter.to_numpy(array)
    return adapter.from_numpy(np.full(plain.shape, 0 if plain.dtype.kind in "iu" else 0.5, plain.dtype))


def _native(
    adapter: Adapter, call: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], cotangent: Any
) -> dict[str, Any]:
    """The backend's own outputs by name."""
    if not wrt:
        return {"value": adapter.evaluate(call, arrays)}
    # Only a case that gives a cotangent needs an adapter that takes one.
    extra = {} if cotangent is None else {"cotangent": cotangent}
    value, gradients = adapter.value_and_gradients(call, arrays, wrt, **extra)
    return {"value": value, **{f"gradients.{name}": gradients[name] for name in wrt}}


def _bits(adapter: Adapter, arrays: Mapping[str, Any]) -> dict[str, bytes] | None:
    """What arrays hold, bit for bit; None where the adapter does not turn its own arrays back."""
    try:
        return {name: _remembered(adapter.to_numpy(array)) for name, array in arrays.items()}
    except Exception:
        return None


def _remembered(array: npt.NDArray[Any]) -> bytes:
    if array.nbytes <= _REMEMBERED:
        return array.tobytes()
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).digest()


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
