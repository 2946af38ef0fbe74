"""Laws of a call: what holds of every call, whatever it computes (spec/general.md, "Laws of a call").

That inputs stay untouched is watched at every call that is judged. The other laws need calls of their own,
which ``Further`` makes. Knows adapters and nothing of cases, so that standalone scripts can carry its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Expected, Sketch, Tolerance
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.raised import describe
from lossproof.core.verdicts import RIGHT, UNJUDGED, ProcessFault, Verdict
from lossproof.engine.answer import Answer
from lossproof.engine.distribution import unlike_roundings
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
    "law.threads": "G-25",
    "law.distribution": "G-26",
}
"""The laws, as outputs of a case, and their clauses."""

RECOMMENDED = frozenset({"law.same-bits", "law.rows", "law.threads", "law.distribution"})
THREADS = (1, 3)
"""The numbers of threads that a call is made with beside the backend's own; 3 divides few sums evenly."""

Judge = Callable[[Answer], Mapping[str, Judged]]
Ask = Callable[[], Answer]


class Ruling(NamedTuple):
    """What was found of one law: the verdict, and in words what breaks it or why it was not judged."""

    law: str
    verdict: Verdict
    message: str = ""


@dataclass(frozen=True)
class Due:
    """What is demanded of the outputs of the call."""

    expected: Mapping[str, Expected]
    tolerances: Mapping[str, Tolerance]
    dtype: str
    weights: Sequence[str] = ()
    """The parameters that are arrays, whose gradients are of no row."""
    rows: int = 0
    """How many rows err independently of each other; 0 where that is not known."""


@dataclass(frozen=True)
class Further:
    """The calls that laws need beside the one that is judged, made when they are asked for.

    Attributes:
        alone: the same for the value alone; None where there is nothing else.
        other: another one of the same function.
        what: that one in words.
        again: the same once more.
        second_backward: the same with gradients with respect to some arrays, of a second backward pass.
        threads: the same with a number of threads; raises ``Unsupported``.
        rows: in words, which rows in which order, and the call with these.
        parts: the call for the sum (None if that is the call itself), that with the first row and that with
            the others; None where a loss is not summed up over rows.
    """

    alone: Ask | None
    other: Ask
    what: str
    again: Ask
    second_backward: Callable[[tuple[str, ...]], Answer]
    threads: Callable[[int], Answer]
    rows: Mapping[str, tuple[Sequence[int], Ask]] = field(default_factory=dict)
    parts: tuple[Ask | None, Ask, Ask] | None = None


def orders(count: int) -> dict[str, list[int]]:
    """The orders in which so many rows are asked for again, in words."""
    if count < 2:
        return {}
    return {
        "of the last row alone, ": [count - 1],
        "with the first row behind the others, ": [*range(1, count), 0],
    }


def rulings(
    answer: Answer,
    judged: Mapping[str, Judged],
    judge: Judge,
    due: Due,
    prepare: Callable[[], Further | None],
) -> Iterator[Ruling]:
    """Judge the laws on a call that was answered; on one that was not, none is.

    Args:
        answer: what the call gave.
        judged: the verdicts on that.
        judge: gives the verdicts on other answers to the same call.
        due: what is demanded of its outputs.
        prepare: gives the calls that most laws need, or None where these are not judged.
    """
    if "value" not in answer.outputs:
        return
    if answer.touched is None:
        yield Ruling("law.inputs-untouched", Verdict.UNSUPPORTED, "the adapter does not show its inputs")
    else:
        names = ", ".join(answer.touched)
        yield _ruling("law.inputs-untouched", f"the call changed {names}" if names else "")
    if answer.kept is not None:
        broken = [] if answer.kept else ["a second call changed the first's results"]
        for name in answer.shared:
            broken.append(f"{name} lies in the memory of an input or of another result")
        yield _ruling("law.results-kept", "; ".join(broken))
    right = [output for output, one in judged.items() if one.verdict in RIGHT]
    yield from _distribution(due, answer, [o for o in right if judged[o].verdict is Verdict.PASS])
    further = prepare() if right else None
    if further is None:
        return
    same_bits = []
    if "value" in right and further.alone is not None:
        alone = further.alone()
        yield from _agreeing("law.value-alone", "without gradients ", alone, ["value"], judge)
        same_bits += _other_bits("without gradients ", answer, alone, ["value"])
    further.other()
    again = further.again()
    yield from _agreeing("law.repeats", f"after {further.what} ", again, right, judge)
    same_bits += _other_bits("asked again ", answer, again, right)
    yield _ruling("law.same-bits", "; ".join(same_bits))
    yield from _threads(further, answer, right)
    # A weight is of no row, and has no second backward pass.
    right = [output for output in right if output.removeprefix("gradients.") not in due.weights]
    yield from _backward_twice(further, right, judge)
    plain = [output for output in right if judged[output].verdict is Verdict.PASS]
    yield from _accumulation(further, due, answer, plain)
    if further.rows:
        other_rows = []
        for when, (order, ask) in further.rows.items():
            those = Answer({output: answer.outputs[output][list(order)] for output in right})
            other_rows += _other_bits(when, those, ask(), right)
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


