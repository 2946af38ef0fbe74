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

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        plain: Any = super(Compiled, self)

        @tf.function(**self.options)
        def along(given: Mapping[str, Any], moved: Mapping[str, Any]) -> Any:
            # tf.function hands a mapping back in another order.
            ordered = {name: given[name] for name in arrays}
            return plain.jvp(function, ordered, {name: moved[name] for name in tangents})

        return along(dict(arrays), dict(tangents))

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        plain: Any = super(Compiled, self)

        @tf.function(**self.options)
        def curved(given: Mapping[str, Any], moved: Mapping[str, Any], seed: Any) -> Any:
            ordered = {name: given[name] for name in arrays}
            directions = {name: moved[name] for name in tangents}
            extra = {} if seed is None else {"cotangent": seed}
            return plain.hvp(function, ordered, directions, **extra)

        found: Mapping[str, Any] = curved(dict(arrays), dict(tangents), cotangent)
        return found


class Xla(Function):
    """The same compiled by XLA; Python's branches on tensors are not converted."""

    options: ClassVar[Mapping[str, Any]] = {"jit_compile": True, "autograph": False}


MODES = {"function": Function, "xla": Xla}
