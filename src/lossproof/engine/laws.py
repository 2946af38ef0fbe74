"""Laws of a call: what holds of every call, whatever it computes (spec/general.md, G-13 to G-18).

That inputs stay untouched is watched at every call that is judged. The other laws need calls of their own
and are judged on a sample, the same on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter
from lossproof.case.expected import Sketch
from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.resources import folder
from lossproof.core.verdicts import RIGHT, UNJUDGED, ProcessFault, Verdict
from lossproof.engine.answer import Answer
from lossproof.engine.call import ask, ask_second_backward
from lossproof.engine.verdict import Judged
from lossproof.errors import Unsupported

PREFIX = "law."
CLAUSES = {
    "law.inputs-untouched": "G-13",
    "law.value-alone": "G-14",
    "law.repeats": "G-15",
    "law.results-kept": "G-16",
    "law.same-bits": "G-17",
    "law.rows": "G-18",
    "law.accumulation": "G-22",
    "law.backward-twice": "G-23",
}
"""The laws, as outputs of a case, and their clauses."""

RECOMMENDED = frozenset({"law.same-bits", "law.rows"})
EVERY = 16
"""One of so many cases and dtypes is asked again, beside the first ordinary one of each function."""

Judge = Callable[[Answer], Mapping[str, Judged]]


class Ruling(NamedTuple):
    """What was found of one law: the verdict, and in words what breaks it or why it was not judged."""

    law: str
    verdict: Verdict
    message: str = ""


def sampled(case: Case, dtype: str) -> bool:
    """Whether a case is asked again in a dtype, for the laws that need more than one call."""
    if case.huge:
        return False  # a second call takes as much memory again
    first = [one.id for one in _ordinary(case.function.name)[:1]]
    return case.id in first or zlib.crc32(f"{case.id} {dtype}".encode()) % EVERY == 0


def rulings(
    adapter: Adapter, case: Case, dtype: str, answer: Answer, judged: Mapping[str, Judged], judge: Judge
) -> Iterator[Ruling]:
    """Judge the laws on a call that was answered; on one that was not, none is.

    Args:
        adapter: whose call it was, which is asked again where the case is sampled.
        case: what was asked for.
        dtype: in which dtype.
        answer: what it gave.
        judged: the verdicts on that.
        judge: gives the verdicts on other answers to the same call.
    """
    if "value" not in answer.outputs:
        return
    if answer.touched is None:
        yield Ruling("law.inputs-untouched", Verdict.UNSUPPORTED, "the adapter does not show its inputs")
    else:
        names = ", ".join(answer.touched)
        yield _ruling("law.inputs-untouched", f"the call changed {names}" if names else "")
    if answer.kept is not None:
        yield _ruling("law.results-kept", "" if answer.kept else "a second call changed the first's results")
    right = [output for output, one in judged.items() if one.verdict in RIGHT]
    if not right or not sampled(case, dtype):
        return
    same_bits = []
    if "value" in right and len(case.expected or ()) > 1:
        alone = ask(adapter, case, dtype, ["value"])
        yield from _agreeing("law.value-alone", "without gradients ", alone, ["value"], judge)
        same_bits += _other_bits("without gradients ", answer, alone, ["value"])
    other, other_dtype = _other(case, dtype, adapter)
    ask(adapter, other, other_dtype)
    again = ask(adapter, case, dtype)
    yield from _agreeing("law.repeats", f"after {other.id} in {other_dtype} ", again, right, judge)
    same_bits += _other_bits("asked again ", answer, again, right)
    yield _ruling("law.same-bits", "; ".join(same_bits))
    # A weight is of no row, and has no second backward pass.
    right = [output for output in right if output.removeprefix("gradients.") not in case.function.weights]
    yield from _backward_twice(adapter, case, dtype, right, judge)
    plain = [output for output in right if judged[output].verdict is Verdict.PASS]
    yield from _accumulation(adapter, case, dtype, answer, plain)
    count = _rows(case, "none")
    if count > 1:
        orders = {
            "of the last row alone, ": [count - 1],
            "with the first row behind the others, ": [*range(1, count), 0],
        }
        other_rows = []
        for when, order in orders.items():
            those = Answer({output: answer.outputs[output][order] for output in right})
            other_rows += _other_bits(when, those, ask(adapter, _taken(case, order), dtype), right)
        yield _ruling("law.rows", "; ".join(other_rows))


def _ruling(law: str, broken: str) -> Ruling:
    wrong = Verdict.BELOW if law in RECOMMENDED else Verdict.FAIL
    return Ruling(law, wrong if broken else Verdict.PASS, broken)


def _agreeing(law: str, when: str, answer: Answer, outputs: list[str], judge: Judge) -> Iterator[Ruling]:
    """That outputs that were right are right in another answer to the same call."""
    faults = [error for error in answer.raised.values() if isinstance(error, ProcessFault)]
    if faults:
        yield Ruling(law, faults[0].verdict, f"{when}{faults[0]}")
        return
    found = judge(answer)
    wrong = [
        f"{when}{output} is wrong: {found[output].comparison.message}"
        for output in outputs
        if found[output].verdict not in RIGHT | UNJUDGED
    ]
    yield _ruling(law, "; ".join(wrong))


def _other_bits(when: str, one: Answer, two: Answer, outputs: list[str]) -> list[str]:
    pairs = [(output, one.outputs.get(output), two.outputs.get(output)) for output in outputs]
    return [
        f"{when}{output} has other bits"
        for output, a, b in pairs
        if a is not None and b is not None and _bits(a) != _bits(b)
    ]


def _bits(array: npt.NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    """An array bit for bit; one NaN is as good as another."""
    if array.dtype.name in FLOAT_TYPES:
        array = np.where(np.isnan(array), array.dtype.type("nan"), array)
    return array.dtype.name, array.shape, array.tobytes()


def _backward_twice(
    adapter: Adapter, case: Case, dtype: str, right: Sequence[str], judge: Judge
) -> Iterator[Ruling]:
    """That the graph of a call gives right gradients a second time, where the backend can keep it."""
    gradients = [output for output in right if output.startswith("gradients.")]
    if not gradients:
        return
    wrt = tuple(name.removeprefix("gradients.") for name in gradients)
    again = ask_second_backward(adapter, case, dtype, wrt)
    if not any(isinstance(error, Unsupported) for error in again.raised.values()):
        yield from _agreeing("law.backward-twice", "by a second backward pass ", again, gradients, judge)


def _accumulation(
    adapter: Adapter, case: Case, dtype: str, answer: Answer, right: Sequence[str]
) -> Iterator[Ruling]:
    """That the sums over two unequal parts of a batch add up to the sum, and to the mean by its count.

    A sum of parts may be off by what is allowed of the whole; so may the whole, which makes it twice that.
    ``right`` are outputs as the definition has them: what is allowed of a variant is another matter.
    """
    count = max(_rows(case, "sum"), _rows(case, "mean"))
    if count < 2 or "value" not in right:
        return
    summed = replace(case, parameters={**case.parameters, "reduction": "sum"})
    whole = answer if case.parameters["reduction"] == "sum" else ask(adapter, summed, dtype)
    parts = [ask(adapter, _taken(summed, rows), dtype) for rows in ([0], range(1, count))]
    if any("value" not in one.outputs for one in (whole, *parts)):
        return  # an empty part, or one of which no row counts, may have no answer
    asked = [
        (count, "of all rows", whole),
        (1, "of the first row", parts[0]),
        (count - 1, "of the others", parts[1]),
    ]
    broken = [fault for one in asked for fault in _other_shapes(case, *one, right)]
    if broken:
        yield _ruling("law.accumulation", "; ".join(broken))
        return
    with np.errstate(all="ignore"):
        # How many rows count, as weights and ignored labels have it; 1 where a sum is asked for.
        rows = np.abs(_wide(whole.outputs["value"]) / _wide(answer.outputs["value"]))
        for output in right:
            if output != "value" and not output.startswith("gradients."):
                continue  # derivatives of them add up where they do
            found = [_wide(part.outputs[output]) for part in parts if output in part.outputs]
            expected = (case.expected or {})[output]
            if len(found) < len(parts) or output not in whole.outputs or isinstance(expected, Sketch):
                continue
            due = _wide(whole.outputs[output])
            total = sum(found) if output == "value" else np.concatenate(found)
            allowed = 2 * rows * case.tolerances[output].bounds(expected, FLOAT_TYPES[dtype])
            finite = np.isfinite(due) & np.isfinite(allowed) & np.isfinite(total)
            if (finite & (np.abs(total - due) > allowed)).any():
                broken.append(f"{output} of the first row and of the others do not add up to the sum of all")
    yield _ruling("law.accumulation", "; ".join(broken))


def _other_shapes(case: Case, count: int, whose: str, answer: Answer, outputs: Sequence[str]) -> list[str]:
    """What of a sum over so many rows, and of its gradients, has another shape than is due."""
    due = {
        output: () if output == "value" else (count, *(case.expected or {})[output].shape[1:])
        for output in outputs
        if output == "value" or output.startswith("gradients.")
    }
    return [
        f"{output} of the sum {whose} has the shape {answer.outputs[output].shape} where {shape} is due"
        for output, shape in due.items()
        if output in answer.outputs and answer.outputs[output].shape != shape
    ]


def _wide(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)


def _rows(case: Case, reduction: str) -> int:
    """How many rows along the first axis a case has that are independent of each other; or 0.

    They are where the reduction is this one, or where ``none`` is meant and the function has no other.
    """
    assert case.expected is not None
    first = case.shape_of(case.function.leading.name)
    shapes = [case.shape_of(array.name) for array in case.function.arrays]
    if reduction == "none":
        shapes.append(case.expected["value"].shape)
    elif case.parameters.get("reduction") != reduction:
        return 0
    separate = all(shape[:1] == first[:1] != () for shape in shapes)
    axis = case.parameters.get("axis")
    across = axis is not None and axis % len(first) == 0
    return first[0] if separate and not across and not case.layout and not _by_row(case) - {first} else 0


def _by_row(case: Case) -> set[tuple[int, ...]]:
    """The shapes of weights with as many axes as the inputs: of each row, that is."""
    rank = len(case.shape_of(case.function.leading.name))
    shapes = {np.shape(_array(value)) for _, value in _weights(case)}
    return {shape for shape in shapes if len(shape) >= rank}


def _weights(case: Case) -> list[tuple[str, Any]]:
    names = [parameter.name for parameter in case.function.parameters if parameter.kind == "array"]
    return [(name, case.parameters[name]) for name in names if case.parameters[name] is not None]


def _array(spec: Any) -> npt.NDArray[Any]:
    return materialize(spec, integer=False)


def _taken(case: Case, order: Sequence[int]) -> Case:
    """The case with some of its rows."""
    inputs = {name: array[list(order)] for name, array in case.exact_arrays.items()}
    weights = {name: _array(value) for name, value in _weights(case)}
    rank = len(case.shape_of(case.function.leading.name))
    weights = {name: array[list(order)] if array.ndim == rank else array for name, array in weights.items()}
    cotangent = None if case.cotangent is None else _array(case.cotangent)
    if cotangent is not None and cotangent.ndim:
        cotangent = cotangent[list(order)]
    tangents = {name: _array(spec)[list(order)] for name, spec in case.tangents.items()}
    return replace(
        case,
        inputs=inputs,
        parameters={**case.parameters, **weights},
        cotangent=cotangent,
        tangents=tangents,
    )


@lru_cache(maxsize=32)
def _ordinary(function: str) -> tuple[Case, ...]:
    """Plain cases of a function."""
    files = sorted((folder("cases") / function).glob("*.yaml"), key=lambda path: path.stem != "ordinary")
    return tuple(load_file(files[0])) if files else ()


def _other(case: Case, dtype: str, adapter: Adapter) -> tuple[Case, str]:
    """A call of the same function with other shapes or parameters, and in another dtype if there is one."""
    every = _ordinary(case.function.name) or (case,)
    names = [array.name for array in case.function.arrays]

    def kind(one: Case) -> object:
        return [one.shape_of(name) for name in names], repr(sorted(one.parameters.items()))

    other = next((one for one in every if kind(one) != kind(case)), every[0])
    dtypes = [name for name in other.dtypes if name != dtype and name in adapter.dtypes]
    return other, dtypes[0] if dtypes else dtype
