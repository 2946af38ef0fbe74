"""Three kernels under test inside ordinary unit tests; see docs/one-kernel.md."""

import numba_softmax
import numpy as np
import pytest
from fused_cross_entropy import fused_cross_entropy

import lossproof


def test_fused_cross_entropy() -> None:
    def kernel(logits, labels):
        if logits.ndim != 2:
            raise lossproof.Unsupported("it takes rows of logits")
        return fused_cross_entropy(logits, labels)

    lossproof.check(kernel, "sparse_softmax_cross_entropy", framework="torch")


def test_numba_softmax() -> None:
    lossproof.check(
        numba_softmax.softmax, "softmax",
        gradient=numba_softmax.softmax_gradient, dtypes=["float64", "float32"],
    )  # fmt: skip


def test_plain_callable() -> None:
    lossproof.check(lambda logits: np.exp(-np.logaddexp(0, -logits)), "sigmoid", dtypes=["float64"])


def test_a_wrong_kernel_is_told_what_is_wrong() -> None:
    def no_max_subtraction(logits):
        e = np.exp(logits)
        return e / e.sum(axis=-1, keepdims=True)

    with pytest.raises(AssertionError) as error:
        lossproof.check(no_max_subtraction, "softmax", dtypes=["float64"])
    assert "softmax/axis/rows-of-different-magnitude float64 value (SM-2)" in str(error.value)
    assert "nan where" in str(error.value)
