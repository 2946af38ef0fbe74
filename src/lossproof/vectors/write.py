"""Write the cases of a selection as vectors: per function and dtype a JSON file, and one of large arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from lossproof.case.arrays import numpy_arrays, numpy_cotangent, numpy_parameters, numpy_tangents
from lossproof.case.expected import Expected, Floats, Sketch, Tolerance, sampled
from lossproof.case.model import Case
from lossproof.case.needs import needs
from lossproof.case.select import Selection
from lossproof.case.suite import Suite, suite
from lossproof.core.dtypes import FLOAT_TYPES, HALF_TYPES
from lossproof.core.files import copy, make_folder, replacing
from lossproof.core.functions import FUNCTIONS
from lossproof.core.resources import folder
from lossproof.core.schema import text
from lossproof.core.validate import encode
from lossproof.engine.verdict import FLOAT32_RESULT, WIDENED
from lossproof.errors import LossproofError
from lossproof.results.file import CasesSet
from lossproof.vectors import form
from lossproof.vectors.tensors import Tensors, hexadecimal

SCHEMAS = ("vectors.schema.json", "vectors-index.schema.json")


def export(
    selection: Selection,
    dtypes: Sequence[str],
    cases: CasesSet,
    out: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> form.Index:
    """Write vectors and, when all of them are there, ``index.json``; the same bytes for the same cases.

    Args:
        selection: the cases.
        dtypes: only these, if there is any.
        cases: the set that they are.
        out: the folder; other files that are in it stay there.
        progress: told after each case how many are written, and of how many.

    Raises:
        LossproofError: the folder is a file, or something cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise LossproofError(f"{out} is a file; give a folder")
    of = suite()
    files: dict[tuple[str, str], _Vectors] = {}
    with ExitStack() as stack:
        for number, case in enumerate(selection, 1):
            for dtype in case.dtypes:
                if dtypes and dtype not in dtypes:
                    continue
                key = case.function.name, dtype
                if key not in files:
                    path = out / case.function.name / f"{dtype}.json"
                    make_folder(path.parent)
                    files[key] = _Vectors(stack.enter_context(replacing(path)), of, case.function.name, dtype)
                    stack.callback(files[key].tensors.close)
                files[key].add(case)
            progress(number, len(selection))
        for file in files.values():
            beside = file.finish()
            if beside is not None:
                with replacing(out / beside) as target:
                    file.tensors.write(target)
    for name in SCHEMAS:
        copy(folder("spec") / name, out / name)
    order = list(FUNCTIONS)
    written = sorted(files.values(), key=lambda file: order.index(file.function))
    index = form.Index(
        schema=1, suite=of.version, digest=of.digest, cases=cases,
        functions={file.function: _function(file.function) for file in written},
        vectors=tuple(file.entry for file in written),
    )  # fmt: skip
    with replacing(out / "index.json") as target:
        target.write(text(json.loads(encode(index))).encode() + b"\n")
    return index


def _function(name: str) -> form.Function:
    function = FUNCTIONS[name]
    return form.Function(
        arrays=tuple(form.Argument(name=array.name, integer=array.integer) for array in function.arrays),
        parameters=tuple(parameter.name for parameter in function.parameters),
        gradients=function.wrt,
    )


class _Vectors:
    """The vectors of one function in one dtype, written case by case."""

    def __init__(self, file: IO[bytes], of: Suite, function: str, dtype: str) -> None:
        self.function, self.dtype, self.tensors = function, dtype, Tensors()
        self._file, self._count = file, 0
        head = {
            "schema": 1, "suite": of.version, "digest": of.digest, "function": function, "dtype": dtype,
            "constants": _constants(dtype),
        }  # fmt: skip
        file.write(encode(head).removesuffix(b"}") + b',"cases":[')

    def add(self, case: Case) -> None:
        """Write one case, on a line of its own."""
        self._file.write(
            (b",\n" if self._count else b"\n") + encode(_Writer(case, self.dtype, self.tensors).case)
        )
        self._count += 1

    def finish(self) -> str | None:
        """Write what comes after the cases; returns where its large arrays go, if it has any."""
        beside = f"{self.dtype}.safetensors" if len(self.tensors) else None
        self._file.write(b'\n],"tensors":' + encode(beside) + b"}\n")
        self.entry = form.Vectors(
            function=self.function, dtype=self.dtype, file=f"{self.function}/{self.dtype}.json",
            tensors=beside and f"{self.function}/{beside}", cases=self._count,
        )  # fmt: skip
        return self.entry.tensors


