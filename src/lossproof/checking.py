"""One function under test inside anyone's own unit tests: ``lossproof.check``."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from lossproof.adapter import Adapter, Call
from lossproof.case.model import Case
from lossproof.case.select import select_cases
from lossproof.core.functions import FUNCTIONS, Function
from lossproof.core.text import require, shortened
from lossproof.core.verdicts import FAILURES, Verdict
from lossproof.engine.judge import run_case
from lossproof.engine.record import Record
from lossproof.errors import LossproofError, Unsupported
from lossproof.isolation.load import load_adapter
from lossproof.mistakes import Checked, CheckFailure, describe, left_out
from lossproof.registry.deviations import Deviations
from lossproof.registry.loaded import Loaded
from lossproof.registry.modes import class_under, lacking

# What frameworks and authors call the parameters of the specification.
_OTHER_NAMES = {
    "dim": "axis", "axes": "axis", "dims": "axis",
    "weights": "weight", "class_weight": "weight", "class_weights": "weight", "sample_weight": "weight",
    "pos_weights": "pos_weight", "positive_weight": "pos_weight",
    "ignore_label": "ignore_index", "ignore_class": "ignore_index", "ignored_index": "ignore_index",
    "smoothing": "label_smoothing", "smooth": "label_smoothing", "reduce": "reduction",
    "classes": "num_classes", "n_classes": "num_classes", "auxiliary_weight": "aux_weight",
}  # fmt: skip
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
    reduction: str = "",
    layout: str = "channels_last",
) -> Checked:
    """Run the cases of one function of the specification on a function of yours.

    ``function`` takes the arrays by position and parameters by keyword, as in the table of
    spec/adapters.md. A parameter that its signature lacks is not passed, and cases that give it
    another value than its default are left out: ``lambda logits: …`` is a softmax over the last
    axis. What a ``functools.partial`` or an object (``nn.CrossEntropyLoss()``) has settled is not passed
    either, and cases that give it another value are left out. So are cases for which it raises
    ``lossproof.Unsupported``.

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
        reduction: what the function does where it takes no such parameter: ``none``, ``sum`` or ``mean``
            (the default, as in the specification).
        layout: ``channels_first`` for a function that takes the classes at axis 1 (``(N, C, …)``, as PyTorch
            does), whichever axis a case has them at; of functions with an ``axis``, and without ``gradient``.
        thorough: run the long and the redundant cases, too, as patterns of ``cases`` do that match them.

    Returns:
        A record per judged output, in a list whose ``left_out`` says what was not judged (gradients that
        the framework was not asked for, parameters that the function lacks), and how often.

    Raises:
        AssertionError: an output is wrong. The message groups what is wrong alike, and names case, clause,
            worst element, expected, actual and allowed error, and ULPs of the first of each group, and
            whether the framework's own function fails there, too. ``records`` are all that were judged,
            ``wrong`` those that fail. What is recorded of the framework and what it still does does not
            fail a function built on it.
        LossproofError: an unknown name, a framework that is missing, a mode that it has not or that is
            to be combined with ``gradient``, or no case left to run.
    """
    __tracebackhide__ = True  # the failure is of the test that called this
    require("function", name, FUNCTIONS)
    if reduction:
        require("reduction", reduction, ("none", "sum", "mean"))
    require("layout", layout, ("channels_last", "channels_first"))
    _check_names(function, FUNCTIONS[name])
    has_axis = any(parameter.name == "axis" for parameter in FUNCTIONS[name].parameters)
    if layout == "channels_first" and (not has_axis or gradient is not None):
        raise LossproofError(
            f"check of {name}: layout channels_first is for functions with an axis, without gradient"
        )
    adapter = adapter_of(function, name, framework, gradient, reduction, layout)
    under_modes = [_under(adapter, framework, mode, gradient) for mode in dict.fromkeys(modes)]
    chosen = [
        case
        for case in select_cases([], [name], thorough or tuple(cases) != ("*",))
        if (case.level == "required" or recommended) and _matches(case, cases) and not _matches(case, skip)
    ]
    plain = _Plain(framework)
    records, unjudged = [], []
    for one in (adapter, *under_modes):
        every = [
            record
            for case in chosen
            for dtype in case.dtypes
            if not dtypes or dtype in dtypes
            for record in plain.recorded(case, _run(one, case, dtype))
        ]
        unjudged += [record for record in every if record.verdict is Verdict.UNSUPPORTED]
        judged = [record for record in every if record.verdict is not Verdict.UNSUPPORTED]
        if not judged:
            under = f" under {one.mode}: {every[0].message}" if one.mode and every else ""
            raise LossproofError(
                f"check of {name}: no case is left to run{under or '; see dtypes, cases and skip'}"
            )
        records += judged
    wrong = [r for r in records if r.verdict in FAILURES or (recommended and r.verdict is Verdict.BELOW)]
    if wrong:
        known = {case.id: case for case in chosen}
        said = describe(
            name,
            wrong,
            records,
            known,
            left_out(unjudged, records),
            lambda record: plain.remark(known[record.case], record),
        )
        raise CheckFailure(said, records, wrong)
    return Checked(records, left_out(unjudged, records))


class _Plain:
    """The framework's own function beside the one under test, called only where that is wrong."""

    def __init__(self, framework: str) -> None:
        self.framework = framework

    @functools.cached_property
    def loaded(self) -> Loaded | None:
        # NumPy has none of its own, and is right.
        return None if self.framework == "numpy" else load_adapter(self.framework)

    def fails(self, case: Case, record: Record) -> bool:
        if self.loaded is None or self.loaded.adapter is None:
            return False
        return any(
            own.output == record.output and own.verdict in FAILURES
            for own in _run(self.loaded.adapter, case, record.dtype)
        )

    def recorded(self, case: Case, records: Sequence[Record]) -> list[Record]:
        """What is built on a framework is not blamed for what is recorded of it and it still does."""
        return [
            structs.replace(
                record, verdict=Verdict.DEVIATION, deviation=entry.id,
                message=f"{entry.id}, as plain {self.framework}: {record.message}",
            )
            if record.verdict in FAILURES
            and self.loaded is not None
            and (entry := self.loaded.deviations.find(case.id, record.dtype, record.output))
            and self.fails(case, record)
            else record
            for record in records
        ]  # fmt: skip

    def remark(self, case: Case, record: Record) -> str:
        return f"plain {self.framework} fails this too" if self.fails(case, record) else ""


