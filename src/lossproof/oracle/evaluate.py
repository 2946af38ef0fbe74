"""Evaluate a case: from its inputs to certified outputs, raising precision until all is decided."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from flint import arb, ctx

from lossproof.case.inputs import materialize
from lossproof.case.model import Case
from lossproof.core.dtypes import FLOAT_TYPES, FloatType
from lossproof.oracle import elementwise as ew
from lossproof.oracle import softmax as sm
from lossproof.oracle.balls import Undecided, total
from lossproof.oracle.bounds import Bound, Floats, rounding
from lossproof.oracle.result import Output

FIRST_PRECISION, LAST_PRECISION = 140, 140 * 2**6

Arrays = dict[str, npt.NDArray[Any]]
Outputs = dict[str, Output]


def evaluate(case: Case) -> Outputs:
    """Certified outputs of a case: ``value`` and, where it is defined, ``gradients.<array>``.

    Raises:
        ArithmeticError: an element stays undecided at the highest precision.
    """
    define = _DEFINITIONS[case.function.name]
    cotangent = None if case.cotangent is None else materialize(case.cotangent, integer=False)
    precision = FIRST_PRECISION
    while True:
        ctx.prec = precision
        try:
            outputs = define(case.exact_arrays, _Call(case.parameters, cotangent, _coarsest(case)))
            break
        except Undecided:
            precision *= 2
            if precision > LAST_PRECISION:
                raise ArithmeticError(
                    f"{case.id}: an element is too close to a rounding boundary to decide"
                ) from None
    wanted = {"value", *(f"gradients.{name}" for name in case.wrt)}
    return {name: output for name, output in outputs.items() if name in wanted}


def _coarsest(case: Case) -> FloatType:
    """The dtype of the largest roundoff that a case is for."""
    floats = [FLOAT_TYPES[name] for name in case.dtypes if name in FLOAT_TYPES]
    return max(floats or [FLOAT_TYPES["float64"]], key=lambda dtype: dtype.unit_roundoff)


class _Call:
    """Parameters and cotangent of one evaluation."""

    def __init__(self, parameters: Any, cotangent: Floats | None, coarsest: FloatType) -> None:
        self.parameters = parameters
        self.cotangent = cotangent
        self.coarsest = coarsest

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    def array(self, name: str, shape: tuple[int, ...]) -> list[float] | None:
        """An array-valued parameter, broadcast to ``shape`` and flattened."""
        value = self.parameters[name]
        if value is None:
            return None
        broadcast: Floats = np.broadcast_to(materialize(value, integer=False), shape)
        return broadcast.ravel().tolist()


def _rows(x: Floats, axis: int) -> tuple[Floats, Callable[[Output], Output]]:
    """``x`` as rows along ``axis``, and the way back for an output of the same elements."""
    moved = np.moveaxis(x, axis, -1)
    count, classes = math.prod(moved.shape[:-1]), moved.shape[-1]
    positions = np.moveaxis(np.arange(x.size).reshape(x.shape), axis, -1).ravel()

    def expand(part: Floats | float) -> Floats:
        array = np.asarray(part, dtype=np.float64)
        if array.size == count * classes:
            return array.reshape(count, classes)
        return np.broadcast_to(array, (count, classes))

    def back(output: Output) -> Output:
        order = np.empty_like(positions)
        order[positions] = np.arange(positions.size)
        bound = output.bound
        parts = [expand(part).ravel()[order] for part in (bound.u, bound.a, bound.h)]
        return Output(
            x.shape,
            [output.exact[i] for i in order.tolist()],
            Bound(*parts),
            None if output.absent is None else output.absent[order],
        )

    return moved.reshape(count, classes), back


def _softmax_rows(x: Floats, coarsest: FloatType) -> sm.Rows:
    return sm.Rows([sm.softmax_row(row) for row in x.tolist()], x.shape[1], coarsest)


def _softmax(arrays: Arrays, call: _Call, logarithm: bool) -> Outputs:
    x = arrays["logits"]
    flat, back = _rows(x, call["axis"])
    v, _ = _rows(np.ones_like(x) if call.cotangent is None else call.cotangent, call["axis"])
    rows = _softmax_rows(flat, call.coarsest)
    forward = sm.log_softmax if logarithm else sm.softmax
    backward = sm.log_softmax_gradient if logarithm else sm.softmax_gradient
    return {
        "value": back(forward(rows, flat.shape)),
        "gradients.logits": back(backward(rows, v, flat.shape)),
    }


def _losses(
    loss: sm.CrossEntropy,
    name: str,
    call: _Call,
    back: Callable[[Output], Output],
    row_shape: tuple[int, ...],
) -> Outputs:
    outputs = {"value": loss.value(row_shape)}
    # The gradient of a mean over nothing is not defined (clause G-5).
    if not (loss.empty and loss.reduction == "mean"):
        outputs[f"gradients.{name}"] = back(loss.gradient(call.cotangent, loss.rows.p.shape))
    return outputs


def _smooth(target: list[Any], smoothing: float) -> list[Any]:
    if not smoothing:
        return target
    epsilon, classes = arb(smoothing), len(target)
    return [(1 - epsilon) * t + epsilon / classes for t in target]


def _softmax_cross_entropy(arrays: Arrays, call: _Call) -> Outputs:
    x = arrays["logits"]
    flat, back = _rows(x, call["axis"])
    y, _ = _rows(arrays["target"], call["axis"])
    smoothing = call["label_smoothing"]
    count = flat.shape[0]
    invalid: npt.NDArray[np.bool_] = np.asarray(np.isnan(y).any(axis=1))
    loss = sm.CrossEntropy(
        _softmax_rows(flat, call.coarsest),
        [_smooth(row, smoothing) for row in np.where(invalid[:, None], 0.0, y).tolist()],
        [True] * count,
        invalid.tolist(),
        [1.0] * count,
        call["reduction"],
        extra=3.0 * bool(smoothing),
    )
    row_shape = tuple(np.delete(x.shape, call["axis"]).tolist())
    return _losses(loss, "logits", call, back, row_shape)


def _sparse_loss(
    flat: Floats,
    labels: npt.NDArray[np.int64],
    dropped: npt.NDArray[np.bool_],
    reduction: str,
    coarsest: FloatType,
    weight: list[float] | None = None,
    smoothing: float = 0.0,
) -> sm.CrossEntropy:
    """Cross entropy of rows against integer labels; ``dropped`` rows contribute nothing."""
    classes = flat.shape[1]
    kept = (~dropped).ravel().tolist()
    weights = weight or [1.0] * classes
    targets: list[list[Any]] = []
    divisors: list[float] = []
    invalid: list[bool] = []
    for label, counts in zip(labels.ravel().tolist(), kept, strict=True):
        valid = 0 <= label < classes
        invalid.append(not valid)
        divisors.append(weights[label] if valid and counts else 1.0)
        one_hot: list[Any] = [0.0] * classes
        if valid:
            one_hot[label] = 1.0
        smooth = _smooth(one_hot, smoothing)
        targets.append(
            smooth
            if weight is None
            else [t if isinstance(t, float) and t == 0.0 else arb(w) * t
                  for t, w in zip(smooth, weights, strict=True)]
        )  # fmt: skip
    # What is dropped may hold anything; its softmax is not needed.
    rows = [
        sm.softmax_row(row) if counts else sm.softmax_row([0.0] * classes)
        for row, counts in zip(flat.tolist(), kept, strict=True)
    ]
    return sm.CrossEntropy(
        sm.Rows(rows, classes, coarsest),
        targets,
        kept,
        invalid,
        divisors,
        reduction,
        extra=3.0 * bool(smoothing) + 1.0 * (weight is not None),
    )


def _sparse_softmax_cross_entropy(arrays: Arrays, call: _Call) -> Outputs:
    flat, back = _rows(arrays["logits"], call["axis"])
    labels = arrays["labels"]
    ignored = call["ignore_index"]
    dropped = np.zeros(labels.shape, bool) if ignored is None else labels == ignored
    weight = call.array("weight", (flat.shape[1],))
    loss = _sparse_loss(
        flat, labels, dropped, call["reduction"], call.coarsest, weight, call["label_smoothing"]
    )
    return _losses(loss, "logits", call, back, labels.shape)


def _l2_loss(arrays: Arrays, call: _Call) -> Outputs:
    shape = arrays["prediction"].shape
    p, t = arrays["prediction"].ravel().tolist(), arrays["target"].ravel().tolist()
    half, reduction = call["half"], call["reduction"]
    outputs = {"value": ew.l2_loss(p, t, half, reduction, shape)}
    if p or reduction != "mean":
        outputs["gradients.prediction"] = ew.l2_gradient(p, t, half, reduction, call.cotangent, shape)
        outputs["gradients.target"] = ew.l2_gradient(t, p, half, reduction, call.cotangent, shape)
    return outputs


def _euclidean_distance(arrays: Arrays, call: _Call) -> Outputs:
    x = arrays["prediction"]
    p, back = _rows(x, call["axis"])
    t, _ = _rows(arrays["target"], call["axis"])
    shape = tuple(np.delete(x.shape, call["axis"]).tolist())
    value, gradient, bound = ew.euclidean_distance(p, t, call.cotangent, shape)
    return {
        "value": value,
        "gradients.prediction": back(Output(p.shape, gradient, bound)),
        "gradients.target": back(Output(p.shape, [-g for g in gradient], bound)),
    }


def _sigmoid(arrays: Arrays, call: _Call, logarithm: bool) -> Outputs:
    x = arrays["logits"]
    v = np.ones(x.shape) if call.cotangent is None else call.cotangent
    flat = x.ravel().tolist()
    if logarithm:
        value, slope = ew.log_sigmoid(flat, x.shape), ew.log_sigmoid_gradient(flat, v, x.shape)
    else:
        value, slope = ew.sigmoid(flat, x.shape, call.coarsest), ew.sigmoid_gradient(flat, v, x.shape)
    return {"value": value, "gradients.logits": slope}


def _cross_entropy(arrays: Arrays, call: _Call) -> Outputs:
    x = arrays["probabilities"]
    p, back = _rows(x, call["axis"])
    y, _ = _rows(arrays["target"], call["axis"])
    costs, bounds = ew.cross_entropy_rows(p, y)
    shape = tuple(np.delete(x.shape, call["axis"]).tolist())
    outputs = {"value": ew.reduce_elements(costs, bounds, call["reduction"], shape)}
    if costs or call["reduction"] != "mean":
        shares = ew.element_shares(len(costs), call["reduction"], call.cotangent)
        outputs["gradients.probabilities"] = back(ew.cross_entropy_gradient(p, y, shares, p.shape))
    return outputs


def _binary(arrays: Arrays, call: _Call, logits: bool) -> Outputs:
    name = "logits" if logits else "probabilities"
    x = arrays[name]
    flat, y = x.ravel().tolist(), arrays["target"].ravel().tolist()
    weight = call.array("weight", x.shape)
    loss = (
        ew.SigmoidCrossEntropy(flat, y, weight, call.array("pos_weight", x.shape))
        if logits
        else ew.BinaryCrossEntropy(flat, y, weight)
    )
    outputs = {"value": ew.reduce_elements(*loss.costs(), call["reduction"], x.shape)}
    if flat or call["reduction"] != "mean":
        shares = ew.element_shares(len(flat), call["reduction"], call.cotangent)
        outputs[f"gradients.{name}"] = loss.gradient(shares, x.shape)
    return outputs


def resize_nearest(labels: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Nearest neighbour with source index ⌊i·H/h⌋, in integer arithmetic."""
    rows = [i * labels.shape[1] // height for i in range(height)]
    columns = [j * labels.shape[2] // width for j in range(width)]
    return labels[:, rows][:, :, columns]


def _integers(values: npt.NDArray[Any]) -> Output:
    return Output(values.shape, [float(v) for v in values.ravel().tolist()], Bound())


def _pspnet_resize_labels(arrays: Arrays, call: _Call) -> Outputs:
    return {"value": _integers(resize_nearest(arrays["labels"], *call["size"]))}


def _pspnet_head(
    logits: Floats, labels: npt.NDArray[np.int64], num_classes: int, reduction: str, coarsest: FloatType
) -> tuple[sm.CrossEntropy, Callable[[Output], Output], tuple[int, ...]]:
    flat, back = _rows(logits, -1)
    resized = resize_nearest(labels, *logits.shape[1:3])
    return _sparse_loss(flat, resized, resized >= num_classes, reduction, coarsest), back, resized.shape


def _pspnet_loss(arrays: Arrays, call: _Call) -> Outputs:
    loss, back, shape = _pspnet_head(
        arrays["logits"], arrays["labels"], call["num_classes"], call["reduction"], call.coarsest
    )
    return _losses(loss, "logits", call, back, shape)


def _pspnet_total_loss(arrays: Arrays, call: _Call) -> Outputs:
    outputs: Outputs = {}
    parts: list[Output] = []
    for name, scale in (("logits", 1.0), ("aux_logits", float(call["aux_weight"]))):
        loss, back, _ = _pspnet_head(
            arrays[name], arrays["labels"], call["num_classes"], "mean", call.coarsest
        )
        loss = replace(loss, scale=scale)
        parts.append(loss.value(()))
        if not loss.empty:
            outputs[f"gradients.{name}"] = back(loss.gradient(None, loss.rows.p.shape))
    main, auxiliary = parts
    size = abs(main.rounded[0]) + abs(auxiliary.rounded[0])
    bound = main.bound + auxiliary.bound + rounding(size if math.isfinite(size) else 0.0)
    outputs["value"] = Output((), [total([main.exact[0], auxiliary.exact[0]])], bound)
    return outputs


def _pspnet_predict(arrays: Arrays, call: _Call) -> Outputs:
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
    return {"value": _integers(classes.reshape(x.shape[:-1]))}


def _mask_loss(arrays: Arrays, call: _Call, logits: bool) -> Outputs:
    name = "mask_logits" if logits else "pred_masks"
    masks, ids, target = arrays[name], arrays["target_class_ids"], arrays["target_masks"]
    classes = masks.shape[-1]
    positions: list[int] = []
    y: list[float] = []
    valid = True
    index = np.arange(masks.size).reshape(masks.shape)
    for b, r in np.argwhere(ids > 0).tolist():
        c = int(ids[b, r])
        if c >= classes:
            valid = False
            continue
        positions += index[b, r, :, :, c].ravel().tolist()
        y += target[b, r].ravel().tolist()
    if not valid:
        return {"value": Output((), [sm.NAN], Bound())}
    x = masks.ravel()[positions].tolist()
    loss = ew.SigmoidCrossEntropy(x, y) if logits else ew.BinaryCrossEntropy(x, y)
    # The mean over no RoI is 0 by this function's own definition.
    value = ew.reduce_elements(*loss.costs(), "mean" if x else "sum", ())
    inner = loss.gradient(ew.element_shares(len(x), "mean", None), (len(x),))
    exact: list[Any] = [0.0] * masks.size
    for position, g in zip(positions, inner.exact, strict=True):
        exact[position] = g
    placed = ew.each(inner.bound, np.zeros(len(x)))
    parts = [np.zeros(masks.size) for _ in range(3)]
    for part, values in zip(parts, (placed.u, placed.a, placed.h), strict=True):
        part[positions] = values
    absent = np.ones(masks.size, bool)
    absent[positions] = False
    gradient = Output(masks.shape, exact, Bound(*parts), absent)
    return {"value": value, f"gradients.{name}": gradient}


def _mask_rcnn_select_masks(arrays: Arrays, call: _Call) -> Outputs:
    masks, ids = arrays["pred_masks"], arrays["class_ids"]
    picked = np.stack(
        [
            np.stack([masks[b, r, :, :, ids[b, r]] for r in range(masks.shape[1])])
            for b in range(masks.shape[0])
        ]
    ) if masks.size else np.zeros(masks.shape[:-1])  # fmt: skip
    return {"value": _integers(picked)}


_DEFINITIONS: dict[str, Callable[[Arrays, _Call], Outputs]] = {
    "l2_loss": _l2_loss,
    "euclidean_distance": _euclidean_distance,
    "sigmoid": lambda arrays, call: _sigmoid(arrays, call, logarithm=False),
    "log_sigmoid": lambda arrays, call: _sigmoid(arrays, call, logarithm=True),
    "softmax": lambda arrays, call: _softmax(arrays, call, logarithm=False),
    "log_softmax": lambda arrays, call: _softmax(arrays, call, logarithm=True),
    "cross_entropy": _cross_entropy,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "sparse_softmax_cross_entropy": _sparse_softmax_cross_entropy,
    "binary_cross_entropy": lambda arrays, call: _binary(arrays, call, logits=False),
    "sigmoid_cross_entropy": lambda arrays, call: _binary(arrays, call, logits=True),
    "pspnet_resize_labels": _pspnet_resize_labels,
    "pspnet_loss": _pspnet_loss,
    "pspnet_total_loss": _pspnet_total_loss,
    "pspnet_predict": _pspnet_predict,
    "mask_rcnn_mask_loss": lambda arrays, call: _mask_loss(arrays, call, logits=False),
    "mask_rcnn_mask_loss_with_logits": lambda arrays, call: _mask_loss(arrays, call, logits=True),
    "mask_rcnn_select_masks": _mask_rcnn_select_masks,
}
