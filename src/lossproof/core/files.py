"""Write files: all of a file or nothing of it, so that what stood there before is never cut short.

Everything that lossproof writes goes through ``replacing`` or ``write``, except the journal of a run, which
grows; ``lock`` keeps two runs from one journal.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

from lossproof.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextmanager
def replacing(path: Path, *, new: bool = False) -> Iterator[IO[bytes]]:
    """A file to write what is to stand at a path; it gets there when the block ends without an error.

    It is written beside the file that it replaces, which keeps its permissions, and is put in its place as
    a whole. A symbolic link stays one. What is no regular file (a pipe, a terminal) is written to.

    Args:
        path: where it goes.
        new: that nothing may be there yet.

    Raises:
        FileExistsError: something is there, and the file was to be new.
        InputError: it cannot be written; the message says why.
    """
    try:
        with _standing_in(path, new) if is_file(path) else _stream(path) as file:
            yield file
    except FileExistsError:
        raise
    except OSError as error:
        raise unwritable(path, error) from None


def write(path: Path, text: str, *, new: bool = False) -> None:
    """Write a text as ``replacing`` does; what UTF-8 cannot say, half a character, is ``?``.

    Raises:
        FileExistsError: something is there, and the file was to be new.
        InputError: it cannot be written; the message says why.
    """
    with replacing(path, new=new) as file:
        file.write(text.encode("utf-8", "replace"))


def copy(source: Path, path: Path) -> None:
    """Copy a file's content as ``replacing`` writes it.

    Raises:
        InputError: it cannot be written; the message says why.
    """
    with source.open("rb") as given, replacing(path) as file:
        shutil.copyfileobj(given, file)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there.

    Raises:
        InputError: it cannot be made; the message says why.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(path, None, f"the folder cannot be made: {error.strerror}") from None


def check_writable(path: Path) -> None:
    """Refuse what cannot be written before hours of work are done for it.

    Raises:
        InputError: it cannot be written; the message says why.
    """
    try:
        if path.is_dir():
            raise InputError(path, None, "cannot be written: it is a folder")
        if not is_file(path):
            return
    except OSError as error:
        raise unwritable(path, error) from None
    target = path.resolve()
    if not target.parent.is_dir():
        raise InputError(path, None, "cannot be written: its folder does not exist")
    # A file is replaced by one that is written beside it.
    if not os.access(target.parent, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise InputError(path, None, "cannot be written: no permission for it or its folder")


def is_file(path: Path) -> bool:
    """Whether a regular file is or will be at a path: nothing that is open, no pipe and no device."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return True
    # /dev/stdout is a regular file where the shell has sent that to one.
    return stat.S_ISREG(there.st_mode) and _standard_stream(there) is None


def unwritable(path: Path | str, error: OSError) -> InputError:
    """What to say where the system refuses to write."""
    return InputError(path, None, f"cannot be written: {error.strerror or error}")


def lock(file: IO[bytes]) -> bool:
    """Keep other processes from an open file until it is closed; False where one of them has it.

    Where the file system has no locks there is none.
    """
    try:
        if sys.platform == "win32":
            file.seek(2**40)  # of a byte that nobody writes, so that all others can be read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True


@contextmanager
def _standing_in(path: Path, new: bool) -> Iterator[IO[bytes]]:
    """A file beside the one at a path that takes its place in the end, or is gone."""
    target = path if new else path.resolve()
    beside = target.with_name(f".lossproof-{token_hex(8)}")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(0, "no permission")
    try:
        with beside.open("xb") as file:  # with the permissions of any new file
            yield file
        if new:
            _rename_to_new(beside, target)
        else:
            with suppress(FileNotFoundError):
                _make_alike(beside, target.stat())
            os.replace(beside, target)
    finally:
        with suppress(OSError):
            beside.unlink()


def _rename_to_new(beside: Path, target: Path) -> None:
    try:
        os.link(beside, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} is there") from None
        os.rename(beside, target)


def _make_alike(beside: Path, before: os.stat_result) -> None:
    """Give a file the owner, as far as that is allowed, and the permissions of another."""
    if sys.platform != "win32":
        with suppress(OSError):
            os.chown(beside, before.st_uid, before.st_gid)
    os.chmod(beside, stat.S_IMODE(before.st_mode))


@contextmanager
def _stream(path: Path) -> Iterator[IO[bytes]]:
    """What is written to as it is; standard output and error go on where they are."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    number = _standard_stream(path.stat())
    with path.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as file:
        yield file


def _standard_stream(there: os.stat_result) -> int | None:
    """The number of standard output or error, if this is what it leads to."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(there, os.fstat(number)):
                return number
    return None
