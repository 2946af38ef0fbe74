"""Write the tables of docs/speed.md from a file of ``lossproof bench --json``.

python benchmarks/page.py benchmarks/results/cpu.json
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossproof.bench.compare import read
from lossproof.bench.stats import paired

PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
MARK = "<!-- tables: python benchmarks/page.py FILE -->"


def cell(row: Mapping[str, Any] | None) -> str:
    """Median with quartiles, and copying as many bytes over the time with its interval."""
    if row is None:
        return "–"
    stats, extra = row["stats"], row["extra_info"]
    share = paired(extra["copy_s"], stats["data"], extra["starts"])
    times = f"{1e3 * stats['median']:.3g} ({1e3 * stats['q1']:.3g}–{1e3 * stats['q3']:.3g})"
    wrong = [name for name, verdict in extra["verdicts"].items() if verdict not in ("pass", "variant")]
    mark = f" *{', '.join(wrong)} wrong*" if wrong else ""
    return f"{times}; {100 * share.ratio:.3g} % [{100 * share.low:.3g}, {100 * share.high:.3g}]{mark}"


def tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One table per workload and dtype."""
    found = {
        (e["workload"], e["adapter"], e["direction"], e["threads"]): row
        for row in rows
        for e in [row["extra_info"]]
    }
    threads = list(dict.fromkeys(key[3] for key in found))
    columns = [(d, t) for d in ("forward", "forward+backward") for t in threads]
    for workload in dict.fromkeys(key[0] for key in found):
        yield f"\n### {workload}\n"
        heads = [f"{d}, {t} thread{'s' if t > 1 else ''}" for d, t in columns]
        yield f"| backend | {' | '.join(heads)} | first call (s) | peak MiB |"
        yield "| --- |" + " --- |" * (len(heads) + 2)
        for adapter in dict.fromkeys(key[1] for key in found if key[0] == workload):
            own = [found.get((workload, adapter, d, t)) for d, t in columns]
            last = next(row for row in reversed(own) if row is not None)["extra_info"]
            peak = last.get("peak_bytes")
            cells = [
                *map(cell, own),
                f"{last['first_call_s']:.3g}",
                "" if peak is None else f"{peak / 2**20:.3g}",
            ]
            yield f"| {last['backend']} | {' | '.join(cells)} |"


def main() -> None:
    """Replace what follows the mark."""
    document = read(Path(sys.argv[1]))
    text = PAGE.read_text(encoding="utf-8")
    before = text[: text.index(MARK) + len(MARK)]
    PAGE.write_text(before + "\n" + "\n".join(tables(document["benchmarks"])) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
