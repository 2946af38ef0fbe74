"""The short script: the framework's call in its user's words, and nothing of lossproof's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Context
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter
from lossproof.case.expected import Sketch, Tolerance
from lossproof.case.inputs import materialize, shape_of
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, HALF_TYPES, FloatType
from lossproof.engine.call import ask
from lossproof.engine.judge import choices_shown
from lossproof.repro import literal
from lossproof.repro.embed import Owned
from lossproof.repro.expression import Expression, expression
from lossproof.repro.frameworks import Framework, framework_of
from lossproof.repro.full import title

MAX_LINES = 25
MAX_WIDTH = 110
# Arrays of more elements take too many lines.
MAX_ELEMENTS = 200
# What the lines of a script call their own things.
_OWN = frozenset({
    "bound", "call", "due", "got", "gradients", "inf", "name", "nan", "ok", "pull_back", "result", "right",
    "run", "seed", "tape", "value", "wrong",
})  # fmt: skip


def short_script(case: Case, adapter: Adapter, dtype: str) -> str | None:
    """A script of at most 25 lines, or None where it cannot say all that counts.

    That is so where the adapter's method is more than one expression, for large arrays, for arrays
    laid out in memory in a certain way, along tangents, and where other outcomes are permitted.
    """
    framework = framework_of(type(adapter))
    if framework is None or case.variants or choices_shown(case, dtype) or case.layout or case.tangents:
        return None
    if case.function.widens and dtype in HALF_TYPES and _widened(case, adapter, dtype):
        return None
    if case.weights_moved and ask(adapter, case, dtype).raised:
        return None  # it differentiates with respect to all at once
    given = _Given.of(case, dtype)
    call = None if given is None else _call(case, adapter, given)
    if given is None or call is None:
        return None
    body = [*_inputs(given, framework), *_calling(call.text, given, framework)]
    if case.function.integer_result:
        body += _judging_integers(case, framework)
    else:
        body += _judging(case, dtype, framework)
    if any(re.search(r"\b(nan|inf)\b", line) for line in body):
        body = ['nan, inf = float("nan"), float("inf")', *body]
    imports = {"import numpy as np", *framework.imports, *call.imports}
    names = [line.split()[-1] for line in imports]
    if len(set(names)) < len(names) or not _OWN.isdisjoint(names):
        return None
    head = [*framework.before, *sorted(imports, key=lambda line: (line.startswith("from"), line))]
    for doc, gap in _openings(case, adapter, dtype):
        lines = [*doc.split("\n"), "", *head, *gap, *framework.after, *body]
        if len(lines) <= MAX_LINES and max(map(len, lines)) <= MAX_WIDTH:
            return "\n".join(lines) + "\n"
    return None


def _widened(case: Case, adapter: Adapter, dtype: str) -> bool:
    """Whether the value comes in float32, which is judged otherwise."""
    value = ask(adapter, case, dtype).outputs.get("value")
    return value is not None and value.dtype == np.float32


def _openings(case: Case, adapter: Adapter, dtype: str) -> Iterator[tuple[str, list[str]]]:
    """Docstrings, and what stands below the imports, the longest first: the reason goes where lines lack."""
    name = title(case, adapter, dtype)
    with_reason = literal.docstring(name, literal.sentence(case.why))
    yield with_reason, [""]
    yield with_reason, []
    yield literal.docstring(name), []


@dataclass(frozen=True)
class _Given:
    """A case's arrays, all listed, with their dtypes; and what is differentiated."""

    arrays: Mapping[str, tuple[npt.NDArray[Any], str]]
    weights: Mapping[str, tuple[npt.NDArray[Any], str]]
    wrt: tuple[str, ...]
    cotangent: tuple[npt.NDArray[Any], str] | None

    @staticmethod
    def of(case: Case, dtype: str) -> _Given | None:
        assert case.expected is not None
        kinds = {parameter.name: parameter.kind for parameter in case.function.parameters}
        weights = {n: v for n, v in case.parameters.items() if kinds[n] == "array" and v is not None}
        specs = [
            *case.inputs.values(),
            *weights.values(),
            *([] if case.cotangent is None else [case.cotangent]),
        ]
        if any(np.prod(shape_of(spec)) > MAX_ELEMENTS for spec in specs):
            return None
        if any(isinstance(item, Sketch) for item in case.expected.values()):
            return None
        labels = "int64" if dtype in FLOAT_TYPES else dtype
        return _Given(
            {
                array.name: (case.exact_arrays[array.name], labels if array.integer else dtype)
                for array in case.function.arrays
            },
            {name: (materialize(spec, False), dtype) for name, spec in weights.items()},
            tuple(name.removeprefix("gradients.") for name in case.expected if name != "value"),
            None if case.cotangent is None else (materialize(case.cotangent, False), dtype),
        )


