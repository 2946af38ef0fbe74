"""The other end of a command, for scripts: the protocol of spec/protocol.md in its shortest form."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossproof.adapter import Adapter, Call
from lossproof.core.dtypes import ARRAY_TYPES
from lossproof.core.verdicts import ProcessFault, RemoteError, Verdict
from lossproof.errors import Unsupported
from lossproof.isolation.encode import encode_array


class PipeAdapter(Adapter):
    """Starts a command and sends it calls, one after the other, without limits of time or size.

    What the command says of itself is not asked for: of gradients that it does not give, it says so.

    Args:
        command: program and arguments.
        encoding: how the command wants arrays.
    """

    def __init__(self, command: Sequence[str], encoding: str) -> None:
        self.encoding = encoding
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._ask({"command": "start", "protocol": 1})

    def _ask(self, message: Mapping[str, Any]) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        line = b""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise ProcessFault(Verdict.CRASH, f"the command ended with status {self.process.wait()}")
        try:
            return json.loads(line)
        except ValueError as error:
            raise ProcessFault(Verdict.ERROR, f"the command's answer is no JSON: {error}") from None

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return _decoded(self._run(function, arrays, (), None)["value"])

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        answer = self._run(function, arrays, wrt, cotangent)
        return _decoded(answer["value"]), {name: _decoded(answer["gradients"][name]) for name in wrt}

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        return _decoded(self._run(function, arrays, (), None, "jvp", tangents)["jvp"])

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        found = self._run(function, arrays, (), cotangent, "hvp", tangents)["hvp"]
        return {name: _decoded(array) for name, array in found.items()}

    def _run(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        cotangent: Any,
        derivative: str | None = None,
        tangents: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        arrays, parameters = function.apart(arrays)
        message = {
            "command": "run",
            "id": 1,
            "function": function.function,
            "arrays": {name: encode_array(array, self.encoding) for name, array in arrays.items()},
            "parameters": {
                name: encode_array(value, self.encoding) if isinstance(value, np.ndarray) else value
                for name, value in parameters.items()
            },
            "wrt": list(wrt),
        }
        if cotangent is not None:
            message["cotangent"] = encode_array(cotangent, self.encoding)
        if derivative is not None and tangents is not None:
            message["derivative"] = derivative
            message["tangents"] = {n: encode_array(array, self.encoding) for n, array in tangents.items()}
        answer: Mapping[str, Any] = self._ask(message)
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer


def _decoded(message: Mapping[str, Any]) -> Any:
    dtype, data = ARRAY_TYPES[message["dtype"]], message["data"]
    if isinstance(data, str):
        flat = np.frombuffer(base64.b64decode(data), dtype.newbyteorder("<")).astype(dtype)
    elif dtype.kind in "iub":
        flat = np.array(data, dtype)
    else:
        # "NaN", "Infinity" and "-0" are texts that float() reads.
        flat = np.array([float(number) for number in data]).astype(dtype)
    return flat.reshape(message["shape"])
