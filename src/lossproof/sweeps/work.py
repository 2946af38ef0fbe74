"""Measure a range of inputs on an adapter: what one worker does."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter, Call
from lossproof.core.raised import describe
from lossproof.engine.answer import Answer, Bound, answer_to
from lossproof.errors import Unsupported
from lossproof.sweeps.inputs import Patterns, blocks
from lossproof.sweeps.measure import Measure, as_float64
from lossproof.sweeps.reference import FORMULAS, Point
from lossproof.sweeps.subjects import SUBJECTS, Subject, Target
from lossproof.sweeps.tally import Steps, Tally

Array = npt.NDArray[Any]
Tallies = dict[str, Tally]


class Range(msgspec.Struct, frozen=True):
    """The magnitudes from ``first`` up to ``last``, without it, of one subject in one dtype."""

    subject: str
    dtype: str
    first: int
    last: int


def empty(subject: Subject, dtype: str) -> Tallies:
    """What there is before anything was measured."""
    patterns = Patterns(dtype)
    return {
        target.name: Tally(patterns.gap, Steps(target.order, patterns.sign)) for target in subject.targets
    }


def merge(into: Tallies, other: Tallies) -> None:
    """Add what another range gave, which is used up."""
    for name, tally in other.items():
        into[name].merge(tally)


def measure(adapter: Adapter, range_: Range) -> Tallies:
    """Ask an adapter for all inputs of a range, of both signs, and compare.

    What the adapter raises is noted in the tallies, as is what has another dtype or shape.
    """
    return _Work(adapter, SUBJECTS[range_.subject], range_.dtype).range(range_.first, range_.last)


@dataclass(frozen=True)
class _Work:
    adapter: Adapter
    subject: Subject
    dtype: str

    def range(self, first: int, last: int) -> Tallies:
        patterns = Patterns(self.dtype)
        tallies = empty(self.subject, self.dtype)
        for start, end in blocks(first, last):
            seen: dict[bool, dict[str, Array]] = {}
            for negative in patterns.signs(self.subject):
                numbers = patterns.numbers(start, end, negative)
                results = self._results(numbers, tallies, start)
                seen[negative] = results
                at = start | (patterns.sign if negative else 0)
                if start < patterns.infinity:
                    self._compare(numbers, results, tallies, at, start, patterns)
                else:
                    self._specials(numbers, results, tallies, at)
            if len(seen) == 2 and start < patterns.infinity:
                self._mirror(seen, tallies, start)
        return tallies

    # -- the adapter ----------------------------------------------------------------------------

    def _results(self, numbers: Array, tallies: Tallies, first: int) -> dict[str, Array]:
        """The targets that the adapter gives, each an array as long as the numbers."""
        answer = call(self.adapter, self.subject, numbers)
        found: dict[str, Array] = {}
        for target in self.subject.targets:
            values, why = picked_or_why(answer, target, numbers)
            if values is None:
                tallies[target.name].note_problem(first, len(numbers), why)
            else:
                found[target.name] = values
        return found

    # -- what comes of it -----------------------------------------------------------------------

    def _compare(
        self, numbers: Array, results: dict[str, Array], tallies: Tallies, at: int, start: int,
        patterns: Patterns,
    ) -> None:  # fmt: skip
        for name, values in results.items():
            tallies[name].steps.add(at, _comparable(values))
        measures = {
            target.name: Measure(self.subject, target, self.dtype, patterns.kind)
            for target in self.subject.targets
            if target.name in results
        }
        last = start + len(numbers)
        if (last - 1) // patterns.per_binade == start // patterns.per_binade:
            ends = as_float64(numbers[[0, -1]])
            measures = {
                name: own
                for name, own in measures.items()
                if not own.block(tallies[name], at, ends, _comparable(results[name]))
            }
        if not measures:
            return
        inputs = as_float64(numbers)
        for first, end in patterns.chunks(start, last):
            piece = slice(first - start, end - start)
            point = Point(inputs[piece])
            for name, own in measures.items():
                y = FORMULAS[own.target.formula](point)
                own.chunk(tallies[name], at + piece.start, point.x, y, as_float64(results[name][piece]))

    def _specials(self, numbers: Array, results: dict[str, Array], tallies: Tallies, at: int) -> None:
        for target in self.subject.targets:
            if target.name in results:
                own = Measure(self.subject, target, self.dtype, Patterns(self.dtype).kind)
                own.specials(tallies[target.name], at, as_float64(numbers), as_float64(results[target.name]))

    def _mirror(self, seen: dict[bool, dict[str, Array]], tallies: Tallies, start: int) -> None:
        """Compare f(x) with what is its like at −x."""
        for target in self.subject.targets:
            if target.mirror is None:
                continue
            other, sign = target.mirror
            ours, theirs = seen[False].get(target.name), seen[True].get(other)
            if ours is None or theirs is None:
                continue
            ours, theirs = _comparable(ours), _comparable(theirs)
            wrong = ours != (theirs if sign > 0 else -theirs)
            wrong &= ~(np.isnan(ours) & np.isnan(theirs))
            count = int(np.count_nonzero(wrong))
            if count:
                tallies[target.name].note_mirrored(start + int(wrong.argmax()), count)


def _comparable(values: Array) -> Array:
    """In a dtype that NumPy compares quickly."""
    return values if values.dtype.itemsize >= 4 else values.astype(np.float32)


def call(adapter: Adapter, subject: Subject, numbers: Array) -> Answer:
    """Ask for all outputs of a subject at once, for numbers (or points) of a dtype; nothing is raised."""
    function, dtype = subject.function, numbers.dtype.name
    if getattr(adapter, function, None) is None:
        why = f"the adapter defines no {function}"
    elif dtype not in adapter.dtypes:
        why = f"the adapter does not list {dtype}"
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of overflows, say, which are inputs like others here
            return answer_to(adapter, lambda: _prepare(adapter, subject, numbers), subject.sources)
    return Answer(raised=dict.fromkeys(subject.sources, Unsupported(why)))


def _prepare(adapter: Adapter, subject: Subject, numbers: Array) -> Callable[[], Bound]:
    arrays = subject.arrays(numbers)
    cotangent = None if subject.cotangent is None else subject.cotangent(numbers)

    def bind() -> Bound:
        native = {name: adapter.from_numpy(array) for name, array in arrays.items()}
        weights = None if cotangent is None else adapter.from_numpy(cotangent)
        return Call(adapter, subject.function, subject.all_parameters), native, weights

    return bind


def picked_or_why(answer: Answer, target: Target, numbers: Array) -> tuple[Array | None, str]:
    """One target of an answer, as long as the numbers; or why there is none to compare."""
    if target.source not in answer.outputs:
        error = answer.raised[target.source]
        if isinstance(error, Unsupported):
            return None, f"unsupported: {error}"
        return None, f"raised {describe(error)}"
    output = answer.outputs[target.source]
    rows = output.shape[:1] == numbers.shape[:1] and output.ndim == (1 if target.column is None else 2)
    if not rows or (target.column is not None and target.column >= output.shape[1]):
        return None, f"shape {output.shape} where one for {len(numbers)} inputs is due"
    if output.dtype != numbers.dtype:
        return None, f"dtype {output.dtype} where {numbers.dtype} is due"
    return (output if target.column is None else output[:, target.column]), ""
