"""Calls that are split over devices or over processes: each way fails what is wrong under it alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lossproof.case.select import select_cases
from lossproof.cli.main import main
from lossproof.core.verdicts import FAILURES, ProcessFault, Verdict
from lossproof.engine.judge import run_case
from lossproof.errors import LossproofError
from lossproof.isolation import protocol
from lossproof.isolation.load import load_adapter, runs_apart
from lossproof.isolation.ranks import Disagreement, Ranks
from lossproof.isolation.remote import RemoteAdapter
from lossproof.registry.deviations import Deviations

HERE = Path(__file__).parent
NONE = Deviations([], "", "", "")


# -- JAX, in one process that has eight devices ---------------------------------------------------


@pytest.fixture(scope="module")
def on_devices() -> Any:
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-m", "tests.jax_shards"], cwd=HERE.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_kernels_for_several_devices(on_devices: Any) -> None:
    for right in ("class-parallel", "row-parallel"):
        assert on_devices[right]["right"] > 6 and not on_devices[right]["wrong"], on_devices[right]
    for wrong in (
        "largest-of-the-shard",
        "no-offset",
        "label-on-every-shard",
        "filled-with-zeros",
        "nothing-on-a-shard",
        "gradient-of-each-device",
        "mean-of-means",
        "mean-of-all-rows",
    ):
        assert on_devices[wrong]["wrong"], wrong


@pytest.mark.parametrize(
    ("mode", "mutant"),
    [
        ("sharded-rows-2", "squeezes-its-part"),
        ("sharded-classes-4", "each-part-alone"),
        ("shard-map-8", "squeezing"),
    ],
)
def test_the_modes_for_several_devices(on_devices: Any, mode: str, mutant: str) -> None:
    assert on_devices[f"right+{mode}"]["right"] and not on_devices[f"right+{mode}"]["wrong"]
    assert not on_devices[mutant]["wrong"], "it is right as a whole"
    assert on_devices[f"{mutant}+{mode}"]["wrong"]


def test_too_few_devices() -> None:
    jax = pytest.importorskip("jax")
    if len(jax.devices()) >= 8:
        pytest.skip("there are enough")
    from lossproof.adapters.jax import JaxAdapter

    for given in (JaxAdapter, "jax"):
        reason = load_adapter(given, mode="sharded-rows-8").info.skipped
        assert reason and "it takes 8 devices, and JAX has" in reason and "JAX_NUM_CPU_DEVICES=8" in reason
    # An instance is constructed already.
    loaded = load_adapter(JaxAdapter(), mode="shard-map-8")
    (case,) = select_cases(["sigmoid/ordinary/moderate"], [], False)
    assert loaded.adapter is not None
    records = run_case(loaded.adapter, "x", case, "float32", NONE)
    assert {record.verdict for record in records} == {Verdict.UNSUPPORTED}
    assert all("it takes 8 devices" in record.message for record in records)


# -- PyTorch, in processes -----------------------------------------------------------------------


def ranks(cls: str, mode: str, timeout: float = 300) -> RemoteAdapter:
    pytest.importorskip("torch")
    reference = f"{HERE / 'torch_modes.py'}:{cls}"
    loaded = load_adapter(
        reference, mode=mode, isolate=runs_apart(f"{reference}+{mode}", False), timeout=timeout
    )
    assert isinstance(loaded.adapter, RemoteAdapter), loaded.info.skipped
    return loaded.adapter


def findings(adapter: RemoteAdapter, *cases: str) -> dict[str, dict[str, tuple[Verdict, str]]]:
    found: dict[str, dict[str, tuple[Verdict, str]]] = {}
    for case in select_cases([f"softmax/{case}" for case in cases], [], False):
        records = run_case(adapter, "x", case, "float32", NONE)
        found[case.id.split("/", 1)[1]] = {r.output: (r.verdict, r.message) for r in records}
    return found


PLAIN = ("ordinary/three-classes", "axis/middle-of-three", "ordinary/vector")


@pytest.mark.parametrize(
    ("mode", "right", "wrong"),
    [
        ("dtensor-rows-2", ("Right",), ("PartTakenForTheWhole", "OtherOnOneRank")),
        ("dtensor-classes-2", ("ClassParallel",), ("LargestOfTheRank", "PartTakenForTheWhole")),
    ],
)
def test_the_modes_for_several_ranks(mode: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    for cls in (*right, *wrong):
        adapter = ranks(cls, mode)
        try:
            found = findings(adapter, *PLAIN)
        finally:
            adapter.close()
        bad = [
            f"{case} {output}"
            for case, one in found.items()
            for output, (v, _) in one.items()
            if v in FAILURES
        ]
        assert bool(bad) == (cls in wrong), (cls, found)
        assert cls in wrong or found["ordinary/three-classes"]["value"][0] is Verdict.PASS
        if cls == "OtherOnOneRank":
            verdict, message = found["ordinary/three-classes"]["value"]
            assert verdict is Verdict.ERROR and message.startswith("rank 1 gives another value than rank 0: ")


def test_what_befalls_one_rank_costs_one_case() -> None:
    """One that dies, one that raises while the others wait, one that hangs; afterwards all are there again."""
    adapter = ranks("OnOneRank", "dtensor-classes-2")
    try:
        adapter.timeout = 8.0
        died = findings(adapter, "ordinary/one-class")["ordinary/one-class"]["value"]
        assert died[0] is Verdict.CRASH and died[1].startswith("rank 1: the process ended with exit status 3")
        raised = findings(adapter, "ordinary/vector")["ordinary/vector"]["value"]
        assert raised == (Verdict.ERROR, "ValueError: only here (rank 1)")
        hung = findings(adapter, "axis/middle-of-three")["axis/middle-of-three"]["value"]
        assert hung[0] is Verdict.TIMEOUT and "no answer within 8 s" in hung[1]
        right = findings(adapter, "ordinary/three-classes")["ordinary/three-classes"]
        assert right["value"][0] is Verdict.PASS and right["gradients.logits"][0] is Verdict.PASS
    finally:
        adapter.close()


def test_ranks_of_an_object_are_refused_or_skipped() -> None:
    torch = pytest.importorskip("torch")
    from lossproof.adapters.torch import TorchAdapter

    import lossproof

    reason = load_adapter(TorchAdapter, mode="dtensor-rows-2").info.skipped
    assert reason and "it takes 2 processes" in reason and "name or file" in reason
    with pytest.raises(LossproofError, match="mode 'dtensor-rows-2' cannot run: it takes 2 processes"):
        lossproof.check(lambda logits: torch.softmax(logits, -1), "softmax", framework="torch",
                        modes=["dtensor-rows-2"])  # fmt: skip


def test_a_framework_without_ranks_or_devices(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "softmax/ordinary", "-d", "float32", "-q", "-a", "numpy", "--mode"]
    for mode in ("dtensor-rows-2", "sharded-classes-8"):
        assert main([*run, mode]) == 1
        told = capsys.readouterr()
        assert "its framework has none" in told.out + told.err
        assert "nothing was judged" in told.err


# -- ranks of any program ------------------------------------------------------------------------

# Answers as it is told by the line: what the rank of this number answers, raises, or does.
PROGRAM = """
import json, os, sys, time
rank = int(os.environ["RANK"])
assert os.environ["WORLD_SIZE"] == "3" and os.environ["MASTER_ADDR"] == "127.0.0.1" and os.environ["MASTER_PORT"]
for line in sys.stdin:
    said = json.loads(line)[rank]
    if said == "die":
        os._exit(7)
    if said == "hang":
        time.sleep(600)
    print(json.dumps({"id": 1, **said}), flush=True)
