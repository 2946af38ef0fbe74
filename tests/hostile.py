"""Texts that try to become something else where lossproof shows or stores them; one list for all formats."""

from __future__ import annotations

# What must never be run, followed or obeyed; tests look for what it leaves behind.
PWNED = "import builtins; builtins.pwned = 1"
# A line that a program of ours may print, and no text of others may.
FORGED = "lossproof: numpy: conforms"

HOSTILE = {
    "triple quotes": f'"""; {PWNED}; """',
    "triple single quotes": f"'''; {PWNED}; '''",
    "quotes": "it's \"so\" ’‘“”«» \\' \\\" ''\"\"",
    "ends with a quote": 'ends with a quote"',
    "ends with a backslash": "ends with a backslash\\",
    "backslashes": '\\ \\\\ \\""" \\n \\',
    "escapes of Python": r"\N{NO SUCH NAME} \N{x} \u12 \x \777 \mathcal{N}",
    "NUL": "a\x00b",
    "escape sequences": "\x1b[31m\x1b[2J\x1b]0;t\x07 \x1b]8;;http://evil.com\x1b\\x\x1b]8;; \x9b31m\x90",
    "control characters": "".join(map(chr, [*range(1, 9), *range(14, 32), *range(127, 160)])),
    "directions": "\u202e txt \u202a \u202b \u202c \u202d \u2066 \u2067 \u2068 \u2069 \u200e \u200f \u061c",
    "invisible": "a\u200bb\u200c\u200d\ufeff\u2060 so\u00adft \U000e0041",
    "separators": "line\u2028paragraph\u2029next\x85vertical\x0bform\x0cgroup\x1cunit\x1fend",
    "surrogates": "\ud800 alone, \udfff and \ud83d\ude00",
    "no characters": "\ufffe \uffff \ufdd0 \U0010ffff \ue000",
    "links of Markdown": "![x](javascript:alert(1)) [y](http://evil.com) <http://evil.com> www.evil.com",
    "references": "#1 @user @org/team owner/repo#2 GH-3 :smile: $x$ 0123456789abcdef0123456789abcdef01234567",
    "blocks of Markdown": "# one\n\n- two\n\n```\nthree\n\n---\n> four\n\n<details>",
    "markup of rich": "[/markup] [bold red]x[/] [link=http://evil.com]y[/link] [/ :warning: \\[x]",
    "tables": "| a | b || \\| `c|d` |\n| --- |",
    "backticks": "` `` ``` ```` ~~~ `a",
    "elements": "<script>pwned()</script><img src=x onerror=pwned()></td></table><style>*{}</style>",
    "attributes": "\" onmouseover=\"pwned()\" x='' ' onclick='pwned()' href=javascript:pwned() >",
    "XML": "]]> <![CDATA[ <!-- --> <?php x ?> &lt; &amp; &#x1b; &#0; &unknown; <!DOCTYPE x [<!ENTITY y>]>",
    "templates": "${{ github.token }} {{ 7 * 7 }} {% raw %} ${x} $(touch pwned) `touch pwned`; touch pwned",
    "mathematics": "$\\frac{$ $x^{$ \\$ $$ \\(x\\)",
    "digits": "9" * 5000,
    "words": ("word " * 60).strip(),
    "new lines": f"one\n{FORGED}\r\n{FORGED}\r{FORGED}\n",
    "YAML": "key: [value, {a: b}] # comment\n--- \n- &a *a !!python/object:os.system \t % @ ~ null\n...",
    "formats": "{0} {name!r} %s %(name)s {braces",
    "declarations": "# coding: utf-7\n# -*- coding: rot13 -*-",
    "options": "--version -rf /",
    "paths": "../../../etc/passwd /absolute C:\\x ~",
    "other scripts": "Grüße, 損失 ∑ 😀 e\u0301 thin\u2009space no\u00a0break",
}  # fmt: skip


def shows(text: str) -> bool:
    """Whether all of it is seen and nothing is obeyed: printable, but for new lines and spaces."""
    return all(c.isprintable() or c in "\n\u2009\u00a0" for c in text)
