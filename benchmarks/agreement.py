"""How far two runs of ``lossproof bench --json`` agree in their ratios to one backend.

python benchmarks/agreement.py OLD.json NEW.json [--reference numpy]: one run after another
python benchmarks/agreement.py RUN.json: its first starts against its last, and every second start against
the others, between which a machine that drifts makes no difference

--write FILE keeps the ratios, which may be given instead of the runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossproof.bench.compare import by_key, read_samples
from lossproof.bench.stats import start_medians

# By backend, workload, direction and number of threads: one ratio for each start.
Ratios = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Agreement:
    """How far the medians over starts agree: the larger over the smaller, less one, by key."""

    one: Mapping[str, float]
    other: Mapping[str, float]
    factors: Mapping[str, float]

    @property
    def within(self) -> int:
        """How many agree within 5 %."""
        return sum(factor <= 0.05 for factor in self.factors.values())

    def percent(self, share: float) -> float:
        """What the share of the ratios agrees within."""
        return 100 * float(np.percentile(list(self.factors.values()), 100 * share))


def ratios(path: Path, reference: str) -> Ratios:
    """Each backend's time over the reference's in the same rounds: one number, the median, for each start."""
    found = by_key(read_samples(path))
    own = {}
    for key, row in found.items():
        other = found.get((reference, *key[1:]))
        starts = row.extra_info.starts
        # A backend that failed on the way has other rounds, which pair with none.
        if key[0] != reference and other and other.extra_info.starts == starts:
            pairs = np.asarray(row.stats.data) / np.asarray(other.stats.data)
            own[", ".join(map(str, key))] = start_medians(pairs, starts)
    return own


def load(paths: Sequence[Path], reference: str) -> list[Ratios]:
    """The ratios of runs, or those that were kept."""
    document = json.loads(paths[0].read_text(encoding="utf-8"))
    if "runs" in document:
        return [{key: np.asarray(values) for key, values in run.items()} for run in document["runs"]]
    return [ratios(path, reference) for path in paths]


def kept(reference: str, runs: Sequence[Ratios]) -> str:
    """JSON with a line for each key."""
    texts = (
        ",\n".join(f"{json.dumps(key)}: {[float(f'{x:.5g}') for x in values]}" for key, values in run.items())
        for run in runs
    )
    return f'{{"reference": "{reference}", "runs": [{{\n' + "\n},{\n".join(texts) + "\n}]}\n"


def agreement(one: Ratios, other: Ratios) -> Agreement:
    """Of what both have."""
    first, second = ({key: float(np.median(run[key])) for key in one if key in other} for run in (one, other))
    return Agreement(
        first, second, {k: max(first[k], second[k]) / min(first[k], second[k]) - 1 for k in first}
    )


def halves(run: Ratios) -> tuple[Agreement, Agreement]:
    """The first starts against the last, and every second start against the others."""
    half = min(map(len, run.values())) // 2

    def chosen(starts: slice) -> Ratios:
        return {key: values[starts] for key, values in run.items()}

    return (
        agreement(chosen(slice(half)), chosen(slice(half, None))),
        agreement(chosen(slice(0, None, 2)), chosen(slice(1, None, 2))),
    )


def show(heading: str, found: Agreement) -> None:
    """How many agree, and the worst."""
    print(f"{heading}: {len(found.factors)} ratios, {found.within} agree within 5 %")
    print(
        f"half of them within {found.percent(0.5):.1f} %, nine in ten within {found.percent(0.9):.1f} %, "
        f"all within {found.percent(1):.1f} %:"
    )
    for key in sorted(found.factors, key=lambda key: -found.factors[key])[:5]:
        print(f"  {key}: {found.one[key]:.3g} and {found.other[key]:.3g}")


def main() -> None:
    """Read one file or two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--reference", default="numpy")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    runs = load(options.files, options.reference)
    if options.write:
        options.write.write_text(kept(options.reference, runs), encoding="utf-8")
    if len(runs) > 1:
        show("two runs", agreement(*runs[:2]))
    else:
        by_time, by_turns = halves(runs[0])
        show("first and last starts", by_time)
        show("every second start", by_turns)


if __name__ == "__main__":
    main()
