"""Case files: what a case is, and the loader that refuses everything that is not one.

The format is described in spec/cases.md and, as a JSON Schema, in spec/case.schema.json.
"""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case import random as generator
from lossproof.case import yaml as yamlio
from lossproof.case.expected import Expected, Floats, Sketch, Tolerance, Variant
from lossproof.case.inputs import materialize, not_representable, shape_of
from lossproof.case.model import Case
from lossproof.core.clauses import clauses
from lossproof.core.dtypes import FLOAT_TYPES, INTEGER_TYPES
from lossproof.core.functions import FUNCTIONS, REDUCTIONS, REQUIRED
from lossproof.core.resources import folder
from lossproof.core.shapes import result_shape, shape_mismatch
from lossproof.core.text import display, suggest
from lossproof.errors import InputError

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
MAX_ELEMENTS = 2**26
MAX_RANK = 16

_FILE_FIELDS = {"function": True, "about": True, "cases": True}
_CASE_FIELDS = {
    "id": True, "clause": True, "level": True, "why": True, "dtypes": True, "inputs": True,
    "parameters": False, "cotangent": False, "layout": False, "wrt": False,
    "vacuous": False, "expected": False, "tolerance": False, "variants": False,
}  # fmt: skip
_LAYOUTS = ("transposed", "strided")


