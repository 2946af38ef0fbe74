"""Few rows of parameters in which every pair of values occurs, and of some parameters every triple."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product

from allpairspy import AllPairs

Row = dict[str, str]
Options = Mapping[str, Sequence[str]]
Allowed = Callable[[Row], bool]
# The names and values of a pair or triple.
Tuple = tuple[tuple[str, str], ...]


def cover(options: Options, allowed: Allowed, triples: Sequence[str] = ()) -> list[Row]:
    """Rows that are allowed, in which every pair of values occurs that any allowed row has.

    Args:
        options: the values of each parameter.
        allowed: whether a row is possible; it is asked for rows that are not whole yet, too.
        triples: parameters of which every three values occur together, too.
    """
    names = list(options)
    pairs = AllPairs(
        [list(options[name]) for name in names],
        filter_func=lambda values: allowed(dict(zip(names, values))),
    )
    rows = [dict(zip(names, values)) for values in pairs]
    # What allpairspy leaves where rows are refused, and the triples: each time the row that adds most.
    candidates = _every(options, allowed)
    missing = set(uncovered(rows, options, allowed, triples))
    groups = _groups(options, triples)
    while missing:
        best = max(candidates, key=lambda row: len(missing.intersection(_tuples(row, groups))))
        rows.append(best)
        missing.difference_update(_tuples(best, groups))
    return rows


def uncovered(
    rows: Sequence[Row], options: Options, allowed: Allowed, triples: Sequence[str] = ()
) -> list[Tuple]:
    """The pairs, and triples of some parameters, that an allowed row has and none of ``rows``."""
    groups = _groups(options, triples)
    there = {found for row in rows for found in _tuples(row, groups)}
    due = {found for row in _every(options, allowed) for found in _tuples(row, groups)}
    return sorted(due - there)


def _every(options: Options, allowed: Allowed) -> list[Row]:
    rows = (dict(zip(options, values)) for values in product(*options.values()))
    return [row for row in rows if allowed(row)]


def _groups(options: Options, triples: Sequence[str]) -> list[tuple[str, ...]]:
    return [*combinations(options, 2), *combinations(triples, 3)]


def _tuples(row: Row, groups: Sequence[tuple[str, ...]]) -> Iterator[Tuple]:
    return (tuple((name, row[name]) for name in group) for group in groups)
