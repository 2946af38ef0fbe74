"""Judges an answer and prints a line per output; a script carries this source with the engine's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lossproof.case.expected import DocumentedChoice, Expected, Sketch, Tolerance, Variant
from lossproof.core.escape import visible
from lossproof.core.verdicts import RIGHT, Verdict
from lossproof.engine.answer import Answer
from lossproof.engine.laws import Due, Further, rulings
from lossproof.engine.verdict import Judged, judge_outputs


def report(
    answer: Answer,
    expected: Mapping[str, Expected],
    tolerances: Mapping[str, Tolerance],
    *,
    dtype: str,
    level: str,
    variants: Sequence[Variant] = (),
    choices: Sequence[DocumentedChoice] = (),
    widens: bool = False,
    mixed: bool = False,
    laws: bool = False,
    further: Further | None = None,
    weights: Sequence[str] = (),
    rows: int = 0,
) -> int:
    """Print each output's verdict, what came and what is due; with ``laws`` those of the call, too.

    Most laws need ``further`` calls; gradients with respect to ``weights`` are of no row. Where so many
    ``rows`` err independently of each other their errors are judged together.

    Returns:
        The exit status: 0 if an output is right and none is wrong; what the adapter does not
        support is neither.
    """
    found = []

    def judge(other: Answer, outputs: Iterable[str] = ()) -> Mapping[str, Judged]:
        return judge_outputs(
            other, {output: expected[output] for output in outputs or (*other.outputs, *other.raised)},
            tolerances, dtype=dtype, level=level, variants=variants, choices=choices, widens=widens,
            mixed=mixed,
        )  # fmt: skip

    judged = judge(answer, expected)
    for output, due in expected.items():
        verdict, variant, comparison = judged[output]
        found.append(verdict)
        name = f"{verdict} ({variant})" if variant else str(verdict)
        print(f"{output}: {name}" + (f": {visible(comparison.message)}" if comparison.message else ""))
        if output in answer.outputs:
            got = answer.outputs[output]
            if isinstance(due, Sketch) and got.shape == due.shape:
                print("  sums of blocks")
                got = due.of(got)
            print("  got      " + _text(got))
            print("  expected " + _text(due.sums if isinstance(due, Sketch) else due))
    demanded = Due(expected, tolerances, dtype, weights, rows)
    for law, verdict, message in rulings(answer, judged, judge, demanded, lambda: further) if laws else ():
        found.append(verdict)
        print(f"{law}: {verdict}" + (f": {visible(message)}" if message else ""))
    given = [verdict for verdict in found if verdict is not Verdict.UNSUPPORTED]
    return 0 if given and RIGHT.issuperset(given) else 1


def _text(array: Any) -> str:
    return np.array2string(np.asarray(array), threshold=20, prefix=" " * 11)
