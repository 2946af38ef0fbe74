"""An adapter over a pipe that does one thing wrong: python misbehaving.py KIND.

It computes sigmoids in the standard library alone, and misbehaves on the case whose logits are the
scalar 0.75, or at the start if KIND begins with ``start-``.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def forever() -> None:
    while True:
        time.sleep(1)


def out_of_memory() -> None:
    # A limit stands in for the machine's: the allocation fails and the process gives up.
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))
    try:
        bytearray(2**32)
    except MemoryError:
        os.abort()


def close(descriptor: int) -> None:
    os.close(descriptor)
    forever()


def leave_a_grandchild() -> None:
    """End, while something that was started holds the pipes."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    os._exit(3)


def say_and(text: str, then: Callable[[], Any]) -> None:
    say(text)
    then()


def say_forever(text: str) -> None:
    for _ in range(10**6):
        say(text)


def not_utf_8() -> None:
    sys.stdout.buffer.write(b'{"id": "\xff\xfe"}\n')
    sys.stdout.flush()


def value(**changes: Any) -> str:
    good = {"dtype": "float32", "shape": [], "data": [0.5]}
    return json.dumps({"id": number, "value": {**good, **changes}, "gradients": {"logits": good}}) + "\n"


number = 0
FAULTS: dict[str, Callable[[], Any]] = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "floating-point-exception": lambda: os.kill(os.getpid(), signal.SIGFPE),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "real-time-signal": lambda: os.kill(os.getpid(), signal.SIGRTMIN + 3),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "out-of-memory": out_of_memory,
    "grandchild": leave_a_grandchild,
    "exit-0": lambda: os._exit(0),
    "exit-7": lambda: os._exit(7),
    "endless-loop": forever,
    "garbage": lambda: say("Loading weights…\n"),
    "garbage-before-the-answer": lambda: say("warning\n" + value()),
    "empty-line": lambda: say("\n"),
    "not-utf-8": not_utf_8,
    "half-a-line-then-silence": lambda: say_and('{"id": 1, "val', forever),
    "half-a-line-then-exit": lambda: say_and('{"id": 1, "val', lambda: os._exit(3)),
    "endless-line": lambda: say_forever("x" * 65536),
    "endless-lines": lambda: say_forever("{}\n" * 20000),
    "two-answers": lambda: say(value() * 2),
    "closed-output": lambda: close(1),
    "closed-input": lambda: close(0),
    "deep": lambda: say("[" * 60000 + "\n"),
    "long-integer": lambda: say('{"id": ' + "9" * 60000 + "}\n"),
    "bare-nan": lambda: say('{"id": NaN}\n'),
    "list": lambda: say("[1, 2]\n"),
    "wrong-id": lambda: say('{"id": 123456, "unsupported": "x"}\n'),
    "no-value": lambda: say(json.dumps({"id": number}) + "\n"),
    "huge-shape": lambda: say(value(shape=[10**9, 10**9])),
    "large-shape": lambda: say(value(shape=[2**25])),
    "negative-shape": lambda: say(value(shape=[-1])),
    "shape-text": lambda: say(value(shape="[]")),
    "unknown-dtype": lambda: say(value(dtype="object")),
    "too-few-numbers": lambda: say(value(shape=[2], data=[0.5])),
    "number-as-text": lambda: say(value(data=["0.5"])),
    "bad-base64": lambda: say(value(data="!!!!!!!=")),
    "short-base64": lambda: say(value(data="AAAA")),
    "no-gradient": lambda: say(json.dumps({**json.loads(value()), "gradients": {}}) + "\n"),
    "error-object": lambda: say(json.dumps({"id": number, "error": {"a": 1}}) + "\n"),
}  # fmt: skip

# What only POSIX has.
POSIX_FAULTS = {"floating-point-exception", "killed", "out-of-memory", "real-time-signal", "stopped"}

START_FAULTS: dict[str, Callable[[], Any]] = {
    "start-exit": lambda: os._exit(4),
    "start-segfault": lambda: ctypes.string_at(0),
    "start-garbage": lambda: say("hello\n"),
    "start-wrong-protocol": lambda: say('{"protocol": 99, "name": "x", "functions": []}\n'),
    "start-no-functions": lambda: say('{"protocol": 1, "name": "x"}\n'),
    "start-unknown-function": lambda: say('{"protocol": 1, "name": "x", "functions": ["relu"]}\n'),
    "start-and-end": lambda: os._exit(0),
    "start-grandchild": leave_a_grandchild,
    "start-endless": lambda: say_forever("x" * 65536),
    "start-name-object": lambda: say('{"protocol": 1, "name": {}, "functions": []}\n'),
}


def sigmoid(x: float) -> float:
    if math.isnan(x):
        return x
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(max(x, -745.0)) / (1 + math.exp(max(x, -745.0)))


def main(kind: str) -> None:
    global number
    for line in sys.stdin:
        message = json.loads(line)
        if message["command"] == "stop":
            return
        if message["command"] == "start":
            if kind in START_FAULTS:
                START_FAULTS[kind]()
            start = {"protocol": 1, "name": kind, "dtypes": ["float32"], "functions": ["sigmoid"]}
            say(json.dumps({**start, "encoding": "text"}) + "\n")
            continue
        number = message["id"]
        logits = message["arrays"]["logits"]
        if logits["shape"] == []:
            print("about to fail", file=sys.stderr, flush=True)
            FAULTS[kind]()
        special = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "-0": -0.0}
        x = [special[n] if isinstance(n, str) else n for n in logits["data"]]
        print("noise on the other stream " * 4000, file=sys.stderr)
        y = [sigmoid(n) for n in x]
        data = ["NaN" if math.isnan(n) else n for n in y]
        answer: dict[str, Any] = {"id": number, "value": {**logits, "data": data}}
        if message["wrt"]:
            weights = message.get("cotangent", {"data": [1.0] * len(y)})["data"]
            slopes = [w * n * (1 - n) for w, n in zip(weights, y)]
            answer["gradients"] = {"logits": {**logits, "data": slopes}}
        say(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
