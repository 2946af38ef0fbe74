"""Conformance test suite and specification for neural-network loss functions.

What is public is listed here and described in docs/python.md; everything else may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossproof.adapter import Adapter, Call
    from lossproof.checking import check
    from lossproof.core.verdicts import Verdict
    from lossproof.engine.record import Record
    from lossproof.errors import InputError, LossproofError, Unavailable, Unsupported
    from lossproof.results.file import Results
    from lossproof.running import run
    from lossproof.sweeping import sweep

__version__ = "0.1.0"

__all__ = [
    "Adapter",
    "Call",
    "InputError",
    "LossproofError",
    "Record",
    "Results",
    "Unavailable",
    "Unsupported",
    "Verdict",
    "__version__",
    "check",
    "run",
    "sweep",
]

# Where each public name is defined. Its module, and NumPy with most, is imported when the name is
# first asked for, not with the package.
_HOMES = {
    "Adapter": "adapter",
    "Call": "adapter",
    "InputError": "errors",
    "LossproofError": "errors",
    "Record": "engine.record",
    "Results": "results.file",
    "Unavailable": "errors",
    "Unsupported": "errors",
    "Verdict": "core.verdicts",
    "check": "checking",
    "run": "running",
    "sweep": "sweeping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"lossproof.{_HOMES[name]}"), name)
    globals()[name] = found  # the next time it is an ordinary attribute
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
