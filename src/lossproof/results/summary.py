"""The small form of a results file: the records of one adapter, folded by case, output and dtype.

It keeps each verdict, errors to two digits (below 1 to one place, and half an ULP is none), and what came
out where that is not plainly right: all of a small output, the place of the largest error of a large one.
The extremes of each function and dtype keep their place and two digits. Outputs that were not judged are
listed by reason, and so are laws of a call that were kept.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any

import msgspec

from lossproof.core.dtypes import FLOAT_TYPES, INTEGER_TYPES, Dtype
from lossproof.core.form import Form, matching
from lossproof.core.verdicts import FAILURES, RIGHT, UNJUDGED, Verdict
from lossproof.engine.record import LINK, OUTPUT, Record, kept_law

# Where a file lies on the machine that ran: what raised tells its name all the same.
_FOLDERS = re.compile(r"(?<![\w./:])/(?:[\w.@+-]+/)+(?=[\w.@+-])")
# The error in ULPs that a correctly rounded number may have.
HALF = 0.5
_DTYPES = (*FLOAT_TYPES, *INTEGER_TYPES)

# Pages are named after functions, and link to clauses and upstream reports.
Function = Annotated[str, matching("[a-z0-9_]+", "a function's name")]
Topic = Annotated[str, matching("[a-z0-9-]+/[a-z0-9-]+", "topic/id of a case")]
Clause = Annotated[str, matching("[A-Z][A-Z0-9]*-[0-9]+", "a clause's number, like CE-7")]
Output = Annotated[str, OUTPUT]
Link = Annotated[str, matching(LINK.pattern, "a link that begins with http:// or https://")]


class Judged(Form, frozen=True, omit_defaults=True):
    """One output of a case: each field holds for all dtypes, or is a list of one entry per dtype."""

    dtypes: tuple[Dtype, ...] | None = None
    """Those of the file where this is left out."""
    verdict: Verdict | tuple[Verdict, ...] | None = None
    """Left out: ``deviation`` where there is one, else ``pass``."""
    variant: str | tuple[str | None, ...] | None = None
    deviation: str | tuple[str | None, ...] | None = None
    error_ulp: float | tuple[float | None, ...] | None = 0
    share: float | tuple[float | None, ...] | msgspec.UnsetType | None = msgspec.UNSET
    """The largest error as a share of what is allowed. Left out: 0, or none where ``error_ulp`` is none."""
    message: str | tuple[str, ...] = ""
    actual: str | tuple[str | None, ...] | None = None
    worst: str | tuple[str | None, ...] | None = None


class Group(Form, frozen=True, omit_defaults=True):
    """Outputs with the same to say, each of each case in each dtype; one reason, or one per dtype."""

    dtypes: tuple[Dtype, ...]
    outputs: tuple[Output, ...]
    cases: dict[Function, dict[Clause, tuple[Topic, ...]]]
    message: str | tuple[str, ...] = ""
    verdict: Verdict | tuple[Verdict, ...] = Verdict.UNSUPPORTED


Judgements = dict[Function, dict[Clause, dict[Topic, dict[Output, Judged]]]]


class Summary(Form, frozen=True):
    """The records of one adapter."""

    dtypes: tuple[Dtype, ...]
    """What ``judged`` is about where it does not say."""
    upstream: dict[str, Link]
    """Where deviations are reported or documented, by their ids."""
    unjudged: tuple[Group, ...]
    """Outputs that were not judged."""
    judged: Judgements
    kept: tuple[Group, ...] = ()
    """Laws of a call that were kept."""


_FIELDS = tuple(name for name in Judged.__struct_fields__ if name != "dtypes")


def fold(records: Iterable[Record]) -> Summary:
    """The summary of one adapter's records; the same for any order of them."""
    kept = sorted(records, key=_place)
    found: dict[tuple[str, str, str, str], list[Record]] = defaultdict(list)
    for r in kept:
        if not _unjudged(r) and not kept_law(r):
            found[r.function, r.clause, r.case.partition("/")[2], r.output].append(r)
    sets = Counter(tuple(row.dtype for row in rows) for rows in found.values())
    dtypes = sets.most_common(1)[0][0] if sets else ()
    extremes = _extremes(kept)
    judged: dict[str, dict[str, dict[str, dict[str, Judged]]]] = {}
    for (function, clause, topic, output), rows in found.items():
        outputs = judged.setdefault(function, {}).setdefault(clause, {}).setdefault(topic, {})
        outputs[output] = _folded(rows, dtypes, extremes)
    upstream = {r.deviation: r.upstream for r in kept if r.deviation is not None and r.upstream is not None}
    unjudged = tuple(_groups(filter(_unjudged, kept)))
    return Summary(dtypes, upstream, unjudged, judged, tuple(_groups(filter(kept_law, kept))))


