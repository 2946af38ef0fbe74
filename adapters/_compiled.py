"""What the adapters of compilers share: every call goes through ``step``, which compiles it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import Any, ClassVar

from lossproof import Adapter, Call, Unsupported


class Compiled(Adapter):
    """An adapter whose ``step`` compiles a call; a single call is a step.

    Calls that differ in their arrays only are one step, as in a program that compiles a loss once and
    calls it on batch after batch: what is compiled for the same shapes and dtypes is compiled once.

    A subclass defines ``step``. What that returns is called as ``step(arrays)`` where ``wrt`` is empty,
    else as ``step(arrays, cotangent)`` with None for ones, and gives the result and the gradients.
    Where it subclasses an eager adapter as well, this class comes first.
    """

    weight_gradients = True
    STEPS_KEPT: ClassVar[int] = 32
    """How many of the last steps are kept; cases of one function follow each other."""

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return self._kept_step(function, (), arrays)(arrays)

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        value, gradients = self._kept_step(function, wrt, arrays)(arrays, cotangent)
        return value, gradients

    def backward_twice(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        raise Unsupported("a compiled step keeps no graph")

    @cached_property
    def _steps(self) -> OrderedDict[Hashable, Callable[..., Any]]:
        return OrderedDict()

    def signature(self, arrays: Mapping[str, Any]) -> Hashable:
        """What arrays have to share where a step is for one of them alone; nothing if it tells them apart."""
        return None

    def _kept_step(
        self, function: Call, wrt: tuple[str, ...], arrays: Mapping[str, Any]
    ) -> Callable[..., Any]:
        parameters = sorted((name, self._key(value)) for name, value in function.parameters.items())
        key = (function.function, wrt, self.signature(arrays), *parameters)
        step = self._steps.pop(key, None) or self.step(function, wrt)
        self._steps[key] = step
        if len(self._steps) > self.STEPS_KEPT:
            self._steps.popitem(last=False)
        return step

    def _key(self, value: Any) -> Hashable:
        """What tells a parameter from others, as to a compiler: its type and every digit."""
        if value is None or isinstance(value, (bool, int, float, str, tuple, list)):
            return type(value).__name__, repr(value)
        array = self.to_numpy(value)
        return array.dtype.name, array.shape, array.tobytes()
