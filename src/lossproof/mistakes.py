"""What is wrong with a function under test, for its author: mistakes that look alike together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from lossproof.case.model import Case
from lossproof.case.needs import FLAGS, needs
from lossproof.core.text import counted
from lossproof.engine.record import Record
from lossproof.registry.modes import split

MAX_LISTED = 10
# Flags that say how a case is judged, and nothing of its call.
_OF_EXPECTATIONS = {"gradients", "sums"}


class CheckFailure(AssertionError):
    """A function is wrong; ``records`` are all that were judged, ``wrong`` those that fail."""

    def __init__(self, message: str, records: Sequence[Record], wrong: Sequence[Record]) -> None:
        super().__init__(message)
        self.records, self.wrong = list(records), list(wrong)


class Checked(list[Record]):
    """A record per judged output; ``left_out`` says why others were not judged, and how many."""

    def __init__(self, records: Sequence[Record], left_out: Mapping[str, int]) -> None:
        super().__init__(records)
        self.left_out = dict(left_out)


def left_out(unjudged: Sequence[Record], judged: Sequence[Record]) -> Counter[str]:
    """Why outputs were not judged: calls that were not made, and gradients and others of calls that were."""
    made = {(record.adapter, record.case, record.dtype) for record in judged}
    calls = {(r.adapter, r.case, r.dtype): r.message for r in reversed(unjudged)}
    found = Counter(message for call, message in calls.items() if call not in made)
    for record in unjudged:
        if (record.adapter, record.case, record.dtype) in made and not record.is_law:
            found[f"{record.output.partition('.')[0]} not tested: {record.message}"] += 1
    return found


def describe(
    name: str,
    wrong: Sequence[Record],
    judged: Sequence[Record],
    cases: Mapping[str, Case],
    unjudged: Mapping[str, int],
    remark: Callable[[Record], str],
) -> str:
    """The message of a failure: of each group what its members have in common, and the first in full.

    Args:
        name: the function of the specification.
        wrong: records that fail.
        judged: those, and the ones that are right.
        cases: by id, of all records.
        unjudged: why other outputs were not judged, and how many.
        remark: what else there is to say of the first record of a group, or nothing.
    """
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in wrong:
        groups.setdefault((record.output, record.clause, split(record.adapter)[1]), []).append(record)
    lines = [f"{name}: {len(wrong)} of {len(judged)} outputs are wrong"]
    for (output, clause, mode), members in list(groups.items())[:MAX_LISTED]:
        first, under = members[0], f" under {mode}" if mode else ""
        alike = _alike(members, [record for record in judged if record.output == output], cases)
        lines += [
            f"  {output}{under}, {', '.join(alike)}: {counted(len(members), 'output')}",
            f"  {first.case} {first.dtype} {output}{under} ({clause}): {cases[first.case].why}",
            f"    {first.verdict}: {first.message}",
            *([f"    {text}"] if (text := remark(first)) else []),
        ]
    if len(groups) > MAX_LISTED:
        lines.append(f"  and {counted(len(groups) - MAX_LISTED, 'group')} more; the error has all in .wrong")
    lines += [f"  {counted(count, 'time')} left out: {reason}" for reason, count in unjudged.items()]
    lines.append(f"inputs and clause: lossproof explain {wrong[0].case} -a numpy")
    return "\n".join(lines)


def _alike(members: Sequence[Record], judged: Sequence[Record], cases: Mapping[str, Case]) -> list[str]:
    """Their dtypes, and what all of their cases need and not every judged case does."""
    dtypes = list(dict.fromkeys(record.dtype for record in members))
    every = {record.dtype for record in judged}
    if every != set(dtypes):
        said = [f"{', '.join(dtypes)} only"]
    else:
        said = ["all dtypes" if len(every) > 1 else dtypes[0]]
    needed = [_needs(cases[id]) for id in {record.case for record in members}]
    common = frozenset.intersection(*needed)
    general = frozenset.intersection(*(_needs(cases[id]) for id in {record.case for record in judged}))
    return said + [
        f"only with {FLAGS[flag]}" for flag in FLAGS if flag in common - general - _OF_EXPECTATIONS
    ]


def _needs(case: Case) -> frozenset[str]:
    return frozenset(needs(case, case.exact_arrays))