def _unjudged(record: Record) -> bool:
    return record.verdict in UNJUDGED


def _place(record: Record) -> tuple[str, str, int, str, int]:
    """By function, clause, case and dtype."""
    chapter, _, number = record.clause.rpartition("-")
    return record.function, chapter, int(number), record.case, _DTYPES.index(record.dtype)


def _folded(rows: Sequence[Record], default: tuple[str, ...], extremes: _Extremes) -> Judged:
    columns = zip(*(_kept(row, extremes) for row in rows), strict=True)
    fields = dict(zip(_FIELDS, columns, strict=True))
    plain = {
        "verdict": tuple(map(_plain_verdict, fields["deviation"])),
        "share": tuple(map(_plain_share, fields["error_ulp"])),
    }
    said = {name: _once(values) for name, values in fields.items() if values != plain.get(name)}
    dtypes = tuple(row.dtype for row in rows)
    return Judged(None if dtypes == default else dtypes, **said)


def _plain_verdict(deviation: str | None) -> Verdict:
    return Verdict.PASS if deviation is None else Verdict.DEVIATION


def _plain_share(error_ulp: float | None) -> float | None:
    return None if error_ulp is None else 0


def _kept(record: Record, extremes: _Extremes) -> tuple[Any, ...]:
    """What is kept of a record, in the order of the fields."""
    actual = None if record.verdict is Verdict.PASS else record.actual
    right = record.verdict is Verdict.PASS or actual is not None
    # A message about elements says little more than what came out, or the worst of it.
    # One that is recorded and deviates no more says that and not what came out, as a wrong dtype does.
    outdated = record.deviation is not None and record.verdict in FAILURES
    told = not (outdated or record.is_misshapen) and (
        record.worst is not None or record.message == _about(actual, record.worst)
    )
    extreme = id(record) in extremes.digits
    return (
        record.verdict, record.variant, record.deviation,
        _shortened(record.error_ulp, extreme, HALF), _shortened(record.share_used, extreme),
        "" if told else _FOLDERS.sub("", record.message), actual,
        None if right and id(record) not in extremes.places else record.worst,
    )  # fmt: skip


def _about(actual: str | None, worst: str | None) -> str:
    """The message of what is wrong, from what is kept."""
    if worst is not None:
        return f"worst at {worst}"
    return "" if actual is None else f"gives {actual}"


def _rounded(value: float | None) -> float | None:
    """To two digits, below 0.1 to two places."""
    if value is None or not math.isfinite(value):
        return None
    return float(round(value, 2) if value < 0.1 else f"{value:.2g}")


def _shortened(value: float | None, extreme: bool, nothing: float = 0) -> float | None:
    """What is below 1 and no extreme has one place, cut off so that it does not come to exceed one.

    Up to ``nothing`` it is 0.
    """
    rounded = _rounded(value)
    if rounded is None:
        return None
    if rounded < 1 and not extreme:
        rounded = math.floor(10 * rounded + 1e-9) / 10
        rounded = 0.0 if rounded <= nothing else rounded
    # A whole number is shorter as an int.
    return int(rounded) if rounded.is_integer() else rounded


@dataclass(frozen=True)
class _Extremes:
    """The objects with the largest error in ULPs or the largest share of what is allowed.

    ``places`` are those of each function and dtype, ``digits`` those of their values and gradients apart.
    """

    places: set[int]
    digits: set[int]


def _extremes(records: Sequence[Record]) -> _Extremes:
    return _Extremes(
        _largest(records, lambda record: (record.function, record.dtype)),
        _largest(records, lambda record: (record.function, record.dtype, record.output == "value")),
    )


