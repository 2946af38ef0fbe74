"""What a case file looks like; spec/case.schema.json is made of these classes.

What they cannot say (which arrays and parameters a function has, exact numbers, lengths that fit one
another, clauses that exist) is checked by ``lossproof.case.read``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from lossproof.case import expected as model
from lossproof.core.dtypes import Dtype
from lossproof.core.form import Form, Leaf, OneOf, instead, matching, must
from lossproof.core.functions import FUNCTIONS, REDUCTIONS, REQUIRED, Function
from lossproof.core.layout import LAYOUTS

# As many elements may a case's inputs and outputs have together, and the arrays that the expectations and
# tolerances of a file describe: an array of float64 of so many is 128 MiB.
MAX_ELEMENTS = 2**24
# As often may the arrays of a case be repeated, which are in memory as a whole only where it is run.
MAX_TIMES = 2**40
# Where errors are judged together there are so many rows at least, and so many elements of an output.
DISTRIBUTION_ROWS, DISTRIBUTION_ELEMENTS = 128, 2048

# To a parser that knows no hex floats they are text, as infinities and NaN are to some.
_NUMBER = {
    "type": ["number", "string"],
    "pattern": r"^[-+]?(0[xX][0-9a-fA-F]+(\.[0-9a-fA-F]*)?[pP][-+]?[0-9]+|\.(inf|nan))$",
}
_UNIQUE = {"uniqueItems": True}
_LAYOUT = must(f"one of {', '.join(LAYOUTS)}")

Number = Annotated[float, Meta(extra_json_schema=instead(**_NUMBER))]
Integer = Annotated[int, must("an integer of 64 bits", ge=-(2**63), le=2**63 - 1)]
Length = Annotated[int, must(f"an integer from 0 to {MAX_ELEMENTS}", ge=0, le=MAX_ELEMENTS)]
Times = Annotated[int, must(f"an integer from 1 to {MAX_TIMES}", ge=1, le=MAX_TIMES)]
Lengths = Annotated[tuple[Length, ...], must("a list of lengths")]
Words = Annotated[str, matching("[a-z0-9]+(-[a-z0-9]+)*", "lower-case words and numbers joined by hyphens")]
Dtypes = Annotated[tuple[Dtype, ...], Meta(min_length=1, extra_json_schema=_UNIQUE)]
Sentence = Annotated[str, must("a sentence", pattern=r"\S")]
Reason = Annotated[str, must("a sentence: vacuous gives a reason for each output", pattern=r"\S")]


# -- values of several forms -----------------------------------------------------------------


class Input(OneOf):
    """An array that goes in: listed or described."""

    __slots__ = ()
    SAYS: ClassVar[str] = "a number, nested lists, or a mapping with random, full or cycle"


class Expectation(OneOf):
    """An array that is due: listed, described, or where it is large by sums over it."""

    __slots__ = ()
    SAYS: ClassVar[str] = "a number, nested lists, or a mapping with full, cycle or sketch"


class Coefficients(OneOf):
    """A bound per element (spec/tolerances.md, T-9): u alone, or with a and eta."""

    __slots__ = ()
    SAYS: ClassVar[str] = "a number, nested lists, or a mapping with u"


class Tolerance(OneOf):
    """How far off an output may be: coefficients, for a sketch those of its sums and of its sample."""

    __slots__ = ()
    SAYS: ClassVar[str] = "a number, nested lists, or a mapping with u or with sums and sample"


class Part(OneOf):
    """A coefficient: one number, one for each element, or a description of these."""

    __slots__ = ()
    SAYS: ClassVar[str] = "a number, nested lists, or a mapping with full or cycle"


class Tensor(Leaf, Input, Expectation, Coefficients, Tolerance, Part):
    """A number, or nested lists of equal lengths."""

    __slots__ = ()
    SCHEMA: ClassVar[Mapping[str, Any]] = {
        "description": __doc__,
        "anyOf": [_NUMBER, {"type": "array", "items": {"$ref": "#/$defs/Tensor"}}],
    }


# -- arrays ------------------------------------------------------------------------------------


class Described(Form, frozen=True, kw_only=True):
    """An array by its lengths and by what fills it; ``diagonal``, ``blocks`` and ``set`` then change it.

    The diagonal are the elements whose last two indices are equal; a block has a range for every axis,
    whose end is exclusive.
    """

    shape: Lengths
    diagonal: Number | UnsetType = UNSET
    blocks: Annotated[
        tuple[tuple[tuple[tuple[Length, Length], ...], Number], ...],
        must("a list of [[[from, to] …], value]"),
    ] = ()
    set: Annotated[
        tuple[tuple[tuple[Length, ...], Number], ...], must("a list of [[index …], value]")
    ] = ()  # fmt: skip


class Full(Described, Input, Expectation, Part, frozen=True, kw_only=True):
    """One number, repeated."""

    full: Number


class Cycle(Described, Input, Expectation, Part, frozen=True, kw_only=True):
    """Some numbers, repeated in their order over the flattened array."""

    cycle: Annotated[tuple[Number, ...], must("numbers", min_length=1)]


class Random(Described, Input, frozen=True, kw_only=True, tag_field="random"):
    """Random numbers, specified to the bit in spec/generator.md."""

    KIND: ClassVar[str] = "random kind"
    seed: Annotated[int, must("0 … 2**64−1", ge=0, extra_json_schema={"maximum": 2**64 - 1})]


Bits = Annotated[int, must("1 … 53", ge=1, le=53)]


class Normal(Random, frozen=True, kw_only=True, tag="normal"):
    """Nearly normal numbers."""

    scale: Number = 1.0
    shift: Number = 0.0
    bits: Bits = 8


class Uniform(Random, frozen=True, kw_only=True, tag="uniform"):
    """Numbers between two others."""

    low: Number = 0.0
    high: Number = 1.0
    bits: Bits = 8


class Integers(Random, frozen=True, kw_only=True, tag="integers"):
    """Integers from ``low`` on that are below ``high``."""

    low: Integer = 0
    high: Integer


class Choice(Random, frozen=True, kw_only=True, tag="choice"):
    """One of some numbers, each time."""

    of: Annotated[tuple[float, ...], must("numbers", min_length=1)]


class OneHot(Random, frozen=True, kw_only=True, tag="one_hot"):
    """Rows of zeros, with a one in each."""


class Sums(Form, frozen=True, kw_only=True):
    """Sums over blocks of a flattened array times patterns of signs (spec/cases.md)."""

    shape: Lengths
    seed: Length
    sums: Tensor
    sample: Tensor


class Sketched(Form, Expectation, frozen=True, kw_only=True):
    """An array too large to list."""

    sketch: Sums


# -- outputs -----------------------------------------------------------------------------------


class Expected(Form, frozen=True, kw_only=True):
    """What the definition gives, correctly rounded to float64."""

    value: Expectation | UnsetType = UNSET
    gradients: dict[str, Expectation] = field(default_factory=dict)
    jvp: Expectation | UnsetType = UNSET
    hvp: dict[str, Expectation] = field(default_factory=dict)


class Bound(Form, Coefficients, Tolerance, frozen=True, kw_only=True):
    """Coefficients for all dtypes, each one number or one for each element."""

    u: Part
    a: Part = field(default_factory=lambda: Tensor(0))
    eta: Annotated[float, Meta(extra_json_schema={"minimum": 0})] = model.Tolerance.ETA


class OfSketch(Form, Tolerance, frozen=True, kw_only=True):
    """The tolerances of sums over blocks and of single elements."""

    sums: Coefficients
    sample: Coefficients


class Tolerances(Form, frozen=True, kw_only=True):
    """How far off each output may be."""

    value: Tolerance | UnsetType = UNSET
    gradients: dict[str, Tolerance] = field(default_factory=dict)
    jvp: Tolerance | UnsetType = UNSET
    hvp: dict[str, Tolerance] = field(default_factory=dict)


class Reasons(Form, frozen=True, kw_only=True):
    """Outputs that nonsense would pass (T-10), each with the reason."""

    value: Reason | UnsetType = UNSET
    gradients: dict[str, Reason] = field(default_factory=dict)
    jvp: Reason | UnsetType = UNSET
    hvp: dict[str, Reason] = field(default_factory=dict)


class Variant(Form, frozen=True, kw_only=True):
    """Another outcome that is permitted: raising, or other outputs."""

    SAYS: ClassVar[str] = "a variant is a mapping with a name"
    name: Words
    raises: bool = False
    value: Tensor | UnsetType = UNSET
    gradients: dict[str, Tensor] = field(default_factory=dict)
    jvp: Tensor | UnsetType = UNSET
    hvp: dict[str, Tensor] = field(default_factory=dict)


class DocumentedChoice(Form, frozen=True, kw_only=True):
    """What another definition gives that the field documents (spec/choices.md); the oracle's."""

    SAYS: ClassVar[str] = "a choice is a mapping with expected and tolerance"
    dtypes: Dtypes | UnsetType = UNSET
    expected: Expected
    tolerance: Tolerances


