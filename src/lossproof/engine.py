"""Run one case on one adapter: build the arrays, make the call, judge what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter, Call
from lossproof.case import Case, materialize
from lossproof.compare import Comparison, compare
from lossproof.deviations import Deviations
from lossproof.dtypes import FLOAT_TYPES, numpy_dtype
from lossproof.errors import Unsupported
from lossproof.results import FAILURES, Record, Verdict


@dataclass
class Answer:
    """What an adapter gave for a case: NumPy outputs, and per output what was raised instead."""

    outputs: dict[str, Any] = field(default_factory=dict)
    raised: dict[str, BaseException] = field(default_factory=dict)


def numpy_arrays(case: Case, dtype: str) -> dict[str, npt.NDArray[Any]]:
    """Fresh NumPy arrays of a case's inputs in a dtype, laid out in memory as the case says."""
    arrays = {}
    for array in case.function.arrays:
        exact = case.exact_arrays[array.name]
        integer = array.integer and dtype in FLOAT_TYPES
        cast = exact.astype(np.int64 if integer else numpy_dtype(dtype))
        arrays[array.name] = _laid_out(cast, case.layout.get(array.name))
    return arrays


def _laid_out(array: npt.NDArray[Any], layout: str | None) -> npt.NDArray[Any]:
    if layout == "transposed":
        return np.asfortranarray(array)
    if layout == "strided":
        # Every other element of a twice as long last axis; what lies between must not be read.
        wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), 77, dtype=array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    return array


def numpy_parameters(case: Case, dtype: str) -> dict[str, Any]:
    """The case's keyword parameters, arrays as NumPy arrays of the dtype."""
    kinds = {parameter.name: parameter.kind for parameter in case.function.parameters}
    return {
        name: materialize(value, integer=False).astype(numpy_dtype(dtype))
        if kinds[name] == "array" and value is not None
        else value
        for name, value in case.parameters.items()
    }


def bind(adapter: Adapter, case: Case, dtype: str) -> tuple[Call, dict[str, Any], Any]:
    """The call, its native arrays and its native cotangent (or None)."""
    arrays = {name: adapter.from_numpy(a) for name, a in numpy_arrays(case, dtype).items()}
    parameters = {
        name: adapter.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in numpy_parameters(case, dtype).items()
    }
    cotangent = (
        None
        if case.cotangent is None
        else adapter.from_numpy(materialize(case.cotangent, False).astype(numpy_dtype(dtype)))
    )
    return Call(adapter, case.function.name, parameters), arrays, cotangent


def ask(adapter: Adapter, case: Case, dtype: str) -> Answer:
    """Make the call, and the gradients' where the case has any; nothing is raised."""
    wanted = list(case.expected or ())
    answer = Answer()
    why = _missing(adapter, case, dtype)
    if why:
        answer.raised = dict.fromkeys(wanted, Unsupported(why))
        return answer
    wrt = tuple(name.removeprefix("gradients.") for name in wanted if name != "value")
    try:
        call, arrays, cotangent = bind(adapter, case, dtype)
    except (Exception, SystemExit) as error:
        answer.raised = dict.fromkeys(wanted, error)
        return answer
    if wrt:
        try:
            # Only a case that gives a cotangent needs an adapter that takes one.
            extra = {} if cotangent is None else {"cotangent": cotangent}
            value, gradients = adapter.value_and_gradients(call, arrays, wrt, **extra)
            answer.outputs["value"] = adapter.to_numpy(value)
            for name in wrt:
                answer.outputs[f"gradients.{name}"] = adapter.to_numpy(gradients[name])
            return answer
        except (Exception, SystemExit) as error:
            # The value may be fine all the same; ask for it alone.
            answer = Answer(raised={f"gradients.{name}": error for name in wrt})
            call, arrays, _ = bind(adapter, case, dtype)
    try:
        answer.outputs["value"] = adapter.to_numpy(adapter.evaluate(call, arrays))
    except (Exception, SystemExit) as error:
        answer.raised["value"] = error
    return answer


