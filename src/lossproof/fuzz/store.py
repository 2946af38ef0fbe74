"""Write what was found as case files that ``lossproof run`` and ``certify`` take as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from lossproof.case.inputs import is_description, not_representable
from lossproof.case.model import Case
from lossproof.case.read import load_file
from lossproof.core import escape
from lossproof.core.dtypes import FLOAT_TYPES, INTEGER_TYPES
from lossproof.core.files import make_folder, write
from lossproof.fuzz.search import Finding
from lossproof.oracle.certify import certify_case
from lossproof.oracle.definitions import definition
from lossproof.oracle.rewrite import rewritten


def write_case(finding: Finding, folder: Path) -> Path:
    """Write a finding below a folder and certify it there; returns the file's path.

    What an earlier search found, or another one finds at the same time, is kept.

    Raises:
        InputError: the folder cannot be written.
    """
    signature = finding.signature
    stem = (
        f"{signature.clause}-{signature.output}-{signature.kind}".lower().replace(".", "-").replace("_", "-")
    )
    path = folder / signature.function / f"{stem}.yaml"
    make_folder(path.parent)
    text = "\n".join(case_text(finding)) + "\n"
    certificates = [certify_case(case) for case in load_file(path, text)]
    stored = {c.case_id.rsplit("/", 1)[1]: c.stored for c in certificates if c.stored is not None}
    certified = rewritten(path, text, stored)
    for number in count(2):
        try:
            write(path, certified, new=True)
            break
        except FileExistsError:
            path = path.with_name(f"{stem}-{number}.yaml")
    return path


def case_text(finding: Finding) -> Iterator[str]:
    """The lines of a case file without an expectation."""
    case = finding.case
    yield f"function: {case.function.name}"
    yield "about: Found by lossproof fuzz and shrunk; replace this by the rule that the case is about."
    yield "cases:"
    yield "  - id: found"
    yield f"    clause: {case.clause}"
    yield f"    level: {case.level}"
    why = f"{finding.dtype} {finding.signature.output}, {finding.message}"
    yield f"    why: {escape.yaml(why)}"
    yield f"    dtypes: [{', '.join(_dtypes(case))}]"
    yield "    inputs:"
    for array in case.function.arrays:
        yield f"      {array.name}: {_array(case.inputs[array.name])}"
    kinds = {parameter.name: parameter.kind for parameter in case.function.parameters}
    if case.parameters:
        items = ", ".join(
            f"{name}: {_array(value) if kinds[name] == 'array' else _plain(value)}"
            for name, value in case.parameters.items()
            if value is not None
        )
        yield f"    parameters: {{{items}}}"
    if case.cotangent is not None:
        yield f"    cotangent: {_array(case.cotangent)}"
    if case.layout:
        yield f"    layout: {{{', '.join(f'{name}: {way}' for name, way in case.layout.items())}}}"
    if case.wrt != case.function.wrt:
        yield f"    wrt: [{', '.join(case.wrt)}]"
    if case.variants:
        yield "    variants:"
        for variant in case.variants:
            outcome = "raises: true" if variant.raises else f"value: {_array(variant.outputs['value'])}"
            yield f"      - {{name: {variant.name}, {outcome}}}"


def _dtypes(case: Case) -> Iterator[str]:
    """The dtypes that hold all inputs exactly and read the case alike, that of the finding first."""
    (found,) = case.dtypes
    yield found
    reals = [parameter.name for parameter in case.function.parameters if parameter.kind == "array"]
    arrays = [(case.exact_arrays[array.name], array.integer) for array in case.function.arrays]
    arrays += [
        (np.asarray(case.parameters[name]), False) for name in reals if case.parameters[name] is not None
    ]
    if case.cotangent is not None:
        arrays.append((case.cotangent, False))
    for dtype in FLOAT_TYPES if case.function.has_float_arrays else INTEGER_TYPES:
        if dtype == found or any(not_representable(a, dtype, integer) is not None for a, integer in arrays):
            continue
        reading = definition(case.function.name).read(case.exact_arrays, case.parameters, dtype)
        if (reading.clause, reading.level, reading.defined) == (case.clause, case.level, True):
            yield dtype


def _array(spec: Any) -> str:
    if is_description(spec):
        return "{" + ", ".join(f"{key}: {_plain(value)}" for key, value in spec.items()) + "}"
    array = np.asarray(spec)
    if not array.size and array.ndim:
        return f"{{full: 0, shape: {list(array.shape)}}}"
    return _nested(array.tolist())


def _nested(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_nested(item) for item in value) + "]"
    return str(value) if isinstance(value, int) else exact_number(value)


def exact_number(value: float) -> str:
    """A literal that is exactly this float64: decimal where that is short, else hexadecimal."""
    if np.isnan(value):
        return ".nan"
    if np.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(float(value))
    if text == "-0.0":
        return text
    if "e" not in text and Decimal(text) == Decimal(value):
        return text.removesuffix(".0")
    return re.sub(r"\.?0+p", "p", float(value).hex())


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)
