"""Run one case on one adapter: build the arrays, make the call, judge what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter, Call
from lossproof.case import Case, materialize
from lossproof.compare import Comparison, compare
from lossproof.deviations import Deviations
from lossproof.dtypes import FLOAT_TYPES, numpy_dtype
from lossproof.errors import ProcessFault, RemoteError, Unsupported
from lossproof.results import FAILURES, LINK, Record, Verdict

# Outputs of up to this many elements are kept in the record as text.
MAX_SHOWN = 12


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
        arrays[array.name] = laid_out(cast, case.layout.get(array.name))
    return arrays


def laid_out(array: npt.NDArray[Any], layout: str | None) -> npt.NDArray[Any]:
    """The same array with the strides that a case or a message names, or as it is."""
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
    try:
        answer.outputs = call_outputs(adapter, call, arrays, wrt, cotangent)
    except ProcessFault as fault:
        answer.raised = dict.fromkeys(wanted, fault)
    except (Exception, SystemExit) as error:
        answer.raised = dict.fromkeys(wanted, error)
        if wrt:
            # The value may be fine all the same; ask for it alone.
            _ask_value(adapter, case, dtype, answer)
    return answer


def call_outputs(
    adapter: Adapter, call: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], cotangent: Any
) -> dict[str, npt.NDArray[Any]]:
    """Make one call, with gradients where ``wrt`` names any; NumPy outputs by name."""
    if not wrt:
        return {"value": _numpy(adapter, adapter.evaluate(call, arrays))}
    # Only a case that gives a cotangent needs an adapter that takes one.
    extra = {} if cotangent is None else {"cotangent": cotangent}
    value, gradients = adapter.value_and_gradients(call, arrays, wrt, **extra)
    outputs = {"value": _numpy(adapter, value)}
    for name in wrt:
        outputs[f"gradients.{name}"] = _numpy(adapter, gradients[name])
    return outputs


def _numpy(adapter: Adapter, native: Any) -> npt.NDArray[Any]:
    array = adapter.to_numpy(native)
    if not isinstance(array, (np.ndarray, np.generic)):
        raise TypeError(f"to_numpy gave {type(array).__name__}, not a NumPy array")
    return np.asarray(array)


def _ask_value(adapter: Adapter, case: Case, dtype: str, answer: Answer) -> None:
    try:
        call, arrays, _ = bind(adapter, case, dtype)
        answer.outputs = call_outputs(adapter, call, arrays, (), None)
        del answer.raised["value"]
    except (Exception, SystemExit) as error:
        answer.raised["value"] = error


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
        if isinstance(error, ProcessFault):
            # A dead process is no answer: neither a permitted raise nor a miss of what is recommended.
            return error.verdict, None, Comparison(False, message)
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


def small_text(array: npt.NDArray[Any]) -> str:
    """A small array as nested lists with nine digits."""
    return _nested_text(array.astype(np.float64).tolist())


def _nested_text(values: float | list[Any]) -> str:
    return f"[{', '.join(map(_nested_text, values))}]" if isinstance(values, list) else f"{values:.9g}"


def describe(error: BaseException) -> str:
    """Type and first lines of what was raised, on one line."""
    if isinstance(error, (ProcessFault, RemoteError)):
        return " ".join(str(error).split())[:600]  # says what it is itself
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def records(case: Case, dtype: str, adapter: str, answer: Answer, deviations: Deviations) -> list[Record]:
    """Judge all outputs of a case."""
    found = []
    for output in case.expected or ():
        verdict, variant, comparison = judge(case, dtype, output, answer)
        message = comparison.message
        deviation = deviations.find(case.id, dtype, output)
        actual = answer.outputs.get(output)
        if deviation is not None and verdict is not Verdict.UNSUPPORTED:
            if verdict in FAILURES:
                verdict, message = Verdict.DEVIATION, f"{deviation.id}: {message}"
            elif verdict is Verdict.BELOW:
                # A miss of a recommended case stays one; the record says what it is.
                message = f"{deviation.id}: {message}"
            elif not deviation.sporadic:
                message = (
                    f"listed as deviation {deviation.id!r}, but the verdict is now {verdict}: "
                    f"remove it from {deviation.path.name}:{deviation.line}"
                )
                verdict = Verdict.FAIL
        found.append(
            Record(
                case=case.id,
                function=case.function.name,
                clause=case.clause,
                adapter=adapter,
                dtype=dtype,
                output=output,
                verdict=verdict,
                variant=variant,
                error_ulp=comparison.error_ulp,
                error=comparison.error,
                allowed=comparison.allowed,
                message=message,
                actual=None if actual is None or actual.size > MAX_SHOWN else small_text(actual),
                deviation=deviation.id if deviation else None,
                upstream=deviation.upstream if deviation and LINK.fullmatch(deviation.upstream) else None,
                worst=comparison.worst or None,
            )
        )
    return found


def run_case(adapter: Adapter, name: str, case: Case, dtype: str, deviations: Deviations) -> list[Record]:
    """Run one case in one dtype and judge every output."""
    return records(case, dtype, name, ask(adapter, case, dtype), deviations)


def same_verdict_for_all(
    case: Case, dtype: str, adapter: str, verdict: Verdict, message: str
) -> list[Record]:
    """Records of a case that was not run (skipped) or did not come back (crash, timeout)."""
    return [
        Record(case.id, case.function.name, case.clause, adapter, dtype, output, verdict, message=message)
        for output in case.expected or ()
    ]
