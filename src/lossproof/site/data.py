"""The records as the matrix reads them: parallel arrays of indices, small enough to be read at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Any

from lossproof.core.dtypes import FLOAT_TYPES
from lossproof.core.escape import visible
from lossproof.core.verdicts import Verdict
from lossproof.results.disk import Database
from lossproof.site.model import SYMBOLS, Site

_ARRAYS = ("case", "column", "dtype", "output", "verdict", "message", "ulp", "share", "clause")


def write_data(site: Site, file: IO[bytes]) -> None:
    """Write ``data.js``, with no more of it in memory than a record."""
    texts = _Texts()
    numbers: dict[str, dict[str, int]] = {"outputs": {}}
    dtypes = sorted(site.records.distinct("dtype"), key=dtype_order)
    numbers["dtypes"] = {name: n for n, name in enumerate(dtypes)}
    cited = site.records.distinct("clause")
    clauses = [*(clause for clause in site.clauses if clause in cited), *sorted(cited)]
    numbers["clauses"] = {clause: n for n, clause in enumerate(dict.fromkeys(clauses))}
    verdicts = {verdict: n for n, verdict in enumerate(Verdict)}
    case_ids = site.case_ids
    with ExitStack() as stack:
        # One array after the other stands in the file; they are made at once.
        arrays = [stack.enter_context(TemporaryFile()) for _ in _ARRAYS]
        between = b""
        for number, column in enumerate(site.columns):
            for place, r in site.records.placed(column):
                row = (
                    place, number, numbers["dtypes"][r.dtype],
                    numbers["outputs"].setdefault(r.output, len(numbers["outputs"])), verdicts[r.verdict],
                    texts.number(visible(r.variant or r.message)),
                    None if r.error_ulp is None else float(f"{r.error_ulp:.3g}"),
                    float(f"{share(r.share_used):.2g}") if r.share_used else None,
                    numbers["clauses"][r.clause],
                )  # fmt: skip
                for array, value in zip(arrays, row, strict=True):
                    array.write(between + (b"null" if value is None else b"%r" % value))
                between = b","
        pages = {clause.id: clause.page.removesuffix(".md") for clause in site.clauses.values()}
        file.write(b"window.LOSSPROOF = {")
        said = {
            "columns": [column.label for column in site.columns],
            "functions": site.functions,
            "verdicts": [str(verdict) for verdict in Verdict],
            "symbols": [SYMBOLS[verdict] for verdict in Verdict],
            "pages": {clause: pages.get(clause) for clause in numbers["clauses"]},
            **{name: list(table) for name, table in numbers.items()},
        }
        for name, item in said.items():
            file.write(_embedded(name) + b":" + _embedded(item) + b",")
        lists: dict[str, Iterable[str]] = {"cases": case_ids, "messages": texts.all()}
        for name, texts_of in lists.items():
            file.write(_embedded(name) + b":[")
            _write_joined(file, texts_of)
            file.write(b"],")
        file.write(b'"rows":{')
        for name, array in zip(_ARRAYS, arrays, strict=True):
            file.write((b"" if name == _ARRAYS[0] else b",") + _embedded(name) + b":[")
            array.seek(0)
            while part := array.read(2**16):
                file.write(part)
            file.write(b"]")
        file.write(b"}};\n")


def share(used: float | None) -> float:
    """An error as a share of what is allowed, at most 1e99."""
    return min(used or 0.0, 1e99)


def dtype_order(dtype: str) -> int:
    """Widest first, and after these what others may have."""
    return [*FLOAT_TYPES, dtype].index(dtype)


class _Texts:
    """Messages, each once; there may be as many as records."""

    def __init__(self) -> None:
        self._disk = Database("CREATE TABLE texts (number INTEGER PRIMARY KEY, text BLOB UNIQUE)")

    def number(self, text: str) -> int:
        """Its place among all, the first of which is empty."""
        if not text:
            return 0
        row = text.encode("utf-8", "replace")
        self._disk.do("INSERT OR IGNORE INTO texts (text) VALUES (?)", row)
        return int(self._disk.one("SELECT number FROM texts WHERE text = ?", row)[0])

    def all(self) -> Iterable[str]:
        rows = self._disk.rows("SELECT text FROM texts ORDER BY number")
        return chain([""], (text.decode("utf-8") for (text,) in rows))


def _write_joined(file: IO[bytes], values: Iterable[Any]) -> None:
    between = b""
    for value in values:
        file.write(between + _embedded(value))
        between = b","


def _embedded(data: Any) -> bytes:
    """JSON that cannot end the script it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return text.encode("utf-8", "replace")
