"""The dtypes under test and their floating-point constants (IEEE 754-2019; bfloat16 as in ml_dtypes)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class FloatType:
    """A binary floating-point format.

    ``precision`` counts the significand's bits, the implicit one included; ``unit_roundoff`` is
    2**-precision, the largest relative error of one rounding to nearest.
    """

    name: str
    numpy: np.dtype
    precision: int
    smallest_normal: float
    largest: float

    @property
    def unit_roundoff(self) -> float:
        return 2.0**-self.precision

    @property
    def accumulation_roundoff(self) -> float:
        """Unit roundoff of the format that sums are accumulated in: float32 at least."""
        return min(self.unit_roundoff, 2.0**-24)

    @property
    def smallest_subnormal(self) -> float:
        return self.smallest_normal * 2.0 ** (1 - self.precision)

    @property
    def overflow_threshold(self) -> float:
        """Magnitudes from here on round to infinity (inf for float64: nothing finite is beyond it)."""
        if self.precision == 53:
            return float("inf")
        return self.largest * (1 + self.unit_roundoff / (2 - 2 * self.unit_roundoff))

    def ulp(self, value: float) -> float:
        """Distance between neighbouring numbers of the format at a finite ``value``."""
        _, exponent = math.frexp(min(max(abs(value), self.smallest_normal), self.largest))
        return math.ldexp(1.0, exponent - self.precision)


def _float_type(name: str, dtype: npt.DTypeLike) -> FloatType:
    info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return FloatType(
        name=name,
        numpy=np.dtype(dtype),
        precision=int(info.nmant) + 1,
        smallest_normal=float(info.smallest_normal),
        largest=float(info.max),
    )


FLOAT_TYPES = {
    "float64": _float_type("float64", np.float64),
    "float32": _float_type("float32", np.float32),
    "float16": _float_type("float16", np.float16),
    "bfloat16": _float_type("bfloat16", ml_dtypes.bfloat16),
}

# The dtypes narrower than float32, in half precision.
HALF_TYPES = frozenset(name for name, kind in FLOAT_TYPES.items() if kind.precision < 24)

# The dtypes of label maps, for the functions that have no floating-point array at all.
INTEGER_TYPES = {name: np.dtype(name) for name in ("int64", "int32", "int16", "int8", "uint8")}

# The name of any of them, as a form (lossproof.core.form) has it.
DTYPES = (*FLOAT_TYPES, *INTEGER_TYPES)
Dtype = Literal[DTYPES]  # type: ignore[valid-type]


# The dtypes of arrays that a backend may give, by name.
ARRAY_TYPES = {name: kind.numpy for name, kind in FLOAT_TYPES.items()} | {
    name: np.dtype(name)
    for name in ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")
}


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype called ``name``; raises KeyError for a name lossproof does not test."""
    return FLOAT_TYPES[name].numpy if name in FLOAT_TYPES else INTEGER_TYPES[name]
