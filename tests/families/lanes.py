"""Every special value at every place of a vector, and in its tail.

Kernels work on vectors of 4 to 64 elements, several at a time, and on what is left over in another way:
both are tried at every length up to 17 and beside the multiples of 32, 64 and 128, and at primes for what
starts other kernels or more threads. Elements repeat with a period of five, which no vector's length has
as a factor, and begin at each of the five, so that each stands at every place; rows carry the special
value on the diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tests.families import DTYPES, Topic

SHORT = (*range(1, 18), 31, 33, 63, 65, 127, 129)
PRIMES = (257, 1021, 4099, 8191, 65537)
LENGTHS = SHORT + PRIMES
# What the quick set takes: less than a vector, several and a tail, one less than a multiple.
QUICK = (17,)
# Lengths from which a special value stands at the end alone, and below which at every place.
LONG, EVERY, LONGEST = 1000, 130, 10_000
PERIOD = 5

Case = dict[str, Any]
NAN, INF = math.nan, math.inf
RAISES = {"variants": [{"name": "raises-on-nan", "raises": True}]}
# Places are tried, not what is done at 0 and 1, where slopes are other cases' matter.
VALUE: Case = {"wrt": []}
SINGLE = ["float64", "float32"]


def topics() -> Iterator[Topic]:
    yield from _of_elements()
    yield from _of_rows()
    yield from _of_many_rows()
    yield from _of_pixels()


def _case(name: str, clause: str, why: str, length: int, **fields: Any) -> Case:
    thorough = {} if length in QUICK else {"thorough": True}
    return {
        "id": name,
        "clause": clause,
        "level": "required",
        **thorough,
        "why": why,
        "dtypes": DTYPES,
    } | fields


def _cycle(values: list[float], start: int, shape: list[int]) -> Any:
    """The values in turn from one of them on."""
    turned = values[start:] + values[:start]
    return {"cycle": turned, "shape": shape}


# -- elements ----------------------------------------------------------------------------------

NONE = {"reduction": "none"}
# By function: id, clause, level, arrays, parameters, other fields.
ELEMENTS: dict[str, list[tuple[str, str, str, dict[str, list[float]], dict[str, Any], Case]]] = {
    "sigmoid": [
        ("nan", "SG-5", "required", {"logits": [0.5, NAN, -8, 3, 0]}, {}, {}),
        ("infinite", "SG-3", "recommended", {"logits": [0.5, INF, -INF, -2, 0]}, {}, {}),
    ],
    "log_sigmoid": [
        ("nan", "LSG-4", "required", {"logits": [0.5, NAN, -8, 3, 0]}, {}, {}),
        ("infinite", "LSG-3", "recommended", {"logits": [0.5, INF, -INF, -2, 0]}, {}, {}),
    ],
    "l2_loss": [
        ("nan", "L2-5", "required",
         {"prediction": [0.5, NAN, -3, 100, 0], "target": [1.5, 1, -2.5, 0.25, 0]}, NONE, {}),
        ("infinite", "L2-5", "required",
         {"prediction": [0.5, INF, -3, -INF, 0], "target": [1.5, 1, -2.5, 0.25, 0]}, NONE, {}),
    ],
    "binary_cross_entropy": [
        ("certain", "BCE-2", "required",
         {"probabilities": [0.5, 0, 0.125, 1, 0.75], "target": [0.25, 0, 0, 1, 1]}, NONE,
         VALUE | {"dtypes": SINGLE}),
        ("nan", "BCE-13", "required",
         {"probabilities": [0.5, NAN, 0.125, 0.75, 0.25], "target": [0.25, 0.5, 0, 1, 0]}, NONE,
         VALUE | RAISES),
    ],
    "sigmoid_cross_entropy": [
        ("nan", "BCE-13", "required",
         {"logits": [0.5, NAN, -3, 3, 0], "target": [0.25, 1, 1, 0, 1]}, NONE, {}),
        ("infinite", "BCE-11", "recommended",
         {"logits": [0.5, INF, -INF, -2, 0], "target": [0.25, 1, 0, 1, 0]}, NONE, {}),
    ],
}  # fmt: skip
# Arrays of ordinary numbers, whose mean misses every element that is left out.
MEANS: dict[str, tuple[str, dict[str, list[float]]]] = {
    "l2_loss": ("L2-2", {"prediction": [0.5, 2, -3, 1, 4], "target": [1.5, 1, -1, 0, 2]}),
    "binary_cross_entropy": (
        "BCE-6", {"probabilities": [0.5, 0.25, 0.125, 0.75, 0.875], "target": [1, 0.5, 1, 0, 0.25]},
    ),
    "sigmoid_cross_entropy": ("BCE-8", {"logits": [0.5, 2, -3, 1, -1], "target": [1, 0.5, 1, 0, 0.25]}),
}  # fmt: skip


def rotations(length: int) -> range:
    """Where the cycle begins: everywhere, or where that puts the second value at the end."""
    last = (1 - (length - 1)) % PERIOD
    return range(PERIOD) if length < LONG else range(last, last + 1)


def _special_at(start: int) -> int:
    """The place of a cycle's second value, the NaN of those that have one, where it begins at ``start``."""
    return (1 - start) % PERIOD


