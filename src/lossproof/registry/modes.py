"""Modes: the transformations of a framework that an adapter's calls can be put through (spec/adapters.md).

``torch+vmap`` is the adapter ``torch`` under the mode ``vmap``; every reference of a Python adapter may end
so. Nothing is imported here: what an adapter's framework has, its class says (``Adapter.modes``).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from lossproof.adapter import Adapter
from lossproof.core.text import suggest

_DEVICES = (2, 4, 8)
_RANKS = {f"dtensor-{axis}-{count}": count for axis in ("rows", "classes") for count in (2, 4)}
_SHARDED = tuple(
    f"{way}-{count}" for way in ("sharded-rows", "sharded-classes", "shard-map") for count in _DEVICES
)

KNOWN: Mapping[str, tuple[str, ...]] = {
    "torch": (
        "compile",
        "compile-dynamic",
        "vmap",
        "per-sample-gradients",
        "autocast-float16",
        "autocast-bfloat16",
        "checkpoint",
        "channels-last",
        "inference-mode",
        *_RANKS,
    ),
    "jax": ("jit", "eager", "vmap", "grad-of-vmap", "scan", *_SHARDED),
    "tensorflow": ("function", "xla"),
}
"""The modes that lossproof brings, by framework."""


def known_modes() -> list[str]:
    """The names of all of them."""
    return sorted({name for names in KNOWN.values() for name in names})


def ranks_of(mode: str) -> int:
    """How many processes make every call together, each one rank of them; 1 but where a mode is for more."""
    return _RANKS.get(mode, 1)


def needs_start(mode: str) -> bool:
    """Whether a framework has to be started for a mode: with several devices, or as one of several ranks."""
    return mode in _SHARDED or ranks_of(mode) > 1


def split(reference: str) -> tuple[str, str]:
    """The adapter and the mode of a reference; an empty mode where it names none."""
    found = re.fullmatch(r"(?s)(.+)\+([A-Za-z][A-Za-z0-9-]*)", reference)
    return (found[1], found[2]) if found else (reference, "")


def joined(reference: str, mode: str) -> str:
    """The reference of an adapter under a mode."""
    return f"{reference}+{mode}" if mode else reference


def lacking(cls: type[Adapter], mode: str) -> str | None:
    """Why a class cannot be put under a mode, if it cannot."""
    if mode in cls.modes:
        return None
    there = f"it has {', '.join(cls.modes)}" if cls.modes else "its framework has none"
    return f"no mode {mode!r}{suggest(mode, cls.modes)}; {there}"


def under(given: Adapter | type[Adapter], mode: str) -> Adapter | type[Adapter]:
    """An adapter, or a class of one, whose calls go through a mode that it has."""
    if isinstance(given, type):
        return class_under(given, mode)
    other = copy.copy(given)
    for noted in ("_lossproof_valid_calls", "_steps"):  # in calls that did not go through it
        vars(other).pop(noted, None)
    other.__class__ = class_under(type(given), mode)
    return other


def class_under(cls: type[Adapter], mode: str) -> type[Adapter]:
    """A subclass of an adapter's class that puts every call through a mode that it has."""
    name = joined(cls.name or cls.__name__, mode)
    own: dict[str, Any] = {
        "name": name,
        "mode": mode,
        "untransformed": cls,
        "__module__": cls.__module__,
        "__doc__": cls.__doc__,
    }
    # JAX's adapters are jitted as they are.
    bases = (cls,) if issubclass(cls, cls.modes[mode]) else (cls.modes[mode], cls)
    return type(cls.__name__, bases, own)
