"""How much memory there is for arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GIB = 2**30
# The limit and the use of a container's memory, of both versions of control groups.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> int | None:
    """Bytes that this process can still have without others losing theirs; None where that cannot be told."""
    return min(_readings(), default=None)


def gib(size: int) -> str:
    """A size for people: ``9.4 GiB``."""
    return f"{size / _GIB:.1f} GiB"


def _readings() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        yield int(text.split("MemAvailable:")[1].split()[0]) * 1024
        for limit, used in _GROUPS:
            with suppress(OSError, ValueError):  # there is no such group, or it has no limit ("max")
                yield max(0, int(Path(limit).read_text()) - int(Path(used).read_text()))
        return
    try:
        import psutil
    except ImportError:
        with suppress(OSError, ValueError, AttributeError):  # no such system, or no such name
            yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    else:
        yield psutil.virtual_memory().available
