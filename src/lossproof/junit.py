"""Results as JUnit XML, the form that continuous integration shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from lossproof.errors import InputError
from lossproof.gate import Gate
from lossproof.results import FAILURES, AdapterInfo, Record, Verdict

DEFAULT_GATE = Gate()

# XML 1.0 has no way to write these characters.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(
    path: Path, adapters: Sequence[AdapterInfo], records: Sequence[Record], gate: Gate = DEFAULT_GATE
) -> None:
    """One suite per adapter, one test per output; what is wrong but does not fail the run is skipped."""
    root = ElementTree.Element("testsuites", name="lossproof")
    for info in adapters:
        own = [record for record in records if record.adapter == info.name]
        tags = [_tag(record, gate) for record in own]
        suite = ElementTree.SubElement(
            root, "testsuite", name=_clean(info.name), tests=str(len(own)),
            failures=str(tags.count("failure")), errors=str(tags.count("error")),
            skipped=str(tags.count("skipped")),
        )  # fmt: skip
        for record, tag in zip(own, tags, strict=True):
            test = ElementTree.SubElement(
                suite, "testcase",
                classname=_clean(f"{info.name}.{record.function}"),
                name=_clean(f"{record.case}[{record.dtype}-{record.output}]"),
            )  # fmt: skip
            message = _clean(f"{record.verdict}: {record.message}")
            if tag == "skipped":
                ElementTree.SubElement(test, "skipped", message=message)
            elif tag is not None:
                element = ElementTree.SubElement(test, tag, type=str(record.verdict), message=message)
                element.text = _clean(f"{record.clause}: {record.message}")
    try:
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise InputError(path, None, f"cannot be written: {error.strerror}") from None


def _tag(record: Record, gate: Gate) -> str | None:
    if gate.fails(record):
        return "error" if record.verdict in FAILURES - {Verdict.FAIL} else "failure"
    return None if record.verdict in (Verdict.PASS, Verdict.VARIANT) else "skipped"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
