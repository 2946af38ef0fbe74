"""Every recorded deviation is shown by its standalone script, without lossproof."""

from __future__ import annotations

import importlib.util
import runpy
import warnings
from pathlib import Path

import pytest

from lossproof.case import load_cases
from lossproof.deviations import Deviation, load_deviations
from lossproof.registry import BUILTIN, load_adapter
from lossproof.resources import folder
from lossproof.script import reproduce

CASES = {case.id: case for case in load_cases()}


def recorded() -> list[tuple[str, Deviation]]:
    """Pairs of adapter and deviation, for the frameworks that are installed."""
    pairs = []
    for path in sorted(folder("adapters").glob("*.deviations.yaml")):
        module = f"lossproof.adapters.{path.name.split('.')[0]}"
        here = [name for name, row in BUILTIN.items() if row.module == module]
        for deviation in load_deviations(path):
            for name in deviation.adapters or here:
                if importlib.util.find_spec(BUILTIN[name].requires) and name != "torch-cuda":
                    pairs.append((name, deviation))
    return pairs


@pytest.mark.parametrize(("name", "deviation"), recorded(), ids=lambda v: getattr(v, "id", v))
def test_the_script_shows_the_deviation(
    name: str, deviation: Deviation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_adapter(name)
    if loaded.adapter is None or deviation not in loaded.deviations.entries:
        pytest.skip(loaded.info.skipped or f"not recorded for {loaded.info.version}")
    where = deviation.where[0]
    case = CASES[where.cases[0]]
    dtype = where.dtypes[0] if where.dtypes else case.dtypes[0]
    path = tmp_path / "repro.py"
    path.write_text(reproduce(case, loaded.adapter, dtype), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A deviation may be an error where a value is due; else the script exits with status 1.
        with pytest.raises(BaseException) as raised:
            runpy.run_path(str(path))
    if isinstance(raised.value, SystemExit):
        assert raised.value.code == 1
        assert "DEVIATES" in capsys.readouterr().out
    else:
        assert "fails" in deviation.observed or "raises" in deviation.observed
