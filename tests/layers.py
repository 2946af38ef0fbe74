"""The folders and modules of ``lossproof`` in the order of their imports; each imports earlier lines only."""

from __future__ import annotations

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("adapter",),
    ("core",),
    ("case",),
    ("registry",),
    ("engine",),
    ("isolation",),
    ("results",),
    ("oracle",),
    ("repro", "bench", "fuzz", "vectors", "sweeps"),
    ("mistakes",),
    ("site",),
    ("session",),
    ("checking", "completeness", "running", "pytest_plugin"),
    ("sweeping",),
    ("cli",),
    ("__main__",),
)


def layer(module: str) -> int:
    """The line that a module or its folder stands in."""
    name = module.split(".")[1]
    return next(number for number, names in enumerate(LAYERS) if name in names)
