"""The functions as ONNX graphs (operator set 18), for the runtimes that execute them.

Where the operator set has a loss (SoftmaxCrossEntropyLoss) the graph is that; elsewhere it is
composed of its operators in the numerically stable way, as an exporter's user would.
https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
import onnx.parser

from lossproof import Adapter, Call, Unsupported

_TYPES = {
    "float64": "double",
    "float32": "float",
    "float16": "float16",
    **{name: name for name in ("int64", "int32", "int16", "int8", "uint8")},
}
_REDUCE = {"none": "Identity", "sum": "ReduceSum <keepdims = 0>", "mean": "ReduceMean <keepdims = 0>"}


class OnnxGraphs(Adapter):
    """Builds the model of a call; a subclass runs it in ``run_model``.

    The arrays stay NumPy arrays. A method returns the lines of a graph that computes ``value``
    from inputs named after the function's arrays (and ``weight``, ``pos_weight``).
    """

    def evaluate(self, function: Call, arrays: Mapping[str, Any]) -> Any:
        weights = {
            name: value
            for name, value in function.parameters.items()
            if name in ("weight", "pos_weight") and value is not None
        }
        inputs = {**arrays, **weights}
        lines, type_ = function(*arrays.values())
        declared = ", ".join(f"{_type(array)} {name}" for name, array in inputs.items())
        text = (
            f'<ir_version: 10, opset_import: ["" : 18]>\n'
            f"{function.function} ({declared}) => ({type_} value) {{\n" + "\n".join(lines) + "\n}"
        )
        return self.run_model(onnx.parser.parse_model(text), inputs)

    def run_model(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Run a model and return its one output, a NumPy array."""
        raise NotImplementedError

    # -- operators that ONNX has ---------------------------------------------------------------

    def sigmoid(self, logits: Any) -> Any:
        return ["value = Sigmoid (logits)"], _type(logits)

    def softmax(self, logits: Any, *, axis: int) -> Any:
        return [f"value = Softmax <axis = {axis}> (logits)"], _type(logits)

    def log_softmax(self, logits: Any, *, axis: int) -> Any:
        return [f"value = LogSoftmax <axis = {axis}> (logits)"], _type(logits)

    def euclidean_distance(self, prediction: Any, target: Any, *, axis: int) -> Any:
        return [
            "d = Sub (prediction, target)",
            f"axes = Constant <value_ints = [{axis}]> ()",
            "value = ReduceL2 <keepdims = 0> (d, axes)",
        ], _unknown(prediction)

    def sparse_softmax_cross_entropy(
        self,
        logits: Any,
        labels: Any,
        *,
        axis: int,
        weight: Any,
        ignore_index: int | None,
        label_smoothing: float,
        reduction: str,
    ) -> Any:
        if label_smoothing:
            raise Unsupported("SoftmaxCrossEntropyLoss has no label smoothing")
        if logits.ndim < 2:
            raise Unsupported("SoftmaxCrossEntropyLoss wants a batch dimension")
        # The operator wants the classes at dimension 1.
        order = [i for i in range(logits.ndim) if i != axis % logits.ndim]
        order.insert(1, axis % logits.ndim)
        ignoring = "" if ignore_index is None else f", ignore_index = {ignore_index}"
        inputs = "moved, labels" + ("" if weight is None else ", weight")
        return [
            f"moved = Transpose <perm = {order}> (logits)",
            f'value = SoftmaxCrossEntropyLoss <reduction = "{reduction}"{ignoring}> ({inputs})',
        ], _unknown(logits)

    # -- functions that graphs compose ---------------------------------------------------------

    def l2_loss(self, prediction: Any, target: Any, *, reduction: str, half: bool) -> Any:
        return [
            "d = Sub (prediction, target)",
            "square = Mul (d, d)",
            f"loss = {_REDUCE[reduction]} (square)",
            *_scaled("loss", 0.5 if half else 1.0, "prediction"),
        ], _unknown(prediction)

    def log_sigmoid(self, logits: Any) -> Any:
        return ["minus = Neg (logits)", "s = Softplus (minus)", "value = Neg (s)"], _type(logits)

    def cross_entropy(self, probabilities: Any, target: Any, *, axis: int, reduction: str) -> Any:
        return [
            "logs = Log (probabilities)",
            *_negated_sum("target", "logs", axis),
            f"value = {_REDUCE[reduction]} (rows)",
        ], _unknown(probabilities)

    def softmax_cross_entropy(
        self, logits: Any, target: Any, *, axis: int, label_smoothing: float, reduction: str
    ) -> Any:
        if label_smoothing:
            raise Unsupported("ONNX has no label smoothing")
        return [
            f"logs = LogSoftmax <axis = {axis}> (logits)",
            *_negated_sum("target", "logs", axis),
            f"value = {_REDUCE[reduction]} (rows)",
        ], _unknown(logits)

    def binary_cross_entropy(self, probabilities: Any, target: Any, *, weight: Any, reduction: str) -> Any:
        return [
            *_one("probabilities"),
            *_binary("probabilities", "target"),
            "loss = " + ("Identity (cost)" if weight is None else "Mul (weight, cost)"),
            f"value = {_REDUCE[reduction]} (loss)",
        ], _unknown(probabilities)

    def sigmoid_cross_entropy(
        self, logits: Any, target: Any, *, weight: Any, pos_weight: Any, reduction: str
    ) -> Any:
        return [
            *_one("logits"),
            *_binary_with_logits("logits", "target", pos_weight is not None),
            "loss = " + ("Identity (cost)" if weight is None else "Mul (weight, cost)"),
            f"value = {_REDUCE[reduction]} (loss)",
        ], _unknown(logits)

    def pspnet_resize_labels(self, labels: Any, *, size: tuple[int, int]) -> Any:
        return _resized("value", (labels.shape[0], *size)), _unknown(labels)

    def pspnet_loss(self, logits: Any, labels: Any, *, num_classes: int, reduction: str) -> Any:
        return _pspnet("logits", logits.shape, num_classes, reduction, "value"), _unknown(logits)

    def pspnet_total_loss(
        self, logits: Any, aux_logits: Any, labels: Any, *, num_classes: int, aux_weight: float
    ) -> Any:
        return [
            *_pspnet("logits", logits.shape, num_classes, "mean", "main"),
            *_pspnet("aux_logits", aux_logits.shape, num_classes, "mean", "auxiliary"),
            f"plain = Constant <value = double {{{aux_weight!r}}}> ()",
            "aux_weight = CastLike (plain, logits)",
            "weighted = Mul (aux_weight, auxiliary)",
            "value = Add (main, weighted)",
        ], _unknown(logits)

    def pspnet_predict(self, logits: Any) -> Any:
        return ["value = ArgMax <axis = -1, keepdims = 0> (logits)"], "int64[]"

    def mask_rcnn_mask_loss(self, target_masks: Any, target_class_ids: Any, pred_masks: Any) -> Any:
        return [
            *_one("pred_masks"),
            *_positive_masks("pred_masks"),
            *_binary("own", "targets"),
            *_mean_or_zero("pred_masks"),
        ], _unknown(pred_masks)

    def mask_rcnn_mask_loss_with_logits(
        self, target_masks: Any, target_class_ids: Any, mask_logits: Any
    ) -> Any:
        return [
            *_one("mask_logits"),
            *_positive_masks("mask_logits"),
            *_binary_with_logits("own", "targets", False),
            *_mean_or_zero("mask_logits"),
        ], _unknown(mask_logits)

    def mask_rcnn_select_masks(self, pred_masks: Any, class_ids: Any) -> Any:
        b, r, h, w, _ = pred_masks.shape
        return [
            "last = Constant <value_ints = [2, 3, 4]> ()",
            "column = Unsqueeze (class_ids, last)",
            f"shape = Constant <value_ints = {[b, r, h, w, 1]}> ()",
            "index = Expand (column, shape)",
            "picked = GatherElements <axis = 4> (pred_masks, index)",
            "fifth = Constant <value_ints = [4]> ()",
            "value = Squeeze (picked, fifth)",
        ], _unknown(pred_masks)


