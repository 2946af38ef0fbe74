"""Where compilers keep what they have compiled between two runs of the program.

A run of JAX compiles some thousand small programs, which takes longer than all else; they are the same in
the next run. What the user has set of these variables stays as it is. PyTorch keeps its own by default.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

FOLDER = "LOSSPROOF_CACHE"
"""The variable that names the folder; empty, nothing is kept."""


def keep() -> None:
    """Tell the compilers of this process, and of those that it starts."""
    named = os.environ.get(FOLDER)
    if named == "":
        return
    try:
        folder = (Path(named) if named else _caches() / "lossproof").absolute() / f"jax-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or none that can be written
        return
    for name, value in {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }.items():
        os.environ.setdefault(name, value)


def _caches() -> Path:
    """Where the system has its caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _processor() -> str:
    """What machine code was made for: homes are shared by machines with other processors."""
    told = platform.processor() + platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        told += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(told.encode()).hexdigest()[:8]
