"""Whether a results file that somebody publishes can be what a run gave: ``lossproof verify``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain

from lossproof.case import read
from lossproof.case.model import Case
from lossproof.case.suite import Suite, Version, changed, manifest, suite
from lossproof.core.resources import folder
from lossproof.core.text import counted, suggest
from lossproof.core.validate import encode
from lossproof.engine.laws import CLAUSES
from lossproof.engine.record import Record
from lossproof.errors import LossproofError
from lossproof.results.disk import Database
from lossproof.results.evidence import check
from lossproof.results.file import suite_of
from lossproof.results.stream import StoredResults

# Of so many unknown cases it is said which one may be meant.
MAX_SUGGESTED = 5


class Verification:
    """Checks one results file; iterating gives what is wrong with it, in words, and fills ``counts``.

    Raises:
        LossproofError: lossproof's own cases differ from their manifest.
    """

    def __init__(self, results: StoredResults) -> None:
        self.results = results
        self.counts: Counter[str] = Counter()
        """``outputs``, ``cases``, those ``judged`` again, and of ``other`` cases than the suite has now."""
        self.suite = suite_of(results.environment)
        now, told = suite(), manifest()
        if changed(now):
            raise LossproofError(
                "the cases here differ from cases/suite.json; lossproof certify --write renews it"
            )
        self._now = told.latest
        self._version = _version(self.suite, told.versions)
        self._seen = Database("CREATE TABLE seen (place BLOB PRIMARY KEY) WITHOUT ROWID")
        self._cases = Database("CREATE TABLE cases (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._dtypes: dict[str, set[str]] = {}

    def __iter__(self) -> Iterator[str]:
        if self._version is None:
            yield (
                f"{self.suite} is no version of the suite that this lossproof knows: its latest is "
                f"{Suite(self._now.version, self._now.digest)}"
            )
        names = {info.name for info in self.results.adapters}
        version = self._version or self._now
        ids, now = version.ids, self._now.ids
        for record in self.results:
            self.counts["outputs"] += 1
            self._cases.do("INSERT OR IGNORE INTO cases VALUES (?)", record.case)
            problem = self._problem(record, names, ids, now)
            if problem is not None:
                yield f"{record.case} {record.dtype} {record.output} of {record.adapter}: {problem}"
        self.counts["cases"] = self._cases.one("SELECT count(*) FROM cases")[0]
        if not self.counts["outputs"]:
            yield "it has no outputs"
        yield from self._missing()

    def _problem(
        self, record: Record, names: set[str], ids: Mapping[str, str], now: Mapping[str, str]
    ) -> str | None:
        if record.adapter not in names:
            return "no adapter of this name took part"
        if record.case not in ids:
            self.counts["unknown"] += 1
            # To look for what was meant takes a while.
            meant = suggest(record.case, ids) if self.counts["unknown"] <= MAX_SUGGESTED else ""
            return f"there is no such case{meant}"
        if not self._seen.do("INSERT OR IGNORE INTO seen VALUES (?)", _place(record)):
            return "it is there twice"
        if now.get(record.case) != ids[record.case]:
            self.counts["other"] += 1
            return None
        self._dtypes.setdefault(record.adapter, set()).add(record.dtype)
        case = _case(record.case)
        if record.dtype not in case.dtypes:
            return f"the case is for {', '.join(case.dtypes)}"
        if record.is_law:
            return _wrong_law(record)
        if record.clause != case.clause:
            return f"{record.clause} is not the case's clause, {case.clause}"
        if record.output not in (case.expected or {}):
            return f"the case expects {', '.join(case.expected or {})}"
        found = check(case, record)
        self.counts["judged"] += found.judged
        return found.problem

    def _missing(self) -> Iterator[str]:
        """Outputs of the set that the file says it is of, in the dtypes that it has of an adapter."""
        taken = self.results.environment.get("cases")
        if self.suite is None or self._version is not self._now or taken not in ("quick", "thorough"):
            return
        every = chain.from_iterable(_cases(topic).values() for topic in self._now.cases)
        # No set has the huge ones, which few machines have the memory for.
        due = [case for case in every if not case.huge and (taken == "thorough" or not case.thorough)]
        for adapter, dtypes in self._dtypes.items():
            missing = [
                f"{case.id} {dtype} {output}"
                for case in due
                for dtype in case.dtypes
                if dtype in dtypes
                for output in case.expected or {}
                if self._seen.one(
                    "SELECT 1 FROM seen WHERE place = ?", encode((adapter, case.id, dtype, output))
                )
                is None
            ]
            if missing:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                lacks = f"{counted(len(missing), 'output')} of the {taken} set"
                yield f"{adapter}: lacks {lacks}: {missing[0]}{more}"


def _wrong_law(record: Record) -> str | None:
    """What is wrong with the record of a law of the call, of which no output is kept."""
    clause = CLAUSES.get(record.output)
    if clause is None:
        return f"there is no such law{suggest(record.output, CLAUSES)}"
    return None if record.clause == clause else f"{record.clause} is not the law's clause, {clause}"


def _version(given: Suite | None, versions: tuple[Version, ...]) -> Version | None:
    """The version that results are of; what does not say is taken for the latest."""
    if given is None:
        return versions[-1]
    return next((one for one in versions if given == (one.version, one.digest)), None)


def _place(record: Record) -> bytes:
    return encode((record.adapter, record.case, record.dtype, record.output))


def _case(id: str) -> Case:
    return _cases(id.rsplit("/", 1)[0])[id]


@cache
def _cases(topic: str) -> dict[str, Case]:
    """The cases of one of lossproof's own files."""
    return {case.id: case for case in read.load_file(folder("cases") / f"{topic}.yaml")}