def case_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The case files below ``paths`` (files are taken as they are), sorted, each once."""
    seen: set[Path] = set()
    for path in paths:
        for file in sorted(path.rglob("*.yaml")) if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def load_cases(paths: Sequence[Path] | None = None) -> list[Case]:
    """Load case files, by default all that come with lossproof.

    Raises:
        InputError: naming file and line of the first thing that is wrong.
    """
    return list(iterate_cases(paths))


def iterate_cases(paths: Sequence[Path] | None = None) -> Iterator[Case]:
    """What ``load_cases`` loads, one after the other, with one file at a time in memory."""
    seen: dict[str, Path] = {}
    for path in case_files(paths if paths is not None else [folder("cases")]):
        for case in load_file(path):
            if case.id in seen:
                first = next(other for other in load_file(seen[case.id]) if other.id == case.id)
                raise case.complain(f"duplicate id, first used at {display(first.path)}:{first.line}")
            seen[case.id] = path
            yield case


def load_file(path: Path, text: str | None = None) -> list[Case]:
    """Load one case file; ``text`` stands in for its content."""
    # A file is a tree of many small objects: walking it again and again, the collector finds nothing
    # and doubles the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _FileReader(path, text).cases()
    finally:
        if collecting:
            gc.enable()


class _FileReader:
    """Turns one parsed file into cases, with a message that names the line for whatever is wrong."""

    def __init__(self, path: Path, text: str | None) -> None:
        self.path = path
        self.where = display(path)
        document = yamlio.load(path, text)
        if not isinstance(document, yamlio.Mapping):
            raise InputError(self.where, 1, "a case file is a mapping: function, about, cases")
        self.document = document

    def fail(self, line: int | None, message: str) -> InputError:
        return InputError(self.where, line, message)

    def cases(self) -> list[Case]:
        document = self.document
        self.check_fields(document, _FILE_FIELDS, "the file")
        name = document["function"]
        if not isinstance(name, str) or name not in FUNCTIONS:
            raise self.fail(
                document.lines["function"],
                f"unknown function {name!r}{suggest(str(name), FUNCTIONS)}",
            )
        self.function = FUNCTIONS[name]
        self.text_field(document, "about")
        if not NAME.match(self.path.stem):
            raise self.fail(None, "a topic's file name is lower-case words joined by hyphens")
        entries = document["cases"]
        if not isinstance(entries, list) or not entries:
            raise self.fail(document.lines["cases"], "cases must be a list with at least one case")
        found: dict[str, Case] = {}
        for entry in entries:
            if not isinstance(entry, yamlio.Mapping):
                raise self.fail(document.lines["cases"], "each case is a mapping that opens with id")
            case = self.case(entry)
            if case.id in found:
                raise self.fail(
                    entry.lines["id"],
                    f"duplicate id {case.id!r}, first used at line {found[case.id].line}",
                )
            found[case.id] = case
        return list(found.values())

    def case(self, entry: yamlio.Mapping) -> Case:
        self.label = f"case {entry.get('id', '(no id)')!r}"
        self.check_fields(entry, _CASE_FIELDS, self.label)
        if not isinstance(entry["id"], str) or not NAME.match(entry["id"]):
            raise self.fail(
                entry.lines["id"],
                f"id {entry['id']!r} must be lower-case words and numbers joined by hyphens",
            )
        if not isinstance(entry["clause"], str) or entry["clause"] not in clauses():
            raise self.fail(
                entry.lines["clause"],
                f"{self.label}: no clause {entry['clause']!r} in spec/"
                f"{suggest(str(entry['clause']), clauses())}",
            )
        if entry["level"] not in ("required", "recommended"):
            raise self.fail(entry.lines["level"], f"{self.label}: level must be required or recommended")
        self.text_field(entry, "why")
        dtypes = self.dtypes(entry)
        parameters = self.parameters(entry)
        inputs = self.inputs(entry, dtypes, parameters)
        wrt = self.names(entry, "wrt", self.function.wrt, default=self.function.wrt)
        if "cotangent" in entry:
            self.cotangent(entry, dtypes, inputs, parameters)
        expected = self.expected(entry, wrt)
        return Case(
            id=f"{self.function.name}/{self.path.stem}/{entry['id']}",
            function=self.function,
            clause=entry["clause"],
            level=entry["level"],
            why=entry["why"],
            dtypes=dtypes,
            inputs=inputs,
            parameters=parameters,
            cotangent=entry.get("cotangent"),
            layout=self.layout(entry),
            wrt=wrt,
            expected=expected,
            tolerances=self.tolerances(entry, expected),
            variants=self.variants(entry),
            vacuous=self.vacuous(entry),
            path=self.path,
            line=entry.line,
            about=self.document["about"],
        )

    # -- parts of a case ---------------------------------------------------------------------

    def dtypes(self, entry: yamlio.Mapping) -> tuple[str, ...]:
        allowed = FLOAT_TYPES if self.function.has_float_arrays else INTEGER_TYPES
        return self.names(entry, "dtypes", tuple(allowed), default=())

    def parameters(self, entry: yamlio.Mapping) -> dict[str, Any]:
        given = entry.get("parameters", {})
        line = entry.lines.get("parameters", entry.line)
        if not isinstance(given, yamlio.Mapping) and given != {}:
            raise self.fail(line, f"{self.label}: parameters must be a mapping")
        table = {parameter.name: parameter for parameter in self.function.parameters}
        for name in given:
            if name not in table:
                raise self.fail(
                    given.lines[name],
                    f"{self.label}: {self.function.name} has no parameter {name!r}{suggest(name, table)}",
                )
        values = {}
        for name, parameter in table.items():
            if name not in given:
                if parameter.default is REQUIRED:
                    raise self.fail(line, f"{self.label}: parameter {name!r} is missing")
                values[name] = parameter.default
                continue
            value = given[name]
            wanted = _wrong_parameter(parameter.kind, value)
            if wanted:
                raise self.fail(given.lines[name], f"{self.label}: {name} must be {wanted}")
            if parameter.kind == "array" and value is not None:
                value = self.numbers(given, name, self.dtypes(entry), integer=False)
            values[name] = tuple(value) if parameter.kind == "size" else value
        return values

    def inputs(
        self, entry: yamlio.Mapping, dtypes: tuple[str, ...], parameters: dict[str, Any]
    ) -> dict[str, Any]:
        given = entry["inputs"]
        line = entry.lines["inputs"]
        if not isinstance(given, yamlio.Mapping):
            raise self.fail(line, f"{self.label}: inputs must be a mapping")
        self.check_fields(
            given, {array.name: True for array in self.function.arrays}, f"inputs of {self.label}"
        )
        inputs = {
            array.name: self.numbers(given, array.name, dtypes, array.integer)
            for array in self.function.arrays
        }
        wrong = shape_mismatch(
            self.function,
            {name: shape_of(spec) for name, spec in inputs.items()},
            parameters.get("axis"),
        )
        if wrong:
            raise self.fail(line, f"{self.label}: {wrong}")
        return inputs

    def cotangent(
        self,
        entry: yamlio.Mapping,
        dtypes: tuple[str, ...],
        inputs: Mapping[str, Any],
        parameters: Mapping[str, Any],
    ) -> None:
        line = entry.lines["cotangent"]
        if not self.function.wrt:
            raise self.fail(line, f"{self.label}: {self.function.name} has no gradient to take a cotangent")
        spec = self.numbers(entry, "cotangent", dtypes, integer=False)
        shapes = {name: shape_of(item) for name, item in inputs.items()}
        wanted = result_shape(self.function, shapes, parameters)
        if shape_of(spec) != wanted:
            raise self.fail(
                line, f"{self.label}: cotangent has shape {shape_of(spec)}, but the result has {wanted}"
            )

    def numbers(self, mapping: yamlio.Mapping, name: str, dtypes: tuple[str, ...], integer: bool) -> Any:
        """An array of exact numbers, listed (returned as an array) or described (as it stands)."""
        spec, line = mapping[name], mapping.lines[name]
        inexact = yamlio.first_inexact(mapping.nodes[name])
        if inexact:
            raise self.fail(
                inexact[0],
                f"{self.label}: {inexact[1]} in {name} is not exactly a float64; "
                "use a sum of powers of two (0.5, 0.375) or a hex float (0x1p-149)",
            )
        if isinstance(spec, yamlio.Mapping):
            self.description(spec, name, integer)
            if "random" in spec:
                # Checked on first use; generating here would slow every start.
                return spec
            array = materialize({**spec, "shape": [1], "set": []}, integer)
        else:
            array = self.listed(spec, line, name, integer)
        for dtype in dtypes:
            bad = not_representable(array, dtype, integer)
            if bad is not None:
                raise self.fail(
                    line, f"{self.label}: {bad!r} in {name} is not exactly representable in {dtype}"
                )
        return spec if isinstance(spec, yamlio.Mapping) else array

    def listed(self, spec: Any, line: int, name: str, integer: bool) -> npt.NDArray[Any]:
        try:
            array = np.asarray(_hex_to_float(spec), dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise self.fail(
                line, f"{self.label}: {name} must be a number or nested lists of equal lengths"
            ) from None
        if integer:
            if not np.array_equal(array, np.rint(array)) or not (np.abs(array) < 2**53).all():
                raise self.fail(line, f"{self.label}: {name} must hold integers")
            return array.astype(np.int64)
        return array

    def description(self, spec: yamlio.Mapping, name: str, integer: bool) -> None:
        line = spec.line
        if "random" in spec:
            kind = spec["random"]
            if not isinstance(kind, str) or kind not in generator.KINDS:
                raise self.fail(
                    line,
                    f"{self.label}: unknown random kind {kind!r} in {name}; "
                    f"there are {', '.join(generator.KINDS)}",
                )
            required = {"random": True, "shape": True, "seed": True}
            optional = dict.fromkeys(generator.KINDS[kind], False)
            for key in {"integers": ("high",), "choice": ("of",)}.get(kind, ()):
                optional[key] = True
            fields = {**required, **optional, "set": False}
        else:
            fields = {"full": True, "shape": True, "set": False}
        self.check_fields(spec, fields, f"{name} of {self.label}")
        shape = self.shape(spec, line, name)
        for key, wanted in _DESCRIPTION_CHECKS.items():
            if key in spec and not wanted[0](spec[key]):
                raise self.fail(line, f"{self.label}: {key} of {name} must be {wanted[1]}")
        if spec.get("random") == "integers" and spec["high"] <= spec.get("low", 0):
            raise self.fail(line, f"{self.label}: high of {name} must be above low")
        for pair in spec.get("set", ()):
            if not (isinstance(pair, list) and len(pair) == 2 and _is_index(pair[0], shape)):
                raise self.fail(line, f"{self.label}: set of {name} must be a list of [[index …], value]")
        if integer and spec.get("random") in ("normal", "uniform", "one_hot"):
            raise self.fail(line, f"{self.label}: {name} must hold integers")

    def shape(self, spec: yamlio.Mapping, line: int, name: str) -> list[int]:
        """A shape that may be built."""
        shape = spec["shape"]
        if not isinstance(shape, list) or not all(_is_count(length) for length in shape):
            raise self.fail(line, f"{self.label}: shape of {name} must be a list of lengths")
        if math.prod(shape) > MAX_ELEMENTS or max(shape, default=0) > MAX_ELEMENTS or len(shape) > MAX_RANK:
            raise self.fail(line, f"{self.label}: {name} has over {MAX_ELEMENTS} elements or {MAX_RANK} axes")
        return shape

    def layout(self, entry: yamlio.Mapping) -> dict[str, str]:
        given = entry.get("layout", {})
        names = {array.name for array in self.function.arrays}
        if not isinstance(given, dict) or not set(given) <= names:
            raise self.fail(
                entry.lines["layout"], f"{self.label}: layout maps array names to a memory layout"
            )
        for name, layout in given.items():
            if layout not in _LAYOUTS:
                raise self.fail(
                    entry.lines["layout"],
                    f"{self.label}: layout of {name} must be one of {', '.join(_LAYOUTS)}",
                )
        return dict(given)

    def expected(self, entry: yamlio.Mapping, wrt: tuple[str, ...]) -> dict[str, Expected] | None:
        if "expected" not in entry:
            return None
        return {
            name: self.expectation(spec, entry.lines["expected"])
            for name, spec in self.outputs(entry["expected"], entry.lines["expected"]).items()
        }

    def expectation(self, spec: Any, line: int) -> Expected:
        if isinstance(spec, yamlio.Mapping) and "sketch" in spec:
            sketch = spec["sketch"]
            if not isinstance(sketch, yamlio.Mapping):
                raise self.fail(line, f"{self.label}: sketch must be a mapping")
            fields = dict.fromkeys(("shape", "seed", "sums", "sample"), True)
            self.check_fields(sketch, fields, f"sketch of {self.label}")
            self.shape(sketch, line, "sketch")
            sums = self.listed(sketch["sums"], line, "sums", False)
            if sums.ndim != 2 or not sums.size or not _is_count(sketch["seed"]):
                raise self.fail(line, f"{self.label}: a sketch has a seed, and sums per pattern and block")
            sample = self.listed(sketch["sample"], line, "sample", False)
            if sample.ndim != 1 or not sample.size or not math.prod(sketch["shape"]):
                raise self.fail(line, f"{self.label}: the sample of a sketch is a list of elements")
            return Sketch(tuple(sketch["shape"]), sketch["seed"], sums, sample)
        if isinstance(spec, yamlio.Mapping):
            self.check_fields(spec, {"full": True, "shape": True}, f"expected of {self.label}")
            self.description(spec, "expected", self.function.integer_result)
            return materialize(spec, self.function.integer_result)
        return self.listed(spec, line, "expected", self.function.integer_result)

    def outputs(self, spec: Any, line: int) -> dict[str, Any]:
        """Flatten ``{value: …, gradients: {logits: …}}`` to output names."""
        if not isinstance(spec, yamlio.Mapping):
            raise self.fail(line, f"{self.label}: must be a mapping with value and gradients")
        self.check_fields(spec, {"value": False, "gradients": False}, self.label)
        outputs = {"value": spec["value"]} if "value" in spec else {}
        gradients = spec.get("gradients", {})
        if not isinstance(gradients, dict) or not set(gradients) <= set(self.function.wrt):
            raise self.fail(
                line,
                f"{self.label}: gradients are given for {', '.join(self.function.wrt) or 'nothing'}",
            )
        outputs.update({f"gradients.{name}": item for name, item in gradients.items()})
        return outputs

    def tolerances(
        self, entry: yamlio.Mapping, expected: Mapping[str, Expected] | None
    ) -> dict[str, Tolerance]:
        line = entry.lines.get("tolerance", entry.line)
        given = self.outputs(entry["tolerance"], line) if "tolerance" in entry else {}
        if expected is None:
            return {}
        for name in given.keys() - expected.keys():
            raise self.fail(line, f"{self.label}: a tolerance is given for {name}, which is not expected")
        return {name: self.tolerance(bound, line, expected[name]) for name, bound in given.items()}

    def tolerance(self, bound: Any, line: int, expected: Expected) -> Tolerance:
        if not isinstance(expected, Sketch):
            return self.bound(bound, line, expected.shape)
        if not isinstance(bound, yamlio.Mapping):
            raise self.fail(line, f"{self.label}: the tolerance of a sketch has sums and sample")
        self.check_fields(bound, {"sums": True, "sample": True}, f"tolerance of {self.label}")
        sums = self.bound(bound["sums"], line, expected.sums.shape[1:])
        return replace(sums, sample=self.bound(bound["sample"], line, expected.sample.shape))

    def bound(self, bound: Any, line: int, shape: tuple[int, ...]) -> Tolerance:
        """``u`` alone, or a mapping of ``u``, ``a`` and ``eta``."""
        parts = bound if isinstance(bound, yamlio.Mapping) else {"u": bound}
        if isinstance(bound, yamlio.Mapping):
            self.check_fields(bound, {"u": True, "a": False, "eta": False}, f"tolerance of {self.label}")
        u, a = (self.coefficient(parts.get(name, 0), line, name, shape) for name in ("u", "a"))
        eta = parts.get("eta", Tolerance.ETA)
        if not _is_number(eta) or not 0 <= eta < math.inf:
            raise self.fail(line, f"{self.label}: eta of a tolerance must be a finite number from 0 up")
        return Tolerance(u, a, float(eta))

    def coefficient(self, spec: Any, line: int, name: str, shape: tuple[int, ...]) -> Floats:
        array: Floats = self.listed(spec, line, name, False)
        if array.shape not in ((), shape):
            raise self.fail(
                line,
                f"{self.label}: {name} of a tolerance has shape {array.shape}, not {shape} or one number",
            )
        if not (np.isfinite(array) & (array >= 0)).all():
            raise self.fail(line, f"{self.label}: {name} of a tolerance must be finite numbers from 0 up")
        return array

    def vacuous(self, entry: yamlio.Mapping) -> dict[str, str]:
        """Outputs whose tolerance cannot decide, each with the reason."""
        if "vacuous" not in entry:
            return {}
        line = entry.lines["vacuous"]
        given = self.outputs(entry["vacuous"], line)
        for name, why in given.items():
            if not isinstance(why, str) or not why.strip():
                raise self.fail(line, f"{self.label}: vacuous gives a reason for {name}, a sentence")
        return given

    def variants(self, entry: yamlio.Mapping) -> tuple[Variant, ...]:
        given = entry.get("variants", [])
        line = entry.lines.get("variants", entry.line)
        if not isinstance(given, list):
            raise self.fail(line, f"{self.label}: variants must be a list")
        variants = []
        for item in given:
            if not isinstance(item, yamlio.Mapping):
                raise self.fail(line, f"{self.label}: a variant is a mapping with a name")
            self.check_fields(
                item,
                {"name": True, "raises": False, "value": False, "gradients": False},
                self.label,
            )
            if not isinstance(item["name"], str) or not NAME.match(item["name"]):
                raise self.fail(item.line, f"{self.label}: a variant's name is hyphenated words")
            rest = yamlio.Mapping({k: v for k, v in item.items() if k in ("value", "gradients")})
            rest.lines = item.lines
            raises = item.get("raises", False)
            if not isinstance(raises, bool) or raises == bool(rest):
                raise self.fail(item.line, f"{self.label}: a variant has either raises: true or outputs")
            outputs = {
                name: self.listed(spec, item.line, name, False)
                for name, spec in self.outputs(rest, item.line).items()
            }
            variants.append(Variant(item["name"], raises, outputs))
        return tuple(variants)

    # -- small checks ------------------------------------------------------------------------

    def check_fields(self, mapping: yamlio.Mapping, fields: Mapping[str, bool], what: str) -> None:
        for name in mapping:
            if name not in fields:
                raise self.fail(
                    mapping.lines[name],
                    f"unknown field {name!r} in {what}{suggest(name, fields)}; "
                    f"allowed are {', '.join(fields)}",
                )
        for name, needed in fields.items():
            if needed and name not in mapping:
                raise self.fail(mapping.line, f"{what} lacks the field {name!r}")

    def text_field(self, mapping: yamlio.Mapping, name: str) -> None:
        value = mapping[name]
        if not isinstance(value, str) or not value.strip():
            raise self.fail(mapping.lines[name], f"{name} must be a sentence")

    def names(
        self,
        entry: yamlio.Mapping,
        key: str,
        allowed: tuple[str, ...],
        default: tuple[str, ...],
    ) -> tuple[str, ...]:
        if key not in entry:
            return default
        given = entry[key]
        if not isinstance(given, list) or len(set(map(str, given))) != len(given):
            raise self.fail(entry.lines[key], f"{self.label}: {key} must be a list without repeats")
        for name in given:
            if name not in allowed:
                raise self.fail(
                    entry.lines[key],
                    f"{self.label}: unknown {key.removesuffix('s')} {name!r}"
                    f"{suggest(str(name), allowed)}; allowed are {', '.join(allowed)}",
                )
        if key == "dtypes" and not given:
            raise self.fail(entry.lines[key], f"{self.label}: dtypes is empty")
        return tuple(given)


def _hex_to_float(spec: Any) -> Any:
    if isinstance(spec, list):
        return [_hex_to_float(item) for item in spec]
    if isinstance(spec, (bool, str)) or spec is None:
        raise TypeError
    return spec


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ELEMENTS


def _is_index(value: Any, shape: list[int]) -> bool:
    return (
        isinstance(value, list)
        and len(value) == len(shape)
        and all(isinstance(i, int) and 0 <= i < length for i, length in zip(value, shape, strict=True))
    )


_DESCRIPTION_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "seed": (lambda v: _is_number(v) and isinstance(v, int) and 0 <= v < 2**64, "0 … 2**64−1"),
    "scale": (_is_number, "a number"),
    "shift": (_is_number, "a number"),
    "bits": (lambda v: isinstance(v, int) and 1 <= v <= 53, "1 … 53"),
    "low": (_is_number, "a number"),
    "high": (_is_number, "a number"),
    "full": (_is_number, "a number"),
    "of": (lambda v: isinstance(v, list) and bool(v) and all(map(_is_number, v)), "numbers"),
    "set": (lambda v: isinstance(v, list), "a list"),
}


def _wrong_parameter(kind: str, value: Any) -> str | None:
    """What a parameter of ``kind`` must be, if ``value`` is not that."""
    integer = isinstance(value, int) and not isinstance(value, bool)
    checks: dict[str, tuple[bool, str]] = {
        "integer": (integer, "an integer"),
        "number": (_is_number(value), "a number"),
        "fraction": (_is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
        "boolean": (isinstance(value, bool), "true or false"),
        "reduction": (value in REDUCTIONS, f"one of {', '.join(REDUCTIONS)}"),
        "array": (isinstance(value, (list, dict)) or _is_number(value), "an array"),
        "size": (
            isinstance(value, list) and len(value) == 2 and all(_is_count(v) and v for v in value),
            "[height, width]",
        ),
    }
    right, wanted = checks[kind]
    return None if right else wanted
