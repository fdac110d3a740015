"""ONNX Runtime on an accelerator, with ONNX Runtime's own interface."""

from __future__ import annotations

import contextlib
import os
from types import ModuleType
from typing import Any

__all__ = ["IOBinding", "InferenceSession", "RunOptions", "SessionOptions", "install"]

_HOMES = {
    "IOBinding": "binding",
    "InferenceSession": "session",
    "RunOptions": "options",
    "SessionOptions": "options",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - numpy and ONNX Runtime load on first use

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def install(module: ModuleType) -> None:
    """Put our classes in the place of ONNX Runtime's, in every module that applications import
    them from. Doing it twice is doing it once.

    Args:
        module: the imported package `onnxruntime`.
    """
    from elastic_inference.frameworks.onnxruntime import real  # noqa: PLC0415 - loads ORT
    from elastic_inference.frameworks.onnxruntime.binding import IOBinding  # noqa: PLC0415
    from elastic_inference.frameworks.onnxruntime.options import (  # noqa: PLC0415
        RunOptions,
        SessionOptions,
    )
    from elastic_inference.frameworks.onnxruntime.session import (  # noqa: PLC0415
        InferenceSession,
    )

    for owner in (module, real.collection, real.state):
        options = {"SessionOptions": SessionOptions, "RunOptions": RunOptions}
        classes = {"InferenceSession": InferenceSession, "IOBinding": IOBinding}
        # In the extension's module the name InferenceSession means another class.
        real.replace(owner, **options, **({} if owner is real.state else classes))


if os.environ.get("EI_RUN") == "1":
    # Under `ei run` the import calls `install`, which needs this package's modules whole: it has
    # to come before one of them begins.
    with contextlib.suppress(ImportError):
        import onnxruntime as _onnxruntime  # noqa: F401
