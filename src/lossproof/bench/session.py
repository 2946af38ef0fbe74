"""Time backends on workloads: each in a process of its own, interleaved round by round."""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossproof.bench.stats import summary
from lossproof.bench.workload import Workload
from lossproof.cli import Choice
from lossproof.errors import LossproofError, ProcessFault
from lossproof.process import LineProcess
from lossproof.results import environment

LINE_LIMIT = 2**20
# A timed sample takes at least this long, so that the clock and the pipe do not count.
SAMPLE_SECONDS = 0.005
MIN_ROUNDS = 7
# What is moved to measure the bandwidth of memory alone.
LARGE_COPY = 2**27
# Libraries read these when they start their thread pools.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
# Every large block is mapped anew and given back at once, so that memory in use is memory seen.
_MEMORY_VARIABLES = ("MALLOC_MMAP_THRESHOLD_=65536", "MALLOC_TRIM_THRESHOLD_=0")


@dataclass(frozen=True)
class Plan:
    """How to measure."""

    choices: Sequence[Choice]
    workloads: Sequence[Workload]
    threads: Sequence[int]
    rounds: int = 21
    seconds: float = 2.0
    """Per backend, workload and direction; at least ``MIN_ROUNDS`` rounds are made all the same."""
    timeout: float = 600.0


class Worker:
    """A backend's process; started when it is first asked, and again after it has died."""

    def __init__(self, choice: Choice, threads: int, timeout: float, memory: bool = False) -> None:
        allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        options = {"adapter": choice.reference, "cpus": allowed[:threads]}
        self._command = [
            "env", *(f"{name}={threads}" for name in _THREAD_VARIABLES),
            *(_MEMORY_VARIABLES if memory else ()),
            choice.python or sys.executable, "-m", "lossproof.bench.worker", json.dumps(options),
        ]  # fmt: skip
        self._timeout = timeout
        self._process: LineProcess | None = None

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """One request; whatever goes wrong is an ``error`` in the answer."""
        self._process = self._process or LineProcess(self._command)
        line = json.dumps({"do": do, **given}).encode() + b"\n"
        try:
            answer: dict[str, Any] = json.loads(self._process.ask(line, self._timeout, LINE_LIMIT))
        except ProcessFault as fault:
            self.stop()
            return {"error": f"{fault.verdict}: {fault}"}
        return answer

    def stop(self) -> None:
        if self._process:
            self._process.stop()
        self._process = None


@dataclass
class _Entry:
    """One backend on one workload."""

    worker: Worker
    info: Mapping[str, Any]
    prepared: Mapping[str, Any]
    samples: list[float] = field(default_factory=list)


