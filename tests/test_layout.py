"""How arrays lie in memory: what each layout promises, by name and back, and what case files may ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.adapter import Call
from lossproof.case.inputs import materialize
from lossproof.case.read import load_file
from lossproof.core.layout import ALIGNMENT, LAYOUTS, laid_out, layout_of
from lossproof.engine.call import bind
from lossproof.errors import InputError
from lossproof.isolation.encode import encode_array
from lossproof.isolation.protocol import decode_array
from tests.own_cases import every_case

DTYPES = ["float64", "float32", "float16", ml_dtypes.bfloat16, "int64"]
SHAPES = [(5,), (3, 5), (2, 3, 5), (2, 3, 4, 5), (7, 1, 3)]
CASES = {case.id: case for case in every_case()}


def array_for(layout: str, shape: tuple[int, ...], dtype: Any) -> Any:
    if layout == "broadcast":
        return np.broadcast_to(np.arange(1, shape[-1] + 1), (*shape[:-1], shape[-1])).astype(dtype)
    return np.arange(1, np.prod(shape) + 1).reshape(shape).astype(dtype)


def promised(layout: str, array: Any) -> Any:
    """Whether an array lies in memory as the name says."""
    strides, size = array.strides, array.dtype.itemsize
    match layout:
        case "transposed":
            return array.flags.f_contiguous
        case "strided":
            return strides[-1] == 2 * size
        case "sliced":
            return strides[-1] == size and strides[-2] > size * array.shape[-1]
        case "unaligned":
            return array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == size
        case "reversed":
            return strides[-1] == -size
        case "broadcast":
            return 0 in strides
        case "channels-first":
            return np.moveaxis(array, -1, 1).flags.c_contiguous
    return np.moveaxis(array, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_keeps_its_promise(layout: str, shape: tuple[int, ...], dtype: Any) -> None:
    array = array_for(layout, shape, dtype)
    if len(shape) < LAYOUTS[layout].axes or (layout == "broadcast" and len(shape) < 2):
        with pytest.raises(ValueError, match=r"axes at least|an axis along which"):
            laid_out(array, layout)
        return
    placed = laid_out(array, layout)
    assert promised(layout, placed) and (placed == array).all() and placed.dtype == array.dtype
    placed[...] = array  # frameworks demand arrays that may be written to
    if 1 not in shape:
        # The name tells the other end of a pipe the same.
        message = encode_array(placed)
        assert message["layout"] == layout_of(placed)
        # Of three axes the two ways of channels are the same.
        assert layout_of(placed) == layout or (len(shape) == 3 and layout == "channels-last")
        again = laid_out(decode_array(message, "x"), message["layout"])
        assert again.strides == placed.strides and (again == placed).all()


def test_an_array_in_c_order_has_no_layout() -> None:
    for shape in [(), (0,), (1,), (3, 0), *SHAPES]:
        assert layout_of(np.ones(shape)) is None
        assert laid_out(np.ones(shape), None).shape == shape


class Recorded(NumpyAdapter):
    """Keeps the layout of every array that it gets."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []

    def from_numpy(self, array: Any) -> Any:
        self.seen.append(layout_of(array))
        return array


def test_parameters_and_cotangents_are_laid_out_as_well() -> None:
    case = next(
        case for case in CASES.values()
        if case.function.name == "sparse_softmax_cross_entropy" and case.parameters["weight"] is not None
    )  # fmt: skip
    given = replace(case, layout={"weight": "strided", "logits": "reversed", "cotangent": "unaligned"},
                    cotangent=np.ones(3))  # fmt: skip
    adapter = Recorded()
    call, arrays, cotangent = bind(adapter, given, "float32")
    assert isinstance(call, Call) and layout_of(arrays["logits"]) == "reversed"
    assert layout_of(call.parameters["weight"]) == "strided" and layout_of(cotangent) == "unaligned"
    assert sorted(filter(None, adapter.seen)) == ["reversed", "strided", "unaligned"]


FILE = """function: softmax
about: x
cases:
  - id: a
    clause: SM-1
    level: required
    why: x
    dtypes: [float32]
    inputs: {logits: %s}
    layout: %s
"""


@pytest.mark.parametrize(
    ("logits", "layout", "message"),
    [
        ("[1, 2]", "{logits: sliced}", "10: case 'a': layout sliced takes an array of 2 axes at least"),
        ("3", "{logits: strided}", "layout strided takes an array of 1 axes at least, but logits has 0"),
        ("[[1, 2]]", "{logits: channels-last}", "takes an array of 3 axes at least"),
        ("[1, 2]", "{logits: broadcast}", "layout broadcast takes an axis along which all"),
        ("[1, 2]", "{cotangent: strided}", "layout of cotangent, which the case does not give"),
        ("[1, 2]", "{weight: strided}", "unknown layout 'weight'; softmax has logits, cotangent"),
        ("[1, 2]", "{logits: sideways}", "layout of logits must be one of transposed, strided"),
    ],
)  # fmt: skip
def test_layouts_that_there_are_not_are_refused(
    logits: str, layout: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "topic.yaml"
    # Softmax takes an axis at least, sigmoid any array.
    text = FILE if logits != "3" else FILE.replace("softmax", "sigmoid").replace("SM-1", "SG-1")
    path.write_text(text % (logits, layout), encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_file(path)
    assert message in str(error.value)


# -- described arrays --------------------------------------------------------------------------


def test_what_descriptions_stand_for() -> None:
    assert materialize({"cycle": [1, 2, 3], "shape": [2, 4]}, True).tolist() == [[1, 2, 3, 1], [2, 3, 1, 2]]
    described = {"full": 0, "shape": [2, 2, 3], "diagonal": 5, "blocks": [[[[0, 1], [0, 2], [1, 3]], 7]],
                 "set": [[[0, 1, 1], 9]]}  # fmt: skip
    assert materialize(described, False).tolist() == [[[5, 7, 7], [0, 9, 7]], [[5, 0, 0], [0, 5, 0]]]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{full: 0, shape: [4], diagonal: 1}", "diagonal of logits takes two axes at least"),
        ("{full: 0, shape: [4], blocks: [[[[0, 5]], 1]]}", "blocks of logits must be a list of [[[from, to]"),
        ("{full: 0, shape: [4], blocks: [[[[2, 2]], 1]]}", "blocks of logits must be"),
        ("{full: 0, shape: [4], blocks: [[[[0, 1], [0, 1]], 1]]}", "blocks of logits must be"),
        ("{full: 0, shape: [4], blocks: [[[[0, 1]], 0.1]]}", "0.1 in logits is not exactly a float64"),
        ("{cycle: [], shape: [4]}", "cycle of logits must be numbers"),
        ("{cycle: [70000.5], shape: [4]}", "not exactly representable in float16"),
        ("{full: 0, shape: [4, 4], diagonal: 65536}", "not exactly representable in float16"),
        ("{full: 0, shape: [4], blocks: [[[[0, 1]], 65536]]}", "not exactly representable in float16"),
    ],
)
def test_descriptions_of_nothing_are_refused(spec: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "topic.yaml"
    text = FILE.partition("    layout")[0].replace("[float32]", "[float16]")
    path.write_text(text % spec, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_file(path)
    assert message in str(error.value)
