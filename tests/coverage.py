"""What is tested of each function: topics against functions, and the page that shows it.

``python -m tests.coverage`` prints docs/coverage.md; ``--write`` stores it, ``--holes`` prints what no case
has. A topic is read off inputs, parameters and outcomes of the cases, not off names of files: it consists
of kinds, and a cell is full when each kind that it needs is in some case.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lossproof.case.read import iterate_cases
from lossproof.core.functions import FUNCTIONS, Function, Values
from lossproof.core.layout import LAYOUTS

from . import kinds
from .kinds import Look

PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"


@dataclass(frozen=True)
class Topic:
    """A row of the table.

    ``found`` names the kinds that a case has, ``needed`` those that a function must have: none where the
    topic does not apply, and then ``otherwise`` says why.
    """

    name: str
    meaning: str
    found: Callable[[Look], Iterable[str]]
    needed: Callable[[Function], Iterable[str]]
    otherwise: str = ""


@dataclass(frozen=True)
class Cell:
    """How many cases a function has of a topic, how many of them are required, and what is missing."""

    cases: int
    required: int
    missing: tuple[str, ...]
    applies: bool


def _where(condition: Callable[[Function], object], *wanted: str) -> Callable[[Function], Iterable[str]]:
    return lambda f: wanted if condition(f) else ()


def _parameter(name: str) -> Callable[[Function], bool]:
    return lambda f: any(parameter.name == name for parameter in f.parameters)


def _holds(*values: Values) -> Callable[[Function], bool]:
    return lambda f: any(array.values in values for array in f.arrays)


def _floats(f: Function) -> bool:
    return f.has_float_arrays


def _by_rows(f: Function) -> bool:
    return kinds.has_rows(f)


_LOGITS = _holds(Values.LOGITS)
_NUMBERS = _holds(Values.LOGITS, Values.NUMBERS)
_IDS = _holds(Values.LABELS, Values.CLASS_IDS)
_SELECTS = ("sparse_softmax_cross_entropy", "pspnet_loss", "pspnet_total_loss", "mask_rcnn_mask_loss",
            "mask_rcnn_mask_loss_with_logits")  # fmt: skip
_LENGTHS = tuple(str(n) for n in (*range(1, 18), 31, 33, 63, 65, 127, 129))
_TILES = tuple(f"behind {n:,}" for n in (32, 64, 128, 1024, 65536))


def _is_softmax(f: Function) -> bool:
    """A softmax whose row is added up: what overflows, and what a common offset leaves alone."""
    return _by_rows(f) and _LOGITS(f)


def _invalid(f: Function) -> Iterator[str]:
    if any(array.values is Values.PROBABILITIES for array in f.arrays) and f.wrt:
        yield "probability"
    if _IDS(f) and f.wrt:
        yield "label"
    if f.name in ("binary_cross_entropy", "sigmoid_cross_entropy"):
        yield "target"


def _nothing(f: Function) -> Iterator[str]:
    reductions = ("none", "sum", "mean") if _parameter("reduction")(f) else ("no reduction",)
    yield from reductions


def _ranks(f: Function) -> Iterator[str]:
    if f.leading.shape == "*":
        yield from (f"rank {n}" for n in range(6))
    if f.leading.shape.startswith("..."):
        yield from (f"rank {n}" for n in range(1, 6))
        yield from ("first axis", "middle axis", "last axis", "negative axis")


def _reductions(f: Function) -> Iterator[str]:
    if _parameter("reduction")(f):
        yield from ("none", "sum", "mean")


def _cotangents(f: Function) -> Iterator[str]:
    if f.wrt:
        yield from (tuple(_reductions(f)) or ("no reduction",))


def _tangents(f: Function) -> Iterator[str]:
    if f.wrt:
        yield from ("jvp", *(f"hvp of {name}" for name in f.differentiable))


def _counts(f: Function) -> Iterator[str]:
    yield from ("of 256", "of 65,536")
    if _IDS(f):
        yield from ("class 256", "class 65,536")


TOPICS: tuple[Topic, ...] = (
    Topic("ordinary values", "finite numbers of ordinary size in all that counts",
          kinds.ordinary, lambda f: ("ordinary",)),
    Topic("common offset", "what counts is far from 0, and its differences are not",
          kinds.offset,
          _where(lambda f: _is_softmax(f) or f.name in ("l2_loss", "euclidean_distance"), "offset"),
          "the result depends on each number and not on differences, or nothing is subtracted"),
    Topic("large range", "numbers of 1,000 and more, or probabilities of 2⁻¹³ and less, that count",
          kinds.extreme, _where(_floats, "extreme"), "there are only integers"),
    Topic("NaN in what counts", "a NaN that must be seen", kinds.nan_counts, _where(_floats, "NaN"),
          "integers have no NaN"),
    Topic("NaN in what does not count", "a NaN that must not be seen, in value and gradient",
          kinds.nan_elsewhere, _where(lambda f: _IDS(f), "NaN"), "everything counts"),
    Topic("−∞ and +∞", "infinite elements of what counts", kinds.infinite, _where(_NUMBERS, "−∞", "+∞"),
          "an infinite probability is invalid, and integers have no infinities"),
    Topic("ignored and dropped", "some labels or RoIs count and others do not",
          kinds.partly, _where(lambda f: f.name in _SELECTS, "some"), "everything counts, or is copied"),
    Topic("nothing counts", "no element, row, pixel or RoI that counts, for each reduction",
          kinds.nothing, _nothing),
    Topic("invalid", "probabilities, labels, ids or targets outside of what is allowed",
          kinds.invalid, _invalid, "every input is valid, or an invalid one has no specified outcome"),
    Topic("smoothing", "label smoothing between 0 and 1", kinds.smoothed,
          _where(_parameter("label_smoothing"), "smoothed"), "there is no smoothing"),
    Topic("weights", "weights of classes or elements, 0 among them", kinds.weighted,
          _where(_parameter("weight"), "weights", "weight 0"), "there are no weights"),
    Topic("pos_weight", "weights of the positive term, 0 among them", kinds.positively_weighted,
          _where(_parameter("pos_weight"), "weights", "weight 0"), "there is no pos_weight"),
    Topic("reductions", "none, sum and mean", kinds.reduction, _reductions, "there is no reduction"),
    Topic("cotangents", "a cotangent other than 1 for each reduction", kinds.cotangent, _cotangents,
          "there is no gradient"),
    Topic("along tangents", "forward mode and second derivatives, along a tangent of each array",
          kinds.tangents, _tangents, "there is no gradient"),
    Topic("gradients to targets", "the gradient with respect to the target of a cross entropy",
          kinds.to_target, _where(lambda f: bool(f.also), "target"), "there is no such target"),
    Topic("gradients to weights", "the gradient with respect to weight and pos_weight",
          kinds.to_weight, lambda f: f.weights, "there are no weights"),
    Topic("significands", "numbers with all bits of each dtype (G-11)", kinds.significands,
          _where(_floats, "float64", "float32", "float16", "bfloat16"), "there are only integers"),
    Topic("ranks and axes", "ranks to 5; first, middle and last axis", kinds.ranks, _ranks,
          "the rank and the axes are fixed"),
    Topic("empty and single", "no element at all, and a single one", kinds.sizes,
          lambda f: ("empty", "single")),
    Topic("long rows", "rows of 1,000 elements and more", kinds.long_rows, _where(_by_rows, "long"),
          "there are no rows"),
    Topic("many", "more than 255 and 65,535 elements, rows, pixels or RoIs, and classes",
          kinds.counts, _counts),
    Topic("extreme targets", "targets of 0, of 1 and between", kinds.targets,
          _where(_holds(Values.TARGETS, Values.DISTRIBUTIONS), "0", "1", "between"),
          "there are no targets in [0, 1]"),
    Topic("subnormals", "inputs or outcomes that are subnormal in one of the dtypes", kinds.subnormals,
          _where(_floats, "subnormal"), "there are only integers"),
    Topic("lanes", "every length up to 17, and beside the multiples of 32, 64 and 128", kinds.lengths,
          lambda f: _LENGTHS),
    Topic("tiles", "the largest logit of a row behind tiles of 32 to 65,536", kinds.behind_tiles,
          _where(_is_softmax, *_TILES), "no maximum of a row of logits is taken"),
    Topic("layouts", "arrays that are not contiguous", kinds.layouts, lambda f: tuple(LAYOUTS)),
    Topic("wide labels", "labels that 16, 32 and fewer than 64 bits do not hold", kinds.wide_labels,
          _where(lambda f: f.name in _SELECTS or f.name == "pspnet_resize_labels", "16 bits", "32 bits"),
          "there are no labels, or those that are too large have no specified outcome"),
)  # fmt: skip


@cache
def table() -> dict[tuple[str, str], Cell]:
    """The cells by topic and function."""
    seen: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    numbers: Counter[tuple[str, str, str]] = Counter()
    for case in iterate_cases():
        if case.huge:
            continue  # docs/huge.md lists them; what they repeat is ordinary
        look = Look(case)
        for topic in TOPICS:
            found = set(topic.found(look))
            seen[topic.name, look.function.name].update(found)
            numbers[topic.name, look.function.name, case.level] += bool(found)
    cells = {}
    for topic in TOPICS:
        for name, function in FUNCTIONS.items():
            needed = list(topic.needed(function))
            there = seen[topic.name, name]
            required = numbers[topic.name, name, "required"]
            cells[topic.name, name] = Cell(
                required + numbers[topic.name, name, "recommended"], required,
                tuple(kind for kind in needed if not there[kind]), bool(needed),
            )  # fmt: skip
    return cells


def holes() -> Iterator[tuple[str, str, str]]:
    """Topic, function and kind of what no case has."""
    for (topic, function), cell in table().items():
        for kind in cell.missing:
            yield topic, function, kind


def page() -> str:
    """The text of docs/coverage.md."""
    lines = [
        "# Coverage",
        "",
        "What is tested of each function: the number of cases in which a topic is, read off their inputs,",
        "parameters and outcomes; in brackets where all of them are recommended ones. A dash says that the",
        "topic does not apply, for the reason below. This page is written by",
        "`python -m tests.coverage --write`, and the test suite fails if it is not current or if a cell",
        "is empty.",
        "",
        f"| topic | {' | '.join(FUNCTIONS)} |",
        f"| --- |{' ---: |' * len(FUNCTIONS)}",
    ]
    for topic in TOPICS:
        cells = [_text(table()[topic.name, function]) for function in FUNCTIONS]
        lines.append(f"| {topic.name} | {' | '.join(cells)} |")
    lines += ["", "## The topics", ""]
    for topic in TOPICS:
        wanted = list(dict.fromkeys(kind for f in FUNCTIONS.values() for kind in topic.needed(f)))
        named = f": {', '.join(wanted)}" if len(wanted) > 1 else ""
        lines.append(f"- **{topic.name}**: {topic.meaning}{named}.")
        without = [f for f in FUNCTIONS if not table()[topic.name, f].applies]
        if without:
            lines.append(f"  Not of {', '.join(f'`{f}`' for f in without)}: {topic.otherwise}.")
    return "\n".join(lines) + "\n"


def _text(cell: Cell) -> str:
    if not cell.applies:
        return "–"
    if cell.missing:
        return f"**lacks {', '.join(cell.missing)}**"
    return str(cell.cases) if cell.required else f"({cell.cases})"


if __name__ == "__main__":
    if "--holes" in sys.argv:
        for hole in holes():
            print(*hole, sep=": ")
    elif "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
