"""What lossproof found: the deviations recorded beside the adapters, as a page that people read.

It is made of those files and of ``effects.yaml``, for docs/findings.md and for the site alike.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lossproof.case import yaml as yamlio
from lossproof.case.suite import manifest
from lossproof.core.clauses import clauses
from lossproof.core.escape import visible
from lossproof.core.resources import folder
from lossproof.core.text import counted
from lossproof.registry.deviations import Deviation, load_deviations

NONE_KNOWN = "none known"


@dataclass(frozen=True)
class Framework:
    """The recorded behaviours of one, and the adapter that shows those that name no other."""

    name: str
    adapter: str
    file: Path

    @property
    def deviations(self) -> list[Deviation]:
        return load_deviations(self.file)


_FRAMEWORKS = {
    "torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras", "jax": "JAX", "optax": "Optax",
    "mlx": "MLX", "paddle": "Paddle", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO",
}  # fmt: skip


def frameworks() -> list[Framework]:
    """All that have a deviations file, in the order of the page."""
    adapters = folder("adapters")
    own = [Framework(n, stem, adapters / f"{stem}.deviations.yaml") for stem, n in _FRAMEWORKS.items()]
    tfjs = "'node adapters/tfjs/adapter.mjs'"
    return [*own, Framework("TensorFlow.js", tfjs, adapters / "tfjs" / "adapter.deviations.yaml")]


def effect(deviation: Deviation) -> str:
    """What a user sees of it, in a sentence."""
    effects = _effects()
    return str(effects["deviations"].get(deviation.id) or effects["clauses"][deviation.clause])


def script(framework: Framework, deviation: Deviation) -> str:
    """The command that prints a script which shows it, by the first case and adapter that are named."""
    first = deviation.where[0]
    case = next(id for pattern in first.cases for id in _ids() if fnmatch.fnmatchcase(id, pattern))
    adapter = next((name for name in deviation.adapters if "*" not in name), framework.adapter)
    dtype = f" -d {first.dtypes[0]}" if first.dtypes else ""
    return f"lossproof repro {case} -a {adapter}{dtype}"


def report(framework: Framework, deviation: Deviation) -> str:
    """A text to file upstream; the script and what it prints are put below it."""
    clause = clauses()[deviation.clause]
    lines = [
        f"{framework.name}: {effect(deviation)}",
        f"When: {deviation.condition}",
        f"Observed: {deviation.observed}",
        f"Expected: {deviation.expected}",
        f"Why: {clause.plain}",
        f"Versions: {deviation.versions}",
        f"To reproduce: the script that `{script(framework, deviation)}` prints, which needs no lossproof.",
    ]
    return "\n\n".join(" ".join(line.split()) for line in lines)


def page(clause_link: str) -> str:
    """The page in Markdown; ``clause_link`` is where the page of a clause lies, ``../spec/{}.md``."""
    found = [(framework, framework.deviations) for framework in frameworks()]
    total = sum(len(deviations) for _, deviations in found)
    unreported = sum(d.upstream == NONE_KNOWN for _, deviations in found for d in deviations)
    lines = [
        "# What lossproof found",
        "",
        f"{total} behaviours of released frameworks that differ from the specification, made of the files "
        "beside the adapters, each shown by a standalone script. An effect says what a user may see; what "
        f"exactly is observed, and in which versions, follows. Of {unreported} no upstream issue is known: a "
        "report text is ready below each, to which the script and its output belong.",
        "",
        "| framework | findings | to report |",
        "| --- | --- | --- |",
        *(
            f"| {framework.name} | {len(own)} | {sum(d.upstream == NONE_KNOWN for d in own)} |"
            for framework, own in found
        ),
    ]
    for framework, deviations in found:
        lines += ["", f"## {framework.name}", "", f"{counted(len(deviations), 'finding')}."]
        for deviation in deviations:
            lines += _finding(framework, deviation, clause_link)
    return "\n".join(lines) + "\n"


def _finding(framework: Framework, deviation: Deviation, clause_link: str) -> Iterator[str]:
    clause = clauses()[deviation.clause]
    target = clause_link.format(clause.page.removesuffix(".md"))
    upstream = deviation.upstream
    linked = f"<{upstream}>" if re.fullmatch(r"https?://\S+", upstream) else _marked(upstream)
    sporadic = " It does not show every time." if deviation.sporadic else ""
    yield from ("", f"### {_marked(deviation.id)}", "", f"**{_marked(effect(deviation))}**", "")
    yield _marked(f"{deviation.condition} {deviation.observed} Due: {deviation.expected}{sporadic}")
    yield ""
    yield (
        f"[{clause.id}]({target}); versions `{deviation.versions}`; "
        f"script: `{script(framework, deviation)}`; upstream: {linked}"
    )
    if upstream == NONE_KNOWN:
        yield from ("", "```text", report(framework, deviation), "```")


def _marked(text: str) -> str:
    """A text in which no mark of Markdown, mathematics or HTML has a meaning."""
    return re.sub(r"([\\`*_\[\]<>|$#&~])", r"\\\1", visible(" ".join(text.split())))


@cache
def _effects() -> Any:
    return yamlio.load(Path(__file__).with_name("effects.yaml"))


@cache
def _ids() -> tuple[str, ...]:
    return tuple(manifest().latest.ids)
