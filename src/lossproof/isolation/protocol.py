"""JSON lines between lossproof and an adapter in a process of its own (spec/protocol.md).

Both sides of the protocol: what lossproof sends and how it reads the answers, and the reverse for
``lossproof.isolation.serve``. What comes from an adapter is not trusted: every message is checked field by
field, and a declared shape is checked before an array is made of it.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import ALL_DTYPES
from lossproof.core.dtypes import ARRAY_TYPES, FLOAT_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.isolation.encode import encode_array

VERSION = 1
MAX_DIMENSIONS = 16
MAX_LENGTH = 2**26
# A start message is this long at most; an answer's limit follows from what was asked.
MAX_START = 2**22

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "-0": -0.0}
_ENCODINGS = ("any", "text", "base64")


class ProtocolError(Exception):
    """A message is not what the protocol says; the text says how."""


@dataclass(frozen=True)
class Start:
    """What an adapter says of itself when it is started."""

    name: str
    backend: str
    version: str
    device: str
    dtypes: tuple[str, ...] = ALL_DTYPES
    functions: tuple[str, ...] = ()
    encoding: str = "any"
    skipped: str | None = None
    deviations: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        message = {"protocol": VERSION, "name": self.name, "backend": self.backend,
                   "version": self.version, "device": self.device}  # fmt: skip
        if self.skipped is not None:
            return {**message, "skipped": self.skipped}
        return {
            **message, "dtypes": list(self.dtypes), "functions": list(self.functions),
            "encoding": self.encoding, "deviations": list(self.deviations),
        }  # fmt: skip


@dataclass(frozen=True)
class Refused:
    """The adapter cannot be loaded at all: bad usage."""

    message: str


@dataclass(frozen=True)
class Answer:
    """The outputs of one call, or what was raised instead."""

    value: npt.NDArray[Any] | None = None
    gradients: Mapping[str, npt.NDArray[Any]] | None = None
    error: str | None = None
    unsupported: str | None = None


# -- arrays ----------------------------------------------------------------------------------


def decode_array(message: Any, what: str) -> npt.NDArray[Any]:
    """The array that a message holds; in C order, its ``layout`` left to the caller.

    Raises:
        ProtocolError: naming ``what`` and the field that is wrong.
    """
    message = _mapping(message, what)
    dtype = message.get("dtype")
    if not isinstance(dtype, str) or dtype not in ARRAY_TYPES:
        raise ProtocolError(f"{what}: dtype must be one of {', '.join(ARRAY_TYPES)}, not {_show(dtype)}")
    shape = message.get("shape")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ProtocolError(f"{what}: shape must be a list of at most {MAX_DIMENSIONS} lengths")
    if not all(_is_integer(length) and 0 <= length <= MAX_LENGTH for length in shape):
        raise ProtocolError(f"{what}: a length in shape must be an integer from 0 to {MAX_LENGTH}")
    size = math.prod(shape)
    if size > MAX_LENGTH:
        raise ProtocolError(f"{what}: shape {shape} has more than {MAX_LENGTH} elements")
    data = message.get("data")
    if isinstance(data, str):
        flat = _from_base64(data, size, ARRAY_TYPES[dtype], what)
    elif isinstance(data, list):
        flat = _from_list(data, size, dtype, what)
    else:
        raise ProtocolError(f"{what}: data must be a list of numbers or base64 text")
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
    if isinstance(item, str) and item in _SPECIAL:
        return _SPECIAL[item]
    raise ProtocolError(f'{what}: {_show(item)} is no number; there are "NaN", "Infinity", "-Infinity", "-0"')


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
) -> dict[str, Any]:
    """The message that asks for one call."""
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
    return message


def answer_limit(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    """How long an answer may be: every output is at most as large as all inputs together."""
    return 2**16 + 64 * sum(array.size for array in arrays.values())


def dump(message: Mapping[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("utf-8") + b"\n"


# -- reading ---------------------------------------------------------------------------------


def parse(line: bytes) -> dict[str, Any]:
    """One line as a JSON object.

    Raises:
        ProtocolError: it is none.
    """
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ProtocolError(
            f"no JSON ({reason[:120]}): {_show(line[:80].decode('utf-8', 'replace'))}"
        ) from None
    return _mapping(message, "the message")


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is no JSON; write it as the text "{name}"')


def read_start(line: bytes) -> Start | Refused:
    """An adapter's answer to ``start``.

    Raises:
        ProtocolError: naming what is wrong with it.
    """
    message = parse(line)
    if "refused" in message:
        return Refused(_text(message, "refused", 4000))
    if message.get("protocol") != VERSION:
        raise ProtocolError(f"protocol {_show(message.get('protocol'))} where {VERSION} is due")
    name = _text(message, "name", 100)
    if not name.strip() or not name.isprintable():
        raise ProtocolError("name must be printable text")
    start = Start(
        name=name,
        backend=_text(message, "backend", 100, default=name),
        version=_text(message, "version", 100, default="unknown"),
        device=_text(message, "device", 100, default="cpu"),
        skipped=_text(message, "skipped", 4000) if "skipped" in message else None,
    )
    if start.skipped is not None:
        return start
    deviations = message.get("deviations", [])
    if not isinstance(deviations, list):
        raise ProtocolError("deviations must be a list")
    encoding = message.get("encoding", "any")
    if encoding not in _ENCODINGS:
        raise ProtocolError(f"encoding must be one of {', '.join(_ENCODINGS)}, not {_show(encoding)}")
    return Start(
        start.name, start.backend, start.version, start.device,
        dtypes=_names(message, "dtypes", ALL_DTYPES, ALL_DTYPES),
        functions=_names(message, "functions", tuple(FUNCTIONS), None),
        encoding=encoding,
        deviations=tuple(_mapping(entry, "a deviation") for entry in deviations),
    )  # fmt: skip


def read_answer(line: bytes, number: int, wrt: Sequence[str]) -> Answer:
    """An adapter's answer to the ``run`` message with this id.

    Raises:
        ProtocolError: naming what is wrong with it.
    """
    message = parse(line)
    if message.get("id") != number:
        raise ProtocolError(f"an answer to message {_show(message.get('id'))} where {number} was asked")
    if "unsupported" in message:
        return Answer(unsupported=_text(message, "unsupported", 4000))
    if "error" in message:
        return Answer(error=_text(message, "error", 4000))
    if "value" not in message:
        raise ProtocolError("an answer has one of value, error and unsupported")
    value = decode_array(message["value"], "value")
    gradients = _mapping(message.get("gradients", {}), "gradients")
    missing = [name for name in wrt if name not in gradients]
    if missing:
        raise ProtocolError(f"gradients lacks {', '.join(missing)}")
    return Answer(value, {name: decode_array(gradients[name], f"gradients.{name}") for name in wrt})


def _mapping(message: Any, what: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise ProtocolError(f"{what} must be a JSON object, not {_show(message)}")
    return message


def _text(message: Mapping[str, Any], name: str, longest: int, default: str | None = None) -> str:
    value = message.get(name, default)
    if not isinstance(value, str):
        raise ProtocolError(f"{name} must be text, not {_show(value)}")
    return value[:longest]


def _names(
    message: Mapping[str, Any], name: str, known: tuple[str, ...], default: tuple[str, ...] | None
) -> tuple[str, ...]:
    value = message.get(name, default)
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ProtocolError(f"{name} must be a list of names")
    unknown = [item for item in value if item not in known]
    if unknown:
        raise ProtocolError(f"{name}: there is no {_show(unknown[0])}; there are {', '.join(known)}")
    return tuple(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
