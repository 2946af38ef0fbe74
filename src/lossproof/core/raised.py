"""What foreign code raised, as text and as classes of our own.

An exception is as hostile as any input: its ``__str__`` may raise, its ``__class__`` may lie, its text
may be megabytes or half a character. Nothing here raises, and nothing that it gives does later.
"""

from __future__ import annotations

from lossproof.core.verdicts import ProcessFault, RemoteError
from lossproof.errors import Unavailable, Unsupported

# As much of a text is kept: of an exception's, and of a reason that an adapter gives.
_TEXT, _REASON = 300, 600


def describe(error: BaseException) -> str:
    """Type and beginning of what was raised, on one line that UTF-8 can say; of some, the text alone.

    What comes over a pipe is described there, and here once more: that changes nothing.
    """
    kind = type(error)
    if issubclass(kind, (ProcessFault, RemoteError, Unsupported)):
        return text_of(error)  # says what it is itself
    # A metaclass may say anything of its classes' names.
    name = type.__dict__["__name__"].__get__(kind)
    text = text_of(error, _TEXT)
    return f"{name}: {text}" if text else name


def own(error: BaseException) -> Exception:
    """The same as an exception whose class and text are ours; it keeps no frames and no arrays alive."""
    kind = type(error)
    if issubclass(kind, ProcessFault):
        return ProcessFault(error.verdict, text_of(error))  # type: ignore[attr-defined]
    for reason in (Unsupported, Unavailable):
        if issubclass(kind, reason):
            return reason(text_of(error))
    return RemoteError(describe(error))


def text_of(thing: object, length: int = _REASON) -> str:
    """The beginning of what ``str`` says of anything, on one line that UTF-8 can say."""
    try:
        # A plain text, whatever class it is of; and no more of it than could be wanted.
        said = str.__getitem__(str(thing), slice(16 * length))
    except BaseException as error:
        kind = type.__dict__["__name__"].__get__(type(error))
        return f"(what it says cannot be read: {kind} from its __str__)"
    return " ".join(said.split()).encode("utf-8", "replace").decode("utf-8")[:length].rstrip()
