"""What all tests of a process share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lossproof.case import read
from lossproof.case.model import Case
from lossproof.core.resources import folder


@pytest.fixture(scope="session", autouse=True)
def _own_files_are_read_once() -> Iterator[None]:
    """Whatever loads lossproof's own files loads each once in a process: all of them take seconds.

    Files that a test writes, and texts that stand in for a file's, are read as ever.
    """
    load, own = read.load_file, folder("cases").resolve()
    loaded: dict[Path, list[Case]] = {}

    def load_once(path: Path, text: str | None = None, *, stored: bool = True) -> list[Case]:
        if text is not None or not stored or own not in path.resolve().parents:
            return load(path, text, stored=stored)
        if path not in loaded:
            loaded[path] = load(path)
        return list(loaded[path])

    patch = pytest.MonkeyPatch()
    patch.setattr(read, "load_file", load_once)
    yield
    patch.undo()
