"""All pairs of parameters, and of weights, smoothing, ignored rows and reduction all triples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from math import prod
from typing import Any

import numpy as np

from tests.families import DTYPES, Topic
from tests.families._cover import Options, Row, cover

# Three classes at each place of arrays of every rank: shape and axis.
PLACES: Mapping[str, tuple[tuple[int, ...], int]] = {
    "rank-1": ((3,), -1),
    "rank-2-last": ((4, 3), 1),
    "rank-2-first": ((3, 4), 0),
    "rank-3-middle": ((2, 3, 2), -2),
    "rank-4-second": ((2, 3, 1, 2), 1),
    "rank-4-last": ((2, 1, 2, 3), -1),
    "rank-5-first": ((3, 2, 1, 2, 1), -5),
}
SHAPES: Mapping[str, tuple[int, ...]] = {
    "rank-0": (),
    "rank-1": (3,),
    "rank-2": (2, 3),
    "rank-3": (2, 2, 3),
    "rank-4": (2, 1, 2, 3),
    "rank-5": (1, 2, 1, 2, 3),
}
REDUCTIONS = ("mean", "sum", "none")
COTANGENTS = ("plain", "scaled")
SMOOTHING = {"unsmoothed": 0, "smoothed": 0.1, "flat": 1}
IGNORED = {"undeclared": None, "class": 1, "outside": 255, "negative": -1}
SHARES = ("no-row", "some-rows", "all-but-one", "all-rows")
CLASS_WEIGHTS = {"unweighted": None, "weighted": [0.5, 2, 1.25], "zero-weight": [0.75, 1.5, 0]}
# That rows need not add up to 1 is CE-19's.
_DISTRIBUTIONS: Mapping[str, Sequence[Sequence[float]]] = {
    "soft": ([0.25, 0.5, 0.25], [0.125, 0.125, 0.75], [0.625, 0.375, 0]),
    "one-hot": ([0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]),
}
_VALUES = (-1.5, 0.5, 2, -0.25, 1, 0.75, -3)


@dataclass(frozen=True)
class Table:
    """The parameters of a function, what cannot be combined, and the case that a row stands for."""

    clause: str
    options: Options
    build: Callable[[Row], dict[str, Any]]
    allowed: Callable[[Row], bool] = lambda row: True
    triples: Sequence[str] = ()

    def rows(self) -> list[Row]:
        return cover(self.options, self.allowed, self.triples)


def topics() -> Iterator[Topic]:
    for function, table in TABLES.items():
        cases = [
            {
                "id": "-".join(row.values()),
                "clause": table.clause,
                "level": "required",
                # Compilers make a program of each, which takes longer than all the others together.
                "thorough": True,
                "why": f"an implementation may be right with each of these alone: {', '.join(row.values())}",
                "dtypes": DTYPES,
                **table.build(row),
            }
            for row in table.rows()
        ]
        yield Topic(function, "pairs", "Parameters do not disturb one another.", cases)


def _array(values: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Values in turn, as nested lists."""
    if not shape:
        return values[0]
    flat = list(islice(cycle(values), prod(shape)))
    for length in reversed(shape[1:]):
        flat = [flat[i : i + length] for i in range(0, len(flat), length)]
    return flat


def _rows(rows: Sequence[Sequence[float]], shape: tuple[int, ...], axis: int) -> Any:
    """Rows of three classes in turn along an axis."""
    others = _without(shape, axis)
    return np.moveaxis(np.reshape(list(islice(cycle(rows), prod(others))), (*others, 3)), -1, axis)


def _random(kind: str, shape: tuple[int, ...], **rest: Any) -> dict[str, Any]:
    return {"random": kind, "shape": list(shape), "seed": 41 + len(shape), **rest}


def _cotangent(row: Row, result: tuple[int, ...]) -> dict[str, Any]:
    if row["cotangent"] == "plain":
        return {}
    scalar = row.get("reduction", "none") != "none"
    return {"cotangent": -2.5 if scalar else _array(_VALUES, result)}


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


# -- functions ---------------------------------------------------------------------------------


def _l2(row: Row) -> dict[str, Any]:
    shape = SHAPES[row["rank"]]
    return {
        "inputs": {
            "prediction": _random("normal", shape),
            "target": _random("uniform", shape, low=-1, high=1),
        },
        "parameters": {"reduction": row["reduction"], "half": row["half"] == "halved"},
        **_cotangent(row, shape),
    }