Input.BY_KEY = {"random": Normal | Uniform | Integers | Choice | OneHot, "full": Full, "cycle": Cycle}
Expectation.BY_KEY = {"full": Full, "cycle": Cycle, "sketch": Sketched}
Part.BY_KEY = {"full": Full, "cycle": Cycle}
Coefficients.BY_KEY = {"u": Bound}
Tolerance.BY_KEY = {"u": Bound, "sums": OfSketch}
Input.OTHERWISE = Expectation.OTHERWISE = Tensor
Coefficients.OTHERWISE = Tolerance.OTHERWISE = Part.OTHERWISE = Tensor


# -- cases -------------------------------------------------------------------------------------


class CaseEntry(Form, frozen=True, kw_only=True):
    """A case; people write the inputs and the reason, the oracle what is expected and tolerated."""

    id: Words
    clause: Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Z][A-Z0-9]*-[0-9]+$"})]
    level: Annotated[Literal["required", "recommended"], must("required or recommended")]
    thorough: bool = False
    distribution: bool = False
    why: Sentence
    dtypes: Dtypes
    inputs: dict[str, Input]
    times: Times = 1
    parameters: dict[str, Any] = field(default_factory=dict)
    cotangent: Input | UnsetType = UNSET
    tangents: dict[str, Input] = field(default_factory=dict)
    layout: dict[str, Annotated[Literal[tuple(LAYOUTS)], _LAYOUT]] = field(default_factory=dict)  # type: ignore[valid-type]
    wrt: Annotated[tuple[str, ...], Meta(extra_json_schema=_UNIQUE)] | UnsetType = UNSET
    expected: Expected | UnsetType = UNSET
    tolerance: Tolerances | UnsetType = UNSET
    vacuous: Reasons | UnsetType = UNSET
    variants: tuple[Variant, ...] = ()
    choices: dict[Words, DocumentedChoice] = field(default_factory=dict)


