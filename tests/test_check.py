"""What ``lossproof.check`` takes, and what it says of what is wrong."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import lossproof
from lossproof.core.verdicts import Verdict
from lossproof.errors import LossproofError
from lossproof.mistakes import CheckFailure

torch = pytest.importorskip("torch")
F = torch.nn.functional
SPARSE = "sparse_softmax_cross_entropy"


def softmax(logits: Any, *, axis: int = -1) -> Any:
    with np.errstate(all="ignore"):
        wide = logits.astype(np.float64)
        powers = np.exp(wide - wide.max(axis, keepdims=True))
        return (powers / powers.sum(axis, keepdims=True)).astype(logits.dtype)


def failure(function: Any, name: str, **given: Any) -> CheckFailure:
    with pytest.raises(CheckFailure) as caught:
        lossproof.check(function, name, **given)
    assert str(caught.value).splitlines()[0].endswith("outputs are wrong")
    return caught.value


@pytest.mark.parametrize(
    ("function", "name", "wrong", "right"),
    [
        (lambda logits, labels, weights=None: 0, SPARSE, "weights", "weight"),
        (lambda logits, labels, *, ignore_label=None: 0, SPARSE, "ignore_label", "ignore_index"),
        (lambda logits, labels, smoothing=0: 0, SPARSE, "smoothing", "label_smoothing"),
        (lambda logits, dim=-1: logits, "softmax", "dim", "axis"),
        (F.softmax, "softmax", "dim", "axis"),
    ],
)
def test_a_misnamed_parameter_is_an_error_that_names_the_right_one(
    function: Any, name: str, wrong: str, right: str
) -> None:
    with pytest.raises(LossproofError, match=f"parameter '{wrong}', which the specification calls '{right}'"):
        lossproof.check(function, name)


def test_arrays_may_be_called_anything_and_so_may_what_is_settled() -> None:
    records = lossproof.check(lambda dim: softmax(dim), "softmax", dtypes=["float32"], cases=["ordinary/*"])
    assert records and all(record.verdict is Verdict.PASS for record in records)
    settled = functools.partial(F.softmax, dim=-1)
    assert lossproof.check(settled, "softmax", framework="torch", dtypes=["float32"], cases=["ordinary/*"])


def test_a_module_is_checked_on_what_it_is_set_to() -> None:
    given: Any = {"framework": "torch", "dtypes": ["float32"], "layout": "channels_first"}
    given["cases"] = ["ordinary/*", "weights/*", "ignored/minus-hundred", "ignored/one-of-three"]
    records = lossproof.check(torch.nn.CrossEntropyLoss(), SPARSE, **given)
    assert records and {record.verdict for record in records} <= {Verdict.PASS, Verdict.VARIANT}
    said = " ".join(records.left_out)
    assert "weight fixed to None" in said and "ignore_index fixed to -100" in said
    assert "reduction fixed to mean" in said
    summed = lossproof.check(torch.nn.CrossEntropyLoss(reduction="sum"), SPARSE, **given)
    assert {record.case for record in summed}.isdisjoint(record.case for record in records)
    partial = functools.partial(F.cross_entropy, reduction="sum")
    assert {record.case for record in summed} <= {r.case for r in lossproof.check(partial, SPARSE, **given)}


def test_a_reduction_may_be_fixed() -> None:
    def loss(prediction: Any, target: Any) -> Any:
        return ((prediction - target) ** 2).sum(dtype=np.float64).astype(prediction.dtype)

    given: Any = {"dtypes": ["float64"]}
    assert lossproof.check(loss, "l2_loss", reduction="sum", **given)
    failure(loss, "l2_loss", **given)
    with pytest.raises(LossproofError, match="unknown reduction 'summ'"):
        lossproof.check(loss, "l2_loss", reduction="summ")


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_classes_may_lie_at_axis_1(framework: str) -> None:
    def first(logits: Any) -> Any:
        axis = min(1, logits.ndim - 1)
        return softmax(logits, axis=axis) if framework == "numpy" else F.softmax(logits, dim=axis)

    given: Any = {"framework": framework, "dtypes": ["float64"], "cases": ["ordinary/*", "axis/*"]}
    given["skip"] = ["axis/no-classes"]
    records = lossproof.check(first, "softmax", layout="channels_first", **given)
    assert any(record.case.startswith("softmax/axis/") for record in records)
    with pytest.raises(LossproofError, match="functions with an axis"):
        lossproof.check(first, "sigmoid", layout="channels_first", **given)
    with pytest.raises(LossproofError, match="did you mean 'channels_first'"):
        lossproof.check(first, "softmax", layout="channels-first", **given)


def test_mistakes_are_grouped() -> None:
    def last_axis(logits: Any, *, axis: int = -1) -> Any:
        return softmax(logits)

    error = failure(last_axis, "softmax", cases=["ordinary/*", "axis/*"], dtypes=["float64", "float32"])
    assert "only with an axis that is not the last" in str(error) and "all dtypes" in str(error)

    def double(logits: Any, *, axis: int = -1) -> Any:
        return softmax(logits, axis=axis) * (2 if logits.dtype == np.float64 else 1)

    error = failure(double, "softmax", cases=["ordinary/*"], dtypes=["float64", "float32"])
    assert "value, float64 only" in str(error)
    assert set(error.wrong) < set(error.records) and all(r.dtype == "float64" for r in error.wrong)
    assert len(error.wrong) == int(str(error).split(": ")[1].split(" of ")[0])


def test_the_failure_is_shown_where_check_was_called() -> None:
    with pytest.raises(AssertionError) as caught:
        lossproof.check(lambda logits: logits, "sigmoid", cases=["ordinary/*"])
    assert caught.traceback[-1].frame.f_locals["__tracebackhide__"] is True


def test_gradients_that_were_not_tested_are_said() -> None:
    given: Any = {"cases": ["ordinary/*", "gradients/*", "limits/*"], "dtypes": ["float64"]}
    records = lossproof.check(softmax, "softmax", **given)
    assert any(reason.startswith("gradients not tested: ") for reason in records.left_out)
    assert "gradients not tested: " in str(failure(lambda x: 2 * softmax(x), "softmax", **given))


def test_what_is_recorded_of_the_framework_does_not_fail_what_is_built_on_it() -> None:
    """A row of NaN that is ignored has the gradient NaN in PyTorch, and so has any function made of it."""
    given: Any = {"framework": "torch", "dtypes": ["float32"], "cases": ["ignored/gradient-of-ignored-nan"]}

    def built(logits: Any, labels: Any, *, ignore_index: Any = -100, reduction: str = "mean") -> Any:
        return F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction=reduction)

    records = lossproof.check(built, SPARSE, **given)
    (known,) = [record for record in records if record.verdict is Verdict.DEVIATION]
    assert known.deviation == "ignored-nan-gradient" and "as plain torch" in known.message

    def worse(logits: Any, labels: Any, *, ignore_index: Any = -100, reduction: str = "mean") -> Any:
        return 2 * built(logits, labels, ignore_index=ignore_index, reduction=reduction)

    error = failure(worse, SPARSE, **given)
    assert "value" in {record.output for record in error.wrong} and "fails this too" not in str(error)