def _type(array: Any) -> str:
    shape = ", ".join(map(str, array.shape))
    return f"{_TYPES[array.dtype.name]}[{shape}]" if array.ndim else _TYPES[array.dtype.name]


def _unknown(array: Any) -> str:
    """The element type with a shape that is left to inference."""
    return f"{_TYPES[array.dtype.name]}[]"


def _one(like: str) -> list[str]:
    return ["plain_one = Constant <value_float = 1.0> ()", f"one = CastLike (plain_one, {like})"]


def _scaled(name: str, factor: float, like: str) -> list[str]:
    if factor == 1:
        return [f"value = Identity ({name})"]
    return [
        f"plain_factor = Constant <value_float = {factor}> ()",
        f"factor = CastLike (plain_factor, {like})",
        f"value = Mul (factor, {name})",
    ]


def _negated_sum(target: str, logs: str, axis: int) -> list[str]:
    return [
        f"product = Mul ({target}, {logs})",
        f"axes = Constant <value_ints = [{axis}]> ()",
        "sums = ReduceSum <keepdims = 0> (product, axes)",
        "rows = Neg (sums)",
    ]


def _binary(p: str, y: str) -> list[str]:
    return [
        f"log_p = Log ({p})",
        f"q = Sub (one, {p})",
        "log_q = Log (q)",
        f"negative = Sub (one, {y})",
        f"first = Mul ({y}, log_p)",
        "second = Mul (negative, log_q)",
        "both = Add (first, second)",
        "cost = Neg (both)",
    ]


