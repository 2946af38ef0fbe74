"""Write what docs/speed.md takes from benchmarks/results/: python -m benchmarks.page

``cpu.json`` and ``numpy.json`` are files of ``lossproof bench --json`` (``condense.py`` makes them small),
``agreement.json`` is kept by ``agreement.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lossproof.bench.compare import by_key, copy_share, read_samples, rows
from lossproof.bench.stats import change
from lossproof.bench.timings import Benchmark, Timings

from .agreement import agreement, halves, load

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
# What follows a mark, to the next heading of the second level, is written anew.
MARK = "<!-- python -m benchmarks.page writes the rest of this section from benchmarks/results/{} -->"


def cell(row: Benchmark | None) -> str:
    """Median with quartiles, and copying as many bytes over the time with its interval."""
    if row is None:
        return "–"
    stats, extra = row.stats, row.extra_info
    share = copy_share(row)
    times = f"{1e3 * stats.median:.3g} ({1e3 * stats.q1:.3g}–{1e3 * stats.q3:.3g})"
    mark = f" *{', '.join(extra.wrong)} wrong*" if extra.wrong else ""
    return f"{times}; {100 * share.ratio:.3g} % [{100 * share.low:.3g}, {100 * share.high:.3g}]{mark}"


def mebibytes(row: Benchmark) -> str:
    """Peak memory, where it is known."""
    peak = row.extra_info.peak_bytes
    return "" if peak is None else f"{peak / 2**20:.3g}"


def backends(timings: Timings) -> Iterator[str]:
    """One table per workload and dtype."""
    found = by_key(timings)
    threads = list(dict.fromkeys(key[3] for key in found))
    columns = [(d, t) for d in ("forward", "forward+backward") for t in threads]
    for workload in dict.fromkeys(key[1] for key in found):
        yield f"\n### {workload}\n"
        heads = [f"{d}, {t} thread{'s' if t > 1 else ''}" for d, t in columns]
        yield f"| backend | {' | '.join(heads)} | first call (s) | peak MiB |"
        yield "| --- |" + " --- |" * (len(heads) + 2)
        for adapter in dict.fromkeys(key[0] for key in found if key[1] == workload):
            own = [found.get((adapter, workload, d, t)) for d, t in columns]
            last = next(row for row in reversed(own) if row is not None)
            extra = last.extra_info
            cells = [*map(cell, own), f"{extra.first_call_s:.3g}", mebibytes(last)]
            yield f"| {extra.backend} | {' | '.join(cells)} |"


def reference(timings: Timings) -> Iterator[str]:
    """The NumPy adapter beside what it was, SciPy and scikit-learn: one row per workload and direction."""
    found, starts = by_key(timings), rows(timings)
    heads = [
        "workload",
        "before",
        "now",
        "SciPy",
        "now / SciPy",
        "scikit-learn",
        "peak MiB of the first three",
    ]
    yield f"\n| {' | '.join(heads)} |\n|{' --- |' * len(heads)}"
    for name, workload, direction, threads in found:
        if name != "numpy":
            continue
        before, scipy, sklearn = (
            (other, workload, direction, threads) for other in ("numpy-before", "scipy", "sklearn")
        )
        now = (name, workload, direction, threads)
        ratio = change(starts[now], starts[scipy]).text() if scipy in found else ""
        peaks = ", ".join(mebibytes(found[key]) for key in (before, now, scipy) if key in found)
        cells = [f"{workload}, {direction}", *(cell(found.get(key)) for key in (before, now, scipy))]
        yield f"| {' | '.join([*cells, ratio, cell(found.get(sklearn)), peaks])} |"


def agreed() -> Iterator[str]:
    """How far the two runs that were kept agree, and the halves of each."""
    runs = load([RESULTS / "agreement.json"], "numpy")
    both = agreement(*runs)
    (early_1, turns_1), (early_2, turns_2) = map(halves, runs)
    yield (
        f"\nOf {len(both.factors)} ratios in the two runs, {both.within} agree within 5 %, half of them "
        f"within {both.percent(0.5):.1f} %, nine in ten within {both.percent(0.9):.1f} %, all within "
        f"{both.percent(1):.1f} %. Within one run, its first starts and its last agree within 5 % in "
        f"{early_1.within} and {early_2.within} of them, every second start and the others in "
        f"{turns_1.within} and {turns_2.within}."
    )


def replaced(text: str, file: str, lines: Iterable[str]) -> str:
    """The page with these lines after the mark of a file."""
    mark = MARK.format(file)
    start = text.index(mark) + len(mark)
    following = text.find("\n## ", start)
    after = "" if following < 0 else text[following:]
    return text[:start] + "\n" + "\n".join(lines) + "\n" + after


def renewed(text: str) -> str:
    """The page with everything that is in benchmarks/results/."""
    text = replaced(text, "agreement.json", agreed())
    text = replaced(text, "numpy.json", reference(read_samples(RESULTS / "numpy.json")))
    return replaced(text, "cpu.json", backends(read_samples(RESULTS / "cpu.json")))


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
