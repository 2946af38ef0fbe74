"""Conformance test suite and specification for neural-network loss functions."""

from typing import TYPE_CHECKING, Any

from lossproof.adapter import Adapter, Call
from lossproof.errors import InputError, LossproofError, Unavailable, Unsupported

if TYPE_CHECKING:
    from lossproof.checking import check

__version__ = "0.1.0"

__all__ = [
    "Adapter",
    "Call",
    "InputError",
    "LossproofError",
    "Unavailable",
    "Unsupported",
    "__version__",
    "check",
]


def __getattr__(name: str) -> Any:
    # NumPy and the case loader are imported when a check is asked for, not with the package.
    if name == "check":
        from lossproof.checking import check

        return check
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
