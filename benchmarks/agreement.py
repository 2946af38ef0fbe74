"""How far two runs of ``lossproof bench --json`` agree in their ratios to one backend.

python benchmarks/agreement.py numpy OLD.json NEW.json: one run after another
python benchmarks/agreement.py numpy RUN.json: its first starts against its last, and every second
start against the others, between which a machine that drifts makes no difference
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossproof.bench.compare import Key, by_key, read
from lossproof.bench.stats import start_medians

Ratios = Mapping[Key, npt.NDArray[np.float64]]


def ratios(path: Path, reference: str) -> Ratios:
    """Each backend's time over the reference's in the same rounds: one number, the median, for each start."""
    found = by_key(read(path))
    own = {}
    for key, row in found.items():
        other = found.get((reference, *key[1:]))
        starts = row["extra_info"]["starts"]
        # A backend that failed on the way has other rounds, which pair with none.
        if key[0] != reference and other and other["extra_info"]["starts"] == starts:
            pairs = np.asarray(row["stats"]["data"]) / np.asarray(other["stats"]["data"])
            own[key] = start_medians(pairs, starts)
    return own


def chosen(ratios: Ratios, starts: slice) -> Ratios:
    """Some of the starts alone."""
    return {key: values[starts] for key, values in ratios.items()}


def show(heading: str, one: Ratios, other: Ratios) -> None:
    """How many medians over starts agree, and the worst."""
    medians = {key: (float(np.median(one[key])), float(np.median(other[key]))) for key in one if key in other}
    factors = {key: max(pair) / min(pair) - 1 for key, pair in medians.items()}
    values = np.array(list(factors.values()))
    percent = 100 * np.array([np.median(values), np.percentile(values, 90), values.max()])
    print(f"{heading}: {len(values)} ratios, {int((values <= 0.05).sum())} agree within 5 %")
    print("half of them within {:.1f} %, nine in ten within {:.1f} %, all within {:.1f} %:".format(*percent))
    for key in sorted(factors, key=lambda key: -factors[key])[:5]:
        print(f"  {', '.join(map(str, key))}: {medians[key][0]:.3g} and {medians[key][1]:.3g}")


def main() -> None:
    """Read one file or two."""
    reference, *paths = sys.argv[1:]
    first, *second = (ratios(Path(path), reference) for path in paths)
    if second:
        show("two runs", first, second[0])
        return
    half = min(map(len, first.values())) // 2
    show("first and last starts", chosen(first, slice(half)), chosen(first, slice(half, None)))
    show("every second start", chosen(first, slice(0, None, 2)), chosen(first, slice(1, None, 2)))


if __name__ == "__main__":
    main()
