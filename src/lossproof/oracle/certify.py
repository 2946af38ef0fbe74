"""Recompute every stored expectation and tolerance with the oracle, and fill in new ones."""

from __future__ import annotations

import math
import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lossproof.case.expected import DocumentedChoice, Expected, Sketch, Tolerance
from lossproof.case.inputs import is_description, materialize, not_representable
from lossproof.case.model import Case
from lossproof.case.read import case_files, load_file
from lossproof.case.yaml import read_text
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.text import display
from lossproof.errors import InputError
from lossproof.oracle.balls import require_flint
from lossproof.oracle.choice import documented
from lossproof.oracle.definition import Outputs
from lossproof.oracle.evaluate import evaluate
from lossproof.oracle.render import Stored, render
from lossproof.oracle.result import as_stored
from lossproof.oracle.rewrite import replace, rewritten
from lossproof.oracle.vacuity import passing_nonsense, undecided_by_distribution


@dataclass(frozen=True)
class Certificate:
    """What the oracle found for one case: what its file is to store, differences, elements certified."""

    case_id: str
    path: Path
    line: int
    stored: Stored | None
    """None where nothing differs."""
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
    differences = (
        *_differences(case, found.outputs, found.tolerances),
        *_other_choices(case, found.choices),
    )
    return Certificate(
        case.id,
        case.path,
        case.line,
        render(found.outputs, found.tolerances, case.function.integer_result, found.choices, case.dtypes)
        if differences
        else None,
        differences,
        (*_vacuous(case, found.nonsense), *found.undecided),
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
    choices: tuple[DocumentedChoice, ...] = ()
    """The outcomes of other definitions (spec/choices.md), where they differ."""
    undecided: tuple[str, ...] = ()
    """Outputs whose errors decide nothing when they are judged together (T-13), and why."""


def expect(case: Case) -> Expectation:
    """Ask the oracle for a case's outputs, and for their tolerances in each of its dtypes.

    Raises:
        ArithmeticError: an element stays undecided at the oracle's highest precision, or its error
            bound leaves float64's range.
        LossproofError: the function has no definition, or python-flint is not installed.
    """
    found = evaluate(case)
    outputs = {name: as_stored(output) for name, output in found.items()}
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
    choices = [] if exact else list(documented(case, outputs, tolerances))
    return Expectation(
        outputs,
        tolerances,
        elements + sum(count for _, count in choices),
        {name: text for name, text in nonsense.items() if text},
        tuple(choice for choice, _ in choices),
        tuple(_undecided(case, found, tolerances)) if case.distribution else (),
    )


def _undecided(case: Case, found: Outputs, tolerances: Mapping[str, Tolerance]) -> Iterable[str]:
    """Of a case whose errors are judged together, the outputs by row of which that shows nothing."""
    rows = case.shape_of(case.function.leading.name)[:1]
    for name, output in found.items():
        for dtype in case.dtypes if output.shape[:1] == rows else ():
            why = undecided_by_distribution(output.array(), tolerances[name], dtype)
            if why is not None:
                yield f"{name}: {why}: choose other inputs for distribution"


def _check_described(case: Case) -> None:
    given = {array.name: (case.inputs[array.name], array.integer) for array in case.function.arrays}
    given |= {
        parameter.name: (case.parameters[parameter.name], False)
        for parameter in case.function.parameters
        if parameter.kind == "array"
    }
    given["cotangent"] = (case.cotangent, False)
    given |= {f"the tangent of {name}": (spec, False) for name, spec in case.tangents.items()}
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


def _other_choices(case: Case, choices: Sequence[DocumentedChoice]) -> Iterable[str]:
    if case.expected is None:
        return
    stored, right = ({choice.name: choice for choice in some} for some in (case.choices, choices))
    for name in sorted(stored.keys() | right.keys()):
        if name not in right:
            yield f"choice {name} is stored, and makes no difference here"
        elif name not in stored:
            yield f"choice {name} is missing"
        elif not _same_choice(stored[name], right[name]):
            yield f"choice {name} differs from the oracle's"


def _same_choice(stored: DocumentedChoice, right: DocumentedChoice) -> bool:
    return (
        stored.dtypes == right.dtypes
        and stored.expected.keys() == right.expected.keys()
        and all(_same(stored.expected[name], item) for name, item in right.expected.items())
        and all(stored.tolerances[name].same_as(bound) for name, bound in right.tolerances.items())
    )


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


# -- the whole run --------------------------------------------------------------------------


class _Part(NamedTuple):
    """The ``first``, and then every ``step``-th, of the cases of a file, with the text that it had."""

    path: Path
    text: str
    first: int
    step: int
    write: bool


def _certify_part(part: _Part) -> list[Certificate | str]:
    """Certificates, or problems in words.

    Raises:
        InputError: the file is malformed.
    """
    try:
        cases = load_file(part.path, part.text)
    except InputError:
        if not part.write:
            raise
        # What it stores no longer fits, after its inputs were changed, say: all of it is stored anew.
        cases = load_file(part.path, part.text, stored=False)
    found: list[Certificate | str] = []
    for case in cases[part.first :: part.step]:
        try:
            found.append(certify_case(case))
        except InputError as error:
            found.append(str(error))
        except Exception as error:  # the oracle's own failure: name the case and go on
            found.append(f"{display(part.path)}: case {case.id}: {type(error).__name__}: {error}")
    return found


def certify(
    paths: Sequence[Path],
    write: bool = False,
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Certificate], list[str]]:
    """Certify all cases below ``paths`` on ``jobs`` processes (default: one per core).

    Returns the certificates and the problems; with ``write`` differences are mended, not problems.

    Raises:
        InputError: a case file is malformed, or one that differs cannot be edited safely; nothing is
            written then.
        LossproofError: python-flint is not installed.
    """
    require_flint()
    # Read once: what is written replaces what was certified.
    texts = {path: read_text(path) for path in case_files(paths)}
    workers = jobs or os.cpu_count() or 1
    # Each process reads the files that it certifies; few files are shared out by their cases.
    step = 1 if len(texts) >= 8 * workers else workers
    largest_first = sorted(texts, key=lambda path: _work(texts[path]), reverse=True)
    parts = [_Part(path, texts[path], n, step, write) for path in largest_first for n in range(step)]
    certificates: list[Certificate] = []
    problems: list[str] = []
    # Not forked: the caller may have started threads (a framework's, say).
    with ProcessPoolExecutor(workers, get_context("spawn"), _leave_ctrl_c) as pool:
        try:
            for done, found in enumerate(pool.map(_certify_part, parts), 1):
                problems += [result for result in found if isinstance(result, str)]
                certificates += [result for result in found if isinstance(result, Certificate)]
                progress(done, len(parts))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():
                worker.terminate()
            raise
    certificates.sort(key=lambda c: (c.path, c.line))
    problems += [
        f"{display(c.path)}:{c.line}: case {c.case_id}: {text}" for c in certificates for text in c.vacuous
    ]
    different = [certificate for certificate in certificates if certificate.differences]
    if write:
        _mend(texts, different)
    else:
        problems += [
            f"{display(c.path)}:{c.line}: case {c.case_id}: {difference}"
            for c in different
            for difference in c.differences
        ]
    return certificates, problems


def _work(text: str) -> int:
    """How much there is to certify in a file, roughly: elements that it describes, and what it lists."""
    shapes = re.findall(r"\bshape: \[([0-9, ]+)\]", text)
    return len(text) + sum(math.prod(int(n) for n in shape.split(",") if n.strip()) for shape in shapes)


def _leave_ctrl_c() -> None:
    """It is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _mend(texts: Mapping[Path, str], different: Sequence[Certificate]) -> None:
    """Store what was found for cases that differ, in all of their files or, if one is refused, in none."""
    stored: dict[Path, dict[str, Stored]] = {}
    for certificate in different:
        if certificate.stored is not None:
            short = certificate.case_id.rsplit("/", 1)[1]
            stored.setdefault(certificate.path, {})[short] = certificate.stored
    new = {path: rewritten(path, texts[path], fields) for path, fields in stored.items()}
    for path, text in new.items():
        replace(path, texts[path], text)
