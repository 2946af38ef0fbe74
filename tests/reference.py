"""The reference's formulas as the tests build other implementations of them: along any axis, of any dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from lossproof.adapters import _numpy_blocks, _numpy_formulas, numpy
from lossproof.adapters._numpy_blocks import wide
from lossproof.adapters._numpy_formulas import (
    binary_cross_entropy,
    own_masks,
    product,
    reduced,
    reduced_gradient,
    sigmoid,
    softplus,
    times_log,
)

__all__ = [
    "along", "binary_cross_entropy", "log_softmax", "own_masks", "product", "reduced", "reduced_gradient",
    "replaced", "row_share", "shifted", "sigmoid", "smoothed", "softmax", "softplus", "times_log", "weighted",
    "wide",
]  # fmt: skip


def along(formula: Callable[[Any], Any], x: Any, axis: int) -> Any:
    """A formula on rows (R, C), applied along an axis."""
    moved = np.moveaxis(x, axis, -1)
    rows = moved.reshape(-1, moved.shape[-1]) if moved.size else moved.reshape(0, moved.shape[-1])
    return np.moveaxis(formula(rows).reshape(moved.shape), -1, axis)


def shifted(x: Any, axis: int) -> Any:
    """x − max x."""
    return along(_numpy_formulas.shifted, x, axis)


def softmax(x: Any, axis: int) -> Any:
    """Softmax, as it is patched at the moment."""
    return along(_numpy_formulas.softmax, x, axis)


def log_softmax(x: Any, axis: int) -> Any:
    """Log-softmax, as it is patched at the moment."""
    return along(_numpy_formulas.log_softmax, x, axis)


def smoothed(y: Any, axis: int, label_smoothing: float) -> Any:
    """Targets with label smoothing."""
    return along(lambda rows: _numpy_formulas.smoothed(rows, label_smoothing), y, axis)


def weighted(cost: Any, weight: Any) -> Any:
    """Costs times a weight in its own dtype, where there is one."""
    return cost if weight is None else cost * wide(weight)


def row_share(v: Any, reduction: str, rows: int, axis: int) -> Any:
    """What a unit of a row's cost counts, to be multiplied with what has the axis."""
    share = reduced_gradient(v, reduction, rows)
    return np.expand_dims(share, axis) if reduction == "none" else share


@contextmanager
def replaced(attributes: dict[str, Any]) -> Iterator[None]:
    """Functions and constants of the reference are others, wherever its modules use them."""
    places = [
        (module, name)
        for module in (numpy, _numpy_formulas, _numpy_blocks)
        for name in attributes
        if hasattr(module, name)
    ]
    unknown = attributes.keys() - {name for _, name in places}
    assert not unknown, f"the reference has no {', '.join(sorted(unknown))}"
    originals = [getattr(module, name) for module, name in places]
    for module, name in places:
        setattr(module, name, attributes[name])
    try:
        yield
    finally:
        for (module, name), original in zip(places, originals, strict=True):
            setattr(module, name, original)
