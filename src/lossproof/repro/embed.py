"""The sources that a script has to carry: an adapter's modules, and what they import of lossproof."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from operator import attrgetter
from pathlib import Path

import lossproof
from lossproof.adapter import Adapter
from lossproof.errors import LossproofError, Unsupported
from lossproof.registry.find import FILE_PREFIX


@dataclass(frozen=True)
class Embedded:
    """Modules' sources by name, and where a script finds the adapter's class in them."""

    sources: dict[str, str]
    module: str
    cls: str


@cache
def embed(cls: type[Adapter], backend: str, roots: tuple[str, ...]) -> Embedded:
    """Collect the module of an adapter's class, the modules ``roots``, and what they import.

    Imports are followed into lossproof; out of an adapter's file into the modules that lie beside
    it; and out of a package's adapter into its package, unless that is the framework ``backend``
    itself, which a script imports like any framework. Sources are copied as they are.

    Raises:
        LossproofError: a source cannot be read, or the class is not a module's.
    """
    home = cls.__module__
    _require_in_module(cls)
    owned = Owned(home, backend)
    sources: dict[str, str] = {}
    seen: set[str] = set()
    pending = [*roots, *(c.__module__ for c in cls.__mro__ if issubclass(c, Adapter))]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name == "lossproof":
            sources[name] = stand_in()
            continue
        source = _source(name)
        if owned.carries(name):
            if source is None:
                raise LossproofError(f"the source of module {name} cannot be read; a script has to carry it")
            sources[name] = source
            pending += _parents(name)
        if source is not None:
            found = imported(name, source, _is_package(name))
            pending += (other for other in found if owned.carries(other) and _spec(other) is not None)
    if home in sources:
        sources[_safe(home)] = sources.pop(home)
    return Embedded(dict(sorted(sources.items())), _safe(home), cls.__qualname__)


def stand_in() -> str:
    """What stands for the package ``lossproof``: its classes, which adapters import; the rest is absent."""
    # Public names are resolved when they are asked for.
    public = {name: getattr(lossproof, name) for name in lossproof.__all__}
    homes = {cls.__module__ for cls in (Adapter, Unsupported)}
    lines = ['"""What adapters import of lossproof."""', ""]
    lines += [
        f"from {item.__module__} import {name}"
        for name, item in public.items()
        if isinstance(item, type) and item.__module__ in homes
    ]
    return "\n".join([*lines, f"\n__version__ = {lossproof.__version__!r}", _ABSENT])


# An adapter's file may import what only its command line or its tests call.
_ABSENT = """

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def absent(*arguments, **keywords):
        raise RuntimeError(f"lossproof.{name} is not part of this script")

    return absent
"""


def _require_in_module(cls: type) -> None:
    try:
        found = attrgetter(cls.__qualname__)(sys.modules[cls.__module__])
    except (AttributeError, KeyError):
        found = None
    if found is not cls or not all(map(str.isidentifier, cls.__qualname__.split("."))):
        raise LossproofError(
            f"class {cls.__qualname__} cannot be found in module {cls.__module__}: a script can only carry "
            "an adapter that is defined at the top of a module"
        )


class Owned:
    """Which modules a script carries; the others are frameworks, which it imports."""

    def __init__(self, home: str, backend: str) -> None:
        top = home.partition(".")[0]
        self.tops = {"lossproof"} if top == backend else {"lossproof", top}
        file = getattr(sys.modules[home], "__file__", None)
        self.folder = Path(file).resolve().parent if file and home.startswith(FILE_PREFIX) else None

    def carries(self, name: str) -> bool:
        top = name.partition(".")[0]
        return top in self.tops or (self.folder is not None and _lies_in(top, self.folder))


def _lies_in(top: str, folder: Path) -> bool:
    """Whether a module or package lies directly in a folder, and is the one that an import gives."""
    spec = _spec(top)
    beside = (folder / f"{top}.py", folder / top / "__init__.py")
    return spec is not None and spec.has_location and Path(spec.origin or "").resolve() in beside


def _spec(name: str) -> ModuleSpec | None:
    if name in sys.modules:
        spec: ModuleSpec | None = getattr(sys.modules[name], "__spec__", None)
        return spec
    try:
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None  # a name in a module, or a module that is not installed


def _source(name: str) -> str | None:
    spec = _spec(name)
    loader = None if spec is None else spec.loader
    try:
        if spec is not None and isinstance(loader, importlib.abc.InspectLoader):
            return loader.get_source(spec.name)
        return inspect.getsource(sys.modules[name])
    except (OSError, TypeError, ImportError, KeyError):
        return None


def _is_package(name: str) -> bool:
    spec = _spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def _safe(name: str) -> str:
    """The name of an adapter's file, which may be called anything, as one of a module without parents."""
    return re.sub(r"\W", "_", name) if name.startswith(FILE_PREFIX) else name


def _parents(name: str) -> Iterator[str]:
    while "." in name and not name.startswith(FILE_PREFIX):
        name = name.rpartition(".")[0]
        yield name


def imported(name: str, source: str, is_package: bool) -> Iterator[str]:
    """What the module ``name`` imports, anywhere but for types only; names of attributes among it."""
    package = name if is_package else name.rpartition(".")[0]
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        pending += ast.iter_child_nodes(node)
