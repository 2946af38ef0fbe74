"""The long script: a case, and the sources of the adapter and of the engine's own comparison."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from lossproof.adapter import Adapter
from lossproof.case.expected import Expected, Sketch, Tolerance
from lossproof.case.inputs import is_description
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, HALF_TYPES
from lossproof.engine import law_calls
from lossproof.engine.proof import valid, value_dtypes
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry import modes
from lossproof.repro import calls, literal, loader, ranks
from lossproof.repro.embed import Embedded, embed
from lossproof.repro.pipe import PipeAdapter

_ROOTS = (
    "lossproof",
    "lossproof.adapter",
    "lossproof.case.inputs",
    "lossproof.core.dtypes",
    "lossproof.core.layout",
    "lossproof.engine.refusal",
    "lossproof.repro.report",
)


def full_script(case: Case, adapter: Adapter, dtype: str, *, laws: bool = False) -> str:
    """A script that runs the case on the adapter and exits with status 1 if an output is wrong.

    It is judged as a run judges it, by the same source; with ``laws`` those of the call are judged, too. A
    command is started by the script.

    Raises:
        LossproofError: a source that the script has to carry cannot be read.
    """
    if isinstance(adapter, RemoteAdapter):
        embedded = embed(PipeAdapter, "", _ROOTS)
        arguments = f"{list(adapter.command)!r}, {adapter.start.encoding!r}"
        needs = "the command"
    else:
        cls: Any = adapter.untransformed or type(adapter)
        # Of a class under a mode, the class itself; the script puts it under the mode again.
        roots = (*_ROOTS, *([modes.__name__] if adapter.mode else []), *([calls.__name__] if laws else []))
        embedded = embed(cls, adapter.backend, roots)
        arguments = ""
        needs = "the framework"
    doc = literal.docstring(
        title(case, adapter, dtype),
        literal.sentence(case.why),
        f"Clause {case.clause} of the specification. Needs Python 3.11, NumPy, ml_dtypes and {needs}. What "
        "is judged is in main(); below it are the sources of the adapter and of the comparison, with which "
        "lossproof judges, as they are.",
    )
    several = modes.ranks_of(adapter.mode)
    main = textwrap.indent("\n".join(_main(case, adapter, embedded, arguments, dtype, laws)), "    ")
    sources = "".join(
        f"    {name!r}: {literal.module_source(source)},\n" for name, source in embedded.sources.items()
    )
    parts = [
        f"{doc}\n\n{_imports(several > 1)}",
        f"def main():\n{main}",
        f"SOURCES = {{\n{sources}}}",
        _loader(),
        *([_as_ranks()] if several > 1 else []),
        _start(several),
    ]
    return "\n\n\n".join(parts)


@cache
def _loader() -> str:
    return inspect.getsource(loader.Sources).rstrip()


def title(case: Case, adapter: Adapter, dtype: str) -> str:
    """What a script is about, on one line."""
    if isinstance(adapter, RemoteAdapter):
        start = adapter.start
        return f"{case.id} in {dtype} with {start.backend} {start.version} on {start.device}."
    backend = adapter.backend or adapter.name or type(adapter).__name__
    return f"{case.id} in {dtype} with {backend} {adapter.version} on {adapter.device}."


@cache
def _as_ranks() -> str:
    return inspect.getsource(ranks.as_ranks).rstrip()


def _imports(several: bool) -> str:
    """What the sources of the loader, and of the start of ranks, need; annotations are not evaluated."""
    names = ["importlib.abc", "importlib.util", "linecache", "sys"]
    names += ["os", "socket", "subprocess", "time"] if several else []
    return "\n".join(
        ["from __future__ import annotations", "", *(f"import {name}" for name in sorted(names))]
    )


def _start(several: int) -> str:
    """The end of a script; one for several ranks starts itself again as each of them."""
    lines = ['if __name__ == "__main__":']
    if several > 1:
        lines += ['    if "RANK" not in os.environ:', f"        sys.exit(as_ranks({several}))"]
    lines += ["    sys.meta_path.insert(0, Sources(SOURCES))", "    sys.exit(main())", ""]
    return "\n".join(lines)


def _main(
    case: Case, adapter: Adapter, embedded: Embedded, arguments: str, dtype: str, laws: bool
) -> Iterator[str]:
    assert case.expected is not None
    refusable = any(variant.raises for variant in case.variants)
    yield "import numpy as np"
    yield ""
    yield "from lossproof.adapter import Call"
    yield "from lossproof.case.expected import DocumentedChoice, Sketch, Tolerance, Variant"
    yield "from lossproof.case.inputs import materialize"
    yield "from lossproof.core.layout import laid_out"
    yield "from lossproof.core.dtypes import numpy_dtype"
    yield "from lossproof.engine.answer import answer_to"
    if refusable:
        yield "from lossproof.engine.refusal import lacking, proven"
    if laws:
        yield "from lossproof.repro.calls import further"
    yield "from lossproof.repro.report import report"
    yield ""
    yield "nan, inf = float('nan'), float('inf')"
    yield f"dtype = numpy_dtype({dtype!r})"
    cls = f"importlib.import_module({embedded.module!r}).{embedded.cls}"
    if adapter.mode:
        yield f"under = importlib.import_module({modes.__name__!r}).class_under"
        yield f"adapter = under({cls}, {adapter.mode!r})()"
    else:
        yield f"adapter = {cls}({arguments})"
    yield ""
    yield from _bind("bind", case, dtype)
    yield ""
    yield "# What the definition says, rounded to float64, and how far off an output may be:"
    yield "# u unit roundoffs of the dtype, a of what it sums in, and eta of its smallest numbers."
    yield from _outcome("expected = {", case.expected, "}")
    yield from _outcome("tolerances = {", case.tolerances, "}")
    yield "variants = [  # what is permitted, too"
    for variant in case.variants:
        yield f"    Variant({variant.name!r}, raises={variant.raises!r}, outputs={{"
        for name, values in variant.outputs.items():
            yield from literal.wrapped(f"        {name!r}: {literal.array(values)},")
        yield "    }),"
    yield "]"
    yield "choices = [  # and what is as a whole: another definition that the field documents"
    for choice in case.choices:
        dtypes = tuple(name for name in choice.dtypes if name == dtype or adapter.mixed)
        if dtypes:
            yield f"    DocumentedChoice({choice.name!r}, {dtypes!r}, {{"
            yield from _outcome(None, choice.expected, "    }, {")
            yield from _outcome(None, choice.tolerances, "    }),")
    yield "]"
    further = ""
    if case.tangents:
        yield "tangents = {"
        for name, spec in case.tangents.items():
            yield f"    {name!r}: {_input(spec, False, 'dtype')},"
        yield "}"
        yield "moved = lambda: {name: adapter.from_numpy(array) for name, array in tangents.items()}"
        further = ", tangents=moved"
    if case.weights_moved:
        further += f", weights={case.weights_moved!r}"
    again = laws and law_calls.sampled(case, dtype)
    twice = ", twice=True" if again else ""
    yield f"answer = answer_to(adapter, lambda: bind, list(expected){twice}{further})"
    if refusable:
        yield ""
        yield "# An error is permitted only of a backend that answers a valid call."
        yield from _bind("bind_valid", valid(case), dtype)
        yield ""
        shape, dtypes = case.expected["value"].shape, value_dtypes(case, dtype, bool(adapter.mixed))
        call = f"lacking(adapter, lambda: bind_valid, {shape!r}, {dtypes!r})"
        yield f"answer = proven(answer, variants, lambda: {call})"
    judging = f"dtype={dtype!r}, level={case.level!r}, variants=variants, choices=choices"
    if case.function.widens and dtype in HALF_TYPES:
        judging += ", widens=True"
    if adapter.mixed:
        judging += ", mixed=True"
    if laws:
        judging += f", laws=True, weights={case.function.weights!r}"
        rows = law_calls.due(case, dtype).rows
        judging += f", rows={rows}" if rows else ""
    if again:
        yield ""
        yield from _further(case, adapter, dtype, further)
        judging += ", further=calls"
    yield f"return report(answer, expected, tolerances, {judging})"


def _outcome(
    opening: str | None, outputs: Mapping[str, Expected] | Mapping[str, Tolerance], closing: str
) -> Iterator[str]:
    """Lines of a mapping of outputs, in the place of ``{…}``."""
    indent = "    " if opening is not None else "        "
    if opening is not None:
        yield opening
    for name, item in outputs.items():
        text = _tolerance(item) if isinstance(item, Tolerance) else _expected(item)
        yield from literal.wrapped(f"{indent}{name!r}: {text},")
    yield closing


def _further(case: Case, adapter: Adapter, dtype: str, options: str) -> Iterator[str]:
    """The calls that the laws need, as the engine makes them."""
    other, other_dtype = law_calls.other_call(case, dtype, adapter)
    yield "# The laws of the call: with another one in between, of some rows, of parts."
    yield from _bind("bind_other", other, other_dtype, f"numpy_dtype({other_dtype!r})")
    yield ""
    yield f"ask = lambda bind, outputs: answer_to(adapter, lambda: bind, outputs{options})"
    of_rows = [
        output
        for output in case.expected or ()
        if output == "value" or output in {f"gradients.{array.name}" for array in case.function.arrays}
    ]
    parts = law_calls.count_of_parts(case)
    yield "calls = further("
    yield "    adapter, ask, bind, list(expected),"
    yield f"    other=({f'{other.id} in {other_dtype}'!r}, bind_other, {list(other.expected or ())!r}),"
    yield f"    of_rows={of_rows!r}, rows={law_calls.rows_of(case, 'none')}, parts={parts},"
    yield f"    by_row={law_calls.weights_of_rows(case)!r},"
    yield ")"


def _bind(name: str, case: Case, dtype: str, kind: str = "dtype") -> Iterator[str]:
    """A function that makes the call's arrays, as the engine binds them; ``kind`` is their dtype's source."""
    kinds = {parameter.name: parameter.kind for parameter in case.function.parameters}
    yield f"def {name}():"
    yield "    arrays = {"
    for array in case.function.arrays:
        labels = array.integer and dtype in FLOAT_TYPES
        text = _input(case.inputs[array.name], array.integer, "np.int64" if labels else kind)
        yield from _native(array.name, _placed(case, array.name, text))
    yield "    }"
    yield "    parameters = {"
    for name, value in case.parameters.items():
        if kinds[name] == "array" and value is not None:
            yield from _native(name, _placed(case, name, _input(value, False, kind)))
        else:
            yield f"        {name!r}: {literal.value(value)},"
    yield "    }"
    if case.cotangent is None:
        yield "    cotangent = None"
    else:
        text = _placed(case, "cotangent", _input(case.cotangent, False, kind))
        yield from _lines(f"    cotangent = adapter.from_numpy({text})")
    yield f"    return Call(adapter, {case.function.name!r}, parameters), arrays, cotangent"


def _placed(case: Case, name: str, text: str) -> str:
    """An array's source with the array laid out as the case says."""
    layout = case.layout.get(name)
    return text if layout is None else f"laid_out({text}, {layout!r})"


def _native(name: str, text: str) -> list[str]:
    return _lines(f"        {name!r}: adapter.from_numpy({text}),")


def _lines(line: str) -> list[str]:
    # A description holds words; only lists of numbers can be broken anywhere.
    return [line] if "materialize(" in line else literal.wrapped(line)


def _input(spec: Any, integer: bool, dtype: str) -> str:
    """An input as a case gives it, listed or described, as source of an array."""
    if is_description(spec):
        return f"materialize({literal.value(spec)}, {integer!r}).astype({dtype})"
    return literal.array(np.asarray(spec), dtype)


def _expected(item: Expected) -> str:
    if isinstance(item, Sketch):
        stored = f"{literal.array(item.sums)}, {literal.array(item.sample)}"
        return f"Sketch({item.shape!r}, {item.seed!r}, {stored})"
    return literal.array(item)


def _tolerance(bound: Tolerance) -> str:
    sample = "" if bound.sample is None else f", sample={_tolerance(bound.sample)}"
    return f"Tolerance(u={literal.array(bound.u)}, a={literal.array(bound.a)}, eta={bound.eta!r}{sample})"