def _missing(adapter: Adapter, case: Case, dtype: str) -> str | None:
    if getattr(adapter, case.function.name, None) is None:
        return f"the adapter defines no {case.function.name}"
    if dtype in FLOAT_TYPES and dtype not in adapter.dtypes:
        return f"the adapter does not list {dtype}"
    return None


def judge(case: Case, dtype: str, output: str, answer: Answer) -> tuple[Verdict, str | None, Comparison]:
    """Verdict, variant's name and comparison for one output, deviations aside."""
    if output in answer.raised:
        error = answer.raised[output]
        message = describe(error)
        if isinstance(error, Unsupported):
            return Verdict.UNSUPPORTED, None, Comparison(False, str(error))
        for variant in case.variants:
            if variant.raises:
                return Verdict.VARIANT, variant.name, Comparison(True, message)
        verdict = Verdict.BELOW if case.level == "recommended" else Verdict.ERROR
        return verdict, None, Comparison(False, message)
    assert case.expected is not None
    tolerance = case.tolerances.get(dtype, {}).get(output)
    actual = answer.outputs[output]
    comparison = compare(actual, case.expected[output], tolerance, dtype)
    if comparison.ok:
        if comparison.flushed:
            return Verdict.VARIANT, "flushes-subnormals", comparison
        return Verdict.PASS, None, comparison
    for variant in case.variants:
        if output in variant.outputs:
            other = compare(actual, variant.outputs[output], tolerance, dtype)
            if other.ok:
                return Verdict.VARIANT, variant.name, other
    return Verdict.BELOW if case.level == "recommended" else Verdict.FAIL, None, comparison


def describe(error: BaseException) -> str:
    """Type and first lines of what was raised, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def records(case: Case, dtype: str, adapter: str, answer: Answer, deviations: Deviations) -> list[Record]:
    """Judge all outputs of a case."""
    found = []
    for output in case.expected or ():
        verdict, variant, comparison = judge(case, dtype, output, answer)
        message = comparison.message
        deviation = deviations.find(case.id, dtype, output)
        if deviation is not None and verdict is not Verdict.UNSUPPORTED:
            if verdict in FAILURES:
                verdict, message = Verdict.DEVIATION, f"{deviation.id}: {message}"
            elif verdict is Verdict.BELOW:
                # A miss of a recommended case stays one; the record says what it is.
                message = f"{deviation.id}: {message}"
            else:
                message = (
                    f"listed as deviation {deviation.id!r}, but the verdict is now {verdict}: "
                    f"remove it from {deviation.path.name}:{deviation.line}"
                )
                verdict = Verdict.FAIL
        found.append(make_record(case, dtype, adapter, output, verdict, message, variant, comparison))
    return found


def make_record(
    case: Case,
    dtype: str,
    adapter: str,
    output: str,
    verdict: Verdict,
    message: str,
    variant: str | None = None,
    comparison: Comparison | None = None,
) -> Record:
    return Record(
        case=case.id,
        function=case.function.name,
        clause=case.clause,
        adapter=adapter,
        dtype=dtype,
        output=output,
        verdict=verdict,
        variant=variant,
        error_ulp=comparison.error_ulp if comparison else None,
        error=comparison.error if comparison else None,
        allowed=comparison.allowed if comparison else None,
        message=message,
    )


def run_case(adapter: Adapter, name: str, case: Case, dtype: str, deviations: Deviations) -> list[Record]:
    """Run one case in one dtype and judge every output."""
    return records(case, dtype, name, ask(adapter, case, dtype), deviations)


def same_verdict_for_all(
    case: Case, dtype: str, adapter: str, verdict: Verdict, message: str
) -> list[Record]:
    """Records of a case that was not run (skipped) or did not come back (crash, timeout)."""
    return [make_record(case, dtype, adapter, output, verdict, message) for output in case.expected or ()]
