"""One function under test inside anyone's own unit tests: ``lossproof.check``."""

from __future__ import annotations

import fnmatch
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lossproof.adapter import Adapter, Call
from lossproof.case.model import Case
from lossproof.case.select import select_cases
from lossproof.core.functions import FUNCTIONS, Function
from lossproof.core.text import require
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.errors import LossproofError, Unsupported
from lossproof.isolation.load import load_adapter
from lossproof.registry.deviations import Deviations
from lossproof.registry.modes import class_under, lacking, split

MAX_LISTED = 10
_NO_DEVIATIONS = Deviations([], "", "", "")


def check(
    function: Callable[..., Any],
    name: str,
    *,
    framework: str = "numpy",
    gradient: Callable[..., Any] | None = None,
    modes: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    cases: Sequence[str] = ("*",),
    skip: Sequence[str] = (),
    recommended: bool = False,
    thorough: bool = False,
) -> list[Record]:
    """Run the cases of one function of the specification on a function of yours.

    ``function`` takes the arrays by position and parameters by keyword, as in the table of
    spec/adapters.md. A parameter that its signature lacks is not passed, and cases that give it
    another value than its default are left out: ``lambda logits: …`` is a softmax over the last
    axis. So are cases for which it raises ``lossproof.Unsupported``.

    Args:
        function: called with arrays of the framework.
        name: a function of the specification, ``softmax`` say.
        framework: whose arrays, devices and gradients to use: a built-in adapter's name. With
            ``numpy`` there are no gradients unless ``gradient`` is given.
        gradient: the backward pass where the framework does not differentiate ``function``;
            ``gradient(cotangent, *arrays, **parameters)`` returns the gradient, or a tuple of them
            in the order of the differentiable arrays.
        modes: run it under these transformations of the framework, too (``vmap``, ``compile``): each puts
            the function and what the framework makes of its gradients through itself; docs/modes.md
            lists them. Cases for which one has no rule are left out.
        dtypes: only these; by default all that the framework has.
        cases: patterns of the cases to run, ``softmax/limits/*`` or ``range/*``.
        skip: patterns of cases to leave out.
        recommended: count misses of recommended cases as well.
        thorough: run the long and the redundant cases, too, as patterns of ``cases`` do that match them.

    Returns:
        A record per judged output.

    Raises:
        AssertionError: an output is wrong; the message names case, clause, worst element,
            expected, actual and allowed error, and ULPs.
        LossproofError: an unknown name, a framework that is missing, a mode that it has not or that is
            to be combined with ``gradient``, or no case left to run.
    """
    require("function", name, FUNCTIONS)
    adapter = adapter_of(function, name, framework, gradient)
    under_modes = [_under(adapter, framework, mode, gradient) for mode in dict.fromkeys(modes)]
    chosen = [
        case
        for case in select_cases([], [name], thorough or tuple(cases) != ("*",))
        if (case.level == "required" or recommended) and _matches(case, cases) and not _matches(case, skip)
    ]
    records = []
    for one in (adapter, *under_modes):
        every = [
            record
            for case in chosen
            for dtype in case.dtypes
            if not dtypes or dtype in dtypes
            for record in _run(one, case, dtype)
        ]
        judged = [record for record in every if record.verdict is not Verdict.UNSUPPORTED]
        if not judged:
            under = f" under {one.mode}: {every[0].message}" if one.mode and every else ""
            raise LossproofError(
                f"check of {name}: no case is left to run{under or '; see dtypes, cases and skip'}"
            )
        records += judged
    wrong = [r for r in records if r.verdict in FAILURES or (recommended and r.verdict is Verdict.BELOW)]
    if wrong:
        raise AssertionError(_report(name, wrong, len(records), chosen))
    return records


def _matches(case: Case, patterns: Sequence[str]) -> bool:
    short = case.id.split("/", 1)[1]
    return any(fnmatch.fnmatchcase(case.id, p) or fnmatch.fnmatchcase(short, p) for p in patterns)


def _run(adapter: Adapter, case: Case, dtype: str) -> list[Record]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run_case(adapter, adapter.name, case, dtype, _NO_DEVIATIONS)