def _other_bits(when: str, one: Answer, two: Answer, outputs: Sequence[str]) -> list[str]:
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


def _backward_twice(further: Further, right: Sequence[str], judge: Judge) -> Iterator[Ruling]:
    """That the graph of a call gives right gradients a second time, where the backend can keep it."""
    gradients = [output for output in right if output.startswith("gradients.")]
    if not gradients:
        return
    again = further.second_backward(tuple(name.removeprefix("gradients.") for name in gradients))
    if not any(isinstance(error, Unsupported) for error in again.raised.values()):
        yield from _agreeing("law.backward-twice", "by a second backward pass ", again, gradients, judge)


def _distribution(due: Due, answer: Answer, right: Sequence[str]) -> Iterator[Ruling]:
    """That the errors of outputs by row, each of which is allowed, are those of independent roundings."""
    outputs = [output for output in right if due.rows and due.expected[output].shape[:1] == (due.rows,)]
    broken = []
    for output in outputs:
        expected = due.expected[output]
        assert not isinstance(expected, Sketch)  # the loader refuses one whose errors are judged together
        actual, dtype = _wide(answer.outputs[output]), FLOAT_TYPES[due.dtype]
        found = unlike_roundings(actual, expected, due.tolerances[output], dtype)
        broken += [f"{output} {what}" for what in found]
    if outputs:
        yield _ruling("law.distribution", "; ".join(broken))


def _threads(further: Further, answer: Answer, right: Sequence[str]) -> Iterator[Ruling]:
    """That other numbers of threads give the same bits, where the backend can change theirs."""
    other_bits = []
    for count in THREADS:
        try:
            again = further.threads(count)
        except Unsupported:
            return
        errors = [again.raised[output] for output in right if output in again.raised]
        if any(isinstance(error, Unsupported) for error in errors):
            return  # a process apart says so of the call
        when = f"with {count} thread{'s' if count > 1 else ''} "
        for error in errors[:1]:
            other_bits.append(f"{when}the call fails: {describe(error)}")
        other_bits += _other_bits(when, answer, again, right)
    yield _ruling("law.threads", "; ".join(other_bits))


def _accumulation(further: Further, due: Due, answer: Answer, right: Sequence[str]) -> Iterator[Ruling]:
    """That the sums over two unequal parts of a batch add up to the sum, and to the mean by its count.

    A sum of parts may be off by what is allowed of the whole; so may the whole, which makes it twice that.
    ``right`` are outputs as the definition has them: what is allowed of a variant is another matter.
    """
    if further.parts is None or "value" not in right:
        return
    ask_whole, *ask_parts = further.parts
    whole = answer if ask_whole is None else ask_whole()
    parts = [ask() for ask in ask_parts if ask is not None]
    if any("value" not in one.outputs for one in (whole, *parts)):
        return  # an empty part, or one of which no row counts, may have no answer
    # Derivatives of the value and of gradients add up where these do.
    summed = [output for output in right if output == "value" or output.startswith("gradients.")]
    asked = [(whole, "all rows"), (parts[0], "the first row"), (parts[1], "the others")]
    broken = [fault for one, whose in asked for fault in _other_shapes(one, whose, summed, due)]
    if broken:
        yield _ruling("law.accumulation", "; ".join(broken))
        return
    with np.errstate(all="ignore"):
        # How many rows count, as weights and ignored labels have it; 1 where a sum is asked for.
        rows = np.abs(_wide(whole.outputs["value"]) / _wide(answer.outputs["value"]))
        for output in summed:
            found = [_wide(part.outputs[output]) for part in parts if output in part.outputs]
            expected = due.expected[output]
            if len(found) < len(parts) or output not in whole.outputs or isinstance(expected, Sketch):
                continue
            sum_ = _wide(whole.outputs[output])
            total = sum(found) if output == "value" else np.concatenate(found)
            allowed = 2 * rows * due.tolerances[output].bounds(expected, FLOAT_TYPES[due.dtype])
            finite = np.isfinite(sum_) & np.isfinite(allowed) & np.isfinite(total)
            if (finite & (np.abs(total - sum_) > allowed)).any():
                broken.append(f"{output} of the first row and of the others do not add up to the sum of all")
    yield _ruling("law.accumulation", "; ".join(broken))


def _other_shapes(answer: Answer, whose: str, outputs: Sequence[str], due: Due) -> Iterator[str]:
    """What of the sum over some rows, and of its gradients, has another shape than is due."""
    for output in outputs:
        if output not in answer.outputs:
            continue
        found, shape = answer.outputs[output].shape, due.expected[output].shape
        if output == "value":
            shape = ()
        elif whose != "all rows":
            shape = (1 if whose == "the first row" else shape[0] - 1, *shape[1:])
        if found != shape:
            yield f"{output} of the sum of {whose} has the shape {found} where {shape} is due"


def _wide(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)
