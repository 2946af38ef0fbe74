"""Write a standalone script of one case on one adapter, to be filed upstream."""

from __future__ import annotations

from collections.abc import Callable

from lossproof.adapter import Adapter
from lossproof.case.model import Case
from lossproof.engine.call import missing
from lossproof.errors import LossproofError
from lossproof.repro.full import full_script
from lossproof.repro.short import short_script


def reproduce(
    case: Case,
    adapter: Adapter,
    dtype: str,
    *,
    full: bool = False,
    misses_a_law: Callable[[], bool] = lambda: False,
) -> str:
    """The script's text. It exits with status 0 if all outputs are right, with 1 otherwise.

    It is short where the adapter's method comes down to one expression of the framework, and calls
    the framework alone. Otherwise, or with ``full``, it carries the sources of the adapter and of the
    comparison; it then judges as a run does. So it does where the call ``misses_a_law``, which it shows. The
    call itself is not made here, as it may crash.

    Raises:
        LossproofError: the case has no expectation or is huge, the adapter lacks the function or the dtype,
            or a source that the script has to carry cannot be read.
    """
    if case.expected is None:
        raise case.complain("has no expectation yet; run lossproof certify --write")
    if case.huge:
        raise case.complain(
            f"is huge, and no script is written of such cases: repeat its inputs {case.times:,} times"
        )
    why = missing(adapter, case, dtype)
    if why is not None:
        name = adapter.name or type(adapter).__name__
        raise LossproofError(f"adapter {name!r}: {why}: nothing to reproduce")
    laws = misses_a_law()
    short = None if full or laws else short_script(case, adapter, dtype)
    return short or full_script(case, adapter, dtype, laws=laws)
