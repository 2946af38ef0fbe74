"""Spread the cases of one adapter over the workers of a cluster, which load it by its name."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from lossproof.case.model import Case
from lossproof.engine.record import Record
from lossproof.engine.runner import run_here
from lossproof.errors import LossproofError
from lossproof.isolation.cluster import Cluster
from lossproof.isolation.load import load_once
from lossproof.registry.loaded import AdapterInfo, Loaded

# So many pairs of a case and a dtype are sent at a time: a lost worker costs no more.
PAIRS = 16


@dataclass(frozen=True)
class Wanted:
    """An adapter as another machine loads it, and what it is here."""

    reference: str
    mode: str
    python: str | None
    isolate: bool
    timeout: float
    info: AdapterInfo = field(compare=False)

    def loaded(self) -> Loaded:
        """The adapter, once per process.

        Raises:
            LossproofError: it is another one than on the machine that asks for it, or cannot run.
        """
        loaded = load_once(self.reference, self.python, self.isolate, self.timeout, self.mode)
        if loaded.info.skipped is not None:
            raise LossproofError(f"{self.info.name} cannot run on a worker: {loaded.info.skipped}")
        here, there = (f"{one.backend} {one.version} ({one.device})" for one in (self.info, loaded.info))
        if here != there:
            raise LossproofError(f"{self.info.name} is {there} on a worker, and {here} here")
        return loaded


@dataclass(frozen=True)
class Piece:
    """Some pairs for an adapter; whole cases, so that no worker needs their files."""

    wanted: Wanted
    pairs: tuple[tuple[Case, str], ...]

    def __str__(self) -> str:
        case, dtype = self.pairs[0]
        return f"{self.wanted.info.name}, the {len(self.pairs)} from {case.id} {dtype} on"


def perform(piece: Piece) -> list[list[Record]]:
    """Run a piece, on a worker."""
    return list(run_here(piece.wanted.loaded(), piece.pairs))


def run_on(cluster: Cluster, wanted: Wanted, pairs: Iterable[tuple[Case, str]]) -> Generator[list[Record]]:
    """Run on a cluster; yields what ``run_here`` does, in the same order.

    Raises:
        LossproofError: a piece was given up, whose worker died again and again, or the cluster is gone.
    """
    for found in cluster.in_order(perform, _pieces(wanted, iter(pairs)), str):
        yield from found


def _pieces(wanted: Wanted, pairs: Iterator[tuple[Case, str]]) -> Iterator[Piece]:
    while some := tuple(islice(pairs, PAIRS)):
        yield Piece(wanted, some)
