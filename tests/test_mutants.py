"""Every wrong implementation fails a required case; every correct one fails none."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from lossproof.adapters import numpy as ref
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.case import Case, load_cases
from lossproof.deviations import Deviations
from lossproof.engine import run_case
from lossproof.functions import FUNCTIONS
from lossproof.results import FAILURES, Record

from .mutants import MUTANTS

NO_DEVIATIONS = Deviations([], "", "", "")


@cache
def required() -> list[Case]:
    cases = [case for case in load_cases() if case.level == "required"]
    return sorted(cases, key=lambda case: sum(a.size for a in case.exact_arrays.values()))


def failures(adapter: NumpyAdapter, functions: tuple[str, ...]) -> Iterator[Record]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for case in required():
            if case.function.name not in functions:
                continue
            for dtype in case.dtypes:
                for record in run_case(adapter, "mutant", case, dtype, NO_DEVIATIONS):
                    if record.verdict in FAILURES:
                        yield record


def test_there_are_enough_mutants() -> None:
    assert len(MUTANTS) >= 40
    assert all(cls.__doc__ for cls in MUTANTS)
    assert {name for functions in MUTANTS.values() for name in functions} == set(FUNCTIONS)


@pytest.mark.parametrize(
    ("cls", "function"),
    [(cls, function) for cls, functions in MUTANTS.items() for function in functions],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_mutant_is_caught(cls: type[NumpyAdapter], function: str) -> None:
    caught = next(failures(cls(), (function,)), None)
    assert caught is not None, f"no required case of {function} notices: {cls.__doc__}"
    # An error in the mutant's own code would catch nothing but itself.
    assert caught.verdict == "fail", caught.message


# -- correct implementations that compute otherwise -------------------------------------------


def in_order(x: Any, axis: int | None) -> Any:
    """The naive sum, from the first element to the last."""
    if axis is None:
        x, axis = x.ravel(), 0
    return np.add.accumulate(x, axis=axis).take(-1, axis=axis) if x.shape[axis] else x.sum(axis)


def kahan(x: Any, axis: int) -> Any:
    moved = np.moveaxis(x, axis, 0)
    total, lost = np.zeros_like(moved[0]), np.zeros_like(moved[0])
    for row in moved:
        y = row - lost
        t = total + y
        lost, total = (t - total) - y, t
    # The correction of an infinite sum is NaN.
    return np.where(np.isfinite(total), total, x.sum(axis=axis))


def softmax_with(summation: Callable[[Any, int], Any]) -> dict[str, Callable[..., Any]]:
    """Softmax, log-softmax and reductions with another order of summation."""

    def softmax(x: Any, axis: int) -> Any:
        e = np.exp(ref._shifted(x, axis))
        return e / np.expand_dims(summation(e, axis), axis) if x.shape[axis] else e

    def log_softmax(x: Any, axis: int) -> Any:
        shifted = ref._shifted(x, axis)
        if not x.shape[axis]:
            return shifted
        return shifted - np.log(np.expand_dims(summation(np.exp(shifted), axis), axis))

    def reduce(loss: Any, reduction: str) -> Any:
        if reduction == "none" or not loss.size:
            return ORIGINAL_REDUCE(loss, reduction)
        total = summation(loss.ravel(), 0)
        return np.asarray(total if reduction == "sum" else total / np.float64(loss.size))

    return {"_softmax": softmax, "_log_softmax": log_softmax, "_reduce": reduce}


ORIGINAL_REDUCE = ref._reduce
ORIGINAL_SHIFTED = ref._shifted


def shuffled(x: Any, axis: int) -> Any:
    order = np.random.default_rng(5).permutation(x.shape[axis])
    return in_order(x.take(order, axis=axis), axis)


def online_softmax(x: Any, axis: int) -> Any:
    """One pass over blocks, rescaling the running sum when the maximum grows."""
    moved = np.moveaxis(x, axis, -1)
    if not moved.shape[-1] or np.isposinf(moved).any():
        return ORIGINAL_SOFTMAX(x, axis)
    top = np.full(moved.shape[:-1], -np.inf, x.dtype)
    total = np.zeros(moved.shape[:-1], x.dtype)
    for start in range(0, moved.shape[-1], 64):
        block = moved[..., start : start + 64]
        new = np.maximum(top, block.max(axis=-1))
        keep = np.where(np.isneginf(top) & np.isneginf(new), 0, np.exp(top - new))
        inside = np.exp(block - new[..., None])
        inside = np.where(np.isneginf(new)[..., None] & np.isneginf(block), 0, inside)
        total, top = total * keep + inside.sum(axis=-1), new
    return np.moveaxis(np.exp(moved - top[..., None]) / total[..., None], -1, axis)


ORIGINAL_SOFTMAX = ref._softmax
ORIGINAL_LOG_SOFTMAX = ref._log_softmax


class EveryOperationInHalf(NumpyAdapter):
    """float16 with every elementwise operation rounded to float16, sums in float32."""

    dtypes = ("float16",)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        x = logits.astype(np.float16)
        e = np.exp(ORIGINAL_SHIFTED(x, axis).astype(np.float16)).astype(np.float16)
        return (e / e.sum(axis=axis, keepdims=True, dtype=np.float32)).astype(np.float16)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        d = ORIGINAL_SHIFTED(logits.astype(np.float16), axis).astype(np.float16)
        total = np.exp(d).astype(np.float16).sum(axis=axis, keepdims=True, dtype=np.float32)
        return (d - np.log(total).astype(np.float16)).astype(np.float16)

    def sigmoid(self, logits: Any) -> Any:
        e = np.exp(-np.abs(logits))
        one = np.float16(1)
        return (np.where(logits >= 0, one, e) / (one + e)).astype(np.float16)

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        d = (prediction - target).astype(np.float16)
        loss = d * d * np.float16(0.5 if half else 1)
        if reduction == "none":
            return loss.astype(np.float16)
        total = loss.sum(dtype=np.float32)
        return np.asarray(total / loss.size if reduction == "mean" else total, dtype=np.float16)


class FlushesSubnormals(NumpyAdapter):
    """Subnormal results and gradients become 0, as on hardware that flushes."""

    def to_numpy(self, array: Any) -> Any:
        array = np.asarray(array)
        if not (np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16"):
            return array
        import ml_dtypes

        tiny = float(ml_dtypes.finfo(array.dtype).smallest_normal)
        return np.where(np.abs(array.astype(np.float64)) < tiny, 0, array).astype(array.dtype)


class Chunked(NumpyAdapter):
    """Rows are worked on in chunks of three."""

    def _chunks(self, method: Callable[..., Any], logits: Any, axis: int) -> Any:
        moved = np.moveaxis(logits, axis, -1)
        flat = moved.reshape(-1, moved.shape[-1]) if moved.size else moved
        if not moved.size:
            return method(logits, axis=axis)
        parts = [method(flat[i : i + 3], axis=-1) for i in range(0, len(flat), 3)]
        return np.moveaxis(np.concatenate(parts).reshape(moved.shape), -1, axis)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return self._chunks(super().softmax, logits, axis)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return self._chunks(super().log_softmax, logits, axis)


def stable_binary(x: Any, y: Any) -> Any:
    return np.maximum(x, 0) - x * y + np.log(1 + np.exp(-np.abs(x)))


class MaxForm(NumpyAdapter):
    """max(x, 0) − x·y + ln(1 + e^−|x|), with log instead of log1p, where nothing is infinite."""

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        if pos_weight is not None or not np.isfinite(logits.astype(np.float32)).all():
            return super().sigmoid_cross_entropy(
                logits, target, weight=weight, pos_weight=pos_weight, reduction=reduction
            )
        loss = stable_binary(ref._wide(logits), ref._wide(target))
        return ref._reduce(ref._weighted(loss, weight), reduction).astype(logits.dtype)


CORRECT: dict[str, tuple[type[NumpyAdapter], dict[str, Callable[..., Any]]]] = {
    "naive-order": (NumpyAdapter, softmax_with(in_order)),
    "reversed-order": (
        NumpyAdapter,
        softmax_with(lambda x, axis: in_order(np.flip(x, axis), axis)),
    ),
    "shuffled-order": (NumpyAdapter, softmax_with(shuffled)),
    "kahan": (NumpyAdapter, softmax_with(kahan)),
    "online-softmax": (NumpyAdapter, {"_softmax": online_softmax}),
    "softmax-from-log-softmax": (
        NumpyAdapter,
        {"_softmax": lambda x, axis: np.exp(ORIGINAL_LOG_SOFTMAX(x, axis))},
    ),
    "float64-inside": (NumpyAdapter, {"_wide": lambda x: x.astype(np.float64)}),
    "one-sided-sigmoid": (NumpyAdapter, {"_sigmoid": lambda x: 1 / (1 + np.exp(-x))}),
    "log-instead-of-log1p": (
        NumpyAdapter,
        {"_softplus": lambda x: np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x)))},
    ),
    "max-form": (MaxForm, {}),
    "every-operation-in-half": (EveryOperationInHalf, {}),
    "flushes-subnormals": (FlushesSubnormals, {}),
    "chunked-rows": (Chunked, {}),
}


@pytest.mark.parametrize("name", CORRECT)
def test_correct_implementation_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, patches = CORRECT[name]
    for attribute, replacement in patches.items():
        monkeypatch.setattr(ref, attribute, replacement)
    wrong = [f"{r.case} {r.dtype} {r.output}: {r.message}" for r in failures(cls(), tuple(FUNCTIONS))]
    assert not wrong, "\n".join(wrong[:20])
