"""The conformance figure as an SVG badge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lossproof.core.escape import html
from lossproof.core.files import write
from lossproof.core.verdicts import FAILURES, UNJUDGED, Verdict

_GREEN, _YELLOW, _RED = "#2a7f3b", "#8a6d00", "#b42318"

_TEMPLATE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" \
aria-label="{label}: {text}">
<title>{label}: {text}</title>
<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#444"/>\
<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{label_x}" y="14" textLength="{label_length}">{label}</text>
<text x="{text_x}" y="14" textLength="{text_length}">{text}</text>
</g>
</svg>
"""


def conformance(verdicts: Mapping[Verdict, int]) -> tuple[str, str]:
    """The figure, the share of judged outputs that are right, and its colour.

    Judged are all but those that the backend does not support. Red: something fails, or nothing was
    judged; yellow: what is wrong is recorded or only recommended; green: all is right.
    """
    judged = sum(number for verdict, number in verdicts.items() if verdict not in UNJUDGED)
    if not judged:
        return "nothing judged", _RED
    right = verdicts.get(Verdict.PASS, 0) + verdicts.get(Verdict.VARIANT, 0)
    if right == judged:
        return "100 %", _GREEN
    # Rounded down, so that 100 % means all of them.
    figure = f"{1000 * right // judged / 10:.1f} %"
    return figure, _RED if any(verdicts.get(verdict) for verdict in FAILURES) else _YELLOW


def write_badge(path: Path, verdicts: Mapping[Verdict, int], label: str = "lossproof") -> None:
    """Write the badge.

    Raises:
        InputError: the file cannot be written.
    """
    text, colour = conformance(verdicts)
    label_length, text_length = 7 * len(label), 7 * len(text)
    left, right = label_length + 10, text_length + 10
    svg = _TEMPLATE.format(
        width=left + right, left=left, right=right, colour=colour, label=html(label), text=html(text),
        label_x=left / 2, text_x=left + right / 2, label_length=label_length, text_length=text_length,
    )  # fmt: skip
    write(path, svg)
