"""Errors as ONNX Runtime's callers know them.

What ONNX Runtime would raise for the same mistake is raised here too, by classes that are both
ONNX Runtime's and of our own tree, so that either `except` clause finds them.
"""

from __future__ import annotations

import re
from typing import Any

from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    ModelFormatError,
)
from elastic_inference.frameworks.onnxruntime import real

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
    if type(error) in _classes.values():
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
    return _like(_both(_exception_class(status), type(error)), error)


def invalid_argument(message: str) -> ElasticInferenceError:
    """ONNX Runtime's error for an input or output that does not fit the model."""
    return status_error("INVALID_ARGUMENT", message)


def status_error(status: str, message: str) -> ElasticInferenceError:
    """ONNX Runtime's error with the status `status` (`FAIL`, `INVALID_ARGUMENT`, …)."""
    both = _both(_exception_class(status), InvalidRequestError)
    return both(f"[ONNXRuntimeError] : {_STATUS[status][0]} : {status} : {message}")


def python_error(cls: type[Exception], message: str) -> ElasticInferenceError:
    """The error of a plain Python class that ONNX Runtime raises for wrong arguments."""
    return _both(cls, InvalidRequestError)(message)


def execution_error(error: ElasticInferenceError) -> ElasticInferenceError:
    """`error` as a run of an IOBinding raises it: a RuntimeError, where ONNX Runtime could have
    raised it.
    """
    if type(error) not in _classes.values():
        return error
    ours = next(kind for kind in type(error).__bases__ if issubclass(kind, ElasticInferenceError))
    return _like(_both(RuntimeError, ours), error)


def _like(cls: type[ElasticInferenceError], error: ElasticInferenceError) -> ElasticInferenceError:
    return cls(
        error.message,
        next_step=error.next_step,
        request_id=error.request_id,
        accelerator_id=error.accelerator_id,
    )


def _exception_class(status: str) -> type[Exception]:
    found: type[Exception] = getattr(real.state, _STATUS[status][1], Exception)
    return found


_classes: dict[tuple[type[Exception], type[Exception]], type[ElasticInferenceError]] = {}


def _both(
    theirs: type[Exception], ours: type[ElasticInferenceError]
) -> type[ElasticInferenceError]:
    """The class that is both; the same one each time."""
    if issubclass(ours, theirs):
        return ours
    if (theirs, ours) not in _classes:
        _classes[theirs, ours] = _make(theirs, ours)
    return _classes[theirs, ours]


def _make(
    theirs: type[Exception], ours: type[ElasticInferenceError]
) -> type[ElasticInferenceError]:

    def reduce(self: ElasticInferenceError) -> tuple[Any, ...]:
        return _rebuild, (theirs, ours, self.to_dict())

    # Python's own classes have an __init__ and a __str__, which must not win over ours.
    members = {
        "__doc__": ours.__doc__,
        "__init__": ours.__init__,
        "__module__": __name__,
        "__reduce__": reduce,
        "__str__": ours.__str__,
    }
    return type(theirs.__name__, (theirs, ours), members)


def _rebuild(
    theirs: type[Exception], ours: type[ElasticInferenceError], body: dict[str, Any]
) -> ElasticInferenceError:
    return _both(theirs, ours)(
        body["error"],
        next_step=body.get("next_step", ""),
        request_id=body.get("request_id", ""),
        accelerator_id=body.get("accelerator_id", ""),
    )
