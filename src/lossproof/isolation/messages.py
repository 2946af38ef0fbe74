"""The messages between lossproof and an adapter's process; spec/protocol.schema.json is made of them.

What comes from an adapter may have fields of its own beside these.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from lossproof.adapter import ALL_DTYPES
from lossproof.core.dtypes import ARRAY_TYPES
from lossproof.core.form import Form, OneOf, instead, must
from lossproof.core.functions import FUNCTIONS
from lossproof.core.guest import Elsewhere
from lossproof.core.layout import LAYOUTS
from lossproof.registry.deviations import Deviation

VERSION: Final = 1
MAX_DIMENSIONS = 16
MAX_LENGTH = Elsewhere.longest

# What JSON has no numbers for.
SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf"), "-0": -0.0}
_DATA = instead(
    anyOf=[
        {"type": "string", "contentEncoding": "base64"},
        {"type": "array", "items": {"anyOf": [{"type": "number"}, {"enum": [*SPECIAL]}]}},
    ]
)

Length = Annotated[int, must(f"an integer from 0 to {MAX_LENGTH}", ge=0, le=MAX_LENGTH)]
Names = Annotated[tuple[str, ...], must("a list of names")]


class Array(Form, frozen=True, forbid_unknown_fields=False):
    """An array in row-major order: numbers, or as text the base64 of the little-endian bytes."""

    PARTS: ClassVar[bool] = True
    shape: Annotated[
        tuple[Length, ...], must(f"a list of at most {MAX_DIMENSIONS} lengths", max_length=MAX_DIMENSIONS)
    ]
    dtype: Annotated[Literal[tuple(ARRAY_TYPES)], must(f"one of {', '.join(ARRAY_TYPES)}")]  # type: ignore[valid-type]
    data: Annotated[str | list[Any], must("a list of numbers or base64 text"), Meta(extra_json_schema=_DATA)]
    layout: Literal[tuple(LAYOUTS)] | UnsetType = UNSET  # type: ignore[valid-type]


class Message(OneOf):
    """One message, a line of JSON."""

    __slots__ = ()


# -- to the adapter ----------------------------------------------------------------------------


class Start(Form, Message, frozen=True, tag_field="command", tag="start"):
    """Sent first."""

    protocol: Literal[1]


class Run(Form, Message, frozen=True, kw_only=True, tag_field="command", tag="run"):
    """Sent once per call."""

    id: Annotated[int, Meta(ge=1)]
    function: Literal[tuple(FUNCTIONS)]  # type: ignore[valid-type]
    arrays: dict[str, Array]
    parameters: dict[str, bool | int | float | str | tuple[int, int] | Array | None]
    wrt: Names
    cotangent: Array | UnsetType = UNSET
    derivative: Literal["jvp", "hvp"] | UnsetType = UNSET
    """Give this instead of the value and gradients, along the tangents; asked of adapters that have it."""
    tangents: dict[str, Array] = field(default_factory=dict)
    backward: Literal[1, 2] = 1
    """Which backward pass through the graph of the call the gradients are of; 2 of adapters that keep it."""
    threads: Annotated[int, must("a number of threads from 1 to 1024", ge=1, le=1024)] | UnsetType = UNSET
    """With how many threads; asked of adapters that can change their number."""
    twice: bool = False
    """Make the call again with other numbers, and say in ``kept`` what became of the first one's results."""


class Stop(Form, Message, frozen=True, tag_field="command", tag="stop"):
    """Sent last; there is no answer."""


Request = Start | Run | Stop


# -- from the adapter --------------------------------------------------------------------------


class AnswerToStart(Message):
    """What an adapter says when it is started."""

    __slots__ = ()


class AnswerToRun(Message):
    """What an adapter says to a call."""

    __slots__ = ()


