"""An adapter in a process of its own: another language's over a pipe, or a Python one isolated.

To the engine it is an adapter like any other; its arrays are NumPy's until they are sent.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lossproof.adapter import Adapter, Call
from lossproof.core.functions import FUNCTIONS
from lossproof.core.guest import Elsewhere
from lossproof.core.verdicts import ProcessFault, RemoteError, Verdict
from lossproof.errors import LossproofError, Unsupported
from lossproof.isolation import protocol
from lossproof.isolation.messages import VERSION, Refused, Skipped, Started
from lossproof.isolation.process import LineProcess
from lossproof.isolation.protocol import ProtocolError

# Importing a framework is not a case's fault; it gets this long (seconds).
START_TIMEOUT = 300.0
_STOP = protocol.dump({"command": "stop"})


class RemoteAdapter(Adapter):
    """Speaks the protocol of spec/protocol.md with a command, and starts it anew when it fails.

    Args:
        command: program and arguments.
        timeout: seconds that one call may take.
        label: what the adapter is called while it has not said its name.

    Raises:
        LossproofError: there is no such program, or it refuses to start.
    """

    def __init__(self, command: Sequence[str], timeout: float, label: str = "") -> None:
        vars(self)["_lossproof_guest"] = Elsewhere()  # none of its code runs here
        self.command = tuple(command)
        self.timeout = timeout
        self._process: LineProcess | None = None
        self._number = 0
        self._broken: ProcessFault | None = None
        unknown = label or " ".join(command)
        self.start: Started | Skipped = Started(
            protocol=VERSION, name=unknown, backend=unknown, device="unknown", functions=tuple(FUNCTIONS)
        )
        try:
            self.start = self._start()
        except ProcessFault as fault:
            # Every case is then a crash with this message; the other adapters go on.
            self._broken = fault
        self.version, self.device = self.start.version, self.start.device
        self.dtypes = self.start.dtypes  # type: ignore[misc]

    def _start(self) -> Started | Skipped:
        process = LineProcess(self.command, _STOP)
        self._process = process
        try:
            line = process.ask(protocol.dump(protocol.start_request()), START_TIMEOUT, protocol.MAX_START)
            answer = protocol.read_start(line)
        except ProtocolError as error:
            self._discard()
            raise ProcessFault(Verdict.ERROR, f"it did not start as the protocol says: {error}") from None
        except ProcessFault as fault:
            self._discard()
            if "No module named" in str(fault) and "lossproof" in str(fault):
                raise LossproofError(
                    f"{self.command[0]}: lossproof is not installed there; install it in that environment"
                ) from None
            raise ProcessFault(fault.verdict, f"it did not start: {fault}") from None
        if isinstance(answer, Refused):
            self.close()
            raise LossproofError(answer.refused)
        return answer

    def twin(self) -> RemoteAdapter:
        """Another process of the same command."""
        return RemoteAdapter(self.command, self.timeout, self.start.name)

    def _discard(self) -> None:
        if self._process is not None:
            self._process.discard()
            self._process = None

    def kill(self) -> None:
        """End the process at once, even while another thread waits for its answer."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Tell the process to stop; the next call starts another."""
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
        answer = self._ask(function, arrays, wrt, cotangent)
        return answer.value, answer.gradients or {}

    def _ask(
        self, function: Call, arrays: Mapping[str, Any], wrt: tuple[str, ...], cotangent: Any
    ) -> protocol.Answer:
        if self._broken is not None:
            raise self._broken
        if self._process is None:
            try:
                self._start()
            except ProcessFault as fault:
                # It would not start for the next case either.
                self._broken = fault
                raise
        assert self._process is not None
        self._number += 1
        request = protocol.run_request(
            self._number, function.function, arrays, function.parameters, wrt, cotangent, self.start.encoding
        )
        try:
            limit = protocol.answer_limit(arrays)
            line = self._process.ask(protocol.dump(request), self.timeout, limit)
            answer = protocol.read_answer(line, self._number, wrt)
        except ProtocolError as error:
            self._discard()
            raise ProcessFault(Verdict.ERROR, f"its answer is not what the protocol says: {error}") from None
        except BaseException:
            # A fault, or Ctrl-C in the middle of an answer: what comes next would be out of step.
            self._discard()
            raise
        if answer.unsupported is not None:
            raise Unsupported(answer.unsupported)
        if answer.error is not None:
            raise RemoteError(answer.error)
        return answer


def serving(reference: str, python: str | None = None) -> list[str]:
    """The command that serves a Python adapter, in another environment's interpreter if given."""
    return [python or sys.executable, "-m", "lossproof.isolation.serve", reference]
