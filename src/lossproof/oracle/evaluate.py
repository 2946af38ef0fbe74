"""Evaluate a case: from its inputs to certified outputs, raising precision until all is decided."""

from __future__ import annotations

import numpy as np

from lossproof.case.form import DISTRIBUTION_ELEMENTS
from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.oracle.balls import Undecided, ctx, require_flint
from lossproof.oracle.definition import DERIVATIVES, Arguments, Evaluate, Inputs, Outputs
from lossproof.oracle.definitions import definition

# The first fills two words of 64 bits, with room for the guard bits of the elementary functions.
FIRST_PRECISION, LAST_PRECISION = 120, 120 * 2**6


def evaluate(case: Case, by: Evaluate | None = None, derivatives: Evaluate | None = None) -> Outputs:
    """Certified outputs of a case: ``value`` and, where they are defined, its gradients, jvp and hvp.

    Args:
        case: its inputs, parameters and dtypes.
        by: a definition of the field's own (spec/choices.md) in the place of the specification's.
        derivatives: what that one gives beyond value and usual gradients.

    Raises:
        ArithmeticError: an element stays undecided at the highest precision.
        LossproofError: the function has no definition, or python-flint is not installed.
    """
    require_flint()
    formula = definition(case.function.name).evaluate if by is None else by
    further = DERIVATIVES.get(case.function.name) if by is None else derivatives
    cotangent = None if case.cotangent is None else materialize(case.cotangent, integer=False)
    wanted = {"value", *(f"gradients.{name}" for name in case.wrt)}
    tangents = {name: materialize(spec, integer=False) for name, spec in case.tangents.items()}
    if tangents:
        wanted |= {"jvp", *(f"hvp.{name}" for name in tangents)}
    arguments = Arguments(case.parameters, cotangent, _coarsest(case), wanted, tangents)
    if further is None or wanted <= {"value", *(f"gradients.{name}" for name in case.function.wrt)}:
        further = _no_more
    precision = FIRST_PRECISION
    while True:
        ctx.prec = precision
        try:
            # Bounds, which are floats, may leave float64's range; Output.tolerance refuses them.
            with np.errstate(over="ignore", invalid="ignore"):
                outputs = formula(case.exact_arrays, arguments) | further(case.exact_arrays, arguments)
            break
        except Undecided:
            precision *= 2
            if precision > LAST_PRECISION:
                raise ArithmeticError(
                    f"{case.id}: an element is too close to a rounding boundary to decide"
                ) from None
    if case.distribution:
        for output in outputs.values():
            output.most = DISTRIBUTION_ELEMENTS
    return {name: output for name, output in outputs.items() if name in wanted}


def _no_more(arrays: Inputs, arguments: Arguments) -> Outputs:
    return {}


def _coarsest(case: Case) -> FloatType:
    """The dtype of the largest roundoff that a case is for."""
    floats = [FLOAT_TYPES[name] for name in case.dtypes if name in FLOAT_TYPES]
    return max(floats or [FLOAT_TYPES["float64"]], key=lambda dtype: dtype.unit_roundoff)