def _matches(case: Case, patterns: Sequence[str]) -> bool:
    short = case.id.split("/", 1)[1]
    return any(fnmatch.fnmatchcase(case.id, p) or fnmatch.fnmatchcase(short, p) for p in patterns)


def _run(adapter: Adapter, case: Case, dtype: str) -> list[Record]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run_case(adapter, adapter.name, case, dtype, _NO_DEVIATIONS)


def adapter_of(
    function: Callable[..., Any],
    name: str,
    framework: str,
    gradient: Callable[..., Any] | None,
    reduction: str = "",
    layout: str = "channels_last",
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
    fixed = _fixed(function, definition) | ({"reduction": reduction} if reduction else {})
    passed = _accepted(function, definition) - fixed.keys()
    defaults = _own_defaults(function)
    called = function
    if layout == "channels_first":
        fixed.pop("axis", None)
        passed |= {"axis"}
        called = _classes_first(function)

    def call(self: Adapter, *arrays: Any, **given: Any) -> Any:
        for key in given.keys() - passed:
            alike = _is_default(key, given[key], fixed.get(key, parameters[key]), arrays[0])
            if alike or (key in fixed and _untold(function, key, given[key])):
                continue
            if key in fixed:
                raise Unsupported(f"the function under test has {key} fixed to {shortened(str(fixed[key]))}")
            raise Unsupported(f"the function under test has no parameter {key}")
        told = {key: value for key, value in given.items() if key in passed}
        # What a case leaves out a function is not told that has a default of its own for it.
        return called(*arrays, **{k: v for k, v in told.items() if v is not None or k not in defaults})

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
    # An object of nn.Module takes whatever its forward does.
    called = getattr(function, "forward", function)
    try:
        signature = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        return names  # built in C, without a signature: pass everything
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature):
        return names
    return names & {p.name for p in signature if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def _own_defaults(function: Callable[..., Any]) -> set[str]:
    """The parameters of a function that have another default than None."""
    try:
        signature = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {p.name for p in signature if p.default is not p.empty and p.default is not None}


def _classes_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes ``axis`` and calls one that has the classes at axis 1."""

    def last(*arrays: Any, axis: int = -1, **given: Any) -> Any:
        rank = len(arrays[0].shape)
        place, first = axis % max(rank, 1), min(1, rank - 1)
        moved = [_moved(a, place, first) if len(a.shape) == rank else a for a in arrays]
        result = function(*moved, **given)
        return _moved(result, first, place) if rank and len(result.shape) == rank else result

    return last


def _moved(array: Any, source: int, target: int) -> Any:
    """An array of any framework with one axis elsewhere."""
    if source == target:
        return array
    order = [axis for axis in range(len(array.shape)) if axis != source]
    order.insert(target, source)
    if hasattr(array, "permute"):
        return array.permute(order)
    if hasattr(array, "transpose"):
        return array.transpose(order)
    import tensorflow

    return tensorflow.transpose(array, order)


def _fixed(function: Callable[..., Any], definition: Function) -> dict[str, Any]:
    """Parameters of the specification that a partial or an object (``nn.CrossEntropyLoss()``) has settled."""
    names = {parameter.name for parameter in definition.parameters}
    if isinstance(function, functools.partial):
        given = {_OTHER_NAMES.get(key, key): value for key, value in function.keywords.items()}
        return {key: value for key, value in given.items() if key in names} | {
            key: value for key, value in function.keywords.items() if key in names
        }
    if inspect.isroutine(function) or inspect.isclass(function):
        return {}
    settings = getattr(function, "__dict__", {})
    # Modules keep arrays in a place of their own.
    arrays = settings.get("_buffers", {})
    own = {"axis": "dim"}
    found = {}
    for name in names:
        for key in (name, own.get(name, name)):
            if key in settings or key in arrays:
                found[name] = settings[key] if key in settings else arrays[key]
                break
    return found


def _untold(function: Callable[..., Any], name: str, value: Any) -> bool:
    """Whether a case leaves a parameter out, and an object has it as its class does by default."""
    if value is not None or isinstance(function, functools.partial):
        return False
    try:
        default = inspect.signature(type(function)).parameters[name].default
    except (KeyError, TypeError, ValueError):
        return False
    return bool(getattr(function, name, None) == default)


def _check_names(function: Callable[..., Any], definition: Function) -> None:
    """Refuse a parameter that is called otherwise than in the specification: it would never be passed.

    Raises:
        LossproofError: naming the one that it is taken for.
    """
    try:
        signature = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    fixed = function.keywords if isinstance(function, functools.partial) else {}
    names = {parameter.name for parameter in definition.parameters}
    arrays = len(definition.arrays)
    for place, given in enumerate(signature):
        right = _OTHER_NAMES.get(given.lower())
        if place >= arrays and given not in fixed and right in names and right not in signature:
            raise LossproofError(
                f"check of {definition.name}: the function has a parameter {given!r}, which the "
                f"specification calls {right!r} and passes by that name; rename it, or write: "
                f"lambda *arrays, {right}: function(*arrays, {given}={right})"
            )


def _is_default(name: str, value: Any, default: Any, first: Any) -> bool:
    if name == "axis":
        # The last axis counted from the front is the last axis, too.
        return bool(value % len(first.shape) == default % len(first.shape))
    if value is default:
        return True
    # Arrays (weights) are given or not.
    return isinstance(value, str | bool | int | float) and bool(value == default)


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
