"""Calls that are split over devices or over processes: each way fails what is wrong under it alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lossproof.case.select import select_cases
from lossproof.cli.main import main
from lossproof.core.verdicts import ProcessFault, Verdict
from lossproof.engine.call import ask
from lossproof.engine.judge import run_case
from lossproof.errors import LossproofError
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


# What is asked, whether by rows or by classes, and whether it is right there.
OTHER = "^rank 1 gives another value than rank 0: "
OVER_RANKS = {
    "dtensor-rows-2": {
        "softmax/ordinary/three-classes": "",
        "sigmoid/ranks/rank-2": OTHER,
        "log_sigmoid/ranks/rank-2": OTHER,
    },
    "dtensor-classes-2": {
        "softmax/ordinary/three-classes": "",
        "sigmoid/ranks/rank-2": "no axis of classes",
        "log_softmax/ordinary/three-classes": "elements are wrong",
    },
}


@pytest.mark.parametrize("mode", OVER_RANKS)
def test_the_modes_for_several_ranks(mode: str) -> None:
    pytest.importorskip("torch")
    reference = f"{HERE / 'torch_modes.py'}:OverRanks"
    apart = runs_apart(f"{reference}+{mode}", False)
    adapter = load_adapter(reference, mode=mode, isolate=apart, timeout=300).adapter
    assert isinstance(adapter, RemoteAdapter) and adapter.ranks == 2
    try:
        for name, wrong in OVER_RANKS[mode].items():
            (case,) = select_cases([name], [], True)
            records = run_case(adapter, "x", case, "float32", NONE)
            messages = [record.message for record in records if record.verdict is not Verdict.PASS]
            assert bool(messages) == bool(wrong), messages
            assert not wrong or re.search(wrong, messages[0]), messages
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
assert [os.environ[n] for n in ("WORLD_SIZE", "MASTER_ADDR")] == ["3", "127.0.0.1"]
assert int(os.environ["MASTER_PORT"])
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

    def answer(*said: Any, timeout: float = 60) -> Any:
        if not there or there[-1].spent:
            there.append(Ranks([sys.executable, "-c", PROGRAM], 3))
        return json.loads(there[-1].ask(json.dumps(said).encode() + b"\n", timeout, 2**16))

    yield lambda *said, **limit: (answer(*said, **limit), there[-1].spent)
    for one in there:
        one.discard()


def value(*numbers: Any, **gradients: list[Any]) -> dict[str, Any]:
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
        words = f"rank {outvoted} gives another value than rank {other}: -0.25 at .1. where .* 0.25"
        with pytest.raises(Disagreement, match=words):
            three(*said)
    with pytest.raises(Disagreement, match=r"rank 2 gives another gradients.x than rank 0: 2.0 at \[1\]"):
        three(one, one, value(0.5, 0.25, x=[1.0, 2.0]))
    with pytest.raises(
        Disagreement, match=r"rank 1 gives another value than rank 0: float32 of shape \(1,\)"
    ):
        three(one, value(0.5), one)
    with pytest.raises(Disagreement, match=r"another value than rank 0: -0.0 at"):
        three(value(0.0), value(0.0), value("-0"))
    with pytest.raises(Disagreement, match=r"rank 1 gives another"):
        three(one, {"error": "ValueError: here"}, one)


def test_ranks_that_refuse(three: Any) -> None:
    no = {"unsupported": "no rule"}
    assert three(no, no, no) == ({"id": 1, **no}, False)
    words = ({"error": "E: at 0x1"}, {"error": "E: at 0x2"}, {"error": "E: at 0x3"})
    assert three(*words) == ({"id": 1, "error": "E: at 0x1 (rank 0)"}, True)
    assert three("hang", {"error": "E: here"}, "hang") == ({"id": 1, "error": "E: here (rank 1)"}, True)


def test_a_rank_that_dies_or_hangs(three: Any) -> None:
    with pytest.raises(ProcessFault, match=r"^rank 2: the process ended with exit status 7") as died:
        three("hang", {"error": "the peer is gone"}, "die")
    assert died.value.verdict is Verdict.CRASH


def test_all_ranks_hang(three: Any) -> None:
    with pytest.raises(ProcessFault, match=r"^rank 0: no answer within 1 s") as hung:
        three("hang", "hang", "hang", timeout=1)
    assert hung.value.verdict is Verdict.TIMEOUT


# Speaks the protocol; the second rank raises in its first call while the first one waits for it.
SERVER = """
import json, os, sys, time
rank, here = os.environ["RANK"], sys.argv[1]
for line in sys.stdin:
    told = json.loads(line)
    if told["command"] == "start":
        say = {"protocol": 1, "name": "x", "functions": ["softmax"]}
    elif told["command"] == "run":
        if not os.path.exists(here):
            time.sleep(600 if rank == "0" else 0)
            open(here, "w").close()
            say = {"id": told["id"], "error": "ValueError: once"}
        else:
            say = {"id": told["id"], "value": told["arrays"]["logits"]}
    else:
        break
    print(json.dumps(say), flush=True)
"""


def test_ranks_that_are_out_of_step_start_again(tmp_path: Path) -> None:
    adapter = RemoteAdapter([sys.executable, "-c", SERVER, str(tmp_path / "seen")], 60, ranks=2)
    (case,) = select_cases(["softmax/ordinary/three-classes"], [], False)
    first, second = ask(adapter, case, "float32", ["value"]), ask(adapter, case, "float32", ["value"])
    adapter.close()
    assert str(first.raised["value"]) == "ValueError: once (rank 1)"
    assert second.outputs["value"].shape == (2, 3)


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
