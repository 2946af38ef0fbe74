"""A backend that flushes every subnormal number, intermediates and inputs too, meets what is required."""

from __future__ import annotations

import numpy as np
import pytest
from lossproof.adapters.numpy import NumpyAdapter

from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.verdicts import FAILURES
from lossproof.engine.call import ask
from lossproof.engine.judge import judge
from tests.own_cases import every_case

torch = pytest.importorskip("torch")


def test_flushing_hardware_fails_no_required_case() -> None:
    """PyTorch sets the processor's FTZ and DAZ for its thread, and NumPy computes with them (T-11)."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot be told to flush")
    torch.set_flush_denormal(False)
    adapter = NumpyAdapter()
    failures: list[str] = []
    flushed = 0
    for case in every_case():
        for dtype in set(case.dtypes) & set(FLOAT_TYPES) if case.level == "required" else ():
            torch.set_flush_denormal(True)
            try:
                with np.errstate(all="ignore"):
                    answer = ask(adapter, case, dtype)
            finally:
                # The judge is to see subnormal numbers.
                torch.set_flush_denormal(False)
            for output, (verdict, variant, comparison) in judge(case, dtype, answer).items():
                flushed += variant == "flushes-subnormals"
                if verdict in FAILURES:
                    failures.append(f"{case.id} {dtype} {output}: {comparison.message}")
    assert not failures
    assert flushed, "nothing was flushed"