def _largest(records: Sequence[Record], cell_of: Callable[[Record], tuple[object, ...]]) -> set[int]:
    largest: dict[tuple[object, ...], tuple[float, bool, int]] = {}
    for record in records:
        for kind, error in (("ulp", _rounded(record.error_ulp)), ("share", _rounded(record.share_used))):
            cell = (*cell_of(record), kind)
            # A record from an earlier summary may have lost its place; another as large may have it.
            found = (error or 0.0, record.worst is not None, id(record))
            if error and found[:2] > largest.get(cell, (0.0, False, 0))[:2]:
                largest[cell] = found
    return {place for *_, place in largest.values()}


def _groups(records: Iterable[Record]) -> Iterator[Group]:
    """By reasons, dtypes and outputs, so that each group is all of their combinations."""
    by_output: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for r in records:
        by_output[r.clause, r.case, r.output].append(r)
    # One entry per dtype: its name, the verdict and the reason.
    by_case: dict[tuple[str, str, tuple[tuple[str, Verdict, str], ...]], list[str]] = defaultdict(list)
    for (clause, case, output), rows in by_output.items():
        by_case[clause, case, tuple((r.dtype, r.verdict, r.message) for r in rows)].append(output)
    groups: dict[tuple[Any, tuple[str, ...]], dict[str, dict[str, tuple[str, ...]]]] = {}
    for (clause, case, why), outputs in by_case.items():
        function, _, topic = case.partition("/")
        clauses = groups.setdefault((why, tuple(outputs)), {}).setdefault(function, {})
        clauses[clause] = (*clauses.get(clause, ()), topic)
    for (why, of), cases in groups.items():
        dtypes, verdicts, messages = zip(*why, strict=True)
        yield Group(dtypes, of, cases, _once(messages), _once(verdicts))


def _once(values: tuple[Any, ...]) -> Any:
    """What all dtypes have, or the values of each."""
    return values[0] if all(value == values[0] for value in values) else values


def unfold(summary: Summary, adapter: str) -> Iterator[Record]:
    """The records that a summary keeps; errors are shares of what is allowed.

    Raises:
        ValueError: a list has not one entry per dtype.
    """
    for function, clause, topic, output, folded in _entries(summary):
        dtypes = summary.dtypes if folded.dtypes is None else folded.dtypes
        for dtype, own in zip(dtypes, _rows(folded, len(dtypes), f"{function}/{topic}"), strict=True):
            yield Record(
                case=f"{function}/{topic}", function=function, clause=clause, adapter=adapter, dtype=dtype,
                output=output, upstream=summary.upstream.get(own["deviation"]), **own,
            )  # fmt: skip
    for group in (*summary.unjudged, *summary.kept):
        count = len(group.dtypes)
        verdicts = _spread(group.verdict, count, "unjudged", "verdict")
        reasons = tuple(zip(group.dtypes, verdicts, _spread(group.message, count, "unjudged", "message")))
        for function, members in group.cases.items():
            for clause, cases in members.items():
                for topic, (dtype, verdict, message), output in product(cases, reasons, group.outputs):
                    yield Record(
                        f"{function}/{topic}", function, clause, adapter, dtype, output, verdict,
                        message=message,
                    )  # fmt: skip


def _entries(summary: Summary) -> Iterator[tuple[str, str, str, str, Judged]]:
    """Function, clause, topic and output of each entry."""
    for function, clauses in summary.judged.items():
        for clause, topics in clauses.items():
            for topic, outputs in topics.items():
                yield from ((function, clause, topic, *entry) for entry in outputs.items())


def _rows(folded: Judged, count: int, case: str) -> Iterator[dict[str, Any]]:
    """The fields of each dtype."""
    columns = {name: _spread(getattr(folded, name), count, case, name) for name in _FIELDS}
    if folded.verdict is None:
        columns["verdict"] = tuple(map(_plain_verdict, columns["deviation"]))
    if folded.share is msgspec.UNSET:
        columns["share"] = tuple(map(_plain_share, columns["error_ulp"]))
    for values in zip(*columns.values(), strict=True):
        own = dict(zip(_FIELDS, values, strict=True))
        if not own["message"] and own["verdict"] not in RIGHT:
            own["message"] = _about(own["actual"], own["worst"])
        yield own


def _spread(value: Any, count: int, of: str, name: str) -> tuple[Any, ...]:
    """One value per dtype."""
    if not isinstance(value, tuple):
        return (value,) * count
    if len(value) != count:
        raise ValueError(f"{of}: {name} has {len(value)} entries for {count} dtypes")
    return value