def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything in the plan, as a document in pytest-benchmark's format.

    Raises:
        LossproofError: no backend of the plan can run.
    """
    benchmarks: list[dict[str, Any]] = []
    problems: list[str] = []
    limits: dict[str, Any] = {}
    for threads in plan.threads:
        copying = {"cpu": Worker(Choice("copy-cpu"), threads, plan.timeout)}
        limits.setdefault("exponentials_per_second", copying["cpu"].ask("exponentials"))
        workers = {}
        for choice in plan.choices:
            worker = Worker(choice, threads, plan.timeout)
            info = worker.ask("start")
            if info.get("skipped") or "error" in info:
                problems.append(f"{choice.reference}: {info.get('skipped') or info.get('error')}")
                worker.stop()
            else:
                workers[choice] = (worker, info)
                device = info["device"]
                if device == "cuda":
                    copying.setdefault(device, Worker(Choice("copy-cuda"), threads, plan.timeout))
        if not workers:
            raise LossproofError(f"no backend can run: {'; '.join(problems)}")
        for device, copier in copying.items():
            copied = copier.ask("prepare", size=LARGE_COPY)
            speed = limits.setdefault("copy_bytes_per_second", {}).setdefault(device, {})
            speed[str(threads)] = LARGE_COPY / copied["seconds"] if "seconds" in copied else None
        for number, work in enumerate(plan.workloads, 1):
            say(f"{threads} thread(s), {number} of {len(plan.workloads)}: {work.name} {work.direction}")
            rows, faults = _time(work, threads, workers, copying, plan)
            benchmarks += rows
            problems += faults
        for running in [*(worker for worker, _ in workers.values()), *copying.values()]:
            running.stop()
    problems += _add_memory(plan, benchmarks, say)
    return {
        "machine_info": {**_machine(), "limits": limits},
        "commit_info": {},
        "benchmarks": benchmarks,
        "problems": list(dict.fromkeys(problems)),
        "datetime": datetime.datetime.now(datetime.UTC).isoformat(),
        "version": "lossproof bench 1",
    }


def _time(
    work: Workload,
    threads: int,
    workers: Mapping[Choice, tuple[Worker, Mapping[str, Any]]],
    copying: Mapping[str, Worker],
    plan: Plan,
) -> tuple[list[dict[str, Any]], list[str]]:
    faults = []
    copies = {
        device: _Entry(copier, {"name": f"copy-{device}"}, copier.ask("prepare", size=work.bytes))
        for device, copier in copying.items()
    }
    for entry in copies.values():
        if "error" in entry.prepared:
            raise LossproofError(f"memory cannot be copied: {entry.prepared['error']}")
    entries = list(copies.values())
    for worker, info in workers.values():
        prepared = worker.ask("prepare", name=work.name, direction=work.direction)
        if "error" in prepared:
            faults.append(f"{info['name']}: {work.name} {work.direction}: {prepared['error']}")
        elif "unsupported" not in prepared:
            entries.append(_Entry(worker, info, prepared))
    slowest = max(entry.prepared["seconds"] for entry in entries)
    rounds = max(MIN_ROUNDS, min(plan.rounds, int(plan.seconds / max(slowest, SAMPLE_SECONDS))))
    for number in range(rounds):
        # Nobody is always first, or always after the same neighbour's heat.
        turn = number % len(entries)
        for entry in [*entries[turn:], *entries[:turn]]:
            calls = max(1, round(SAMPLE_SECONDS / entry.prepared["seconds"]))
            answer = entry.worker.ask("time", calls=calls)
            if "error" in answer and entry in copies.values():
                raise LossproofError(f"memory cannot be copied: {answer['error']}")
            if "error" in answer:
                faults.append(f"{entry.info['name']}: {work.name} {work.direction}: {answer['error']}")
                entries.remove(entry)
            else:
                entry.samples.append(answer["seconds"])
    return [
        _row(work, threads, entry, copies.get(entry.info["device"], copies["cpu"]).samples)
        for entry in entries[len(copies) :]
    ], faults


def _row(work: Workload, threads: int, entry: _Entry, copy: Sequence[float]) -> dict[str, Any]:
    info = entry.info
    return {
        "group": f"{work.name}, {threads} thread{'s' if threads > 1 else ''}",
        "name": f"{info['name']} {work.name} {work.direction} {threads}",
        "fullname": f"{info['name']} {work.name} {work.direction} {threads}",
        "params": None,
        "stats": summary(entry.samples),
        "extra_info": {
            "adapter": info["name"],
            "backend": f"{info['name']} {info['version']}",
            "device": info["device"],
            "device_name": info["device_name"],
            "workload": work.name,
            "function": work.case.function.name,
            "dtype": work.dtype,
            "direction": work.direction,
            "threads": threads,
            "framework_threads": entry.prepared["threads"],
            "bytes": work.bytes,
            "flops": work.flops,
            "first_call_s": entry.prepared["first_call_s"],
            "warmup_calls": entry.prepared["warmup_calls"],
            "verdicts": entry.prepared["verdicts"],
            # Copies of as many bytes, one in each round: the limit while this was measured.
            "copy_s": list(copy),
            "bandwidth_limit_s": summary(copy)["median"],
        },
    }


def _add_memory(plan: Plan, benchmarks: Sequence[dict[str, Any]], say: Callable[[str], None]) -> list[str]:
    """Peak memory, in processes whose allocator hides nothing; with one thread count, the last."""
    by_place: dict[tuple[str, str, str], dict[str, Any]] = {}
    keeping = set()
    for choice in plan.choices:
        say(f"memory of {choice.reference}")
        worker = Worker(choice, plan.threads[-1], plan.timeout, memory=True)
        info = worker.ask("start")
        if info.get("skipped") or "error" in info:
            worker.stop()
            continue
        for work in plan.workloads:
            prepared = worker.ask("prepare", name=work.name, direction=work.direction)
            if "seconds" not in prepared:
                continue
            peak = worker.ask("memory")
            by_place[info["name"], work.name, work.direction] = peak
            if (peak.get("host") or 0) < work.result_bytes // 2 and info["device"] == "cpu":
                keeping.add(info["name"])
        worker.stop()
    for row in benchmarks:
        extra = row["extra_info"]
        peak = by_place.get((extra["adapter"], extra["workload"], extra["direction"]), {})
        extra["peak_bytes"] = None if extra["adapter"] in keeping else peak.get("host")
        extra["peak_device_bytes"] = peak.get("device")
    # Its results take less than their own size: an allocator of its own keeps what was used before.
    return [f"{name} keeps memory that it has used: its peak is not known" for name in sorted(keeping)]


def _machine() -> dict[str, Any]:
    found = environment()
    return {
        "node": "",
        "processor": found["processor"],
        "machine": found["machine"],
        "system": found["platform"],
        "python_version": found["python"],
        "cpu": {"brand_raw": found["processor"], "count": os.cpu_count()},
        "lossproof": found["lossproof"],
        "numpy": found["numpy"],
    }
