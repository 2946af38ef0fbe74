"""Expectations and tolerances as the text that case files store."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import DocumentedChoice, Expected, Sketch, Tolerance
from lossproof.oracle.describe import LISTED_ELEMENTS, description

# Arrays of up to so many elements are listed whatever they hold.
LISTED = 16

T = TypeVar("T")

Stored = Mapping[str, tuple[str, ...]]
"""The lines of the fields ``expected`` and, where there are any, ``tolerance`` and ``choices``; at no
indentation."""


def render(
    expected: Mapping[str, Expected],
    tolerances: Mapping[str, Tolerance],
    integer: bool,
    choices: Sequence[DocumentedChoice] = (),
    dtypes: Sequence[str] = (),
) -> Stored:
    """What a case of these dtypes stores of its outputs; ``integer`` says that they are integers."""
    fields = {"expected": tuple(_expected(expected, integer))}
    if tolerances:
        fields["tolerance"] = tuple(_tolerances(tolerances))
    if choices:
        fields["choices"] = ("choices:", *(line for choice in choices for line in _choice(choice, dtypes)))
    return fields


def _choice(choice: DocumentedChoice, dtypes: Sequence[str]) -> Iterator[str]:
    yield f"  {choice.name}:"
    if choice.dtypes != tuple(dtypes):
        yield f"    dtypes: [{', '.join(choice.dtypes)}]"
    for line in (*_expected(choice.expected, False), *_tolerances(choice.tolerances)):
        yield f"    {line}"


def _expected(expected: Mapping[str, Expected], integer: bool) -> Iterator[str]:
    yield "expected:"
    for indent, name, item in _nested(expected):
        if item is None:
            yield f"{indent}{name}:"
        else:
            yield from _output(indent, name, item, integer)


def _tolerances(tolerances: Mapping[str, Tolerance]) -> Iterator[str]:
    yield "tolerance:"
    for indent, name, bound in _nested(tolerances):
        if bound is None:
            yield f"{indent}{name}:"
        else:
            yield from _bounds(indent, name, bound)


def _nested(outputs: Mapping[str, T]) -> Iterator[tuple[str, str, T | None]]:
    """Indentation, name and content of each output, those of several arrays below a name of their own."""
    above = ""
    for name in sorted(outputs, key=lambda name: _ORDER.index(name.partition(".")[0])):
        kind, _, array = name.partition(".")
        if array and kind != above:
            yield "  ", kind, None
        above = kind
        yield "    " if array else "  ", array or kind, outputs[name]


_ORDER = ("value", "gradients", "jvp", "hvp")


def _bounds(indent: str, name: str, tolerance: Tolerance) -> Iterator[str]:
    if tolerance.sample is None:
        yield from _wrapped(indent, f"{name}: {_bound(tolerance)}")
        return
    yield f"{indent}{name}:"
    yield from _wrapped(f"{indent}  ", f"sums: {_bound(tolerance)}")
    yield from _wrapped(f"{indent}  ", f"sample: {_bound(tolerance.sample)}")


def _bound(tolerance: Tolerance) -> str:
    u = _array(tolerance.u, False)
    rest = [f"a: {_array(tolerance.a, False)}"] if tolerance.a.any() else []
    if tolerance.eta != Tolerance.ETA:
        rest.append(f"eta: {_number(tolerance.eta, False)}")
    # A description alone would be read as that of an expectation.
    return f"{{{', '.join([f'u: {u}', *rest])}}}" if rest or u.startswith("{") else u


def _output(indent: str, name: str, item: Expected, integer: bool) -> Iterator[str]:
    if isinstance(item, Sketch):
        yield f"{indent}{name}:"
        yield f"{indent}  sketch:"
        yield f"{indent}    shape: {list(item.shape)}"
        yield f"{indent}    seed: {item.seed}"
        yield from _wrapped(f"{indent}    ", f"sums: {_list(item.sums, integer)}")
        yield from _wrapped(f"{indent}    ", f"sample: {_list(item.sample, integer)}")
        return
    yield from _wrapped(indent, f"{name}: {_array(item, integer)}")


def _wrapped(indent: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, 100, initial_indent=indent, subsequent_indent=indent + "  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _array(values: npt.NDArray[Any], integer: bool) -> str:
    """Listed, or described where that is much shorter."""
    if values.size and values.size <= LISTED:
        return _list(values, integer)
    found = description(values) if values.size else {"full": 0.0, "shape": list(values.shape)}
    if found is None:
        return _list(values, integer)
    described = _described(found, integer)
    few = 0 < values.size <= LISTED_ELEMENTS and 2 * len(described) > len(_list(values, integer))
    return _list(values, integer) if few else described


def _described(fields: Mapping[str, Any], integer: bool) -> str:
    parts = []
    for name, field in fields.items():
        if name == "set":
            text = f"[{', '.join(f'[{index}, {_number(value, integer)}]' for index, value in field)}]"
        else:
            text = str(field) if name == "shape" else _list(field, integer)
        parts.append(f"{name}: {text}")
    return f"{{{', '.join(parts)}}}"


def _list(values: Any, integer: bool) -> str:
    if np.ndim(values) == 0:
        return _number(values, integer)
    return "[" + ", ".join(_list(value, integer) for value in values) + "]"


def _number(value: Any, integer: bool) -> str:
    """A float in a form that YAML 1.1 and 1.2 read alike."""
    number = float(value)
    if integer:
        return str(int(number))
    if math.isnan(number):
        return ".nan"
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    if number == int(number) and abs(number) < 1e6:
        return str(int(number))
    mantissa, _, exponent = repr(number).partition("e")
    if not exponent:
        return mantissa
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+03d}"
