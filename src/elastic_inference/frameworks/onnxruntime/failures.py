"""Errors as ONNX Runtime's callers know them.

What ONNX Runtime would raise for the same mistake is raised here too, by classes that are both
ONNX Runtime's and of our own tree, so that either `except` clause finds them.
"""

from __future__ import annotations

import re

from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    ModelFormatError,
)
from elastic_inference.frameworks.onnxruntime import real
from elastic_inference.frameworks.twofold import both, is_both, like

# ONNX Runtime's status codes: name in messages, then name of the exception class.
_STATUS = {
    "FAIL": (1, "Fail"),
    "INVALID_ARGUMENT": (2, "InvalidArgument"),
    "NO_SUCHFILE": (3, "NoSuchFile"),
    "NO_MODEL": (4, "NoModel"),
    "ENGINE_ERROR": (5, "EngineError"),
    "RUNTIME_EXCEPTION": (6, "RuntimeException"),
    "INVALID_PROTOBUF": (7, "InvalidProtobuf"),
    "MODEL_LOADED": (8, "ModelLoaded"),
    "NOT_IMPLEMENTED": (9, "NotImplemented"),
    "INVALID_GRAPH": (10, "InvalidGraph"),
    "EP_FAIL": (11, "EPFail"),
}
_IN_MESSAGE = re.compile(r"(?:\[ONNXRuntimeError\] : \d+ : |^The engine failed \()([A-Z_]+)\b")


def translate(error: ElasticInferenceError) -> ElasticInferenceError:
    """`error` as an error of ONNX Runtime too, where ONNX Runtime could have raised it."""
    if is_both(error):
        return error
    named = _IN_MESSAGE.search(error.message)
    if named is not None and named[1] in _STATUS:
        status = named[1]
    elif isinstance(error, AcceleratorOutOfMemoryError):
        status = "RUNTIME_EXCEPTION"
    elif isinstance(error, ModelFormatError):
        status = "INVALID_PROTOBUF"
    elif isinstance(error, InvalidRequestError):
        status = "INVALID_ARGUMENT"
    elif isinstance(error, InternalError):
        status = "FAIL"
    else:
        return error
    return like(both((_exception_class(status),), type(error)), error)


def invalid_argument(message: str) -> ElasticInferenceError:
    """ONNX Runtime's error for an input or output that does not fit the model."""
    return status_error("INVALID_ARGUMENT", message)


def status_error(status: str, message: str) -> ElasticInferenceError:
    """ONNX Runtime's error with the status `status` (`FAIL`, `INVALID_ARGUMENT`, …)."""
    cls = both((_exception_class(status),), InvalidRequestError)
    return cls(f"[ONNXRuntimeError] : {_STATUS[status][0]} : {status} : {message}")


def python_error(cls: type[Exception], message: str) -> ElasticInferenceError:
    """The error of a plain Python class that ONNX Runtime raises for wrong arguments."""
    return both((cls,), InvalidRequestError)(message)


def execution_error(error: ElasticInferenceError) -> ElasticInferenceError:
    """`error` as a run of an IOBinding raises it: a RuntimeError, where ONNX Runtime could have
    raised it.
    """
    if not is_both(error):
        return error
    ours = next(kind for kind in type(error).__bases__ if issubclass(kind, ElasticInferenceError))
    return like(both((RuntimeError,), ours), error)


def _exception_class(status: str) -> type[Exception]:
    found: type[Exception] = getattr(real.state, _STATUS[status][1], Exception)
    return found
