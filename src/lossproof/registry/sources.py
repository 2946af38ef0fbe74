"""Whether an adapter is still the one that ran: a digest of the sources that it is made of."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from lossproof.adapter import Adapter


def sources_digest(adapter: Adapter) -> str:
    """Changes with the files that the adapter's classes stand in, and with what these use of their folders.

    What its framework does is told apart by its version.
    """
    found: dict[str, Path] = {}
    for cls in type(adapter).__mro__:
        if issubclass(cls, Adapter) and cls is not Adapter:
            _follow(sys.modules.get(cls.__module__), found)
    return digest_of(found[name] for name in sorted(found))


def digest_of(files: Iterable[Path]) -> str:
    """Changes with what the files hold; one that cannot be read counts as empty."""
    digest = hashlib.sha256()
    for path in files:
        try:
            content = path.read_bytes()
        except OSError:
            content = b""
        digest.update(f"{path.name} {len(content)} ".encode("utf-8", "replace") + content)
    return digest.hexdigest()[:32]


def _follow(module: ModuleType | None, found: dict[str, Path]) -> None:
    """Take in a module and what it imports of its folder."""
    file = getattr(module, "__file__", None)
    if module is None or not file or module.__name__ in found:
        return
    found[module.__name__] = Path(file)
    for name in _imported(module, Path(file)):
        other = sys.modules.get(name)
        if Path(getattr(other, "__file__", None) or "/").parent == Path(file).parent:
            _follow(other, found)


def _imported(module: ModuleType, file: Path) -> Iterator[str]:
    """The names of the modules that a module may import, anywhere in its source."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # no source, as of what is compiled
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # As many levels above the module as there are dots.
            above = module.__name__.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