def _binary_with_logits(x: str, y: str, weighted: bool) -> list[str]:
    return [
        f"minus_x = Neg ({x})",
        "cost_positive = Softplus (minus_x)",
        f"cost_negative = Softplus ({x})",
        f"negative = Sub (one, {y})",
        f"positive = {f'Mul (pos_weight, {y})' if weighted else f'Identity ({y})'}",
        "first = Mul (positive, cost_positive)",
        "second = Mul (negative, cost_negative)",
        "cost = Add (first, second)",
    ]


def _resized(name: str, shape: tuple[int, ...]) -> list[str]:
    """Nearest neighbour, source index floor(i * H / h): 'asymmetric' with 'floor'."""
    return [
        f"{name}_batch = Constant <value_ints = [1]> ()",
        f"{name}_nchw = Unsqueeze (labels, {name}_batch)",
        # Resize has no kernel for most integer types; label maps go through float.
        f"{name}_float = Cast <to = 1> ({name}_nchw)",
        f"{name}_size = Constant <value_ints = {[shape[0], 1, *shape[1:]]}> ()",
        f'{name}_resized = Resize <coordinate_transformation_mode = "asymmetric", mode = "nearest", '
        f'nearest_mode = "floor"> ({name}_float, , , {name}_size)',
        f"{name}_same = CastLike ({name}_resized, labels)",
        f"{name} = Squeeze ({name}_same, {name}_batch)",
    ]


def _pspnet(logits: str, shape: tuple[int, ...], num_classes: int, reduction: str, name: str) -> list[str]:
    return [
        *_resized(f"{name}_labels", shape[:3]),
        f"{name}_classes = Constant <value_int = {num_classes}> ()",
        f"{name}_dropped = GreaterOrEqual ({name}_labels, {name}_classes)",
        f"{name}_kept = Where ({name}_dropped, {name}_classes, {name}_labels)",
        f"{name}_nchw = Transpose <perm = [0, 3, 1, 2]> ({logits})",
        f'{name} = SoftmaxCrossEntropyLoss <reduction = "{reduction}", ignore_index = {num_classes}> '
        f"({name}_nchw, {name}_kept)",
    ]


def _positive_masks(masks: str) -> list[str]:
    return [
        "zero = Constant <value_int = 0> ()",
        "is_positive = Greater (target_class_ids, zero)",
        "places = NonZero (is_positive)",
        "where = Transpose <perm = [1, 0]> (places)",
        "ids = GatherND (target_class_ids, where)",
        "second_axis = Constant <value_ints = [1]> ()",
        "id_column = Unsqueeze (ids, second_axis)",
        "which = Concat <axis = 1> (where, id_column)",
        f"class_first = Transpose <perm = [0, 1, 4, 2, 3]> ({masks})",
        "own = GatherND (class_first, which)",
        "targets = GatherND (target_masks, where)",
    ]


def _mean_or_zero(like: str) -> list[str]:
    return [
        "total = ReduceSum <keepdims = 0> (cost)",
        "elements = Size (cost)",
        "at_least_one = Constant <value_int = 1> ()",
        "divisor = Max (elements, at_least_one)",
        f"count = CastLike (divisor, {like})",
        "value = Div (total, count)",
    ]
