"""Hypothesis strategies that draw cases: one function, one dtype, no expectation yet.

What is drawn follows the function's row: shapes, parameters and what each array holds. Numbers are
drawn where these functions break: at thresholds of exp, log and the dtype's range, beside 0 and 1, at
clipping constants, in ties, far from the origin, NaN and infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, INTEGER_TYPES, FloatType
from lossproof.core.functions import REDUCTIONS, Function, Parameter, Values
from lossproof.core.layout import LAYOUTS
from lossproof.core.shapes import Shape, is_open, lengths_of, names, resolve, result_shape

Draw = Callable[[st.SearchStrategy[Any]], Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Shapes = dict[str, Shape]

# Where exp leaves a dtype (float16 ±11, ±17; float32 ±88.7, ±104; float64 ±709, ±745), and round numbers.
_TURNS = (11.0, 17.0, 88.5, 89.0, 104.0, 709.5, 710.0, 745.5)
_SIMPLE = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.25, 3.0)
# Probabilities that libraries clip to: Keras 1e-7, others 1e-12, 1e-15, e^-100.
_CLIPS = (1e-7, 1e-12, 1e-15, 3.7e-44, 1e-8, 1e-6)
# Offsets of a whole array: what is lost is lost by not subtracting the maximum first.
_OFFSETS = (0.0, 0.0, 0.0, 0.0, 100.0, -1000.0, 1024.0, 30000.0)


def cases(function: Function, dtype: str) -> st.SearchStrategy[Case]:
    """Cases of a function in one dtype, not certified, with the clause left to its definition."""
    return _case(function, dtype)


@st.composite
def _case(draw: Draw, function: Function, dtype: str) -> Case:
    if is_open(function.leading.shape) and draw(st.integers(0, 11)) == 11:
        inputs, parameters = _described(draw, function)
    else:
        shapes, parameters = _shapes(draw, function)
        inputs = {
            array.name: _values(
                draw, array.values, dtype, shapes[array.name], _Classes(function, shapes, parameters)
            )
            for array in function.arrays
        }
    arrays = {array.name: materialize(inputs[array.name], array.integer) for array in function.arrays}
    shape = result_shape(function, {name: array.shape for name, array in arrays.items()}, parameters)
    cotangent = None
    if function.wrt and shape and draw(st.integers(0, 3)) == 3:
        # 0 times an infinite slope is not specified.
        bounded = all(
            array.values is Values.LOGITS for array in function.arrays if array.name in function.wrt
        )
        elements = st.sampled_from((1.0, 0.0 if bounded else 0.5, -2.5))
        cotangent = draw(hnp.arrays(np.float64, shape, elements=elements))
    layout = {}
    if draw(st.integers(0, 7)) == 7:
        placed = [name for name, array in arrays.items() if array.ndim and array.size]
        if placed:
            name = draw(st.sampled_from(placed))
            axes = arrays[name].ndim
            # What broadcast takes are equal elements, which are not drawn.
            ways = [way for way, (least, _) in LAYOUTS.items() if least <= axes and way != "broadcast"]
            layout = {name: draw(st.sampled_from(ways))}
    return Case(
        id=f"{function.name}/drawn/drawn", function=function, clause="G-1", level="required", why="drawn",
        dtypes=(dtype,), inputs=inputs, parameters=parameters, cotangent=cotangent, layout=layout,
        wrt=function.wrt, expected=None, tolerances={}, variants=(), vacuous={}, choices=(),
        path=Path("drawn.yaml"), line=1,
        about="Found by lossproof fuzz.",
    )  # fmt: skip


# -- shapes and parameters --------------------------------------------------------------------


def _shapes(draw: Draw, function: Function) -> tuple[Shapes, dict[str, Any]]:
    """The shapes of all arrays, and all parameters."""
    parameters: dict[str, Any] = {}
    lengths = _lengths(draw, function)
    shapes: Shapes = {}
    for array in function.arrays:
        if is_open(array.shape):
            along_axis = array.shape != "*"
            shapes[array.name] = _shape(draw, 1 if along_axis else 0)
            if along_axis:
                parameters["axis"] = _axis(draw, shapes[array.name])
        else:
            shapes[array.name] = resolve(array.shape, shapes, lengths, parameters.get("axis"))
    for parameter in function.parameters:
        if parameter.lengths:
            given = [lengths[name] for name in parameter.lengths.split()]
            parameters[parameter.name] = tuple(given) if parameter.kind == "size" else given[0]
    lengths |= lengths_of(function, shapes, parameters)
    for parameter in function.parameters:
        if parameter.name not in parameters:
            shape = resolve(parameter.shape, shapes, lengths, parameters.get("axis"))
            parameters[parameter.name] = _parameter(draw, parameter, shape)
    return shapes, parameters


def _shape(draw: Draw, least: int) -> Shape:
    dims = draw(st.integers(least, 3))
    smallest = 0 if draw(st.integers(0, 11)) == 11 else 1
    side = {0: 0, 1: 12, 2: 5, 3: 3}[dims]
    return tuple(draw(st.integers(smallest, side)) for _ in range(dims))


def _lengths(draw: Draw, function: Function) -> dict[str, int]:
    """The lengths of the dimensions that the row names: few in arrays of many."""
    named = [names(array.shape) for array in function.arrays]
    sizes = [parameter.lengths.split() for parameter in function.parameters if parameter.kind == "size"]
    # Some quotients i·H/h are integers that floating point misses; sizes up to 70 have them all.
    columns = bool(sizes) and draw(st.booleans())
    lengths: dict[str, int] = {}
    for shape in sorted(named + sizes, key=len, reverse=True):
        for place, name in enumerate(shape):
            batch = place == 0 and shape in named
            if name in lengths:
                continue
            if batch:
                smallest, largest = (0 if draw(st.integers(0, 15)) == 15 else 1), 2
            elif columns:
                smallest, largest = 1, 1 if name == shape[-1] else 70
            else:
                smallest, largest = 1, {1: 12, 2: 9, 3: 9, 4: 4}.get(len(shape), 3)
            lengths[name] = draw(st.integers(smallest, largest))
    return lengths


def _axis(draw: Draw, shape: Shape) -> int:
    last = -1 if draw(st.booleans()) else len(shape) - 1
    return last if draw(st.integers(0, 2)) else int(draw(st.integers(-len(shape), len(shape) - 1)))


def _parameter(draw: Draw, parameter: Parameter, shape: Shape) -> Any:
    """A value of a parameter; ``shape`` is that of an array."""
    if parameter.kind == "array":
        return None if draw(st.booleans()) else _weights(draw, shape)
    default = parameter.default
    choices: dict[str, tuple[Any, ...]] = {
        "reduction": ("mean", "none", "sum") if default == "mean" else REDUCTIONS,
        "boolean": (False, True),
        "fraction": (default, default, 0.125, 0.1, 1.0),
        "number": (default, 0.0, 1.0),
        # A label that is ignored.
        "integer": (default, default, 255, -100, -1, 0),
    }
    return draw(st.sampled_from(choices[parameter.kind]))


def _described(draw: Draw, function: Function) -> tuple[dict[str, Any], dict[str, Any]]:
    """Long arrays, described instead of listed, which find sums that stagnate and the last blocks of
    blocked kernels; and all parameters."""
    along_axis = function.leading.shape != "*"
    count, seed = draw(st.integers(1, 5000)), draw(st.integers(0, 99))
    rows = not along_axis or draw(st.booleans())
    shape = [count] if not along_axis else [count, 3] if rows else [1, count]
    scale = draw(st.sampled_from((1.0, 0.25, 4.0, 16.0)))
    places = draw(st.lists(st.integers(0, count - 1), max_size=2, unique=True))
    values = (0.0, 17.0, -104.0, 1000.0, -np.inf if along_axis else 89.0)
    outliers = [
        [[place, 0][: len(shape)] if rows else [0, place], draw(st.sampled_from(values))] for place in places
    ]
    indicators = {"random": "one_hot"} if along_axis else {"random": "choice", "of": [0, 1, 0.5]}
    inputs: dict[str, Any] = {}
    for place, array in enumerate(function.arrays):
        random = {"shape": shape, "seed": seed + place}
        normal = {"random": "normal", **random, "scale": scale} | ({"set": outliers} if outliers else {})
        if array.values is Values.NUMBERS and place == 0 and draw(st.booleans()):
            normal = {"full": 1.0, "shape": shape}
        inputs[array.name] = {
            Values.LOGITS: normal,
            Values.NUMBERS: normal if place == 0 else {**indicators, **random},
            Values.PROBABILITIES: {"random": "uniform", **random},
            Values.TARGETS: {**indicators, **random},
            Values.DISTRIBUTIONS: {**indicators, **random},
            Values.LABELS: {"random": "integers", **random, "shape": shape[:-1], "high": shape[-1]},
        }[array.values]
    parameters: dict[str, Any] = {}
    for parameter in function.parameters:
        if parameter.name == "axis":
            parameters["axis"] = -1
        elif parameter.kind == "array":
            parameters[parameter.name] = None
        else:
            parameters[parameter.name] = _parameter(draw, parameter, ())
    return inputs, parameters


# -- what an array holds ----------------------------------------------------------------------


class _Classes:
    """The classes of a call: how many, along which axis, and which label is ignored."""

    def __init__(self, function: Function, shapes: Shapes, parameters: Mapping[str, Any]) -> None:
        shape = shapes[function.leading.name]
        self.axis = parameters.get("axis", -1)
        self.count = shape[self.axis] if shape else 0
        self.ignored = (
            (parameters["ignore_index"],) if "ignore_index" in parameters else (None, 255, self.count)
        )


def _values(draw: Draw, values: Values, dtype: str, shape: Shape, classes: _Classes) -> Floats | Integers:
    """An array of the kind that the row says."""
    match values:
        case Values.NUMBERS | Values.LOGITS:
            return _logits(draw, dtype, shape)
        case Values.PROBABILITIES:
            return _probabilities(draw, dtype, shape)
        case Values.TARGETS:
            return _targets(draw, dtype, shape)
        case Values.DISTRIBUTIONS:
            return _distributions(draw, dtype, shape, classes.axis)
        case Values.LABELS:
            return _labels(draw, shape, classes.count, draw(st.sampled_from(classes.ignored)))
        case Values.CLASS_IDS:
            return _class_ids(draw, shape, classes.count)
        case Values.LABEL_MAPS:
            return _label_map(draw, dtype, shape)


def rounded(values: Any, dtype: str) -> Floats:
    """The values rounded to the dtype, as float64 (what leaves its range becomes infinite)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values, np.float64).astype(FLOAT_TYPES[dtype].numpy).astype(np.float64)