def _strict(more: Case) -> Case:
    """Without variants: nothing may be refused where the value that they are about is not reached."""
    return {field: value for field, value in more.items() if field != "variants"}


def _of_elements() -> Iterator[Topic]:
    for function, patterns in ELEMENTS.items():
        cases = [
            _case(
                f"{name}-{length}-from-{start}", clause, _why(length), length,
                level=level,
                inputs={array: _cycle(values, start, [length]) for array, values in arrays.items()},
                **_given(parameters=parameters), **(more if _special_at(start) < length else _strict(more)),
            )
            for name, clause, level, arrays, parameters, more in patterns
            for length in LENGTHS
            for start in rotations(length)
        ]  # fmt: skip
        if function in MEANS:
            clause, arrays = MEANS[function]
            cases += [
                _case(
                    f"mean-{length}", clause, f"one of {length} left out moves the mean", length,
                    inputs={array: _cycle(values, 0, [length]) for array, values in arrays.items()},
                    parameters={"reduction": "mean"},
                )
                for length in LENGTHS
            ]  # fmt: skip
        yield Topic(function, "lanes", "Special values keep to their elements, wherever they stand.", cases)


def _why(length: int) -> str:
    return f"each value at each place of {length} elements, the left-over ones among them"


def _given(**fields: Any) -> Case:
    return {name: value for name, value in fields.items() if value}


# -- rows: a special value at every place of a row ------------------------------------------------


