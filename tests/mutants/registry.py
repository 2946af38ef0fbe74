"""How a mutant is registered, and the kinds of mistake there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from lossproof.adapters.numpy import NumpyAdapter

KINDS = {
    "normaliser": "the divisor of a mean is wrong",
    "reduction": "none, sum and mean are confused, or wrong over nothing",
    "formula": "sign, base, factor or term of the definition",
    "axis": "wrong axis, channels first for last, height for width",
    "double": "softmax or sigmoid applied twice, or not at all",
    "stability": "an algebraic form that overflows or cancels",
    "epsilon": "an epsilon is added, or values are clipped",
    "special": "NaN, infinities, 0 · ln 0, values outside of the domain",
    "smoothing": "label smoothing",
    "weights": "class weights, pos_weight, the auxiliary weight",
    "ignored": "what does not contribute leaks into value or gradient",
    "gradient": "a right value with a wrong gradient",
    "labels": "label ids, their dtype, the default of ignore_index",
    "masks": "which RoIs and which class's mask",
    "resize": "the source index of resized labels",
    "prediction": "which class wins",
    "precision": "computed or accumulated too narrowly",
    "memory": "right only for some lengths or strides",
    "result": "shape or dtype of the result",
    "lanes": "right but for some positions of some lengths: lanes, tails, primes",
    "tiles": "long rows by tiles: running maximum, running sum, what a tile sees",
    "counts": "counts and ids that outgrow their type",
    "layouts": "strides of one argument alone are ignored",
    "ranks": "ranks, axes that are not the last, axes of length 1",
    "pairs": "parameters that are right alone and wrong together",
    "narrowing": "one argument alone is narrowed as it is read",
}


@dataclass(frozen=True)
class Mutant:
    """A wrong implementation; ``upstream`` is where the mistake happened for real, if known.

    ``topics`` are those of the cases that are likely to find it; they are tried first.
    """

    cls: type[NumpyAdapter]
    functions: tuple[str, ...]
    kind: str
    bug: str
    upstream: str | None
    topics: tuple[str, ...] = ()


MUTANTS: list[Mutant] = []


def mutant(
    *functions: str, kind: str, upstream: str | None = None, topics: tuple[str, ...] = ()
) -> Callable[[type[NumpyAdapter]], type[NumpyAdapter]]:
    """Register a class as wrong in the functions; its docstring says the bug in a line."""

    def register(cls: type[NumpyAdapter]) -> type[NumpyAdapter]:
        assert kind in KINDS, kind
        cls.name = cls.__name__
        MUTANTS.append(Mutant(cls, functions, kind, (cls.__doc__ or "").strip(), upstream, topics))
        return cls

    return register


def wide(x: Any) -> Any:
    """``x`` in float32 at least."""
    return x.astype(np.promote_types(x.dtype, np.float32))