def _bits(dtype: FloatType) -> st.SearchStrategy[float]:
    """Any number of the format, all bit patterns alike."""
    width = dtype.numpy.itemsize
    whole = st.integers(0, 2 ** (8 * width) - 1)
    return whole.map(
        lambda n: float(np.frombuffer(n.to_bytes(width, "little"), dtype=dtype.numpy)[0].astype(np.float64))
    )


def _finite(value: float) -> bool:
    return bool(np.isfinite(value))


def _logits(draw: Draw, dtype: str, shape: tuple[int, ...]) -> Floats:
    """Logits or predictions; one array in four may hold NaN and infinities."""
    form = FLOAT_TYPES[dtype]
    edges = [form.smallest_normal, form.unit_roundoff, form.largest, -form.largest, form.largest / 2]
    edges += [t * s for t in _TURNS for s in (1, -1)] + [-0.0]
    parts = [
        st.sampled_from(_SIMPLE),
        st.floats(-4, 4),
        st.floats(-30, 30),
        st.floats(-1000, 1000),
        st.sampled_from(edges),
        _bits(form).filter(_finite),
    ]
    kind = draw(st.integers(0, 7))
    offset = 0.0
    if kind <= 2:
        elements: st.SearchStrategy[float] = st.one_of(parts[:3])
        offset = draw(st.sampled_from(_OFFSETS))
    elif kind <= 5:
        elements = st.one_of(parts)
    else:
        elements = st.one_of(*parts[:4], st.sampled_from((np.nan, -np.inf, np.inf, -0.0)))
    values = rounded(draw(hnp.arrays(np.float64, shape, elements=elements)) + offset, dtype)
    # Rounding must not invent infinities.
    return values if kind >= 6 else np.clip(values, -form.largest, form.largest)


