"""ONNX Runtime: ONNX graphs on its CPU execution provider. Inference only: there are no gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime

from lossproof import Unsupported

from .onnx_graphs import OnnxGraphs


class OnnxRuntimeAdapter(OnnxGraphs):
    """onnxruntime.InferenceSession with its default options."""

    name = "onnxruntime"
    backend = "onnxruntime"
    version = onnxruntime.__version__
    device = "cpu"
    # The CPU execution provider has no bfloat16 arithmetic.
    dtypes = ("float64", "float32", "float16")

    def run_model(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented as reason:
            # What ONNX Runtime says where it has no kernel for an operator in a dtype.
            raise Unsupported(str(reason)) from None
        return session.run(["value"], dict(inputs))[0]
