"""The adapter: the one class that a backend implements to be put under test.

Kept free of imports that cost time, so that ``lossproof --help`` stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from lossproof.errors import Unsupported

ALL_DTYPES = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True, eq=False)
class Call:
    """One function of one adapter with its keyword parameters bound; called on native arrays.

    ``function`` is the name in the specification's table. Parameters that are arrays (weights) are
    native already.

    To take gradients of weights, a call has some of them among its arrays, behind those of the table:
    ``moved`` names these, and ``parameters`` lacks them. Who differentiates the call need not know.
    """

    adapter: Adapter
    function: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    moved: tuple[str, ...] = ()

    def __call__(self, *arrays: Any) -> Any:
        count = len(arrays) - len(self.moved)
        weights = dict(zip(self.moved, arrays[count:], strict=True))
        return getattr(self.adapter, self.function)(*arrays[:count], **self.parameters, **weights)

    def taking(self, weights: tuple[str, ...]) -> Call:
        """The same call with some of its parameters behind the arrays."""
        rest = {name: value for name, value in self.parameters.items() if name not in weights}
        return replace(self, parameters=rest, moved=weights)

    def apart(self, arrays: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The arrays of the table and all parameters, for those who do not differentiate ``self`` itself."""
        own = {name: array for name, array in arrays.items() if name not in self.moved}
        return own, {**self.parameters, **{name: arrays[name] for name in self.moved}}


class Adapter:
    """A backend under test. Subclass it and define the functions that the backend has.

    A method is named after a function of the specification and takes its arrays by position and
    all its parameters by keyword, as in ``def softmax(self, logits, *, axis)``. A function that
    the class does not define is reported as unsupported; raise ``Unsupported("why")`` for a single
    call. Everything else that a method raises counts as the backend's answer.

    A constructor that finds its framework or device missing raises ``Unavailable("why")``.
    """

    name: ClassVar[str] = ""
    """What the adapter is called on the command line and in reports."""

    backend: ClassVar[str] = ""
    """The framework that is under test, by default the adapter's name."""

    dtypes: ClassVar[tuple[str, ...]] = ALL_DTYPES
    """The floating-point dtypes that the backend supports."""

    modes: ClassVar[Mapping[str, type[Adapter]]] = {}
    """The transformations that every call can be put through, by name: classes that are mixed in before
    this one (``lossproof.registry.modes``)."""

    mode: ClassVar[str] = ""
    """The one that every call is put through, if any."""

    untransformed: ClassVar[type[Adapter] | None] = None
    """The class without it."""

    mixed: ClassVar[bool] = False
    """Whether calls are those of automatic mixed precision, whose values for float16 and bfloat16 may be
    float32."""

    weight_gradients: ClassVar[bool] = False
    """Whether ``value_and_gradients`` takes weights among its arrays: it gives the gradient with respect to
    any of them, or differentiates ``function`` and nothing else. A class that defines one says so itself."""

    version: str = "unknown"
    """The framework's version."""

    device: str = "cpu"
    """The device that the functions run on."""

    def from_numpy(self, array: Any) -> Any:
        """Turn a NumPy array (bfloat16 as ``ml_dtypes.bfloat16``) into the backend's array."""
        return array

    def to_numpy(self, array: Any) -> Any:
        """Turn a result back into a NumPy array of the same dtype, waiting for it if need be."""
        import numpy as np

        return np.asarray(array)

    def free_memory(self) -> int | None:
        """Bytes that are free on the device, where that has memory of its own; None where it has not, or
        that cannot be told. Huge cases for which there is too little are skipped."""
        return None

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        """Evaluate ``function(*arrays.values())``; adapters of compilers compile it first."""
        return function(*arrays.values())

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        """Evaluate ``function(*arrays.values())`` and its gradients with the backend's autograd.

        Args:
            function: callable on native arrays, in the order of the specification's table.
            arrays: native arrays by name; where gradients of weights are asked for (``weight_gradients``),
                these too, behind the others.
            wrt: names of the arrays to differentiate with respect to.
            cotangent: native array of the result's shape that weights its elements; ones if None.

        Returns:
            The result, and one gradient per name in ``wrt``.

        Raises:
            Unsupported: the backend has no gradients (which is what this default says).
        """
        raise Unsupported("this adapter defines no value_and_gradients")

    def backward_twice(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        """The same with the gradients of a second backward pass through the graph that the call left.

        Args:
            function: callable on native arrays, in the order of the specification's table.
            arrays: native arrays by name.
            wrt: names of the arrays to differentiate with respect to.
            cotangent: native array of the result's shape that weights its elements; ones if None.

        Raises:
            Unsupported: the backend keeps no graph (which is what this default says).
        """
        raise Unsupported("this adapter defines no backward_twice")

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        """Derivative of ``function(*arrays.values())`` along ``tangents``, by forward mode.

        Args:
            function: callable on native arrays, in the order of the specification's table.
            arrays: native arrays by name.
            tangents: native arrays by name, each of the shape of the array that it moves; others stand still.

        Returns:
            An array of the result's shape and dtype.

        Raises:
            Unsupported: the backend has no forward mode (which is what this default says).
        """
        raise Unsupported("this adapter defines no jvp")

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        """Derivative, along ``tangents``, of the gradients of ``function(*arrays.values())``.

        Args:
            function: callable on native arrays, in the order of the specification's table.
            arrays: native arrays by name.
            tangents: native arrays by name, each of the shape of the array that it moves; others stand still.
            cotangent: native array of the result's shape that weights its elements; ones if None.

        Returns:
            For each name in ``tangents`` how the gradient with respect to that array changes.

        Raises:
            Unsupported: the backend has no second derivatives (which is what this default says).
        """
        raise Unsupported("this adapter defines no hvp")

    def threads(self, count: int) -> AbstractContextManager[object]:
        """Make calls with so many threads, while what is returned is entered.

        Raises:
            Unsupported: their number cannot be changed (which is what this default says).
        """
        raise Unsupported("this adapter defines no threads")

    def step(self, function: Call, wrt: tuple[str, ...]) -> Callable[..., Any]:
        """What a training loop calls again and again, for benchmarks; compilers compile it once.

        Returns:
            Callable as ``step(arrays)``: gives what ``value_and_gradients`` gives, or with an empty
            ``wrt`` what ``evaluate`` gives, for arrays of one set of shapes.
        """
        if not wrt:
            return lambda arrays: self.evaluate(function, arrays)
        return lambda arrays: self.value_and_gradients(function, arrays, wrt)

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it; benchmarks call it."""
