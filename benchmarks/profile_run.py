"""Where the time of a full run goes, by stage, under Python's profiler.

python benchmarks/profile_run.py numpy
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
from pathlib import Path

from lossproof.cli.main import main

# Functions by file and name; a stage's time includes what its functions call.
STAGES = {
    "reading case files": [("read.py", "load_file")],
    "importing the framework": [("load.py", "load_adapter")],
    "building inputs, handing them over": [("call.py", "bind")],
    "the framework's calls": [("answer.py", "call_outputs")],
    "comparing": [("judge.py", "judge")],
    "records to disk": [("journal.py", "add"), ("run.py", "_write_files")],
    "tables": [("tally.py", "add"), ("terminal.py", "show_adapter"), ("terminal.py", "show_summary")],
}


def profile(adapter: str) -> tuple[dict[str, float], float]:
    """Seconds by stage, and of everything."""
    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["run", "-a", adapter, "--json", str(Path(folder) / "results.json")]
        profiler.runcall(main, arguments)
    # pstats keeps {(file, line, function): (calls, primitive calls, own time, cumulative time, callers)}.
    stats = pstats.Stats(profiler)
    found = {
        (Path(file).name, function): times[3]
        for (file, _, function), times in stats.stats.items()  # type: ignore[attr-defined]
        if "lossproof" in file
    }
    return (
        {stage: sum(found[place] for place in places) for stage, places in STAGES.items()},
        stats.total_tt,  # type: ignore[attr-defined]
    )


def run(adapter: str) -> None:
    """Print the stages as a table."""
    stages, whole = profile(adapter)
    stages["the rest"] = whole - sum(stages.values())
    print(f"| stage | {adapter}, s | share |\n| --- | --- | --- |")
    for stage, seconds in stages.items():
        print(f"| {stage} | {seconds:.2f} | {100 * seconds / whole:.0f} % |")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(name)
