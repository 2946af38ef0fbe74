"""The pipe agrees with the process: what an adapter does has one verdict and one message, here and apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.case.model import Case
from lossproof.core.verdicts import Verdict
from lossproof.engine.call import bind
from lossproof.engine.record import Record
from lossproof.engine.runner import jobs, run_here
from lossproof.isolation import protocol
from lossproof.isolation.encode import encode_array
from lossproof.isolation.load import load_adapter
from lossproof.isolation.protocol import decode_array
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.loaded import Loaded
from tests.own_cases import quick_cases

CASES = {case.id: case for case in quick_cases()}
# A value and gradients, weights and a cotangent, labels, and a result of integers.
CHOSEN = [
    "softmax/ordinary/three-classes",
    "sparse_softmax_cross_entropy/weights/cotangent",
    "pspnet_resize_labels/nearest/exact-ratio",
    "softmax/special/nan-in-a-row",
]


def records_of(loaded: Loaded, cases: list[Case], dtypes: tuple[str, ...] = ()) -> list[Record]:
    try:
        return [row for rows in run_here(loaded, jobs(cases, dtypes)) for row in rows]
    finally:
        if isinstance(loaded.adapter, RemoteAdapter):
            loaded.adapter.close()


# Every case of the quick set on NumPy and PyTorch is in test_isolation.py.
@pytest.mark.parametrize("name", ["tensorflow", "keras", "jax", "optax"])
def test_every_framework_agrees_with_itself_apart(name: str) -> None:
    here = load_adapter(name)
    if here.adapter is None:
        pytest.skip(str(here.info.skipped))
    cases = [CASES[id] for id in CHOSEN]
    apart = load_adapter(name, isolate=True)
    assert apart.info == here.info
    assert records_of(apart, cases, ("float32",)) == records_of(here, cases, ("float32",))


# One adapter that is as odd as a file says at the moment.
SOURCE = """
from pathlib import Path
import numpy as np
from lossproof import Unsupported
from lossproof.adapters.numpy import NumpyAdapter

class Odd(NumpyAdapter):
    name = "odd"
    dtypes = ["float64", "float32"]

    def now(self):
        return KINDS[Path(__file__).with_suffix(".kind").read_text("utf-8")]()

    def from_numpy(self, x):
        return self.now().from_numpy(x)

    def to_numpy(self, x):
        return self.now().to_numpy(x)

    def softmax(self, logits, *, axis):
        return self.now().softmax(logits, axis=axis)

    def value_and_gradients(self, *arguments, **parameters):
        return self.now().value_and_gradients(*arguments, **parameters)

KINDS = {}
"""
KIND = """
class Kind(NumpyAdapter):
    {body}

