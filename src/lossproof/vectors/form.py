"""What ``lossproof export`` writes; spec/vectors.schema.json and vectors-index.schema.json are made of it.

docs/runner.md says what it means. Every number of an array is a text, so that no reader rounds it: a
hexadecimal float, or a decimal integer.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from lossproof.case.suite import DIGEST, NUMBER
from lossproof.core.dtypes import Dtype
from lossproof.core.form import Form, OneOf, matching, must
from lossproof.core.functions import REDUCTIONS
from lossproof.results.file import CasesSet

_FLOAT = r"-?0x[01](\.[0-9a-f]+)?p[+-][0-9]+|-?inf|nan"
_INTEGER = "-?[0-9]+"
Float = Annotated[str, matching(_FLOAT, "a hexadecimal float")]
Integer = Annotated[str, matching(_INTEGER, "a decimal integer")]
Number = Annotated[str, matching(f"{_FLOAT}|{_INTEGER}", "a hexadecimal float or a decimal integer")]
Length = Annotated[int, must("a length", ge=0, le=2**53 - 1)]
Shape = tuple[Length, ...]
Output = Annotated[str, matching(r"[a-z]+(\.[a-z_]+)*", "value or gradients.<array>")]
Suite = Annotated[str, matching(rf"{NUMBER}(\+changed)?", "a version, like 1.0")]
Digest = Annotated[str, matching(DIGEST, "32 hexadecimal digits")]
FunctionName = Annotated[str, matching("[a-z0-9_]+", "a function's name")]


class Tensor(OneOf):
    """An array, in C order: listed, one number repeated, or in the safetensors file beside."""

    __slots__ = ()
    SAYS: ClassVar[str] = "a mapping with data, full or tensor"


class Due(OneOf):
    """What an output may be: all of its elements, or sums over them and a sample."""

    __slots__ = ()
    SAYS: ClassVar[str] = "a mapping with expected or sketch"


class _Array(Form, frozen=True, kw_only=True):
    shape: Shape
    dtype: Dtype


class Listed(_Array, Tensor, frozen=True, kw_only=True):
    """Its elements."""

    data: tuple[Number, ...]


class Full(_Array, Tensor, frozen=True, kw_only=True):
    """One number, which all of its elements are."""

    full: Number


class Kept(_Array, Tensor, frozen=True, kw_only=True):
    """Its name in the safetensors file, where float16 and bfloat16 are F32."""

    tensor: Annotated[str, matching("t[0-9]+", "the name of a tensor")]


class Whole(Form, Due, frozen=True, kw_only=True):
    """All elements, as float64 or int64, and how far off each may be; 0 is exact."""

    expected: Tensor
    bound: Tensor


class Sums(Form, frozen=True, kw_only=True):
    """Sums over blocks of the flattened output times signs, and single elements (docs/runner.md)."""

    shape: Shape
    seed: Integer
    sums: Tensor
    sums_bound: Tensor
    places: Tensor
    sample: Tensor
    sample_bound: Tensor


class Sketched(Form, Due, frozen=True, kw_only=True):
    """What stands for an output too large to list."""

    sketch: Sums


Tensor.BY_KEY = {"data": Listed, "full": Full, "tensor": Kept}
Due.BY_KEY = {"expected": Whole, "sketch": Sketched}


class Parameter(Form, frozen=True, kw_only=True, omit_defaults=True):
    """A keyword parameter: exactly one of these, by its kind."""

    integer: Integer | None = None
    number: Float | None = None
    boolean: bool | None = None
    reduction: Literal[REDUCTIONS] | None = None  # type: ignore[valid-type]
    size: tuple[Length, Length] | None = None
    array: Tensor | None = None


class Variant(Form, frozen=True, kw_only=True, omit_defaults=True):
    """Another permitted outcome: raising, or outputs of which any one may be met."""

    name: str
    raises: bool = False
    outputs: dict[Output, Due] = field(default_factory=dict)


class Choice(Form, frozen=True, kw_only=True, omit_defaults=True):
    """An outcome that all outputs have to meet together; one that is not named stays as it is due."""

    name: str
    outputs: dict[Output, tuple[Due, ...]]
    """By output, what it may be."""
    dtypes: dict[Output, Dtype] = field(default_factory=dict)
    """Of outputs that have another dtype than the case."""


class Case(Form, frozen=True, kw_only=True):
    """One case in one dtype."""

    id: Annotated[str, matching("[a-z0-9_]+/[a-z0-9-]+/[a-z0-9-]+", "an id: function/topic/case")]
    clause: Annotated[str, matching("[A-Z][A-Z0-9]*-[0-9]+", "a clause's number, like CE-7")]
    level: Annotated[str, matching("required|recommended", "required or recommended")]
    why: str
    thorough: bool
    times: Annotated[int, must("a number from 1 up", ge=1)]
    """How often all its arrays lie one behind the other along the first axis, what is due among them."""
    distribution: bool = False
    """Whether its errors are judged together, too (spec/tolerances.md, T-13)."""
    needs: tuple[str, ...]
    inputs: dict[str, Tensor]
    parameters: dict[str, Parameter | None]
    cotangent: Tensor | None
    tangents: dict[str, Tensor]
    layout: dict[str, str]
    outputs: dict[Output, Due]
    variants: tuple[Variant, ...]
    choices: tuple[Choice, ...]


class Constants(Form, frozen=True, kw_only=True):
    """What judging in a dtype needs (spec/tolerances.md): ν and Ω."""

    smallest_normal: Float
    overflow_threshold: Float


class VectorsFile(Form, frozen=True, kw_only=True):
    """The cases of one function in one dtype."""

    SAYS: ClassVar[str] = "a file of vectors has schema, suite, digest, function, dtype and cases"
    schema: Literal[1]
    suite: Suite
    digest: Digest
    function: FunctionName
    dtype: Dtype
    constants: dict[Dtype, Constants]
    """Of the floating-point dtypes that outputs may have; none where all are integers."""
    cases: tuple[Case, ...]
    tensors: Annotated[str | None, Meta(description="the safetensors file beside, if there is any")]


class Argument(Form, frozen=True, kw_only=True):
    """An array that a function takes."""

    name: str
    integer: bool


class Function(Form, frozen=True, kw_only=True):
    """What a function takes, in the order of its arguments."""

    arrays: tuple[Argument, ...]
    parameters: tuple[str, ...]
    gradients: tuple[str, ...]
    """The arrays that it is differentiated with respect to."""


class Vectors(Form, frozen=True, kw_only=True):
    """One file of vectors."""

    function: FunctionName
    dtype: Dtype
    file: str
    tensors: str | None
    cases: Length


class Index(Form, frozen=True, kw_only=True):
    """``index.json``: what an export holds."""

    SAYS: ClassVar[str] = "an index of vectors has schema, suite, digest, cases, functions and vectors"
    schema: Literal[1]
    suite: Suite
    digest: Digest
    cases: CasesSet
    functions: dict[FunctionName, Function]
    vectors: tuple[Vectors, ...]
