"""Run many cases on one adapter, one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence

from lossproof.adapter import Adapter
from lossproof.case.model import Case
from lossproof.core.verdicts import Verdict
from lossproof.engine.judge import run_case, same_verdict_for_all
from lossproof.engine.record import Record
from lossproof.registry.loaded import Loaded


def jobs(cases: Iterable[Case], dtypes: Sequence[str]) -> Iterator[tuple[Case, str]]:
    """The pairs to run; ``dtypes`` empty means all that each case lists."""
    return ((case, d) for case in cases for d in case.dtypes if not dtypes or d in dtypes)


def run_here(loaded: Loaded, pairs: Iterable[tuple[Case, str]]) -> Iterator[list[Record]]:
    """Run one pair after the other; yields the records of one pair at a time."""
    # Overflows and invalid operations are what many cases are about.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case, dtype in pairs:
            yield run_pair(loaded, loaded.adapter, case, dtype)


def run_pair(loaded: Loaded, adapter: Adapter | None, case: Case, dtype: str) -> list[Record]:
    name = loaded.info.name
    if adapter is None:
        return same_verdict_for_all(case, dtype, name, Verdict.SKIPPED, loaded.info.skipped or "")
    return run_case(adapter, name, case, dtype, loaded.deviations)
