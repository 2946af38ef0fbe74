"""The file of sweeps: what every output gave (spec/sweeps.schema.json)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import field

from lossproof.core.dtypes import FLOAT_TYPES, Dtype
from lossproof.core.files import replacing
from lossproof.core.form import Form, matching, must
from lossproof.core.schema import text
from lossproof.core.validate import encode, load
from lossproof.errors import InputError
from lossproof.registry.loaded import AdapterInfo
from lossproof.sweeps import exact
from lossproof.sweeps.inputs import Patterns
from lossproof.sweeps.subjects import SWEPT_DTYPES, Subject, Target
from lossproof.sweeps.tally import LARGEST, UNITS, Ranges, Tally
from lossproof.sweeps.work import Tallies

Count = Annotated[int, must("an integer from 0 on", ge=0)]


class Input(Form, frozen=True):
    """An input: its bit pattern in hexadecimal digits, and the number."""

    bits: Annotated[str, matching("0x[0-9a-f]{1,16}", "a bit pattern, like 0x3c00")]
    number: str

    @property
    def pattern(self) -> int:
        return int(self.bits, 16)


class Extreme(Form, frozen=True):
    """The largest error in ULP of the dtype at the exact value, with its sign; six digits of it."""

    error_ulp: float
    inputs: tuple[Input, ...]
    actual: str
    expected: str


class Span(Form, frozen=True):
    """Inputs of a kind from the first to the last, how many they are, and the largest error there in ULP.

    Between two of them lie fewer than 2**(bits − 10) others; ``worst_ulp`` is 0 where errors are not finite.
    """

    first: Input
    last: Input
    count: Count
    worst_ulp: float = 0.0


class Binade(Form, frozen=True, array_like=True):
    """Inputs of one sign between two powers of 2.

    The bit pattern of the first, how many, the sum of their errors in units of 2**-16 ULP, the sum of the
    squares of these numbers, and the largest error in ULP without its sign.
    """

    pattern: Count
    count: Count
    sum: int
    squares: Count
    worst_ulp: float


class Found(Form, frozen=True):
    """How often something was found, and the first input where."""

    count: Count
    first: Input | None = None


class OutputReport(Form, frozen=True, kw_only=True, omit_defaults=True):
    """What one output gave.

    ``measured`` are the inputs with a finite result where one is due, ``correct`` of them are rounded
    correctly and ``faithful`` err by less than 1 ULP. ``bias_ulp`` and ``mean_square`` are means over them.
    ``histogram`` counts errors below −2 ULP, from −2 to 2 ULP in steps of 1/8, and above. ``binades`` lacks
    those whose errors are all 0. ``decided`` counts what float64 left open and ball arithmetic decided.
    """

    output: Annotated[
        str,
        matching(
            r"(value|gradients\.[a-z_]+)(\[[0-9]+\])?", "value or gradients.<array>, maybe with a place"
        ),
    ]
    inputs: Count = 0
    measured: Count = 0
    correct: Count = 0
    faithful: Count = 0
    decided: Count = 0
    unanswered: Count = 0
    problem: str = ""
    worst: Extreme | None = None
    bias_ulp: float = 0.0
    mean_square: float = 0.0
    histogram: tuple[Count, ...] = ()
    binades: tuple[Binade, ...] = ()
    not_monotone: Found = field(default_factory=lambda: Found(0))
    not_symmetric: Found = field(default_factory=lambda: Found(0))
    flushed: tuple[Span, ...] = ()
    """Where 0 stands for a subnormal result, which the specification permits (G-8)."""
    exceeded: tuple[Span, ...] = ()
    """Where the specification's bound is exceeded, or a NaN or an infinity is wrong or missing."""
    below: tuple[Span, ...] = ()
    """The same where the specification only recommends a result."""
    special: tuple[Span, ...] = ()
    """Those of both where it is a NaN or an infinity."""

    @property
    def exceeding(self) -> int:
        return sum(span.count for span in self.exceeded)


class Sweep(Form, frozen=True, kw_only=True):
    """One function on one adapter in one dtype.

    ``method`` is ``every input``, or ``search``: then the worst error is a lower bound. What pages are named
    after has to look like what it is.
    """

    adapter: AdapterInfo
    subject: Annotated[str, matching("[a-z0-9_]+(/[a-z0-9-]+)?", "a function, or function/form")]
    function: Annotated[str, matching("[a-z0-9_]+", "a function's name")]
    about: str
    dtype: Dtype
    method: Literal["every input", "search"]
    outputs: tuple[OutputReport, ...]

    @property
    def exceeding(self) -> int:
        return sum(output.exceeding for output in self.outputs)

    @property
    def judged(self) -> bool:
        return any(output.measured for output in self.outputs)


class SweepsFile(Form, frozen=True, kw_only=True):
    """A file of sweeps."""

    schema: Literal[1] = 1
    environment: dict[str, Any]
    sweeps: tuple[Sweep, ...]


