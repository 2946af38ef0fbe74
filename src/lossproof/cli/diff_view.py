"""What changed between two runs, as text and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from lossproof.core.escape import markdown as code
from lossproof.results.diff import KINDS, MEANING, Change, versions
from lossproof.results.file import Results

MAX_ROWS = 100


def _backends(old: Results, new: Results) -> Iterator[str]:
    before, after = versions(old), versions(new)
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            yield f"{name}: {'new' if was is None else 'gone'}"
        elif (was.version, was.device) != (now.version, now.device):
            yield f"{name}: {was.version} ({was.device}) → {now.version} ({now.device})"


def _counts(changes: Sequence[Change]) -> str:
    counts = Counter(change.kind for change in changes)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]) or "no change"


def text(old: Results, new: Results, changes: Sequence[Change]) -> Iterator[str]:
    yield from _backends(old, new)
    for kind in KINDS:
        own = [change for change in changes if change.kind == kind]
        if own:
            yield from ("", f"{len(own)} {MEANING[kind]}")
        for change in own[:MAX_ROWS]:
            r = change.record
            yield f"  {r.adapter}  {r.case} {r.dtype} {r.output}  ({r.clause})  {change.text()}"
        if len(own) > MAX_ROWS:
            yield f"  … and {len(own) - MAX_ROWS} more; --format json has them all"
    yield from ("", _counts(changes))


def markdown(old: Results, new: Results, changes: Sequence[Change]) -> Iterator[str]:
    yield f"### lossproof: {_counts(changes)}"
    yield from ("", *(f"- {code(line)}" for line in _backends(old, new)))
    for kind in KINDS:
        own = [change for change in changes if change.kind == kind]
        if not own:
            continue
        opened = " open" if kind == "worse" else ""
        yield from ("", f"<details{opened}><summary>{len(own)} {MEANING[kind]}</summary>", "")
        yield from ("| backend | case | dtype | output | clause | |", "| --- | --- | --- | --- | --- | --- |")
        for change in own[:MAX_ROWS]:
            r = change.record
            # The others have the form of what they are.
            cells = (code(r.adapter), code(r.case), r.dtype, r.output, r.clause, code(change.text()))
            yield f"| {' | '.join(cells)} |"
        if len(own) > MAX_ROWS:
            yield from ("", f"… and {len(own) - MAX_ROWS} more")
        yield from ("", "</details>")
