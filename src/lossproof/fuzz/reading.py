"""Which clause decides a sample, and how strictly: read off the data, so that shrinking may change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lossproof.case.expected import Variant
from lossproof.core.dtypes import FLOAT_TYPES, FloatType

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Reading:
    """The clause of a sample; ``defined`` is False where the specification is silent.

    ``raises`` and ``infinite`` name permitted variants; where ``gradients`` is False none are
    specified.
    """

    clause: str
    level: str = "required"
    defined: bool = True
    raises: bool = False
    infinite: bool = False
    gradients: bool = True

    def variants(self) -> tuple[Variant, ...]:
        found = []
        if self.raises:
            found.append(Variant("raises", raises=True))
        if self.infinite:
            found.append(Variant("infinite", outputs={"value": np.array(np.inf)}))
        return tuple(found)


SILENT = Reading("G-1", defined=False)


def read(function: str, arrays: Arrays, parameters: Mapping[str, Any], dtype: str) -> Reading:
    """The first rule that applies to a sample (clauses are those of spec/)."""
    floats = [a for a in arrays.values() if a.dtype.kind == "f"]
    float_type = FLOAT_TYPES.get(dtype)
    if float_type is not None and any(_subnormal(a, float_type) for a in floats):
        return Reading("G-8", level="recommended")
    reading: Reading = _READERS[function](arrays, parameters, float_type)
    return reading


def _subnormal(array: npt.NDArray[Any], dtype: FloatType) -> bool:
    return bool(((array != 0) & (np.abs(array) < dtype.smallest_normal)).any())


def _nan(*arrays: npt.NDArray[Any]) -> bool:
    return any(bool(np.isnan(a).any()) for a in arrays)


def _outside(p: npt.NDArray[Any]) -> bool:
    return bool(((p < 0) | (p > 1)).any())


def _sum_overflows(costs: npt.NDArray[Any], dtype: FloatType) -> bool:
    """Whether a reduction may leave the accumulator's range although the mean stays inside (G-4).

    Costs of finite inputs that are themselves infinite have left it.
    """
    known = costs[~np.isnan(costs)]
    with np.errstate(over="ignore"):
        return bool(known.size) and not float(np.sum(np.abs(known))) < _accumulator(dtype).largest / 4


def _accumulator(dtype: FloatType) -> FloatType:
    return FLOAT_TYPES["float64" if dtype.precision == 53 else "float32"]


def _leaves_half(costs: npt.NDArray[Any], dtype: FloatType) -> bool:
    """Whether the sum of the costs is beyond a half-precision dtype, but not its accumulator."""
    finite = costs[np.isfinite(costs)]
    return dtype.precision < 24 and float(np.sum(np.abs(finite), initial=0.0)) > dtype.largest / 2


def _l2(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    p, t = arrays["prediction"], arrays["target"]
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.abs(p - t)
        squares = size[np.isfinite(p) & np.isfinite(t)] ** 2
    # Twice a difference is an intermediate of the gradient.
    if (size[np.isfinite(size)] > dtype.largest / 4).any() or _sum_overflows(squares, dtype):
        return Reading("G-4", level="recommended")
    if _subnormal(size, dtype):
        return Reading("G-8", level="recommended")
    if not np.isfinite(p).all() or not np.isfinite(t).all():
        return Reading("L2-5")
    if not p.ndim or not p.size:
        return Reading("G-5" if p.ndim else "G-1")
    clause = "L2-3" if parameters["half"] else "L2-2" if parameters["reduction"] != "none" else "L2-1"
    return Reading("G-4" if _leaves_half(squares, dtype) else clause)


def _distance(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    p, t = arrays["prediction"], arrays["target"]
    if np.isinf(p).any() or np.isinf(t).any():
        return Reading("ED-5", gradients=False)
    size = np.abs(p - t)
    known = size[size > 0]
    # Where squares leave the range, or lose digits to underflow, ED-3 only recommends.
    with np.errstate(over="ignore"):
        squares = known**2
    if squares.size and not (
        np.sum(squares) < dtype.largest / 4 and squares.min() > dtype.smallest_normal * 2.0**dtype.precision
    ):
        return Reading("ED-3", level="recommended")
    if _nan(p, t):
        return Reading("ED-5")
    return Reading("ED-4" if (size.sum(axis=parameters["axis"]) == 0).any() else "ED-1")


def _elementwise(clause: str, infinite: str, nan: str) -> Any:
    def reader(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
        x = arrays["logits"]
        if np.isinf(x).any():
            return Reading(infinite, level="recommended")
        return Reading(nan if _nan(x) else clause)

    return reader


def _negative_zero(p: npt.NDArray[Any]) -> bool:
    """Whether a probability is −0, which says from which side a slope goes to infinity."""
    return bool(((p == 0) & np.signbit(p)).any())


def _steep(p: npt.NDArray[Any], dtype: FloatType) -> bool:
    """Whether 1/p, an intermediate of the gradient, may leave the accumulator's range (G-4)."""
    with np.errstate(divide="ignore", over="ignore"):
        slopes = 1 / p[(p > 0) & np.isfinite(p)]
    return bool((slopes > _accumulator(dtype).largest / 2.0**12).any())


