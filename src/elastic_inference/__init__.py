"""Elastic Inference: attach a slice of an accelerator over the network.

Importing this package does no work: the heavy parts load where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elastic_inference._version import __version__
from elastic_inference.errors import ElasticInferenceError

if TYPE_CHECKING:
    from elastic_inference.client import Accelerator, Model, connect

__all__ = ["Accelerator", "ElasticInferenceError", "Model", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    if name in {"Accelerator", "Model", "connect"}:
        from elastic_inference import client  # noqa: PLC0415 - numpy and ssl load on first use

        return getattr(client, name)
    if name in {"mxnet", "onnxruntime", "tensorflow"}:
        import importlib  # noqa: PLC0415 - an extra's module loads on first use

        return importlib.import_module(f"elastic_inference.{name}")
    raise AttributeError(f"module 'elastic_inference' has no attribute {name!r}")
