"""The adapter's side of the protocol for Python adapters: ``python -m lossproof.isolation.serve ADAPTER``.

``lossproof run --isolate`` starts it, with the interpreter of another environment if asked.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

from lossproof.adapter import Adapter, Call
from lossproof.case.inputs import laid_out
from lossproof.core.functions import FUNCTIONS
from lossproof.engine.answer import call_outputs, describe
from lossproof.errors import LossproofError, Unsupported
from lossproof.isolation import protocol
from lossproof.isolation.encode import encode_array
from lossproof.isolation.protocol import Answer, Start, decode_array
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
            message = protocol.parse(line)
            if message.get("command") != "run":
                break
            _send(answers, _run(adapter, message))
    # Without waiting for threads that a framework may have left hanging.
    sys.stderr.flush()
    os._exit(0)


def _send(answers: BinaryIO, message: Mapping[str, Any]) -> None:
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
        _send(answers, {"refused": str(error)})
        return None
    _send(answers, _introduce(loaded).to_json())
    return loaded.adapter


def _introduce(loaded: Loaded) -> Start:
    info, adapter = loaded.info, loaded.adapter
    if adapter is None:
        return Start(info.name, info.backend, info.version, info.device, skipped=info.skipped or "")
    return Start(
        info.name, info.backend, info.version, info.device,
        dtypes=tuple(adapter.dtypes),
        functions=tuple(name for name in FUNCTIONS if getattr(adapter, name, None) is not None),
        deviations=tuple(entry.to_json() for entry in loaded.deviations.entries),
    )  # fmt: skip


def _run(adapter: Adapter, message: Mapping[str, Any]) -> dict[str, Any]:
    number = message.get("id")
    try:
        answer = _call(adapter, message)
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


def _call(adapter: Adapter, message: Mapping[str, Any]) -> Answer:
    def native(item: Any, what: str) -> Any:
        return adapter.from_numpy(laid_out(decode_array(item, what), item.get("layout")))

    function = FUNCTIONS[message["function"]]
    sent = message["arrays"]
    arrays = {array.name: native(sent[array.name], array.name) for array in function.arrays}
    kinds = {parameter.name: parameter.kind for parameter in function.parameters}
    parameters = {
        name: native(value, name)
        if kinds[name] == "array" and value is not None
        else tuple(value) if isinstance(value, list) else value
        for name, value in message["parameters"].items()
    }  # fmt: skip
    cotangent = native(message["cotangent"], "cotangent") if "cotangent" in message else None
    call = Call(adapter, function.name, parameters)
    try:
        outputs = call_outputs(adapter, call, arrays, tuple(message["wrt"]), cotangent)
    except Unsupported as reason:
        return Answer(unsupported=str(reason))
    value = outputs.pop("value")
    return Answer(value, {name.removeprefix("gradients."): array for name, array in outputs.items()})


if __name__ == "__main__":
    main()
