"""The real ONNX Runtime, as it was before anything was put in its place."""

from __future__ import annotations

from typing import Any

import onnxruntime as module
from onnxruntime.capi import _pybind_state as state
from onnxruntime.capi import onnxruntime_inference_collection as collection

_PATCHED = "elastic_inference_real"


def _original(owner: Any, name: str) -> Any:
    """`owner.name`, or what it was before `replace`."""
    return getattr(owner, _PATCHED, {}).get(name) or getattr(owner, name)


def replace(owner: Any, **names: Any) -> None:
    """Put ours in the place of the real names of a module, once, remembering the real ones."""
    kept = owner.__dict__.setdefault(_PATCHED, {})
    for name, ours in names.items():
        if hasattr(owner, name):
            kept.setdefault(name, getattr(owner, name))
            setattr(owner, name, ours)


InferenceSession: Any = _original(collection, "InferenceSession")
IOBinding: Any = _original(collection, "IOBinding")
OrtValue: Any = _original(collection, "OrtValue")
SessionOptions: Any = _original(state, "SessionOptions")
RunOptions: Any = _original(state, "RunOptions")

__all__ = [
    "IOBinding",
    "InferenceSession",
    "OrtValue",
    "RunOptions",
    "SessionOptions",
    "collection",
    "module",
    "replace",
    "state",
]