class _Introduction(Form, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Who the adapter is."""

    protocol: Literal[1]
    name: Annotated[str, must("text", min_length=1, extra_json_schema={"maxLength": 100})]
    backend: str = ""
    """The framework; the name where it is left out."""
    version: str = "unknown"
    device: str = "cpu"


class Started(_Introduction, AnswerToStart, frozen=True, kw_only=True):
    """What an adapter can do."""

    SAYS: ClassVar[str] = "an adapter that has started says protocol 1, its name and its functions"
    skipped: ClassVar[None] = None
    functions: tuple[Literal[tuple(FUNCTIONS)], ...]  # type: ignore[valid-type]
    dtypes: tuple[Literal[ALL_DTYPES], ...] = ALL_DTYPES  # type: ignore[valid-type]
    encoding: Literal["any", "text", "base64"] = "any"
    derivatives: tuple[Literal["jvp", "hvp"], ...] = ()
    """Which of them it can give."""
    keeps_graph: bool = False
    """Whether a second backward pass can be asked for."""
    weight_gradients: bool = False
    """Whether ``wrt`` may name a parameter that is an array."""
    threads: bool = False
    """Whether the number of threads of a call can be asked for."""
    mixed: bool = False
    """Whether calls are those of automatic mixed precision, whose values for float16 and bfloat16 may be
    float32."""
    deviations: tuple[Deviation, ...] = ()
    sources: str = ""
    """Any text that changes with the adapter's own code, by which a resumed run tells whether it did."""


class Skipped(_Introduction, AnswerToStart, frozen=True, kw_only=True):
    """Why an adapter cannot run here."""

    functions: ClassVar[tuple[str, ...]] = ()
    dtypes: ClassVar[tuple[str, ...]] = ALL_DTYPES
    encoding: ClassVar[str] = "any"
    derivatives: ClassVar[tuple[str, ...]] = ()
    keeps_graph: ClassVar[bool] = False
    weight_gradients: ClassVar[bool] = False
    threads: ClassVar[bool] = False
    mixed: ClassVar[bool] = False
    deviations: ClassVar[tuple[Deviation, ...]] = ()
    sources: ClassVar[str] = ""
    skipped: str


class Refused(Form, AnswerToStart, frozen=True, forbid_unknown_fields=False):
    """Bad usage; lossproof exits with status 2 and this message."""

    refused: str


class Value(Form, AnswerToRun, frozen=True, forbid_unknown_fields=False):
    """The outputs of a call."""

    SAYS: ClassVar[str] = "an answer has an id, and one of value, error and unsupported"
    id: int
    value: Array
    gradients: dict[str, Array] = field(default_factory=dict)
    touched: Names | UnsetType = UNSET
    """The arrays (``cotangent`` among them) that the call changed; left out where it does not look."""
    kept: bool | UnsetType = UNSET
    """Whether a second call left the results of the first alone; left out where none was made."""
    shared: Names = ()
    """The outputs in memory that is an input's or another output's, and can be written to."""


class AlongTangents(Form, AnswerToRun, frozen=True, forbid_unknown_fields=False):
    """The derivative of the result along the tangents."""

    id: int
    jvp: Array


class OfGradients(Form, AnswerToRun, frozen=True, forbid_unknown_fields=False):
    """The derivatives of the gradients along the tangents, one for each array that has a tangent."""

    id: int
    hvp: dict[str, Array]


class Unsupported(Form, AnswerToRun, frozen=True, forbid_unknown_fields=False):
    """The backend has no such function or parameter."""

    id: int
    unsupported: str


class Raised(Form, AnswerToRun, frozen=True, forbid_unknown_fields=False):
    """What the backend raised."""

    id: int
    error: str


AnswerToStart.BY_KEY = {"refused": Refused, "skipped": Skipped}
AnswerToStart.OTHERWISE = Started
AnswerToRun.BY_KEY = {
    "unsupported": Unsupported,
    "error": Raised,
    "jvp": AlongTangents,
    "hvp": OfGradients,
}
AnswerToRun.OTHERWISE = Value
Message.BY_KEY = {"command": Request, **AnswerToStart.BY_KEY, "protocol": Started, **AnswerToRun.BY_KEY}
Message.OTHERWISE = Value
