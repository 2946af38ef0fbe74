"""``lossproof bench``: what it measures, what it keeps, and when it says that something is slower."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins

from benchmarks.condense import condensed, text
from benchmarks.page import PAGE, renewed
from lossproof.bench import session
from lossproof.bench.compare import compare, rows, start_ratios
from lossproof.bench.ranking import ranking
from lossproof.bench.session import Plan, Worker
from lossproof.bench.stats import Interval, _freedom, change, paired, student, summary
from lossproof.bench.timings import Benchmark, Extra, Timings
from lossproof.bench.workload import Workload, workloads
from lossproof.cli.bench_view import _ranked
from lossproof.cli.main import main
from lossproof.core.validate import fit
from lossproof.registry.choice import Choice

SMALL = ["bench", "classification-128x1000 float32", "--threads", "1", "--starts", "2", "--seconds", "0.05"]

BROKEN = """
import os
from lossproof.adapters.numpy import NumpyAdapter

class Wrong(NumpyAdapter):
    name = "wrong"
    def softmax(self, logits, *, axis):
        return super().softmax(logits, axis=axis) * 2

class Dies(NumpyAdapter):
    name = "dies"
    def softmax(self, logits, *, axis):
        os.abort()

class Raises(NumpyAdapter):
    name = "raises"
    def softmax(self, logits, *, axis):
        raise ValueError("no such thing")
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """NumPy and three broken adapters, for real."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "broken.py").write_text(BROKEN, encoding="utf-8")
    broken = [f"-a{folder / 'broken.py'}:{name}" for name in ("Wrong", "Dies", "Raises")]
    assert main([*SMALL, "-a", "numpy", *broken, "--json", str(folder / "b.json")]) == 0
    document: dict[str, Any] = json.loads((folder / "b.json").read_text(encoding="utf-8"))
    return document


def row_of(document: dict[str, Any], adapter: str, workload: str, direction: str) -> dict[str, Any]:
    (row,) = (
        row
        for row in document["benchmarks"]
        if (row["extra_info"]["adapter"], row["extra_info"]["direction"]) == (adapter, direction)
        and row["extra_info"]["workload"].startswith(f"{workload} ")
    )
    return dict(row)


def test_what_is_kept(measured: dict[str, Any]) -> None:
    row = row_of(measured, "numpy", "softmax", "forward+backward")
    extra, stats = row["extra_info"], row["stats"]
    assert extra["verdicts"] == {"value": "pass", "gradients.logits": "pass"}
    assert extra["bytes"] == 3 * 128 * 1000 * 4 and extra["threads"] == 1
    assert extra["first_call_s"] > 0 and extra["peak_bytes"] >= 0
    assert len(stats["data"]) == len(extra["copy_s"]) == stats["rounds"] >= 6
    assert len(extra["starts"]) == stats["rounds"] and set(extra["starts"]) == {0, 1}
    assert 0 < stats["min"] <= stats["q1"] <= stats["median"] <= stats["q3"] <= stats["max"]
    assert measured["machine_info"]["limits"]["exponentials_per_second"]["float32"] > 0
    assert measured["machine_info"]["limits"]["copy_bytes_per_second"]["cpu"]["1"] > 0


def test_a_wrong_result_is_timed_and_said(measured: dict[str, Any]) -> None:
    assert row_of(measured, "wrong", "softmax", "forward")["extra_info"]["verdicts"] == {"value": "fail"}


def test_who_dies_or_raises_costs_only_its_own(measured: dict[str, Any]) -> None:
    problems = "\n".join(measured["problems"])
    assert "dies: softmax classification-128x1000 float32 forward: crash: " in problems
    assert "raises: softmax classification-128x1000 float32 forward: ValueError: no such thing" in problems
    # The next workload finds a new process.
    assert row_of(measured, "dies", "sparse_softmax_cross_entropy", "forward")["stats"]["median"] > 0


def test_compare_says_slower_only_where_the_interval_does(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = copy.deepcopy(measured)
    row = row_of(slow, "numpy", "softmax", "forward")
    row["stats"]["data"] = [2 * x for x in row["extra_info"]["copy_s"]]
    old = copy.deepcopy(measured)
    row_of(old, "numpy", "softmax", "forward")["stats"]["data"] = list(row["extra_info"]["copy_s"])
    paths = []
    for name, document in (("old", old), ("new", slow)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(document), encoding="utf-8")
    assert main(["bench", "--load", str(paths[1]), "--compare", str(paths[0])]) == 1
    out = capsys.readouterr().out
    assert "slower: numpy, softmax classification-128x1000 float32, forward, 1 thread(s): new/old 2.00" in out
    assert main(["bench", "--load", str(paths[0]), "--compare", str(paths[1])]) == 0
    assert "faster: numpy" in capsys.readouterr().out
    assert main(["bench", "--load", str(paths[0]), "--compare", str(paths[0])]) == 0
    assert "slower" not in capsys.readouterr().out


def test_a_busy_machine_is_no_regression(measured: dict[str, Any]) -> None:
    busy = copy.deepcopy(measured)
    for row in busy["benchmarks"]:
        row["stats"]["data"] = [3 * x for x in row["stats"]["data"]]
        row["extra_info"]["copy_s"] = [3 * x for x in row["extra_info"]["copy_s"]]
    found = list(compare(fit(measured, Timings), fit(busy, Timings)))
    assert {entry.verdict for entry in found} == {"no difference seen"}
    for entry in found:
        assert entry.interval.ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("freedom", "t"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (8, 2.306), (30, 2.042), (1000, 1.962)],
)
def test_student(freedom: int, t: float) -> None:
    """The tables' 97.5 % points."""
    assert student(0.95, freedom) == pytest.approx(t, abs=5e-4)


