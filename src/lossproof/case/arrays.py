"""A case's arrays as a call gets them: in one dtype, laid out in memory as the case says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.inputs import laid_out, materialize
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, numpy_dtype


def numpy_arrays(case: Case, dtype: str) -> dict[str, npt.NDArray[Any]]:
    """Fresh NumPy arrays of a case's inputs in a dtype, laid out in memory as the case says."""
    arrays = {}
    for array in case.function.arrays:
        exact = case.exact_arrays[array.name]
        integer = array.integer and dtype in FLOAT_TYPES
        cast = exact.astype(np.int64 if integer else numpy_dtype(dtype))
        arrays[array.name] = laid_out(cast, case.layout.get(array.name))
    return arrays


def numpy_parameters(case: Case, dtype: str) -> dict[str, Any]:
    """The case's keyword parameters, arrays as NumPy arrays of the dtype."""
    kinds = {parameter.name: parameter.kind for parameter in case.function.parameters}
    return {
        name: materialize(value, integer=False).astype(numpy_dtype(dtype))
        if kinds[name] == "array" and value is not None
        else value
        for name, value in case.parameters.items()
    }
