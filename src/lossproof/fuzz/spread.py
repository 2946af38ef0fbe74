"""The search on a cluster: each round, one function and one seed, on a worker that is free."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from lossproof.fuzz.search import Finding, Search, Signature, Statistics
from lossproof.isolation.cluster import Cluster
from lossproof.isolation.pieces import Wanted
from lossproof.isolation.remote import RemoteAdapter


@dataclass(frozen=True)
class Round:
    """One round of a search, in words that another process understands.

    ``known`` is what had been found when it was handed out, which it does not look for again; ``until`` is
    by the clock, and ``timeout`` the seconds that a call may take.
    """

    wanted: Wanted
    functions: tuple[str, ...]
    dtypes: tuple[str, ...]
    recommended: bool
    seed: int
    turn: int
    until: float
    timeout: float
    known: frozenset[Signature]

    def __str__(self) -> str:
        return f"{self.wanted.info.name}, seed {self.seed + self.turn}"


def perform(round_: Round) -> tuple[Finding | None, Statistics]:
    """Search for one round, on a worker; what was found, shrunk, and what was done."""
    loaded = round_.wanted.loaded()
    if isinstance(loaded.adapter, RemoteAdapter):
        loaded.adapter.timeout = round_.timeout
    search = Search(loaded, round_.functions, round_.dtypes, recommended=round_.recommended, seed=round_.seed)
    search.known |= round_.known
    found = search.round(round_.turn, time.perf_counter() + round_.until - time.time())
    return found, search.statistics


def search_on(
    cluster: Cluster,
    wanted: Wanted,
    search: Search,
    seconds: float,
    timeout: float,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[Finding]:
    """What ``search.run`` does, with its rounds on the workers; ``search`` counts what they do.

    Findings come in the order of the rounds, each signature once.

    Raises:
        LossproofError: a round was given up, whose worker died again and again, or the cluster is gone.
    """
    start, until = time.perf_counter(), time.time() + seconds

    def rounds() -> Iterator[Round]:
        functions = tuple(function.name for function in search.functions)
        for turn in itertools.count():
            if time.time() >= until:
                return
            yield Round(
                wanted, functions, tuple(search.dtypes), search.recommended, search.seed, turn, until,
                timeout, frozenset(search.known),
            )  # fmt: skip

    for found, done in cluster.in_order(perform, rounds(), str):
        _add(search.statistics, done)
        search.statistics.seconds = time.perf_counter() - start
        progress()
        if found is not None and found.signature not in search.known:
            search.known.add(found.signature)
            yield found


def _add(total: Statistics, more: Statistics) -> None:
    for field in fields(Statistics):
        if field.name == "by_function":
            for name, count in more.by_function.items():
                total.by_function[name] = total.by_function.get(name, 0) + count
        else:
            setattr(total, field.name, getattr(total, field.name) + getattr(more, field.name))
