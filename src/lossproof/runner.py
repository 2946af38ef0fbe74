"""Run many cases on one adapter: in this process, or in one of its own that may crash or hang."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lossproof.case import Case, load_file
from lossproof.engine import run_case, same_verdict_for_all
from lossproof.errors import LossproofError
from lossproof.registry import Loaded, load_adapter
from lossproof.results import AdapterInfo, Record, Verdict

# Importing a framework is not a case's fault; it gets this long (seconds).
START_TIMEOUT = 300.0


def jobs(cases: Iterable[Case], dtypes: Sequence[str]) -> list[tuple[Case, str]]:
    """The pairs to run; ``dtypes`` empty means all that each case lists."""
    return [(case, d) for case in cases for d in case.dtypes if not dtypes or d in dtypes]


def run_here(loaded: Loaded, pairs: Iterable[tuple[Case, str]]) -> Iterator[list[Record]]:
    """Run in this process; yields the records of one pair at a time."""
    name = loaded.info.name
    for case, dtype in pairs:
        if loaded.adapter is None:
            reason = loaded.info.skipped or ""
            yield same_verdict_for_all(case, dtype, name, Verdict.SKIPPED, reason)
            continue
        # Overflows and invalid operations are what many cases are about.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield run_case(loaded.adapter, name, case, dtype, loaded.deviations)


def run_isolated(
    reference: str, pairs: Sequence[tuple[Case, str]], timeout: float
) -> Iterator[tuple[AdapterInfo, list[Record]]]:
    """Run in a process of the adapter's own, which is replaced when it crashes or takes too long.

    A crash or timeout costs the pair that was running; the next one gets a new process.
    """
    worker: _Worker | None = None
    info = AdapterInfo(reference, reference, "", "")
    try:
        for case, dtype in pairs:
            if worker is None:
                worker = _Worker(reference)
                if worker.info is None:
                    # It would not start for the next case either.
                    yield from _dead(info, pairs[pairs.index((case, dtype)) :], worker.death())
                    return
                info = worker.info
            outcome = worker.run(case, dtype, timeout)
            if isinstance(outcome, list):
                yield info, outcome
                continue
            verdict, message = outcome
            worker.stop()
            worker = None
            yield info, same_verdict_for_all(case, dtype, info.name, verdict, message)
    finally:
        if worker is not None:
            worker.stop()


def _dead(
    info: AdapterInfo, pairs: Sequence[tuple[Case, str]], death: str
) -> Iterator[tuple[AdapterInfo, list[Record]]]:
    message = f"the adapter's process ended before it was ready: {death}"
    for case, dtype in pairs:
        yield info, same_verdict_for_all(case, dtype, info.name, Verdict.CRASH, message)


class _Worker:
    """A child process that runs one pair at a time and answers in JSON."""

    def __init__(self, reference: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, reference), daemon=True)
        self.process.start()
        theirs.close()
        self.info: AdapterInfo | None = None
        if self.pipe.poll(START_TIMEOUT):
            with suppress(EOFError, ConnectionError):
                answer = json.loads(self.pipe.recv_bytes())
                if "refused" in answer:
                    self.stop()
                    raise LossproofError(answer["refused"])
                self.info = AdapterInfo(**answer)

    def run(self, case: Case, dtype: str, timeout: float) -> list[Record] | tuple[Verdict, str]:
        try:
            task = {"path": str(case.path), "case": case.id, "dtype": dtype}
            self.pipe.send_bytes(json.dumps(task).encode())
            if not self.pipe.poll(timeout):
                return Verdict.TIMEOUT, f"no answer within {timeout:g} s"
            rows = json.loads(self.pipe.recv_bytes())
        except (EOFError, ConnectionError, OSError):
            return Verdict.CRASH, f"the process ended: {self.death()}"
        return [Record(**{**row, "verdict": Verdict(row["verdict"])}) for row in rows]

    def death(self) -> str:
        """How the process ended."""
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"

    def stop(self) -> None:
        self.pipe.close()
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(pipe: Connection, reference: str) -> None:
    """The child's side: load the adapter, then answer tasks until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        loaded = load_adapter(reference)
    except LossproofError as error:
        # Bad usage is for the parent to report, as it does without isolation.
        pipe.send_bytes(json.dumps({"refused": str(error)}).encode())
        return
    pipe.send_bytes(json.dumps(loaded.info.to_json()).encode())
    cases: dict[str, dict[str, Case]] = {}
    while True:
        try:
            task: dict[str, Any] = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            # Without waiting for threads that a framework may have left hanging.
            os._exit(0)
        path = task["path"]
        if path not in cases:
            cases[path] = {case.id: case for case in load_file(Path(path))}
        pair = (cases[path][task["case"]], task["dtype"])
        (rows,) = run_here(loaded, [pair])
        pipe.send_bytes(json.dumps([row.to_json() for row in rows]).encode())
