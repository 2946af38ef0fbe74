"""Recompute every stored expectation and tolerance with the oracle, and fill in new ones."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from lossproof.case import yaml as yamlio
from lossproof.case.expected import Expected, Sketch, Tolerance
from lossproof.case.inputs import is_description, materialize, not_representable
from lossproof.case.model import Case
from lossproof.case.read import case_files, load_file
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.text import display
from lossproof.errors import InputError
from lossproof.oracle.balls import require_flint
from lossproof.oracle.evaluate import evaluate
from lossproof.oracle.vacuity import passing_nonsense


@dataclass(frozen=True)
class Certificate:
    """What the oracle found for one case: stored text to be, differences, elements certified."""

    case_id: str
    path: Path
    line: int
    text: tuple[str, ...]
    differences: tuple[str, ...]
    vacuous: tuple[str, ...]
    """Outputs that decide nothing and do not say why, or the reverse."""
    elements: int


def certify_case(case: Case) -> Certificate:
    """Evaluate a case with the oracle and compare with what its file stores.

    Raises:
        InputError: a described input is not exactly representable in one of the case's dtypes.
    """
    _check_described(case)
    found = expect(case)
    return Certificate(
        case.id,
        case.path,
        case.line,
        tuple(_render(found.outputs, found.tolerances, integer=case.function.integer_result)),
        tuple(_differences(case, found.outputs, found.tolerances)),
        tuple(_vacuous(case, found.nonsense)),
        found.elements,
    )


@dataclass(frozen=True)
class Expectation:
    """What the oracle demands of a case; ``elements`` counts those that it computed."""

    outputs: dict[str, Expected]
    tolerances: dict[str, Tolerance]
    elements: int
    nonsense: dict[str, tuple[str, ...]]
    """By output, what passes that must not, with the dtype."""


def expect(case: Case) -> Expectation:
    """Ask the oracle for a case's outputs, and for their tolerances in each of its dtypes.

    Raises:
        ArithmeticError: an element stays undecided at the oracle's highest precision, or its error
            bound leaves float64's range.
        LossproofError: the function has no definition, or python-flint is not installed.
    """
    found = evaluate(case)
    outputs: dict[str, Expected] = {}
    for name, output in found.items():
        if output.constant is not None or not output.exact:
            outputs[name] = np.full(output.shape, output.constant or 0.0)
        elif output.listed:
            outputs[name] = output.array()
        else:
            outputs[name] = output.sketch()
    exact = case.function.integer_result or not any(name in FLOAT_TYPES for name in case.dtypes)
    tolerances = {} if exact else {name: output.tolerance() for name, output in found.items()}
    nonsense = {
        name: tuple(
            f"{wrong} in {dtype}"
            for dtype in case.dtypes
            for wrong in passing_nonsense(found[name].array(), outputs[name], bound, dtype)
        )
        for name, bound in tolerances.items()
    }
    elements = sum(len(output.exact) for output in found.values())
    return Expectation(outputs, tolerances, elements, {name: text for name, text in nonsense.items() if text})


def _check_described(case: Case) -> None:
    given = {array.name: (case.inputs[array.name], array.integer) for array in case.function.arrays}
    given |= {
        parameter.name: (case.parameters[parameter.name], False)
        for parameter in case.function.parameters
        if parameter.kind == "array"
    }
    given["cotangent"] = (case.cotangent, False)
    for name, (spec, integer) in given.items():
        if not is_description(spec):
            continue
        array = materialize(spec, integer)
        for dtype in case.dtypes:
            bad = not_representable(array, dtype, integer)
            if bad is not None:
                raise case.complain(f"{bad!r} in {name} is not exactly representable in {dtype}")


def _differences(
    case: Case,
    expected: dict[str, Expected],
    tolerances: dict[str, Tolerance],
) -> Iterable[str]:
    if case.expected is None:
        yield "has no expectation yet; run lossproof certify --write"
        return
    for name in sorted(expected.keys() | case.expected.keys()):
        stored, right = case.expected.get(name), expected.get(name)
        if stored is None or right is None:
            yield f"{name} is {'missing' if stored is None else 'not defined by the oracle'}"
        elif not _same(stored, right):
            yield f"{name} differs from the oracle's"
    bounds = case.tolerances
    if bounds.keys() != tolerances.keys() or any(not bounds[n].same_as(t) for n, t in tolerances.items()):
        yield "tolerances differ from the derived ones"


def _vacuous(case: Case, nonsense: dict[str, tuple[str, ...]]) -> Iterable[str]:
    if case.level != "required":
        return
    for name in sorted(nonsense.keys() - case.vacuous.keys()):
        yield (
            f"{name} is passed by {', '.join(nonsense[name])}: choose inputs that decide, or give the reason "
            "under vacuous"
        )
    for name in sorted(case.vacuous.keys() - nonsense.keys()):
        yield f"{name} is listed as vacuous, and decides: remove it"


def _same(stored: Expected, right: Expected) -> bool:
    if isinstance(stored, Sketch) or isinstance(right, Sketch):
        return (
            isinstance(stored, Sketch)
            and isinstance(right, Sketch)
            and (stored.shape, stored.seed) == (right.shape, right.seed)
            and np.array_equal(stored.sums, right.sums, equal_nan=True)
            and np.array_equal(stored.sample, right.sample, equal_nan=True)
        )
    return stored.shape == right.shape and np.array_equal(stored, right, equal_nan=True)


# -- text -----------------------------------------------------------------------------------


def _render(expected: dict[str, Expected], tolerances: dict[str, Tolerance], integer: bool) -> Iterable[str]:
    yield "expected:"
    yield from _entries("  ", "value", expected.get("value"), integer)
    gradients = {name.removeprefix("gradients."): item for name, item in expected.items() if name != "value"}
    if gradients:
        yield "  gradients:"
        for name, item in gradients.items():
            yield from _entries("    ", name, item, integer)
    if not tolerances:
        return
    yield "tolerance:"
    slopes = {name: bound for name, bound in tolerances.items() if name != "value"}
    yield from _bounds("  ", "value", tolerances.get("value"))
    if slopes:
        yield "  gradients:"
        for name, bound in slopes.items():
            yield from _bounds("    ", name.removeprefix("gradients."), bound)


def _bounds(indent: str, name: str, tolerance: Tolerance | None) -> Iterable[str]:
    if tolerance is None:
        return
    if tolerance.sample is None:
        yield from _wrapped(indent, f"{name}: {_bound(tolerance)}")
        return
    yield f"{indent}{name}:"
    yield from _wrapped(f"{indent}  ", f"sums: {_bound(tolerance)}")
    yield from _wrapped(f"{indent}  ", f"sample: {_bound(tolerance.sample)}")


def _bound(tolerance: Tolerance) -> str:
    u = _list(tolerance.u, False)
    rest = [f"a: {_list(tolerance.a, False)}"] if tolerance.a.any() else []
    if tolerance.eta != Tolerance.ETA:
        rest.append(f"eta: {_number(tolerance.eta, False)}")
    return f"{{{', '.join([f'u: {u}', *rest])}}}" if rest else u


def _entries(indent: str, name: str, item: Expected | None, integer: bool) -> Iterable[str]:
    if item is None:
        return
    if isinstance(item, Sketch):
        yield f"{indent}{name}:"
        yield f"{indent}  sketch:"
        yield f"{indent}    shape: {list(item.shape)}"
        yield f"{indent}    seed: {item.seed}"
        yield from _wrapped(f"{indent}    ", f"sums: {_list(item.sums, integer)}")
        yield from _wrapped(f"{indent}    ", f"sample: {_list(item.sample, integer)}")
        return
    if not item.size or (item.size > 1 and np.unique(item).size == 1 and item.size > 16):
        fill = _number(item.flat[0], integer) if item.size else "0"
        yield f"{indent}{name}: {{full: {fill}, shape: {list(item.shape)}}}"
        return
    yield from _wrapped(indent, f"{name}: {_list(item, integer)}")


def _wrapped(indent: str, text: str) -> Iterable[str]:
    yield from textwrap.wrap(
        text, 100, initial_indent=indent, subsequent_indent=indent + "  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _list(values: Any, integer: bool) -> str:
    if np.ndim(values) == 0:
        return _number(values, integer)
    return "[" + ", ".join(_list(value, integer) for value in values) + "]"


def _number(value: Any, integer: bool) -> str:
    """A float in a form that YAML 1.1 and 1.2 read alike."""
    number = float(value)
    if integer:
        return str(int(number))
    if math.isnan(number):
        return ".nan"
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    if number == int(number) and abs(number) < 1e6:
        return str(int(number))
    mantissa, _, exponent = repr(number).partition("e")
    if not exponent:
        return mantissa
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+03d}"


def rewrite(path: Path, texts: dict[str, tuple[str, ...]]) -> None:
    """Store certified text in a file, case by case, leaving all that people wrote as it is."""
    source = path.read_text(encoding="utf-8").splitlines()
    document = yamlio.load(path)
    entries = document["cases"]
    ends = [entry.line - 1 for entry in entries[1:]] + [len(source)]
    for entry in entries:
        if source[entry.line - 1].lstrip("- ").startswith("{"):
            raise InputError(display(path), entry.line, "write the case as a block mapping")
    for entry, end in reversed(list(zip(entries, ends, strict=True))):
        while not source[end - 1].strip() or source[end - 1].lstrip().startswith("#"):
            end -= 1
        keys = sorted(entry.lines.items(), key=lambda pair: pair[1])
        stops = [line - 1 for _, line in keys[1:]] + [end]
        ranges = {key: (line - 1, stop) for (key, line), stop in zip(keys, stops, strict=True)}
        indent = source[entry.line - 1].index("id:") if "id" in entry else 4
        position = ranges["variants"][0] if "variants" in ranges else end
        new = [" " * indent + line for line in texts[entry["id"]]]
        source[position:position] = new
        for key in ("tolerance", "expected"):
            if key in ranges:
                start, stop = ranges[key]
                if start >= position:
                    start, stop = start + len(new), stop + len(new)
                del source[start:stop]
    path.write_text("\n".join(source) + "\n", encoding="utf-8")


# -- the whole run --------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _load(path: Path) -> dict[str, Case]:
    return {case.id: case for case in load_file(path)}


def _certify_one(task: tuple[Path, str]) -> Certificate | str:
    path, case_id = task
    try:
        return certify_case(_load(path)[case_id])
    except InputError as error:
        return str(error)
    except Exception as error:  # the oracle's own failure: name the case and go on
        return f"{display(path)}: case {case_id}: {type(error).__name__}: {error}"


def certify(
    paths: Sequence[Path],
    write: bool = False,
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Certificate], list[str]]:
    """Certify all cases below ``paths`` on ``jobs`` processes (default: one per core).

    Returns the certificates and the problems; with ``write`` differences are mended, not problems.

    Raises:
        InputError: a case file is malformed.
        LossproofError: python-flint is not installed.
    """
    require_flint()
    tasks = [(path, case.id) for path in case_files(paths) for case in load_file(path)]
    certificates: list[Certificate] = []
    problems: list[str] = []
    workers = jobs or os.cpu_count() or 1
    # Not forked: the caller may have started threads (a framework's, say).
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for done, result in enumerate(pool.map(_certify_one, tasks), 1):
            if isinstance(result, str):
                problems.append(result)
            else:
                certificates.append(result)
            progress(done, len(tasks))
    by_file: dict[Path, list[Certificate]] = {}
    for certificate in certificates:
        by_file.setdefault(certificate.path, []).append(certificate)
    for path, found in by_file.items():
        different = [c for c in found if c.differences]
        problems += [
            f"{display(path)}:{c.line}: case {c.case_id}: {text}" for c in found for text in c.vacuous
        ]
        if write and different:
            if len(found) == sum(task[0] == path for task in tasks):
                rewrite(path, {c.case_id.rsplit("/", 1)[1]: c.text for c in found})
        elif not write:
            problems += [
                f"{display(path)}:{c.line}: case {c.case_id}: {difference}"
                for c in different
                for difference in c.differences
            ]
    return certificates, problems
