"""The record of one judged output, as it is kept in memory and in results files."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from lossproof.core.dtypes import Dtype
from lossproof.core.form import Form, matching
from lossproof.core.validate import encode
from lossproof.core.verdicts import Verdict

# As a comparison begins, maybe behind a deviation's id.
_SHAPE_OR_DTYPE = re.compile(r"(?:[\w-]+: )?(?:dtype|shape) ")
LINK = re.compile(r"https?://\S+")

OUTPUT = matching(
    r"value|gradients\.[a-z_]+|jvp|hvp\.[a-z_]+|law\.[a-z-]+",
    "value, gradients.<array>, jvp, hvp.<array> or law.<name>",
)
Figure = float | None
# msgspec leaves out what equals a plain default; these are written even so.
_NULL: Any = field(default_factory=lambda: None)
_EMPTY: Any = field(default_factory=str)


class Record(Form, frozen=True, omit_defaults=True, gc=False):
    """One judged output. What pages are named after, or link to, has to look like what it is."""

    case: Annotated[str, matching("[a-z0-9_]+/[a-z0-9-]+/[a-z0-9-]+", "an id: function/topic/case")]
    function: Annotated[str, matching("[a-z0-9_]+", "a function's name")]
    clause: Annotated[str, matching("[A-Z][A-Z0-9]*-[0-9]+", "a clause's number, like CE-7")]
    adapter: str
    dtype: Dtype
    output: Annotated[str, OUTPUT]
    verdict: Verdict
    variant: str | None = _NULL
    error_ulp: Annotated[Figure, Meta(description="in ULPs of the dtype at the expected value")] = _NULL
    error: Annotated[Figure, Meta(description="worst element's absolute error")] = _NULL
    allowed: Annotated[Figure, Meta(description="absolute error allowed there")] = _NULL
    message: str = _EMPTY
    actual: Annotated[str | None, Meta(description="a small output as text")] = None
    deviation: Annotated[str | None, Meta(description="id of the recorded deviation that covers it")] = None
    upstream: Annotated[
        Annotated[str, matching(LINK.pattern, "a link that begins with http:// or https://")] | None,
        Meta(description="where that deviation is reported or documented"),
    ] = None
    worst: Annotated[str | None, Meta(description="place of the largest error, what is there and is due")] = (
        None
    )

    share: Annotated[
        Figure, Meta(description="error over allowed, where a file keeps neither of the two")
    ] = None

    choices: Annotated[
        tuple[str, ...], Meta(description="documented choices that its case shows in its dtype")
    ] = ()

    @property
    def share_used(self) -> float | None:
        """The largest error as a share of what is allowed; None where nothing or no error is."""
        if self.share is not None:
            return self.share
        return self.error / self.allowed if self.error is not None and self.allowed else None

    @property
    def is_law(self) -> bool:
        """Whether it is about a law of the call, and no output of it."""
        return self.output.startswith("law.")

    @property
    def is_misshapen(self) -> bool:
        """Whether it says that the output is wrong by its shape or dtype, whatever its numbers are."""
        return _SHAPE_OR_DTYPE.match(self.message) is not None

    def to_json(self) -> dict[str, Any]:
        """Its row in a results file; JSON has no infinity, so an error too large to be a number is null."""
        row: dict[str, Any] = msgspec.json.decode(encode(self))
        return row


def kept_law(record: Record) -> bool:
    """Whether it says that a law of the call was kept, which is worth no word where others are."""
    return record.is_law and record.verdict is Verdict.PASS