def _constants(dtype: str) -> dict[str, form.Constants]:
    """Of the dtype, and of float32 where a value may be that (CH-8)."""
    kinds = [FLOAT_TYPES[name] for name in dict.fromkeys((dtype, "float32"))] if dtype in FLOAT_TYPES else []
    return {
        kind.name: form.Constants(
            smallest_normal=hexadecimal(kind.smallest_normal),
            overflow_threshold=hexadecimal(kind.overflow_threshold),
        )
        for kind in kinds
    }


class _Writer:
    """One case in one dtype, as an export has it."""

    def __init__(self, case: Case, dtype: str, tensors: Tensors) -> None:
        self._case, self._dtype, self._tensors = case, dtype, tensors

    @property
    def case(self) -> form.Case:
        case, add = self._case, self._tensors.add
        assert case.expected is not None
        arrays = numpy_arrays(case, self._dtype)
        cotangent = numpy_cotangent(case, self._dtype)
        return form.Case(
            id=case.id, clause=case.clause, level=case.level, why=case.why, thorough=case.thorough,
            times=case.times, distribution=case.distribution, needs=needs(case, arrays),
            inputs={name: add(array) for name, array in arrays.items()},
            parameters=dict(self._parameters()),
            cotangent=None if cotangent is None else add(cotangent),
            tangents={name: add(array) for name, array in numpy_tangents(case, self._dtype).items()},
            layout=dict(case.layout),
            outputs={
                name: self._due(expected, case.tolerances.get(name), self._dtype)
                for name, expected in case.expected.items()
            },
            variants=tuple(self._variants()),
            choices=tuple(self._choices()),
        )  # fmt: skip

    def _parameters(self) -> Iterator[tuple[str, form.Parameter | None]]:
        values = numpy_parameters(self._case, self._dtype)
        for parameter in self._case.function.parameters:
            value = values[parameter.name]
            yield parameter.name, None if value is None else self._parameter(parameter.kind, value)

    def _parameter(self, kind: str, value: Any) -> form.Parameter:
        match kind:
            case "integer":
                return form.Parameter(integer=str(value))
            case "number" | "fraction":
                return form.Parameter(number=hexadecimal(value))
            case "array":
                return form.Parameter(array=self._tensors.add(value))
            case "boolean":
                return form.Parameter(boolean=value)
            case "reduction":
                return form.Parameter(reduction=value)
            case _:
                return form.Parameter(size=tuple(value))

    def _variants(self) -> Iterator[form.Variant]:
        for variant in self._case.variants:
            outputs = {
                name: self._due(output, self._case.tolerances.get(name), self._dtype)
                for name, output in variant.outputs.items()
            }
            yield form.Variant(name=variant.name, raises=variant.raises, outputs=outputs)

    def _choices(self) -> Iterator[form.Choice]:
        for choice in self._case.choices:
            if self._dtype in choice.dtypes:
                outputs: dict[str, tuple[form.Due, ...]] = {
                    name: (self._due(output, choice.tolerances.get(name), self._dtype),)
                    for name, output in choice.expected.items()
                }
                yield form.Choice(name=choice.name, outputs=outputs)
        if self._case.function.widens and self._dtype in HALF_TYPES:
            yield self._float32_result(self._case.expected or {})

    def _float32_result(self, expected: Mapping[str, Expected]) -> form.Choice:
        """The value, and its derivative, in float32, and all gradients as they are due."""
        wide = [name for name in WIDENED if name in expected]
        due = {
            name: tuple(
                self._due(output, self._case.tolerances.get(name), "float32")
                for output in (
                    expected[name],
                    *(one.outputs[name] for one in self._case.variants if name in one.outputs),
                )
            )
            for name in wide
        }
        return form.Choice(name=FLOAT32_RESULT, outputs=due, dtypes=dict.fromkeys(wide, "float32"))

    def _due(self, expected: Expected, tolerance: Tolerance | None, dtype: str) -> form.Due:
        add = self._tensors.add
        if not isinstance(expected, Sketch):
            return form.Whole(expected=add(expected), bound=add(_bound(expected, tolerance, dtype)))
        size = int(np.prod(expected.shape))
        sample = None if tolerance is None else tolerance.sample
        return form.Sketched(
            sketch=form.Sums(
                shape=expected.shape, seed=str(expected.seed),
                sums=add(expected.sums), sums_bound=add(_bound(expected.sums, tolerance, dtype)),
                places=add(sampled(expected.seed, size, expected.sample.size)),
                sample=add(expected.sample), sample_bound=add(_bound(expected.sample, sample, dtype)),
            )
        )  # fmt: skip


def _bound(expected: Any, tolerance: Tolerance | None, dtype: str) -> Floats:
    """How far off each element may be, 0 where it is not finite: it is met by its like alone."""
    if tolerance is None or dtype not in FLOAT_TYPES:
        return np.zeros(expected.shape)
    bound = tolerance.bounds(expected, FLOAT_TYPES[dtype])
    return np.where(np.isfinite(expected), bound, 0.0)