KINDS[{name!r}] = Kind
"""
GIVES = "def to_numpy(self, x): return {}"
TAKES = "def from_numpy(self, x):\n        {}\n        return x"
SOFTMAX = "def softmax(self, logits, *, axis): {}"
GRADIENTS = "def value_and_gradients(self, f, arrays, wrt, **_): {}"

# Bodies of the adapter; and what a message says, or nothing where all of them pass.
ODD = {
    # what it makes of arrays
    "unsupported-input": (TAKES.format("raise Unsupported('no such arrays')"), "no such arrays"),
    "unsupported-dtype": (TAKES.format("if x.itemsize == 4: raise Unsupported('no float')"), "no float"),
    "unsupported-weights": (TAKES.format("if x.ndim == 1: raise Unsupported('no weights')"), "no weights"),
    "error-for-input": (TAKES.format("raise ValueError('no such arrays')"), "ValueError: no such arrays"),
    "exit-for-input": (TAKES.format("raise SystemExit('no')"), "SystemExit: no"),
    "long-reason": (TAKES.format("raise Unsupported('long ' * 5000)"), "long long"),
    "reason-of-lines": (TAKES.format("raise Unsupported('one\\n\\n two')"), "one two"),
    "reason-of-half-a-character": (TAKES.format("raise Unsupported('\\ud800')"), "?"),
    "no-reason": (TAKES.format("raise Unsupported"), None),
    "long-error": (TAKES.format("raise type('E' * 5000, (Exception,), {})('long ' * 5000)"), "EEE"),
    "error-without-text": (
        TAKES.format("raise type('E', (Exception,), dict(__str__=lambda self: 1 / 0))"), "E: (",
    ),
    # what it gives
    "big-endian": (GIVES.format("np.asarray(x).astype(np.asarray(x).dtype.newbyteorder('>'))"), ""),
    "read-only": (GIVES.format("np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape)"), ""),
    "backwards": (GIVES.format("np.flip(np.flip(x).copy())"), ""),
    "transposed": (GIVES.format("np.asfortranarray(x)"), ""),
    "broadcast": (GIVES.format("np.broadcast_to(np.ravel(x)[:1], np.shape(x))"), "wrong"),
    "matrix": (GIVES.format("np.asmatrix(x) if np.ndim(x) == 2 else x"), ""),
    "scalars": (GIVES.format("np.asarray(x)[()]"), ""),
    "record": (GIVES.format("np.zeros(np.shape(x), [('a', 'f4')])"), "to_numpy gave dtype"),
    "void": (GIVES.format("np.zeros(np.shape(x), 'V4')"), "to_numpy gave dtype |V4"),
    "text": (GIVES.format("np.asarray(x).astype(str)"), "to_numpy gave dtype <U"),
    "objects": (GIVES.format("np.asarray(x, object)"), "to_numpy gave dtype object"),
    "complex": (GIVES.format("np.asarray(x, complex)"), "to_numpy gave dtype complex"),
    "extended": (GIVES.format("np.asarray(x, np.longdouble)"), "dtype"),
    "float8": (GIVES.format("np.asarray(x).astype('float8_e5m2')"), "to_numpy gave dtype float8_e5m2"),
    "masked": (GIVES.format("np.ma.masked_array(x, True)"), "masked array"),
    "list": (GIVES.format("np.asarray(x).tolist()"), "to_numpy gave "),
    "none": (GIVES.format("None"), "to_numpy gave NoneType"),
    "generator": (GIVES.format("(y for y in x)"), "to_numpy gave generator"),
    "wider": (GIVES.format("np.asarray(x, float)"), "dtype float64 where"),
    "bools": (GIVES.format("np.asarray(x) > 0"), "dtype bool where"),
    "unsigned": (GIVES.format("np.asarray(x).astype(np.uint64)"), "dtype uint64 where"),
    # what is more than was given to it
    "outer": (SOFTMAX.format("return np.zeros((1200, 1200), logits.dtype)"), "shape (1200, 1200) where"),
    "deep": (SOFTMAX.format("return np.zeros((1,) * 16, logits.dtype)"), "shape (1, 1, 1"),
    "empty": (SOFTMAX.format("return np.zeros((0, 7), logits.dtype)"), "shape (0, 7) where"),
    # what it gives where gradients are due
    "nothing": (GRADIENTS.format("return None"), "TypeError"),
    "no-gradients": (GRADIENTS.format("return f(*arrays.values()), {}"), "KeyError"),
    "gradients-are-unsupported": (GRADIENTS.format("raise Unsupported('x' * 5000)"), "xxx"),
    "no-cotangent": ("def value_and_gradients(self, f, arrays, wrt): raise ValueError('no')", "TypeError"),
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Loaded, Loaded]]:
    """The file that says how odd it is, and the adapter here and apart."""
    path = tmp_path_factory.mktemp("odd") / "odd.py"
    kinds = (KIND.format(body=body, name=name) for name, (body, _) in ODD.items())
    path.write_text(SOURCE + "".join(kinds), encoding="utf-8")
    here, apart = load_adapter(f"{path}:Odd"), load_adapter(f"{path}:Odd", isolate=True)
    yield path.with_suffix(".kind"), here, apart
    assert isinstance(apart.adapter, RemoteAdapter)
    apart.adapter.close()


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_adapter_has_the_same_records_here_and_apart(
    kind: str, odd: tuple[Path, Loaded, Loaded]
) -> None:
    switch, here, apart = odd
    switch.write_text(kind, encoding="utf-8")
    pairs = [*jobs([CASES[id] for id in CHOSEN], [])]
    found, same = ([row for rows in run_here(one, pairs) for row in rows] for one in (here, apart))
    assert [record.to_json() for record in same] == [record.to_json() for record in found]
    assert all("does not list bfloat16" in record.message for record in found if record.dtype == "bfloat16")
    message = ODD[kind][1]
    if message:
        assert any(message in record.message for record in found)
    elif message is not None:
        assert {record.verdict for record in found} <= {Verdict.PASS, Verdict.VARIANT, Verdict.UNSUPPORTED}


def test_what_is_due_may_be_larger_than_what_was_given() -> None:
    """Labels resized upwards: a few numbers in, many out."""
    case = CASES["pspnet_resize_labels/nearest/exact-ratio"]
    labels = np.array([[[1, 2], [3, 4]]])
    grown = np.repeat(np.repeat(labels, 900, axis=1), 1000, axis=2)
    assert case.expected is not None
    large = replace(
        case,
        inputs={"labels": labels},
        parameters={**case.parameters, "size": (1800, 2000)},
        expected={"value": grown},
        tolerances={},
    )
    here, apart = (records_of(load_adapter("numpy", isolate=isolate), [large]) for isolate in (False, True))
    assert apart == here
    assert {record.verdict for record in here} == {Verdict.PASS}


def test_every_answer_that_is_right_is_short_enough() -> None:
    """By what each element that is due may take: the rest is for what is wrong."""
    for case in quick_cases():
        adapter = NumpyAdapter()
        for dtype in case.dtypes:
            _fits(adapter, case, dtype)


def _fits(adapter: NumpyAdapter, case: Case, dtype: str) -> None:
    assert case.expected is not None
    call, arrays, _ = bind(adapter, case, dtype)
    limit = protocol.answer_limit(call.function, arrays, call.parameters, case.wrt)
    elements = sum(int(np.prod(due.shape)) for due in case.expected.values())
    assert limit >= 2**16 + 64 * elements


@pytest.mark.parametrize("order", ["<", ">", "="])
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u4", "i2"])
def test_the_order_of_bytes_is_no_matter_of_the_pipe(order: str, dtype: str) -> None:
    array: Any = np.arange(100).astype(np.dtype(order + dtype))
    for part in (array, array[:5], array[::-3], array.reshape(10, 10).T):
        back = decode_array(encode_array(part), "x")
        assert back.dtype == part.dtype.newbyteorder("=") and (back == part).all()
