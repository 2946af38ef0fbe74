"""How mutants are made for every function that a mistake applies to, from one description of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.functions import FUNCTIONS, Function

from .. import reference as ref
from .registry import mutant

Array = Any
Given = dict[str, Any]
"""Arrays by name, or parameters by name."""
Change = Callable[[Given, Given], None]
"""Alters arrays and parameters of a call before the reference sees them."""


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def generate(
    function: str,
    suffix: str,
    bug: str,
    *,
    kind: str,
    topics: Iterable[str] = (),
    change: Change | None = None,
    patches: dict[str, Any] | None = None,
    result: Callable[[Array, Given, Given], Array] | None = None,
    value: bool = True,
    upstream: str | None = None,
) -> None:
    """Register the reference with one mistake in a function and in its gradient.

    Args:
        suffix: of the class's name, behind the function's.
        bug: what is wrong, in a line.
        topics: of the cases that are likely to find it.
        change: what becomes of the arguments.
        patches: formulas of the reference that are others during the call.
        result: what becomes of the value and of each gradient, given arrays and parameters.
        value: whether the value is wrong too, and not the gradients alone.
    """
    row = FUNCTIONS[function]

    def wrong(original: Callable[..., Any], arrays: tuple[Any, ...], parameters: Given) -> Any:
        given = {array.name: a for array, a in zip(row.arrays, arrays, strict=True)}
        changed, kept = dict(given), dict(parameters)
        if change is not None:
            change(changed, kept)
        with ref.replaced(patches or {}):
            found = original(*changed.values(), **kept)
        if result is None:
            return found
        if isinstance(found, dict):
            return {name: result(slope, given, parameters) for name, slope in found.items()}
        return result(found, given, parameters)

    def method(self: Any, *arrays: Any, **parameters: Any) -> Any:
        return wrong(getattr(super(cls, self), function), arrays, parameters)

    def gradient(self: Any, v: Any, *arrays: Any, **parameters: Any) -> Any:
        original = getattr(super(cls, self), f"_grad_{function}")
        return wrong(lambda *given, **kept: original(v, *given, **kept), arrays, parameters)

    methods: dict[str, Any] = {"__doc__": bug, "__module__": __name__}
    if value:
        methods[function] = method
    if row.wrt:
        methods[f"_grad_{function}"] = gradient
    cls: type = type(camel(function) + suffix, (NumpyAdapter,), methods)
    mutant(function, kind=kind, upstream=upstream, topics=tuple(topics))(cls)


def float_arrays(row: Function) -> list[str]:
    return [array.name for array in row.arrays if not array.integer]


def parameters_of(row: Function) -> set[str]:
    return {parameter.name for parameter in row.parameters}


def along_axis(row: Function, parameters: Given) -> int | None:
    """The axis of the classes, or None for functions of elements."""
    if "axis" in parameters:
        return int(parameters["axis"])
    return -1 if row.leading.shape == "N h w C" else None


FLOATING = [row for row in FUNCTIONS.values() if row.has_float_arrays]
"""Functions of floating-point arrays."""
AVERAGED = [
    row for row in FUNCTIONS.values() if row.wrt and (not row.result or "reduction" in parameters_of(row))
]
"""Functions that have a mean."""
BY_AXIS = [row for row in FUNCTIONS.values() if "axis" in parameters_of(row)]
LABELLED = [FUNCTIONS[name] for name in ("sparse_softmax_cross_entropy", "pspnet_loss", "pspnet_total_loss")]
SOFTMAXES = [FUNCTIONS[name] for name in ("softmax", "log_softmax", "softmax_cross_entropy")] + LABELLED
MASKS = [FUNCTIONS[name] for name in ("mask_rcnn_mask_loss", "mask_rcnn_mask_loss_with_logits")]


def cast(x: Array, dtype: Any) -> Array:
    """Rounded to another dtype and back."""
    with np.errstate(all="ignore"):
        return x.astype(dtype).astype(x.dtype)


def tensor_float(x: Any) -> Any:
    """Eleven bits of significand, as tensor cores take float32 (TF32)."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    with np.errstate(invalid="ignore"):
        return np.ldexp(np.trunc(np.ldexp(mantissa, 11)), exponent - 11).astype(x.dtype)
