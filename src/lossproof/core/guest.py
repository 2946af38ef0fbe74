"""Calls of an adapter's code, after which everything that we judge with is as it was before.

In one process an adapter shares with us the processor's floating-point state, NumPy and the interpreter.
What it makes of them holds while its code runs, and there only. It is a guard against what frameworks and
careless adapters do, not against malice: a process of its own is (spec/adapters.md says what is left).

Knows nothing of cases, so that standalone scripts can carry its source.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lossproof.core.raised import own
from lossproof.core.verdicts import ProcessFault, RemoteError, Verdict

T = TypeVar("T")


class _Piece(NamedTuple):
    """Something that adapters may change: how it is read, and how it is set to what was read."""

    take: Callable[[], Any]
    put: Callable[[Any], object]


# -- the processor: rounding, traps, and whether subnormals are numbers ------------------------

_ROOM = 256  # bytes, more than any C library's fenv_t


def _c_library() -> Any:
    """What has fegetenv and fesetenv, or None."""
    for name in (None, "libm.so.6", "ucrtbase"):
        try:
            library = ctypes.CDLL(name)
            return library if library.fegetenv and library.fesetenv else None
        except (OSError, TypeError, AttributeError):
            continue
    return None


_C = _c_library()


def _arithmetic() -> Any:
    kept = ctypes.create_string_buffer(_ROOM)
    _C.fegetenv(kept)
    return kept


# -- the interpreter ---------------------------------------------------------------------------


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _to_folder(path: str | None) -> None:
    if path is not None and path != _folder():
        with suppress(OSError):
            os.chdir(path)


_STREAMS = ("stdin", "stdout", "stderr")


def _streams() -> tuple[Any, ...]:
    return tuple(getattr(sys, name, None) for name in _STREAMS)


def _to_streams(streams: tuple[Any, ...]) -> None:
    for name, stream in zip(_STREAMS, streams, strict=True):
        setattr(sys, name, stream)


_geterr, _seterr = np.geterr, np.seterr
# Without names for the numbers it gives, where that can be had: it is asked four times a call.
_getsignal: Callable[[int], Any] = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)
_PIECES = (
    _Piece(sys.getrecursionlimit, sys.setrecursionlimit),  # first, so that there is room for the others
    *([_Piece(_arithmetic, lambda kept: _C.fesetenv(kept))] if _C is not None else []),
    _Piece(_geterr, lambda kept: _seterr(**kept)),
    _Piece(_folder, _to_folder),
    _Piece(_streams, _to_streams),
)


class _Functions:
    """The functions of a module that we compute with, as they were when lossproof was imported."""

    def __init__(self, module: ModuleType) -> None:
        self._space = vars(module)
        self._functions = {
            name: value for name, value in self._space.items() if callable(value) and name[0] != "_"
        }
        self._seen: list[Any] = list(self._space.values())

    def restore(self) -> None:
        """Done after each call: where nothing of the module has changed, one comparison of two lists."""
        now = list(self._space.values())
        try:
            same = now == self._seen  # what is identical is equal
        except Exception:  # something else stands there, which cannot be compared
            same = False
        if not same:
            self._space.update(self._functions)
            self._seen = list(self._space.values())


_FUNCTIONS = [_Functions(module) for module in (np, math)]


_NUMBERS = [2.0**-1074, 2.0**-1022, 2.0**-53, 1.0, 0.5]  # in a list, so that no compiler computes with them


def _computes() -> bool:
    """Whether arithmetic is IEEE 754's: subnormal numbers count, and a tie is rounded to even."""
    smallest, normal, half_unit, one, half = _NUMBERS
    return smallest * one == 2.0**-1074 and normal * half == 2.0**-1023 and half_unit + one == 1.0


# -- a visit -----------------------------------------------------------------------------------


class Guest:
    """One adapter's share of the process: what it has set, while its code does not run."""

    def __init__(self) -> None:
        self._theirs: list[Any] | None = None
        self.may_leave = False
        """Whether ``os._exit`` ends the process, as it may where the process is the adapter's."""

    def visit(self, act: Callable[[], T]) -> T:
        """Run an adapter's code.

        Raises:
            Exception: ``lossproof.core.raised.own`` of whatever it raised, with that as the cause.
            ProcessFault: it called ``os._exit``.
            KeyboardInterrupt: the user's; an adapter's own is raised as any other exception.
        """
        way_out = nullcontext() if self.may_leave else _no_early_end()
        with self._swapped(), way_out, _interrupts() as interrupts, warnings.catch_warnings():
            try:
                return act()
            except _Left as left:
                raise ProcessFault(Verdict.CRASH, str(left)) from None
            except BaseException as error:
                if issubclass(type(error), KeyboardInterrupt) and not interrupts.none:
                    raise
                raise own(error) from error
            finally:
                if interrupts.came:
                    raise KeyboardInterrupt  # also where the adapter has caught it

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        ours = [piece.take() for piece in _PIECES]
        if self._theirs is not None:
            for piece, kept in zip(_PIECES, self._theirs, strict=True):
                piece.put(kept)
        try:
            yield
        finally:
            self._theirs = []
            for piece, kept in zip(_PIECES, ours, strict=True):
                self._theirs.append(piece.take())
                piece.put(kept)
            for functions in _FUNCTIONS:
                functions.restore()
            if not _computes():
                raise RemoteError(_ASTRAY)


_ASTRAY = (
    "the adapter changed how this process computes (subnormal numbers are flushed to zero, or results are "
    "rounded in another direction), which cannot be undone here: run it in a process of its own (--isolate)"
)


class Elsewhere(Guest):
    """The share of an adapter whose code runs in another process: nothing.

    What only that process can watch of a call it is asked for here, and here it says what it saw.
    """

    longest = 2**26
    """As many elements has an array at most that can be sent there."""
    twice = False
    """Whether it is to make the call twice."""
    touched: Sequence[str] | None = None
    """The arrays that the last call changed, where the process says so."""
    kept: bool | None = None
    """Whether the results of the first of two calls stayed what they were, where it says so."""
    shared: Sequence[str] = ()
    """The results that it says lie in the memory of an input or of each other."""

    def visit(self, act: Callable[[], T]) -> T:
        return act()


def guest_of(adapter: Any) -> Guest:
    """The share of an adapter, by identity: adapters may be equal, or have no hash."""
    guest: Guest = vars(adapter).setdefault("_lossproof_guest", Guest())
    return guest


class _Interrupts:
    """Whether Ctrl-C was pressed; ``none`` is False, too, where that cannot be known."""

    came = False
    none = True

    def note(self, number: int, frame: Any) -> None:
        self.came, self.none = True, False
        raise KeyboardInterrupt


@contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """Tells the user's Ctrl-C from an adapter's KeyboardInterrupt, and restores the handlers of signals."""
    interrupts = _Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts  # signals come to the main thread alone
        return
    kept = [(number, _getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    if kept[0][1] is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupts.note)
    elif kept[0][1] != signal.SIG_IGN:
        interrupts.none = False  # whoever handles it does not say
    try:
        yield interrupts
    finally:
        for number, handler in kept:
            if handler is not None and _getsignal(number) is not handler:
                signal.signal(number, handler)


class _Left(SystemExit):
    """An adapter called ``os._exit``."""


@contextmanager
def _no_early_end() -> Iterator[None]:
    """``os._exit`` raises instead of ending all; a child that the adapter forks may leave as it likes."""
    leave, process = os._exit, os.getpid()

    def refuse(status: int = 0) -> Any:
        if os.getpid() != process:
            leave(status)
        raise _Left(f"it called os._exit({status!r}), which would have ended the whole run")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave
