"""Arrays as an export has them: small ones as text, large ones in a safetensors file.

The file is written here: the format is a length, a JSON header and the numbers
(https://huggingface.co/docs/safetensors), and the library keeps every tensor in memory until it writes them.
Tests read with the library what this writes.
"""

from __future__ import annotations

import hashlib
import json
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from lossproof.core.dtypes import HALF_TYPES
from lossproof.vectors.form import Full, Kept, Listed, Tensor

_AT_ONCE = 2**20
# Longer arrays that are not all one number go to the safetensors file.
MAX_INLINE = 64
_NAMES = {
    "float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint8": "U8",
}  # fmt: skip


def hexadecimal(number: float) -> str:
    """A float64 as text that every language reads alike: ``0x1.8p+1``, ``-0x0p+0``, ``inf``, ``nan``."""
    digits, mark, exponent = float(number).hex().partition("p")
    return (
        digits.rstrip("0").rstrip(".") + mark + exponent
        if mark and "." in digits
        else digits + mark + exponent
    )


class Tensors:
    """The arrays of one file of vectors; those that are alike are stored once."""

    def __init__(self) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - close() does
        self._header: dict[str, dict[str, Any]] = {}
        self._known: dict[bytes, str] = {}
        self._end = 0

    def __len__(self) -> int:
        return len(self._header)

    def add(self, array: npt.NDArray[Any]) -> Tensor:
        """How the export says an array."""
        shape, dtype = array.shape, array.dtype.name
        flat = array.ravel()
        if flat.size <= MAX_INLINE:
            return Listed(shape=shape, dtype=dtype, data=tuple(map(_text, flat)))
        if flat[:1].tobytes() * flat.size == flat.tobytes():
            return Full(shape=shape, dtype=dtype, full=_text(flat[0]))
        kept = flat.astype(np.float32) if dtype in HALF_TYPES else flat
        return Kept(shape=shape, dtype=dtype, tensor=self._keep(kept, shape))

    def _keep(self, flat: npt.NDArray[Any], shape: tuple[int, ...]) -> str:
        data = flat.astype(flat.dtype.newbyteorder("<"), copy=False).tobytes()
        told = f"{flat.dtype.name} {shape} ".encode()
        key = hashlib.sha256(told + data).digest()
        if key not in self._known:
            self._known[key] = name = f"t{len(self._header)}"
            places = [self._end, self._end + len(data)]
            self._header[name] = {
                "dtype": _NAMES[flat.dtype.name], "shape": list(shape), "data_offsets": places,
            }  # fmt: skip
            self._file.write(data)
            self._end += len(data)
        return self._known[key]

    def write(self, file: IO[bytes]) -> None:
        """Write the safetensors file: the header's length in 8 bytes, the header, the numbers."""
        header = json.dumps(self._header, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        file.write(len(header).to_bytes(8, "little") + header)
        self._file.seek(0)
        while part := self._file.read(_AT_ONCE):
            file.write(part)

    def close(self) -> None:
        self._file.close()


def _text(number: np.generic) -> str:
    if isinstance(number, np.integer):
        return str(int(number))
    return hexadecimal(float(number))