def test_intervals() -> None:
    random = np.random.default_rng(1)
    old, new = random.normal(1, 0.02, 5), random.normal(1.2, 0.02, 5)
    interval = change(list(new), list(old))
    assert interval.low < 1.2 < interval.high and interval.high - interval.low < 0.1
    assert interval.text().startswith("1.")
    wider = change(list(new), list(old), 0.999)
    assert wider.low < interval.low and wider.high > interval.high
    assert summary([3.0]).stddev == 0.0


def test_what_both_share_does_not_widen_an_interval() -> None:
    random = np.random.default_rng(1)
    old, new = random.normal(1, 0.02, 40), random.normal(1.2, 0.02, 40)
    drift, starts = np.linspace(1, 5, 40), [n // 8 for n in range(40)]
    both = paired(list(new * drift), list(old * drift), starts)
    assert both.low < 1.2 < both.high and both.high - both.low < 0.1


def test_what_differs_between_starts_widens_it() -> None:
    random = np.random.default_rng(3)
    starts = [n // 8 for n in range(40)]
    own = np.array([0.7, 0.9, 1.0, 1.2, 1.4])[starts]
    samples = list(own * random.normal(1, 0.01, 40))
    interval = paired(samples, [1.0] * 40, starts)
    assert interval.low < 0.8 and interval.high > 1.2


def test_one_start_says_nothing() -> None:
    assert paired([2.0, 2.0], [1.0, 1.0], [0, 0]).text() == "2.00 [0.00, inf]"
    assert change([2.0], [1.0, 1.0]).text() == "2.00 [0.00, inf]"


def test_two_starts_that_differ_leave_the_ratio_open() -> None:
    """Student's t of one degree of freedom, at the confidence of 72 comparisons, is in the hundreds."""
    interval = change([1.0, 20.0], [1.0, 1.0], 1 - 0.05 / 72)
    assert interval.ratio == pytest.approx(math.sqrt(20)) and interval.low == 0 and interval.high == math.inf
    assert interval.text() == "4.47 [0.00, inf]"


def test_two_starts_that_agree_find_what_is_slower() -> None:
    interval = change([2.0, 2.002], [1.0, 1.001])
    assert 1.9 < interval.low < 2 < interval.high < 2.1


@pytest.mark.parametrize("size", [2, 3, 5])
def test_starts_that_are_all_alike(size: int) -> None:
    interval = change([3.0] * size, [2.0] * size)
    assert (interval.ratio, interval.low, interval.high) == pytest.approx((1.5, 1.5, 1.5))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 9])
