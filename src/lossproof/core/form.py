"""What a value from outside looks like: classes that msgspec checks it against.

Case and deviations files, results, messages of adapters and timings are each described once, by classes
that derive from ``Form`` and stand beside the model that they feed. ``lossproof.core.validate`` reads
with them, ``lossproof.core.misfit`` says in words what does not fit, and ``lossproof.core.schema``
makes the JSON Schemas in spec/ of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

T = TypeVar("T")
INSTEAD = "instead"


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping with these fields and, unless a subclass says otherwise, no others."""

    SAYS: ClassVar[str] = ""
    """A sentence that completes the message where a value is no such mapping or lacks a field."""
    LACKS: ClassVar[str] = ""
    """How the message on an unknown field begins: softmax has no parameter."""
    PARTS: ClassVar[bool] = False
    """Whether a message names a field together with the value that it is a part of: dtype of value."""
    KIND: ClassVar[str] = ""
    """What the tag says, where the classes of a union are told apart by one."""


class OneOf:
    """A value of one of several forms, told apart by a key that only one of them has.

    What ``BY_KEY`` and ``OTHERWISE`` hold derives from the class, so that it is an instance once it is read.
    """

    __slots__ = ()

    BY_KEY: ClassVar[Mapping[str, Any]] = {}
    OTHERWISE: ClassVar[Any] = None
    """What has none of the keys; a ``Leaf`` is no mapping."""
    SAYS: ClassVar[str] = ""
    """What a message says that the value must be."""

    @classmethod
    def pick(cls, value: Any) -> Any:
        """The form that a value is to have, or None where none can fit."""
        if not isinstance(value, dict):
            return cls.OTHERWISE
        for key, form in cls.BY_KEY.items():
            if key in value:
                return form
        leaf = isinstance(cls.OTHERWISE, type) and issubclass(cls.OTHERWISE, Leaf)
        return None if leaf else cls.OTHERWISE


class Leaf:
    """A value that is looked into where more is known of it; ``SCHEMA`` says what it can be."""

    __slots__ = ("value",)

    SCHEMA: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, value: Any) -> None:
        self.value = value


def must(text: str, **constraints: Any) -> msgspec.Meta:
    """A field's constraints, and what a message says that it must be."""
    return msgspec.Meta(extra={"must": text}, **constraints)


def instead(**keywords: Any) -> dict[str, Any]:
    """For ``extra_json_schema``: what a JSON Schema says in the place of what msgspec would."""
    return {INSTEAD: keywords}


def matching(pattern: str, text: str) -> msgspec.Meta:
    """All of a text matches; in Python, ``$`` would let a newline follow it."""
    schema = instead(pattern=f"^({pattern})$")
    return must(text, pattern=rf"^(?:{pattern})\Z", extra_json_schema=schema)


def convert(value: Any, form: type[T]) -> T:
    """Plain data in the form that is due.

    Raises:
        msgspec.ValidationError: it is not of that form; ``messages`` says how.
    """
    return msgspec.convert(value, form, dec_hook=choose)


def choose(form: Any, value: Any) -> Any:
    """What msgspec calls for the classes that are no forms of its own."""
    if issubclass(form, Leaf):
        return form(value)
    if not issubclass(form, OneOf):
        raise NotImplementedError(f"{form} is no form")
    chosen = form.pick(value)
    try:
        if chosen is None:
            raise msgspec.ValidationError("none of the forms")
        return convert(value, chosen)
    except msgspec.ValidationError as error:
        raise _Within(error) from None


class _Within(ValueError):
    """An error inside of a ``OneOf``, where paths begin anew; msgspec makes it the cause of its own."""

    def __init__(self, error: msgspec.ValidationError) -> None:
        super().__init__("within")
        self.error = error


def messages(error: msgspec.ValidationError) -> list[str]:
    """What msgspec says, from the whole down to the part that is wrong."""
    found = [str(error)]
    while isinstance(error.__cause__, _Within):
        error = error.__cause__.error
        found.append(str(error))
    return found
