"""The JSON Schemas in spec/, made of the forms that lossproof reads with.

``python -m tests.schemas`` names those that are not current; ``--write`` makes them anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lossproof.bench.timings import Timings
from lossproof.case.form import CaseFile
from lossproof.core.schema import schema, text
from lossproof.isolation.messages import Message
from lossproof.registry.deviations import DeviationsFile
from lossproof.results.file import ResultsFile
from lossproof.sweeps.report import SweepsFile
from lossproof.vectors.form import Index, VectorsFile

SPEC = Path(__file__).parents[1] / "spec"
FORMS: dict[str, tuple[Any, str]] = {
    "case": (CaseFile, "lossproof case file"),
    "deviations": (DeviationsFile, "lossproof deviations file"),
    "protocol": (Message, "lossproof adapter protocol, one message per line"),
    "results": (ResultsFile, "lossproof results"),
    "sweeps": (SweepsFile, "lossproof sweeps: every input of functions of one variable"),
    "vectors": (VectorsFile, "lossproof vectors: the cases of a function in a dtype"),
    "vectors-index": (Index, "lossproof vectors: what an export holds"),
    "timings": (Timings, "timings of lossproof bench and pytest-benchmark"),
}


def path(name: str) -> Path:
    return SPEC / f"{name}.schema.json"


def page(name: str) -> str:
    """What the file is to hold."""
    return text(schema(*FORMS[name])) + "\n"


if __name__ == "__main__":
    for name in FORMS:
        if not path(name).is_file() or path(name).read_text(encoding="utf-8") != page(name):
            print(path(name).relative_to(SPEC.parent))
            if "--write" in sys.argv:
                path(name).write_text(page(name), encoding="utf-8")