def special_places(length: int) -> list[int]:
    """Where rows have the special value: all places, some, or the last."""
    if length < EVERY:
        return list(range(length))
    if length < LONG:
        return [0, length // 2, length - 2, length - 1]
    return [length - 1]


def _rows(length: int, background: float, special: float) -> Any:
    """One row for each place of the special value."""
    places = special_places(length)
    shape = [len(places), length]
    if length < EVERY:
        return {"full": background, "shape": shape, "diagonal": special}
    return {"full": background, "shape": shape,
            "set": [[[row, place], special] for row, place in enumerate(places)]}  # fmt: skip


# What keeps its arithmetic at the longest rows.
ARITHMETIC = ("large", "small")
# By function: id, clause, level, arrays as (background, special), parameters, whether a cotangent is needed.
Rows = list[tuple[str, str, str, dict[str, tuple[float, float]], dict[str, Any], bool]]
ROWS: dict[str, Rows] = {
    "softmax": [
        ("nan", "SM-3", "required", {"logits": (0.5, NAN)}, {}, True),
        ("large", "SM-1", "required", {"logits": (0.5, 9)}, {}, True),
        ("minus-infinity", "SM-4", "recommended", {"logits": (0.5, -INF)}, {}, True),
    ],
    "log_softmax": [
        ("nan", "LSM-3", "required", {"logits": (0.5, NAN)}, {}, True),
        ("large", "LSM-1", "required", {"logits": (0.5, 9)}, {}, True),
        ("minus-infinity", "LSM-4", "recommended", {"logits": (0.5, -INF)}, {}, True),
    ],
    "softmax_cross_entropy": [
        ("nan", "CE-16", "required", {"logits": (0.5, NAN), "target": (0, 1)}, NONE, False),
        ("small", "CE-5", "required", {"logits": (0.5, -8), "target": (0, 1)}, NONE, False),
    ],
    "cross_entropy": [
        ("nan", "CE-16", "required", {"probabilities": (0.25, NAN), "target": (0.25, 0.5)}, NONE, False),
        ("certain", "CE-2", "required", {"probabilities": (0.25, 0), "target": (0.25, 0)}, NONE, False),
        ("small", "CE-1", "required", {"probabilities": (0.25, 0.0625), "target": (0.25, 0.5)}, NONE, False),
    ],
    "euclidean_distance": [
        ("nan", "ED-5", "required", {"prediction": (0.5, NAN), "target": (0, 0)}, {}, False),
        ("large", "ED-1", "required", {"prediction": (0.5, 9), "target": (0.25, -3)}, {}, False),
    ],
}  # fmt: skip
# Id, clause, and the special value at the label and beside it.
SPARSE = (
    ("nan", "CE-16", NAN, NAN), ("small", "CE-6", -8.0, 9.0), ("minus-infinity", "CE-15", -INF, -INF),
)  # fmt: skip


def _worth(name: str, length: int) -> bool:
    """A row of one class has no other; the longest are for arithmetic alone."""
    return name in ARITHMETIC if length > LONGEST else length > 1 or name != "minus-infinity"


def _row_why(length: int) -> str:
    return f"a special value at {'every' if length < EVERY else 'an outer'} place of a row of {length}"


def _of_rows() -> Iterator[Topic]:
    about = "A special value counts wherever it stands in its row, and in no other row."
    for function, patterns in ROWS.items():
        yield Topic(function, "lanes", about, [
            _case(
                f"{name}-{length}", clause, _row_why(length), length,
                level=level,
                inputs={array: _rows(length, *pair) for array, pair in arrays.items()},
                **_given(parameters=parameters, cotangent=_rows(length, 1, 3) if cotangent else None),
                **(VALUE if name == "certain" else {}),
            )
            for name, clause, level, arrays, parameters, cotangent in patterns
            for length in LENGTHS
            if _worth(name, length)
        ])  # fmt: skip
    yield Topic("sparse_softmax_cross_entropy", "lanes", about, list(_sparse()) + list(_sparse_rows()))
    yield Topic("pspnet_predict", "lanes", "The largest logit is found wherever it stands.", [
        *(
            _case(
                f"class-{length}", "PSP-7", f"the largest logit at every place of {length}", length,
                inputs={"logits": _places_of(length)},
            )
            for length in LENGTHS if length < LONGEST
        ),
        *(
            _case(
                f"nan-{length}", "PSP-9", f"the NaN at every place of {length} classes", length,
                inputs={"logits": _places_of(length, special=NAN)},
            )
            for length in SHORT
        ),
    ])  # fmt: skip


def _places_of(length: int, background: float = 0.5, special: float = 2) -> Any:
    """A pixel for each place of the special logit."""
    rows = _rows(length, background, special)
    pixels = {name: value for name, value in rows.items() if name != "set"}
    if "set" in rows:
        pixels["set"] = [[[0, 0, *place], value] for place, value in rows["set"]]
    return pixels | {"shape": [1, 1, *rows["shape"]]}


def _sparse() -> Iterator[Case]:
    for name, clause, special, other in SPARSE:
        for length in LENGTHS:
            if not _worth(name, length):
                continue
            places = special_places(length)
            yield _case(
                f"{name}-{length}", clause, f"{_row_why(length)}, which is the label's", length,
                inputs={"logits": _rows(length, 0.5, special), "labels": places},
                parameters=NONE,
            )  # fmt: skip
            if length > 1:
                others = [(place + length // 2) % length for place in places]
                yield _case(
                    f"{name}-{length}-elsewhere", clause, f"{_row_why(length)}, beside the label's", length,
                    thorough=True,
                    inputs={"logits": _rows(length, 0.5, other), "labels": others},
                    parameters=NONE, wrt=[],
                )  # fmt: skip


# -- rows: a special row at every place of many ------------------------------------------------------

THREE: list[list[float]] = [[0.5, -1.25, 2], [1, NAN, 1], [-3, 0, 4], [2, 2, 2], [0, 8, -8]]
# The second row holds the NaN; the fourth is ignored or dropped.
LABELS = [2, 0, 1, 255, 0]


def _turned(start: int) -> tuple[list[float], list[int]]:
    rows = THREE[start:] + THREE[:start]
    return [x for row in rows for x in row], LABELS[start:] + LABELS[:start]


def _sparse_rows() -> Iterator[Case]:
    for length in SHORT:
        for start in range(PERIOD):
            logits, labels = _turned(start)
            yield _case(
                f"rows-{length}-from-{start}", "CE-16", f"each row at each place of {length} rows", length,
                inputs={
                    "logits": {"cycle": logits, "shape": [length, 3]},
                    "labels": {"cycle": labels, "shape": [length]},
                },
                parameters={"ignore_index": 255, **NONE},
            )  # fmt: skip


def _of_many_rows() -> Iterator[Topic]:
    cases = []
    for length in SHORT:
        for start in range(PERIOD):
            logits, labels = _turned(start)
            cases.append(_case(
                f"pixels-{length}-from-{start}", "PSP-8", f"each pixel at each place of {length}", length,
                inputs={
                    "logits": {"cycle": logits, "shape": [1, 1, length, 3]},
                    "labels": {"cycle": labels, "shape": [1, 1, length]},
                },
                parameters={"num_classes": 3, **NONE},
            ))  # fmt: skip
    yield Topic(
        "pspnet_loss", "lanes", "Every pixel counts once, wherever it stands, and every class of it.",
        cases + list(_classes("pspnet_loss", "PSP-2")),
    )  # fmt: skip
    yield Topic(
        "pspnet_total_loss", "lanes", "Every class of a pixel counts, wherever it stands, in both heads.",
        list(_classes("pspnet_total_loss", "PSP-6")),
    )  # fmt: skip


def _classes(function: str, clause: str) -> Iterator[Case]:
    """A pixel for each place of a special logit, which is the label's, or in the longest another's.

    Half precision holds each label, as Keras rounds them, which others show.
    """
    for name, special, lengths in (
        ("small", -8, [n for n in LENGTHS if n < LONG]),
        ("nan", NAN, [n for n in LENGTHS if 1 < n < LONG]),
        ("large", 9, [n for n in LENGTHS if LONG < n < LONGEST]),
    ):
        for length in lengths:
            labels = special_places(length) if length < LONG else [0]
            inputs = {"logits": _places_of(length, 0.5, special), "labels": [[labels]]}
            parameters: dict[str, Any] = {"num_classes": length}
            if function == "pspnet_total_loss":
                inputs["aux_logits"] = _places_of(length, 0.25, special)
            else:
                parameters |= NONE
            yield _case(
                f"classes-{name}-{length}", clause, _row_why(length), length,
                inputs=inputs, parameters=parameters,
            )  # fmt: skip


# -- pixels ------------------------------------------------------------------------------------------

PIXELS = [0.5, 0.25, 0.125, 0.75, 0.875]
TARGETS = [1.0, 0, 1, 0, 1]


def _of_pixels() -> Iterator[Topic]:
    about = "Every pixel of a mask counts once, and none of another class."
    for function, array, clause, values in (
        ("mask_rcnn_mask_loss", "pred_masks", "MRC-1", PIXELS),
        ("mask_rcnn_mask_loss_with_logits", "mask_logits", "MRC-6", [0.5, -2, 3, 1, -1]),
    ):
        # Class 1 is the RoI's; what class 0 holds must not count.
        both = [x for value in values for x in (NAN, value)]
        yield Topic(function, "lanes", about, [
            *_special_pixels(function, array, values),
            *(
                _case(
                    f"pixels-{length}", clause, f"a pixel left out of {length} moves the mean", length,
                    inputs={
                        "target_masks": {"cycle": TARGETS, "shape": [1, 1, 1, length]},
                        "target_class_ids": [[1]],
                        array: {"cycle": both, "shape": [1, 1, 1, length, 2]},
                    },
                )
                for length in LENGTHS
            ),
        ])  # fmt: skip
    yield Topic("mask_rcnn_select_masks", "lanes", "Every pixel is copied.", [
        *(
            _case(
                f"nan-{length}-from-{start}", "MRC-7", _why(length), length,
                inputs={
                    "pred_masks": _cycle([0.5, NAN, 0.25, NAN, 0.125], start, [1, 1, 1, length, 2]),
                    "class_ids": [[1]],
                },
            )
            for length in SHORT
            for start in range(3)
        ),
        *(
            _case(
                f"class-of-{length}", "MRC-7", f"the last of {length} classes is another", length,
                inputs={
                    "pred_masks": _cycle([0.5, 0.25, 0.75, 0.125, 1], 0, [1, 1, 1, 1, length]),
                    "class_ids": [[length - 1]],
                },
            )
            for length in SHORT
        ),
        *(
            _case(
                f"pixels-{length}", "MRC-7", f"a pixel left out of {length} is another's", length,
                inputs={
                    "pred_masks": {"cycle": [0.5, 0.25, NAN, 0.75, 0.125, 1], "shape": [1, 1, 1, length, 2]},
                    "class_ids": [[1]],
                },
            )
            for length in LENGTHS
        ),
    ])  # fmt: skip
    yield Topic("pspnet_resize_labels", "lanes", "Every label is copied, also where a row ends.", [
        _case(
            f"labels-{length}-to-{to}", "PSP-1", f"a label left out of {to} is another's", length,
            dtypes=["int64", "int32", "uint8"],
            inputs={"labels": {"cycle": [3, 1, 4, 1, 5], "shape": [1, 2, length]}},
            parameters={"size": [2, to]},
        )
        for length in LENGTHS
        for to in dict.fromkeys((length, 2 * length, max(1, length // 2)))
    ])  # fmt: skip


def _special_pixels(function: str, array: str, values: list[float]) -> Iterator[Case]:
    """A pixel that is NaN, alone; and of logits two of five at every place in turn, as slopes show."""
    probabilities = array == "pred_masks"
    # What a function of probabilities gives as the slope at a NaN is no question of places.
    fields: Case = VALUE | RAISES if probabilities else {}
    alone = {length: {length - 1} for length in SHORT}
    if probabilities:
        # Every place of two vectors, and the last lanes of 4 to 64 elements of two classes.
        alone[17] |= set(range(17))
        alone[127] |= {31, 63}
    for length, places in alone.items():
        for place in sorted(places):
            yield _case(
                f"nan-at-{place}-of-{length}", "MRC-9", f"a NaN at place {place} of {length} is lost", length,
                **({} if place == length - 1 else {"thorough": True}),
                inputs={
                    "target_masks": {"cycle": TARGETS, "shape": [1, 1, 1, length]},
                    "target_class_ids": [[1]],
                    array: {"cycle": [x for n in values for x in (0.5, n)], "shape": [1, 1, 1, length, 2],
                            "set": [[[0, 0, 0, place, 1], NAN]]},
                },
                **fields,
            )  # fmt: skip
    if probabilities:
        return
    # No logit stands on the right side of its target so far that its slope says little.
    turned = [values[0], NAN, -abs(values[2]), NAN, values[4]]
    for length in SHORT:
        for start in range(3):
            numbers = turned[start:] + turned[:start]
            if not any(map(math.isnan, numbers[:length])):
                continue
            yield _case(
                f"nan-{length}-from-{start}", "MRC-9", _why(length), length,
                inputs={
                    "target_masks": _cycle(TARGETS, start, [1, 1, 1, length]),
                    "target_class_ids": [[1]],
                    array: {"cycle": [x for n in numbers for x in (0.5, n)], "shape": [1, 1, 1, length, 2]},
                },
            )  # fmt: skip
