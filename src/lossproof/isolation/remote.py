"""An adapter in a process of its own: another language's over a pipe, or a Python one isolated.

To the engine it is an adapter like any other; its arrays are NumPy's until they are sent.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from lossproof.adapter import Adapter, Call
from lossproof.core.functions import FUNCTIONS
from lossproof.core.guest import Elsewhere
from lossproof.core.verdicts import ProcessFault, RemoteError, Verdict
from lossproof.errors import LossproofError, Unsupported
from lossproof.isolation import protocol
from lossproof.isolation.messages import Refused, Skipped, Started
from lossproof.isolation.process import LineProcess
from lossproof.isolation.protocol import ProtocolError
from lossproof.isolation.ranks import Disagreement, Ranks

# A process that does not start again is given these pauses (seconds): a device, or memory, may be about to
# come free.
PAUSES = (0.5, 2.0)
_STOP = protocol.dump({"command": "stop"})
# What a Python without lossproof prints.
_NO_LOSSPROOF = re.compile("No module named '?lossproof")


class NotStarted(LossproofError):
    """An adapter's process did not start, or ended before it had said what it is."""


class RemoteAdapter(Adapter):
    """Speaks the protocol of spec/protocol.md with a command, and starts it anew when it fails.

    Args:
        command: program and arguments.
        timeout: seconds that a start may take, and each call.
        label: what messages call it.
        start: what another process of the command has said; this one is then started when it is needed.
        ranks: how many processes of it make each call together.

    Raises:
        LossproofError: there is no such program, it refuses to start, or it does not (``NotStarted``).
    """

    weight_gradients = True  # of some commands, which say so

    def __init__(
        self,
        command: Sequence[str],
        timeout: float,
        label: str = "",
        start: Started | Skipped | None = None,
        ranks: int = 1,
    ) -> None:
        self._guest = vars(self)["_lossproof_guest"] = Elsewhere()  # none of its code runs here
        if not timeout > 0:
            raise LossproofError(f"a timeout must be above 0 (seconds), not {timeout}")
        self.command = tuple(command)
        self.timeout = self.start_timeout = timeout
        self.ranks = ranks
        self._process: LineProcess | Ranks | None = None
        self._number = 0
        self._threads: int | None = None
        self._broken: ProcessFault | None = None
        self._killed = False
        self.label = label or " ".join(command)
        try:
            self.start: Started | Skipped = self._start() if start is None else start
        except ProcessFault as fault:
            raise NotStarted(f"adapter {self.label!r} did not start: {fault}") from None
        self.version, self.device = self.start.version, self.start.device
        self.dtypes = self.start.dtypes  # type: ignore[misc]
        self.mixed = self.start.mixed  # type: ignore[misc]

    def _start(self) -> Started | Skipped:
        process: LineProcess | Ranks
        if self.ranks == 1:
            process = LineProcess(self.command, _STOP)
        else:
            process = Ranks(self.command, self.ranks, _STOP)
        self._process = process
        if self._killed:  # by another thread, in this very moment
            process.kill()
        try:
            line = process.ask(
                protocol.dump(protocol.start_request()), self.start_timeout, protocol.MAX_START
            )
            answer = protocol.read_start(line)
        except ProtocolError as error:
            quoted = process.quoted()
            self._discard()
            raise ProcessFault(Verdict.ERROR, f"it does not keep to the protocol: {error}{quoted}") from None
        except ProcessFault as fault:
            self._discard()
            if _NO_LOSSPROOF.search(str(fault)):
                raise LossproofError(
                    f"{self.command[0]}: lossproof is not installed there; install it in that environment"
                ) from None
            raise
        except BaseException:
            self._discard()
            raise
        if isinstance(answer, Refused):
            self.close()
            raise LossproofError(answer.refused)
        return answer

    def twin(self) -> RemoteAdapter:
        """Another process of the same command, which ``ready`` starts."""
        return RemoteAdapter(self.command, self.timeout, self.label, self.start, self.ranks)

    def ready(self) -> None:
        """Have a process that can be asked: start one if there is none, and try again if that fails.

        Raises:
            ProcessFault: it did not start several times, now or earlier; it is not tried again.
        """
        if self._broken is not None:
            raise self._broken
        if self._process is not None:
            return
        for pause in (0.0, *PAUSES):
            time.sleep(pause)
            if self._killed:
                raise ProcessFault(Verdict.CRASH, "it was killed")
            try:
                self._start_again()
                return
            except ProcessFault as fault:
                last = fault
        tries = len(PAUSES) + 1
        self._broken = ProcessFault(last.verdict, f"it did not start again, {tries} times: {last}")
        raise self._broken

    def _start_again(self) -> None:
        try:
            answer = self._start()
        except LossproofError as error:
            raise ProcessFault(Verdict.CRASH, str(error)) from None
        if isinstance(answer, Skipped):
            self.close()
            raise ProcessFault(Verdict.CRASH, f"it cannot run here any more: {answer.skipped}")

    def _discard(self) -> None:
        if self._process is not None:
            self._process.discard()
            self._process = None

    def kill(self) -> None:
        """End the process at once and start no other, even while another thread waits for its answer."""
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Tell the process to stop; the next call starts another."""
        self._killed = False
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __getattr__(self, name: str) -> Any:
        # The functions of the specification that the adapter said it has.
        if name != "start" and name in FUNCTIONS and name in self.start.functions:
            return partial(self._call_alone, name)
        raise AttributeError(name)

    def _call_alone(self, function: str, *arrays: Any, **parameters: Any) -> Any:
        names = [array.name for array in FUNCTIONS[function].arrays]
        return self.evaluate(Call(self, function, parameters), dict(zip(names, arrays, strict=True)))

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        return self._ask(function, arrays, (), None).value

    def value_and_gradients(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        if function.moved:
            if not self.start.weight_gradients:
                raise Unsupported("the adapter does not say that it gives gradients of weights")
            self._guest.twice = False
        answer = self._ask(function, arrays, wrt, cotangent)
        return answer.value, answer.gradients or {}

    def backward_twice(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        *,
        cotangent: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        if not self.start.keeps_graph:
            raise Unsupported("the adapter does not say that it keeps the graph of a call")
        self._guest.twice = False
        answer = self._ask(function, arrays, wrt, cotangent, backward=2)
        return answer.value, answer.gradients or {}

    def jvp(self, function: Call, arrays: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        return self._derivatives("jvp", function, arrays, tangents, None)["jvp"]

    def hvp(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        *,
        cotangent: Any = None,
    ) -> Mapping[str, Any]:
        return self._derivatives("hvp", function, arrays, tangents, cotangent)

    def _derivatives(
        self,
        kind: str,
        function: Call,
        arrays: Mapping[str, Any],
        tangents: Mapping[str, Any],
        cotangent: Any,
    ) -> Mapping[str, Any]:
        if kind not in self.start.derivatives:
            raise Unsupported(f"the adapter does not say that it has {kind}")
        answer = self._ask(function, arrays, (), cotangent, kind, tangents)
        return answer.derivatives or {}

    @contextmanager
    def threads(self, count: int) -> Iterator[None]:
        if not self.start.threads:
            raise Unsupported("the adapter does not say that it changes the number of threads")
        self._threads = count
        try:
            yield
        finally:
            self._threads = None

    def _ask(
        self,
        function: Call,
        arrays: Mapping[str, Any],
        wrt: tuple[str, ...],
        cotangent: Any,
        derivative: str | None = None,
        tangents: Mapping[str, Any] | None = None,
        backward: int = 1,
    ) -> protocol.Answer:
        try:
            self.ready()
        except ProcessFault as fault:
            if self._broken is not None:
                # It is told once what the process printed.
                self._broken = ProcessFault(fault.verdict, "not asked: the process did not start any more")
            raise
        assert self._process is not None
        self._number += 1
        arrays, parameters = function.apart(arrays)
        request = protocol.run_request(
            self._number, function.function, arrays, parameters, wrt, cotangent, self.start.encoding,
            self._guest.twice and derivative is None, derivative, tangents, backward, self._threads,
        )  # fmt: skip
        try:
            due = wrt if tangents is None else tuple(tangents)
            limit = protocol.answer_limit(function.function, arrays, parameters, due)
            line = self._process.ask(protocol.dump(request), self.timeout, limit)
            answer = protocol.read_answer(line, self._number, wrt, derivative, due)
        except ProtocolError as error:
            self._discard()
            raise ProcessFault(Verdict.ERROR, f"its answer is not what the protocol says: {error}") from None
        except Disagreement:
            raise
        except BaseException:
            # A fault, or Ctrl-C in the middle of an answer: what comes next would be out of step.
            self._discard()
            raise
        if self._process.spent:
            self._discard()
        if answer.unsupported is not None:
            raise Unsupported(answer.unsupported)
        if answer.error is not None:
            raise RemoteError(answer.error)
        self._guest.touched, self._guest.kept = answer.touched, answer.kept
        self._guest.shared = answer.shared
        return answer


def serving(reference: str, python: str | None = None) -> list[str]:
    """The command that serves a Python adapter, in another environment's interpreter if given."""
    return [python or sys.executable, "-m", "lossproof.isolation.serve", reference]
