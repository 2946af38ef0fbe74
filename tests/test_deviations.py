"""Every recorded deviation is shown by its standalone script, without lossproof."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest

from lossproof.case.read import load_cases
from lossproof.core.dtypes import INTEGER_TYPES
from lossproof.core.resources import folder
from lossproof.isolation.load import load_adapter
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.deviations import Deviation, load_deviations
from lossproof.registry.find import BUILTIN
from lossproof.registry.modes import KNOWN, joined, ranks_of, split
from lossproof.repro.script import reproduce
from tests.reproduction import run_script

# The line of an output that is not as defined, in a long or a short script.
WRONG = re.compile(r"^\S+: (fail|error|below|crash|WRONG)", re.M)
CASES = {case.id: case for case in load_cases()}


# What needs a device that a test machine may lack.
DEVICES = {"torch-cuda", "torch-mps", "torch-xpu", "jax-gpu", "jax-tpu", "tensorflow-gpu"}


def _names(deviation: Deviation, here: list[str]) -> list[str]:
    """The adapters that a deviation is of: those of its file, or those that it lists, modes among them."""
    every = [*here, *(joined(name, mode) for name in here for mode in KNOWN.get(name, ()))]
    named = [name for name in every if deviation.is_of(name)] if deviation.adapters else here
    # More ranks than two show what two do.
    return [name for name in named if ranks_of(split(name)[1]) <= 2]


def recorded() -> list[tuple[str, Deviation]]:
    """Pairs of adapter and deviation, for the frameworks that are installed."""
    pairs = []
    for path in sorted(folder("adapters").glob("*.deviations.yaml")):
        stem = path.name.split(".")[0]
        here = [name for name, row in BUILTIN.items() if row.module == f"lossproof.adapters.{stem}"]
        for deviation in load_deviations(path):
            # The adapters that are not built in are called like their frameworks.
            for name in _names(deviation, here or [stem]):
                plain = split(name)[0]
                requires = BUILTIN[plain].requires if plain in BUILTIN else plain
                if importlib.util.find_spec(requires) and plain not in DEVICES:
                    pairs.append((name, deviation))
    return pairs


@pytest.mark.parametrize(("name", "deviation"), recorded(), ids=lambda v: getattr(v, "id", v))
def test_the_script_shows_the_deviation(
    name: str, deviation: Deviation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, mode = split(name)
    several = ranks_of(mode) > 1
    # This process is no rank; the script starts them.
    loaded = load_adapter(load_adapter(plain).adapter or plain, mode=mode) if several else load_adapter(name)
    if loaded.adapter is None or deviation not in loaded.deviations.entries:
        pytest.skip(loaded.info.skipped or f"not recorded for {loaded.info.version}")
    places = [(CASES[id], where) for where in deviation.where for id in where.cases if id in CASES]
    # Not every case of a deviation is one that a mode has a meaning for.
    shown = False
    for case, where in places if mode else places[:1]:
        supported = [d for d in case.dtypes if d in loaded.adapter.dtypes or d in INTEGER_TYPES]
        of_a_law = any(output.startswith("law.") for output in where.outputs)
        script = reproduce(
            case, loaded.adapter, [*where.dtypes, *supported][0], misses_a_law=partial(bool, of_a_law)
        )
        if "killed by" in deviation.observed:
            path = tmp_path / "repro.py"
            path.write_text(script, encoding="utf-8")
            assert subprocess.run([sys.executable, str(path)], capture_output=True).returncode < 0
            return
        code: int | str
        if several:
            path = tmp_path / "repro.py"
            path.write_text(script, encoding="utf-8")
            ended = subprocess.run([sys.executable, str(path)], capture_output=True, text=True)
            code, printed = ended.returncode, ended.stdout
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code, printed = run_script(script)
        # A short script ends with what the framework raises where a value is due.
        raised = isinstance(code, str) or ": error: " in printed
        shown = raised or WRONG.search(printed) is not None
        if shown:
            assert code != 0
            assert not raised or re.search("fails|[Rr]aises", deviation.observed)
            break
    assert shown or deviation.sporadic


TFJS = Path(__file__).parent.parent / "adapters" / "tfjs"
COMMANDS = {"tfjs": f"node {TFJS / 'adapter.mjs'}", "tfjs-wasm": f"node {TFJS / 'adapter.mjs'} wasm"}


def recorded_for_tensorflow_js() -> list[tuple[str, Deviation]]:
    if not (TFJS / "node_modules").is_dir():
        return []  # npm install --prefix adapters/tfjs
    entries = load_deviations(TFJS / "adapter.deviations.yaml")
    return [(name, entry) for entry in entries for name in entry.adapters or COMMANDS]


@pytest.mark.parametrize(
    ("name", "deviation"), recorded_for_tensorflow_js(), ids=lambda v: getattr(v, "id", v)
)
def test_the_script_shows_the_deviation_of_a_command(name: str, deviation: Deviation, tmp_path: Path) -> None:
    loaded = load_adapter(COMMANDS[name])
    assert isinstance(loaded.adapter, RemoteAdapter) and deviation in loaded.deviations.entries
    where = deviation.where[0]
    case = CASES[where.cases[0]]
    supported = [d for d in case.dtypes if d in loaded.adapter.dtypes or d in INTEGER_TYPES]
    path = tmp_path / "repro.py"
    script = reproduce(case, loaded.adapter, [*where.dtypes, *supported][0])
    loaded.adapter.close()
    path.write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True)
    assert done.returncode == 1 or deviation.sporadic, done.stderr
    assert WRONG.search(done.stdout) or deviation.sporadic
