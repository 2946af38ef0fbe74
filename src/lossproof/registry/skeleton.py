"""The commented skeleton of a new adapter, written from the table of functions."""

from __future__ import annotations

import re

from lossproof.core.functions import FUNCTIONS, REQUIRED, Function
from lossproof.core.shapes import shape_text

_HEAD = '''"""{name} under test by lossproof: lossproof run --adapter {file}

The contract is spec/adapters.md of lossproof. It runs as it stands and reports every function as
unsupported. Take the comment signs off a function, make it call yours, and its cases run.
"""

from __future__ import annotations

from typing import Any  # noqa: F401

# import {module}
from lossproof import Adapter, Unsupported  # noqa: F401


class {cls}(Adapter):
    name = "{name}"
    # What `lossproof run` shows, and what ranges of versions in {stem}.deviations.yaml refer to.
    # version = {module}.__version__

    # What your backend computes in; cases in other dtypes are unsupported.
    # dtypes = ("float64", "float32", "float16", "bfloat16")

    # How arrays get in and out. NumPy arrays need neither; bfloat16 travels as ml_dtypes.bfloat16.
    # def from_numpy(self, array: Any) -> Any:
    #     return {module}.asarray(array)
    #
    # def to_numpy(self, array: Any) -> Any:
    #     return array.numpy()

    # Gradients, if your backend has them. `function(*arrays.values())` is the call; `wrt` names the
    # arrays to differentiate with respect to; `cotangent` weights the elements of the result (ones
    # if None).
    # def value_and_gradients(self, function: Any, arrays: Any, wrt: Any, *, cotangent: Any = None) -> Any:
    #     value, gradients = ...
    #     return value, dict(zip(wrt, gradients))

    # Forward mode and Hessian times vector along `tangents` (arrays by name), if your backend has them.
    # def jvp(self, function: Any, arrays: Any, tangents: Any) -> Any: ...
    # def hvp(self, function: Any, arrays: Any, tangents: Any, *, cotangent: Any = None) -> Any: ...

    # Call what your users call, and repair nothing: what comes out is what is judged. Where your
    # backend has no such function or parameter, leave the method out or raise Unsupported("why").
'''

_SUBCLASS = """
    # One kernel for a framework that lossproof knows is shorter: subclass its adapter instead, as in
    #     from lossproof.adapters.torch import TorchAdapter
    #     class Fused(TorchAdapter):
    # and override one method.
"""


def skeleton(name: str, file: str) -> str:
    """The text of a Python adapter called ``name``, to be saved as ``file``."""
    stem = file.rsplit("/", 1)[-1].removesuffix(".py")
    cls = "".join(word.capitalize() for word in re.split(r"[^0-9A-Za-z]+", name) if word) + "Adapter"
    module = re.sub(r"\W", "_", name)
    head = _HEAD.format(name=name, file=file, cls=cls, module=module, stem=stem)
    return head + "".join(_method(function, module) for function in FUNCTIONS.values()) + _SUBCLASS


def _method(function: Function, module: str) -> str:
    arrays = ", ".join(f"{array.name}: Any" for array in function.arrays)
    parameters = "".join(f", {parameter.name}: Any" for parameter in function.parameters)
    shapes = "; ".join(
        f"{array.name} {shape_text(array.shape)}{', integers' if array.integer else ''}"
        for array in function.arrays
    )
    defaults = ", ".join(
        p.name if p.default is REQUIRED else f"{p.name} ({p.default!r})" for p in function.parameters
    )
    names = ", ".join(array.name for array in function.arrays)
    given = "".join(f", {p.name}={p.name}" for p in function.parameters)
    lines = [
        f"def {function.name}(self, {arrays}{', *' if parameters else ''}{parameters}) -> Any:",
        f"    # shapes: {shapes}",
        *([f"    # parameters (default): {defaults}"] if defaults else []),
        f"    return {module}.{function.name}({names}{given})",
    ]
    return "\n" + "".join(f"    # {line}\n" for line in lines)
