"""What sweeps found: docs/sweep-results.md from results/sweeps/.

``python -m tests.sweep_results`` prints the page; ``--write`` stores it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossproof.sweeps.report import OutputReport, Span, Sweep, read

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "sweep-results.md"
FOLDER = ROOT / "results" / "sweeps"
# The order of the columns; others follow.
ORDER = ("numpy", "torch", "torch-compile", "tensorflow", "tensorflow-xla", "keras", "jax", "optax")
DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True)
class Finding:
    """A behaviour that breaks a bound, and the cases that keep it in view."""

    backends: tuple[str, ...]
    dtypes: tuple[str, ...]
    outputs: tuple[str, ...]
    """Form and output, as tables name them."""
    what: str
    cases: tuple[str, ...]
    recorded: str
    """As which deviation, or choice."""

    def covers(self, sweep: Sweep, output: OutputReport) -> bool:
        return (
            sweep.adapter.name in self.backends
            and sweep.dtype in self.dtypes
            and f"{sweep.subject} {output.output}" in self.outputs
        )


_HALF = ("float16", "bfloat16")
_BCE_VALUES = tuple(f"binary_cross_entropy/target-{y} value" for y in (0, 1))
_BCE_SLOPES = tuple(f"binary_cross_entropy/target-{y} gradients.probabilities" for y in (0, 1))
FINDINGS = (
    Finding(
        ("torch",), _HALF, ("sigmoid_cross_entropy/target-0 value",),
        "the cost of a confident negative is the difference (1 − y)x − ln σ(x) of two rounded numbers: "
        "0 from −7.6 on, and at −87 where it is still a normal number",
        ("sigmoid_cross_entropy/sweep-findings/confident-in-half-precision",
         "sigmoid_cross_entropy/sweep-findings/least-normal-cost"),
        "deviation `confident-negative-cancels`",
    ),
    Finding(
        ("torch",), _HALF, _BCE_VALUES, "the logarithm is clamped at −100, so that no cost is infinite",
        ("binary_cross_entropy/limits/zero-for-a-positive", "binary_cross_entropy/limits/one-for-a-negative"),
        "choice CH-1",
    ),
    Finding(
        ("torch",), _HALF, _BCE_SLOPES,
        "the gradient divides by p(1 − p) or 10⁻¹², the larger, and 10⁻¹² is 0 in float16",
        ("binary_cross_entropy/limits/very-small", "binary_cross_entropy/limits/very-small-for-a-negative",
         "binary_cross_entropy/limits/gradient-certain-and-right"),
        "choice CH-1, deviation `bce-gradient-epsilon`",
    ),
    Finding(
        ("tensorflow", "tensorflow-xla", "keras"), ("bfloat16",), ("log_sigmoid value",),
        "softplus returns its argument from −2.86 on, where e⁻³ is still 3 units in the last place",
        ("log_sigmoid/sweep-findings/threshold-of-softplus",),
        "deviation `softplus-drops-the-tail-in-bfloat16`",
    ),
    Finding(
        ("tensorflow-xla",), ("float16",), ("log_sigmoid value",), "the same in float16, from −4.93 to −5.26",
        ("log_sigmoid/sweep-findings/threshold-of-softplus-in-float16",),
        "deviation `xla-log-sigmoid-drops-the-tail-in-float16`",
    ),
    Finding(
        ("keras",), _HALF, (*_BCE_VALUES, *_BCE_SLOPES),
        "probabilities are clipped to [10⁻⁷, 1 − 10⁻⁷], whose upper end rounds to 1: NaN there",
        ("binary_cross_entropy/limits/certain-and-right", "binary_cross_entropy/limits/zero-for-a-positive",
         "binary_cross_entropy/limits/gradient-certain-and-right", "binary_cross_entropy/limits/very-small",
         "binary_cross_entropy/limits/very-small-for-a-negative"),
        "deviation `bce-clipped-in-half-precision`, choice CH-2",
    ),
    Finding(
        ("jax",), _HALF, _BCE_SLOPES, "the slope of xlogy(0, 0) and of xlog1py(0, −1) is NaN",
        ("binary_cross_entropy/limits/gradient-certain-and-right",), "deviation `xlogy-gradient`",
    ),
    Finding(
        ("optax",), _HALF, ("sparse_softmax_cross_entropy/two-classes value",),
        "the label's logit is subtracted from the rounded logarithm of the sum, so that a small cost has "
        "few digits",
        ("sparse_softmax_cross_entropy/sweep-findings/confident-of-two-classes",),
        "deviation `large-offset-loses-digits`",
    ),
)  # fmt: skip


def files() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def sweeps() -> list[Sweep]:
    """All committed sweeps, by backend."""
    found = [sweep for file in files() for sweep in read(file).sweeps]
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(found, key=lambda s: (place.get(s.adapter.name, len(place)), s.adapter.name))


def page(found: Sequence[Sweep]) -> str:
    return "\n".join([*_head(found), *_worst(found), *_correct(found), *_exceeded(found), *_kept()]) + "\n"


def _name(sweep: Sweep) -> str:
    return f"{sweep.adapter.name} {sweep.adapter.version}"


def _head(found: Sequence[Sweep]) -> Iterator[str]:
    outputs = [output for sweep in found for output in sweep.outputs]
    tried, decided = sum(o.inputs for o in outputs), sum(o.decided for o in outputs)
    yield "# What sweeps found"
    yield ""
    yield (
        "Every input of a dtype, on functions of one variable ([sweeps](sweeps.md)). Written by "
        "`python -m tests.sweep_results --write` from [results/sweeps](../results/sweeps); the test suite "
        f"fails if it is not current. {tried:,} results were compared with exact values on "
        f"{', '.join(dict.fromkeys(map(_name, found)))}; ball arithmetic had to decide {decided:,} questions."
    )


Rows = dict[tuple[str, str], dict[str, OutputReport]]


def _rows(found: Sequence[Sweep], dtype: str) -> tuple[list[str], Rows]:
    """The backends of a dtype, and by subject and output what each gave."""
    own = [sweep for sweep in found if sweep.dtype == dtype]
    rows: Rows = {}
    for sweep in own:
        for output in sweep.outputs:
            rows.setdefault((sweep.subject, output.output), {})[_name(sweep)] = output
    return list(dict.fromkeys(map(_name, own))), rows


def _table(found: Sequence[Sweep], dtype: str, cell: Callable[[OutputReport | None], str]) -> Iterator[str]:
    names, rows = _rows(found, dtype)
    yield f"| {dtype} | output | " + " | ".join(names) + " |"
    yield "| --- | --- |" + " ---: |" * len(names)
    for (subject, output), cells in rows.items():
        texts = (cell(cells.get(name)) for name in names)
        yield f"| {subject} | {output} | " + " | ".join(texts) + " |"


def _worst(found: Sequence[Sweep]) -> Iterator[str]:
    yield ""
    yield "## Worst errors"
    yield ""
    yield (
        "In ULP. Bold: the specification's bound is exceeded at some input (the third table says where). "
        "What is large and not bold is permitted: a subnormal that was flushed, or a slope that was formed "
        "from a rounded 1 − y. · means that nothing was measured."
    )

    def cell(output: OutputReport | None) -> str:
        if output is None or output.worst is None:
            return "·"
        text = f"{abs(output.worst.error_ulp):.4g}"
        return f"**{text}**" if output.exceeded else text

    for dtype in DTYPES:
        if any(sweep.dtype == dtype for sweep in found):
            yield ""
            yield from _table(found, dtype, cell)


def _correct(found: Sequence[Sweep]) -> Iterator[str]:
    yield ""
    yield "## Correctly rounded"
    yield ""
    yield "Share of the results that are, in percent, and the largest mean error of a binade, in ULP."

    def cell(output: OutputReport | None) -> str:
        if output is None or not output.measured:
            return "·"
        # A few inputs are no mean.
        biases = [b.sum / b.count / 2**16 for b in output.binades if b.count >= 64]
        worst = max(biases, key=abs, default=0.0)
        return f"{100 * output.correct / output.measured:.2f} ({worst:+.2g})"

    for dtype in DTYPES:
        if any(sweep.dtype == dtype for sweep in found):
            yield ""
            yield from _table(found, dtype, cell)


def _exceeded(found: Sequence[Sweep]) -> Iterator[str]:
    yield ""
    yield "## Where a bound is exceeded"
    yield ""
    yield (
        "`binary_cross_entropy` is a documented choice in PyTorch (CH-1, a logarithm clamped at −100), whose "
        "values and slopes are another definition's next to 0 and 1. Nowhere: "
        f"{', '.join(_without_exceeding(found))}. Every range below is an error or a choice of its backend "
        "(the last table says which), so that no bound had to be corrected."
    )
    yield ""
    yield "| backend | dtype | function | output | inputs | from | to | up to, in ULP |"
    yield "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
    for sweep in found:
        for output in sweep.outputs:
            for span in output.exceeded:
                yield _span(sweep, output, span)


def _without_exceeding(found: Sequence[Sweep]) -> list[str]:
    """The backends that keep every bound."""
    exceeding = {_name(sweep) for sweep in found if sweep.exceeding}
    return [name for name in dict.fromkeys(map(_name, found)) if name not in exceeding]


def _kept() -> Iterator[str]:
    yield ""
    yield "## What keeps it"
    yield ""
    yield (
        "Each behaviour that breaks a bound, and the cases that a new release is asked. "
        "`sigmoid/sweep-findings/left-of-minus-fourteen` keeps what breaks none: at −14.45 TensorFlow's "
        "float32 sigmoid errs by 8 roundoffs, for which the bound has room."
    )
    yield ""
    yield "| backend | dtype | function, output | what | cases | recorded as |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for found in FINDINGS:
        cells = (
            ", ".join(found.backends), ", ".join(found.dtypes), "<br>".join(found.outputs), found.what,
            "<br>".join(f"`{case}`" for case in found.cases), found.recorded,
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def _span(sweep: Sweep, output: OutputReport, span: Span) -> str:
    size = f"{span.worst_ulp:.4g}" if span.worst_ulp else "not finite"
    cells = (
        _name(sweep), sweep.dtype, sweep.subject, output.output, f"{span.count:,}", span.first.number,
        span.last.number, size,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    written = page(sweeps())
    if "--write" in sys.argv:
        PAGE.write_text(written, encoding="utf-8")
    else:
        print(written, end="")
