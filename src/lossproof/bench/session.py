"""Time backends on workloads: each in processes of its own, interleaved round by round."""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from lossproof.bench.stats import summary
from lossproof.bench.timings import Benchmark, Cpu, Extra, Machine, Timings
from lossproof.bench.workload import Workload
from lossproof.core.verdicts import ProcessFault
from lossproof.errors import LossproofError
from lossproof.isolation.process import LineProcess
from lossproof.registry.choice import Choice
from lossproof.results.file import environment

LINE_LIMIT = 2**20
# A timed sample takes at least this long, so that the clock and the pipe do not count.
SAMPLE_SECONDS = 0.02
# Rounds of each start.
MIN_ROUNDS = 3
# What is moved to measure the bandwidth of memory alone.
LARGE_COPY = 2**27
# Libraries read these when they start their thread pools.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
# Memory that a call has freed serves the next one, as in a long training run. By default glibc decides
# anew in every process whether it gives large blocks back, and some frameworks then take 3 times as long;
# arenas of threads give them back even beyond the threshold, so there is one arena.
_TIMING_VARIABLES = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_ARENA_MAX": "1",
}  # fmt: skip
# Every block of this size is mapped anew and given back at once, so that memory in use is memory seen.
LARGE_RESULT = 2**16
_MEMORY_VARIABLES = {"MALLOC_MMAP_THRESHOLD_": str(LARGE_RESULT), "MALLOC_TRIM_THRESHOLD_": "0"}


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@dataclass(frozen=True)
class Plan:
    """How to measure."""

    choices: Sequence[Choice]
    workloads: Sequence[Workload]
    threads: Sequence[int]
    starts: int = 5
    """How often each backend's process is started anew."""
    rounds: int = 25
    """Of all starts together."""
    seconds: float = 2.0
    """Per backend, workload and direction; each start makes ``MIN_ROUNDS`` rounds all the same."""
    timeout: float = 600.0


class Worker:
    """A backend's process; started when it is first asked, and again after it has died."""

    def __init__(
        self, choice: Choice, threads: int, timeout: float, cache: str = "", memory: bool = False
    ) -> None:
        options = {"adapter": choice.reference, "cpus": cores()[:threads]}
        self._environment = {
            **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
            **(_MEMORY_VARIABLES if memory else _TIMING_VARIABLES),
            "JAX_ENABLE_COMPILATION_CACHE": "false",  # the first call is timed
            # What torch.compile keeps on disk, so that only the first start's first call compiles.
            **({"TORCHINDUCTOR_CACHE_DIR": cache} if cache else {}),
        }
        self._command = [
            choice.python or sys.executable, "-m", "lossproof.bench.worker", json.dumps(options),
        ]  # fmt: skip
        self._timeout = timeout
        self._process: LineProcess | None = None

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """One request; whatever goes wrong is an ``error`` in the answer."""
        self._process = self._process or LineProcess(self._command, environment=self._environment)
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
    """One backend on one workload with one number of threads: what its first start said, and all samples."""

    work: Workload
    threads: int
    info: Mapping[str, Any]
    prepared: Mapping[str, Any]
    samples: list[float] = field(default_factory=list)
    copies: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Running:
    """A process that takes part in the rounds of a workload."""

    name: str
    worker: Worker
    seconds: float
    entry: _Entry | None = None
    """Where its samples go; a process that copies has none."""