def test_one_side_without_variance_leaves_the_others_degrees_of_freedom(size: int) -> None:
    """The difference to a constant is Student's t of n − 1 degrees of freedom."""
    data = np.random.default_rng(size).lognormal(0, 0.1, size)
    mean, half = np.mean(np.log(data)), np.std(np.log(data), ddof=1) / math.sqrt(size)
    half *= student(0.95, size - 1)
    for interval in (change(list(data), [1.0, 1.0]), change([1.0] * 7, list(1 / data))):
        assert interval.low == pytest.approx(math.exp(mean - half), rel=1e-12)
        assert interval.high == pytest.approx(math.exp(mean + half), rel=1e-12)


def test_equal_variances_add_their_degrees_of_freedom() -> None:
    data = [1.0, 1.1, 1.3, 0.9]
    mean = np.mean(np.log(data))
    half = student(0.95, 6) * math.sqrt(2 * np.var(np.log(data), ddof=1) / 4)
    interval = change(data, [1.0 / x for x in data])
    assert interval.low == pytest.approx(math.exp(2 * mean - half), rel=1e-12)


def test_variances_whose_squares_vanish() -> None:
    nearly = [1.0, float(np.nextafter(1.0, 2))]
    interval = change(nearly, nearly)
    assert interval.low <= 1 <= interval.high and interval.high - interval.low < 1e-12
    assert _freedom([1e-200, 1e-200], [3, 5]) == _freedom([1.0, 1.0], [3, 5]) == 5


@pytest.mark.parametrize(("new", "old", "ratio"), [(1e300, 1e-300, math.inf), (1e-300, 1e300, 0.0)])
def test_ratios_beyond_a_number(new: float, old: float, ratio: float) -> None:
    assert change([new, new], [old, old]) == Interval(ratio, ratio, ratio)
    assert change([new, 2 * new], [old, 2 * old]).ratio == ratio
    assert Interval(1e300, 1.0, math.inf).text() == "1e+300 [1.00, inf]"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(1e-300, 1e300), min_size=2, max_size=6),
    st.lists(st.floats(1e-300, 1e300), min_size=2, max_size=6),
    st.floats(0.5, 1 - 1e-9),
)
def test_every_interval_holds_its_ratio(new: list[float], old: list[float], confidence: float) -> None:
    interval = change(new, old, confidence)
    assert 0 <= interval.low <= interval.ratio <= interval.high
    assert min(len(new), len(old)) - 1 <= _freedom([1.0, new[0]], [len(new), len(old)])


