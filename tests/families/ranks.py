"""Arrays of every rank, and every axis of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.families import DTYPES, Topic

# Lengths that differ, so that two axes cannot be taken for one another unnoticed.
SHAPES = ((5,), (2, 5), (2, 3, 4), (2, 3, 2, 4), (2, 1, 3, 2, 2))


def topics() -> Iterator[Topic]:
    for function, clause in (("sigmoid", "SG-1"), ("log_sigmoid", "LSG-1")):
        yield Topic(
            function,
            "ranks",
            "An array of any rank gives one of the same shape.",
            [_elementwise(clause, shape) for shape in SHAPES],
        )


def _elementwise(clause: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "id": f"rank-{len(shape)}",
        "clause": clause,
        "level": "required",
        "why": f"an implementation for other ranks than {len(shape)} refuses this or flattens it",
        "dtypes": DTYPES,
        "inputs": {"logits": {"random": "normal", "shape": list(shape), "seed": 20 + len(shape), "scale": 2}},
    }
