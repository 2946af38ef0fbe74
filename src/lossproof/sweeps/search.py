"""Search for the worst input where there are too many to try: float64, and functions of two variables.

A stratified random sample (as many draws of every magnitude, of both signs), then a descent from the worst
inputs found: steps that are halved while they lead nowhere. All is judged in ball arithmetic. What comes
of it is a lower bound of the worst error, and is called so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.adapter import Adapter
from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.text import require
from lossproof.errors import LossproofError
from lossproof.oracle.balls import arb
from lossproof.oracle.bounds import Floats
from lossproof.registry.loaded import AdapterInfo
from lossproof.sweeps import subjects as table
from lossproof.sweeps.allowed import allowed
from lossproof.sweeps.exact import certified
from lossproof.sweeps.report import Extreme, Input, OutputReport, Span, Sweep
from lossproof.sweeps.subjects import Domain, Subject, Target
from lossproof.sweeps.work import call, picked_or_why

Array = npt.NDArray[Any]

# Worst inputs that a descent starts from, its steps, and the inputs that each tries.
STARTS, STEPS, AROUND = 4, 60, 16
# Bits at most for what cancels.
PRECISION = 480


@dataclass(frozen=True)
class Searched:
    """A subject whose inputs are drawn: points of so many variables.

    Attributes:
        subject: its ``arrays`` takes the points, n × variables, and not the numbers of one variable.
        variables: the domain of each.
    """

    subject: Subject
    variables: tuple[Domain, ...]

    @property
    def name(self) -> str:
        return self.subject.name


def of_one(subject: Subject) -> Searched:
    """A subject of the table, to be searched."""
    cotangent = subject.cotangent
    return Searched(
        Subject(
            subject.name, subject.function, subject.about, lambda x: subject.arrays(x[:, 0]), subject.targets,
            subject.parameters, None if cotangent is None else lambda x: cotangent(x[:, 0]), subject.domain,
        ),
        (subject.domain,),
    )  # fmt: skip


def _three_classes(x: Array) -> Array:
    """Rows (x, y, 0)."""
    rows = np.zeros((len(x), 3), x.dtype)
    rows[:, :2] = x
    return rows


def _targets(source: str, name: str, width: int | None = None) -> tuple[Target, ...]:
    if width is None:
        return (Target(name, source, "", (0, 0)),)
    return tuple(Target(f"{name}[{c}]", source, "", (0, 0), column=c) for c in range(width))


def _first_of_three(x: Array) -> Array:
    rows = np.zeros((len(x), 3), x.dtype)
    rows[:, 0] = 1
    return rows


_ELEMENTS = {"reduction": "none"}
_SLOPES = "gradients.logits"
_TABLE = (
    Searched(
        Subject(
            "sigmoid_cross_entropy/soft-target", "sigmoid_cross_entropy", "logits x, target y",
            lambda x: {"logits": x[:, 0].copy(), "target": x[:, 1].copy()},
            _targets("value", "value") + _targets(_SLOPES, _SLOPES), _ELEMENTS,
        ),
        (Domain.ALL, Domain.UNIT),
    ),
    Searched(
        Subject(
            "binary_cross_entropy/soft-target", "binary_cross_entropy", "probabilities x, target y",
            lambda x: {"probabilities": x[:, 0].copy(), "target": x[:, 1].copy()},
            _targets("value", "value") + _targets("gradients.probabilities", "gradients.probabilities"),
            _ELEMENTS,
        ),
        (Domain.UNIT, Domain.UNIT),
    ),
    Searched(
        Subject(
            "softmax/three-classes", "softmax", "rows of logits (x, y, 0); cotangent (1, 0, 0)",
            lambda x: {"logits": _three_classes(x)},
            _targets("value", "value", 3) + _targets(_SLOPES, _SLOPES, 3), cotangent=_first_of_three,
        ),
        (Domain.ALL, Domain.ALL),
    ),
    Searched(
        Subject(
            "log_softmax/three-classes", "log_softmax", "rows of logits (x, y, 0); cotangent (1, 0, 0)",
            lambda x: {"logits": _three_classes(x)},
            _targets("value", "value", 3) + _targets(_SLOPES, _SLOPES, 3), cotangent=_first_of_three,
        ),
        (Domain.ALL, Domain.ALL),
    ),
    Searched(
        Subject(
            "sparse_softmax_cross_entropy/three-classes", "sparse_softmax_cross_entropy",
            "rows of logits (x, y, 0), label 0",
            lambda x: {"logits": _three_classes(x), "labels": np.zeros(len(x), np.int64)},
            _targets("value", "value") + _targets(_SLOPES, _SLOPES, 3), _ELEMENTS,
        ),
        (Domain.ALL, Domain.ALL),
    ),
    Searched(
        Subject(
            "l2_loss/any-target", "l2_loss", "prediction x, target y",
            lambda x: {"prediction": x[:, 0].copy(), "target": x[:, 1].copy()},
            _targets("value", "value") + _targets("gradients.prediction", "gradients.prediction"), _ELEMENTS,
        ),
        (Domain.ALL, Domain.ALL),
    ),
)  # fmt: skip

SUBJECTS = {searched.name: searched for searched in _TABLE}


def choose(names: Iterable[str]) -> list[Searched]:
    """Those of these functions or names; all if there is none.

    Raises:
        LossproofError: an unknown function, or one that has no such form.
    """
    wanted = list(names)
    found: dict[str, Searched] = {}
    for name in wanted:
        own = [s for s in SUBJECTS.values() if name in (s.name, s.subject.function)]
        if not own:
            table.require_function(name)
            known = ", ".join(dict.fromkeys(s.subject.function for s in SUBJECTS.values()))
            raise LossproofError(f"{name} has no form of two variables; --two takes {known}")
        found |= {s.name: s for s in own}
    return list(found.values()) if wanted else [*SUBJECTS.values()]


class _Best:
    """What is known of one output: the worst points so far, and counts of the sample."""

    def __init__(self) -> None:
        self.points: list[tuple[float, tuple[float, ...], float, float]] = []
        self.tried = self.correct = self.faithful = 0
        self.exceeded: list[tuple[tuple[float, ...], float]] = []
        self.problem = ""
        self.sum = self.squares = 0.0

    def note(self, found: Iterable[tuple[float, tuple[float, ...], float, float]]) -> None:
        merged = {point[1]: point for point in (*self.points, *found)}
        self.points = sorted(merged.values(), key=lambda p: (-abs(p[0]), p[1]))[:STARTS]


def worst(
    adapter: Adapter, info: AdapterInfo, searched: Searched, dtype: str, tries: int, seed: int
) -> Sweep:
    """Draw inputs, descend from the worst, and report.

    Raises:
        LossproofError: an unknown dtype.
    """
    require("dtype", dtype, FLOAT_TYPES)
    random = np.random.Generator(np.random.PCG64(abs(seed)))
    best = {target.name: _Best() for target in searched.subject.targets}
    sample = _sample(searched, dtype, tries, random)
    for start in range(0, len(sample), 4096):
        _try(adapter, searched, dtype, sample[start : start + 4096], best, counts=True)
    for name, found in best.items():
        _descend(adapter, searched, dtype, name, found, best, random)
    subject = searched.subject
    return Sweep(
        adapter=info, subject=subject.name, function=subject.function, about=subject.about, dtype=dtype,
        method="search", outputs=tuple(_report(name, found, dtype) for name, found in best.items()),
    )  # fmt: skip


def _sample(searched: Searched, dtype: str, tries: int, random: np.random.Generator) -> Array:
    """As many points of every magnitude: exponents evenly, significands and signs at random."""
    columns = [_numbers(domain, dtype, tries, random) for domain in searched.variables]
    return np.stack(columns, axis=1)


def _numbers(domain: Domain, dtype: str, count: int, random: np.random.Generator) -> Array:
    kind = FLOAT_TYPES[dtype]
    lowest = int(np.log2(kind.smallest_subnormal))
    highest = int(np.log2(kind.largest)) if domain is Domain.ALL else -1
    # Half of them where most functions bend.
    exponents = np.where(
        random.random(count) < 0.5,
        random.integers(lowest, highest + 1, count),
        random.integers(-12, min(10, highest) + 1, count),
    )
    with np.errstate(over="ignore"):
        numbers = np.ldexp(1 + random.random(count), exponents)
    if domain is Domain.ALL:
        numbers *= random.choice([-1.0, 1.0], count)
    else:
        # Near 1 as often as near 0.
        numbers = np.where(random.random(count) < 0.3, 1 - np.minimum(numbers, 0.5), numbers)
    return _inside(numbers, domain, dtype)


def _inside(numbers: Floats, domain: Domain, dtype: str) -> Array:
    kind = FLOAT_TYPES[dtype]
    lowest = -kind.largest if domain is Domain.ALL else 0.0
    highest = kind.largest if domain is Domain.ALL else 1.0
    return np.clip(numbers, lowest, highest).astype(kind.numpy)


def _try(
    adapter: Adapter, searched: Searched, dtype: str, points: Array, best: dict[str, _Best], counts: bool
) -> None:
    """Ask, judge in ball arithmetic, and note."""
    subject, kind = searched.subject, FLOAT_TYPES[dtype]
    answer = call(adapter, subject, points)
    exact = np.asarray(points.astype(np.float64))
    try:
        sure = certified(subject, exact, dtype, last=PRECISION)
    except ArithmeticError:
        # A slope that is exactly 0 by cancellation is a ball around 0 at any precision: leave it out.
        if len(points) > 1:
            half = len(points) // 2
            for part in (points[:half], points[half:]):
                _try(adapter, searched, dtype, part, best, counts)
        return
    for target in subject.targets:
        values, why = picked_or_why(answer, target, points[:, 0])
        own = best[target.name]
        if values is None:
            own.problem = own.problem or why
            continue
        found = sure[target.name]
        actual = values.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(actual - found.rounded)
            own_bound = allowed(found.bound, found.rounded, kind)
        rows = []
        for i in np.flatnonzero(np.isfinite(actual) & np.isfinite(found.rounded)).tolist():
            ulp = kind.ulp(float(found.rounded[i]))
            scaled = float((arb(float(actual[i])) - found.values[i]) / arb(ulp))
            point = tuple(exact[i].tolist())
            rows.append((scaled, point, float(actual[i]), float(found.rounded[i])))
            if counts:
                own.tried += 1
                own.correct += abs(scaled) <= 0.5
                own.faithful += abs(scaled) < 1
                own.sum += scaled
                own.squares += scaled * scaled
            flushed = actual[i] == 0 and abs(found.rounded[i]) - own_bound[i] < kind.smallest_normal
            if error[i] > own_bound[i] and not flushed and _required(searched, point, dtype):
                own.exceeded.append((point, abs(scaled)))
        own.note(rows)


def _required(searched: Searched, point: tuple[float, ...], dtype: str) -> bool:
    """Whether the specification asks for a result there, and not only recommends it."""
    from lossproof.oracle.definitions import definition

    subject = searched.subject
    arrays = subject.arrays(np.array([point]))
    reading = definition(subject.function).read(arrays, subject.all_parameters, dtype)
    return reading.defined and reading.level == "required" and reading.gradients


def _descend(
    adapter: Adapter, searched: Searched, dtype: str, name: str, found: _Best, best: dict[str, _Best],
    random: np.random.Generator,
) -> None:  # fmt: skip
    """Try inputs around the worst, ever closer while none is worse."""
    scale = 0.1
    for _ in range(STEPS):
        if not found.points:
            return
        before = abs(found.points[0][0])
        centres = np.array([point for _, point, _, _ in found.points])
        around = np.repeat(centres, AROUND, axis=0)
        factors = 1 + scale * random.standard_normal(around.shape)
        moved = np.stack(
            [
                _inside(around[:, v] * factors[:, v], domain, dtype)
                for v, domain in enumerate(searched.variables)
            ],
            axis=1,
        )
        _try(adapter, searched, dtype, moved, best, counts=False)
        if abs(found.points[0][0]) <= before:
            scale /= 2
        if scale < FLOAT_TYPES[dtype].unit_roundoff:
            return


def _report(name: str, found: _Best, dtype: str) -> OutputReport:
    extreme = None
    if found.points:
        error, point, actual, expected = found.points[0]
        extreme = Extreme(
            float(f"{error:.6g}"), tuple(_input(x, dtype) for x in point), f"{actual:.17g}",
            f"{expected:.17g}",
        )  # fmt: skip
    tried = max(found.tried, 1)
    return OutputReport(
        output=name, inputs=found.tried, measured=found.tried, correct=found.correct,
        faithful=found.faithful, decided=found.tried, problem=found.problem, worst=extreme,
        bias_ulp=float(f"{found.sum / tried:.4g}"), mean_square=float(f"{found.squares / tried:.4g}"),
        exceeded=_exceeded(found, dtype),
    )  # fmt: skip


def _exceeded(found: _Best, dtype: str) -> tuple[Span, ...]:
    """One span over the first variable of all that exceed the bound."""
    if not found.exceeded:
        return ()
    points = sorted({point for point, _ in found.exceeded})
    largest = max(size for _, size in found.exceeded)
    first, last = _input(points[0][0], dtype), _input(points[-1][0], dtype)
    return (Span(first, last, len(points), float(f"{largest:.4g}")),)


def _input(value: float, dtype: str) -> Input:
    kind = FLOAT_TYPES[dtype]
    size = kind.numpy.itemsize
    bits = np.array([value], np.float64).astype(kind.numpy).view(f"u{size}")[0]
    return Input(f"0x{int(bits):0{2 * size}x}", f"{value:.17g}" if size == 8 else f"{value:.9g}")
