"""What the adapters of compilers share: every call goes through ``step``, which compiles it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lossproof import Adapter, Call


class Compiled(Adapter):
    """An adapter whose ``step`` compiles a call; a single call is a step that is made once.

    A subclass defines ``step``. What that returns is called as ``step(arrays)`` where ``wrt`` is empty,
    else as ``step(arrays, cotangent)`` with None for ones, and gives the result and the gradients.
    Where it subclasses an eager adapter as well, this class comes first.
    """

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return self.step(function, ())(arrays)

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        value, gradients = self.step(function, wrt)(arrays, cotangent)
        return value, gradients
