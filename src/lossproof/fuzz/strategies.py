"""Hypothesis strategies that draw cases: one function, one dtype, no expectation yet.

Numbers are drawn where these functions break: at thresholds of exp, log and the dtype's range, beside 0
and 1, at clipping constants, in ties, far from the origin, NaN and infinite.
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
from lossproof.core.functions import REDUCTIONS, Function

Draw = Callable[[st.SearchStrategy[Any]], Any]
Floats = npt.NDArray[np.float64]

# Where exp leaves a dtype (float16 ±11, ±17; float32 ±88.7, ±104; float64 ±709, ±745), and round numbers.
_TURNS = (11.0, 17.0, 88.5, 89.0, 104.0, 709.5, 710.0, 745.5)
_SIMPLE = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.25, 3.0)
# Probabilities that libraries clip to: Keras 1e-7, others 1e-12, 1e-15, e^-100.
_CLIPS = (1e-7, 1e-12, 1e-15, 3.7e-44, 1e-8, 1e-6)
# Offsets of a whole array: what is lost is lost by not subtracting the maximum first.
_OFFSETS = (0.0, 0.0, 0.0, 0.0, 100.0, -1000.0, 1024.0, 30000.0)


def cases(function: Function, dtype: str) -> st.SearchStrategy[Case]:
    """Cases of a function in one dtype, not certified, with the clause left to ``reading``."""
    return _case(function, dtype)


@st.composite
def _case(draw: Draw, function: Function, dtype: str) -> Case:
    parameters: dict[str, Any] = {}
    if function.name in _INPUTS:
        inputs = _INPUTS[function.name](draw, dtype, parameters)
    else:
        inputs = _elementwise(draw, function, dtype, parameters)
    for parameter in function.parameters:
        if parameter.name not in parameters:
            parameters[parameter.name] = _parameter(draw, parameter.name, parameter.default)
    arrays = {a.name: materialize(inputs[a.name], a.integer) for a in function.arrays}
    cotangent = None
    shape = _result_shape(function, arrays, parameters)
    if function.wrt and shape and draw(st.integers(0, 3)) == 3:
        # 0 times an infinite slope is not specified.
        bounded = "probabilities" not in arrays and "prediction" not in arrays
        elements = st.sampled_from((1.0, 0.0 if bounded else 0.5, -2.5))
        cotangent = draw(hnp.arrays(np.float64, shape, elements=elements))
    layout = {}
    if draw(st.integers(0, 7)) == 7:
        strided = [n for n, a in arrays.items() if a.ndim and a.size]
        if strided:
            layout = {draw(st.sampled_from(strided)): draw(st.sampled_from(("transposed", "strided")))}
    return Case(
        id=f"{function.name}/drawn/drawn", function=function, clause="G-1", level="required", why="drawn",
        dtypes=(dtype,), inputs=inputs, parameters=parameters, cotangent=cotangent, layout=layout,
        wrt=function.wrt, expected=None, tolerances={}, variants=(), vacuous={},
        path=Path("drawn.yaml"), line=1,
        about="Found by lossproof fuzz.",
    )  # fmt: skip


def rounded(values: Any, dtype: str) -> Floats:
    """The values rounded to the dtype, as float64 (what leaves its range becomes infinite)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values, np.float64).astype(FLOAT_TYPES[dtype].numpy).astype(np.float64)


# -- numbers ----------------------------------------------------------------------------------


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


def _dense_targets(draw: Draw, dtype: str, shape: tuple[int, ...], axis: int) -> Floats:
    """One-hot rows, rows of eighths, or rows with a NaN."""
    classes = shape[axis]
    kind = draw(st.integers(0, 7))
    if kind <= 3 and classes:
        rows = _without(shape, axis)
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


def _weights(draw: Draw, shape: tuple[int, ...]) -> Floats:
    elements = st.sampled_from((1.0, 2.0, 0.5, 0.0, 8.0, 0.375))
    array: Floats = draw(hnp.arrays(np.float64, shape, elements=elements))
    return array


# -- shapes -----------------------------------------------------------------------------------


def _shape(draw: Draw, least: int) -> tuple[int, ...]:
    dims = draw(st.integers(least, 3))
    smallest = 0 if draw(st.integers(0, 11)) == 11 else 1
    side = {0: 0, 1: 12, 2: 5, 3: 3}[dims]
    return tuple(draw(st.integers(smallest, side)) for _ in range(dims))


