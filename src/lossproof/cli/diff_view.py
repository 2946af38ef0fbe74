"""What changed between two runs, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from lossproof.results.diff import KINDS, MEANING, Changes, versions
from lossproof.results.stream import StoredResults

MAX_ROWS = 100


def _backends(old: StoredResults, new: StoredResults) -> Iterator[str]:
    before, after = versions(old.adapters), versions(new.adapters)
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            yield f"{name}: {'new' if was is None else 'gone'}"
        elif (was.version, was.device) != (now.version, now.device):
            yield f"{name}: {was.version} ({was.device}) → {now.version} ({now.device})"


def _counts(changes: Changes) -> str:
    counts = changes.counts
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]) or "no change"


def text(old: StoredResults, new: StoredResults, changes: Changes) -> Iterator[str]:
    yield from _backends(old, new)
    for kind in KINDS:
        count = changes.counts[kind]
        if count:
            yield f"\n{count} {MEANING[kind]}"
        for change in islice(changes.of(kind), MAX_ROWS):
            r = change.record
            yield f"  {r.adapter}  {r.case} {r.dtype} {r.output}  ({r.clause})  {change.text()}"
        if count > MAX_ROWS:
            yield f"  … and {count - MAX_ROWS} more; --format json has them all"
    yield f"\n{_counts(changes)}"


def markdown(old: StoredResults, new: StoredResults, changes: Changes) -> Iterator[str]:
    yield f"### lossproof: {_counts(changes)}"
    yield from ("", *(f"- {_cell(line)}" for line in _backends(old, new)))
    for kind in KINDS:
        count = changes.counts[kind]
        if not count:
            continue
        opened = " open" if kind == "worse" else ""
        yield f"\n<details{opened}><summary>{count} {MEANING[kind]}</summary>\n"
        yield "| backend | case | dtype | output | clause | |\n| --- | --- | --- | --- | --- | --- |"
        for change in islice(changes.of(kind), MAX_ROWS):
            r = change.record
            cells = (r.adapter, f"`{r.case}`", r.dtype, r.output, r.clause, change.text())
            yield f"| {' | '.join(map(_cell, cells))} |"
        if count > MAX_ROWS:
            yield f"\n… and {count - MAX_ROWS} more"
        yield "\n</details>"


def _cell(text: str) -> str:
    """Text of a results file as text of a table: it comes from anyone."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("@", "&#64;")
    return " ".join(escaped.split())
