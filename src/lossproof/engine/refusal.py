"""Whether an error is a backend's answer to the inputs: only if it answers valid ones of the same shapes.

Knows adapters and nothing of cases, so that standalone scripts can carry its source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lossproof.adapter import Adapter
from lossproof.case.expected import Variant
from lossproof.core.raised import describe
from lossproof.core.verdicts import ProcessFault
from lossproof.engine.answer import Answer, Prepare, answer_to, mistake
from lossproof.errors import Unsupported


def proven(answer: Answer, variants: Sequence[Variant], valid_call: Callable[[], str | None]) -> Answer:
    """Of an error that might be permitted, say why it is none of the backend's, if so.

    ``valid_call`` makes a valid call and says what it gives instead of an answer, or None; it is asked
    only where that decides.
    """
    error = answer.raised.get("value")
    permitted = any(variant.raises for variant in variants)
    if error is None or not permitted or isinstance(error, (ProcessFault, Unsupported)):
        return answer
    if mistake(error):
        return replace(answer, broken="an error of the adapter's own making")
    return replace(answer, broken=valid_call())


def lacking(adapter: Adapter, prepare: Prepare, shape: tuple[int, ...], dtypes: Sequence[str]) -> str | None:
    """What a valid call gives instead of a value of this shape and one of the dtypes; or None.

    Without ``dtypes``, an integer one is due.
    """
    answer = answer_to(adapter, prepare, ["value"])
    if "value" in answer.raised:
        return f"a valid call of the same shapes raises too: {describe(answer.raised['value'])}"
    value = answer.outputs["value"]
    if value.shape != shape:
        return f"a valid call of the same shapes gives shape {value.shape} where {shape} is due"
    if dtypes:
        if value.dtype.name not in dtypes:
            return f"a valid call of the same shapes gives dtype {value.dtype} where {dtypes[0]} is due"
    elif not np.issubdtype(value.dtype, np.integer):
        return f"a valid call of the same shapes gives dtype {value.dtype} where an integer is due"
    return None
