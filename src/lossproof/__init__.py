"""Conformance test suite and specification for neural-network loss functions."""

from lossproof.adapter import Adapter, Call
from lossproof.errors import InputError, LossproofError, Unavailable, Unsupported

__version__ = "0.1.0"

__all__ = [
    "Adapter",
    "Call",
    "InputError",
    "LossproofError",
    "Unavailable",
    "Unsupported",
    "__version__",
]
