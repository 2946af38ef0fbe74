"""What sweeps found: docs/sweep-results.md from results/sweeps/.

``python -m tests.sweep_results`` prints the page; ``--write`` stores it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lossproof.sweeps.report import OutputReport, Span, Sweep, read

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "sweep-results.md"
FOLDER = ROOT / "results" / "sweeps"
# The order of the columns; others follow.
ORDER = ("numpy", "torch", "torch-compile", "tensorflow", "tensorflow-xla", "keras", "jax", "optax")
DTYPES = ("float16", "bfloat16", "float32")


def files() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def sweeps() -> list[Sweep]:
    """All committed sweeps, by backend."""
    found = [sweep for file in files() for sweep in read(file).sweeps]
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(found, key=lambda s: (place.get(s.adapter.name, len(place)), s.adapter.name))


def page(found: Sequence[Sweep]) -> str:
    return "\n".join([*_head(found), *_worst(found), *_correct(found), *_exceeded(found)]) + "\n"


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
        "values and slopes are another definition's next to 0 and 1."
    )
    yield ""
    yield "| backend | dtype | function | output | inputs | from | to | up to, in ULP |"
    yield "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
    for sweep in found:
        for output in sweep.outputs:
            for span in output.exceeded:
                yield _span(sweep, output, span)


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
