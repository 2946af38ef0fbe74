"""How much memory a call takes at its worst."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def peak_of(function: Callable[[], object]) -> int:
    """Bytes that Python and NumPy hold at once while it runs."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
