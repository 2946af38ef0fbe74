"""Lanes, tiles and layouts are covered in full: shown on the case files, not on what makes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest

from lossproof.case.inputs import shape_of
from lossproof.case.model import Case
from lossproof.core.functions import FUNCTIONS
from lossproof.core.layout import LAYOUTS
from tests.own_cases import every_case

CASES = every_case()
LENGTHS = (*range(1, 18), 31, 33, 63, 65, 127, 129)
PRIMES = (257, 1021, 4099, 8191, 65537)
# Functions of elements, and of rows with the array whose rows have a special element.
ELEMENTS = ("sigmoid", "log_sigmoid", "l2_loss", "binary_cross_entropy", "sigmoid_cross_entropy")
ROWS = (
    "softmax", "log_softmax", "softmax_cross_entropy", "sparse_softmax_cross_entropy", "cross_entropy",
    "euclidean_distance", "pspnet_predict",
)  # fmt: skip


def topics(function: str, topic: str) -> list[Case]:
    return [c for c in CASES if c.id.startswith((f"{function}/{topic}/", f"{function}/{topic}-thorough/"))]


def leading(case: Case) -> np.ndarray:
    return case.exact_arrays[case.function.leading.name]


def prime(number: int) -> bool:
    return number > 1 and all(number % i for i in range(2, int(number**0.5) + 1))


def test_the_long_lengths_are_primes() -> None:
    assert all(map(prime, PRIMES))


@pytest.mark.parametrize("function", ELEMENTS)
def test_every_special_element_stands_at_every_place(function: str) -> None:
    seen: dict[tuple[str, int], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for case in topics(function, "lanes"):
        array = leading(case)
        pattern = case.id.split("/")[2].split("-")[0]
        for value in np.unique(array):
            places = np.flatnonzero(np.isnan(array) if np.isnan(value) else array == value)
            seen[pattern, array.size][str(value)].update(places.tolist())
    patterns = {pattern for pattern, _ in seen} - {"mean"}
    assert len(patterns) == 2
    for pattern in patterns:
        for length in (*LENGTHS, 257):
            found = seen[pattern, length]
            assert len(found) == 5
            assert all(places == set(range(length)) for places in found.values()), (pattern, length)
        for length in PRIMES:
            assert any(length - 1 in places for places in seen[pattern, length].values())
    if "reduction" in {parameter.name for parameter in FUNCTIONS[function].parameters}:
        assert {length for pattern, length in seen if pattern == "mean"} == {*LENGTHS, *PRIMES}


@pytest.mark.parametrize("function", ROWS)
def test_a_special_element_stands_at_every_place_of_a_row(function: str) -> None:
    seen: dict[tuple[str, int], set[int]] = defaultdict(set)
    for case in topics(function, "lanes"):
        pattern = case.id.split("/")[2].partition("-")[0]
        if pattern == "rows":
            continue
        array = leading(case)
        rows = array.reshape(-1, array.shape[-1])
        # The special element is the one that differs from the others of its row.
        common = np.sort(array, axis=None)[array.size // 2] if array.size > 1 else np.nan
        special = ~((rows == common) | (np.isnan(rows) & np.isnan(common)))
        if rows.shape[-1] == 2:
            special |= True
        seen[pattern, rows.shape[-1]].update(np.flatnonzero(special.any(axis=0) | (rows.size == 1)).tolist())
    patterns = {pattern for pattern, _ in seen}
    assert patterns
    for pattern in patterns:
        lengths = [length for length in LENGTHS if length > 1 or (pattern, 1) in seen]
        assert len(lengths) >= len(LENGTHS) - 1
        assert all(seen[pattern, length] == set(range(length)) for length in lengths), pattern
        if function != "pspnet_predict":
            assert all(length - 1 in seen[pattern, length] for length in PRIMES[:-1])
    assert (
        function == "pspnet_predict"
        or any((p, PRIMES[-1]) in seen for p in patterns)
        or function == "cross_entropy"
    )


@pytest.mark.parametrize("function", ["sparse_softmax_cross_entropy", "pspnet_loss"])
def test_every_kind_of_row_stands_at_every_place(function: str) -> None:
    seen: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for case in topics(function, "lanes"):
        if not case.id.split("/")[2].startswith(("rows-", "pixels-")):
            continue
        rows = leading(case).reshape(-1, 3)
        for place, row in enumerate(rows):
            # An ignored row, and one that holds a NaN.
            label = case.exact_arrays["labels"].ravel()[place]
            kind = 0 if label == 255 else 1 if np.isnan(row).any() else 2
            seen[len(rows)][kind].add(place)
    assert set(seen) == set(LENGTHS)
    assert all(seen[n][kind] == set(range(n)) for n in LENGTHS for kind in range(3))


@pytest.mark.parametrize(
    "function", ["mask_rcnn_mask_loss", "mask_rcnn_mask_loss_with_logits", "mask_rcnn_select_masks"]
)
def test_a_nan_stands_at_every_place_of_a_mask(function: str) -> None:
    seen: dict[int, set[int]] = defaultdict(set)
    last: set[int] = set()
    for case in topics(function, "lanes"):
        if not case.id.split("/")[2].startswith("nan-"):
            continue
        own = leading(case)[0, 0, 0, :, 1]
        (places,) = np.nonzero(np.isnan(own))
        seen[own.size].update(places.tolist())
        if places.tolist() == [own.size - 1]:
            last.add(own.size)
    # Alone where only the value tells, and then at every place of one length.
    full = (17,) if function == "mask_rcnn_mask_loss" else LENGTHS
    assert all(seen[n] == set(range(n)) for n in full)
    assert seen[127] >= {31, 63, 126}
    assert function == "mask_rcnn_select_masks" or last == set(LENGTHS)


@pytest.mark.parametrize("function", ["pspnet_loss", "pspnet_total_loss"])
def test_a_special_logit_stands_at_every_class_of_a_pixel(function: str) -> None:
    seen: dict[tuple[str, int], set[int]] = defaultdict(set)
    for case in topics(function, "lanes"):
        name, _, length = case.id.split("/")[2].rpartition("-")
        if name.startswith("classes"):
            x = leading(case)
            seen[name, int(length)].update(np.nonzero(x != 0.5)[-1].tolist())
            assert x.shape[-1] == int(length)
    assert all(seen["classes-small", n] == set(range(n)) for n in LENGTHS)
    assert all(seen["classes-nan", n] == set(range(n)) for n in LENGTHS if n > 1)
    assert all(n - 1 in places for (_, n), places in seen.items())
    assert {n for name, n in seen} == {*LENGTHS, *PRIMES[:-1]}


def tiles(function: str, kind: str) -> Iterable[tuple[int, np.ndarray]]:
    for case in topics(function, "tiles"):
        name, _, tile = case.id.split("/")[2].rpartition("-")
        if name == kind:
            yield int(tile), leading(case)


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        ("sparse_softmax_cross_entropy", {2**n for n in range(5, 17)}),
        ("softmax", {2**n for n in range(5, 13)}),
        ("log_softmax", {2**n for n in range(5, 11)}),
        ("softmax_cross_entropy", {2**n for n in range(5, 11)} | {2**16}),
        ("pspnet_loss", {2**n for n in range(5, 11)} | {2**16}),
        ("pspnet_total_loss", {2**n for n in range(5, 11)} | {2**16}),
    ],
)
def test_whole_tiles_are_without_a_probability(function: str, sizes: set[int]) -> None:
    seen = defaultdict(set)
    for tile, x in tiles(function, "minus-infinity"):
        assert x.shape[-1] % tile == 1  # the last tile is partial
        for row in x.reshape(-1, x.shape[-1]):
            filled = [np.isfinite(row[i : i + tile]).any() for i in range(0, len(row), tile)]
            seen[tile].add(tuple(filled[:3]))
    assert set(seen) == sizes
    for tile, found in seen.items():
        last = {(False, False, True)}
        ends = {(True, False, False)} | last if tile == 2**16 else last if tile >= 2048 else set()
        every = {(True, False, False), (False, True, False)} | last
        assert found == (ends or every)
    assert {tile for tile, x in tiles(function, "very-negative") if np.isfinite(x).all()} >= {32, 1024}
    for tile, x in tiles(function, "maximum"):
        peaks = {int(place) // tile for place in x.argmax(axis=-1).ravel()}
        assert 3 in peaks and (tile >= 2048 or 0 in peaks)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_array_has_every_layout(function: str) -> None:
    alone: dict[str, set[str]] = defaultdict(set)
    together: set[str] = set()
    axes: dict[str, int] = {}
    for case in topics(function, "layouts"):
        (layout,) = set(case.layout.values())
        if len(case.layout) == 1:
            alone[next(iter(case.layout))].add(layout)
        else:
            together.add(layout)
        given = {**case.inputs, **case.parameters, "cotangent": case.cotangent}
        axes |= {name: len(shape_of(given[name])) for name in case.layout}
    found = FUNCTIONS[function]
    names = [array.name for array in found.arrays]
    names += [parameter.name for parameter in found.parameters if parameter.kind == "array"]
    scalar = not found.result
    assert set(alone) == {*names, *(["cotangent"] if found.wrt and not scalar else [])}
    for name, layouts in alone.items():
        assert layouts == fitting(axes[name]), name
    if len(alone) > 1:
        assert together >= fitting(min(axes.values()))


def fitting(axes: int) -> set[str]:
    """The layouts of an array of so many axes; equal elements along the last axis are no rows."""
    return {name for name, (least, _) in LAYOUTS.items() if max(least, 2 * (name == "broadcast")) <= axes}
