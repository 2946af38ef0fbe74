"""Every floating-point array of a call, parameters and cotangents included, with all bits of each dtype.

``tests/test_families.py`` narrows one array at a time and demands that a required case fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lossproof.core.functions import FUNCTIONS, Function
from tests.families import DTYPES, Topic

# Significant bits, the dtypes that hold as many, and the format that has fewer.
WIDTHS = {
    53: (["float64"], "float32 keeps 24 bits of 53, which is off by up to 6e-8 of each number"),
    24: (["float64", "float32"], "TF32 keeps eleven bits of 24, which is off by up to 5e-4 of each number"),
    11: (["float64", "float32", "float16"], "bfloat16 keeps eight bits of eleven"),
    8: (DTYPES, "an 8-bit float keeps four bits of eight"),
}
# Half a step of the narrower format at 1, which is rounded away: 8 units of roundoff of float16, 16 of
# bfloat16. As rounding may cost nearly as many, `SHARP` has calls of which little is lost on the way.
SHARP_STEPS = {11: 2.0**-8, 8: 2.0**-4}
# Multiplied by these, the steps of the generator fill 53 bits.
_SCALE, _LOW, _HIGH = float.fromhex("0x1.26a09e667f3bdp+1"), 0.1, 0.85
Draw = Callable[[int, tuple[int, ...], int], dict[str, Any]]


def topics() -> Iterator[Topic]:
    for function in FUNCTIONS.values():
        if function.has_float_arrays:
            yield Topic(
                function.name,
                "narrowing",
                "Every array is taken with all bits of its dtype, weights and cotangents included.",
                [*_cases(function)],
            )


def _cases(function: Function) -> Iterator[dict[str, Any]]:
    for bits in WIDTHS:
        sharp = bits in SHARP_STEPS
        call = SHARP.get(function.name, CALLS[function.name]) if sharp else CALLS[function.name]
        yield _case(f"bits-{bits}", bits, call)
        if sharp and function.name in SECOND:
            yield _case(f"bits-{bits}-again", bits, SECOND[function.name])


def _case(name: str, bits: int, call: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    dtypes, why = WIDTHS[bits]
    case = {
        "id": name,
        "clause": "G-11",
        "level": "required",
        "why": why,
        "dtypes": dtypes,
        **call(bits),
    }
    return {name: value for name, value in case.items() if value != {}}


def _numbers(bits: int, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Numbers on both sides of 0."""
    return {"random": "normal", "shape": list(shape), "seed": seed, "scale": _SCALE, "bits": bits}


