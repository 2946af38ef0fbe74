"""The pixelwise softmax losses of PSPNet (spec/pspnet.md)."""

from __future__ import annotations

import math

import numpy as np

from lossproof.core.dtypes import FloatType
from lossproof.oracle.balls import NAN, total
from lossproof.oracle.bounds import Bound, Floats, rounding
from lossproof.oracle.cross_entropy_rows import CrossEntropy
from lossproof.oracle.definition import Arguments, Inputs, Outputs, define
from lossproof.oracle.definitions.cross_entropy import (
    LabelClauses,
    label_loss,
    losses,
    read_labelled,
)
from lossproof.oracle.reading import SILENT, Array, Arrays, Parameters, Reading, always, nan, zero_weight
from lossproof.oracle.result import Output, integers
from lossproof.oracle.rows import Back, rows_of


def resize_nearest(labels: Array, height: int, width: int) -> Array:
    """Nearest neighbour with source index ⌊i·H/h⌋, in integer arithmetic."""
    rows = [i * labels.shape[1] // height for i in range(height)]
    columns = [j * labels.shape[2] // width for j in range(width)]
    return labels[:, rows][:, :, columns]


@define("pspnet_resize_labels", always("PSP-1"))
def _pspnet_resize_labels(arrays: Inputs, arguments: Arguments) -> Outputs:
    return {"value": integers(resize_nearest(arrays["labels"], *arguments["size"]))}


def dropped_pixels(logits: Array, labels: Array, parameters: Parameters) -> tuple[Array, Array]:
    """The labels resized to a head, and which of them are no class."""
    resized = resize_nearest(labels, *logits.shape[1:3])
    return resized, resized >= parameters["num_classes"]


def _ignored(arrays: Arrays, parameters: Parameters) -> Array:
    _, dropped = dropped_pixels(arrays["logits"], arrays["labels"], parameters)
    return np.broadcast_to(dropped[..., None], arrays["logits"].shape)


def _read_head(logits: Array, labels: Array, parameters: Parameters, dtype: FloatType) -> Reading:
    resized, dropped = dropped_pixels(logits, labels, parameters)
    clauses = LabelClauses(plain="PSP-2", invalid="PSP-5", ignored="PSP-3", all_ignored="PSP-4")
    return read_labelled(logits, resized, ~dropped, {"reduction": "mean", **parameters}, dtype, clauses)


def _read_loss(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    return _read_head(arrays["logits"], arrays["labels"], parameters, dtype)


@define("pspnet_loss", _read_loss, shift_invariant=True, ignored=_ignored)
def _pspnet_loss(arrays: Inputs, arguments: Arguments) -> Outputs:
    loss, back, shape = pspnet_head(
        arrays["logits"],
        arrays["labels"],
        arguments["num_classes"],
        arguments["reduction"],
        arguments.coarsest,
    )
    return losses(loss, "logits", arguments, back, shape)


def pspnet_head(
    logits: Floats,
    labels: Array,
    num_classes: int,
    reduction: str,
    coarsest: FloatType,
    scale: float = 1.0,
) -> tuple[CrossEntropy, Back, tuple[int, ...]]:
    flat, back = rows_of(logits, -1)
    resized = resize_nearest(labels, *logits.shape[1:3])
    loss = label_loss(flat, resized, resized >= num_classes, reduction, coarsest, scale=scale)
    return loss, back, resized.shape


def _read_total(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    main, auxiliary = (
        _read_head(arrays[name], arrays["labels"], parameters, dtype) for name in ("logits", "aux_logits")
    )
    if zero_weight(parameters["aux_weight"]) and np.isinf(arrays["aux_logits"]).any():
        # A weight of 0 may or may not cancel an infinite cost (G-12).
        return SILENT
    found = sorted((main, auxiliary), key=lambda reading: (reading.defined, not reading.raises))
    return next((reading for reading in found if reading.clause not in ("PSP-2", "PSP-3")), Reading("PSP-6"))


@define("pspnet_total_loss", _read_total, shift_invariant=True, ignored=_ignored)
def _pspnet_total_loss(arrays: Inputs, arguments: Arguments) -> Outputs:
    return total_loss(arrays, arguments, NAN)


def total_loss(arrays: Inputs, arguments: Arguments, empty: float) -> Outputs:
    """Value and gradients, where a head none of whose pixels counts has the loss ``empty``."""
    outputs: Outputs = {}
    parts: list[Output] = []
    for name, scale in (("logits", 1.0), ("aux_logits", float(arguments["aux_weight"]))):
        loss, back, _ = pspnet_head(
            arrays[name], arrays["labels"], arguments["num_classes"], "mean", arguments.coarsest, scale
        )
        parts.append(Output((), [empty], Bound()) if loss.empty else loss.value(()))
        if arguments.wants(f"gradients.{name}") and not loss.empty:
            outputs[f"gradients.{name}"] = back(loss.gradient(arguments.cotangent, loss.rows.p.shape))
    main, auxiliary = parts
    size = abs(main.rounded[0]) + abs(auxiliary.rounded[0])
    bound = main.bound + auxiliary.bound + rounding(size if math.isfinite(size) else 0.0)
    outputs["value"] = Output((), [total([main.exact[0], auxiliary.exact[0]])], bound)
    return outputs


def _read_predict(arrays: Arrays, parameters: Parameters, dtype: FloatType) -> Reading:
    return Reading("PSP-9" if nan(arrays["logits"]) else "PSP-7")


@define("pspnet_predict", _read_predict)
def _pspnet_predict(arrays: Inputs, arguments: Arguments) -> Outputs:
    def largest(row: list[float]) -> int:
        # A NaN wins (clause PSP-9); among equals the first does.
        best = 0
        for c, value in enumerate(row):
            if math.isnan(value):
                return c
            if value > row[best]:
                best = c
        return best

    x = arrays["logits"]
    classes = np.array([largest(row) for row in x.reshape(-1, x.shape[-1]).tolist()], dtype=np.int64)
    return {"value": integers(classes.reshape(x.shape[:-1]))}
