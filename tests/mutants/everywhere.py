"""Mistakes that any function can have: inputs truncated, narrowed, or read in another order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.functions import FUNCTIONS

from .generated import tensor_float
from .registry import MUTANTS, mutant


def memory_order(x: Any) -> Any:
    """The elements as they lie in memory, whatever the strides say."""
    return x.ravel(order="K").reshape(x.shape)


def strides_ignored(x: Any) -> Any:
    """As many elements as there are, one after the other from the first one's address."""
    steps = [x.itemsize * int(np.prod(x.shape[axis + 1 :])) for axis in range(x.ndim)]
    return np.lib.stride_tricks.as_strided(x, strides=steps)


def narrow(x: Any) -> Any:
    """float64 as float32."""
    return x.astype(np.float32) if x.dtype == np.float64 else x


def _through(function: str, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """The function of the reference on changed floating-point arrays."""
    row = FUNCTIONS[function]
    floats = [not array.integer for array in row.arrays]
    leading = row.arrays.index(row.leading)

    def method(self: NumpyAdapter, *arrays: Any, **parameters: Any) -> Any:
        given = [change(a) if is_float else a for a, is_float in zip(arrays, floats, strict=True)]
        result = getattr(super(type(self), self), function)(*given, **parameters)
        return result if row.integer_result else result.astype(arrays[leading].dtype)

    return method


_CHANGES = (
    ("TensorFloat", tensor_float, "precision", "Inputs are truncated to 11 bits of significand (TF32)."),
    ("InMemoryOrder", memory_order, "memory", "Arrays are read in memory order whatever their strides."),
    ("StridesIgnored", strides_ignored, "memory", "Arrays are read as if they were contiguous."),
    ("Narrowed", narrow, "precision", "float64 is computed in float32."),
)


def _result(function: str, change: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The function of the reference with another result, made of it and of the first argument."""

    def method(self: NumpyAdapter, *arrays: Any, **parameters: Any) -> Any:
        result = getattr(super(type(self), self), function)(*arrays, **parameters)
        return change(result, arrays[0])

    return method


def nan_is_zero(result: Any, first: Any) -> Any:
    """What is NaN becomes 0."""
    return np.where(np.isnan(result), result.dtype.type(0), result)


def flat_when_empty(result: Any, first: Any) -> Any:
    """An empty result loses its shape."""
    return np.zeros((1,), result.dtype) if not result.size else result


def downcast(result: Any, first: Any) -> Any:
    """A float64 result comes back as float32."""
    return result.astype(np.float32) if result.dtype == np.float64 else result


def nothing_is_one(result: Any, first: Any) -> Any:
    """A sum or mean over nothing is 1 (a running product, or memory that was not cleared)."""
    return np.ones_like(result) if result.ndim == 0 and not first.size else result


_RESULTS = (
    ("NanIsZero", nan_is_zero, "special", "A result that is NaN becomes 0."),
    ("Downcast", downcast, "result", "float64 results come back as float32."),
    ("PaddedWhenEmpty", flat_when_empty, "result", "An empty result gets one element."),
    ("NothingIsOne", nothing_is_one, "reduction", "A sum or mean over nothing is 1."),
)


# Where a mistake of these happened for real.
_UPSTREAM = {
    "SparseSoftmaxCrossEntropyUpstreamIgnored": "https://github.com/NVIDIA/TransformerEngine/issues/2139",
    "SparseSoftmaxCrossEntropyInMemoryOrder": "https://github.com/pytorch/pytorch/issues/67167",
    "SoftmaxStridesIgnored": "https://github.com/ROCm/rocm-libraries/pull/5240",
}


def _register(function: str, suffix: str, method: Any, kind: str, bug: str) -> None:
    # Some are in the function's own module already.
    if any(m.functions == (function,) and m.bug == bug for m in MUTANTS):
        return
    name = "".join(part.capitalize() for part in function.split("_")) + suffix
    methods = {function: method, "__doc__": bug, "__module__": __name__}
    mutant(function, kind=kind, upstream=_UPSTREAM.get(name))(type(name, (NumpyAdapter,), methods))


for _function, _entry in FUNCTIONS.items():
    if not _entry.has_float_arrays:
        continue
    for _suffix, _change, _kind, _bug in _CHANGES:
        _register(_function, _suffix, _through(_function, _change), _kind, _bug)
    for _suffix, _altered, _kind, _bug in _RESULTS:
        # Label maps hold no NaN, only reductions give scalars for nothing, and some give nothing else.
        reduces = any(p.name == "reduction" for p in _entry.parameters)
        absent = {
            "NanIsZero": _entry.integer_result, "Downcast": _entry.integer_result,
            "NothingIsOne": not reduces, "PaddedWhenEmpty": not _entry.result,
        }  # fmt: skip
        if absent[_suffix]:
            continue
        _register(_function, _suffix, _result(_function, _altered), _kind, _bug)


class _UpstreamIgnored:
    """The backward pass takes the upstream gradient for 1."""

    def value_and_gradients(self, function: Any, arrays: Any, wrt: Any, *, cotangent: Any = None) -> Any:
        return super().value_and_gradients(function, arrays, wrt)  # type: ignore[misc]


class _UpstreamIgnoredWhereReduced:
    """The backward pass takes the upstream gradient of a scalar loss for 1."""

    def value_and_gradients(self, function: Any, arrays: Any, wrt: Any, *, cotangent: Any = None) -> Any:
        given = None if cotangent is None or not np.ndim(cotangent) else cotangent
        return super().value_and_gradients(  # type: ignore[misc]
            function, arrays, wrt, cotangent=given
        )


for _row in FUNCTIONS.values():
    if _row.wrt:
        _reduces = not _row.result or any(p.name == "reduction" for p in _row.parameters)
        _base = _UpstreamIgnoredWhereReduced if _reduces else _UpstreamIgnored
        _name = "".join(word.title() for word in _row.name.split("_")) + "UpstreamIgnored"
        mutant(_row.name, kind="gradient", upstream=_UPSTREAM.get(_name))(
            type(_name, (_base, NumpyAdapter), {"__doc__": _base.__doc__, "__module__": __name__})
        )