def sweep_of(info: AdapterInfo, subject: Subject, dtype: str, tallies: Tallies) -> Sweep:
    """The report of what all ranges gave together."""
    return Sweep(
        adapter=info, subject=subject.name, function=subject.function, about=subject.about, dtype=dtype,
        method="every input",
        outputs=tuple(_output(subject, t, dtype, tallies[t.name]) for t in subject.targets),
    )  # fmt: skip


def _output(subject: Subject, target: Target, dtype: str, tally: Tally) -> OutputReport:
    patterns = Patterns(dtype)
    binades = [(pattern, tally.binades[pattern]) for pattern in sorted(tally.binades)]
    count = max(tally.measured, 1)
    flushed, exceeded, below, special = (_spans(patterns, ranges) for ranges in tally.ranges)
    return OutputReport(
        output=target.name, inputs=tally.inputs, measured=tally.measured, correct=tally.correct,
        faithful=tally.faithful, decided=tally.decided, unanswered=tally.unanswered,
        problem=tally.problem, worst=_worst(subject, target, dtype, tally),
        bias_ulp=_digits(sum(b.sum for _, b in binades) / count / UNITS),
        mean_square=_digits(sum(b.squares for _, b in binades) / count / UNITS**2),
        histogram=tuple(tally.histogram) if tally.measured else (),
        binades=tuple(
            Binade(pattern, b.count, b.sum, b.squares, _digits(b.worst))
            for pattern, b in binades
            if b.sum or b.squares
        ),
        not_monotone=_found(patterns, tally.steps.count, tally.steps.first),
        not_symmetric=_found(patterns, tally.mirrored, tally.mirrored_at),
        flushed=flushed, exceeded=exceeded, below=below, special=special,
    )  # fmt: skip


def _worst(subject: Subject, target: Target, dtype: str, tally: Tally) -> Extreme | None:
    """The worst error, once more in ball arithmetic."""
    if tally.worst is None:
        return None
    patterns, found = Patterns(dtype), tally.worst
    x = patterns.value(found.pattern)
    error = exact.error_in_ulp(subject, target.name, x, found.actual, dtype)
    expected = exact.nearest_float64(subject, target.name, x, dtype)
    return Extreme(
        _digits(error, 6), (number(patterns, found.pattern),), f"{found.actual:.9g}", f"{expected:.17g}"
    )


def number(patterns: Patterns, pattern: int) -> Input:
    """An input by its pattern."""
    return Input(f"0x{pattern:0{patterns.bits // 4}x}", f"{patterns.value(pattern):.9g}")


def _found(patterns: Patterns, count: int, first: int | None) -> Found:
    return Found(count, None if first is None else number(patterns, first))


def _spans(patterns: Patterns, ranges: Ranges) -> tuple[Span, ...]:
    return tuple(
        Span(number(patterns, s.first), number(patterns, s.last), s.count, _digits(s.worst))
        for s in ranges.spans
    )


def _digits(value: float, count: int = 4) -> float:
    return float(f"{value:.{count}g}")


def write(path: Path, environment: dict[str, Any], sweeps: Iterable[Sweep]) -> None:
    """Write a file of sweeps; lines of at most 110 columns where they can be, to be compared by line.

    Raises:
        InputError: it cannot be written.
    """
    import json

    document = json.loads(encode(SweepsFile(environment=environment, sweeps=tuple(sweeps))))
    with replacing(path) as file:
        file.write(text(document).encode() + b"\n")


def read(path: Path) -> SweepsFile:
    """A file of sweeps.

    Raises:
        InputError: it cannot be read or is none.
    """
    found = load(path, SweepsFile)
    for number, sweep in enumerate(found.sweeps, 1):
        wrong = _misplaced(sweep)
        if wrong:
            raise InputError(path, None, f"sweep {number}: {wrong}")
    return found


def _misplaced(sweep: Sweep) -> str:
    """What is wrong with the bit patterns and the sums of a sweep, in words."""
    if sweep.method == "every input" and sweep.dtype not in SWEPT_DTYPES:
        return f"every input is tried of {', '.join(SWEPT_DTYPES)}, not of {sweep.dtype}"
    if sweep.dtype not in FLOAT_TYPES:
        return f"dtype must be one of {', '.join(FLOAT_TYPES)}, not {sweep.dtype}"
    end = 1 << 8 * FLOAT_TYPES[sweep.dtype].numpy.itemsize
    for output in sweep.outputs:
        for binade in output.binades:
            if abs(binade.sum) > binade.count * LARGEST or binade.squares > binade.count * LARGEST**2:
                return f"{output.output}: {binade.count} errors cannot add up to those of {binade.pattern:#x}"
        patterns = [binade.pattern for binade in output.binades]
        for spans in (output.flushed, output.exceeded, output.below, output.special):
            patterns += [place.pattern for span in spans for place in (span.first, span.last)]
        beyond = next((pattern for pattern in patterns if pattern >= end), None)
        if beyond is not None:
            return f"{output.output}: {sweep.dtype} has no bit pattern {beyond:#x}"
    return ""
