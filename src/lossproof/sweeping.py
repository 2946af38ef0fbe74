"""Every input of one function under test inside anyone's own unit tests: ``lossproof.sweep``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lossproof.checking import adapter_of
from lossproof.core.text import counted, require
from lossproof.errors import LossproofError
from lossproof.registry.loaded import AdapterInfo
from lossproof.sweeps.execute import with_adapter
from lossproof.sweeps.session import measured
from lossproof.sweeps.subjects import SWEPT_DTYPES, choose

if TYPE_CHECKING:
    from lossproof.sweeps.report import OutputReport, Span, Sweep

MAX_LISTED = 5


def sweep(
    function: Callable[..., Any],
    name: str,
    *,
    framework: str = "numpy",
    gradient: Callable[..., Any] | None = None,
    dtype: str = "float16",
) -> list[Sweep]:
    """Try every input of a dtype on a function of yours, and compare with exact values.

    Args:
        function: called with arrays of the framework by position and parameters by keyword, as
            ``lossproof.check`` does.
        name: a function of the specification that has a form of one variable (``lossproof.sweeps.subjects``):
            ``sigmoid``, or ``softmax``, which is then of rows (x, 0).
        framework: whose arrays, devices and gradients to use: a built-in adapter's name. With ``numpy``
            there are no gradients unless ``gradient`` is given.
        gradient: the backward pass, ``gradient(cotangent, *arrays, **parameters)``, where the framework
            does not differentiate ``function``.
        dtype: ``float16`` or ``bfloat16``, 65,536 inputs and about a second, or ``float32``, four billion
            and some minutes.

    Returns:
        What each form of the function gave; binary cross entropy, for one, has a form for either target.

    Raises:
        AssertionError: the specification's bound is exceeded, or a NaN or an infinity is wrong; the message
            names the worst input and the ranges. Or the function raised where a result was due.
        LossproofError: an unknown name or dtype, a framework that is missing, or nothing was measured.
    """
    subjects = choose([name])
    require("dtype", dtype, SWEPT_DTYPES)
    adapter = adapter_of(function, subjects[0].function, framework, gradient)
    info = AdapterInfo(adapter.name, adapter.backend or framework, adapter.version, adapter.device)
    found = [
        measured(info, subject, dtype, with_adapter(adapter), lambda range_: range_) for subject in subjects
    ]
    wrong = [line for sweep_ in found for output in sweep_.outputs for line in _lines(sweep_.subject, output)]
    if wrong:
        raise AssertionError("\n".join([f"{name} {dtype}: the specification's bound is exceeded", *wrong]))
    if not any(sweep_.judged for sweep_ in found):
        problem = next(output.problem for sweep_ in found for output in sweep_.outputs)
        raise LossproofError(f"sweep of {name} {dtype}: nothing was measured: {problem}")
    return found


def _lines(subject: str, output: OutputReport) -> list[str]:
    """What is wrong with an output, in words."""
    head = f"  {subject} {output.output}"
    if output.problem and not output.problem.startswith("unsupported"):
        return [f"{head}: {output.problem}"]
    if not output.exceeded:
        return []
    lines = [f"{head}: {counted(output.exceeding, 'input')} of {output.inputs:,}"]
    if output.worst is not None:
        at = output.worst.inputs[0]
        lines.append(
            f"    worst at {at.number} ({at.bits}): {output.worst.actual} where {output.worst.expected} "
            f"is due, {abs(output.worst.error_ulp):.4g} ULP"
        )
    lines += [f"    {_words(span)}" for span in output.exceeded[:MAX_LISTED]]
    if len(output.exceeded) > MAX_LISTED:
        lines.append(f"    and {counted(len(output.exceeded) - MAX_LISTED, 'range')} more")
    return lines


def _words(span: Span) -> str:
    size = f", up to {span.worst_ulp:.4g} ULP" if span.worst_ulp else ", not finite"
    return f"from {span.first.number} to {span.last.number}: {counted(span.count, 'input')}{size}"
