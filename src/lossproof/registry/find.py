"""Find Python adapters, built in, by file, by ``module:Class`` and by entry point, and load them here."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from msgspec.structs import replace

from lossproof.adapter import ALL_DTYPES, Adapter
from lossproof.core.guest import Guest
from lossproof.core.install import install
from lossproof.core.raised import describe, text_of
from lossproof.core.resources import folder
from lossproof.core.text import suggest
from lossproof.errors import LossproofError, Unavailable
from lossproof.registry.deviations import Deviation, Deviations, load_deviations
from lossproof.registry.loaded import AdapterInfo, Loaded, skipped
from lossproof.registry.modes import joined, known_modes, lacking, split, under
from lossproof.registry.sources import sources_digest


@dataclass(frozen=True)
class Builtin:
    """A built-in adapter; ``requires`` is the framework whose absence means that it is skipped."""

    module: str
    cls: str
    requires: str
    extra: str
    backend: str = ""
    """Another framework that this one needs to run on."""

    @property
    def missing(self) -> str | None:
        """Why it cannot run here, as far as that shows without importing anything."""
        for name in filter(None, (self.requires, self.backend)):
            if importlib.util.find_spec(name) is None:
                return f"{name} is not installed: {install(self.extra)}"
        return None


BUILTIN = {
    "numpy": Builtin("lossproof.adapters.numpy", "NumpyAdapter", "numpy", ""),
    "torch": Builtin("lossproof.adapters.torch", "TorchAdapter", "torch", "torch"),
    "torch-compile": Builtin("lossproof.adapters.torch", "TorchCompileAdapter", "torch", "torch"),
    "torch-cuda": Builtin("lossproof.adapters.torch", "TorchCudaAdapter", "torch", "torch"),
    "torch-mps": Builtin("lossproof.adapters.torch", "TorchMpsAdapter", "torch", "torch"),
    "torch-xpu": Builtin("lossproof.adapters.torch", "TorchXpuAdapter", "torch", "torch"),
    "tensorflow": Builtin("lossproof.adapters.tensorflow", "TensorFlowAdapter", "tensorflow", "tensorflow"),
    "tensorflow-xla": Builtin(
        "lossproof.adapters.tensorflow", "TensorFlowXlaAdapter", "tensorflow", "tensorflow"
    ),
    "tensorflow-gpu": Builtin(
        "lossproof.adapters.tensorflow", "TensorFlowGpuAdapter", "tensorflow", "tensorflow"
    ),
    "keras": Builtin("lossproof.adapters.keras", "KerasAdapter", "keras", "tensorflow", "tensorflow"),
    "jax": Builtin("lossproof.adapters.jax", "JaxAdapter", "jax", "jax"),
    "jax-gpu": Builtin("lossproof.adapters.jax", "JaxGpuAdapter", "jax", "jax"),
    "jax-tpu": Builtin("lossproof.adapters.jax", "JaxTpuAdapter", "jax", "jax"),
    "optax": Builtin("lossproof.adapters.optax", "OptaxAdapter", "optax", "jax"),
}


# As much of an adapter's name, version or device is kept, here and over a pipe.
MAX_NAME = 100

# What the module of an adapter's file is called, with the file's stem behind it.
FILE_PREFIX = "lossproof_adapter_"


def available_names() -> list[str]:
    """Built-in adapters and those that installed packages register, in a fixed order."""
    return [*BUILTIN, *sorted(registered().keys() - BUILTIN.keys())]


def registered() -> dict[str, str]:
    """Module and class of the adapters that installed packages register, by name."""
    return {point.name: point.value for point in entry_points(group="lossproof.adapters")}


def file_and_class(reference: str) -> tuple[str, str]:
    """The file or module of a reference and the class behind the colon, or nothing.

    The colon of a drive (``C:\\x\\adapter.py:Class``) is part of the file.
    """
    found = re.fullmatch(r"(?s)(.*\.py)(?::([^:/\\]*))?", reference)
    if found:
        return found[1], found[2] or ""
    module, _, name = reference.partition(":")
    return module, name


def find_adapter(reference: str) -> Loaded:
    """Load a Python adapter into this process.

    Args:
        reference: a name, ``path/to/file.py[:Class]`` or ``package.module:Class``, each maybe with the
            ``+mode`` behind it that its calls are put through.

    Raises:
        LossproofError: there is no such adapter or mode, or its file fails to import.
    """
    asked, (reference, mode) = reference, split(reference)
    if reference in BUILTIN:
        return _load_builtin(reference, mode)
    points = registered()
    if reference in points:
        return _load_entry_point(reference, points[reference], mode)
    path_text, class_name = file_and_class(reference)
    guest = Guest()
    if path_text.endswith(".py"):
        module = _import_file(Path(path_text), guest)
    elif class_name:
        module = _import_module(path_text, reference, guest)
    else:
        file = f"; for the file of this name write ./{asked}" if os.path.isfile(asked) else ""
        raise LossproofError(
            f"unknown adapter {reference!r}{suggest(reference, available_names())}{file}; there are "
            f"{', '.join(available_names())}, or give path/to/file.py, package.module:Class or a command"
        )
    return _made(_pick_class(module, class_name, reference), guest, mode)


def _load_entry_point(name: str, value: str, mode: str) -> Loaded:
    module, _, class_name = value.partition(":")
    guest = Guest()
    try:
        imported = guest.visit(lambda: importlib.import_module(module))
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and module.startswith(cause.name):
            raise LossproofError(f"adapter {name!r}: its package lacks {cause.name}") from None
        absent = _framework_missing(cause, module)
        if absent is not None:
            return skipped(joined(name, mode), name, f"{absent} is not installed")
        raise _fails_to_import(name, module, error) from None
    return _made(_pick_class(imported, class_name, name), guest, mode)


def _framework_missing(error: BaseException | None, module: str) -> str | None:
    """The framework that an adapter's modules import and that is not there at all, if that is what failed.

    What an installed framework lacks in turn, or a part of one that is there, is broken instead.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name or "." in error.name:
        return None
    asking = [
        str(frame.f_globals.get("__name__"))
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith("<")
    ]
    own = asking and asking[-1].partition(".")[0] == module.partition(".")[0]
    return error.name if own else None


