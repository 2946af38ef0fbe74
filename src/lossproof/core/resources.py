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
