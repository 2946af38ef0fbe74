"""Whether a case is still the one that was run: a digest of all that its verdict depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from lossproof.case.model import Case

# A row of the table of functions belongs to lossproof's version; where a case is written, and what is said
# of it, changes no verdict.
_NO_MATTER = {"function", "path", "line", "about", "why", "thorough", "vacuous"}


def fingerprint(case: Case) -> str:
    """Changes with the inputs, with what is expected and tolerated, and with what else the case asks for."""
    digest = hashlib.sha256()
    for field in fields(case):
        # A case that lacks what came later is the one that it was before.
        new = {"tangents": bool(case.tangents), "times": case.huge, "distribution": case.distribution}
        if field.name not in _NO_MATTER and new.get(field.name, True):
            _add(digest, (field.name, getattr(case, field.name)))
    return digest.hexdigest()[:32]


def _add(digest: Any, value: Any) -> None:
    """Take in a value, each part with its type and length, so that no two values are alike."""
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype} {value.shape} ".encode())
        digest.update(value.tobytes())
    elif isinstance(value, Mapping):
        _add(digest, tuple(sorted(value.items())))
    elif isinstance(value, (list, tuple)):
        digest.update(f"{len(value)} of ".encode())
        for item in value:
            _add(digest, item)
    elif is_dataclass(value):
        _add(digest, tuple(getattr(value, field.name) for field in fields(value)))
    else:
        digest.update(f"{type(value).__name__} {value!r} ".encode("utf-8", "replace"))
