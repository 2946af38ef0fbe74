"""Several processes that make every call together, each one rank of them, as ``torchrun`` starts them.

To ``RemoteAdapter`` they are one process: all are sent the same line, and answer with one that is the same,
or they disagree. What befalls one befalls all; the others may wait for it for ever.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

import numpy as np

from lossproof.core.text import shortened
from lossproof.core.verdicts import ProcessFault, Verdict
from lossproof.isolation import protocol
from lossproof.isolation.process import GRACE, LineProcess

LOOPBACK = "127.0.0.1"


class Disagreement(ProcessFault):
    """Ranks gave different answers. They are in step all the same."""


class Ranks:
    """Does what ``LineProcess`` does, with one of them for each rank."""

    def __init__(self, command: Sequence[str], count: int, farewell: bytes = b"") -> None:
        """Start them.

        Args:
            command: program and arguments.
            count: how many there are.
            farewell: the line that each is sent in the end.

        Raises:
            LossproofError: there is no such program.
        """
        # Bound and never listened to, the port is nobody else's, and the first rank's to listen to.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind((LOOPBACK, 0))
        shared = {
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": LOOPBACK,
            "MASTER_PORT": str(self._port.getsockname()[1]),
            "OMP_NUM_THREADS": "1",
        }
        self._ranks: list[LineProcess] = []
        self.spent = False
        try:
            for rank in map(str, range(count)):
                own = {"RANK": rank, "LOCAL_RANK": rank}
                self._ranks.append(LineProcess(command, farewell, {**shared, **own}))
        except BaseException:
            self.stop()
            raise

    def ask(self, line: bytes, timeout: float, limit: int) -> bytes:
        """Send all of them a line and wait for one of each.

        Raises:
            Disagreement: their answers are not the same.
            ProcessFault: what befell one of them.
        """
        answers: dict[int, bytes] = {}
        faults: dict[int, ProcessFault] = {}
        pool = ThreadPoolExecutor(len(self._ranks))
        asked = {pool.submit(one.ask, line, timeout, limit): rank for rank, one in enumerate(self._ranks)}
        waiting: set[Future[bytes]] = set(asked)
        try:
            while waiting:
                # Those that have no answer may wait for one that has raised or is gone.
                ended = bool(faults) or any(map(_refuses, answers.values()))
                done, waiting = wait(waiting, GRACE if ended else None, FIRST_COMPLETED)
                for future in done:
                    try:
                        answers[asked[future]] = future.result()
                    except ProcessFault as fault:
                        faults[asked[future]] = fault
                if not done:
                    break
        finally:
            pool.shutdown(wait=False)
        if faults:
            # What the others are left with by one that has died is not what happened.
            rank = min(faults, key=lambda one: (faults[one].verdict is not Verdict.CRASH, one))
            raise ProcessFault(faults[rank].verdict, f"rank {rank}: {faults[rank]}")
        self.spent = bool(waiting)
        return self._agreed(answers)

    def _agreed(self, answers: dict[int, bytes]) -> bytes:
        """The answer of all; or the first one's that refused, where others waited or said so otherwise."""
        if not self.spent and len(set(answers.values())) == 1:
            return answers[0]
        refusing = [rank for rank in sorted(answers) if _refuses(answers[rank])]
        if not refusing or (len(refusing) < len(answers) and not self.spent):
            raise Disagreement(Verdict.ERROR, _difference(answers))
        # What the others were doing when it refused, they may still be doing.
        self.spent = True
        rank = refusing[0]
        return _noted(answers[rank], f" (rank {rank})")

    def quoted(self) -> str:
        """What the first that printed anything printed."""
        return next(filter(None, (one.quoted() for one in self._ranks)), "")

    def kill(self) -> None:
        """Kill all of them and all that they started."""
        for one in self._ranks:
            one.kill()

    def stop(self) -> None:
        """End them: politely, then with all that they started."""
        with ThreadPoolExecutor(max(1, len(self._ranks))) as pool:
            list(pool.map(LineProcess.stop, self._ranks))
        self._port.close()

    def discard(self) -> None:
        """End them without a farewell."""
        self.kill()
        self.stop()


# What an answer is that holds no outputs, and the field that says why.
_REFUSALS = ("error", "unsupported", "skipped", "refused")


def _fields(answer: bytes) -> dict[str, Any]:
    """What an answer holds; nothing if it is none, which whoever asked finds out."""
    with suppress(ValueError, RecursionError):
        found = json.loads(answer)
        if isinstance(found, dict):
            return found
    return {}


def _refuses(answer: bytes) -> bool:
    return not _fields(answer).keys().isdisjoint(_REFUSALS)


def _noted(answer: bytes, note: str) -> bytes:
    """A refusal with a note behind its reason."""
    fields = _fields(answer)
    reasons = {name: f"{fields[name]}{note}" for name in _REFUSALS if name in fields}
    return protocol.dump({**fields, **reasons}).rstrip(b"\n")


def _difference(answers: dict[int, bytes]) -> str:
    """Which rank is not of the others' opinion, and on what."""
    usual = Counter(answers[rank] for rank in sorted(answers)).most_common(1)[0][0]
    rank = next(rank for rank in sorted(answers) if answers[rank] == usual)
    other = next(rank for rank in sorted(answers) if answers[rank] != usual)
    due, got = _outputs(usual), _outputs(answers[other])
    name = next((name for name in {**due, **got} if due.get(name) != got.get(name)), "answer")
    one, two = got.get(name), due.get(name)
    pair = f"{_shown(one, two)} where rank {rank} gives {_shown(two, one)}"
    return f"rank {other} gives another {name} than rank {rank}: {pair}"


def _outputs(answer: bytes) -> dict[str, Any]:
    fields = _fields(answer)
    nested = {name: fields.pop(name, None) or {} for name in ("gradients", "hvp")}
    inner = {f"{name}.{array}": item for name, found in nested.items() for array, item in found.items()}
    return {**fields, **inner}


def _shown(item: Any, other: Any) -> str:
    """An output as text: of an array the first element in which it differs from another of its shape."""
    try:
        mine, theirs = (protocol.decode_array(one, "") for one in (item, other))
    except protocol.ProtocolError:
        return "nothing" if item is None else shortened(str(item))
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return f"{mine.dtype} of shape {mine.shape}"
    mine, theirs = (array.astype(np.float64) for array in (mine, theirs))
    same = (mine == theirs) & (np.signbit(mine) == np.signbit(theirs)) | np.isnan(mine) & np.isnan(theirs)
    place = tuple(int(index) for index in np.argwhere(~same)[0])
    return f"{float(mine[place])!r}" + (f" at {list(place)}" if place else "")
