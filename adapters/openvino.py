"""OpenVINO: the ONNX graphs read by its ONNX frontend and run on its CPU plugin. No gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openvino

from .onnx_graphs import OnnxGraphs


class OpenVinoAdapter(OnnxGraphs):
    """openvino.Core().compile_model with its default settings."""

    name = "openvino"
    backend = "openvino"
    version = openvino.__version__.split("-")[0]
    device = "cpu"
    # The CPU plugin has no float64 arithmetic; it converts such models to float32.
    dtypes = ("float32", "float16")

    def __init__(self) -> None:
        self.core = openvino.Core()

    def run_model(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        compiled = self.core.compile_model(self.core.read_model(model.SerializeToString()), "CPU")
        return compiled(dict(inputs))[0]
