"""Choose cases by path, by id or by pattern."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path

from lossproof.case.expected import Expected, Sketch
from lossproof.case.model import Case
from lossproof.case.read import iterate_cases, load_file, own_files, thorough_ids
from lossproof.core.dtypes import DTYPES
from lossproof.core.functions import FUNCTIONS
from lossproof.core.text import require, suggest
from lossproof.errors import LossproofError

# So many cases with so many elements of expectations and tolerances stay in memory; of more, only the ids
# do, and their files are read again when needed.
MAX_KEPT = 2000
MAX_ELEMENTS_KEPT = 2**24


@dataclass
class Selection:
    """Cases that were chosen: an iterable of them, which can be larger than memory."""

    _places: dict[str, tuple[Path, tuple[str, ...]]] = field(default_factory=dict)
    """File and dtypes by id."""
    _kept: dict[str, Case] = field(default_factory=dict)
    """All of them, while they are few and small."""
    _elements: int = 0
    """Of expectations and tolerances, in all of them."""
    uncertified: Case | None = None
    """The first that has no expectation yet."""
    left_out: set[str] = field(default_factory=set)
    """Ids of thorough cases that are not in the quick set."""
    huge: bool = False
    """Whether huge cases are chosen."""
    huge_left_out: set[str] = field(default_factory=set)
    """Ids of those that are not, or not yet."""
    _shared: dict[tuple[Path, tuple[str, ...]], tuple[Path, tuple[str, ...]]] = field(default_factory=dict)
    """Each file with each list of dtypes once."""

    def add(self, cases: Iterable[Case], thorough: Callable[[Case], bool]) -> None:
        """Choose these too, those marked as thorough where ``thorough`` says so.

        A case takes the place of an earlier one with its id.
        """
        for case in cases:
            if case.huge and not self.huge:
                self.huge_left_out.add(case.id)
                continue
            if case.thorough and not thorough(case):
                if case.id not in self._places:
                    self.left_out.add(case.id)
                continue
            self.left_out.discard(case.id)
            if case.expected is None and self.uncertified is None:
                self.uncertified = case
            place = case.path, case.dtypes
            self._places[case.id] = self._shared.setdefault(place, place)
            self._elements += _elements(case)
            if self._all_kept:
                self._kept[case.id] = case
            else:
                self._kept.clear()

    def leave_out(self, ids: Iterable[str]) -> None:
        """Thorough cases that are not chosen, and were not read."""
        self.left_out.update(id for id in ids if id not in self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Case]:
        if self._all_kept:
            yield from self._kept.values()
            return
        for path, group in groupby(self._places, key=lambda id: self._places[id][0]):
            wanted = set(group)
            yield from (case for case in load_file(path) if case.id in wanted)

    @property
    def _all_kept(self) -> bool:
        return len(self) <= MAX_KEPT and self._elements <= MAX_ELEMENTS_KEPT

    @property
    def ids(self) -> Iterable[str]:
        return self._places.keys()

    @property
    def files(self) -> list[Path]:
        return list(dict.fromkeys(path for path, _ in self._places.values()))

    def pairs(self, dtypes: Sequence[str]) -> int:
        """How many pairs of a case and a dtype there are; ``dtypes`` empty means all that each lists."""
        return sum(len(_chosen(listed, dtypes)) for _, listed in self._places.values())

    def count(self, dtypes: Sequence[str]) -> int:
        """How many cases have any of the dtypes."""
        return sum(bool(_chosen(listed, dtypes)) for _, listed in self._places.values())


def _elements(case: Case) -> int:
    """How many elements its expectations and tolerances have."""
    outcomes = [(case.expected or {}, case.tolerances)]
    outcomes += [(choice.expected, choice.tolerances) for choice in case.choices]
    return sum(
        sum(_size(item) for item in expected.values())
        + sum(bound.u.size + bound.a.size for bound in tolerances.values())
        for expected, tolerances in outcomes
    )


def _size(expected: Expected) -> int:
    return expected.sums.size if isinstance(expected, Sketch) else expected.size


def _chosen(listed: Sequence[str], dtypes: Sequence[str]) -> list[str]:
    return [dtype for dtype in listed if not dtypes or dtype in dtypes]


def select_cases(
    references: Sequence[str], functions: Sequence[str], thorough: bool = False, huge: bool = False
) -> Selection:
    """Choose the cases that ``references`` name, all of lossproof's own when there is none.

    A reference is a case id or the beginning of ids (``softmax``, ``softmax/limits``), with ``*`` and
    ``?`` as wildcards, or a file or folder of case files. What names cases of lossproof's own is a
    name even where a file is called so; ``./softmax`` is the file.

    Cases marked as thorough are left out unless ``thorough`` asks for them or a reference names the case,
    its topic or its file. Huge ones are left out, named or not, unless ``huge`` asks for them: they take more
    memory than anyone would give by accident.

    Raises:
        LossproofError: a reference matches nothing, or a function is unknown.
    """
    for function in functions:
        require("function", function, FUNCTIONS)

    def wanted(cases: Iterable[Case]) -> Iterator[Case]:
        return (case for case in cases if not functions or case.function.name in functions)

    own = cache(_Own)

    def names_cases(reference: str) -> bool:
        if marked_as_path(reference) and os.path.exists(reference):
            return False
        if reference.split("/")[0] in FUNCTIONS and any(_matches(id, reference) for id in own().ids):
            return True
        return not os.path.exists(reference)

    names = [reference for reference in references if names_cases(reference)]
    paths = [Path(reference) for reference in references if reference not in names]
    selected = Selection(huge=huge)
    if paths:
        files = {path.resolve() for path in paths if not path.is_dir()}
        selected.add(wanted(iterate_cases(paths)), lambda case: thorough or case.path.resolve() in files)
    if names or not references:
        for name in names or ["*"]:
            if not any(_matches(id, name) for id in own().ids):
                raise LossproofError(f"no case {name!r}{suggest(name, list(own().ids))}, and no such file")
            whole = thorough or _names_a_topic(name)
            selected.add(wanted(own().matching(name, whole)), _always if whole else _never)
            if not whole:
                selected.leave_out(own().passed_over(name, functions))
    if not len(selected):
        if selected.huge_left_out and not selected.left_out:
            raise LossproofError("no case is left but huge ones; --huge runs them")
        if selected.left_out:
            raise LossproofError("no case is left but thorough ones; --thorough runs them")
        raise LossproofError("no case is left after --function")
    return selected


def select_pairs(
    references: Sequence[str],
    functions: Sequence[str],
    dtypes: Sequence[str],
    thorough: bool = False,
    huge: bool = False,
) -> Selection:
    """Choose cases as ``select_cases`` does, of which some are to be had in the dtypes, if there are any.

    Raises:
        LossproofError: an unknown dtype, a case without expectation, no case left, or as ``select_cases``.
    """
    for dtype in dtypes:
        require("dtype", dtype, DTYPES)
    selected = select_cases(references, functions, thorough, huge)
    if selected.uncertified is not None:
        raise selected.uncertified.complain("has no expectation yet; run lossproof certify --write")
    if not selected.pairs(dtypes):
        raise LossproofError("no case is left after --dtype")
    return selected


class _Own:
    """lossproof's own cases; files that are thorough as a whole are read only when they are asked for."""

    def __init__(self) -> None:
        known = {path: thorough_ids(path) for path in own_files()}
        self._quick = list(iterate_cases([path for path, ids in known.items() if ids is None]))
        self._thorough = {path: ids for path, ids in known.items() if ids is not None}

    @property
    def ids(self) -> Iterator[str]:
        yield from (case.id for case in self._quick)
        for ids in self._thorough.values():
            yield from ids

    def matching(self, name: str, whole: bool) -> Iterator[Case]:
        """The cases that a reference means; ``whole`` with those of thorough files."""
        yield from (case for case in self._quick if _matches(case.id, name))
        for path, ids in self._thorough.items() if whole else ():
            if any(_matches(id, name) for id in ids):
                yield from (case for case in load_file(path) if _matches(case.id, name))

    def passed_over(self, name: str, functions: Sequence[str]) -> Iterator[str]:
        """Ids in thorough files that a reference means."""
        for ids in self._thorough.values():
            yield from (
                id for id in ids if _matches(id, name) and (not functions or id.split("/")[0] in functions)
            )


def marked_as_path(reference: str) -> bool:
    """Whether a reference is written as a path is: ``./softmax``, ``/tmp/x``, ``softmax/``, ``x.yaml``."""
    return reference.startswith((".", "/")) or reference.endswith(("/", ".yaml"))


def _always(case: Case) -> bool:
    return True


def _never(case: Case) -> bool:
    return False


def _names_a_topic(name: str) -> bool:
    """Whether a reference is a case or a topic by its name, and not the beginning of many."""
    return len(name.rstrip("/").split("/")) > 1 and not any(mark in name for mark in "*?[")


def _matches(case_id: str, name: str) -> bool:
    return case_id == name or case_id.startswith(name.rstrip("/") + "/") or fnmatch.fnmatchcase(case_id, name)
