"""What ONNX Runtime raises, as errors of the project's own tree."""

from __future__ import annotations

import re

from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    ModelFormatError,
)

_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory|bad_alloc|out of memory|smaller than requested bytes"
    r"|CUDA failure 2\b|ALLOC_FAILED|bad array new length|Cannot allocate memory",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_SOURCE = re.compile(r"/onnxruntime_src/\S+ ?")
_UNKNOWN_OP = re.compile(r"Fatal error: ([^\s:]*):(\S+?)\(-?\d+\) is not a registered")
_NO_SCHEMA = re.compile(
    r'In Node, \("[^"]*", ([^,]+), "([^"]*)".*Error (?:No Op registered|No opset import)', re.DOTALL
)
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w[\w.:]*)\((\d+)\)")
_OPSET = re.compile(
    r"Opset (\d+) .*official support for domain (\S+) is till opset (\d+)", re.DOTALL
)
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_REQUEST_KINDS = frozenset({"InvalidArgument"})
_MODEL_KINDS = frozenset(
    {
        "InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NoSuchFile", "NoModel",
        "NotImplemented", "Fail", "EPFail", "RuntimeException",
    }
)  # fmt: skip
_LONGEST = 600


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def is_disk_full(error: BaseException) -> bool:
    return bool(_DISK_FULL.search(str(error)))


def one_line(error: BaseException, hidden: str = "") -> str:
    """The engine's text without its prefix, source positions and the folder `hidden`."""
    text = _SOURCE.sub("", _PREFIX.sub("", str(error)))
    if hidden:
        text = text.replace(hidden + "/", "").replace(hidden, "")
    return " ".join(text.split())[:_LONGEST].rstrip(".")


def load_error(error: BaseException, hidden: str = "") -> ElasticInferenceError:
    """Why a model did not load; `hidden` is the private folder it lay in."""
    if isinstance(error, ElasticInferenceError):
        return error
    if is_out_of_memory(error):
        return AcceleratorOutOfMemoryError()
    if unknown := _not_known(str(error)):
        return unknown
    if type(error).__name__ in _MODEL_KINDS:
        return ModelFormatError(f"The model cannot be loaded: {one_line(error, hidden)}.")
    return InternalError(f"The engine failed to load the model: {one_line(error, hidden)}.")


def _not_known(text: str) -> ModelFormatError | None:
    """What the engine lacks for the model, where its text says so."""
    if match := _UNKNOWN_OP.search(text):
        return _no_operator(match[2], match[1])
    if match := _NO_SCHEMA.search(text):
        return _no_operator(match[1], match[2])
    if match := _NO_KERNEL.search(text):
        return ModelFormatError(
            f"The engine has no implementation of {match[1]} (version {match[2]}) "
            "for the types in this model."
        )
    if match := _OPSET.search(text):
        return ModelFormatError(
            f"The model uses operator set {match[1]} of {match[2]}; "
            f"the engine knows it up to {match[3]}.",
            next_step="Export the model for an older operator set.",
        )
    return None


def run_error(error: BaseException) -> ElasticInferenceError:
    """Why an inference failed."""
    if isinstance(error, ElasticInferenceError):
        return error
    if is_out_of_memory(error):
        return AcceleratorOutOfMemoryError()
    if isinstance(error, UnicodeDecodeError):
        return InvalidRequestError("An output holds text that is not UTF-8.")
    if type(error).__name__ in _REQUEST_KINDS:
        return InvalidRequestError(f"The engine refuses the input: {one_line(error)}.")
    return InternalError(f"The engine failed: {one_line(error)}.")


def _no_operator(operator: str, domain: str) -> ModelFormatError:
    where = domain or "ai.onnx"
    return ModelFormatError(
        f"The engine has no operator {operator} of domain {where!r}.",
        next_step="Operators of your own run on the instance, where their library is registered.",
    )
