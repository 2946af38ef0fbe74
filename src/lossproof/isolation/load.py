"""Load an adapter wherever it is to run: in this process, or in one of its own."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

from lossproof.adapter import Adapter
from lossproof.errors import LossproofError
from lossproof.isolation.remote import RemoteAdapter, serving
from lossproof.isolation.system import words as command_words
from lossproof.registry.deviations import Deviation, Deviations, load_deviations
from lossproof.registry.find import BUILTIN, adopt, available_names, file_and_class, find_adapter
from lossproof.registry.loaded import AdapterInfo, Loaded, skipped
from lossproof.registry.modes import joined, needs_start, ranks_of, split
from lossproof.registry.sources import digest_of

# Seconds that a call may take in a process of its own, unless told otherwise.
CASE_TIMEOUT = 60.0


def load_adapter(
    reference: str | Adapter | type[Adapter],
    *,
    mode: str = "",
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
        mode: a transformation of its framework that every call is put through, as ``vmap`` in
            ``torch+vmap``.
        isolate: run a Python adapter in a process of its own; commands always are.
        python: the interpreter of that process, of another environment perhaps.
        timeout: seconds that a process of its own may take to start, and for each call.

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
        return adopt(reference, mode)
    command = _command(reference)
    if command is not None and mode:
        raise LossproofError(
            f"adapter {reference!r} is a command, whose framework is out of reach of mode {mode!r}; "
            "modes are for Python adapters"
        )
    reference = joined(reference, mode)
    if command is not None:
        if python is not None:
            raise LossproofError(
                f"adapter {reference!r} is a command, which brings its own interpreter, not --python"
            )
        files = [Path(word) for word in command if Path(word).is_file()]
        return _remote(RemoteAdapter(command, timeout, reference), _beside(files), digest_of(files))
    if isolate or python is not None:
        ranks = ranks_of(split(reference)[1])
        return _remote(RemoteAdapter(serving(reference, python), timeout, reference, ranks=ranks), [])
    return find_adapter(reference)


@cache
def load_once(
    reference: str, python: str | None, isolate: bool | None, timeout: float, mode: str = ""
) -> Loaded:
    """The adapter, once per process, in one of its own where it runs apart."""
    apart = runs_apart(reference, isolate)
    return load_adapter(reference, mode=mode, isolate=apart, python=python, timeout=timeout)


def runs_apart(reference: str, isolate: bool | None) -> bool:
    """Whether a Python adapter runs in a process of its own.

    Under a mode for which its framework has to be started it does; else as asked, or if it is not built in.
    """
    name, mode = split(reference)
    return needs_start(mode) or (name not in BUILTIN if isolate is None else isolate)


def is_command(reference: str) -> bool:
    """Whether it is run as a program of its own that speaks JSON lines."""
    return _command(reference) is not None


def _command(reference: str) -> list[str] | None:
    """The words of a reference that is a command: several words, or the path of an executable."""
    bare = split(reference)[0]
    file = file_and_class(bare)[0]
    if bare in available_names() or (file.endswith(".py") and (os.path.isfile(file) or " " not in bare)):
        return None
    try:
        words = command_words(reference)
        for word in words:
            os.fsencode(word)
    except ValueError as error:
        raise LossproofError(f"adapter {reference!r}: {error}") from None
    if "\0" in reference:
        raise LossproofError(f"adapter {reference!r}: no command can hold a NUL")
    if len(words) > 1 or any(_is_program(word) for word in words):
        return words
    return None


def _is_program(word: str) -> bool:
    """Whether a word is the path of an executable file, and not only a name of one."""
    return os.path.dirname(word) != "" and shutil.which(word) is not None


def _remote(adapter: RemoteAdapter, deviations: list[Deviation], sources: str = "") -> Loaded:
    start = adapter.start
    if start.skipped is not None:
        return skipped(start.name, start.backend, start.skipped)
    info = AdapterInfo(start.name, start.backend, start.version, start.device)
    every = Deviations([*deviations, *start.deviations], info.name, info.version, info.device)
    return Loaded(info, adapter, every, sources + start.sources)


def _beside(files: list[Path]) -> list[Deviation]:
    """The deviations recorded beside the files that a command names."""
    listed = [file.with_name(f"{file.stem}.deviations.yaml") for file in files]
    return [deviation for file in listed if os.path.isfile(file) for deviation in load_deviations(file)]