def _offset(bits: int, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Numbers whose differences are in their last bits."""
    scale = {53: 1.1, 24: 1.1, 11: 3, 8: 2}[bits]
    shift = {53: 1024, 24: 1024, 11: 1030, 8: 136}[bits]
    return {
        "random": "normal", "shape": list(shape), "seed": seed, "scale": scale, "shift": shift, "bits": bits,
    }  # fmt: skip


def _fractions(bits: int, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Probabilities, targets and weights."""
    spec = {"random": "uniform", "shape": list(shape), "seed": seed, "low": _LOW, "high": _HIGH}
    return spec | {"bits": bits}


def _listed(bits: int, *numbers: float) -> list[float]:
    """Just above a power of two, where a number loses most to a narrower format."""
    step = SHARP_STEPS.get(bits) or {53: 2.0**-25 + 2.0**-52, 24: 3 * 2.0**-13 + 2.0**-23}[bits]
    return [number * (1 + step) for number in numbers]


def _one(name: str, draw: Draw, shape: tuple[int, ...]) -> Callable[[int], dict[str, Any]]:
    return lambda bits: {
        "inputs": {name: draw(bits, shape, 21)}, "cotangent": _fractions(bits, shape, 22),
    }  # fmt: skip


def _two(
    names: tuple[str, str], draws: tuple[Draw, Draw], parameters: Mapping[str, Any], result: tuple[int, ...]
) -> Callable[[int], dict[str, Any]]:
    return lambda bits: {
        "inputs": {name: draw(bits, (2, 3), 21 + i) for i, (name, draw) in enumerate(zip(names, draws))},
        "parameters": parameters,
        "cotangent": _fractions(bits, result, 23),
    }


def _sparse(bits: int) -> dict[str, Any]:
    return {
        "inputs": {"logits": _offset(bits, (2, 3), 21), "labels": [1, 0]},
        "parameters": {"weight": _listed(bits, 1, 0.5, 2), "reduction": "none"},
        "cotangent": _listed(bits, 1, 2),
    }


def _binary(first: str) -> Callable[[int], dict[str, Any]]:
    def call(bits: int) -> dict[str, Any]:
        draw = _fractions if first == "probabilities" else _numbers
        weights: dict[str, Any] = {"weight": _fractions(bits, (2, 3), 23)}
        if first == "logits":
            weights["pos_weight"] = _listed(bits, 1, 0.5, 2)
        return {
            "inputs": {first: draw(bits, (2, 3), 21), "target": _fractions(bits, (2, 3), 22)},
            "parameters": weights | {"reduction": "none"},
            "cotangent": _fractions(bits, (2, 3), 24),
        }

    return call


def _pspnet(bits: int) -> dict[str, Any]:
    return {
        "inputs": {"logits": _offset(bits, (1, 1, 3, 3), 21), "labels": [[[1, 0, 255]]]},
        "parameters": {"num_classes": 3, "reduction": "none"},
        "cotangent": [[_listed(bits, 1, 2, 1)]],
    }


def _pspnet_total(bits: int) -> dict[str, Any]:
    return {
        "inputs": {
            "logits": _offset(bits, (1, 1, 3, 3), 21),
            "aux_logits": _offset(bits, (1, 1, 1, 3), 25),
            "labels": [[[1, 0, 255]]],
        },
        "parameters": {"num_classes": 3},
        "cotangent": _listed(bits, 1)[0],
    }


def _mask_rcnn(name: str, draw: Draw) -> Callable[[int], dict[str, Any]]:
    return lambda bits: {
        "inputs": {
            "target_masks": _fractions(bits, (1, 2, 1, 2), 22),
            "target_class_ids": [[1, 0]],
            name: draw(bits, (1, 2, 1, 2, 2), 21),
        },
        "cotangent": _listed(bits, 1)[0],
    }


_DIFFERENCE = (("prediction", "target"), (_offset, _offset))
CALLS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "l2_loss": _two(*_DIFFERENCE, {"reduction": "none"}, (2, 3)),
    "euclidean_distance": _two(*_DIFFERENCE, {}, (2,)),
    "sigmoid": _one("logits", _numbers, (2, 3)),
    "log_sigmoid": _one("logits", _numbers, (2, 3)),
    "softmax": _one("logits", _offset, (2, 3)),
    "log_softmax": _one("logits", _offset, (2, 3)),
    "cross_entropy": lambda bits: {
        "inputs": {
            "probabilities": [[1 - a, a] for a in _listed(bits, 0.5, 0.5)],
            "target": [[a, 1 - a] for a in _listed(bits, 0.5, 0.5)],
        },
        "parameters": {"reduction": "none"},
        "cotangent": _listed(bits, 1, 2),
    },
    "softmax_cross_entropy": lambda bits: {
        # Rows that add up to 1: the difference of 1 and a number just above 0.5 is exact.
        "inputs": {
            "logits": _offset(bits, (2, 3), 21),
            "target": [[1 - a, a, 0] for a in _listed(bits, 0.5, 0.5)],
        },
        "parameters": {"reduction": "none"},
        "cotangent": _listed(bits, 1, 2),
    },
    "sparse_softmax_cross_entropy": _sparse,
    "binary_cross_entropy": _binary("probabilities"),
    "sigmoid_cross_entropy": _binary("logits"),
    "pspnet_loss": _pspnet,
    "pspnet_total_loss": _pspnet_total,
    "pspnet_predict": lambda bits: {"inputs": {"logits": _offset(bits, (1, 2, 2, 3), 21)}},
    "mask_rcnn_mask_loss": _mask_rcnn("pred_masks", _fractions),
    "mask_rcnn_mask_loss_with_logits": _mask_rcnn("mask_logits", _numbers),
    "mask_rcnn_select_masks": lambda bits: {
        "inputs": {"pred_masks": _numbers(bits, (1, 2, 1, 2, 2), 21), "class_ids": [[1, 0]]}
    },
}

# -- where rounding costs next to nothing: saturated, halved, or a difference ------------------


