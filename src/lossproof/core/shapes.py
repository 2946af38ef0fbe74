"""The shapes of a call: what the table's rows say of them, worked out for given arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossproof.core.functions import Function

Shape = tuple[int, ...]


def resolve(text: str, shapes: Mapping[str, Shape], lengths: Mapping[str, int], axis: int | None) -> Shape:
    """The shape that a row writes as ``text`` (see ``Array`` and ``Parameter``).

    Args:
        text: neither ``*`` nor ``... C``, which leave the shape open.
        shapes: the shapes of the arguments that ``text`` refers to.
        lengths: the lengths of the dimensions that ``text`` names.
        axis: the call's axis, the last one if None.
    """
    if text.startswith("="):
        return shapes[text[1:]]
    if text.startswith("last "):
        return shapes[text.removeprefix("last ")][-1:]
    if text.startswith("-axis "):
        other = list(shapes[text.removeprefix("-axis ")])
        del other[-1 if axis is None else axis]
        return tuple(other)
    return tuple(lengths[name] for name in text.split())


def is_open(text: str) -> bool:
    """Whether a row leaves this shape to the caller."""
    return text == "*" or text.startswith("...")


def names(text: str) -> list[str]:
    """The dimensions that a row names in a shape."""
    return [] if text[:1] in ("*", "=", "-", ".") or text.startswith("last ") else text.split()


def lengths_of(
    function: Function, shapes: Mapping[str, Shape], parameters: Mapping[str, Any]
) -> dict[str, int]:
    """The length of every dimension that the row names, of a call whose shapes agree with it."""
    lengths: dict[str, int] = {}
    for parameter in function.parameters:
        if parameter.lengths:
            value = parameters[parameter.name]
            given = value if isinstance(value, (tuple, list)) else (value,)
            lengths |= dict(zip(parameter.lengths.split(), given, strict=True))
    for array in function.arrays:
        shape = shapes[array.name]
        if array.shape.startswith("..."):
            lengths[array.shape.split()[1]] = shape[parameters.get("axis", -1)]
        lengths |= dict(zip(names(array.shape), shape, strict=False))
    return lengths


def result_shape(function: Function, shapes: Mapping[str, Shape], parameters: Mapping[str, Any]) -> Shape:
    """The shape of the result of a call whose shapes agree with the row."""
    if parameters.get("reduction", "none") != "none":
        return ()
    return resolve(function.result, shapes, lengths_of(function, shapes, parameters), parameters.get("axis"))


def shape_mismatch(function: Function, shapes: Mapping[str, Shape], axis: int | None) -> str | None:
    """Say what is wrong with the shapes of a call, or None when they agree with the table."""
    lengths: dict[str, int] = {}
    for array in function.arrays:
        shape = shapes[array.name]
        if array.shape == "*":
            continue
        if array.shape.startswith("..."):
            if not -len(shape) <= (-1 if axis is None else axis) < len(shape):
                return f"{array.name} has shape {shape}, which has no axis {axis}"
            continue
        dimensions = names(array.shape)
        if dimensions and len(dimensions) != len(shape):
            return f"{array.name} has shape {shape}, but must be ({', '.join(dimensions)})"
        for name, length in zip(dimensions, shape, strict=False):
            lengths.setdefault(name, length)
        wanted = resolve(array.shape, shapes, lengths, axis)
        if shape != wanted:
            return f"{array.name} has shape {shape}, but must have {wanted} to fit the others"
    return None


def shape_text(text: str) -> str:
    """A row's shape for a reader: ``(any)``, ``(..., C)``, ``(as logits without axis)``."""
    if text == "*":
        return "(any)"
    if text.startswith("="):
        return f"(as {text[1:]})"
    if text.startswith("-axis "):
        return f"(as {text.removeprefix('-axis ')} without axis)"
    if text.startswith("last "):
        return f"(as the last axis of {text.removeprefix('last ')})"
    return f"({', '.join(text.split())})"