class CaseFile(Form, frozen=True, kw_only=True):
    """A case file: the rule in prose, and its cases."""

    SAYS: ClassVar[str] = "a case file is a mapping: function, about, cases"
    function: Literal[tuple(FUNCTIONS)]  # type: ignore[valid-type]
    about: Sentence
    thorough: bool = False
    cases: Annotated[tuple[CaseEntry, ...], must("a list with at least one case", min_length=1)]


# -- what the table says of a function ---------------------------------------------------------

_Positive = Annotated[int, must(f"an integer from 1 to {MAX_ELEMENTS}", ge=1, le=MAX_ELEMENTS)]
_PARAMETERS: Mapping[str, Any] = {
    "integer": Integer,
    "number": Annotated[float, must("a finite number", ge=-sys.float_info.max, le=sys.float_info.max)],
    "fraction": Annotated[float, must("a number from 0 to 1", ge=0, le=1)],
    "boolean": bool,
    "reduction": Annotated[Literal[REDUCTIONS], must(f"one of {', '.join(REDUCTIONS)}")],
    "array": Input,
    "size": Annotated[tuple[_Positive, _Positive], must("[height, width]")],
}


@cache
def inputs_of(function: Function) -> type[Form]:
    """A case's inputs by name."""
    return _struct("inputs", [(array.name, Any) for array in function.arrays])


@cache
def parameters_of(function: Function) -> type[Form]:
    """A case's parameters with the table's defaults; what is None by default cannot be given as null."""
    fields = [
        (
            parameter.name,
            _PARAMETERS[parameter.kind],
            *([] if parameter.default is REQUIRED else [parameter.default]),
        )
        for parameter in function.parameters
    ]
    return _struct("parameters", fields, LACKS=f"{function.name} has no parameter")


def _struct(name: str, fields: list[Any], **says: str) -> type[Form]:
    made: Any = msgspec.defstruct(name, fields, bases=(Form,), namespace=says, kw_only=True, frozen=True)
    form: type[Form] = made
    return form