def _probabilities(draw: Draw, dtype: str, shape: tuple[int, ...]) -> Floats:
    form = FLOAT_TYPES[dtype]
    u = form.unit_roundoff
    near_one = [1.0, 1 - u, 1 - 2 * u, 1 - 2.0**-8, 0.75]
    near_zero = [0.0, form.smallest_normal, form.smallest_subnormal, u, 2 * u, 2.0**-8, *_CLIPS]
    parts = [
        st.sampled_from((0.5, 0.25, 0.125)),
        st.floats(0, 1),
        st.sampled_from(near_one),
        st.sampled_from(near_zero),
        _bits(form).filter(lambda p: 0 <= p <= 1),
    ]
    if draw(st.integers(0, 7)) == 7:
        parts.append(st.sampled_from((np.nan, 1 + 2 * u, -u, -0.0, 2.0, -1.0, np.inf)))
    return rounded(draw(hnp.arrays(np.float64, shape, elements=st.one_of(parts))), dtype)


def _targets(draw: Draw, dtype: str, shape: tuple[int, ...]) -> Floats:
    """Targets of binary losses: hard, soft, now and then NaN."""
    parts: list[st.SearchStrategy[float]] = [st.sampled_from((0.0, 1.0))]
    kind = draw(st.integers(0, 7))
    if kind >= 4:
        parts.append(st.integers(0, 8).map(lambda n: n / 8))
    if kind == 6:
        parts.append(st.floats(0, 1))
    if kind == 7:
        parts.append(st.just(np.nan))
    return rounded(draw(hnp.arrays(np.float64, shape, elements=st.one_of(parts))), dtype)


