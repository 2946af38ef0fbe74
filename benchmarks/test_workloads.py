"""Speed per backend, workload and dtype, forward and forward with backward.

    pytest benchmarks/test_workloads.py --benchmark-only --benchmark-json=speed.json

Every call is synchronised. The first call, with its compilation, is timed apart (``extra_info``),
and the thread counts are recorded. Timings judge nothing.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lossproof.adapter import Adapter
from lossproof.case import load_cases
from lossproof.engine import bind
from lossproof.errors import Unsupported
from lossproof.registry import available_names, load_adapter

WORKLOADS = load_cases([Path(__file__).parent / "workloads"])


@cache
def adapter_of(name: str) -> Adapter:
    loaded = load_adapter(name)
    if loaded.adapter is None:
        pytest.skip(str(loaded.info.skipped))
    return loaded.adapter


def threads(backend: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cores": os.cpu_count(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }
    if backend.startswith("torch"):
        import torch

        found["torch"] = torch.get_num_threads()
    return found


class Step:
    """One workload on one backend, compiled once and called many times."""

    def __init__(self, adapter: Adapter, case: Any, dtype: str, backward: bool) -> None:
        call, arrays, _ = bind(adapter, case, dtype)
        self.adapter = adapter
        self.run: Callable[[], Any] = lambda: adapter.evaluate(call, arrays)
        if backward:
            self.run = lambda: adapter.value_and_gradients(call, arrays, case.wrt)
        compiled = steady(adapter, call, arrays, case.wrt, backward)
        if compiled is not None:
            self.run = compiled

    def __call__(self) -> None:
        result = self.run()
        value = result[0] if isinstance(result, tuple) else result
        # JAX returns before it has computed; the others here are synchronous on the CPU.
        if hasattr(value, "block_until_ready"):
            value.block_until_ready()
        self.adapter.synchronize()


def steady(adapter: Adapter, call: Any, arrays: Any, wrt: Any, backward: bool) -> Callable[[], Any] | None:
    """The compiled step of backends that compile; their adapters compile anew for every case."""
    name = adapter.name
    names = list(arrays)
    if name in ("jax", "optax"):
        import jax

        if not backward:
            compiled = jax.jit(call)
            return lambda: compiled(*arrays.values())

        def step(given: Any) -> Any:
            def loss(leaves: Any) -> Any:
                return call(*({**given, **leaves}[n] for n in names)).sum()

            return jax.value_and_grad(loss)({n: given[n] for n in wrt})

        jitted = jax.jit(step)
        return lambda: jax.block_until_ready(jitted(dict(arrays)))
    if name == "torch-compile":
        import torch

        function = torch.compile(call, dynamic=False)
        if not backward:
            return lambda: function(*arrays.values())
        plain = super(type(adapter), adapter)
        return lambda: plain.value_and_gradients(function, arrays, wrt)
    if name == "tensorflow-xla":
        import tensorflow as tf

        plain = super(type(adapter), adapter)
        body = plain.value_and_gradients if backward else None
        graph = tf.function(
            (lambda values: body(call, values, wrt)) if body else (lambda values: call(*values.values())),
            jit_compile=True,
            autograph=False,
        )
        return lambda: graph(dict(arrays))
    return None


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, dtype) for case in WORKLOADS for dtype in case.dtypes],
    ids=lambda value: value if isinstance(value, str) else f"{value.function.name}-{value.id.split('/')[-1]}",
)
@pytest.mark.parametrize("name", available_names())
def test_workload(benchmark: Any, name: str, case: Any, dtype: str, backward: bool) -> None:
    adapter = adapter_of(name)
    if getattr(adapter, case.function.name, None) is None:
        pytest.skip(f"{name} has no {case.function.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step = Step(adapter, case, dtype, backward)
        start = time.perf_counter()
        try:
            step()
        except Unsupported as reason:
            pytest.skip(str(reason))
        benchmark.extra_info["first_call_s"] = time.perf_counter() - start
        benchmark.extra_info["backend"] = f"{adapter.backend} {adapter.version} {adapter.device}"
        benchmark.extra_info["threads"] = threads(name)
        benchmark.group = f"{case.function.name} {case.id.split('/')[-1]} {dtype}"
        benchmark.pedantic(step, warmup_rounds=2, rounds=7)
