"""Case files: the loader that refuses everything that is not one.

The format is described in spec/cases.md and, as a JSON Schema, in spec/case.schema.json. What has the
form that ``lossproof.case.form`` says is checked here for what that cannot say: numbers that every dtype
holds exactly, arrays and lengths that fit the function, clauses that exist, ids used once.
"""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from lossproof.case import form as forms
from lossproof.case import yaml as yamlio
from lossproof.case.expected import DocumentedChoice, Expected, Floats, Sketch, Tolerance, Variant
from lossproof.case.inputs import materialize, not_representable, shape_of
from lossproof.case.model import Case
from lossproof.core.clauses import clauses
from lossproof.core.dtypes import FLOAT_TYPES, INTEGER_TYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.layout import LAYOUTS, equal_axes
from lossproof.core.misfit import Misfit
from lossproof.core.resources import folder
from lossproof.core.shapes import lengths_of, resolve, result_shape, shape_mismatch
from lossproof.core.text import display, shortened, suggest
from lossproof.core.validate import fit
from lossproof.errors import InputError

T = TypeVar("T")

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
WHOLE = re.compile(r"[-+]?[0-9]+\Z")
MAX_RANK = 16


def case_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The case files below ``paths`` (files are taken as they are), sorted, each once."""
    seen: set[Path] = set()
    for path in paths:
        for file in sorted(path.rglob("*.yaml")) if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def own_files() -> list[Path]:
    """The case files that come with lossproof."""
    return list(case_files([folder("cases")]))


def load_cases(paths: Sequence[Path] | None = None) -> list[Case]:
    """Load case files, by default all that come with lossproof.

    Raises:
        InputError: naming file and line of the first thing that is wrong.
    """
    return list(iterate_cases(paths))


def iterate_cases(paths: Sequence[Path] | None = None) -> Iterator[Case]:
    """What ``load_cases`` loads, one after the other, with one file at a time in memory."""
    seen: dict[str, Path] = {}
    for path in own_files() if paths is None else case_files(paths):
        for case in load_file(path):
            if case.id in seen:
                first = next(other for other in load_file(seen[case.id]) if other.id == case.id)
                raise case.complain(f"duplicate id, first used at {display(first.path)}:{first.line}")
            seen[case.id] = path
            yield case


# What a file of thorough cases shows of itself without being parsed.
_HEAD = re.compile(r"function: (\w+)\n(?:.*\n)*?thorough: true\ncases:\n")
_ID = re.compile(r"^  - id: (\S+)$", re.MULTILINE)


def thorough_ids(path: Path, text: str | None = None) -> list[str] | None:
    """The ids in a file that says ``thorough: true`` of all its cases; None of another file.

    The quick set passes such files over, which are most of what there is, at the cost of their ids alone.
    ``text`` stands in for the file's content.

    Raises:
        InputError: the file cannot be read.
    """
    if text is None:
        text = yamlio.read_text(path)
    head = _HEAD.search(text[: text.find("\n  - ") + 1])
    return None if head is None else [f"{head[1]}/{path.stem}/{id}" for id in _ID.findall(text)]


def load_file(path: Path, text: str | None = None, *, stored: bool = True) -> list[Case]:
    """Load one case file.

    Args:
        path: the file.
        text: what stands in for its content.
        stored: load what the oracle stored, too. Without it the cases have no expectations, and those of
            the file need not fit the inputs.

    Raises:
        InputError: naming file and line of the first thing that is wrong.
    """
    # A file is a tree of many small objects: walking it again and again, the collector finds nothing
    # and doubles the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _FileReader(path, text, stored).cases()
    finally:
        if collecting:
            gc.enable()


class _FileReader:
    """Turns one parsed file into cases."""

    def __init__(self, path: Path, text: str | None, stored: bool) -> None:
        self.path, self.text, self.stored = path, text, stored
        self.document, self.file = yamlio.load_as(path, forms.CaseFile, text)
        self.function = FUNCTIONS[self.file.function]
        self.described = 0
        """How many elements its expectations and tolerances describe, so far."""

    def cases(self) -> list[Case]:
        if not NAME.match(self.path.stem):
            raise InputError(
                display(self.path), None, "a topic's file name is lower-case words joined by hyphens"
            )
        found: dict[str, Case] = {}
        for number, entry in enumerate(self.file.cases):
            case = _CaseReader(self, number, entry).case()
            if case.id in found:
                raise self.fail(
                    f"duplicate id {case.id!r}, first used at line {found[case.id].line}",
                    "cases",
                    number,
                    "id",
                )
            found[case.id] = case
        if self.file.thorough and thorough_ids(self.path, self.text) != [*found]:
            raise self.fail(
                "in a file of thorough cases the line thorough: true stands before cases:, and each case "
                "begins with its id, as in '  - id: one'",
                "thorough",
            )
        return list(found.values())

    def fail(self, message: str, *place: str | int) -> InputError:
        """What is wrong at a place, which keys and indices lead to."""
        return InputError(display(self.path), yamlio.line_of(self.document, place), message)


class _CaseReader:
    """Turns one entry of a file into a case, with a message that names the line for whatever is wrong."""

    def __init__(self, file: _FileReader, number: int, entry: forms.CaseEntry) -> None:
        self.file, self.number, self.entry = file, number, entry
        self.function = file.function
        self.written: yamlio.Mapping = file.document["cases"][number]
        """The same as it stands in the file."""

    def fail(self, message: str, *place: str | int) -> InputError:
        return self.file.fail(f"case {self.entry.id!r}: {message}", "cases", self.number, *place)

    def case(self) -> Case:
        entry, function = self.entry, self.function
        if not self.file.stored:
            entry = msgspec.structs.replace(entry, expected=UNSET, tolerance=UNSET, choices={})
        if entry.clause not in clauses():
            raise self.fail(
                f"no clause {entry.clause!r} in spec/{suggest(entry.clause, clauses())}", "clause"
            )
        dtypes = tuple(FLOAT_TYPES if function.has_float_arrays else INTEGER_TYPES)
        self.known("dtypes", entry.dtypes, dtypes)
        parameters = self.parameters()
        inputs = self.inputs(parameters)
        cotangent = self.cotangent(inputs, parameters)
        tangents = self.tangents(inputs)
        wrt = function.wrt if entry.wrt is UNSET else entry.wrt
        self.known("wrt", wrt, (*function.differentiable, *function.weights))
        absent = [name for name in wrt if name in function.weights and parameters[name] is None]
        if absent:
            raise self.fail(f"wrt names {absent[0]}, which the case does not give", "wrt")
        self.fits_memory({**inputs, **parameters, "cotangent": cotangent}, parameters, [*wrt, *tangents])
        shapes = {name: shape_of(spec) for name, spec in inputs.items()}
        due = {f"gradients.{name}": shapes[name] for name in function.differentiable}
        due |= {f"gradients.{name}": shape_of(parameters[name]) for name in wrt if name in function.weights}
        due["value"] = result_shape(function, shapes, parameters)
        if tangents:
            due |= {"jvp": due["value"], **{f"hvp.{name}": shapes[name] for name in tangents}}
        if entry.times > 1:
            self.repeated(shapes, due["value"], parameters)
        if entry.distribution:
            self.together(shapes, due, parameters)
        expected = None if entry.expected is UNSET else self.expected(entry.expected, due, "expected")
        tolerances = {} if expected is None else self.tolerances(entry.tolerance, expected, "tolerance")
        self.bounded(expected or {}, tolerances)
        return Case(
            id=f"{function.name}/{self.file.path.stem}/{entry.id}",
            function=function,
            clause=entry.clause,
            level=entry.level,
            why=entry.why,
            dtypes=entry.dtypes,
            inputs=inputs,
            parameters=parameters,
            cotangent=cotangent,
            tangents=tangents,
            layout=self.layout({**inputs, **parameters, "cotangent": cotangent}),
            wrt=wrt,
            expected=expected,
            tolerances=tolerances,
            variants=tuple(self.variant(given, due, number) for number, given in enumerate(entry.variants)),
            vacuous={} if entry.vacuous is UNSET else self.outputs(entry.vacuous, "vacuous"),
            choices=tuple(self.choice(name, given, expected or {}) for name, given in entry.choices.items()),
            path=self.file.path,
            line=self.written.line,
            about=self.file.file.about,
            thorough=entry.thorough or self.file.file.thorough,
            times=entry.times,
            distribution=entry.distribution,
        )

    # -- what the function takes and gives -----------------------------------------------------

    def known(self, field: str, given: Iterable[str], allowed: Sequence[str]) -> None:
        """Names that the function has, each once."""
        seen: set[str] = set()
        for name in given:
            if name not in allowed:
                raise self.fail(
                    f"unknown {field.removesuffix('s')} {name!r}{suggest(name, allowed)}; "
                    f"{self.function.name} has {', '.join(allowed) or 'none'}",
                    field,
                )
            if name in seen:
                raise self.fail(f"{field} must be a list without repeats, but has {name!r} twice", field)
            seen.add(name)

    def fit(self, field: str, form: type[T]) -> T:
        """A mapping whose fields depend on the function."""
        try:
            return fit(self.written.get(field, {}), form, field)
        except Misfit as error:
            raise self.fail(str(error), field, *error.place) from None

    def parameters(self) -> dict[str, Any]:
        values = msgspec.structs.asdict(self.fit("parameters", forms.parameters_of(self.function)))
        return {
            name: self.numbers(value, "parameters", name) if isinstance(value, forms.Input) else value
            for name, value in values.items()
        }

    def inputs(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.fit("inputs", forms.inputs_of(self.function))
        inputs = {
            array.name: self.numbers(
                self.entry.inputs[array.name], "inputs", array.name, integer=array.integer
            )
            for array in self.function.arrays
        }
        shapes = {name: shape_of(spec) for name, spec in inputs.items()}
        wrong = shape_mismatch(self.function, shapes, parameters.get("axis"))
        if wrong:
            raise self.fail(wrong, "inputs")
        self.fitting(parameters, shapes)
        return inputs

    def fitting(self, parameters: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """That parameters which are arrays fit the others; those by element may be broadcast to them."""
        lengths = lengths_of(self.function, shapes, parameters)
        for parameter in self.function.parameters:
            value = parameters[parameter.name]
            if value is None or not parameter.shape:
                continue
            given = shape_of(value)
            due = resolve(parameter.shape, shapes, lengths, parameters.get("axis"))
            trailing = zip(reversed(given), reversed(due))
            broadcast = len(given) <= len(due) and all(a in (1, b) for a, b in trailing)
            if given != due and not (broadcast and parameter.shape.startswith(("=", "last "))):
                raise self.fail(
                    f"{parameter.name} has shape {given}, but must have {due} to fit the others",
                    "parameters", parameter.name,
                )  # fmt: skip

    def cotangent(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        """As it stands in the file, once it is sure that it fits the result."""
        if self.entry.cotangent is UNSET:
            return None
        if not self.function.wrt:
            raise self.fail(f"{self.function.name} has no gradient to take a cotangent", "cotangent")
        given = shape_of(self.numbers(self.entry.cotangent, "cotangent"))
        lengths = {name: shape_of(spec) for name, spec in inputs.items()}
        wanted = result_shape(self.function, lengths, parameters)
        if given != wanted:
            raise self.fail(f"cotangent has shape {given}, but the result has {wanted}", "cotangent")
        return self.written["cotangent"]

    def tangents(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """As they stand in the file, once it is sure that each fits its array."""
        self.known("tangents", self.entry.tangents, self.function.differentiable)
        found = {}
        for name, spec in self.entry.tangents.items():
            found[name] = self.numbers(spec, "tangents", name)
            given, wanted = shape_of(found[name]), shape_of(inputs[name])
            if given != wanted:
                raise self.fail(
                    f"the tangent of {name} has shape {given}, but {name} has {wanted}", "tangents", name
                )
        return found

    def repeated(
        self, shapes: Mapping[str, tuple[int, ...]], value: tuple[int, ...], parameters: Mapping[str, Any]
    ) -> None:
        """That a case which is repeated is one of independent rows, and says nothing of the whole."""
        rank = len(shapes[self.function.leading.name])
        if parameters.get("reduction", "none") != "none":
            raise self.fail("times takes the reduction none, which leaves each row its own result", "times")
        if len({shape[:1] for shape in (*shapes.values(), value)}) > 1 or not value:
            raise self.fail("times takes inputs and a result that have a first axis in common", "times")
        if not all(map(math.prod, shapes.values())):
            raise self.fail("times takes inputs that have elements", "times")
        if parameters.get("axis") in (0, -rank):
            raise self.fail("times takes another axis than the first, along which it repeats", "times")
        for field in ("layout", "variants", "tangents"):
            if getattr(self.entry, field):
                raise self.fail(f"a case with times has no {field}", field)
        for parameter in self.function.parameters:
            spec = parameters[parameter.name]
            if parameter.kind == "array" and spec is not None and len(shape_of(spec)) >= rank:
                raise self.fail(f"times does not repeat {parameter.name}, which is by row", "times")
        if value[0] < 3 or not value[0] % 2:
            raise self.fail(
                f"times takes an odd number of rows from 3 up, not {value[0]}: an index that wraps at a "
                "power of two then meets another row",
                "times",
            )

    def together(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        due: Mapping[str, tuple[int, ...]],
        parameters: Mapping[str, Any],
    ) -> None:
        """That a case whose errors are judged together is one of many rows that err independently."""
        rank = len(shapes[self.function.leading.name])
        if not self.function.has_float_arrays or self.function.integer_result or self.entry.times > 1:
            raise self.fail("distribution takes a function that rounds, and no times", "distribution")
        if parameters.get("reduction", "none") != "none" or parameters.get("axis") in (0, -rank):
            raise self.fail(
                "distribution takes the reduction none and another axis than the first: rows err "
                "independently of each other",
                "distribution",
            )
        rows = {shape[:1] for shape in shapes.values()}
        if len(rows) > 1 or min(rows) < (forms.DISTRIBUTION_ROWS,):
            raise self.fail(
                "distribution takes inputs with a first axis in common, of "
                f"{forms.DISTRIBUTION_ROWS} rows at least",
                "distribution",
            )
        largest = max(math.prod(shape) for shape in due.values())
        if largest > forms.DISTRIBUTION_ELEMENTS:
            raise self.fail(
                f"distribution lists all elements of an output: {forms.DISTRIBUTION_ELEMENTS:,} at most, not "
                f"{largest:,}",
                "distribution",
            )

    def layout(self, given: Mapping[str, Any]) -> Mapping[str, str]:
        """The layouts of arrays that the case gives and that can be laid out so."""
        arrays = [array.name for array in self.function.arrays]
        arrays += [parameter.name for parameter in self.function.parameters if parameter.kind == "array"]
        self.known("layout", self.entry.layout, [*arrays, *(["cotangent"] if self.function.wrt else [])])
        for name, layout in self.entry.layout.items():
            if given[name] is None:
                raise self.fail(f"layout of {name}, which the case does not give", "layout", name)
            shape = shape_of(given[name])
            if len(shape) < LAYOUTS[layout].axes:
                raise self.fail(
                    f"layout {layout} takes an array of {LAYOUTS[layout].axes} axes at least, but {name} has "
                    f"{len(shape)}",
                    "layout", name,
                )  # fmt: skip
            if layout == "broadcast" and not equal_axes(materialize(given[name], False)):
                raise self.fail(
                    f"layout broadcast takes an axis along which all elements are equal, and {name} has none",
                    "layout", name,
                )  # fmt: skip
        return self.entry.layout

    def outputs(self, outcome: Any, *place: str | int) -> dict[str, Any]:
        """``{value: …, gradients: {logits: …}}`` by the names of outputs."""
        wrt = self.function.wrt if self.entry.wrt is UNSET else {*self.function.wrt, *self.entry.wrt}
        for name in outcome.gradients:
            if name not in wrt:
                raise self.fail(
                    f"gradients are given for {', '.join(self.function.wrt) or 'nothing'}, not {name!r}",
                    *place, "gradients", name,
                )  # fmt: skip
        for kind, given in (("jvp", outcome.jvp is not UNSET), ("hvp", bool(outcome.hvp))):
            if given and not self.entry.tangents:
                raise self.fail(f"{kind} is given, and the case has no tangents", *place, kind)
        for name in outcome.hvp:
            if name not in self.entry.tangents:
                raise self.fail(f"hvp is given for {name!r}, which has no tangent", *place, "hvp", name)
        found = {} if outcome.value is UNSET else {"value": outcome.value}
        found |= {f"gradients.{name}": item for name, item in outcome.gradients.items()}
        found |= {} if outcome.jvp is UNSET else {"jvp": outcome.jvp}
        return found | {f"hvp.{name}": item for name, item in outcome.hvp.items()}

    def fits_memory(
        self, given: Mapping[str, Any], parameters: Mapping[str, Any], wrt: Sequence[str]
    ) -> None:
        """Refuse a case of which too much would have to be in memory, before anything is built."""
        arrays = [array.name for array in self.function.arrays]
        arrays += [parameter.name for parameter in self.function.parameters if parameter.kind == "array"]
        lengths = {name: shape_of(given[name]) for name in [*arrays, "cotangent"] if given[name] is not None}
        result = result_shape(self.function, lengths, parameters)
        elements = sum(map(math.prod, [*lengths.values(), result, *(lengths[name] for name in wrt)]))
        if elements > forms.MAX_ELEMENTS:
            raise self.fail(
                f"its inputs and outputs have {elements:,} elements together; {forms.MAX_ELEMENTS:,} are "
                "the limit (spec/cases.md)",
                "inputs",
            )

    # -- arrays --------------------------------------------------------------------------------

    def numbers(self, spec: forms.Input, *place: str, integer: bool = False) -> Any:
        """An array of exact numbers, listed (returned as an array) or described (as it stands)."""
        *above, name = place
        written = self.written[above[0]] if above else self.written
        # Whole numbers stay exact beyond 2⁵³.
        inexact = yamlio.first_inexact(written.nodes[name])
        if inexact and not (integer and WHOLE.match(inexact[1])):
            line, text = inexact
            raise InputError(
                display(self.file.path), line,
                f"case {self.entry.id!r}: {shortened(text)} in {name} is not exactly a float64; "
                "use a sum of powers of two (0.5, 0.375) or a hex float (0x1p-149)",
            )  # fmt: skip
        if isinstance(spec, forms.Tensor):
            array = self.listed(spec.value, integer, *place)
            self.representable(array, integer, *place)
            return array
        self.described(spec, integer, *place)
        return written[name]

    def listed(self, spec: Any, integer: bool, *place: str | int) -> npt.NDArray[Any]:
        name = place[-1]
        try:
            array = np.asarray(_only_numbers(spec), dtype=np.float64)
            if not integer:
                return array
            # Of whole numbers alone NumPy makes integers, beyond 2⁵³ too.
            whole = np.asarray(spec)
        except (TypeError, ValueError, OverflowError):
            raise self.fail(f"{name} must be a number or nested lists of equal lengths", *place) from None
        if whole.dtype == np.int64:
            return whole
        if not np.array_equal(array, np.rint(array)) or not (np.abs(array) < 2**53).all():
            raise self.fail(f"{name} must hold integers of 64 bits", *place)
        return array.astype(np.int64)

    def representable(self, array: npt.NDArray[Any], integer: bool, *place: str | int) -> None:
        for dtype in self.entry.dtypes:
            bad = not_representable(array, dtype, integer)
            if bad is not None:
                raise self.fail(f"{bad!r} in {place[-1]} is not exactly representable in {dtype}", *place)

    def described(self, spec: Any, integer: bool, *place: str | int) -> None:
        """What a description says beside its fields."""
        name = place[-1]
        self.length(spec.shape, *place)
        if isinstance(spec, forms.Random):
            self.drawn(spec, integer, *place)
        self.places(spec, *place)
        if integer and isinstance(spec, (forms.Normal, forms.Uniform, forms.OneHot)):
            raise self.fail(f"{name} must hold integers", *place)
        values = self.filling(spec)
        if values:
            self.representable(self.listed(values, integer, *place), integer, *place)

    def drawn(self, spec: forms.Random, integer: bool, *place: str | int) -> None:
        """That there are such random numbers, and that no dtype is too narrow for the largest."""
        name = place[-1]
        if spec.seed >= 2**64:
            raise self.fail(f"seed of {name} must be 0 … 2**64−1", *place, "seed")
        if isinstance(spec, forms.OneHot) and not (spec.shape and spec.shape[-1]):
            raise self.fail(f"shape of {name} must end in a number of classes", *place, "shape")
        if isinstance(spec, forms.Integers):
            if not 0 < spec.high - spec.low <= 2**32:
                raise self.fail(f"high of {name} must be above low, by 2**32 at most", *place)
            self.representable(np.array([spec.low, spec.high - 1]), integer, *place)
            return
        if isinstance(spec, forms.Normal):
            reach = 4 * abs(spec.scale) + abs(spec.shift)
        elif isinstance(spec, forms.Uniform):
            reach = abs(spec.low) + abs(spec.high)
        else:
            return
        if not math.isfinite(reach):
            raise self.fail(f"the random numbers of {name} must be finite", *place)
        if isinstance(spec, forms.Uniform) and spec.high < spec.low:
            raise self.fail(f"high of {name} must not be below low", *place)
        for dtype in self.entry.dtypes if self.function.has_float_arrays else ():
            if reach > FLOAT_TYPES[dtype].largest or spec.bits > FLOAT_TYPES[dtype].precision:
                raise self.fail(
                    f"random numbers of {name} are too large or have too many bits for {dtype}", *place
                )

    def places(self, spec: forms.Described, *place: str | int) -> None:
        """That ``diagonal``, ``blocks`` and ``set`` name elements that there are."""
        name = place[-1]
        if spec.diagonal is not UNSET and len(spec.shape) < 2:
            raise self.fail(f"diagonal of {name} takes two axes at least", *place)
        for ranges, _ in spec.blocks:
            if len(ranges) != len(spec.shape) or any(
                not first < end <= length for (first, end), length in zip(ranges, spec.shape)
            ):
                raise self.fail(f"blocks of {name} must be a list of [[[from, to] …], value]", *place)
        for index, _ in spec.set:
            if len(index) != len(spec.shape) or any(i >= length for i, length in zip(index, spec.shape)):
                raise self.fail(f"set of {name} must be a list of [[index …], value]", *place)

    def filling(self, spec: forms.Described) -> list[float]:
        """The numbers that a description names."""
        values = [value for _, value in spec.set] + [value for _, value in spec.blocks]
        if spec.diagonal is not UNSET:
            values.append(spec.diagonal)
        if isinstance(spec, forms.Full):
            values.append(spec.full)
        elif isinstance(spec, forms.Cycle):
            values += spec.cycle
        elif isinstance(spec, forms.Choice):
            values += spec.of
        return values

    def stored(self, spec: forms.Full | forms.Cycle, integer: bool, *place: str) -> npt.NDArray[Any]:
        """The array that a description of an expectation or of its coefficients stands for."""
        self.length(spec.shape, *place)
        self.file.described += math.prod(spec.shape)
        if self.file.described > forms.MAX_ELEMENTS:
            raise self.fail(
                f"with {place[-1]} the expectations and tolerances of this file describe "
                f"{self.file.described:,} elements; {forms.MAX_ELEMENTS:,} are the limit (spec/cases.md)",
                *place,
            )
        self.places(spec, *place)
        self.listed(self.filling(spec), integer, *place)
        given = msgspec.structs.asdict(spec)
        return materialize({key: value for key, value in given.items() if value is not UNSET}, integer)

    def length(self, shape: Sequence[int], *place: str | int) -> None:
        """A shape that may be built."""
        elements = math.prod(shape)
        if elements > forms.MAX_ELEMENTS:
            raise self.fail(
                f"{place[-1]} has {elements:,} elements; {forms.MAX_ELEMENTS:,} are the limit "
                "(spec/cases.md)",
                *place,
            )
        if len(shape) > MAX_RANK:
            raise self.fail(f"{place[-1]} has {len(shape)} axes; {MAX_RANK} are the limit", *place)

    # -- what is due ---------------------------------------------------------------------------

    def expected(
        self, given: forms.Expected, due: Mapping[str, tuple[int, ...]], *place: str
    ) -> dict[str, Expected]:
        """What is expected of each output, whose shapes follow from the inputs."""
        outputs = self.outputs(given, *place)
        if not outputs:
            raise self.fail(
                f"{place[-1]} is empty, and nothing would be judged; remove it, and lossproof certify "
                "--write fills it in",
                *place,
            )
        found = {name: self.expectation(spec, *place, *name.split(".")) for name, spec in outputs.items()}
        for name, output in found.items():
            self.of_shape(name, output.shape, due[name], *place)
            if isinstance(output, Sketch) and self.entry.times > 1:
                raise self.fail(
                    f"{name} is given by sums, and of a case with times each element is needed: 128 at most, "
                    "or some that a description stands for",
                    *place, *name.split("."),
                )  # fmt: skip
            if isinstance(output, Sketch) and self.entry.distribution:
                raise self.fail(
                    f"{name} is given by sums, and with distribution each element is needed: lossproof "
                    "certify --write lists them",
                    *place, *name.split("."),
                )  # fmt: skip
        return found

    def of_shape(self, output: str, shape: tuple[int, ...], due: tuple[int, ...], *place: str | int) -> None:
        if shape != due:
            raise self.fail(
                f"{output} is given in shape {shape}, but of these inputs it has {due}; "
                "lossproof certify --write stores what is due",
                *place, *output.split("."),
            )  # fmt: skip

    def bounded(self, expected: Mapping[str, Expected], tolerances: Mapping[str, Tolerance]) -> None:
        """That every output that is not of integers has a tolerance."""
        missing = [name for name in expected if name not in tolerances]
        if missing and self.function.has_float_arrays and not self.function.integer_result:
            raise self.fail(
                f"no tolerance is given for {missing[0]}; lossproof certify --write fills it in",
                "tolerance" if "tolerance" in self.written else "expected",
            )

    def expectation(self, spec: forms.Expectation, *place: str) -> Expected:
        integer = self.function.integer_result
        if isinstance(spec, forms.Sketched):
            sketch = spec.sketch
            self.length(sketch.shape, *place)
            sums = self.listed(sketch.sums.value, False, *place, "sketch", "sums")
            if sums.ndim != 2 or not sums.size:
                raise self.fail("a sketch has sums per pattern and block", *place, "sketch", "sums")
            sample = self.listed(sketch.sample.value, False, *place, "sketch", "sample")
            if sample.ndim != 1 or not sample.size or not math.prod(sketch.shape):
                raise self.fail("the sample of a sketch is a list of elements", *place, "sketch", "sample")
            return Sketch(sketch.shape, sketch.seed, sums, sample)
        if isinstance(spec, (forms.Full, forms.Cycle)):
            return self.stored(spec, integer, *place)
        assert isinstance(spec, forms.Tensor)
        return self.listed(spec.value, integer, *place)

    def tolerances(
        self, given: forms.Tolerances | UnsetType, expected: Mapping[str, Expected], *place: str
    ) -> dict[str, Tolerance]:
        if given is UNSET:
            return {}
        found = {}
        for name, bound in self.outputs(given, *place).items():
            there = (*place, *name.split("."))
            if name not in expected:
                raise self.fail(f"a tolerance is given for {name}, which is not expected", *there)
            found[name] = self.tolerance(bound, expected[name], *there)
        return found

    def tolerance(self, given: forms.Tolerance, expected: Expected, *place: str) -> Tolerance:
        if not isinstance(expected, Sketch):
            return self.bound(given, expected.shape, *place)
        if not isinstance(given, forms.OfSketch):
            raise self.fail("the tolerance of a sketch has sums and sample", *place)
        sums = self.bound(given.sums, expected.sums.shape[1:], *place, "sums")
        sample = self.bound(given.sample, expected.sample.shape, *place, "sample")
        return replace(sums, sample=sample)

    def bound(self, given: Any, shape: tuple[int, ...], *place: str) -> Tolerance:
        """``u`` alone, or a mapping of ``u``, ``a`` and ``eta``."""
        if isinstance(given, forms.Tensor):
            return Tolerance(self.coefficient(given, "u", shape, *place), np.zeros(()))
        if not isinstance(given, forms.Bound):
            raise self.fail("the tolerance of an output that is listed has u, a and eta", *place)
        u, a = (self.coefficient(getattr(given, name), name, shape, *place, name) for name in ("u", "a"))
        if not 0 <= given.eta < math.inf:
            raise self.fail("eta of a tolerance must be a finite number from 0 up", *place, "eta")
        return Tolerance(u, a, given.eta)

    def coefficient(self, given: forms.Part, name: str, shape: tuple[int, ...], *place: str) -> Floats:
        array: Floats
        if isinstance(given, (forms.Full, forms.Cycle)):
            array = self.stored(given, False, *place)
        else:
            assert isinstance(given, forms.Tensor)
            array = self.listed(given.value, False, *place)
        if array.shape not in ((), shape):
            raise self.fail(
                f"{name} of a tolerance has shape {array.shape}, not {shape} or one number", *place
            )
        if not (np.isfinite(array) & (array >= 0)).all():
            raise self.fail(f"{name} of a tolerance must be finite numbers from 0 up", *place)
        return array

    def choice(
        self, name: str, given: forms.DocumentedChoice, due: Mapping[str, Expected]
    ) -> DocumentedChoice:
        """A choice says of the same outputs what it makes of them."""
        place = ("choices", name)
        shapes = {name: due[name].shape for name in due}
        if self.outputs(given.expected, *place, "expected").keys() != due.keys():
            raise self.fail(
                f"choice {name} is not of the outputs that are expected; it is the oracle's: remove it, and "
                "lossproof certify --write fills it in",
                *place,
            )
        expected = self.expected(given.expected, shapes, *place, "expected")
        dtypes = self.entry.dtypes if given.dtypes is UNSET else given.dtypes
        unknown = [dtype for dtype in dtypes if dtype not in self.entry.dtypes]
        if unknown:
            raise self.fail(f"choice {name} is for {unknown[0]}, which the case does not list", *place)
        tolerances = self.tolerances(given.tolerance, expected, *place, "tolerance")
        if tolerances.keys() != expected.keys():
            raise self.fail(f"choice {name} does not give a tolerance for each output", *place)
        return DocumentedChoice(name, dtypes, expected, tolerances)

    def variant(self, given: forms.Variant, due: Mapping[str, tuple[int, ...]], number: int) -> Variant:
        place = ("variants", number)
        outputs = self.outputs(given, *place)
        if given.raises == bool(outputs):
            raise self.fail("a variant has either raises: true or outputs", *place)
        listed = {
            name: self.listed(spec.value, False, *place, *name.split(".")) for name, spec in outputs.items()
        }
        for name, output in listed.items():
            self.of_shape(name, output.shape, due[name], *place)
        return Variant(given.name, given.raises, listed)


def _only_numbers(spec: Any) -> Any:
    """The same, once it is sure that NumPy takes no text or truth value for a number."""
    if isinstance(spec, list):
        return [_only_numbers(item) for item in spec]
    if isinstance(spec, (bool, str)) or spec is None:
        raise TypeError
    return spec
