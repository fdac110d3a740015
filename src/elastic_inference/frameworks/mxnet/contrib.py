"""`mxnet.contrib`, of which `onnx` is here."""

from __future__ import annotations

from elastic_inference.frameworks.mxnet import contrib_onnx as onnx

__all__ = ["onnx"]