def _sharp(**call: Any) -> Callable[[int], dict[str, Any]]:
    """A call in which texts stand for numbers: "2" for twice the number that is just above 1."""

    def numbers(value: Any, bits: int) -> Any:
        if isinstance(value, dict):
            return {name: numbers(item, bits) for name, item in value.items()}
        if isinstance(value, list):
            return [numbers(item, bits) for item in value]
        return _listed(bits, float(value))[0] if isinstance(value, str) and value[-1].isdigit() else value

    return lambda bits: {field: numbers(value, bits) for field, value in call.items()}


SHARP: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "euclidean_distance": lambda bits: {
        **CALLS["euclidean_distance"](bits),
        "cotangent": _listed(bits, 1, 2),
    },
    "sigmoid": _sharp(inputs={"logits": ["-4", 0, 0]}, cotangent=[1, "1", "2"]),
    "log_sigmoid": _sharp(inputs={"logits": ["-64", -64, -32]}, cotangent=[1, "1", "2"]),
    "cross_entropy": lambda bits: {
        "inputs": {
            "probabilities": [[1 - 3 * 2.0**-bits, 3 * 2.0**-bits], [0.5, 0.5]],
            "target": [[1, 0], [1 - _listed(bits, 0.5)[0], *_listed(bits, 0.5)]],
        },
        "parameters": {"reduction": "none"},
        "cotangent": _listed(bits, 1, 1),
    },
    "sparse_softmax_cross_entropy": _sharp(
        inputs={"logits": [["64", 0, 0], [0, 64, 0], [0, 0, 64]], "labels": [1, 0, 1]},
        parameters={"weight": ["1", "0.5", "2"], "reduction": "none"},
        cotangent=[1, 1, "2"],
    ),
    "binary_cross_entropy": lambda bits: {
        "inputs": {
            "probabilities": [1 - 3 * 2.0**-bits, 0.5, 0.5, 0.5],
            "target": [1, *_listed(bits, 0.5), 1, 1],
        },
        "parameters": {"weight": [1, 1, *_listed(bits, 1), 1], "reduction": "none"},
        "cotangent": [1, 1, 1, *_listed(bits, 1)],
    },
    "sigmoid_cross_entropy": _sharp(
        inputs={"logits": [["64", 64], [-64, 64], [-64, 64]], "target": [[0, 0], ["0.5", 0], [1, 0]]},
        parameters={"weight": [[1, "1"], [1, 1], [1, 1]], "pos_weight": ["1", 1], "reduction": "none"},
        cotangent=[[1, 1], [1, 1], [1, "1"]],
    ),
    "pspnet_total_loss": _sharp(
        inputs={
            "logits": [[[["64", 0, 0], [0, 64, 0], [0, 0, 64]]]],
            "aux_logits": [[[["64", 0, 0]]]],
            "labels": [[[1, 0, 255]]],
        },
        parameters={"num_classes": 3},
        cotangent="1",
    ),
    "mask_rcnn_mask_loss": lambda bits: {
        "inputs": {
            "target_masks": [[[[1, *_listed(bits, 0.5)]]]],
            "target_class_ids": [[1]],
            "pred_masks": [[[[[0.5, 0.5], [0.5, 0.75]]]]],
        },
        "cotangent": _listed(bits, 1)[0],
    },
    "mask_rcnn_mask_loss_with_logits": _sharp(
        inputs={"target_masks": [[[["0.5"]]]], "target_class_ids": [[1]], "mask_logits": [[[[[0, -64]]]]]},
        cotangent="1",
    ),
}

# What one call cannot have beside the rest, as a single number comes out.
SECOND: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "pspnet_total_loss": lambda bits: {
        **CALLS["pspnet_total_loss"](bits),
        "cotangent": 1,
    },
    "mask_rcnn_mask_loss": lambda bits: {
        "inputs": {
            "target_masks": [[[[1]]]],
            "target_class_ids": [[1]],
            "pred_masks": [[[[[0.5, 1 - 3 * 2.0**-bits]]]]],
        },
    },
    "mask_rcnn_mask_loss_with_logits": _sharp(
        inputs={
            "target_masks": [[[[0, 0]]]],
            "target_class_ids": [[1]],
            "mask_logits": [[[[[0, "-8"], [0, 64]]]]],
        },
        cotangent="1",
    ),
}
