"""The adapter's side of the protocol for Python adapters: ``python -m lossproof.isolation.serve ADAPTER``.

``lossproof run --isolate`` starts it, with the interpreter of another environment if asked.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from os import _exit  # as it is before an adapter can change it
from queue import SimpleQueue
from typing import Any, BinaryIO

from msgspec import UNSET

from lossproof.adapter import ALL_DTYPES, Adapter, Call
from lossproof.core.functions import FUNCTIONS
from lossproof.core.guest import guest_of
from lossproof.core.layout import laid_out
from lossproof.core.raised import describe
from lossproof.engine.answer import (
    Answer,
    Bound,
    hvp,
    jvp,
    second_backward,
    watched,
    weight_gradient,
    with_threads,
)
from lossproof.errors import LossproofError, Unsupported
from lossproof.isolation import protocol
from lossproof.isolation.encode import encode_array
from lossproof.isolation.messages import (
    VERSION,
    Array,
    Refused,
    Request,
    Run,
    Skipped,
    Start,
    Started,
    Stop,
)
from lossproof.isolation.protocol import decode_array
from lossproof.registry.find import find_adapter
from lossproof.registry.loaded import Loaded


def main() -> None:
    """Answer until told to stop, or until there is nobody to answer."""
    # What the adapter or its framework prints must not come between the answers, nor what it reads between
    # the requests.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    warnings.simplefilter("ignore")
    asked: SimpleQueue[Request] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests, asked), daemon=True).start()
    adapter = _start(sys.argv[1], answers) if isinstance(asked.get(), Start) else None
    if adapter is not None:
        guest_of(adapter).may_leave = True
    while adapter is not None and isinstance(request := asked.get(), Run):
        _send(answers, _run(adapter, request))
    # Without waiting for threads that a framework may have left hanging.
    sys.stderr.flush()
    _exit(0)


def _listen(requests: BinaryIO, asked: SimpleQueue[Request]) -> None:
    """Pass on what is asked; end the process, whatever it is doing, when there is nobody to ask any more."""
    try:
        for line in requests:
            request = protocol.read_request(line)
            asked.put(request)
            if isinstance(request, Stop):
                return
    except protocol.ProtocolError as error:
        print(f"this is no request: {error}", file=sys.stderr, flush=True)
        _exit(1)
    _exit(0)


def _send(answers: BinaryIO, message: Any) -> None:
    rest = memoryview(protocol.dump(message))
    while rest:
        rest = rest[answers.write(rest) :]


def _start(reference: str, answers: BinaryIO) -> Adapter | None:
    try:
        loaded = find_adapter(reference)
    except LossproofError as error:
        # Bad usage is for the parent to report, as it does without isolation.
        _send(answers, Refused(str(error)))
        return None
    _send(answers, _introduce(loaded))
    return loaded.adapter


def _introduce(loaded: Loaded) -> Started | Skipped:
    info, adapter = loaded.info, loaded.adapter
    if adapter is None:
        return Skipped(
            protocol=VERSION, name=info.name, backend=info.backend, version=info.version, device=info.device,
            skipped=info.skipped or "",
        )  # fmt: skip
    return Started(
        protocol=VERSION, name=info.name, backend=info.backend, version=info.version, device=info.device,
        dtypes=tuple(name for name in ALL_DTYPES if name in adapter.dtypes),
        functions=tuple(name for name in FUNCTIONS if getattr(adapter, name, None) is not None),
        keeps_graph=type(adapter).backward_twice is not Adapter.backward_twice,
        derivatives=("jvp", "hvp"),  # an adapter that defines none says so call by call
        weight_gradients=True,  # as these do
        threads=type(adapter).threads is not Adapter.threads,
        mixed=bool(adapter.mixed),
        deviations=tuple(loaded.deviations.entries),
        sources=loaded.sources,
    )  # fmt: skip


def _run(adapter: Adapter, request: Run) -> dict[str, Any]:
    number = request.id
    try:
        bind = _bind(adapter, request)
        if request.derivative is not UNSET:
            return {"id": number, **_derivative(adapter, request, bind)}
        with nullcontext() if request.threads is UNSET else with_threads(adapter, request.threads):
            answer = guest_of(adapter).visit(lambda: _call(adapter, request, bind))
        arrays = {name: encode_array(array) for name, array in answer.outputs.items()}
        message = {"id": number, "value": arrays.pop("value")}
        message["gradients"] = {name.removeprefix("gradients."): array for name, array in arrays.items()}
        if answer.touched is not None:
            message["touched"] = answer.touched
        if answer.kept is not None:
            message["kept"] = answer.kept
        if answer.shared:
            message["shared"] = answer.shared
        return message
    except Unsupported as reason:
        return {"id": number, "unsupported": describe(reason)}
    except BaseException as error:
        return {"id": number, "error": describe(error)}


def _call(adapter: Adapter, request: Run, bind: Callable[[], Bound]) -> Answer:
    moved = [name for name in request.wrt if name in FUNCTIONS[request.function].weights]
    if moved:
        return Answer(weight_gradient(adapter, bind, moved[0]))
    if request.backward == 2:
        return Answer(second_backward(adapter, bind, request.wrt))
    return watched(adapter, bind, request.wrt, request.twice)


def _derivative(adapter: Adapter, request: Run, bind: Callable[[], Bound]) -> dict[str, Any]:
    given = {name: decode_array(item, f"the tangent of {name}") for name, item in request.tangents.items()}

    def tangents() -> dict[str, Any]:
        return {name: adapter.from_numpy(array) for name, array in given.items()}

    ask = jvp if request.derivative == "jvp" else hvp
    found = guest_of(adapter).visit(lambda: ask(adapter, bind, tangents))
    arrays = {name.removeprefix("hvp."): encode_array(array) for name, array in found.items()}
    return arrays if request.derivative == "jvp" else {"hvp": arrays}


def _bind(adapter: Adapter, request: Run) -> Callable[[], Bound]:
    """Decode the arrays of a request; what comes back hands copies of them to the adapter."""

    def decoded(item: Any, what: str) -> Any:
        return laid_out(decode_array(item, what), None if item.layout is UNSET else item.layout)

    function = FUNCTIONS[request.function]
    given = {array.name: decoded(request.arrays[array.name], array.name) for array in function.arrays}
    weights = {
        name: decoded(value, name) for name, value in request.parameters.items() if isinstance(value, Array)
    }
    cotangent = None if request.cotangent is UNSET else decoded(request.cotangent, "cotangent")

    def bind() -> Bound:
        arrays = {name: adapter.from_numpy(array) for name, array in given.items()}
        native = {name: adapter.from_numpy(array) for name, array in weights.items()}
        bound = Call(adapter, function.name, {**request.parameters, **native})
        return bound, arrays, None if cotangent is None else adapter.from_numpy(cotangent)

    return bind


if __name__ == "__main__":
    main()