def _distributions(draw: Draw, dtype: str, shape: tuple[int, ...], axis: int) -> Floats:
    """One-hot rows, rows of eighths, or rows with a NaN."""
    classes = shape[axis]
    kind = draw(st.integers(0, 7))
    if kind <= 3 and classes:
        rows = tuple(np.delete(shape, axis).tolist())
        labels = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
        return np.moveaxis(np.eye(classes)[labels], -1, axis)
    return _targets(draw, dtype, shape)


def _labels(draw: Draw, shape: tuple[int, ...], classes: int, ignored: int | None) -> npt.NDArray[np.int64]:
    """Valid labels, ignored ones, and one array in eight with invalid ones."""
    parts: list[st.SearchStrategy[int]] = [st.integers(0, max(classes - 1, 0))]
    if ignored is not None:
        parts.append(st.just(ignored))
    if draw(st.integers(0, 7)) == 7:
        parts.append(st.sampled_from((-1, classes, 255, 256, -100, -classes, 2**31, 127)))
    array: npt.NDArray[np.int64] = draw(hnp.arrays(np.int64, shape, elements=st.one_of(parts)))
    return array


def _class_ids(draw: Draw, shape: Shape, classes: int) -> Integers:
    """Background, classes, and now and then padding or an id beyond the classes."""
    kind = draw(st.integers(0, 15))
    smallest, largest = (-1 if kind == 14 else 0), (classes if kind == 15 else classes - 1)
    ids: Integers = draw(hnp.arrays(np.int64, shape, elements=st.integers(smallest, largest)))
    return ids


def _label_map(draw: Draw, dtype: str, shape: Shape) -> Integers:
    """Any labels; all different, as far as that goes, in a map that is too large to draw each."""
    highest = min(255, np.iinfo(INTEGER_TYPES[dtype]).max)
    if np.prod(shape) > 162 or 1 in shape[1:]:
        return (np.arange(np.prod(shape)) % highest).reshape(shape)
    labels: Integers = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, highest)))
    return labels


def _weights(draw: Draw, shape: tuple[int, ...]) -> Floats:
    elements = st.sampled_from((1.0, 2.0, 0.5, 0.0, 8.0, 0.375))
    array: Floats = draw(hnp.arrays(np.float64, shape, elements=elements))
    return array
