"""JSON lines between lossproof and an adapter in a process of its own (spec/protocol.md).

Both sides of the protocol: what lossproof sends and how it reads the answers, and the reverse for
``lossproof.isolation.serve``. What comes from an adapter is not trusted: every message is checked field by
field, and a declared shape is checked before an array is made of it.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import UNSET, structs

from lossproof.core.dtypes import ARRAY_TYPES, FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.misfit import Misfit
from lossproof.core.shapes import result_shape
from lossproof.core.text import shortened
from lossproof.core.validate import Malformed, decode, encode, fit
from lossproof.isolation import messages
from lossproof.isolation.encode import encode_array
from lossproof.isolation.messages import MAX_LENGTH, SPECIAL, VERSION, Refused, Skipped, Started
from lossproof.registry.deviations import is_range

T = TypeVar("T")

# A start message is this long at most.
MAX_START = 2**22
# An answer has as many bytes at most for each element that is due, and so many more.
_BYTES, _MORE = 64, 2**26
# As much of a name, and of a reason, is kept.
_NAME, _REASON = 100, 4000


class ProtocolError(Exception):
    """A message is not what the protocol says; the text says how."""


@dataclass(frozen=True)
class Answer:
    """The outputs of one call, or what was raised instead."""

    value: npt.NDArray[Any] | None = None
    gradients: Mapping[str, npt.NDArray[Any]] | None = None
    error: str | None = None
    unsupported: str | None = None
    touched: Sequence[str] | None = None
    kept: bool | None = None
    shared: Sequence[str] = ()
    derivatives: Mapping[str, npt.NDArray[Any]] | None = None
    """What was asked for along tangents: ``jvp``, or those of the gradients by array."""


# -- arrays ----------------------------------------------------------------------------------


def decode_array(message: Any, what: str) -> npt.NDArray[Any]:
    """The array that a message holds; in C order, its ``layout`` left to the caller.

    Raises:
        ProtocolError: naming ``what`` and the field that is wrong.
    """
    if not isinstance(message, messages.Array):
        try:
            message = fit(message, messages.Array, what)
        except Misfit as error:
            raise ProtocolError(f"{what}: {error}") from None
    shape, dtype, data = message.shape, message.dtype, message.data
    size = math.prod(shape)
    if size > MAX_LENGTH:
        raise ProtocolError(f"{what}: shape {list(shape)} has more than {MAX_LENGTH} elements")
    flat = (
        _from_base64(data, size, ARRAY_TYPES[dtype], what)
        if isinstance(data, str)
        else _from_list(data, size, dtype, what)
    )
    return flat.reshape(shape)


def _from_base64(text: str, size: int, dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    length = size * dtype.itemsize
    if len(text) != -(-length // 3) * 4:
        raise ProtocolError(
            f"{what}: {size} elements of {dtype.name} do not fit {len(text)} base64 characters"
        )
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError(f"{what}: data is no base64: {error}") from None
    if len(raw) != length:
        raise ProtocolError(f"{what}: data holds {len(raw)} bytes where {length} are due")
    # A copy, because an adapter may write to its inputs.
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)


def _from_list(data: list[Any], size: int, dtype: str, what: str) -> npt.NDArray[Any]:
    if len(data) != size:
        raise ProtocolError(f"{what}: data has {len(data)} numbers where {size} are due")
    if dtype in FLOAT_TYPES:
        numbers = np.array([_number_from_json(item, what) for item in data], dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return numbers.astype(ARRAY_TYPES[dtype])
    if not all(_is_integer(item) for item in data):
        raise ProtocolError(f"{what}: data must hold integers")
    try:
        return np.array(data, dtype=ARRAY_TYPES[dtype])
    except OverflowError:
        raise ProtocolError(f"{what}: data holds an integer that is no {dtype}") from None


def _number_from_json(item: Any, what: str) -> float:
    if isinstance(item, float):
        return item
    if _is_integer(item):
        try:
            return float(item)
        except OverflowError:
            raise ProtocolError(f"{what}: data holds an integer too large for a number") from None
    if isinstance(item, str) and item in SPECIAL:
        return SPECIAL[item]
    raise ProtocolError(
        f'{what}: {shortened(repr(item))} is no number; there are "NaN", "Infinity", "-Infinity", "-0"'
    )


# -- what lossproof sends --------------------------------------------------------------------


def start_request() -> dict[str, Any]:
    return {"command": "start", "protocol": VERSION}


def run_request(
    number: int,
    function: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    parameters: Mapping[str, Any],
    wrt: Sequence[str],
    cotangent: npt.NDArray[Any] | None,
    encoding: str,
    twice: bool = False,
    derivative: str | None = None,
    tangents: Mapping[str, npt.NDArray[Any]] | None = None,
    backward: int = 1,
    threads: int | None = None,
) -> dict[str, Any]:
    """The message that asks for one call; ``derivative`` asks for that along ``tangents`` instead."""
    message: dict[str, Any] = {
        "command": "run",
        "id": number,
        "function": function,
        "arrays": {name: encode_array(array, encoding) for name, array in arrays.items()},
        "parameters": {
            name: encode_array(value, encoding) if isinstance(value, np.ndarray) else value
            for name, value in parameters.items()
        },
        "wrt": list(wrt),
    }
    if cotangent is not None:
        message["cotangent"] = encode_array(cotangent, encoding)
    if derivative is not None:
        message["derivative"] = derivative
        message["tangents"] = {
            name: encode_array(array, encoding) for name, array in (tangents or {}).items()
        }
    if backward != 1:
        message["backward"] = backward
    if threads is not None:
        message["threads"] = threads
    if twice:
        message["twice"] = True
    return message


def answer_limit(
    function: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    parameters: Mapping[str, Any],
    wrt: Sequence[str],
) -> int:
    """How long an answer may be: by what is due, and so much more that wrong shapes are seen as such."""
    shapes = {name: array.shape for name, array in arrays.items()}
    due = math.prod(result_shape(FUNCTIONS[function], shapes, parameters))
    elements = sum(int(np.size({**parameters, **arrays}[name])) for name in wrt)
    return _MORE + _BYTES * (due + elements)


def dump(message: Any) -> bytes:
    """One line."""
    return encode(message) + b"\n"


# -- reading ---------------------------------------------------------------------------------


def read_request(line: bytes) -> messages.Request:
    """What lossproof asks of an adapter.

    Raises:
        ProtocolError: naming what is wrong with it.
    """
    form: Any = messages.Request
    request: messages.Request = _read(line, form)
    return request


def read_start(line: bytes) -> Started | Skipped | Refused:
    """An adapter's answer to ``start``.

    Raises:
        ProtocolError: naming what is wrong with it.
    """
    answer: Any = _read(line, messages.AnswerToStart)
    if isinstance(answer, Refused):
        return Refused(answer.refused[:_REASON])
    name = answer.name[:_NAME]
    if not name.strip() or not name.isprintable():
        raise ProtocolError("name must be printable text")
    for deviation in answer.deviations:
        if not is_range(deviation.versions):
            raise ProtocolError(f"deviation {deviation.id!r}: versions must be any or a range like >=2.6,<3")
    texts = {"backend": answer.backend or name, "version": answer.version, "device": answer.device}
    texts = {"name": name, **{key: text[:_NAME] for key, text in texts.items()}}
    if isinstance(answer, Skipped):
        return structs.replace(answer, **texts, skipped=answer.skipped[:_REASON])
    started: Started = structs.replace(answer, **texts)
    return started


def read_answer(
    line: bytes, number: int, wrt: Sequence[str], derivative: str | None = None, names: Iterable[str] = ()
) -> Answer:
    """An adapter's answer to the ``run`` message with this id.

    Where that asked for a ``derivative`` there is nothing else; ``hvp`` has an array for each of ``names``.

    Raises:
        ProtocolError: naming what is wrong with it.
    """
    answer: Any = _read(line, messages.AnswerToRun)
    if answer.id != number:
        raise ProtocolError(f"an answer to message {shortened(str(answer.id))} where {number} was asked")
    if isinstance(answer, messages.Unsupported):
        return Answer(unsupported=answer.unsupported[:_REASON])
    if isinstance(answer, messages.Raised):
        return Answer(error=answer.error[:_REASON])
    if derivative is not None:
        return Answer(derivatives=_derivatives(answer, derivative, names))
    if not isinstance(answer, messages.Value):
        raise ProtocolError("an answer with a derivative that was not asked for")
    missing = [name for name in wrt if name not in answer.gradients]
    if missing:
        raise ProtocolError(f"gradients lacks {', '.join(missing)}")
    gradients = {name: decode_array(answer.gradients[name], f"gradients.{name}") for name in wrt}
    return Answer(
        decode_array(answer.value, "value"),
        gradients,
        touched=None if answer.touched is UNSET else answer.touched,
        kept=None if answer.kept is UNSET else answer.kept,
        shared=answer.shared,
    )


def _derivatives(answer: Any, derivative: str, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    found = getattr(answer, derivative, None)
    if found is None:
        raise ProtocolError(f"an answer without {derivative}, which was asked for")
    if derivative == "jvp":
        return {"jvp": decode_array(found, "jvp")}
    missing = [name for name in names if name not in found]
    if missing:
        raise ProtocolError(f"hvp lacks {', '.join(missing)}")
    return {name: decode_array(found[name], f"hvp.{name}") for name in names}


def _read(line: bytes, form: type[T]) -> T:
    try:
        return decode(line, form, "the message")
    except Malformed as error:
        seen = shortened(repr(line[:80].decode("utf-8", "replace")))
        raise ProtocolError(f"no JSON ({error}): {seen}") from None
    except Misfit as error:
        raise ProtocolError(str(error)) from None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