def _described(draw: Draw, dtype: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Long arrays, described instead of listed: sums that stagnate, last blocks of blocked kernels."""
    count, seed = draw(st.integers(1, 5000)), draw(st.integers(0, 99))
    rows = "axis" not in parameters or draw(st.booleans())
    shape = [count] if "axis" not in parameters else [count, 3] if rows else [1, count]
    scale = draw(st.sampled_from((1.0, 0.25, 4.0, 16.0)))
    normal: dict[str, Any] = {"random": "normal", "shape": shape, "seed": seed, "scale": scale}
    places = draw(st.lists(st.integers(0, count - 1), max_size=2, unique=True))
    if places:
        values = (0.0, 17.0, -104.0, 1000.0, -np.inf if "axis" in parameters else 89.0)
        normal["set"] = [
            [[place, 0][: len(shape)] if rows else [0, place], draw(st.sampled_from(values))]
            for place in places
        ]
    integers = {"random": "integers", "shape": shape[:1], "seed": seed + 1, "high": shape[-1]}
    return {
        "logits": normal,
        "prediction": normal if draw(st.booleans()) else {"full": 1.0, "shape": shape},
        "probabilities": {"random": "uniform", "shape": shape, "seed": seed},
        "labels": integers,
        "target": {"random": "one_hot", "shape": shape, "seed": seed + 1}
        if "axis" in parameters
        else {"random": "choice", "shape": shape, "seed": seed + 1, "of": [0, 1, 0.5]},
    }


def _lengths(draw: Draw, *largest: int) -> list[int]:
    smallest = 0 if draw(st.integers(0, 15)) == 15 else 1
    return [draw(st.integers(smallest if i == 0 else 1, limit)) for i, limit in enumerate(largest)]


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.delete(shape, axis))


# -- inputs of each function ------------------------------------------------------------------


def _axis(draw: Draw, shape: tuple[int, ...]) -> int:
    last = -1 if draw(st.booleans()) else len(shape) - 1
    return last if draw(st.integers(0, 2)) else int(draw(st.integers(-len(shape), len(shape) - 1)))


def _elementwise(draw: Draw, function: Function, dtype: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Arrays of one shape, and the parameters that depend on it."""
    names = [array.name for array in function.arrays]
    along_axis = any(parameter.name == "axis" for parameter in function.parameters)
    described = draw(st.integers(0, 11)) == 11
    shape = _shape(draw, 1 if along_axis else 0)
    if along_axis:
        parameters["axis"] = -1 if described else _axis(draw, shape)
    if described:
        long = _described(draw, dtype, parameters)
        parameters |= {p.name: None for p in function.parameters if p.kind == "array"}
        return {name: long[name] for name in names}
    inputs: dict[str, Any] = {}
    for name in names:
        if name == "probabilities":
            inputs[name] = _probabilities(draw, dtype, shape)
        elif name == "target" and function.name != "l2_loss" and "prediction" not in names:
            inputs[name] = (
                _dense_targets(draw, dtype, shape, parameters["axis"])
                if along_axis
                else _targets(draw, dtype, shape)
            )
        else:
            inputs[name] = _logits(draw, dtype, shape)
    for parameter in function.parameters:
        if parameter.kind == "array":
            last = () if not shape else shape if parameter.name == "weight" else shape[-1:]
            parameters[parameter.name] = None if draw(st.booleans()) else _weights(draw, last)
    return inputs


def _sparse(draw: Draw, dtype: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if draw(st.integers(0, 11)) == 11:
        parameters |= {"axis": -1, "weight": None, "ignore_index": draw(st.sampled_from((None, 0, 255)))}
        long = _described(draw, dtype, parameters)
        return {"logits": long["logits"], "labels": long["labels"]}
    shape = _shape(draw, 1)
    axis = parameters["axis"] = _axis(draw, shape)
    ignored = parameters["ignore_index"] = draw(st.sampled_from((None, None, 255, -100, -1, 0)))
    classes = shape[axis]
    parameters["weight"] = None if draw(st.booleans()) else _weights(draw, (classes,))
    rows = _without(shape, axis)
    return {"logits": _logits(draw, dtype, shape), "labels": _labels(draw, rows, classes, ignored)}


def _resize(draw: Draw, dtype: str, parameters: dict[str, Any]) -> dict[str, Any]:
    n, height, width = _lengths(draw, 2, 9, 9)
    # Some quotients i·H/h are integers that floating point misses; sizes up to 70 have them all.
    if draw(st.booleans()):
        height, width = draw(st.integers(1, 70)), 1
    parameters["size"] = (
        draw(st.integers(1, 70 if width == 1 else 9)),
        draw(st.integers(1, 9 if width > 1 else 1)),
    )
    highest = min(255, np.iinfo(INTEGER_TYPES[dtype]).max)
    if height > 9:
        return {
            "labels": np.broadcast_to((np.arange(height) % highest)[None, :, None], (n, height, width)).copy()
        }
    labels = draw(hnp.arrays(np.int64, (n, height, width), elements=st.integers(0, highest)))
    return {"labels": labels}


def _heads(count: int) -> Callable[[Draw, str, dict[str, Any]], dict[str, Any]]:
    def inputs(draw: Draw, dtype: str, parameters: dict[str, Any]) -> dict[str, Any]:
        n, height, width, classes = _lengths(draw, 2, 7, 7, 4)
        parameters["num_classes"] = classes
        logits = [
            _logits(draw, dtype, (n, draw(st.integers(1, 4)), draw(st.integers(1, 4)), classes))
            for _ in range(count)
        ]
        labels = _labels(draw, (n, height, width), classes, draw(st.sampled_from((None, 255, classes))))
        return dict(zip(("logits", "aux_logits"), logits, strict=False)) | {"labels": labels}

    return inputs


def _predict(draw: Draw, dtype: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"logits": _logits(draw, dtype, tuple(_lengths(draw, 2, 3, 3, 5)))}


def _mask_loss(name: str) -> Callable[[Draw, str, dict[str, Any]], dict[str, Any]]:
    def inputs(draw: Draw, dtype: str, parameters: dict[str, Any]) -> dict[str, Any]:
        b, r, height, width, classes = _lengths(draw, 2, 3, 3, 3, 3)
        draw_masks = _logits if name == "mask_logits" else _probabilities
        ids = draw(hnp.arrays(np.int64, (b, r), elements=st.integers(0, classes - 1)))
        if draw(st.integers(0, 15)) == 15 and ids.size:
            ids.flat[0] = classes
        return {
            "target_masks": _targets(draw, dtype, (b, r, height, width)),
            "target_class_ids": ids,
            name: draw_masks(draw, dtype, (b, r, height, width, classes)),
        }

    return inputs


def _select(draw: Draw, dtype: str, parameters: dict[str, Any]) -> dict[str, Any]:
    b, r, height, width, classes = _lengths(draw, 2, 3, 3, 3, 3)
    return {
        "pred_masks": _logits(draw, dtype, (b, r, height, width, classes)),
        "class_ids": draw(hnp.arrays(np.int64, (b, r), elements=st.integers(0, classes - 1))),
    }


_INPUTS: Mapping[str, Callable[[Draw, str, dict[str, Any]], dict[str, Any]]] = {
    "sparse_softmax_cross_entropy": _sparse,
    "pspnet_resize_labels": _resize,
    "pspnet_loss": _heads(1),
    "pspnet_total_loss": _heads(2),
    "pspnet_predict": _predict,
    "mask_rcnn_mask_loss": _mask_loss("pred_masks"),
    "mask_rcnn_mask_loss_with_logits": _mask_loss("mask_logits"),
    "mask_rcnn_select_masks": _select,
}


def _parameter(draw: Draw, name: str, default: Any) -> Any:
    choices: dict[str, tuple[Any, ...]] = {
        "reduction": ("mean", "none", "sum") if default == "mean" else REDUCTIONS,
        "half": (False, True),
        "label_smoothing": (0.0, 0.0, 0.125, 0.1, 1.0),
        "aux_weight": (0.4, 0.0, 1.0),
    }
    return draw(st.sampled_from(choices[name]))


def _result_shape(
    function: Function, arrays: Mapping[str, npt.NDArray[Any]], parameters: Mapping[str, Any]
) -> tuple[int, ...] | None:
    """Shape of the result where it is not a scalar, else None."""
    if parameters.get("reduction", "none") != "none":
        return None
    if "labels" in arrays:
        if function.name == "sparse_softmax_cross_entropy":
            return arrays["labels"].shape
        return arrays["logits"].shape[:3] if function.name == "pspnet_loss" else None
    if function.name.startswith("mask_rcnn"):
        return None
    shape = next(iter(arrays.values())).shape
    if function.name in ("cross_entropy", "softmax_cross_entropy", "euclidean_distance"):
        return _without(shape, parameters["axis"])
    return shape
