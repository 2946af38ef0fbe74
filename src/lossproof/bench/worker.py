"""One backend in a process of its own, timed on request: ``python -m lossproof.bench.worker``.

Answers each JSON line with one: ``prepare`` (first call, warm-up, verdict), ``time`` (seconds of some
calls), ``memory`` (peak of one call). Inputs are rotated, so that a call finds none of them in a cache.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

# Copies of the inputs take this much together, several times the caches of a CPU.
ROTATED_BYTES = 2**27
MAX_COPIES = 64
# Warm-up ends when the last calls agree, or after this many calls or seconds.
WARM_CALLS, WARM_SECONDS, STEADY = 100, 0.3, 0.05

Step = Callable[[], Any]


def main() -> None:
    """Answer until standard input closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what frameworks print must not come between the answers
    warnings.simplefilter("ignore")
    options = json.loads(sys.argv[1])
    if options["cpus"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, options["cpus"])
    worker: Timed | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if worker is None:
                worker = COPYING.get(options["adapter"], Backend)(options["adapter"])
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # one workload's failure is an answer; the next may be fine
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), file=answers)
    os._exit(0)


class Timed:
    """Steps over rotated inputs, whatever they are."""

    steps: Iterator[Step]

    def __init__(self, reference: str) -> None:
        self.reference = reference

    def start(self) -> dict[str, Any]:
        """Who this is."""
        return {}

    def time(self, calls: int) -> dict[str, float]:
        """Seconds per call."""
        start = time.perf_counter()
        for step in itertools.islice(self.steps, calls):
            step()
        return {"seconds": (time.perf_counter() - start) / calls}

    def warm_up(self) -> int:
        """Call until steady; how many calls that took."""
        seen: list[float] = []
        end = time.perf_counter() + WARM_SECONDS
        while len(seen) < WARM_CALLS and time.perf_counter() < end:
            seen.append(self.time(1)["seconds"])
            last = seen[-5:]
            if len(last) == 5 and max(last) - min(last) < STEADY * min(last):
                break
        return len(seen)


