"""Find Python adapters, built in, by file, by ``module:Class`` and by entry point, and load them here."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from msgspec.structs import replace

from lossproof.adapter import Adapter
from lossproof.core.escape import utf8
from lossproof.core.resources import folder
from lossproof.core.text import suggest
from lossproof.errors import LossproofError, Unavailable
from lossproof.registry.deviations import Deviation, Deviations, load_deviations
from lossproof.registry.loaded import AdapterInfo, Loaded, skipped


@dataclass(frozen=True)
class Builtin:
    """A built-in adapter; ``requires`` is the module whose absence means it is skipped."""

    module: str
    cls: str
    requires: str
    extra: str

    @property
    def missing(self) -> str | None:
        """Why it cannot run here, as far as that shows without importing anything."""
        if importlib.util.find_spec(self.requires) is not None:
            return None
        return f"{self.requires} is not installed: pip install 'lossproof[{self.extra}]'"


BUILTIN = {
    "numpy": Builtin("lossproof.adapters.numpy", "NumpyAdapter", "numpy", ""),
    "torch": Builtin("lossproof.adapters.torch", "TorchAdapter", "torch", "torch"),
    "torch-compile": Builtin("lossproof.adapters.torch", "TorchCompileAdapter", "torch", "torch"),
    "torch-cuda": Builtin("lossproof.adapters.torch", "TorchCudaAdapter", "torch", "torch"),
    "tensorflow": Builtin("lossproof.adapters.tensorflow", "TensorFlowAdapter", "tensorflow", "tensorflow"),
    "tensorflow-xla": Builtin(
        "lossproof.adapters.tensorflow", "TensorFlowXlaAdapter", "tensorflow", "tensorflow"
    ),
    "keras": Builtin("lossproof.adapters.keras", "KerasAdapter", "keras", "tensorflow"),
    "jax": Builtin("lossproof.adapters.jax", "JaxAdapter", "jax", "jax"),
    "optax": Builtin("lossproof.adapters.optax", "OptaxAdapter", "optax", "jax"),
}


# What the module of an adapter's file is called, with the file's stem behind it.
FILE_PREFIX = "lossproof_adapter_"


def available_names() -> list[str]:
    """Built-in adapters and those that installed packages register, in a fixed order."""
    return [*BUILTIN, *sorted(registered().keys() - BUILTIN.keys())]


def registered() -> dict[str, str]:
    """Module and class of the adapters that installed packages register, by name."""
    return {point.name: point.value for point in entry_points(group="lossproof.adapters")}


def find_adapter(reference: str) -> Loaded:
    """Load a Python adapter into this process.

    Args:
        reference: a name, ``path/to/file.py[:Class]`` or ``package.module:Class``.

    Raises:
        LossproofError: there is no such adapter, or its file fails to import.
    """
    if reference in BUILTIN:
        return _load_builtin(reference)
    points = registered()
    if reference in points:
        return _load_entry_point(reference, points[reference])
    path_text, _, class_name = reference.partition(":")
    if path_text.endswith(".py"):
        module = _import_file(Path(path_text))
    elif class_name:
        module = _import_module(path_text, reference)
    else:
        file = f"; for the file of this name write ./{reference}" if os.path.isfile(reference) else ""
        raise LossproofError(
            f"unknown adapter {reference!r}{suggest(reference, available_names())}{file}; there are "
            f"{', '.join(available_names())}, or give path/to/file.py, package.module:Class or a command"
        )
    return adopt(_pick_class(module, class_name, reference))


def _load_entry_point(name: str, value: str) -> Loaded:
    module, _, class_name = value.partition(":")
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise LossproofError(f"adapter {name!r}: its package lacks {error.name}") from None
        # The adapter is installed, its framework is not.
        return skipped(name, name, f"{error.name} is not installed")
    except Exception as error:
        return skipped(name, name, f"{module} fails to import: {type(error).__name__}: {error}")
    return adopt(_pick_class(imported, class_name, name))


def _load_builtin(name: str) -> Loaded:
    builtin = BUILTIN[name]
    if builtin.missing is not None:
        return skipped(name, builtin.requires, builtin.missing)
    try:
        module = importlib.import_module(builtin.module)
    except Exception as error:
        # An installed framework that fails to import (a missing library, say) is unusable here.
        return skipped(name, builtin.requires, f"{builtin.requires} fails to import: {error}")
    cls: type[Adapter] = getattr(module, builtin.cls)
    return adopt(cls)


def _import_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):
        raise LossproofError(f"{path}: no such adapter file")
    if path.resolve().parent == folder("adapters"):
        # Lossproof's own import each other: they are modules of a package wherever they are named.
        return _import_module(f"lossproof.adapters.{path.stem}", str(path))
    name = FILE_PREFIX + path.stem.replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Modules beside the file can be imported, but never in place of an installed one.
    if str(path.resolve().parent) not in sys.path:
        sys.path.append(str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path.resolve())]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else 1
        raise LossproofError(
            f"{path}:{line}: the adapter fails to import: {type(error).__name__}: {error}"
        ) from None
    return module


def _import_module(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise LossproofError(
            f"adapter {reference!r}: {name} fails to import: {type(error).__name__}: {error}"
        ) from None


def _pick_class(module: ModuleType, class_name: str, reference: str) -> type[Adapter]:
    if class_name:
        cls = getattr(module, class_name, None)
        if not (inspect.isclass(cls) and issubclass(cls, Adapter)):
            raise LossproofError(
                f"adapter {reference!r}: {class_name} is not a subclass of lossproof.Adapter"
            )
        return cls
    classes = [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, Adapter) and cls.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes)
        raise LossproofError(
            f"adapter {reference!r}: "
            + (f"it has several adapters; give one of {names} after a colon" if classes
               else "it defines no subclass of lossproof.Adapter")
        )  # fmt: skip
    return classes[0]


def adopt(given: Adapter | type[Adapter]) -> Loaded:
    """An adapter, or a class whose constructor is called, with the deviations beside its module.

    Raises:
        LossproofError: it is none, its constructor fails, or a file of deviations is malformed.
    """
    cls = given if isinstance(given, type) else type(given)
    if not issubclass(cls, Adapter):
        raise LossproofError(f"{given!r} is no adapter: give a name, a file, or a lossproof.Adapter")
    name = given.name or cls.__name__
    backend = given.backend or name
    try:
        adapter = given() if isinstance(given, type) else given
    except Unavailable as reason:
        return skipped(utf8(name), utf8(backend), utf8(str(reason)))
    except Exception as error:
        raise LossproofError(
            f"adapter {name!r}: its constructor fails: {type(error).__name__}: {error}"
        ) from error
    given_as = (name, backend, str(adapter.version), str(adapter.device))
    info = AdapterInfo(*map(utf8, given_as))  # what a file can hold
    return Loaded(info, adapter, _deviations_of(adapter, info))


def _deviations_of(adapter: Adapter, info: AdapterInfo) -> Deviations:
    """The adapter's own deviations, and its bases' for the functions it inherits unchanged."""
    entries: list[Deviation] = []
    seen: set[str] = set()
    for cls in type(adapter).__mro__:
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        if cls.__module__ in seen or not file or not issubclass(cls, Adapter):
            continue
        seen.add(cls.__module__)
        path = Path(file)
        path = path.with_name(f"{path.stem}.deviations.yaml")
        if not path.is_file():
            continue
        own = cls.__module__ == type(adapter).__module__
        for deviation in load_deviations(path):
            if own:
                entries.append(deviation)
            elif not deviation.adapters or cls.name in deviation.adapters:
                entries += _inherited(deviation, adapter, cls)
    return Deviations(entries, info.name, info.version, info.device)


def _inherited(deviation: Deviation, adapter: Adapter, base: type[Adapter]) -> Iterable[Deviation]:
    def same(case: str) -> bool:
        function = case.split("/")[0]
        return getattr(type(adapter), function, None) is getattr(base, function, None)

    places = tuple(
        replace(where, cases=tuple(case for case in where.cases if same(case))) for where in deviation.where
    )
    if any(where.cases for where in places):
        yield replace(deviation, where=tuple(w for w in places if w.cases), adapters=())
