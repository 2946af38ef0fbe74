"""How far two files of ``lossproof bench --json`` agree in their ratios to one backend.

python benchmarks/agreement.py OLD.json NEW.json numpy
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lossproof.bench.compare import Key, key_of, read
from lossproof.bench.stats import start_medians


def ratios(path: Path, reference: str) -> dict[Key, float]:
    """Each backend's time over the reference's in the same rounds, by the median over starts."""
    found = {key_of(row): row for row in read(path)["benchmarks"]}
    own = {}
    for key, row in found.items():
        other = found.get((reference, *key[1:]))
        starts = row["extra_info"]["starts"]
        # A backend that failed on the way has other rounds, which pair with none.
        if key[0] != reference and other and other["extra_info"]["starts"] == starts:
            pairs = np.asarray(row["stats"]["data"]) / np.asarray(other["stats"]["data"])
            own[key] = float(np.median(start_medians(pairs, starts)))
    return own


def main() -> None:
    """Print how many agree, and the worst."""
    old, new = (ratios(Path(argument), sys.argv[3]) for argument in sys.argv[1:3])
    factors = {key: max(new[key] / old[key], old[key] / new[key]) - 1 for key in new if key in old}
    values = np.array(list(factors.values()))
    print(f"{len(values)} ratios to {sys.argv[3]}, {int((values <= 0.05).sum())} agree within 5 %")
    percent = 100 * np.array([np.median(values), np.percentile(values, 90), values.max()])
    print("half of them within {:.1f} %, nine in ten within {:.1f} %, all within {:.1f} %:".format(*percent))
    for key in sorted(factors, key=lambda key: -factors[key])[:5]:
        print(f"  {', '.join(map(str, key))}: {old[key]:.3g} and {new[key]:.3g}")


if __name__ == "__main__":
    main()
