"""A case's arrays as a call gets them: in one dtype, laid out in memory as the case says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, numpy_dtype
from lossproof.core.layout import laid_out


def numpy_arrays(case: Case, dtype: str) -> dict[str, npt.NDArray[Any]]:
    """Fresh NumPy arrays of a case's inputs in a dtype, laid out in memory as the case says."""
    arrays, exact = {}, case.exact_arrays
    for array in case.function.arrays:
        integer = array.integer and dtype in FLOAT_TYPES
        cast = exact[array.name].astype(np.int64 if integer else numpy_dtype(dtype))
        arrays[array.name] = laid_out(cast, case.layout.get(array.name))
    return arrays


def repeated(array: npt.NDArray[Any], times: int) -> npt.NDArray[Any]:
    """An array ``times`` times along its first axis, itself if that is once."""
    return array if times == 1 else np.tile(array, (times, *[1] * (array.ndim - 1)))


def numpy_parameters(case: Case, dtype: str) -> dict[str, Any]:
    """The case's keyword parameters, arrays as NumPy arrays of the dtype."""
    kinds = {parameter.name: parameter.kind for parameter in case.function.parameters}
    return {
        name: _floats(case, name, value, dtype) if kinds[name] == "array" and value is not None else value
        for name, value in case.parameters.items()
    }


def numpy_cotangent(case: Case, dtype: str) -> npt.NDArray[Any] | None:
    """The case's cotangent in the dtype, if it gives one."""
    return None if case.cotangent is None else _floats(case, "cotangent", case.cotangent, dtype)


def numpy_tangents(case: Case, dtype: str) -> dict[str, npt.NDArray[Any]]:
    """The directions of a case's derivatives in the dtype, by array."""
    cast = {
        name: materialize(spec, integer=False).astype(numpy_dtype(dtype))
        for name, spec in case.tangents.items()
    }
    return {name: laid_out(array, None) for name, array in cast.items()}


def _floats(case: Case, name: str, spec: Any, dtype: str) -> npt.NDArray[Any]:
    cast = materialize(spec, integer=False).astype(numpy_dtype(dtype))
    return laid_out(cast, case.layout.get(name))