@dataclass
class _Session:
    """The state of a measurement."""

    plan: Plan
    say: Callable[[str], None]
    entries: dict[tuple[str, Workload, int], _Entry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)

    def start(self, number: int, threads: int, cache: str) -> None:
        """Time all workloads, with processes that are started for it."""
        plan = self.plan
        copying = {"cpu": Worker(Choice("copy-cpu"), threads, plan.timeout)}
        if "exponentials_per_second" not in self.limits:
            self.limits["exponentials_per_second"] = copying["cpu"].ask("exponentials")
        workers = {}
        for choice in plan.choices:
            worker = Worker(choice, threads, plan.timeout, cache)
            info = worker.ask("start")
            if info.get("skipped") or "error" in info:
                self.problems.append(f"{choice.reference}: {info.get('skipped') or info.get('error')}")
                worker.stop()
            else:
                workers[choice] = (worker, info)
                if info["device"] == "cuda":
                    copying.setdefault("cuda", Worker(Choice("copy-cuda"), threads, plan.timeout))
        if not workers:
            raise LossproofError(f"no backend can run: {'; '.join(dict.fromkeys(self.problems))}")
        self._measure_bandwidth(copying, threads)
        for place, work in enumerate(plan.workloads, 1):
            self.say(
                f"{threads} thread(s), start {number + 1} of {plan.starts}, "
                f"{place} of {len(plan.workloads)}: {work.name} {work.direction}"
            )
            self._time(work, number, threads, list(workers.values()), copying)
        for running in [*(worker for worker, _ in workers.values()), *copying.values()]:
            running.stop()

    def _measure_bandwidth(self, copying: Mapping[str, Worker], threads: int) -> None:
        for device, copier in copying.items():
            speeds = self.limits.setdefault("copy_bytes_per_second", {}).setdefault(device, {})
            if str(threads) not in speeds:
                copied = copier.ask("prepare", size=LARGE_COPY)
                speeds[str(threads)] = LARGE_COPY / copied["seconds"] if "seconds" in copied else None

    def _time(
        self,
        work: Workload,
        number: int,
        threads: int,
        workers: Sequence[tuple[Worker, Mapping[str, Any]]],
        copying: Mapping[str, Worker],
    ) -> None:
        turns = []
        for device, copier in copying.items():
            prepared = copier.ask("prepare", size=work.bytes)
            if "error" in prepared:
                raise LossproofError(f"memory cannot be copied: {prepared['error']}")
            turns.append(_Running(f"copy-{device}", copier, prepared["seconds"]))
        for worker, info in workers:
            # What was right in one start is right in the next; judging takes longer than timing.
            judged = (info["name"], work, threads) not in self.entries
            prepared = worker.ask("prepare", name=work.name, direction=work.direction, judged=judged)
            if "error" in prepared:
                self._fault(info["name"], work, prepared["error"])
            elif "unsupported" not in prepared:
                entry = self.entries.setdefault(
                    (info["name"], work, threads), _Entry(work, threads, info, prepared)
                )
                turns.append(_Running(info["name"], worker, prepared["seconds"], entry))
        slowest = max(running.seconds for running in turns)
        plan = self.plan
        rounds = int(min(plan.rounds, plan.seconds / max(slowest, SAMPLE_SECONDS))) // plan.starts
        for turn in range(max(MIN_ROUNDS, rounds)):
            # Nobody is always first, or always after the same neighbour's heat.
            first = turn % len(turns)
            answers = {}
            for running in [*turns[first:], *turns[:first]]:
                calls = max(1, round(SAMPLE_SECONDS / running.seconds))
                answer = running.worker.ask("time", calls=calls)
                if "error" in answer and running.entry is None:
                    raise LossproofError(f"memory cannot be copied: {answer['error']}")
                if "error" in answer:
                    self._fault(running.name, work, answer["error"])
                    turns.remove(running)
                else:
                    answers[running.name] = answer["seconds"]
            for running in turns:
                if running.entry is not None:
                    device = running.entry.info["device"]
                    running.entry.samples.append(answers[running.name])
                    running.entry.copies.append(answers.get(f"copy-{device}", answers["copy-cpu"]))
                    running.entry.starts.append(number)

    def _fault(self, name: str, work: Workload, message: str) -> None:
        self.problems.append(f"{name}: {work.name} {work.direction}: {message}")


