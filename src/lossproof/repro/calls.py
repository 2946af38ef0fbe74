"""The calls that laws need, made of the one that a script binds; a script carries this source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lossproof.adapter import Adapter
from lossproof.engine.answer import Answer, Bound, ask_second_backward, with_threads
from lossproof.engine.laws import Further, orders

Bind = Callable[[], Bound]


def further(
    adapter: Adapter,
    ask: Callable[[Bind, Sequence[str]], Answer],
    bind: Bind,
    outputs: Sequence[str],
    *,
    other: tuple[str, Bind, Sequence[str]],
    of_rows: Sequence[str],
    rows: int,
    parts: int,
    by_row: Sequence[str],
) -> Further:
    """What the laws of a call ask for beside it.

    Args:
        adapter: whose call it is.
        ask: makes a call for some outputs.
        bind: the call.
        outputs: what it is asked for.
        other: another call of the function, in words, and what it is asked for.
        of_rows: the outputs that are asked for of some rows.
        rows: how many rows the call has that are independent; 0 if none.
        parts: how many rows it has that are added up; 0 if none.
        by_row: the weights that have a number for each row.
    """

    def taken(order: Sequence[int], of: Bind) -> Answer:
        def some() -> Bound:
            call, arrays, cotangent = of()

            def pick(array: Any) -> Any:
                return adapter.from_numpy(adapter.to_numpy(array)[list(order)])

            weights = {name: pick(call.parameters[name]) for name in by_row}
            if cotangent is not None and adapter.to_numpy(cotangent).ndim:
                cotangent = pick(cotangent)
            call = replace(call, parameters={**call.parameters, **weights})
            return call, {name: pick(array) for name, array in arrays.items()}, cotangent

        return ask(some, of_rows)

    def summed() -> Bound:
        call, arrays, cotangent = bind()
        return replace(call, parameters={**call.parameters, "reduction": "sum"}), arrays, cotangent

    def again(count: int) -> Answer:
        with with_threads(adapter, count):
            return ask(bind, outputs)

    what, bind_other, of_other = other
    return Further(
        alone=(lambda: ask(bind, ["value"])) if len(outputs) > 1 else None,
        other=lambda: ask(bind_other, of_other),
        what=what,
        again=lambda: ask(bind, outputs),
        second_backward=lambda wrt: ask_second_backward(adapter, lambda: bind, wrt),
        threads=again,
        rows={
            when: (order, lambda order=order: taken(order, bind))  # type: ignore[misc]
            for when, order in orders(rows).items()
        },
        parts=None
        if parts < 2
        else (
            lambda: ask(summed, of_rows),
            lambda: taken([0], summed),
            lambda: taken(range(1, parts), summed),
        ),
    )