class Copying(Timed):
    """Copies memory: the limit for everything that reads and writes as many bytes."""

    def prepare(self, size: int) -> dict[str, Any]:
        """``size`` bytes are moved, one half read and one half written."""
        import numpy as np

        half = max(size // 2, 1)
        copies = _copies(size)
        pairs = [(np.ones(half, np.uint8), np.zeros(half, np.uint8)) for _ in range(copies)]
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        # Handing out pieces costs more than a small copy.
        pool = ThreadPoolExecutor(threads) if threads > 1 and half >= 2**20 else None
        ends = [half * n // threads for n in range(threads + 1)]

        def copy(source: Any, target: Any) -> None:
            if pool is None:
                np.copyto(target, source)
                return
            pieces = [slice(a, b) for a, b in itertools.pairwise(ends)]
            list(pool.map(lambda piece: np.copyto(target[piece], source[piece]), pieces))

        self.steps = itertools.cycle([lambda s=s, t=t: copy(s, t) for s, t in pairs])  # type: ignore[misc]
        self.time(len(pairs))
        return {"warmup_calls": self.warm_up(), "seconds": self.time(3)["seconds"]}

    def exponentials(self) -> dict[str, float]:
        """NumPy's exponentials per second on one thread, by dtype."""
        import numpy as np

        found = {}
        for dtype in ("float64", "float32"):
            x = np.linspace(-20, 0, 2**16, dtype=dtype)
            out = np.empty_like(x)
            self.steps = itertools.repeat(lambda x=x, out=out: np.exp(x, out=out))  # type: ignore[misc]
            self.warm_up()
            found[dtype] = x.size / sorted(self.time(20)["seconds"] for _ in range(9))[4]
        return found


class CopyingOnCuda(Timed):
    """The same on a CUDA device, by PyTorch."""

    def prepare(self, size: int) -> dict[str, Any]:
        """``size`` bytes are moved, one half read and one half written."""
        import torch

        half = max(size // 2, 1)

        def filled(value: int) -> Any:
            return torch.full((half,), value, dtype=torch.uint8, device="cuda")

        pairs = [(filled(1), filled(0)) for _ in range(_copies(size))]

        def copy(source: Any, target: Any) -> None:
            target.copy_(source)
            torch.cuda.synchronize()

        self.steps = itertools.cycle([lambda s=s, t=t: copy(s, t) for s, t in pairs])  # type: ignore[misc]
        return {"warmup_calls": self.warm_up(), "seconds": self.time(3)["seconds"]}


class Backend(Timed):
    """An adapter."""

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        from lossproof.isolation.load import is_command
        from lossproof.registry.find import find_adapter

        if is_command(reference):
            raise TypeError("a command cannot be timed: its pipe would be")
        self.loaded = find_adapter(reference)

    def start(self) -> dict[str, Any]:
        info = self.loaded.info
        answer = {
            "name": info.name, "backend": info.backend, "version": info.version, "device": info.device,
            "skipped": info.skipped,
        }  # fmt: skip
        return {**answer, "device_name": getattr(self.loaded.adapter, "device_name", "")}

    def prepare(self, name: str, direction: str, judged: bool = True) -> dict[str, Any]:
        """Make the step, time its first call, judge its result where that is wanted, warm up."""
        from lossproof.bench.workload import workloads
        from lossproof.case.arrays import numpy_arrays
        from lossproof.engine.answer import Answer
        from lossproof.engine.call import bind
        from lossproof.engine.judge import judge
        from lossproof.errors import Unsupported

        adapter = self.loaded.adapter
        assert adapter is not None
        (work,) = (w for w in workloads() if w.name == name and w.direction == direction)
        if getattr(adapter, work.case.function.name, None) is None or work.dtype not in adapter.dtypes:
            return {"unsupported": "no such function or dtype"}
        call, arrays, _ = bind(adapter, work.case, work.dtype)
        step = adapter.step(call, work.wrt)

        def stepped(given: Mapping[str, Any]) -> Any:
            result = step(given)
            _wait(result)
            adapter.synchronize()
            return result

        start = time.perf_counter()
        try:
            result = stepped(arrays)
        except Unsupported as reason:
            return {"unsupported": str(reason)}
        first = time.perf_counter() - start
        verdicts = {}
        if judged:
            value, gradients = result if work.backward else (result, {})
            outputs = {"value": value, **{f"gradients.{n}": g for n, g in gradients.items()}}
            answer = Answer({n: adapter.to_numpy(output) for n, output in outputs.items()})
            found = judge(work.case, work.dtype, answer, outputs)
            verdicts = {n: str(found[n].verdict) for n in outputs}
            del value, gradients, outputs, answer
        del result
        size = sum(array.nbytes for array in numpy_arrays(work.case, work.dtype).values())
        given = [arrays, *(bind(adapter, work.case, work.dtype)[1] for _ in range(_copies(size) - 1))]
        self.steps = itertools.cycle([lambda g=g: stepped(g) for g in given])  # type: ignore[misc]
        return {
            "first_call_s": first,
            "verdicts": verdicts,
            "warmup_calls": self.warm_up(),
            "seconds": self.time(3)["seconds"],
            "threads": _threads(self.loaded.info.backend),
        }

    def memory(self) -> dict[str, int | None]:
        """Peak bytes of one call beyond what was there before it, on the host and on the device."""
        gc.collect()
        with suppress(OSError, AttributeError, TypeError):  # glibc's alone
            ctypes.CDLL(None).malloc_trim(0)
        info = self.loaded.info
        host = _tensorflow_memory() if info.backend in ("tensorflow", "keras") else _process_memory()
        device = _device_memory(info.backend, info.device)
        result = next(self.steps)()
        peaks = {"host": host() if host else None, "device": device() if device else None}
        del result
        return peaks


def _copies(size: int) -> int:
    return max(2, min(MAX_COPIES, ROTATED_BYTES // max(size, 1)))


def _wait(result: Any) -> None:
    """JAX and others return before they have computed."""
    if isinstance(result, tuple):
        for part in result:
            _wait(part)
    elif isinstance(result, Mapping):
        for part in result.values():
            _wait(part)
    elif hasattr(result, "block_until_ready"):
        result.block_until_ready()


def _threads(backend: str) -> dict[str, Any]:
    """What the framework says of its own threads."""
    found: dict[str, Any] = {}
    with suppress(Exception):
        if backend == "torch":
            import torch

            found["torch"] = torch.get_num_threads()
        if backend in ("tensorflow", "keras"):
            import tensorflow as tf

            found["tensorflow"] = tf.config.threading.get_intra_op_parallelism_threads()
    return found


def _status(field: str) -> int | None:
    """A size in /proc/self/status, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None


def _process_memory() -> Callable[[], int | None] | None:
    """A reader of what the process has grown by at its largest since now, where that can be told."""
    before = _status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    except OSError:
        return _process_memory_elsewhere()
    if before is None:
        return None
    return lambda: max((_status("VmHWM") or before) - before, 0)


def _process_memory_elsewhere() -> Callable[[], int | None] | None:
    """The same without /proc: the peak of all time tells something if it has risen since now."""
    try:
        import psutil
    except ImportError:
        return None
    before, peak = psutil.Process().memory_info().rss, _peak()

    def grown() -> int | None:
        now = _peak()
        return None if peak is None or now is None or now <= peak else max(now - before, 0)

    return grown


def _peak() -> int | None:
    """The most memory that the process has ever had, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        peak: int | None = getattr(psutil.Process().memory_info(), "peak_wset", None)
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _tensorflow_memory() -> Callable[[], int]:
    """The same by TensorFlow's own count: it keeps memory that it has used, so the process does not grow."""
    import tensorflow as tf

    tf.config.experimental.reset_memory_stats("CPU:0")
    before = tf.config.experimental.get_memory_info("CPU:0")["current"]
    return lambda: int(tf.config.experimental.get_memory_info("CPU:0")["peak"]) - before


def _device_memory(backend: str, device: str) -> Callable[[], int] | None:
    """A reader of the device's peak since now, where there is a device."""
    if device != "cuda":
        return None
    if backend == "torch":
        import torch

        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        return lambda: int(torch.cuda.max_memory_allocated()) - before
    if backend in ("jax", "optax"):
        import jax

        # The peak is the process's; a device that is used by one step alone has no other.
        return lambda: int(jax.devices()[0].memory_stats()["peak_bytes_in_use"])
    return None


COPYING: dict[str, type[Timed]] = {"copy-cpu": Copying, "copy-cuda": CopyingOnCuda}


if __name__ == "__main__":
    main()
