"""What the site costs: time and size of a build, and the time to the first filter in a browser.

pytest benchmarks/harness/test_site.py --benchmark-only
"""

from __future__ import annotations

import shutil
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lossproof.cli.main import main
from lossproof.core.verdicts import Verdict
from lossproof.engine.record import Record
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.file import read_json, write_json


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """NumPy's, of which every tenth is made wrong."""
    path = tmp_path_factory.mktemp("results") / "numpy.json"
    assert main(["run", "--adapter", "numpy", "--json", str(path)]) == 0
    return [
        record
        if number % 10
        else replace(record, verdict=Verdict.FAIL, message=f"wrong in row {number % 97}")
        for number, record in enumerate(read_json(path).records)
    ]


def results(path: Path, records: list[Record], size: int) -> None:
    """``size`` results, of as many backends as they make."""
    rows = (replace(record, adapter=f"backend-{n}") for n in count() for record in records)
    taken = list(islice(rows, size))
    names = dict.fromkeys(record.adapter for record in taken)
    write_json(path, [AdapterInfo(name, name, "1.0", "cpu") for name in names], taken)


@pytest.mark.parametrize("size", [1_000, 20_000, 200_000])
def test_build(benchmark: Any, size: int, records: list[Record], tmp_path: Path) -> None:
    path, out = tmp_path / "results.json", tmp_path / "site"
    results(path, records, size)
    benchmark.pedantic(lambda: main(["report", str(path), "-o", str(out)]), rounds=3)
    benchmark.extra_info["mebibytes"] = sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) / 2**20


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_first_filter(benchmark: Any, size: int, records: list[Record], tmp_path: Path) -> None:
    """From opening the page to the first filtered matrix, drawn; ``filter_ms`` is the filter alone."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    path, out = tmp_path / "results.json", tmp_path / "site"
    results(path, records, size)
    main(["report", str(path), "-o", str(out)])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        filters = []

        def first_filter() -> None:
            page = browser.new_page()
            page.goto((out / "index.html").as_uri())
            filters.append(
                page.evaluate(
                    """async () => {
                        const start = performance.now();
                        const form = document.getElementById('filters');
                        form.elements.v.value = 'fail';
                        form.dispatchEvent(new Event('input'));
                        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
                        return performance.now() - start;
                    }"""
                )
            )
            page.close()

        benchmark.pedantic(first_filter, rounds=5, warmup_rounds=1)
        browser.close()
    benchmark.extra_info["filter_ms"] = sorted(filters)[len(filters) // 2]