def _report(name: str, wrong: Sequence[Record], judged: int, cases: Sequence[Case]) -> str:
    why = {case.id: case.why for case in cases}
    lines = [f"{name}: {len(wrong)} of {judged} outputs are wrong"]
    for record in wrong[:MAX_LISTED]:
        mode = split(record.adapter)[1]
        under = f" under {mode}" if mode else ""
        lines.append(
            f"  {record.case} {record.dtype} {record.output}{under} ({record.clause}): {why[record.case]}"
        )
        lines.append(f"    {record.verdict}: {record.message}")
    if len(wrong) > MAX_LISTED:
        lines.append(f"  and {len(wrong) - MAX_LISTED} more")
    lines.append(f"inputs and clause: lossproof explain {wrong[0].case} -a numpy")
    return "\n".join(lines)


def adapter_of(
    function: Callable[..., Any],
    name: str,
    framework: str,
    gradient: Callable[..., Any] | None,
) -> Adapter:
    """An adapter of the framework whose one function, ``name`` of the specification, is ``function``.

    Raises:
        LossproofError: the framework cannot run here.
    """
    definition = FUNCTIONS[name]
    if framework == "numpy":
        base: type[Adapter] = Adapter
    else:
        loaded = load_adapter(framework)
        if loaded.adapter is None:
            raise LossproofError(f"framework {framework!r} cannot run: {loaded.info.skipped}")
        base = type(loaded.adapter)
    parameters = {p.name: p.default for p in definition.parameters}
    passed = _accepted(function, definition)

    def call(self: Adapter, *arrays: Any, **given: Any) -> Any:
        for key in given.keys() - passed:
            if not _is_default(key, given[key], parameters[key], arrays[0]):
                raise Unsupported(f"the function under test has no parameter {key}")
        return function(*arrays, **{key: value for key, value in given.items() if key in passed})

    members: dict[str, Any] = {"name": getattr(function, "__name__", "function"), definition.name: call}
    if gradient is not None:
        members["value_and_gradients"] = _with_gradient(gradient, definition, passed)
    checked: type[Adapter] = type("Checked", (base,), members)
    return checked()


def _under(adapter: Adapter, framework: str, mode: str, gradient: Callable[..., Any] | None) -> Adapter:
    """The adapter of a function whose calls go through a mode of its framework."""
    why = lacking(type(adapter), mode)
    if why is not None:
        raise LossproofError(f"framework {framework!r}: {why}")
    if gradient is not None:
        raise LossproofError(
            f"mode {mode!r} transforms what the framework differentiates, and gradient is called as it "
            "stands: leave out one of them"
        )
    loaded = load_adapter(class_under(type(adapter), mode))
    if loaded.adapter is None:
        raise LossproofError(f"mode {mode!r} cannot run: {loaded.info.skipped}")
    return loaded.adapter


def _accepted(function: Callable[..., Any], definition: Function) -> set[str]:
    """The parameters that the function takes."""
    names = {parameter.name for parameter in definition.parameters}
    try:
        signature = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return names  # built in C, without a signature: pass everything
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature):
        return names
    return names & {p.name for p in signature if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def _is_default(name: str, value: Any, default: Any, first: Any) -> bool:
    if name == "axis":
        # The last axis counted from the front is the last axis, too.
        return bool(value % len(first.shape) == default % len(first.shape))
    return value is default or (value is not None and bool(value == default))


def _with_gradient(gradient: Callable[..., Any], definition: Function, passed: set[str]) -> Any:
    def value_and_gradients(
        self: Adapter,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        value = function(*arrays.values())
        if cotangent is None:
            import numpy as np

            whole = self.to_numpy(value)
            cotangent = self.from_numpy(np.ones_like(whole))
        parameters = {key: item for key, item in function.parameters.items() if key in passed}
        found = gradient(cotangent, *arrays.values(), **parameters)
        named = dict(zip(definition.wrt, found if isinstance(found, tuple) else (found,), strict=False))
        return value, {name: named[name] for name in wrt}

    return value_and_gradients