def _call(case: Case, adapter: Adapter, given: _Given) -> Expression | None:
    cls = type(adapter)
    return expression(
        getattr(cls, case.function.name),
        cls,
        {name: array.ndim for name, (array, _) in given.arrays.items()},
        {name: array.ndim for name, (array, _) in given.weights.items()},
        {name: value for name, value in case.parameters.items() if name not in given.weights},
        Owned(cls.__module__, adapter.backend or adapter.name).carries,
    )


def _inputs(given: _Given, framework: Framework) -> Iterator[str]:
    for name, (array, dtype) in {**given.arrays, **given.weights}.items():
        template = framework.leaf if name in given.wrt else framework.array
        yield from _wrapped(f"{name} = " + template.format(data=_data(array), dtype=dtype))
    if given.cotangent is not None:
        array, dtype = given.cotangent
        yield from _wrapped("seed = " + framework.array.format(data=_data(array), dtype=dtype))


def _wrapped(line: str) -> list[str]:
    return literal.wrapped(line, MAX_WIDTH)


def _calling(call: str, given: _Given, framework: Framework) -> list[str]:
    template = framework.differentiate if given.wrt else framework.evaluate
    return template.format(
        call=call,
        arrays=", ".join(given.arrays),
        wrt=", ".join(given.wrt),
        seed=framework.ones if given.cotangent is None else "seed",
    ).split("\n")


def _data(array: npt.NDArray[Any]) -> str:
    if array.size or array.shape == (0,):
        return literal.value(array)
    return f"np.zeros({array.shape!r})"


def _judging(case: Case, dtype: str, framework: Framework) -> Iterator[str]:
    """The comparison of engine/compare.py, as far as this case's numbers need it."""
    assert case.expected is not None
    kind = FLOAT_TYPES[dtype]
    outputs = {
        name: (np.asarray(due), _bounds(np.asarray(due), case.tolerances[name], kind))
        for name, due in case.expected.items()
    }
    yield "wrong = False"
    yield "for name, result, due, bound in ("
    for index, (name, (due, bound)) in enumerate(outputs.items()):
        result = "value" if name == "value" else f"gradients[{index - 1}]"
        yield from _wrapped(f'    ("{name}", {result}, {_data(due)}, {_bound(bound)}),')
    yield "):"
    yield f"    got, due = {framework.numpy.format(result='result')}, np.array(due)"
    fits = f"result.dtype == {framework.dtype.format(dtype=dtype)} and got.shape == due.shape"
    exceptions = list(_exceptions(outputs.values(), kind))
    if exceptions:
        yield "    right = np.isclose(got, due, rtol=0, atol=bound, equal_nan=True)"
        yield from exceptions
        yield f"    ok = {fits} and right.all()"
    else:
        yield f"    ok = {fits} and np.allclose(got, due, 0, bound, True)"
    state = "{name}: {'right' if ok else 'WRONG'}"
    yield f'    print(f"{state}\\n{{got}}\\nexpected\\n{{due}}\\nwithin\\n{{np.array(bound)}}")'
    yield "    wrong |= not ok"
    yield "raise SystemExit(int(wrong))"


def _bounds(due: npt.NDArray[Any], tolerance: Tolerance, kind: FloatType) -> npt.NDArray[Any]:
    """How far off elements may be, with four digits, rounded up; 0 for those that are not finite."""
    exact = np.where(np.isfinite(due), tolerance.bounds(np.where(np.isfinite(due), due, 0.0), kind), 0.0)
    return np.array([_rounded_up(float(bound)) for bound in exact.ravel()]).reshape(due.shape)


def _rounded_up(bound: float) -> float:
    return float(Context(prec=4, rounding=ROUND_UP).create_decimal(bound))


def _bound(bounds: npt.NDArray[Any]) -> str:
    """One number where it is the same for all."""
    distinct = np.unique(bounds)
    return literal.value(bounds if distinct.size > 1 else float(distinct.sum()))


def _exceptions(
    outputs: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]], kind: FloatType
) -> Iterator[str]:
    """What is right beyond the bound, where this case's numbers come near it."""
    near = [(np.abs(due), bound) for due, bound in outputs]
    tiny, end = kind.smallest_normal, kind.overflow_threshold
    if any(((size > bound) & (size - bound < tiny)).any() for size, bound in near):
        yield f"    right |= (got == 0) & (abs(due) - bound < {tiny!r})  # a subnormal may be flushed"
    if any((np.isfinite(size) & (size + bound >= end)).any() for size, bound in near):
        yield f"    right |= np.isinf(got) & (got * due > 0) & (abs(due) + bound >= {end!r})"


def _judging_integers(case: Case, framework: Framework) -> Iterator[str]:
    assert case.expected is not None
    yield f"got = {framework.integers.format(result='value')}"
    yield from _wrapped(f"due = np.array({_data(np.asarray(case.expected['value']))})")
    yield "ok = np.issubdtype(got.dtype, np.integer) and got.shape == due.shape and (got == due).all()"
    state = "value: {'right' if ok else 'WRONG'}"
    yield f'print(f"{state}\\n{{got}}\\nexpected\\n{{due}}")'
    yield "raise SystemExit(0 if ok else 1)"
