"""Charts as SVG that takes its colours from the page: text and lines in ``currentColor``."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl

from lossproof.core.escape import html, visible
from lossproof.core.text import shortened

mpl.use("svg")
import matplotlib.pyplot as plt

_COLOURS = ("#3b7dd8", "#c2571a")  # read on white and on black alike


@dataclass(frozen=True)
class Bar:
    """A median with its quartiles, in seconds."""

    label: str
    series: str
    median: float
    low: float
    high: float


def bar_chart(title: str, bars: Sequence[Bar], limit: float | None, salt: str = "") -> str:
    """Horizontal bars of milliseconds with their quartiles, and a line at the limit of bandwidth.

    ``title`` names the chart for those who do not see it; with ``salt`` it tells apart the ids of charts
    that stand on one page.
    """
    labels = list(dict.fromkeys(bar.label for bar in bars))
    series = list(dict.fromkeys(bar.series for bar in bars))
    height = 0.8 / len(series)
    with mpl.rc_context({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": salt + title}):
        figure, axes = plt.subplots(figsize=(7.5, 0.7 + 0.22 * len(labels) * len(series)))
        for number, name in enumerate(series):
            own = {bar.label: bar for bar in bars if bar.series == name}
            places = [i + number * height for i, label in enumerate(labels) if label in own]
            rows = [own[label] for label in labels if label in own]
            axes.barh(
                places,
                [1e3 * bar.median for bar in rows],
                height=height * 0.9,
                color=_COLOURS[number % 2],
                label=_plain(name),
                xerr=[
                    [1e3 * (bar.median - bar.low) for bar in rows],
                    [1e3 * (bar.high - bar.median) for bar in rows],
                ],
                error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#777777"},
            )
        if limit:
            axes.axvline(1e3 * limit, color="#777777", linestyle="--", linewidth=1, label="copy bandwidth")
        places = [i + height * (len(series) - 1) / 2 for i in range(len(labels))]
        axes.set_yticks(places, list(map(_plain, labels)))
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds, median and quartiles (logarithmic)")
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
    return _for_page(buffer.getvalue(), title)


def _plain(text: str) -> str:
    """A label; what stands between two dollar signs would be mathematics."""
    return shortened(visible(text)).replace("$", r"\$")


def _for_page(svg: str, title: str) -> str:
    svg = svg[svg.index("<svg") :]
    # Every chart has a figure_1; only what is referred to needs its id.
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"#000000|black", "currentColor", svg)
    # Text is drawn black unless it says otherwise.
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html(title)}" fill="currentColor" ', 1)
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
