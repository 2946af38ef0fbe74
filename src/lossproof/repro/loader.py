"""Imports modules from the text of a script, into which this module's source is copied."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
from collections.abc import Mapping, Sequence
from types import CodeType, ModuleType


class Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds the modules whose sources it is given; a name that others lie under is a package."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.sources:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin="this script")

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname]

    def is_package(self, fullname: str) -> bool:
        return any(name.startswith(f"{fullname}.") for name in self.sources)

    def get_code(self, fullname: str) -> CodeType:
        source, file = self.sources[fullname], f"<{fullname}>"
        # Tracebacks, and compilers of kernels that read their own source, look here.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        return compile(source, file, "exec", dont_inherit=True)
