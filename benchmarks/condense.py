"""Keep of files of ``lossproof bench --json`` what docs/speed.md, the site and ``--compare`` need.

python benchmarks/condense.py FILE…: the files are written anew, about a tenth as large. Samples become
their quartiles, and one ratio to copying for each start; numbers keep six digits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossproof.bench.compare import start_ratios
from lossproof.bench.timings import Benchmark, read
from lossproof.core.validate import fit

STATS = ("min", "q1", "median", "q3", "rounds")
EXTRA = (
    "adapter", "backend", "device", "workload", "direction", "threads", "bytes", "first_call_s",
    "bandwidth_limit_s", "peak_bytes", "verdicts",
)  # fmt: skip


def condensed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with less in each row."""
    return {**document, "benchmarks": [_row(row) for row in document["benchmarks"]]}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    extra = {name: shorter(row["extra_info"][name]) for name in EXTRA}
    ratios = start_ratios(fit(row, Benchmark))
    return {
        "group": row["group"],
        "stats": {name: shorter(row["stats"][name]) for name in STATS},
        "extra_info": extra | {"time_over_copy": [shorter(ratio) for ratio in ratios]},
    }


def shorter(value: Any) -> Any:
    """A float with six digits: the three that are shown do not depend on the rest."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def text(document: Mapping[str, Any]) -> str:
    """JSON with a line for each row."""
    head = {name: value for name, value in document.items() if name != "benchmarks"}
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in document["benchmarks"])
    return json.dumps(head, indent=1, allow_nan=False)[:-2] + f',\n "benchmarks": [\n{rows}\n ]\n}}\n'


def main() -> None:
    """Condense the files."""
    for path in map(Path, sys.argv[1:]):
        read(path)  # refuses what is no file of timings
        document = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(text(condensed(document)), encoding="utf-8")


if __name__ == "__main__":
    main()
