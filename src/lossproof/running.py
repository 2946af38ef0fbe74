"""A whole run from Python: ``lossproof.run``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from typing import Any

from lossproof.adapter import Adapter
from lossproof.errors import LossproofError
from lossproof.isolation.load import CASE_TIMEOUT
from lossproof.registry.choice import Choice
from lossproof.results.file import Results, environment
from lossproof.session import Session

Reference = str | os.PathLike[str]
Backend = Reference | Adapter | type[Adapter]


def run(
    adapter: Backend | Iterable[Backend] | None = None,
    *,
    cases: Reference | Iterable[Reference] = (),
    functions: str | Iterable[str] = (),
    dtypes: str | Iterable[str] = (),
    modes: str | Iterable[str] = (),
    thorough: bool = False,
    huge: bool = False,
    isolate: bool | None = None,
    python: Reference | None = None,
    timeout: float = CASE_TIMEOUT,
    jobs: int = 1,
) -> Results:
    """Run cases on backends; what fails is in the results and raises nothing.

    Args:
        adapter: a name (``torch``), a path of a file or of a command that speaks JSON lines,
            ``package.module:Class``, an adapter or its class, or several of them; without one, every
            installed backend.
        cases: ids, beginnings of ids (``softmax``, ``softmax/limits``) or patterns, files or folders
            of case files, one or several; without one, all of lossproof's own.
        functions: only cases of this function, or of these.
        dtypes: only this dtype (``float64``, ``float32``, ``float16``, ``bfloat16``), or these;
            without one, all that each case lists.
        modes: run under this transformation of the framework (``vmap``, ``compile``), or each of these,
            instead of as it is; docs/modes.md lists them.
        thorough: run the long and the redundant cases, too, which the quick set leaves out; a case, topic
            or file that is named is run all the same.
        huge: run the huge cases, too, of arrays past 2**31 elements, each where there is memory for it.
        isolate: run each adapter in a process of its own, so that a crash or a hang costs one case; by
            default every one that is not built in. Adapters given as objects or classes run in this one.
        python: the interpreter of the environment that the adapters run in.
        timeout: seconds that a process of its own may take to start, and for each call.
        jobs: processes that each adapter's cases are spread over; more than 1 isolates.

    Returns:
        A record per judged output, in memory; ``lossproof run --json`` keeps those of a run that is
        too large for that on disk.

    Raises:
        LossproofError: an unknown adapter, case, function, dtype or mode, an adapter that fails to load, two
            of one name, a malformed file (``InputError``, with file and line), or no case left to run.
    """
    interpreter = None if python is None else os.fspath(python)
    chosen = [_choice(one, interpreter) for one in _several(adapter)]
    if adapter is not None and not chosen:
        raise LossproofError("no adapter is given; without the argument, every installed backend runs")
    with Session(
        chosen,
        [_text(one) for one in _several(cases)],
        _several(functions),
        _several(dtypes),
        modes=_several(modes),
        thorough=thorough,
        huge=huge,
        isolate=True if interpreter is not None else isolate,
        timeout=timeout,
        jobs=jobs,
    ) as session:
        records = [row for one in session.adapters for rows in session.records(one) for row in rows]
        return Results(environment(session.set), tuple(one.info for one in session.adapters), tuple(records))


def _several(given: Any) -> list[Any]:
    """One thing or several; None is none."""
    if given is None:
        return []
    one = isinstance(given, (str, os.PathLike, Adapter, type)) or not isinstance(given, Iterable)
    return [given] if one else list(given)


def _choice(given: Backend, python: str | None) -> Choice | Adapter | type[Adapter]:
    if isinstance(given, str):
        return Choice(given, python)
    if isinstance(given, os.PathLike):
        text = _text(given)
        # The path of a command is one word of it, whatever is in it.
        return Choice(text if text.endswith(".py") else shlex.quote(text), python)
    return given


def _text(given: Reference) -> str:
    """A reference as it is typed; a path object is a path even where it looks like a name."""
    if isinstance(given, str):
        return given
    path = os.fspath(given)
    return path if os.path.isabs(path) else os.path.join(os.curdir, path)
