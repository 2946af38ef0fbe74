"""Where the specification, the cases and the built-in adapters are.

They are packages inside ``lossproof``, in a wheel and in an editable checkout alike.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path


@cache
def folder(name: str) -> Path:
    """The folder of ``lossproof.<name>``: ``spec``, ``cases`` or ``adapters``."""
    spec = importlib.util.find_spec(f"lossproof.{name}")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the installation lacks lossproof.{name}; reinstall lossproof")
    return Path(spec.origin).parent


def display(path: Path) -> str:
    """``path`` as people would type it: relative to the working folder where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