def _distance(row: Row) -> dict[str, Any]:
    shape, axis = PLACES[row["place"]]
    return {
        "inputs": {
            "prediction": _random("normal", shape),
            "target": _random("uniform", shape, low=-1, high=1),
        },
        "parameters": {"axis": axis},
        **_cotangent(row, _without(shape, axis)),
    }


def _dense(first: str) -> Callable[[Row], dict[str, Any]]:
    def build(row: Row) -> dict[str, Any]:
        shape, axis = PLACES[row["place"]]
        target = _rows(_DISTRIBUTIONS[row["target"]], shape, axis)
        probabilities = _rows(([0.5, 0.25, 0.25], [0.125, 0.625, 0.25]), shape, axis)
        source = _random("normal", shape, scale=2) if first == "logits" else probabilities
        smoothing = {"label_smoothing": SMOOTHING[row["smoothing"]]} if "smoothing" in row else {}
        return {
            "inputs": {first: source, "target": target},
            "parameters": {"axis": axis, **smoothing, "reduction": row["reduction"]},
            **_cotangent(row, _without(shape, axis)),
        }

    return build


def _ignorable(row: Row) -> bool:
    """Rows are ignored only if a label is declared; a single row is ignored or not."""
    ignored, share, place = row.get("ignored"), row.get("share"), row.get("place")
    if ignored == "undeclared" and share not in (None, "no-row"):
        return False
    return not (place == "rank-1" and share in ("some-rows", "all-but-one"))


