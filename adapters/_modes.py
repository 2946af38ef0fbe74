"""What the transformations of all frameworks (modes) share.

A mode is a class that is mixed in before an adapter's own, as ``class VmapOfTorch(Vmap, TorchAdapter)``; the
adapter's arrays, functions and gradients stay what they are, and every call goes through the transformation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from lossproof import Adapter, Call, Unsupported
from lossproof.core.functions import FUNCTIONS


@dataclass(frozen=True, eq=False)
class Transformed(Call):
    """A call that goes through ``run``; to whom it is handed it is a call like any other."""

    run: Callable[..., Any] = NotImplemented

    def __call__(self, *arrays: Any) -> Any:
        return self.run(*arrays)


def transformed(function: Call, run: Callable[..., Any]) -> Transformed:
    """The call ``function``, made as ``run`` makes it."""
    return Transformed(function.adapter, function.function, function.parameters, function.moved, run)


@contextmanager
def rules(*missing: str) -> Iterator[None]:
    """A function for which the framework has no rule is none that the mode takes.

    Args:
        missing: how its errors say so.
    """
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if any(text in str(error) for text in missing):
            raise Unsupported(" ".join(str(error).split())) from error
        raise


class Mode(Adapter):
    """A transformation of the call alone: the adapter's own gradients differentiate what it makes of it."""

    weight_gradients = True

    def through(self, function: Call) -> Callable[..., Any]:
        """The transformed call; called on native arrays in the order of the specification's table."""
        raise NotImplementedError(f"{type(self).__name__} does not define through")

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return super().evaluate(transformed(function, self.through(function)), arrays)

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        extra = {} if cotangent is None else {"cotangent": cotangent}
        return super().value_and_gradients(
            transformed(function, self.through(function)), arrays, wrt, **extra
        )

    def backward_twice(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        extra = {} if cotangent is None else {"cotangent": cotangent}
        return super().backward_twice(transformed(function, self.through(function)), arrays, wrt, **extra)

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        return super().jvp(transformed(function, self.through(function)), arrays, tangents)

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        extra = {} if cotangent is None else {"cotangent": cotangent}
        return super().hvp(transformed(function, self.through(function)), arrays, tangents, **extra)


class Batch(NamedTuple):
    """A call as several calls of one kind, to be mapped over.

    ``arrays`` have the calls along their first axis, those of the specification's table first and then what
    else differs from call to call. ``call`` makes one of them, of arrays without that axis. ``spread`` gives
    each call its part of what is of the case's result, and ``pick`` takes the case's own result, or its
    gradients, out of theirs.
    """

    arrays: tuple[Any, ...]
    call: Callable[..., Any]
    spread: Callable[[Any], Any]
    pick: Callable[[Any], Any]


def batched(function: Call, arrays: Sequence[Any], numpy: Any) -> Batch:
    """A case's call, row by row where a row is a call of its own, else beside another call.

    A row is one along the first axis, handed over as an array with one row. A reduction joins rows and the
    axis of the classes may be the first: such a call is the second of two, of which the first is of the same
    shapes and of inputs with which nothing is wrong.

    Args:
        function: the call.
        arrays: its arrays, in the order of the table.
        numpy: the framework's module with ``stack`` and ``full_like``.
    """
    if by_rows(function, arrays):
        rank = len(arrays[0].shape)
        weights = {
            name: value
            for name, value in function.parameters.items()
            if hasattr(value, "shape") and len(value.shape) == rank
        }

        def row(*items: Any) -> Any:
            one = dict(zip(weights, (item[None] for item in items[len(arrays) :]), strict=True))
            call = Call(function.adapter, function.function, {**function.parameters, **one})
            return call(*(item[None] for item in items[: len(arrays)]))[0]

        return Batch((*arrays, *weights.values()), row, _same, _same)
    names = FUNCTIONS[function.function].arrays
    others = [
        numpy.full_like(array, 0 if name.integer else 0.5) for name, array in zip(names, arrays, strict=True)
    ]
    pairs = tuple(numpy.stack([other, array]) for other, array in zip(others, arrays, strict=True))
    return Batch(pairs, function, lambda part: numpy.stack([part, part]), lambda result: result[1])


def _same(array: Any) -> Any:
    return array


def by_rows(function: Call, arrays: Sequence[Any]) -> bool:
    """Whether a call is as many calls, independent of each other, as its arrays have rows."""
    whole = not FUNCTIONS[function.function].result or function.parameters.get("reduction", "none") != "none"
    return has_rows(function, arrays) and not whole


def has_rows(function: Call, arrays: Sequence[Any]) -> bool:
    """Whether the first axis of all arrays is one of rows."""
    shape = arrays[0].shape
    axis = function.parameters.get("axis")
    return (
        len(shape) > 0
        and shape[0] > 0
        and all(array.shape[:1] == shape[:1] for array in arrays)
        and not (axis is not None and axis % len(shape) == 0)
    )


def row_axes(function: Call, arrays: Mapping[str, Any]) -> dict[str, int]:
    """The axis of the rows of each array and parameter that has them, to be split along it.

    Raises:
        Unsupported: the arrays have no rows in common.
    """
    if not has_rows(function, tuple(arrays.values())):
        raise Unsupported("the arrays have no axis of rows in common, beside that of the classes")
    rank = len(next(iter(arrays.values())).shape)
    weights = [
        name
        for name, value in function.parameters.items()
        if hasattr(value, "shape") and len(value.shape) == rank
    ]
    return dict.fromkeys([*arrays, *weights], 0)


def class_axes(function: Call, arrays: Mapping[str, Any]) -> dict[str, int]:
    """The axis of the classes of each array that has one, to be split along it.

    Raises:
        Unsupported: the function has no axis of classes.
    """
    rows = {array.name: array.shape for array in FUNCTIONS[function.function].arrays}

    def axis_in(text: str) -> int | None:
        if text.startswith("="):
            return axis_in(rows[text[1:]])
        if text.startswith("..."):
            return int(function.parameters["axis"])
        return -1 if text.split()[-1:] == ["C"] else None

    found = {name: axis_in(text) for name, text in rows.items()}
    axes = {name: axis % len(arrays[name].shape) for name, axis in found.items() if axis is not None}
    if not axes:
        raise Unsupported(f"{function.function} has no axis of classes")
    return axes
