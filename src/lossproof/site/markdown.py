"""Specification pages as HTML: CommonMark with tables, and mathematics as MathML."""

from __future__ import annotations

import re
from functools import cache
from html import escape

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

_CLAUSE = re.compile(r"<p><strong>([A-Z][A-Z0-9]*-[0-9]+)\.</strong>")


@cache
def _math(latex: str, block: bool) -> str:
    try:
        return str(convert(latex, display="block" if block else "inline"))
    except Exception:  # what it cannot read is shown as it is written
        return f"<code>{escape(latex)}</code>"


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    dollarmath_plugin(
        parser,
        allow_digits=False,
        renderer=lambda content, options: _math(content, options["display_mode"]),
    )
    return parser


def to_html(text: str) -> str:
    """A page or a paragraph. HTML in the text is shown, not used."""
    html: str = _parser().render(text)
    return html


def inline(text: str) -> str:
    """One paragraph without its ``<p>``, on a page beside the folder of the specification."""
    html: str = _parser().renderInline(text)
    return re.sub(r'href="([a-z0-9-]+)\.md(#[A-Za-z0-9-]+)?"', r'href="../spec/\1.html\2"', html)


def with_anchors(html: str) -> str:
    """Clauses get their number as anchor, and links between pages lead to their HTML.

    What lies outside of the specification is not in the site: of such a link the text is left.
    """
    html = re.sub(r'<a href="\.\./[^"]*">(.*?)</a>', r"\1", html)
    html = _CLAUSE.sub(r'<p id="\1" class="clause"><a href="#\1"><strong>\1.</strong></a>', html)
    return re.sub(r'href="([a-z0-9-]+)\.md(#[A-Za-z0-9-]+)?"', r'href="\1.html\2"', html)