def _sparse(row: Row) -> dict[str, Any]:
    shape, axis = PLACES[row["place"]]
    rows = _without(shape, axis)
    ignored, weight = IGNORED[row["ignored"]], CLASS_WEIGHTS[row["weight"]]
    count = prod(rows)
    drop = {"no-row": 0, "some-rows": count // 2, "all-but-one": count - 1, "all-rows": count}[row["share"]]
    counting = [label for label in (2, 0, 1) if label != ignored]
    labels = [ignored if i < drop else counting[i % len(counting)] for i in range(count)]
    if drop < count:
        labels[-1] = 0  # whose weight is not 0, so that a mean is over something
    divisor = sum(
        1 if weight is None else weight[label] for label in labels if label != ignored and label is not None
    )
    given: dict[str, Any] = {"axis": axis}
    if weight is not None:
        given["weight"] = weight
    if ignored is not None:
        given["ignore_index"] = ignored
    given |= {"label_smoothing": SMOOTHING[row["smoothing"]], "reduction": row["reduction"]}
    # The gradient of a mean over nothing is not specified.
    nothing = row["reduction"] == "mean" and divisor == 0
    return {
        "inputs": {"logits": _random("normal", shape, scale=2), "labels": _array(labels, rows)},
        "parameters": given,
        **({"wrt": []} if nothing else _cotangent(row, rows)),
    }


def _binary(first: str) -> Callable[[Row], dict[str, Any]]:
    def build(row: Row) -> dict[str, Any]:
        shape = SHAPES[row["rank"]]
        logits = first == "logits"
        source = (
            _random("normal", shape, scale=2)
            if logits
            else _random("uniform", shape, low=2**-6, high=0.96875)
        )
        targets: dict[str, Any] = {
            "soft": _random("uniform", shape),
            "zeros-and-ones": _random("choice", shape, of=[0, 1]),
        }
        weights: dict[str, Any] = {
            "unweighted": {},
            "weighted": {"weight": _array([0.5, 2, 1.25, 3], shape)},
            "zero-weight": {"weight": _array([1.5, 0, 0.75, 0, 2], shape)},
        }
        positive: dict[str, Any] = {
            "even": {},
            "positive": {"pos_weight": [3, 0.5, 1.25]},
            "zero-positive": {"pos_weight": [2, 0, 1]},
        }
        return {
            "inputs": {first: source, "target": targets[row["target"]]},
            "parameters": {
                **weights[row["weight"]],
                **positive[row.get("pos_weight", "even")],
                "reduction": row["reduction"],
            },
            **_cotangent(row, shape),
        }

    return build


_RESIZED = {"same": (2, 3), "halved": (4, 6), "uneven": (3, 5)}


def _pspnet(row: Row) -> dict[str, Any]:
    height, width = _RESIZED[row["labels"]]
    images = {"one-image": 1, "two-images": 2}[row["images"]]
    labels = {
        "no-row": [2, 0, 1, 1, 0],
        "some-rows": [2, 255, 0, 3, 1],
        "all-rows": [3, 255, 4, 2**20],
    }[row["share"]]
    total = "aux_weight" in row
    logits = _random("normal", (images, 2, 3, 3), scale=2)
    inputs = {"logits": logits, "labels": _array(labels, (images, height, width))}
    if total:
        aux = _random("normal", (images, 1, 2, 3), scale=2)
        inputs = {"logits": logits, "aux_logits": aux, "labels": inputs["labels"]}
    given: dict[str, Any] = {"num_classes": 3}
    given |= {"aux_weight": _AUX[row["aux_weight"]]} if total else {"reduction": row["reduction"]}
    nothing = row["share"] == "all-rows" and (total or row["reduction"] == "mean")
    scaled = _cotangent({"reduction": "mean", **row}, (images, 2, 3))
    return {"inputs": inputs, "parameters": given, **({"wrt": []} if nothing else scaled)}


_AUX = {"half-auxiliary": 0.5, "no-auxiliary": 0, "double-auxiliary": 2}
_KEPT = ("no-row", "some-rows", "all-rows")


TABLES: Mapping[str, Table] = {
    "l2_loss": Table(
        "L2-2",
        {
            "reduction": REDUCTIONS,
            "half": ("whole", "halved"),
            "rank": tuple(SHAPES),
            "cotangent": COTANGENTS,
        },
        _l2,
    ),
    "euclidean_distance": Table("ED-2", {"place": tuple(PLACES), "cotangent": COTANGENTS}, _distance),
    "cross_entropy": Table(
        "CE-17",
        {
            "place": tuple(PLACES),
            "reduction": REDUCTIONS,
            "target": tuple(_DISTRIBUTIONS),
            "cotangent": COTANGENTS,
        },
        _dense("probabilities"),
    ),
    "softmax_cross_entropy": Table(
        "CE-11",
        {
            "place": tuple(PLACES),
            "smoothing": tuple(SMOOTHING),
            "reduction": REDUCTIONS,
            "target": tuple(_DISTRIBUTIONS),
            "cotangent": COTANGENTS,
        },
        _dense("logits"),
    ),
    "sparse_softmax_cross_entropy": Table(
        "CE-11",
        {
            "place": tuple(PLACES),
            "weight": tuple(CLASS_WEIGHTS),
            "ignored": tuple(IGNORED),
            "share": SHARES,
            "smoothing": tuple(SMOOTHING),
            "reduction": REDUCTIONS,
            "cotangent": COTANGENTS,
        },
        _sparse,
        _ignorable,
        ("weight", "smoothing", "share", "reduction"),
    ),
    "binary_cross_entropy": Table(
        "BCE-6",
        {
            "rank": tuple(SHAPES),
            "weight": ("unweighted", "weighted", "zero-weight"),
            "reduction": REDUCTIONS,
            "target": ("soft", "zeros-and-ones"),
            "cotangent": COTANGENTS,
        },
        _binary("probabilities"),
    ),
    "sigmoid_cross_entropy": Table(
        "BCE-9",
        {
            "rank": tuple(SHAPES),
            "weight": ("unweighted", "weighted", "zero-weight"),
            "pos_weight": ("even", "positive", "zero-positive"),
            "reduction": REDUCTIONS,
            "target": ("soft", "zeros-and-ones"),
            "cotangent": COTANGENTS,
        },
        _binary("logits"),
        lambda row: not (row.get("rank") == "rank-0" and row.get("pos_weight", "even") != "even"),
        ("weight", "pos_weight", "reduction"),
    ),
    "pspnet_loss": Table(
        "PSP-10",
        {
            "labels": tuple(_RESIZED),
            "images": ("one-image", "two-images"),
            "share": _KEPT,
            "reduction": REDUCTIONS,
            "cotangent": COTANGENTS,
        },
        _pspnet,
    ),
    "pspnet_total_loss": Table(
        "PSP-6",
        {
            "labels": tuple(_RESIZED),
            "images": ("one-image", "two-images"),
            "share": _KEPT,
            "aux_weight": tuple(_AUX),
            "cotangent": COTANGENTS,
        },
        _pspnet,
    ),
}
