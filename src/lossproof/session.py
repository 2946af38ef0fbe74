"""A run, record by record: what ``lossproof run`` and ``lossproof.run`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import tee
from types import TracebackType

from msgspec import structs

from lossproof.adapter import Adapter
from lossproof.case.model import Case
from lossproof.case.select import Selection, select_pairs
from lossproof.core.text import require
from lossproof.engine.record import Record
from lossproof.engine.runner import jobs as pairs_of
from lossproof.errors import LossproofError
from lossproof.isolation.cluster import cluster
from lossproof.isolation.load import CASE_TIMEOUT, load_adapter, runs_apart
from lossproof.isolation.parallel import run_parallel
from lossproof.isolation.pieces import Wanted, run_on
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.choice import Choice
from lossproof.registry.find import available_names
from lossproof.registry.loaded import Loaded
from lossproof.registry.modes import joined, known_modes
from lossproof.results.file import cases_set
from lossproof.results.journal import Journal


class Session:
    """Adapters that are loaded and cases that are chosen; what can be refused has been.

    Nothing is run and nothing written before ``records`` is asked for them, adapter by adapter, and
    no record is kept. A context manager: leaving it ends the processes that adapters run in.

    Args:
        adapters: references, each with the interpreter it is for, or adapters or classes themselves;
            every installed backend if there is none.
        cases: files, folders, ids or beginnings of ids; all of lossproof's own if there is none.
        functions: only their cases, if there is any.
        dtypes: only these, if there is any.
        modes: transformations of their frameworks under which the adapters run instead of as they are, each
            adapter under each; one that has not the mode is skipped.
        thorough: run cases that are marked as thorough, too.
        huge: run huge cases, too, where there is memory for them.
        isolate: run Python adapters in processes of their own; by default those that are not built in.
        timeout: seconds that a process of its own may take to start, and for each call.
        jobs: processes that each adapter's cases are spread over; more than 1 isolates.
        scheduler: of a cluster of Dask that the cases are spread over instead, or ``local`` for one of so
            many jobs; isolates, too, unless that is refused.
        loading: told after each adapter how many are loaded, and of how many.

    Raises:
        LossproofError: an unknown adapter, case, function or dtype, an adapter that fails to load, two
            of one name, a case without expectation, no case left, deviations that name no case, or no
            cluster at the address.
    """

    def __init__(
        self,
        adapters: Sequence[Choice | Adapter | type[Adapter]] = (),
        cases: Sequence[str] = (),
        functions: Sequence[str] = (),
        dtypes: Sequence[str] = (),
        *,
        modes: Sequence[str] = (),
        thorough: bool = False,
        huge: bool = False,
        isolate: bool | None = None,
        timeout: float = CASE_TIMEOUT,
        jobs: int = 1,
        scheduler: str | None = None,
        loading: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        if not adapters:
            # Those that are asked for may bring modes of their own.
            for mode in modes:
                require("mode", mode, known_modes())
        if not timeout > 0 or jobs < 1:
            raise LossproofError("timeout must be above 0 (seconds), jobs 1 or more (processes)")
        if isolate is False and jobs > 1 and scheduler is None:
            raise LossproofError(
                "jobs above 1 are processes of their own; without isolation there is one job"
            )
        self.cases: Selection = select_pairs(cases, functions, dtypes, thorough, huge)
        self.dtypes = tuple(dtypes)
        self.whole = not cases and not functions
        self.set = cases_set(self.whole, thorough)
        self.jobs = jobs
        self.asked = bool(adapters)
        self.pairs = self.cases.pairs(dtypes)
        chosen = [
            (choice, mode)
            for choice in adapters or [Choice(name) for name in available_names()]
            for mode in modes or [""]
        ]
        loaded: dict[str, Loaded] = {}
        self._wanted: dict[str, Wanted] = {}
        for number, (choice, mode) in enumerate(chosen, 1):
            one = _load(choice, mode, True if jobs > 1 and scheduler is None else isolate, timeout)
            if one.info.name in loaded:
                raise LossproofError(f"two adapters are called {one.info.name!r}; rename one")
            if self.whole:
                # Only a run over all cases can tell that a deviation names none of them.
                one.deviations.check_ids([*self.cases.ids, *self.left_out])
            if (len(chosen) > 1 or scheduler is not None) and isinstance(one.adapter, RemoteAdapter):
                # It starts again when its turn comes: a device, or memory, may have room for one only.
                one.adapter.close()
            loaded[one.info.name] = one
            if scheduler is not None:
                self._wanted[one.info.name] = _wanted(choice, mode, isolate is not False, timeout, one)
            loading(number, len(chosen))
        self.adapters = tuple(loaded.values())
        self._ends = ExitStack()
        self._cluster = None if scheduler is None else self._ends.enter_context(cluster(scheduler, jobs))

    @property
    def left_out(self) -> set[str]:
        """Ids of cases that were not run only because they are thorough or huge."""
        return self.cases.left_out | self.cases.huge_left_out

    def records(self, loaded: Loaded, journal: Journal | None = None) -> Generator[list[Record]]:
        """Run one of the adapters; the records of one pair after the other, in the order of the cases.

        With a journal, those of an earlier run are recalled instead of made again, and new ones kept.
        A backend that is not here is skipped case by case if it was asked for, else it has no records.
        """
        if loaded.info.skipped is not None and not self.asked:
            return
        name = loaded.info.name

        def known(case: Case, dtype: str) -> bool:
            return journal is not None and journal.has(name, case, dtype)

        # The runner may be a few pairs ahead.
        pairs, ahead = tee(pairs_of(self.cases, self.dtypes))
        fresh = self._run(loaded, (pair for pair in ahead if not known(*pair)))
        try:
            for case, dtype in pairs:
                if journal is not None and known(case, dtype):
                    yield journal.recall(name, case, dtype)
                    continue
                rows = next(fresh)
                if journal is not None:
                    journal.add(case, rows)
                yield rows
        finally:
            fresh.close()
            _end(loaded)

    def _run(self, loaded: Loaded, pairs: Iterable[tuple[Case, str]]) -> Generator[list[Record]]:
        if self._cluster is not None and loaded.adapter is not None:
            return run_on(self._cluster, self._wanted[loaded.info.name], pairs)
        return run_parallel(loaded, pairs, self.jobs)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for loaded in self.adapters:
            _end(loaded)
        self._ends.close()


def _wanted(
    choice: Choice | Adapter | type[Adapter], mode: str, isolate: bool, timeout: float, loaded: Loaded
) -> Wanted:
    if not isinstance(choice, Choice):
        raise LossproofError(
            "an adapter object runs in this process; for a cluster give 'path/to/file.py' or "
            "'package.module:Class'"
        )
    return Wanted(choice.reference, mode, choice.python, isolate, timeout, loaded.info)


def _load(
    choice: Choice | Adapter | type[Adapter], mode: str, isolate: bool | None, timeout: float
) -> Loaded:
    if not isinstance(choice, Choice):
        return load_adapter(choice, mode=mode, isolate=bool(isolate))
    reference = joined(choice.reference, mode)
    apart = runs_apart(reference, isolate)
    loaded = load_adapter(choice.reference, mode=mode, isolate=apart, python=choice.python, timeout=timeout)
    if reference == loaded.info.name:
        return loaded
    return replace(loaded, info=structs.replace(loaded.info, reference=reference))


def _end(loaded: Loaded) -> None:
    if isinstance(loaded.adapter, RemoteAdapter):
        loaded.adapter.close()
