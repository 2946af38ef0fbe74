"""Load an adapter wherever it is to run: in this process, or in one of its own."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from lossproof.adapter import Adapter
from lossproof.errors import LossproofError
from lossproof.isolation.remote import RemoteAdapter, serving
from lossproof.registry.deviations import Deviation, Deviations, load_deviations
from lossproof.registry.find import adopt, available_names, find_adapter
from lossproof.registry.loaded import AdapterInfo, Loaded, skipped

# Seconds that a call may take in a process of its own, unless told otherwise.
CASE_TIMEOUT = 60.0


def load_adapter(
    reference: str | Adapter | type[Adapter],
    *,
    isolate: bool = False,
    python: str | None = None,
    timeout: float = CASE_TIMEOUT,
) -> Loaded:
    """Load one adapter.

    Args:
        reference: a name, ``path/to/file.py[:Class]``, ``package.module:Class``, or a command that
            speaks JSON lines (spec/protocol.md): several words, or the path of an executable file. A
            name is a name even where a file is called so; ``./torch`` is the file. An adapter or its
            class stands for itself.
        isolate: run a Python adapter in a process of its own; commands always are.
        python: the interpreter of that process, of another environment perhaps.
        timeout: seconds that one call may take in a process of its own.

    Raises:
        LossproofError: there is no such adapter, its file fails to import, or an object is to run in
            another process.
    """
    if not isinstance(reference, str):
        if isolate or python is not None:
            raise LossproofError(
                "an adapter object runs in this process; for a process of its own "
                "(isolate, jobs, python) give 'path/to/file.py' or 'package.module:Class'"
            )
        return adopt(reference)
    command = _command(reference)
    if command is not None:
        if python is not None:
            raise LossproofError(
                f"adapter {reference!r} is a command, which brings its own interpreter, not --python"
            )
        return _remote(RemoteAdapter(command, timeout, reference), _beside(command))
    if isolate or python is not None:
        return _remote(RemoteAdapter(serving(reference, python), timeout, reference), [])
    return find_adapter(reference)


def _command(reference: str) -> list[str] | None:
    """The words of a reference that is a command: several words, or the path of an executable."""
    file = Path(reference.partition(":")[0])
    if reference in available_names() or (
        file.suffix == ".py" and (os.path.isfile(file) or " " not in reference)
    ):
        return None
    try:
        words = shlex.split(reference)
        for word in words:
            os.fsencode(word)
    except ValueError as error:
        raise LossproofError(f"adapter {reference!r}: {error}") from None
    if "\0" in reference:
        raise LossproofError(f"adapter {reference!r}: no command can hold a NUL")
    if len(words) > 1 or any("/" in w and os.path.isfile(w) and os.access(w, os.X_OK) for w in words):
        return words
    return None


def _remote(adapter: RemoteAdapter, deviations: list[Deviation]) -> Loaded:
    start = adapter.start
    if start.skipped is not None:
        return skipped(start.name, start.backend, start.skipped)
    info = AdapterInfo(start.name, start.backend, start.version, start.device)
    return Loaded(
        info, adapter, Deviations([*deviations, *start.deviations], info.name, info.version, info.device)
    )


def _beside(command: list[str]) -> list[Deviation]:
    """The deviations recorded beside the files that a command names."""
    files = [
        Path(word).with_name(f"{Path(word).stem}.deviations.yaml") for word in command if os.path.isfile(word)
    ]
    return [deviation for file in files if file.is_file() for deviation in load_deviations(file)]
