"""The exceptions that users meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class LossproofError(Exception):
    """Bad usage or bad input; the command line prints its message and exits with status 2."""


class InputError(LossproofError):
    """Something in a file is wrong.

    Its message starts with ``path:line:``, so that editors and terminals can jump there.
    """

    def __init__(self, path: Path | str, line: int | None, message: str) -> None:
        where = f"{path}:{line}" if line else f"{path}"
        super().__init__(f"{where}: {message}")

    def __reduce__(self) -> tuple[Callable[[str], InputError], tuple[str]]:
        """As it comes from another process: with its whole message."""
        return _as_it_was, (str(self),)


def _as_it_was(message: str) -> InputError:
    error = InputError.__new__(InputError)
    error.args = (message,)
    return error


class Unsupported(Exception):
    """Raised by an adapter method for a call that its framework offers no function for."""


class Unavailable(Exception):
    """Raised by an adapter's constructor when its framework or device is not on this machine."""
