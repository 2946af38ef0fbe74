"""The search: draw, ask the oracle and the backend, compare, check laws, shrink what fails.

A backend in a process of its own may crash or hang; that is a finding like any other.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from lossproof.case.arrays import numpy_parameters
from lossproof.case.expected import Sketch
from lossproof.case.model import Case
from lossproof.case.read import load_cases
from lossproof.core.dtypes import FLOAT_TYPES, INTEGER_TYPES
from lossproof.core.functions import FUNCTIONS, Function
from lossproof.core.verdicts import FAILURES, ProcessFault, Verdict
from lossproof.engine.answer import Answer
from lossproof.engine.judge import judge
from lossproof.engine.proof import ask_proven
from lossproof.fuzz import laws, strategies
from lossproof.isolation.remote import RemoteAdapter
from lossproof.oracle.certify import expect
from lossproof.oracle.definitions import definition
from lossproof.registry.loaded import Loaded

# Drawn per function before it is the next one's turn.
EXAMPLES = 150
# Seconds that the shrinking of one finding may take.
SHRINKING = 30.0


@dataclass(frozen=True)
class Signature:
    """What tells findings apart: one is shrunk and reported for each."""

    function: str
    clause: str
    output: str
    kind: str


@dataclass(frozen=True, eq=False)
class Finding:
    """The smallest case that was seen to fail in one way."""

    signature: Signature
    case: Case
    message: str
    deviation: str | None

    @property
    def dtype(self) -> str:
        return self.case.dtypes[0]


@dataclass
class Statistics:
    """What a search did, and how long (seconds) the oracle and the backend took of it."""

    cases: int = 0
    undecided: int = 0
    laws: int = 0
    seconds: float = 0.0
    oracle: float = 0.0
    backend: float = 0.0
    by_function: dict[str, int] = field(default_factory=dict)


class _Fails(Exception):
    """Hypothesis shrinks what raises this."""


class _Stop(BaseException):
    """Ends a round of Hypothesis at once; not an Exception, which Hypothesis would shrink."""


class Search:
    """One search on one adapter.

    Args:
        loaded: the adapter under test.
        functions: names of the functions to search, each in turn.
        dtypes: the floating-point dtypes to draw from.
        recommended: whether what the specification only recommends counts as a finding too.
        seed: first seed of the rounds.
        progress: called before every example.
    """

    def __init__(
        self,
        loaded: Loaded,
        functions: Sequence[str],
        dtypes: Sequence[str],
        *,
        recommended: bool = False,
        seed: int = 0,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        assert loaded.adapter is not None
        self.adapter = loaded.adapter
        self.timeout = self.adapter.timeout if isinstance(self.adapter, RemoteAdapter) else 0.0
        self.deviations = loaded.deviations
        self.functions = [FUNCTIONS[name] for name in functions if getattr(self.adapter, name, None)]
        self.dtypes = [name for name in dtypes if name in self.adapter.dtypes]
        self.recommended = recommended
        self.seed = seed
        self.progress = progress
        self.statistics = Statistics()
        self.known: set[Signature] = set()
        self._pursued: Signature | None = None
        self._best: Finding | None = None
        self._stop_at = 0.0

    def run(self, seconds: float) -> Iterator[Finding]:
        """Search for so many seconds, yielding every finding when it has been shrunk."""
        start = time.perf_counter()
        turn = 0
        while time.perf_counter() < start + seconds and self.functions and self.dtypes:
            found = self.round(turn, start + seconds)
            turn += 1
            self.statistics.seconds = time.perf_counter() - start
            if found is not None:
                yield found

    def round(self, turn: int, end: float) -> Finding | None:
        """Search one function with one seed, until ``end`` at most; what is found then, shrunk."""
        self._end = end
        self._pursued, self._best, self._stop_at = None, None, end
        self._round(self.functions[turn % len(self.functions)], self.seed + turn)
        found: Finding | None = self._best
        if found is not None:
            self.known.add(found.signature)
        return found

    def _round(self, function: Function, number: int) -> None:
        # A function without floating-point arrays is drawn in the dtypes of label maps.
        dtypes = self.dtypes if function.has_float_arrays else list(INTEGER_TYPES)
        samples = st.sampled_from(dtypes).flatmap(lambda dtype: strategies.cases(function, dtype))

        def example(case: Case, law: str, random_seed: int) -> None:
            self._example(case, law, random_seed)

        test = settings(
            max_examples=EXAMPLES, database=None, deadline=None, report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )(given(samples, st.sampled_from(list(laws.LAWS)), st.integers(0, 2**16))(example))  # fmt: skip
        with warnings.catch_warnings():
            # Overflows and invalid operations are what is looked for.
            warnings.simplefilter("ignore")
            # What was found is kept in self._best; a flaky failure is a failure.
            with suppress(_Fails, _Stop, Flaky):
                seed(number)(test)()
            self._try_rows()

    def _try_rows(self) -> None:
        """Take a row of the finding for it that fails alone.

        Hypothesis shrinks what it drew, for which an array of some rows may be simpler than one of them.
        """
        if self._best is None:
            return
        case = self._best.case
        for row in laws.rows(case):
            with suppress(_Fails, _Stop):
                self._judged(row)

    def _example(self, case: Case, law: str, random_seed: int) -> None:
        now = time.perf_counter()
        if now > self._stop_at:
            raise _Stop
        self.progress()
        outputs = self._judged(case)
        if outputs is None:
            return
        try:
            message = laws.LAWS[law](case, outputs, self._run, np.random.default_rng(random_seed))
        except laws.Inapplicable:
            return
        self.statistics.laws += 1
        if message:
            certified = self._certified(case)
            if certified is not None:
                self._found(certified, "law", law.replace(",", "").replace(" ", "-"), f"{law}: {message}")

    def _run(self, case: Case) -> laws.Measured:
        outputs = self._judged(case)
        if outputs is None:
            raise laws.Inapplicable
        return outputs

    def _certified(self, case: Case) -> Case | None:
        """The case with clause, level, variants and expectation; None where nothing is specified."""
        (dtype,) = case.dtypes
        parameters = {
            name: value.astype(np.float64) if isinstance(value, np.ndarray) else value
            for name, value in numpy_parameters(case, dtype).items()
        }
        reading = definition(case.function.name).read(case.exact_arrays, parameters, dtype)
        if not reading.defined or (reading.level == "recommended" and not self.recommended):
            return None
        case = replace(
            case, clause=reading.clause, level=reading.level, variants=reading.variants(),
            wrt=case.wrt if reading.gradients else (),
        )  # fmt: skip
        start = time.perf_counter()
        try:
            found = expect(case)
        except ArithmeticError:
            self.statistics.undecided += 1
            return None
        finally:
            self.statistics.oracle += time.perf_counter() - start
        # Sums of exact numbers cannot stand for elements that are infinite in the dtype.
        largest = FLOAT_TYPES[dtype].largest if dtype in FLOAT_TYPES else np.inf
        for output in found.outputs.values():
            if isinstance(output, Sketch) and (np.abs(output.sums) > largest).any():
                return None
        return replace(case, expected=found.outputs, tolerances=found.tolerances, choices=found.choices)

    def _judged(self, case: Case) -> laws.Measured | None:
        """The outputs of a case that passes in all of them; None where a law can say nothing."""
        certified = self._certified(case)
        if certified is None:
            return None
        (dtype,) = certified.dtypes
        start = time.perf_counter()
        answer = self._ask(certified, dtype)
        self.statistics.backend += time.perf_counter() - start
        self.statistics.cases += 1
        name = certified.function.name
        self.statistics.by_function[name] = self.statistics.by_function.get(name, 0) + 1
        measured: dict[str, tuple[Any, Any]] = {}
        complete = True
        judged = judge(certified, dtype, answer)
        for output, expected in (certified.expected or {}).items():
            verdict, _, comparison = judged[output]
            if verdict in FAILURES or verdict is Verdict.BELOW:
                self._found(certified, output, _kind(verdict, comparison), comparison.message)
                return None
            tolerance = certified.tolerances.get(output)
            if verdict is not Verdict.PASS or isinstance(expected, Sketch) or tolerance is None:
                complete = False
                continue
            values = np.asarray(answer.outputs[output]).astype(np.float64)
            measured[output] = (values, laws.allowance(expected, tolerance, dtype))
        return measured if complete and measured else None

    def _ask(self, case: Case, dtype: str) -> Answer:
        """Make the call, for as long as it may take and the search still has.

        What the end of the search has cut short is no hang.
        """
        if not isinstance(self.adapter, RemoteAdapter):
            return ask_proven(self.adapter, case, dtype)
        left = self._end - time.perf_counter()
        if left <= 0:
            raise _Stop
        self.adapter.timeout = min(self.timeout, left)
        answer = ask_proven(self.adapter, case, dtype)
        faults = [error for error in answer.raised.values() if isinstance(error, ProcessFault)]
        if left < self.timeout and any(fault.verdict is Verdict.TIMEOUT for fault in faults):
            raise _Stop
        return answer

    def _found(self, case: Case, output: str, kind: str, message: str) -> None:
        signature = Signature(case.function.name, case.clause, output, kind)
        if signature in self.known or (self._pursued is not None and signature != self._pursued):
            return
        if self._pursued is None:
            self._pursued = signature
            self._stop_at = min(time.perf_counter() + SHRINKING, self._end)
        finding = Finding(signature, case, message, self._recorded(case, output))
        if self._best is None or _size(case) <= _size(self._best.case):
            self._best = finding
        raise _Fails

    def _recorded(self, case: Case, output: str) -> str | None:
        """The adapter's recorded deviation that is about the same function and clause, if any.

        About a clause is one that names it, or one of the house's cases of it.
        """
        prefix = f"{case.function.name}/"
        for deviation in self.deviations.entries:
            listed = {name for name in deviation.cases() if name.startswith(prefix)}
            if listed and (deviation.clause == case.clause or listed & _cases_of(case.clause)):
                return deviation.id
        return None


@cache
def _cases_of(clause: str) -> frozenset[str]:
    """The cases that come with lossproof and test a clause, by id."""
    return frozenset(case.id for case in load_cases() if case.clause == clause)


def _kind(verdict: Verdict, comparison: Any) -> str:
    if verdict in (Verdict.CRASH, Verdict.TIMEOUT):
        return str(verdict)
    if verdict in (Verdict.ERROR,) or (verdict is Verdict.BELOW and ": " in comparison.message[:40]):
        return "raises"
    for word in ("shape", "dtype"):
        if comparison.message.startswith(word):
            return word
    if comparison.error is None:
        return "not-a-number"
    return "not-zero" if "must be exactly 0" in comparison.message else "inaccurate"


def _size(case: Case) -> tuple[int, int]:
    """Smaller is easier to read: elements, then digits."""
    arrays = case.exact_arrays.values()
    digits = sum(len(repr(float(x))) for a in arrays if a.size <= 256 for x in a.ravel())
    return sum(a.size for a in arrays), digits + 10 * len(case.layout) + 10 * (case.cotangent is not None)