def measure(plan: Plan, say: Callable[[str], None]) -> Timings:
    """Everything in the plan.

    Raises:
        LossproofError: no backend of the plan can run.
    """
    session = _Session(plan, say)
    for threads in plan.threads:
        with tempfile.TemporaryDirectory(prefix="lossproof-bench-") as cache:
            for number in range(plan.starts):
                session.start(number, threads, cache)
    # All backends of a workload side by side, one number of threads after the other.
    order = {work: place for place, work in enumerate(plan.workloads)}
    found = [entry for entry in session.entries.values() if entry.samples]
    found.sort(key=lambda entry: (plan.threads.index(entry.threads), order[entry.work]))
    benchmarks, forgetful = _with_memory(plan, [_row(entry) for entry in found], say)
    return Timings(
        machine_info=_machine(session.limits),
        benchmarks=tuple(benchmarks),
        problems=tuple(dict.fromkeys(session.problems + forgetful)),
        datetime=datetime.datetime.now(datetime.UTC).isoformat(),
        version="lossproof bench 3",
    )


def _row(entry: _Entry) -> Benchmark:
    info, work, threads = entry.info, entry.work, entry.threads
    name = f"{info['name']} {work.name} {work.direction} {threads}"
    return Benchmark(
        group=f"{work.name}, {threads} thread{'s' if threads > 1 else ''}",
        name=name,
        fullname=name,
        stats=summary(entry.samples),
        extra_info=replace(
            described(work, info, entry.prepared, threads),
            starts=tuple(entry.starts),
            copy_s=tuple(entry.copies),
            bandwidth_limit_s=summary(entry.copies).median,
        ),
    )


def described(work: Workload, info: Mapping[str, Any], prepared: Mapping[str, Any], threads: int) -> Extra:
    """What is known of a workload on a backend apart from its timings.

    ``info`` and ``prepared`` are what the worker's ``start`` and ``prepare`` say.
    """
    return Extra(
        adapter=info["name"],
        backend=f"{info['name']} {info['version']}",
        device=info["device"],
        device_name=info["device_name"],
        workload=work.name,
        function=work.case.function.name,
        dtype=work.dtype,
        direction=work.direction,
        threads=threads,
        framework_threads=prepared["threads"],
        bytes=work.bytes,
        flops=work.flops,
        first_call_s=prepared["first_call_s"],
        warmup_calls=prepared["warmup_calls"],
        verdicts=prepared["verdicts"],
    )


def _with_memory(
    plan: Plan, benchmarks: Sequence[Benchmark], say: Callable[[str], None]
) -> tuple[list[Benchmark], list[str]]:
    """The rows with peak memory, and whose is not known.

    It is measured in processes whose allocator hides nothing, with one thread count, the last.
    """
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
            # Results of less than some pages may have room in what the process has already.
            large = info["device"] == "cpu" and work.result_bytes >= LARGE_RESULT
            if large and (peak.get("host") or 0) < work.result_bytes // 2:
                keeping.add(info["name"])
        worker.stop()
    weighed = []
    for row in benchmarks:
        extra = row.extra_info
        peak = by_place.get((extra.adapter, extra.workload, extra.direction), {})
        host = None if extra.adapter in keeping else peak.get("host")
        extra = replace(extra, peak_bytes=host, peak_device_bytes=peak.get("device"))
        weighed.append(replace(row, extra_info=extra))
    # Its results take less than their own size: an allocator of its own keeps what was used before.
    return weighed, [
        f"{name} keeps memory that it has used: its peak is not known" for name in sorted(keeping)
    ]


def _machine(limits: dict[str, Any]) -> Machine:
    found = environment()
    return Machine(
        processor=found["processor"],
        machine=found["machine"],
        system=found["platform"],
        python_version=found["python"],
        cpu=Cpu(brand_raw=found["processor"], count=os.cpu_count()),
        lossproof=found["lossproof"],
        numpy=found["numpy"],
        allocator=tuple(f"{name}={value}" for name, value in _TIMING_VARIABLES.items()),
        limits=limits,
    )
