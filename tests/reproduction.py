"""Runs the scripts of ``lossproof repro`` for many pairs of case and dtype, and compares verdicts.

A process of its own per adapter: ``python -m tests.reproduction ADAPTER first|turn|all [every nth]``. Scripts
are executed one after the other in it, with all of lossproof hidden, so that a framework is imported once.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from types import ModuleType

from lossproof.adapter import Adapter
from lossproof.case.model import Case
from lossproof.core.verdicts import RIGHT, Verdict
from lossproof.engine.call import missing
from lossproof.engine.judge import judge
from lossproof.engine.proof import ask_proven
from lossproof.isolation.load import load_adapter
from lossproof.registry.loaded import Loaded
from lossproof.repro.full import full_script
from lossproof.repro.short import short_script
from tests.own_cases import quick_cases

_LINE = re.compile(r"^(value|jvp|(?:gradients|hvp)\.\w+): (\w+)(?: \((.+?)\))?", re.M)


@dataclass
class Outcome:
    """How many scripts of each form were run, and what was wrong with them."""

    full: int = 0
    short: int = 0
    wrong: list[str] = field(default_factory=list)


class _Absent:
    """Finds nothing of lossproof, wherever it is installed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name.partition(".")[0] == "lossproof":
            raise ModuleNotFoundError(f"{name} is hidden from this script", name=name)


@contextlib.contextmanager
def without_lossproof() -> Iterator[None]:
    """Take lossproof away, and put it back after what a script has left in its place."""

    def ours() -> list[str]:
        return [name for name in sys.modules if name.startswith("lossproof")]

    kept = {name: sys.modules.pop(name) for name in ours()}
    finders = list(sys.meta_path)
    sys.meta_path.insert(0, _Absent)
    try:
        yield
    finally:
        sys.meta_path[:] = finders
        for name in ours():
            del sys.modules[name]
        sys.modules.update(kept)


# Modules that many scripts carry are compiled once.
_compile = functools.lru_cache(maxsize=None)(builtins.compile)


def run_script(text: str) -> tuple[int | str, str]:
    """Exit status, or the error that ended it, and what it printed."""
    out = io.StringIO()
    code: int | str = 0
    with without_lossproof(), contextlib.redirect_stdout(out):
        try:
            exec(compile(text, "script", "exec"), {"__name__": "__main__", "compile": _compile})
        except SystemExit as error:
            code = int(error.code or 0)
        except Exception as error:
            code = f"{type(error).__name__}: {error}"
    return code, out.getvalue()


def compare(adapter: Adapter, case: Case, dtype: str, outcome: Outcome) -> None:
    """Run both forms of one pair's script, where there is a short one, beside the engine."""
    answer = ask_proven(adapter, case, dtype)
    judged = {output: found[:2] for output, found in judge(case, dtype, answer).items()}
    due = {output: (str(verdict), variant) for output, (verdict, variant) in judged.items()}
    counted = [verdict for verdict, _ in judged.values() if verdict is not Verdict.UNSUPPORTED]
    status = 0 if counted and RIGHT.issuperset(counted) else 1

    code, printed = run_script(full_script(case, adapter, dtype))
    outcome.full += 1
    found = {output: (verdict, variant or None) for output, verdict, variant in _LINE.findall(printed)}
    if code != status or found != due:
        outcome.wrong.append(f"{case.id} {dtype}: full: status {code}, {found} where {status}, {due} is due")

    short = short_script(case, adapter, dtype)
    if short is None:
        return
    code, printed = run_script(short)
    outcome.short += 1
    shown = {output: word == "right" for output, word, _ in _LINE.findall(printed)}
    raised = isinstance(code, str)
    if raised:
        agrees = bool(answer.raised)  # what a framework raises ends a short script, with status 1
    else:
        agrees = shown == {output: verdict in RIGHT for output, (verdict, _) in judged.items()}
    if not agrees or (code == 0) != (status == 0):
        outcome.wrong.append(f"{case.id} {dtype}: short: status {code}, {shown} where {status}, {due} is due")


def pairs(loaded: Loaded, adapter: Adapter, which: str) -> Iterator[tuple[Case, str]]:
    """The pairs of the quick set with a verdict, by the dtypes that the adapter has of each case.

    ``all`` of them, the ``first``, or one after another in ``turn``, case by case.
    """
    for number, case in enumerate(quick_cases()):
        dtypes = [dtype for dtype in case.dtypes if missing(adapter, case, dtype) is None]
        if which != "all" and dtypes:
            dtypes = [dtypes[number % len(dtypes) if which == "turn" else 0]]
        for dtype in dtypes:
            deviations = (loaded.deviations.find(case.id, dtype, output) for output in case.expected or ())
            # What comes and goes with a process's memory cannot be asked for twice.
            if not any(deviation is not None and deviation.sporadic for deviation in deviations):
                yield case, dtype


def main(name: str, which: str, stride: str = "1") -> None:
    loaded = load_adapter(name)
    assert loaded.adapter is not None, loaded.info.skipped
    outcome = Outcome()
    chosen = list(pairs(loaded, loaded.adapter, which))[:: int(stride)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case, dtype in chosen:
            compare(loaded.adapter, case, dtype, outcome)
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main(*sys.argv[1:])
