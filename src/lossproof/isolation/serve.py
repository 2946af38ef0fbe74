"""The adapter's side of the protocol for Python adapters: ``python -m lossproof.isolation.serve ADAPTER``.

``lossproof run --isolate`` starts it, with the interpreter of another environment if asked.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any, BinaryIO

from msgspec import UNSET

from lossproof.adapter import Adapter, Call
from lossproof.core.functions import FUNCTIONS
from lossproof.core.layout import laid_out
from lossproof.engine.answer import call_outputs, describe
from lossproof.errors import LossproofError, Unsupported
from lossproof.isolation import protocol
from lossproof.isolation.encode import encode_array
from lossproof.isolation.messages import VERSION, Array, Refused, Run, Skipped, Started
from lossproof.isolation.protocol import Answer, decode_array
from lossproof.registry.find import find_adapter
from lossproof.registry.loaded import Loaded


def main() -> None:
    """Answer until standard input closes."""
    # What the adapter or its framework prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    warnings.simplefilter("ignore")
    adapter = _start(sys.argv[1], sys.stdin.buffer, answers)
    if adapter is not None:
        for line in sys.stdin.buffer:
            request = protocol.read_request(line)
            if not isinstance(request, Run):
                break
            _send(answers, _run(adapter, request))
    # Without waiting for threads that a framework may have left hanging.
    sys.stderr.flush()
    os._exit(0)


def _send(answers: BinaryIO, message: Any) -> None:
    rest = memoryview(protocol.dump(message))
    while rest:
        rest = rest[answers.write(rest) :]


def _start(reference: str, requests: BinaryIO, answers: BinaryIO) -> Adapter | None:
    if not requests.readline():
        return None
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
        dtypes=tuple(adapter.dtypes),
        functions=tuple(name for name in FUNCTIONS if getattr(adapter, name, None) is not None),
        deviations=tuple(loaded.deviations.entries),
        sources=loaded.sources,
    )  # fmt: skip


def _run(adapter: Adapter, request: Run) -> dict[str, Any]:
    number = request.id
    try:
        answer = _call(adapter, request)
        if answer.unsupported is not None:
            return {"id": number, "unsupported": answer.unsupported}
        assert answer.value is not None
        gradients = answer.gradients or {}
        return {
            "id": number,
            "value": encode_array(answer.value),
            "gradients": {name: encode_array(array) for name, array in gradients.items()},
        }
    except (Exception, SystemExit) as error:
        return {"id": number, "error": describe(error)}


def _call(adapter: Adapter, request: Run) -> Answer:
    def native(item: Array, what: str) -> Any:
        layout = None if item.layout is UNSET else item.layout
        return adapter.from_numpy(laid_out(decode_array(item, what), layout))

    function = FUNCTIONS[request.function]
    arrays = {array.name: native(request.arrays[array.name], array.name) for array in function.arrays}
    parameters = {
        name: native(value, name) if isinstance(value, Array) else value
        for name, value in request.parameters.items()
    }
    cotangent = None if request.cotangent is UNSET else native(request.cotangent, "cotangent")
    call = Call(adapter, function.name, parameters)
    try:
        outputs = call_outputs(adapter, call, arrays, request.wrt, cotangent)
    except Unsupported as reason:
        return Answer(unsupported=str(reason))
    value = outputs.pop("value")
    return Answer(value, {name.removeprefix("gradients."): array for name, array in outputs.items()})


if __name__ == "__main__":
    main()