def test_covered_means_the_interval_covers_the_truth() -> None:
    """The 95 % interval holds the true ratio about as often as it says, whatever starts add."""
    random = np.random.default_rng(2)
    hits, starts = 0, [n // 5 for n in range(25)]
    for _ in range(200):
        samples = random.lognormal(0, 0.1, 5)[starts] * random.lognormal(0, 0.1, 25)
        interval = paired(list(samples), [1.0] * 25, starts)
        hits += interval.low <= 1 <= interval.high
    assert 183 <= hits <= 198


def test_two_runs_of_the_same_differ_in_nothing() -> None:
    """Of 72 comparisons that hold together, one in twenty runs may find anything."""
    random = np.random.default_rng(4)
    found = 0
    for _ in range(20):
        documents = []
        for _ in range(2):
            rows_ = []
            for number in range(72):
                starts = [n // 5 for n in range(25)]
                data = random.lognormal(0, 0.1, 5)[starts] * random.lognormal(0, 0.05, 25)
                extra = {"adapter": "x", "workload": str(number), "direction": "forward", "threads": 1}
                extra |= {"copy_s": [1.0] * 25, "starts": starts}
                rows_.append({"stats": to_builtins(summary(data.tolist())), "extra_info": extra})
            documents.append(fit({"benchmarks": rows_}, Timings))
        found += any(entry.verdict != "no difference seen" for entry in compare(*documents))
    assert found <= 4


@pytest.mark.parametrize("work", workloads(dtypes=["float32"]), ids=lambda w: f"{w.name} {w.direction}")
def test_workloads_count_their_bytes(work: Workload) -> None:
    assert work.flops > 0
    assert work.bytes >= work.size * 4
    if work.backward:
        forward = Workload(work.case, work.dtype, False)
        assert work.bytes > forward.bytes and work.flops > forward.flops


def test_bytes_of_labels_and_masks() -> None:
    by_name = {(w.name, w.backward): w for w in workloads(dtypes=["float32"])}
    labels = by_name["sparse_softmax_cross_entropy classification-128x1000 float32", False]
    assert labels.bytes == 128 * 1000 * 4 + 128 * 8 + 4
    pixels = by_name["pspnet_loss cityscapes-2x90x90x19 float32", True]
    assert pixels.bytes == 2 * (2 * 90 * 90 * 19 * 4) + 2 * 90 * 90 * 8 + 4
    masks = by_name["mask_rcnn_mask_loss_with_logits coco-100x28x28x81 float32", False]
    assert 0 < masks.size < 100 * 28 * 28 and masks.size % (28 * 28) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "no-such-workload"], "no workload is left; there are "),
        (["bench", "--threads", "x"], "--threads 'x' must be like 1,all"),
        (["bench", "--threads", "9999"], "cores"),
        (["bench", "--load", "missing.json"], "missing.json: cannot be read"),
        (["bench", "--json", "no/such/folder/x.json"], "its folder does not exist"),
        ([*SMALL, "-a", "no-such-adapter"], "no backend can run: no-such-adapter"),
        ([*SMALL, "-a", "cat -"], "a command cannot be timed"),
    ],
)
def test_bad_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"benchmarks": [{}]}',
        '{"benchmarks": 7}',
        '{"benchmarks": [{"stats": {"data": [0]}, "extra_info": {"copy_s": [1], "starts": [0]}}]}',
        '{"benchmarks": [{"stats": {"data": [1]}, "extra_info": {"copy_s": [0], "starts": [0]}}]}',
    ],
)
def test_what_is_no_benchmark_file(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    assert main(["bench", "--load", str(path)]) == 2
    assert "x.json: " in capsys.readouterr().err


def test_a_row_is_a_number_per_start_over_copies_of_the_same_rounds(measured: dict[str, Any]) -> None:
    row = row_of(measured, "numpy", "softmax", "forward")
    found = rows(fit(measured, Timings))["numpy", row["extra_info"]["workload"], "forward", 1]
    ratios = np.asarray(row["stats"]["data"]) / np.asarray(row["extra_info"]["copy_s"])
    starts = np.asarray(row["extra_info"]["starts"])
    assert found == [np.median(ratios[starts == start]) for start in (0, 1)]


def test_allocator_is_set_alike_for_all(measured: dict[str, Any]) -> None:
    """Timed processes keep freed memory and the file says so; those whose memory is measured give it back."""
    setting = measured["machine_info"]["allocator"]
    assert "MALLOC_MMAP_MAX_=0" in setting
    timed, weighed = (
        {
            f"{name}={value}"
            for name, value in Worker(Choice("numpy"), 1, 1.0, memory=memory)._environment.items()
        }
        for memory in (False, True)
    )
    assert timed.issuperset(setting) and weighed.isdisjoint(setting)


@pytest.mark.parametrize(("direction", "known"), [("forward", True), ("forward+backward", False)])
def test_memory_that_a_backend_keeps(direction: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that needs no new memory is no peak where results are large; a scalar has room anywhere."""

    class Frugal:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def ask(self, do: str, **_: Any) -> dict[str, Any]:
            return {"name": "frugal", "device": "cpu", "seconds": 1.0, "host": 0}

        def stop(self) -> None: ...

    monkeypatch.setattr(session, "Worker", Frugal)
    (work,) = (w for w in workloads(["l2_loss"], ["float32"]) if w.direction == direction)
    extra = Extra(adapter="frugal", workload=work.name, direction=direction)
    row = Benchmark(stats=summary([1.0]), extra_info=extra)
    (row,), problems = session._with_memory(Plan([Choice("frugal")], [work], [1]), [row], lambda _: None)
    assert row.extra_info.peak_bytes == (0 if known else None)
    assert bool(problems) is not known


def test_agreement_tells_drift_from_noise(tmp_path: Path) -> None:
    """A machine on which one backend slows by half: starts agree with their neighbours alone."""
    rows_ = []
    for name, times in {"numpy": [2.0] * 8, "other": [2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]}.items():
        extra = {"adapter": name, "workload": "w", "direction": "forward", "threads": 1}
        extra |= {"copy_s": [1.0] * 8, "starts": list(range(8))}
        rows_.append({"stats": to_builtins(summary(times)), "extra_info": extra})
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"benchmarks": rows_}), encoding="utf-8")
    script = Path(__file__).parent.parent / "benchmarks" / "agreement.py"

    def agreement(*paths: Path | str) -> str:
        command = [sys.executable, *map(str, [script, *paths])]
        return str(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert "two runs: 1 ratios, 1 agree" in agreement(path, path)
    assert "first and last starts: 1 ratios, 0 agree" in agreement(path)
    assert "all within 50.0 %:\n  other, w, forward, 1: 1 and 1.5" in agreement(path)
    assert "every second start: 1 ratios, 1 agree" in agreement(path)
    # What is kept of runs says the same.
    kept = tmp_path / "kept.json"
    assert agreement(path, "--write", kept) == agreement(kept)


def test_the_page_on_speed_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "run: python -m benchmarks.page"


def test_a_condensed_file_says_the_same(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, small = tmp_path / "raw.json", tmp_path / "small.json"
    raw.write_text(json.dumps(measured), encoding="utf-8")
    small.write_text(text(condensed(measured)), encoding="utf-8")
    assert small.stat().st_size < raw.stat().st_size
    assert main(["bench", "--load", str(small), "--compare", str(raw)]) == 0
    assert "no difference seen" in capsys.readouterr().out
    kept = json.loads(small.read_text(encoding="utf-8"))
    assert rows(fit(kept, Timings)).keys() == rows(fit(measured, Timings)).keys()
    for old, new in zip(measured["benchmarks"], kept["benchmarks"], strict=True):
        ratios = [start_ratios(fit(row, Benchmark)) for row in (new, old)]
        assert ratios[0] == pytest.approx(ratios[1], rel=1e-5)
        assert new["stats"]["median"] == pytest.approx(old["stats"]["median"], rel=1e-5)
        assert new["extra_info"]["verdicts"] == old["extra_info"]["verdicts"]


# -- who is fastest, selection, pictures ---------------------------------------------------------


def _row(adapter: str, seconds: Sequence[float], starts: Sequence[int] = (0, 0, 1, 1)) -> Benchmark:
    extra = Extra(adapter=adapter, starts=tuple(starts), copy_s=(1.0,) * len(seconds))
    return Benchmark(group="g", stats=summary(list(seconds)), extra_info=extra)


def test_the_ranking_calls_slower_only_what_is_shown_to_be() -> None:
    rows = [
        _row("slow", [2.0, 2.02, 2.01, 2.0]),
        _row("fast", [1.0, 1.01, 1.0, 1.0]),
        _row("alike", [1.02, 1.1, 1.3, 0.99]),
    ]
    fast, alike, slow = ranking(rows)
    assert [place.row.extra_info.adapter for place in (fast, alike, slow)] == ["fast", "alike", "slow"]
    assert (fast.ratio, fast.shown) == (Interval(1.0, 1.0, 1.0), False)
    assert not alike.shown
    assert slow.shown
    assert slow.ratio.ratio == pytest.approx(2, rel=0.01)


def test_what_is_wrong_is_behind_all_that_is_right() -> None:
    def wrong(row: Benchmark) -> Benchmark:
        extra = msgspec.structs.replace(row.extra_info, verdicts={"value": "fail"})
        return msgspec.structs.replace(row, extra_info=extra)

    right = [_row("slow", [2.0, 2.02, 2.01, 2.0]), _row("slower", [3.0, 3.01, 3.0, 3.0])]
    rows = [wrong(_row("zeros", [0.5, 0.5, 0.51, 0.5])), *right]
    assert [place.row.extra_info.adapter for place in ranking(rows)] == ["slow", "slower", "zeros"]
    assert [place.wrong for place in ranking(rows)] == [False, False, True]
    assert _ranked(rows).startswith("slow is fastest; slower 1.5") and "(wrong) times" in _ranked(rows)
    assert _ranked([wrong(row) for row in rows]).startswith("none is right; zeros is fastest")


def test_a_ranking_of_condensed_and_of_other_starts() -> None:
    condensed_rows = [
        msgspec.structs.replace(
            _row(name, [t] * 4), extra_info=Extra(adapter=name, time_over_copy=(t, t * 1.01))
        )
        for name, t in (("a", 2.0), ("b", 1.0))
    ]
    assert [round(place.ratio.ratio, 3) for place in ranking(condensed_rows)] == [1, 2]
    fewer = _row("c", [3.0, 3.1, 3.0], (0, 1, 2))
    found = ranking([_row("d", [1.0, 1.0, 1.01, 1.0]), fewer])
    assert found[1].row.extra_info.adapter == "c"
    assert found[1].shown


@pytest.mark.parametrize(
    ("pattern", "functions"),
    [
        ("softmax", {"softmax"}),
        ("*softmax*", {"softmax", "softmax_cross_entropy", "sparse_softmax_cross_entropy"}),
        ("classification-128x1000 float32", {"softmax", "sparse_softmax_cross_entropy"}),
        ("classification-128x1000", {"softmax", "sparse_softmax_cross_entropy"}),
        ("soft", set()),
        ("float32 classification-128x1000", set()),
    ],
)
def test_workloads_are_selected_by_whole_words(pattern: str, functions: set[str]) -> None:
    assert {work.case.function.name for work in workloads([pattern])} == functions


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_is_drawn(kind: str, measured: dict[str, Any], tmp_path: Path) -> None:
    source, picture = tmp_path / "b.json", tmp_path / f"b.{kind}"
    source.write_text(json.dumps(measured), encoding="utf-8")
    assert main(["bench", "--load", str(source), "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[kind])
    if kind == "svg":
        assert picture.read_text(encoding="utf-8").count("numpy") >= 2


@pytest.mark.parametrize("name", ["b.gif", "nowhere/b.png"])
def test_a_picture_that_cannot_be_drawn(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "-a", "numpy", "--plot", str(tmp_path / name)]) == 2
    assert name in capsys.readouterr().err


# -- by pytest-benchmark -----------------------------------------------------------------------


def _speed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``pytest benchmarks`` on a workload in a dtype, in a process of its own, as if no pytest ran it."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", "benchmarks", "-p", "no:cacheprovider", "--benchmark-only",
            "--benchmark-max-time=0.01", "-k", "classification-128x1000 and float32 and not sparse",
            f"--benchmark-storage={folder}", *arguments,
        ],
        cwd=Path(__file__).parents[1], env=without, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_pytest_benchmark_records_the_speed_of_a_backend(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    wrong = f"{tmp_path / 'broken.py'}:Wrong"
    file = tmp_path / "speed.json"
    done = _speed(tmp_path, "--adapter", "numpy", "--adapter", wrong, f"--benchmark-json={file}")
    assert done.returncode == 0, done.stdout
    found = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    works = {"softmax classification-128x1000 float32"}
    assert works < {work.name for work in workloads()}
    places = {(row["extra_info"]["adapter"], row["extra_info"]["direction"]) for row in found}
    assert places == {(a, d) for a in ("numpy", "wrong") for d in ("forward", "forward+backward")}
    for row in found:
        extra = row["extra_info"]
        assert row["group"] == f"{extra['workload']} {extra['direction']}"
        assert extra["workload"] in works
        assert extra["dtype"] == "float32"
        assert extra["device"] == "cpu"
        assert extra["threads"] >= 1
        assert extra["bytes"] > 128 * 1000 * 4
        assert extra["first_call_s"] > 0
        assert extra["share_of_copy_bandwidth"] > 0
        assert extra["right"] == (extra["adapter"] == "numpy")
    # What is kept is a file of timings like those of `lossproof bench`.
    assert main(["bench", "--load", str(file), "--compare", str(file)]) == 0


def test_what_cannot_be_timed_is_skipped_or_refused(tmp_path: Path) -> None:
    done = _speed(tmp_path, "--adapter", "node nothing.mjs")
    assert done.returncode != 0
    assert "node nothing.mjs" in done.stdout + done.stderr
