"""A model of Triton's Python backend that runs ONNX Runtime."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as backend
from engine import Models


class TritonPythonModel:
    """One model instance, in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        self._run = Models().open(args["model_name"])

    def execute(self, requests: list[Any]) -> list[Any]:
        responses = []
        for request in requests:
            x = backend.get_input_tensor_by_name(request, "x").as_numpy()
            y = backend.Tensor("y", self._run(x))
            responses.append(backend.InferenceResponse(output_tensors=[y]))
        return responses
