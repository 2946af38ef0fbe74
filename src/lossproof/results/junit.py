"""Results as JUnit XML, the form that continuous integration shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from lossproof.core.escape import xml as characters
from lossproof.core.files import replacing
from lossproof.core.verdicts import FAILURES, RIGHT, Verdict
from lossproof.engine.record import Record
from lossproof.registry.loaded import AdapterInfo
from lossproof.results.gate import Gate

DEFAULT_GATE = Gate()


def write_junit(
    path: Path, adapters: Sequence[AdapterInfo], records: Iterable[Record], gate: Gate = DEFAULT_GATE
) -> None:
    """One suite per adapter, one test per output; what is wrong but does not fail the run is skipped.

    ``records`` are gone through twice, adapter by adapter: a suite says first how many there are.
    """
    tags = Counter((record.adapter, _tag(record, gate)) for record in records)
    suites = groupby(records, key=lambda record: record.adapter)
    pending = next(suites, None)
    with replacing(path) as file, TextIOWrapper(file, "utf-8", newline="\n") as text:
        xml = XMLGenerator(text, "utf-8", short_empty_elements=True)
        xml.startDocument()
        xml.startElement("testsuites", AttributesImpl({"name": "lossproof"}))
        for info in adapters:
            counts = {tag: tags[info.name, tag] for tag in (None, "failure", "error", "skipped")}
            attributes = {
                "name": characters(info.name), "tests": str(sum(counts.values())),
                "failures": str(counts["failure"]), "errors": str(counts["error"]),
                "skipped": str(counts["skipped"]),
            }  # fmt: skip
            xml.startElement("testsuite", AttributesImpl(attributes))
            if pending is not None and pending[0] == info.name:
                for record in pending[1]:
                    _write_test(xml, record, _tag(record, gate))
                pending = next(suites, None)
            xml.endElement("testsuite")
        xml.endElement("testsuites")
        xml.endDocument()


def _write_test(xml: XMLGenerator, record: Record, tag: str | None) -> None:
    attributes = {
        "classname": characters(f"{record.adapter}.{record.function}"),
        "name": characters(f"{record.case}[{record.dtype}-{record.output}]"),
    }
    xml.startElement("testcase", AttributesImpl(attributes))
    message = characters(f"{record.verdict}: {record.message}")
    if tag == "skipped":
        xml.startElement(tag, AttributesImpl({"message": message}))
        xml.endElement(tag)
    elif tag is not None:
        xml.startElement(tag, AttributesImpl({"type": str(record.verdict), "message": message}))
        xml.characters(characters(f"{record.clause}: {record.message}"))
        xml.endElement(tag)
    xml.endElement("testcase")


def _tag(record: Record, gate: Gate) -> str | None:
    if gate.fails(record):
        return "error" if record.verdict in FAILURES - {Verdict.FAIL} else "failure"
    return None if record.verdict in RIGHT else "skipped"
