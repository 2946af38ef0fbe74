"""The NumPy reference: its formulas are pure, and how they are run over large arrays changes nothing."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lossproof.adapters import _numpy_blocks as blocks
from lossproof.adapters import _numpy_formulas as formulas
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.functions import FUNCTIONS
from lossproof.core.verdicts import FAILURES

from . import reference
from .detection import judged_case, required, size_of

MODULE = ast.parse(inspect.getsource(formulas))
DEFINITIONS = [node for node in MODULE.body if isinstance(node, ast.FunctionDef)]


def fixed(*shape: int, seed: int = 0, low: float = -3, high: float = 3) -> Any:
    """Numbers in an array that cannot be written to."""
    array = np.random.default_rng(seed).uniform(low, high, shape)
    array.flags.writeable = False
    return array


LABELS = np.arange(6)[:, None] % 4
V = fixed(6, 1, seed=2)
ROWS: dict[str, Callable[[Any], Any]] = {
    "euclidean_distance": lambda x: formulas.euclidean_distance(x, fixed(6, 4, seed=1)),
    "euclidean_distance_gradient": lambda x: formulas.euclidean_distance_gradient(x, fixed(6, 4, seed=1), V),
    "softmax": formulas.softmax,
    "softmax_gradient": lambda x: formulas.softmax_gradient(x, fixed(6, 4, seed=1)),
    "softmax_gradient of a column": lambda x: formulas.softmax_gradient(x, V),
    "log_softmax": formulas.log_softmax,
    "log_softmax_gradient": lambda x: formulas.log_softmax_gradient(x, fixed(6, 4, seed=1)),
    "cross_entropy": lambda x: formulas.cross_entropy(x, fixed(6, 4, seed=1)),
    "cross_entropy_gradient": lambda x: formulas.cross_entropy_gradient(x, fixed(6, 4, seed=1), V),
    "softmax_cross_entropy": lambda x: formulas.softmax_cross_entropy(x, fixed(6, 4, seed=1), 0.1),
    "softmax_cross_entropy_gradient": lambda x: formulas.softmax_cross_entropy_gradient(
        x, fixed(6, 4, seed=1), V, 0.1
    ),
    "sparse_softmax_cross_entropy": lambda x: formulas.sparse_softmax_cross_entropy(
        x, LABELS, fixed(4, seed=3)
    ),
    "sparse_softmax_cross_entropy_gradient": lambda x: formulas.sparse_softmax_cross_entropy_gradient(
        x, LABELS, V, fixed(4, seed=3)
    ),
    "smoothed_sparse_softmax_cross_entropy": lambda x: formulas.smoothed_sparse_softmax_cross_entropy(
        x, LABELS, 0.1, fixed(4, seed=3)
    ),
    "smoothed_sparse_softmax_cross_entropy_gradient": lambda x: (
        formulas.smoothed_sparse_softmax_cross_entropy_gradient(x, LABELS, V, 0.1, fixed(4, seed=3))
    ),
}


# -- the formulas ---------------------------------------------------------------------------------


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_a_formula_is_pure_and_says_what_it_is(definition: ast.FunctionDef) -> None:
    assert ast.get_docstring(definition), "the mathematics, the shapes and the clause belong in a docstring"
    for node in ast.walk(definition):
        targets = node.targets if isinstance(node, ast.Assign) else []
        assert not isinstance(node, ast.AugAssign), f"line {node.lineno} works in place"
        assert not any(isinstance(t, ast.Subscript | ast.Attribute) for t in targets), "an array is changed"
        assert not (isinstance(node, ast.keyword) and node.arg == "out"), "a formula knows of no buffers"


def test_a_gradient_stands_beside_its_value() -> None:
    names = [definition.name for definition in DEFINITIONS]
    for place, name in enumerate(names):
        if name.endswith("_gradient"):
            assert names[place - 1] == name.removesuffix("_gradient")


@pytest.mark.parametrize("special", [None, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", ROWS)
def test_a_formula_gives_in_place_what_it_gives_of_arrays(name: str, special: float | None) -> None:
    low = 0.0 if name.startswith("cross") else -3.0
    x = np.array(fixed(6, 4, low=low, high=1))
    if special is not None:
        x[1, 2] = special
    own = x.copy()
    x.flags.writeable = False
    with np.errstate(all="ignore"):
        plain = ROWS[name](x)
        np.testing.assert_array_equal(np.asarray(ROWS[name](blocks.Donated(x, np.empty_like(x)))), plain)
        np.testing.assert_array_equal(np.asarray(ROWS[name](blocks.Donated(own, own))), plain)


# -- how they are run -----------------------------------------------------------------------------


@pytest.mark.parametrize("block", [7, 2**17])
@pytest.mark.parametrize("large", [0, 2**60])
def test_neither_blocks_nor_work_in_place_change_a_verdict(block: int, large: int) -> None:
    with reference.replaced({"BLOCK": block, "LARGE": large}):
        # Blocks of seven are as many in arrays of hundreds as a block can tell apart.
        chosen = [case for case in required() if block > 7 or size_of(case) <= 1000]
        found = [record for case in chosen for record in judged_case(NumpyAdapter(), case)]
    wrong = [f"{r.case} {r.dtype} {r.output}: {r.message}" for r in found if r.verdict in FAILURES]
    assert {case.function.name for case in chosen} == set(FUNCTIONS)
    assert not wrong, "\n".join(wrong[:20])


def test_results_are_written_to_memory_of_their_own() -> None:
    """Of sizes that are worked on in place, from arrays that nothing may write to."""
    adapter, x, y = NumpyAdapter(), fixed(300, 400), fixed(300, 400, seed=1)
    labels = np.arange(300) % 400
    kept = x.copy()
    results = [
        adapter.softmax(x, axis=-1),
        adapter.log_softmax(x, axis=0),
        adapter.l2_loss(x, y, reduction="none", half=False),
        adapter._grad_softmax(y, x, axis=-1)["logits"],
        adapter._grad_sparse_softmax_cross_entropy(
            np.ones(()), x, labels, axis=-1, weight=None, ignore_index=3, label_smoothing=0.0, reduction="sum"
        )["logits"],
    ]
    np.testing.assert_array_equal(x, kept)
    for number, result in enumerate(results):
        assert result.flags.writeable
        assert not any(np.may_share_memory(result, other) for other in [x, y, *results[:number]])


def test_what_was_overwritten_cannot_be_used_again() -> None:
    x = fixed(2, 3)
    d = blocks.Donated(x, np.empty_like(x)) - 1
    e = np.exp(d)
    for use in (lambda: d * 2, lambda: np.exp(d), lambda: np.log(d), lambda: np.asarray(d), lambda: d.shape):
        with pytest.raises(RuntimeError, match=r"uses an intermediate result again .* overwritten"):
            use()
    np.testing.assert_array_equal(np.asarray(e), np.exp(x - 1))
    with pytest.raises(TypeError):
        e -= 1


def test_an_argument_outlives_arithmetic_in_other_memory() -> None:
    x = fixed(2, 3)
    donated = blocks.Donated(x, np.empty_like(x))
    first, second = donated - 1, donated - 2
    np.testing.assert_array_equal(np.asarray(first), x - 1)
    np.testing.assert_array_equal(np.asarray(second), x - 2)


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("classes", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("large", [0, 2**60])
def test_sums_along_rows(classes: int, large: int) -> None:
    x, y = fixed(3, classes), fixed(3, classes, seed=1)
    with reference.replaced({"LARGE": large}):
        column = y[:, :1]
        close(blocks.row_sum(x), x.sum(-1, keepdims=True))
        close(blocks.row_sum(x, of=np.exp), np.exp(x).sum(-1, keepdims=True))
        close(blocks.row_dot(x, y), (x * y).sum(-1, keepdims=True))
        close(blocks.row_dot(x, y[0]), (x * y[0]).sum(-1, keepdims=True))
        close(blocks.row_dot(x, column), (x * column).sum(-1, keepdims=True))
        same = np.broadcast_to(np.float64(0.1), x.shape)
        close(blocks.row_sum(same), np.full((3, 1), 0.1 * classes))
