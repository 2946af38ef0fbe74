"""What changed between two runs, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from lossproof.core.escape import markdown as code
from lossproof.results.diff import KINDS, MEANING, Changes, versions
from lossproof.results.stream import StoredResults
from lossproof.results.suites import differing

MAX_ROWS = 100


def _backends(old: StoredResults, new: StoredResults) -> Iterator[str]:
    before, after = versions(old.adapters), versions(new.adapters)
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            yield f"{name}: {'new' if was is None else 'gone'}"
        elif (was.version, was.device) != (now.version, now.device):
            yield f"{name}: {was.version} ({was.device}) → {now.version} ({now.device})"


def _versions(old: StoredResults, new: StoredResults) -> Iterator[str]:
    """What the runs were of: the suite, where it is another, and the backends."""
    suites = differing(old.environment, new.environment)
    if suites is not None:
        yield suites
    yield from _backends(old, new)


def _counts(changes: Changes) -> str:
    counts = changes.counts
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]) or "no change"


def text(old: StoredResults, new: StoredResults, changes: Changes) -> Iterator[str]:
    yield from _versions(old, new)
    for kind in KINDS:
        count = changes.counts[kind]
        if count:
            yield from ("", f"{count} {MEANING[kind]}")
        for change in islice(changes.of(kind), MAX_ROWS):
            r = change.record
            yield f"  {r.adapter}  {r.case} {r.dtype} {r.output}  ({r.clause})  {change.text()}"
        if count > MAX_ROWS:
            yield f"  … and {count - MAX_ROWS} more; --format json has them all"
    yield from ("", _counts(changes))


def markdown(old: StoredResults, new: StoredResults, changes: Changes) -> Iterator[str]:
    yield f"### lossproof: {_counts(changes)}"
    yield from ("", *(f"- {code(line)}" for line in _versions(old, new)))
    for kind in KINDS:
        count = changes.counts[kind]
        if not count:
            continue
        opened = " open" if kind == "worse" else ""
        yield from ("", f"<details{opened}><summary>{count} {MEANING[kind]}</summary>", "")
        yield from ("| backend | case | dtype | output | clause | |", "| --- | --- | --- | --- | --- | --- |")
        for change in islice(changes.of(kind), MAX_ROWS):
            r = change.record
            # The others have the form of what they are.
            cells = (code(r.adapter), code(r.case), r.dtype, r.output, r.clause, code(change.text()))
            yield f"| {' | '.join(cells)} |"
        if count > MAX_ROWS:
            yield from ("", f"… and {count - MAX_ROWS} more")
        yield from ("", "</details>")
