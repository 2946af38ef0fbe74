"""TensorFlow's transformations; each is mixed in before an adapter whose arrays are TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import tensorflow as tf

from lossproof import Call, Unsupported

from ._compiled import Compiled


class Function(Compiled):
    """tf.function around the call, and around the call with its gradients."""

    options: ClassVar[Mapping[str, Any]] = {}

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        # What runs the call and differentiates it is the adapter's own, behind this class.
        plain: Any = super(Compiled, self)

        @tf.function(**self.options)
        def compiled(arrays: Mapping[str, Any], cotangent: Any) -> Any:
            if not wrt:
                return plain.evaluate(function, arrays)
            extra = {} if cotangent is None else {"cotangent": cotangent}
            return plain.value_and_gradients(function, arrays, wrt, **extra)

        def step(arrays: Mapping[str, Any], cotangent: Any = None) -> Any:
            with tf.device(getattr(self, "placed", "/CPU:0")):
                try:
                    return compiled(dict(arrays), cotangent)
                except Unsupported as reason:
                    # AutoGraph puts the lines of source that led to it before what was said.
                    said = str(reason).strip().splitlines()[-1].strip()
                    raise Unsupported(said.removeprefix("Unsupported: ")) from None

        return step


class Xla(Function):
    """The same compiled by XLA; Python's branches on tensors are not converted."""

    options: ClassVar[Mapping[str, Any]] = {"jit_compile": True, "autograph": False}


MODES = {"function": Function, "xla": Xla}
