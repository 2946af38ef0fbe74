"""What a family yields, and all that the families yield."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[2] / "cases"
DTYPES = ["float64", "float32", "float16", "bfloat16"]

# The part of a case that people write, in the order of spec/cases.md.
FIELDS = (
    "id", "clause", "level", "thorough", "distribution", "why", "dtypes", "inputs", "parameters",
    "cotangent", "wrt", "layout", "vacuous", "variants",
)  # fmt: skip


@dataclass(frozen=True)
class Topic:
    """A case file: the human part of its cases.

    Raises:
        ValueError: a case has a field that is not in ``FIELDS``, or two have the same id.
    """

    function: str
    name: str
    about: str
    cases: Sequence[Mapping[str, Any]]
    thorough: bool = False

    def __post_init__(self) -> None:
        ids = [case["id"] for case in self.cases]
        for case in self.cases:
            strange = [field for field in case if field not in FIELDS]
            if strange or ids.count(case["id"]) > 1:
                wrong = f"has the field {strange[0]!r}" if strange else "is there twice"
                raise ValueError(f"{self.function}/{self.name}/{case['id']} {wrong}")

    @property
    def path(self) -> Path:
        return CASES / self.function / f"{self.name}.yaml"


def every_topic() -> Iterator[Topic]:
    """The topics of all families, in the order of the modules' names.

    Raises:
        ValueError: two families make the same file.
    """
    import tests.families as package

    seen: set[Path] = set()
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("_"):
            continue
        for topic in importlib.import_module(f"{package.__name__}.{module.name}").topics():
            if topic.path in seen:
                raise ValueError(f"two families make {topic.function}/{topic.name}")
            yield from _apart(topic)
            seen.add(topic.path)


def _apart(topic: Topic) -> Iterator[Topic]:
    """Thorough cases have a file of their own, which runs of the quick set need not read."""
    quick = [case for case in topic.cases if not case.get("thorough")]
    rest = [
        {k: v for k, v in case.items() if k != "thorough"} for case in topic.cases if case.get("thorough")
    ]
    if quick:
        yield Topic(topic.function, topic.name, topic.about, quick)
    if rest:
        yield Topic(topic.function, f"{topic.name}-thorough", topic.about, rest, thorough=True)
