"""Read a value in the form that is due: plain data, JSON, or a JSON file; and write JSON."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from lossproof.core.escape import utf8
from lossproof.core.form import choose, convert, messages
from lossproof.core.misfit import Misfit, explain
from lossproof.errors import InputError

T = TypeVar("T")


class Malformed(ValueError):
    """A text is no JSON; ``line`` says where, as far as that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def fit(value: Any, form: type[T], what: str = "the file") -> T:
    """Plain data in the form that is due; messages call the whole of it ``what``.

    Raises:
        Misfit: it is not of that form.
    """
    try:
        return convert(value, form)
    except msgspec.ValidationError as error:
        raise explain(messages(error), value, form, what) from None


def decode(text: bytes, form: type[T], what: str = "the file") -> T:
    """JSON in the form that is due; messages call the whole of it ``what``.

    Raises:
        Misfit: it is not of that form.
        Malformed: it is no JSON.
    """
    try:
        known: Any = form
        value: T = _parse(text, _decoder(known))
        return value
    except msgspec.ValidationError as error:
        found = messages(error)
    try:
        # What is no JSON either is told so.
        data = _parse(text, _decoder(Any))
    except msgspec.ValidationError:
        data = msgspec.UNSET  # it holds a number that no float or integer of Python's can be
    raise explain(found, data, form, what)


def _parse(text: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 ({error.reason})") from None
    except msgspec.DecodeError as error:
        raise _malformed(str(error), text) from None


def load(path: Path, form: type[T]) -> T:
    """A JSON file in the form that is due.

    Raises:
        InputError: it cannot be read, is no JSON, or is of another form.
    """
    try:
        return decode(path.read_bytes(), form)
    except OSError as error:
        raise InputError(path, None, f"cannot be read: {error.strerror}") from None
    except Malformed as error:
        raise InputError(path, error.line, f"no JSON: {error}") from None
    except Misfit as error:
        raise InputError(path, None, str(error)) from None


def encode(value: Any) -> bytes:
    """JSON on one line; infinities and NaN are null, half a character that UTF-8 cannot say is an escape."""
    try:
        return msgspec.json.encode(value, enc_hook=_number)
    except UnicodeEncodeError:  # the text of an exception, or the name of a file
        return msgspec.json.encode(_encodable(msgspec.to_builtins(value, enc_hook=_number)))


def _number(value: Any) -> Any:
    """What msgspec calls for what it does not know: NumPy's numbers."""
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} is nothing that JSON has")


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, (list, tuple)) else value


@cache
def _decoder(form: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(form, dec_hook=choose)


def _malformed(message: str, text: bytes) -> Malformed:
    found = re.search(r"(.*) \(byte ([0-9]+)\)", message)
    if found is None:
        return Malformed("it ends too early")
    place = int(found[2])
    line = text.count(b"\n", 0, place) + 1
    special = re.match(rb"NaN|Infinity", text[place : place + 8])
    if special:
        name = "-" * (text[:place].endswith(b"-")) + special[0].decode()
        return Malformed(f'{name} is no JSON; write it as the text "{name}"', line)
    return Malformed(found[1].removeprefix("JSON is malformed: "), line)
