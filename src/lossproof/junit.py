"""Results as JUnit XML, the form that continuous integration shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from lossproof.errors import InputError
from lossproof.results import FAILURES, AdapterInfo, Record, Verdict

# XML 1.0 has no way to write these characters.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, adapters: Sequence[AdapterInfo], records: Sequence[Record]) -> None:
    """One suite per adapter, one test per output; deviations and misses count as skipped."""
    root = ElementTree.Element("testsuites", name="lossproof")
    for info in adapters:
        own = [record for record in records if record.adapter == info.name]
        failed = [r for r in own if r.verdict is Verdict.FAIL]
        errors = [r for r in own if r.verdict in FAILURES - {Verdict.FAIL}]
        skipped = [r for r in own if _skip_reason(r) is not None]
        suite = ElementTree.SubElement(
            root, "testsuite", name=_clean(info.name), tests=str(len(own)),
            failures=str(len(failed)), errors=str(len(errors)), skipped=str(len(skipped)),
        )  # fmt: skip
        for record in own:
            test = ElementTree.SubElement(
                suite, "testcase",
                classname=_clean(f"{info.name}.{record.function}"),
                name=_clean(f"{record.case}[{record.dtype}-{record.output}]"),
            )  # fmt: skip
            reason = _skip_reason(record)
            if record.verdict in FAILURES:
                tag = "failure" if record.verdict is Verdict.FAIL else "error"
                element = ElementTree.SubElement(
                    test, tag, type=str(record.verdict), message=_clean(record.message)
                )
                element.text = _clean(f"{record.clause}: {record.message}")
            elif reason is not None:
                ElementTree.SubElement(test, "skipped", message=_clean(reason))
    try:
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise InputError(path, None, f"cannot be written: {error.strerror}") from None


def _skip_reason(record: Record) -> str | None:
    if record.verdict in FAILURES or record.verdict in (Verdict.PASS, Verdict.VARIANT):
        return None
    return f"{record.verdict}: {record.message}"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
