"""A picture of timings: a panel per workload and number of threads, a bar per backend and direction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossproof.bench.timings import Benchmark, Timings
from lossproof.core.files import check_writable, replacing
from lossproof.core.install import install
from lossproof.errors import LossproofError

KINDS = (".png", ".svg")
_COLOURS = {"forward": "#3b7dd8", "forward+backward": "#c2571a"}


def check(path: Path) -> None:
    """Refuse a picture that could not be drawn, before anything is measured.

    Raises:
        LossproofError: it is neither PNG nor SVG, cannot be written, or Matplotlib is not installed.
    """
    if path.suffix.lower() not in KINDS:
        raise LossproofError(f"{path}: a picture is a .png or .svg file")
    check_writable(path)
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise LossproofError(f"--plot needs Matplotlib: {install('report')}") from None


def plot(timings: Timings, path: Path) -> None:
    """Draw medians with their quartiles, in milliseconds on a logarithmic scale.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    panels = list(timings.groups())
    heights = [0.8 + 0.24 * len(rows) for _, rows in panels]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)
    for (name, rows), (own,) in zip(panels, axes, strict=True):
        _draw(own, name, rows)
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format=path.suffix.lower().removeprefix("."))


def _draw(axes: Any, name: str, rows: Sequence[Benchmark]) -> None:
    """One panel; the dashed lines are what copying as many bytes takes."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for place, row in enumerate(rows):
        stats, direction = row.stats, row.extra_info.direction
        axes.barh(
            place, 1e3 * stats.median, height=0.8, color=_COLOURS.get(direction, "#777777"),
            xerr=[[1e3 * (stats.median - stats.q1)], [1e3 * (stats.q3 - stats.median)]],
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#777777"},
        )  # fmt: skip
        if row.extra_info.bandwidth_limit_s:
            limit = 1e3 * row.extra_info.bandwidth_limit_s
            axes.plot([limit, limit], [place - 0.45, place + 0.45], color="#777777", linestyle="--", lw=1)
    labels = [f"{row.extra_info.backend} {row.extra_info.direction}" for row in rows]
    axes.set_yticks(range(len(rows)), [label.replace("$", r"\$") for label in labels])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("ms; dashed: copying as many bytes")
    axes.set_title(name.replace("$", r"\$"), loc="left", fontsize=10)