def _probabilities(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    p, y = arrays["probabilities"], arrays["target"]
    gradients = not _negative_zero(p) and not _steep(p, dtype)
    if _outside(p):
        # A probability outside of its range under a target of 0 costs NaN as well.
        lone = p.ndim == 1 and not _nan(p, y)
        return Reading("CE-4", raises=True, infinite=True, gradients=False) if lone else SILENT
    if _nan(p, y):
        return Reading("CE-16", raises=True, gradients=gradients)
    if (p == 0).any():
        return Reading("CE-3" if ((p == 0) & (y > 0)).any() else "CE-2", gradients=gradients)
    return Reading("CE-1", gradients=gradients)


def _dense(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    x, y = arrays["logits"], arrays["target"]
    if not x.shape[parameters["axis"]]:
        return SILENT if parameters["label_smoothing"] else Reading("G-5")
    if _nan(x, y):
        return Reading("CE-16") if not np.isinf(x).any() else SILENT
    if np.isposinf(x).any() or np.isneginf(x).all(axis=parameters["axis"]).any():
        return Reading("CE-15", level="recommended")
    if np.isneginf(x).any():
        return Reading("CE-15")
    if _sum_overflows(_spread(x, parameters["axis"]) * 4, dtype):
        return Reading("G-4", level="recommended")
    if not x.size:
        return Reading("G-5")
    if _leaves_half(_spread(x, parameters["axis"]), dtype):
        return Reading("CE-18")
    if parameters["label_smoothing"]:
        return Reading("CE-11")
    return Reading("CE-5" if np.allclose(y.sum(axis=parameters["axis"]), 1) else "CE-19")


def _spread(x: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """How large costs may become: the spread of each row, once per class."""
    if not x.size:
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        spread: npt.NDArray[Any] = np.abs(x - x.max(axis=axis, keepdims=True))
    return spread


def _sparse(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    x, labels = np.moveaxis(arrays["logits"], parameters["axis"], -1), arrays["labels"]
    ignored = parameters["ignore_index"]
    counts = np.ones(labels.shape, bool) if ignored is None else labels != ignored
    return _labelled(x, labels, counts, parameters, dtype, invalid="CE-9", ignored="CE-7", all_ignored="CE-8")


def _labelled(
    x: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    counts: npt.NDArray[np.bool_],
    parameters: Mapping[str, Any],
    dtype: FloatType,
    invalid: str,
    ignored: str,
    all_ignored: str,
) -> Reading:
    rows = x[counts]
    used = labels[counts]
    weight = parameters.get("weight")
    if not x.shape[-1]:
        return SILENT
    if ((used < 0) | (used >= x.shape[-1])).any():
        # A weight table cannot even be looked up; without a reduction other rows stay defined.
        whole = parameters["reduction"] != "none" or labels.ndim == 0
        return Reading(invalid, raises=True, gradients=False) if whole else SILENT
    if weight is not None and parameters["label_smoothing"] and not weight[used].any():
        # Smoothed costs over a divisor of 0.
        return SILENT
    if np.isinf(rows).any():
        return SILENT if _nan(rows) else Reading("CE-15", level="recommended")
    if _nan(rows):
        return Reading("CE-16")
    if _sum_overflows(_spread(rows, -1), dtype):
        return Reading("G-4", level="recommended")
    if not counts.any():
        return Reading(all_ignored if counts.size else "G-5")
    if _leaves_half(_spread(rows, -1), dtype):
        return Reading("CE-18")
    if not counts.all():
        return Reading(ignored)
    if parameters.get("weight") is not None:
        return Reading("CE-10")
    return Reading("CE-11" if parameters.get("label_smoothing") else "CE-6")


def _binary_probabilities(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    p, y = arrays["probabilities"], arrays["target"]
    weight, gradients = parameters["weight"], not _negative_zero(p) and not _steep(p, dtype)
    certain = ((p == 0) & (y > 0)) | ((p == 1) & (y < 1))
    if certain.any() and weight is not None and (np.asarray(weight) == 0).any():
        # 0 · inf, from a weight of 0, is not specified.
        return SILENT
    if _outside(p):
        lone = p.ndim == 0 and not _nan(p, y)
        return Reading("BCE-4", raises=True, infinite=True, gradients=False) if lone else SILENT
    if _nan(p, y):
        return Reading("BCE-13", raises=True, gradients=gradients)
    if certain.any():
        return Reading("BCE-3", gradients=gradients)
    if ((p == 0) | (p == 1)).any():
        return Reading("BCE-2", gradients=gradients)
    return Reading("BCE-6" if weight is not None else "BCE-1", gradients=gradients)


def _binary_logits(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    x, y = arrays["logits"], arrays["target"]
    if np.isinf(x).any():
        return SILENT if _nan(x, y) else Reading("BCE-11", level="recommended")
    if _nan(x, y):
        return Reading("BCE-13")
    if _sum_overflows(np.abs(x) * 16, dtype):
        return Reading("G-4", level="recommended")
    if _leaves_half(x, dtype):
        return Reading("BCE-14")
    if parameters["pos_weight"] is not None:
        return Reading("BCE-9")
    return Reading("BCE-10")


def _psp_head(
    x: npt.NDArray[Any], labels: npt.NDArray[Any], parameters: Mapping[str, Any], dtype: FloatType
) -> Reading:
    from lossproof.oracle.evaluate import resize_nearest

    resized = resize_nearest(labels, *x.shape[1:3])
    counts = resized < parameters["num_classes"]
    reading = _labelled(
        x, resized, counts, {"reduction": "mean", **parameters}, dtype,
        invalid="PSP-5", ignored="PSP-3", all_ignored="PSP-4",
    )  # fmt: skip
    return Reading("PSP-2") if reading == Reading("CE-6") else reading


def _psp(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    return _psp_head(arrays["logits"], arrays["labels"], parameters, dtype)


def _psp_total(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    def heads() -> Iterator[Reading]:
        for name in ("logits", "aux_logits"):
            yield _psp_head(arrays[name], arrays["labels"], parameters, dtype)

    found = sorted(heads(), key=lambda reading: (reading.defined, not reading.raises))
    for reading in found:
        if reading.clause not in ("PSP-2", "PSP-3"):
            return reading
    return Reading("PSP-6")


def _psp_predict(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    return Reading("PSP-9" if _nan(arrays["logits"]) else "PSP-7")


def _masks(arrays: Arrays, parameters: Mapping[str, Any], dtype: FloatType) -> Reading:
    logits = "mask_logits" in arrays
    masks = arrays["mask_logits" if logits else "pred_masks"]
    ids, target = arrays["target_class_ids"], arrays["target_masks"]
    positive = ids > 0
    if (ids >= masks.shape[-1]).any():
        return Reading("MRC-10", raises=True, gradients=False)
    b, r = np.nonzero(positive)
    own = masks[b, r, :, :, ids[b, r]]
    y = target[b, r]
    if not positive.any():
        return Reading("MRC-4")
    if logits:
        if np.isinf(own).any():
            return SILENT if _nan(own, y) else Reading("BCE-11", level="recommended")
        if _sum_overflows(np.abs(own) * 16, dtype):
            return Reading("G-4", level="recommended")
        if _nan(own, y):
            return Reading("BCE-13")
        return Reading("G-4" if _leaves_half(own, dtype) else "MRC-6")
    gradients = not _negative_zero(own) and not _steep(own, dtype)
    if _outside(own):
        return SILENT
    if _nan(own, y):
        return Reading("MRC-9", raises=True, gradients=gradients)
    return Reading("MRC-9" if ((own == 0) | (own == 1)).any() else "MRC-2", gradients=gradients)


_READERS: dict[str, Any] = {
    "l2_loss": _l2,
    "euclidean_distance": _distance,
    "sigmoid": _elementwise("SG-2", "SG-3", "SG-5"),
    "log_sigmoid": _elementwise("LSG-2", "LSG-3", "LSG-4"),
    "softmax": _elementwise("SM-2", "SM-4", "SM-3"),
    "log_softmax": _elementwise("LSM-2", "LSM-4", "LSM-3"),
    "cross_entropy": _probabilities,
    "softmax_cross_entropy": _dense,
    "sparse_softmax_cross_entropy": _sparse,
    "binary_cross_entropy": _binary_probabilities,
    "sigmoid_cross_entropy": _binary_logits,
    "pspnet_resize_labels": lambda arrays, parameters, dtype: Reading("PSP-1"),
    "pspnet_loss": _psp,
    "pspnet_total_loss": _psp_total,
    "pspnet_predict": _psp_predict,
    "mask_rcnn_mask_loss": _masks,
    "mask_rcnn_mask_loss_with_logits": _masks,
    "mask_rcnn_select_masks": lambda arrays, parameters, dtype: Reading("MRC-7"),
}