def _load_builtin(name: str, mode: str) -> Loaded:
    builtin = BUILTIN[name]
    if builtin.missing is not None:
        return skipped(joined(name, mode), builtin.requires, builtin.missing)
    guest = Guest()
    try:
        module = guest.visit(lambda: importlib.import_module(builtin.module))
    except Exception as error:
        raise _fails_to_import(name, builtin.module, error) from None
    cls: type[Adapter] = getattr(module, builtin.cls)
    return _made(cls, guest, mode)


def _fails_to_import(name: str, module: str, error: Exception) -> LossproofError:
    """What is installed and does not work is no absence: it has to be repaired, or left out."""
    return LossproofError(
        f"adapter {name!r}: {module} fails to import: {describe(error)}; repair what it needs, "
        "or name the adapters to run with --adapter"
    )


def _import_file(path: Path, guest: Guest) -> ModuleType:
    if not os.path.isfile(path):
        raise LossproofError(f"{path}: no such adapter file")
    if path.resolve().parent == folder("adapters"):
        # Lossproof's own import each other: they are modules of a package wherever they are named.
        return _import_module(f"lossproof.adapters.{path.stem}", str(path), guest)
    name = FILE_PREFIX + path.stem.replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Modules beside the file can be imported, but never in place of an installed one.
    if str(path.resolve().parent) not in sys.path:
        sys.path.append(str(path.resolve().parent))
    file, execute = str(path.resolve()), spec.loader.exec_module
    try:
        guest.visit(lambda: execute(module))
    except Exception as error:
        cause = error.__cause__ or error
        frames = [f for f in traceback.extract_tb(cause.__traceback__) if f.filename == file]
        line = cause.lineno if isinstance(cause, SyntaxError) else frames[-1].lineno if frames else 1
        raise LossproofError(f"{path}:{line}: the adapter fails to import: {describe(error)}") from None
    return module


def _import_module(name: str, reference: str, guest: Guest) -> ModuleType:
    try:
        return guest.visit(lambda: importlib.import_module(name))
    except Exception as error:
        raise LossproofError(f"adapter {reference!r}: {name} fails to import: {describe(error)}") from None


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


def adopt(given: Adapter | type[Adapter], mode: str = "") -> Loaded:
    """An adapter, or a class whose constructor is called, with the deviations beside its module.

    Raises:
        LossproofError: it is none, there is no such mode, its constructor fails, or a file of deviations is
            malformed.
    """
    return _made(given, Guest(), mode)


def _made(given: Adapter | type[Adapter], guest: Guest, mode: str = "") -> Loaded:
    cls = given if isinstance(given, type) else type(given)
    if not issubclass(cls, Adapter):
        raise LossproofError(
            f"{text_of(given, 60)} is no adapter: give a name, a file, or a lossproof.Adapter"
        )
    known = text_of(cls.name if isinstance(cls.name, str) and cls.name else cls.__name__, MAX_NAME)
    if mode:
        why = lacking(cls, mode)
        if why is not None and mode not in known_modes():
            raise LossproofError(f"adapter {known!r}: {why}")
        known = joined(known, mode)
        if why is not None:
            return skipped(known, text_of(cls.backend or known, MAX_NAME), why)
        given = under(given, mode)
    try:
        adapter = guest.visit(lambda: given() if isinstance(given, type) else given)
    except Unavailable as reason:
        backend = cls.backend if isinstance(cls.backend, str) else ""
        return skipped(known, text_of(backend or known, MAX_NAME), str(reason))
    except Exception as error:
        raise LossproofError(f"adapter {known!r}: its constructor fails: {describe(error)}") from error
    try:
        info = guest.visit(lambda: _introduction(adapter))
    except Exception as error:
        raise LossproofError(
            f"adapter {known!r}: what it says of itself is wrong: {describe(error)}"
        ) from None
    vars(adapter)["_lossproof_guest"] = guest
    return Loaded(info, adapter, _deviations_of(adapter, info), sources_digest(adapter))


def _introduction(adapter: Adapter) -> AdapterInfo:
    """What an adapter says of itself, once it is sure that it can be shown and worked with."""
    name = adapter.name or type(adapter).__name__
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise TypeError("name must be printable text")
    dtypes = adapter.dtypes
    known = isinstance(dtypes, (tuple, list, set, frozenset)) and all(one in ALL_DTYPES for one in dtypes)
    if not known:
        raise TypeError(f"dtypes must be some of {', '.join(ALL_DTYPES)}")
    texts = (name, adapter.backend or name, adapter.version, adapter.device)
    return AdapterInfo(*(text_of(text, MAX_NAME) for text in texts))


def _deviations_of(adapter: Adapter, info: AdapterInfo) -> Deviations:
    """The adapter's own deviations, and its bases' for the functions it inherits unchanged."""
    entries: list[Deviation] = []
    seen: set[str] = set()
    mode = type(adapter).mode
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
            elif not deviation.adapters or deviation.is_of(joined(cls.name, mode)):
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
