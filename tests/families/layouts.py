"""Every array of a call in every layout, alone and all of them together (G-10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lossproof.core.functions import FUNCTIONS
from lossproof.core.layout import LAYOUTS
from tests.families import DTYPES, Topic

# The quick set takes these, of all arrays together.
QUICK = ("transposed", "strided", "broadcast")

Spec = dict[str, Any]


def _normal(seed: int, *shape: int) -> Spec:
    return {"random": "normal", "shape": list(shape), "seed": seed, "scale": 2}


def _uniform(seed: int, *shape: int) -> Spec:
    return {"random": "uniform", "shape": list(shape), "seed": seed}


def _one_hot(seed: int, *shape: int) -> Spec:
    return {"random": "one_hot", "shape": list(shape), "seed": seed}


def _integers(seed: int, high: int, *shape: int) -> Spec:
    return {"random": "integers", "shape": list(shape), "seed": seed, "high": high}


IDS = [[1, 0, 2], [2, 1, 0]]
# By function, what it is called with: numbers that differ, in three axes where the function takes any.
CALLS: dict[str, dict[str, Any]] = {
    "l2_loss": {"prediction": _normal(1, 2, 3, 4), "target": _normal(2, 2, 3, 4), "reduction": "none",
                "cotangent": _normal(3, 2, 3, 4)},
    "euclidean_distance": {"prediction": _normal(1, 2, 3, 4), "target": _normal(2, 2, 3, 4),
                           "cotangent": _normal(3, 2, 3)},
    "sigmoid": {"logits": _normal(1, 2, 3, 4), "cotangent": _normal(3, 2, 3, 4)},
    "log_sigmoid": {"logits": _normal(1, 2, 3, 4), "cotangent": _normal(3, 2, 3, 4)},
    "softmax": {"logits": _normal(1, 2, 3, 4), "cotangent": _normal(3, 2, 3, 4)},
    "log_softmax": {"logits": _normal(1, 2, 3, 4), "cotangent": _normal(3, 2, 3, 4)},
    "cross_entropy": {"probabilities": _uniform(1, 2, 3, 4), "target": _uniform(2, 2, 3, 4),
                      "reduction": "none", "cotangent": _normal(3, 2, 3)},
    "softmax_cross_entropy": {"logits": _normal(1, 2, 3, 4), "target": _one_hot(2, 2, 3, 4),
                              "reduction": "none", "cotangent": _normal(3, 2, 3)},
    "sparse_softmax_cross_entropy": {"logits": _normal(1, 2, 3, 4), "labels": _integers(2, 4, 2, 3),
                                     "weight": _uniform(4, 4), "reduction": "none",
                                     "cotangent": _normal(3, 2, 3)},
    "binary_cross_entropy": {"probabilities": _uniform(1, 2, 3, 4), "target": _uniform(2, 2, 3, 4),
                             "weight": _uniform(4, 2, 3, 4), "reduction": "none",
                             "cotangent": _normal(3, 2, 3, 4)},
    "sigmoid_cross_entropy": {"logits": _normal(1, 2, 3, 4), "target": _uniform(2, 2, 3, 4),
                              "weight": _uniform(4, 2, 3, 4), "pos_weight": _uniform(5, 4),
                              "reduction": "none", "cotangent": _normal(3, 2, 3, 4)},
    "pspnet_resize_labels": {"labels": _integers(1, 100, 2, 3, 4), "size": [3, 5]},
    "pspnet_loss": {"logits": _normal(1, 2, 3, 2, 4), "labels": _integers(2, 5, 2, 6, 4), "num_classes": 4,
                    "reduction": "none", "cotangent": _normal(3, 2, 3, 2)},
    "pspnet_total_loss": {"logits": _normal(1, 2, 3, 2, 3), "aux_logits": _normal(3, 2, 2, 3, 3),
                          "labels": _integers(2, 4, 2, 6, 4), "num_classes": 3},
    "pspnet_predict": {"logits": _normal(1, 2, 3, 2, 4)},
    "mask_rcnn_mask_loss": {"target_masks": _uniform(1, 2, 3, 2, 2), "target_class_ids": IDS,
                            "pred_masks": _uniform(2, 2, 3, 2, 2, 3)},
    "mask_rcnn_mask_loss_with_logits": {"target_masks": _uniform(1, 2, 3, 2, 2),
                                        "target_class_ids": IDS,
                                        "mask_logits": _normal(2, 2, 3, 2, 2, 3)},
    "mask_rcnn_select_masks": {"pred_masks": _uniform(1, 2, 3, 2, 2, 3), "class_ids": IDS},
}  # fmt: skip


def arrays(function: str) -> list[str]:
    """The arrays of its call that have axes."""
    found = FUNCTIONS[function]
    names = [array.name for array in found.arrays]
    names += [parameter.name for parameter in found.parameters if parameter.kind == "array"]
    return [*names, *(["cotangent"] if "cotangent" in CALLS[function] else [])]


def topics() -> Iterator[Topic]:
    for function in CALLS:
        yield Topic(
            function, "layouts", "How an array lies in memory does not change what is computed of it.",
            list(_cases(function)),
        )  # fmt: skip


def _cases(function: str) -> Iterator[dict[str, Any]]:
    for layout in LAYOUTS:
        fitting = [name for name in arrays(function) if _axes(function, name) >= _least(layout)]
        if len(fitting) > 1:
            yield _case(function, f"all-{layout}", layout, fitting, layout in QUICK)
        for name in fitting:
            quick = layout in QUICK and len(fitting) == 1
            yield _case(function, f"{name.replace('_', '-')}-{layout}", layout, [name], quick)


def _case(function: str, name: str, layout: str, placed: list[str], quick: bool) -> dict[str, Any]:
    given = {key: _repeated(key, value) if layout == "broadcast" and key in placed else value
             for key, value in CALLS[function].items()}  # fmt: skip
    inputs = [array.name for array in FUNCTIONS[function].arrays]
    parameters = {key: value for key, value in given.items() if key not in (*inputs, "cotangent")}
    integer = FUNCTIONS[function].integer_result and not FUNCTIONS[function].has_float_arrays
    case = {
        "id": name, "clause": "G-10", "level": "required",
        **({} if quick else {"thorough": True}),
        "why": f"{layout.replace('-', ' ')} {' and '.join(placed)} read as if in C order",
        "dtypes": ["int64", "int32", "uint8"] if integer else DTYPES,
        "inputs": {key: given[key] for key in inputs},
    }  # fmt: skip
    if parameters:
        case["parameters"] = parameters
    if "cotangent" in given:
        case["cotangent"] = given["cotangent"]
    case["layout"] = dict.fromkeys(placed, layout)
    return case


def _shape(spec: Any) -> list[int]:
    return spec["shape"] if isinstance(spec, Mapping) else [len(spec), len(spec[0])]


def _axes(function: str, name: str) -> int:
    return len(_shape(CALLS[function][name]))


def _least(layout: str) -> int:
    return 2 if layout == "broadcast" else LAYOUTS[layout].axes


def _repeated(name: str, spec: Any) -> Any:
    """An array of the same shape whose elements are equal along all axes but the last."""
    if not isinstance(spec, Mapping):
        return [spec[0]] * len(spec)
    values: dict[str, list[float]]
    values = {
        "normal": [0.5, -1.25, 2, 1], "uniform": [0.5, 0.25, 0.125, 0.75], "integers": [1, 0, 2, 1],
        "one_hot": [0.25, 0.125, 0.5, 0.125],
    }  # fmt: skip
    chosen = values[spec["random"]]
    # What is compared must not be the same.
    chosen = chosen[::-1] if name.startswith("target") and spec["random"] != "one_hot" else chosen
    return {"cycle": chosen[: spec["shape"][-1]], "shape": spec["shape"]}