"""


@pytest.fixture
def three() -> Iterator[Any]:
    there: list[Ranks] = []

    def ask(*said: Any, timeout: float = 60) -> Any:
        if not there or there[-1].spent:
            there.append(Ranks([sys.executable, "-c", PROGRAM], 3))
        return json.loads(there[-1].ask(json.dumps(said).encode() + b"\n", timeout, 2**16))

    yield lambda *said, **limit: (ask(*said, **limit), there[-1].spent)
    for one in there:
        one.discard()


def value(*numbers: float, **gradients: list[float]) -> dict[str, Any]:
    def array(data: Any) -> dict[str, Any]:
        return {"shape": [len(data)], "dtype": "float32", "data": list(data)}

    return {"value": array(numbers), "gradients": {name: array(data) for name, data in gradients.items()}}


def test_ranks_answer_with_one_voice(three: Any) -> None:
    one = value(0.5, 0.25, x=[1.0, "NaN"])
    assert three(one, one, one) == ({"id": 1, **one}, False)
    for outvoted in range(3):
        said = [one, one, one]
        said[outvoted] = value(0.5, -0.25, x=[1.0, "NaN"])
        other = 1 if outvoted == 0 else 0
        words = f"rank {outvoted} gives another value than rank {other}: -0.25 at \\[1\\] where rank {other} gives 0.25"
        with pytest.raises(Disagreement, match=words):
            three(*said)
    with pytest.raises(Disagreement, match=r"rank 2 gives another gradients.x than rank 0: 2.0 at \[1\]"):
        three(one, one, value(0.5, 0.25, x=[1.0, 2.0]))
    with pytest.raises(
        Disagreement, match=r"rank 1 gives another value than rank 0: float32 of shape \(1,\)"
    ):
        three(one, value(0.5), one)
    with pytest.raises(Disagreement, match="another value than rank 0: -0.0 at"):
        three(value(0.0), value(0.0), value("-0"))
    with pytest.raises(Disagreement, match="rank 1 gives another"):
        three(one, {"error": "ValueError: here"}, one)


def test_ranks_that_refuse(three: Any) -> None:
    no = {"unsupported": "no rule"}
    assert three(no, no, no) == ({"id": 1, **no}, False)
    words = ({"error": "E: at 0x1"}, {"error": "E: at 0x2"}, {"error": "E: at 0x3"})
    assert three(*words) == ({"id": 1, "error": "E: at 0x1 (rank 0)"}, True)
    assert three("hang", {"error": "E: here"}, "hang") == ({"id": 1, "error": "E: here (rank 1)"}, True)


def test_a_rank_that_dies_or_hangs(three: Any) -> None:
    with pytest.raises(ProcessFault, match="^rank 2: the process ended with exit status 7") as died:
        three("hang", {"error": "the peer is gone"}, "die")
    assert died.value.verdict is Verdict.CRASH


def test_all_ranks_hang(three: Any) -> None:
    with pytest.raises(ProcessFault, match="^rank 0: no answer within 1 s") as hung:
        three("hang", "hang", "hang", timeout=1)
    assert hung.value.verdict is Verdict.TIMEOUT


def test_no_rank_is_left_behind() -> None:
    """Ranks end with who has started them, also where that is killed."""
    code = (
        "import sys, time\nfrom lossproof.isolation.ranks import Ranks\n"
        f"ranks = Ranks([sys.executable, '-c', {PROGRAM!r}], 3)\n"
        "print(*(one._process.pid for one in ranks._ranks), flush=True)\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        started = [psutil.Process(int(word)) for word in parent.stdout.readline().split()]
        assert len(started) == 3
        parent.kill()
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive
