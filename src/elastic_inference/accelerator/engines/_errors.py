"""What ONNX Runtime raises, as errors of the project's own tree."""

from __future__ import annotations

import re

from elastic_inference.accelerator.engines.base import DeviceFailedError
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
# CUDA's errors after which a process can do nothing more on the device; by number, and as text.
_DEVICE_FAILED = re.compile(
    r"CUDA failure (?:46|100|101|214|220|226|700|702|709|71[0-9]|721|999)\b"
    r"|illegal memory access was encountered|unspecified launch failure"
    r"|device-side assert triggered|uncorrectable ECC error|misaligned address"
    r"|an illegal instruction was encountered|hardware stack error|invalid program counter"
    r"|the launch timed out and was terminated|context is destroyed|NVLink error"
    r"|no CUDA-capable device|CUDA-capable device\(s\) is/are busy or unavailable"
)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : ([A-Z_]+) : ")
_SOURCE = re.compile(r"/onnxruntime_src/\S+\.(?:cc|h|cpp|hpp|inc):\d+ ?")
# What may follow the parameters of a function that the engine names.
_AFTER_PARAMETERS = re.compile(r"(?:::<lambda\([^()]*\)>| const| \[with [^\]]*\])*\s*")
_UNKNOWN_OP = re.compile(r"Fatal error: ([^\s:]*):(\S+?)\(-?\d+\) is not a registered")
_NO_SCHEMA = re.compile(
    r'In Node, \("[^"]*", ([^,]+), "([^"]*)".*Error (?:No Op registered|No opset import)', re.DOTALL
)
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w[\w.:]*)\((\d+)\)")
_OPSET = re.compile(
    r"Opset (\d+) .*official support for domain (\S+) is till opset (\d+)", re.DOTALL
)
_IR_VERSION = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
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


def one_line(error: BaseException, hidden: str = "") -> str:
    """The engine's text without its prefix, source positions and the folder `hidden`."""
    text = _without_sources(_PREFIX.sub("", str(error)))
    if hidden:
        text = text.replace(hidden + "/", "").replace(hidden, "")
    return " ".join(text.split())[:_LONGEST].rstrip(".")


def _without_sources(text: str) -> str:
    """`text` without the places in the engine's source, and the functions there, that it names."""
    pieces = []
    at = 0
    for place in _SOURCE.finditer(text):
        pieces.append(text[at : place.start()])
        at = max(at, _after_function(text, place.end()))
    pieces.append(text[at:])
    return "".join(pieces)


def _after_function(text: str, start: int) -> int:
    """Where the function's signature at `start` ends; `start` if there is none."""
    opening = text.find("(", start)
    if opening < 0 or "\n" in text[start:opening]:
        return start
    depth = 0
    for index in range(opening, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            found = _AFTER_PARAMETERS.match(text, index + 1)
            return found.end() if found else index + 1
    return start


def load_error(error: BaseException, hidden: str = "") -> ElasticInferenceError:
    """Why a model did not load; `hidden` is the private folder it lay in."""
    if isinstance(error, ElasticInferenceError):
        return error
    if trouble := _of_the_device(error, hidden):
        return trouble
    if unknown := _not_known(str(error)):
        return unknown
    if isinstance(error, UnicodeDecodeError):
        # What the engine says of the model repeats its names.
        return ModelFormatError("The model cannot be loaded: a text in it is not UTF-8.")
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
    if match := _IR_VERSION.search(text):
        return ModelFormatError(
            f"The model has IR version {match[1]}; the engine reads them up to {match[2]}.",
            next_step="Save it with an older IR version (the model's ir_version in onnx).",
        )
    return None


def run_error(error: BaseException) -> ElasticInferenceError:
    """Why an inference failed."""
    if isinstance(error, ElasticInferenceError):
        return error
    if trouble := _of_the_device(error):
        return trouble
    if isinstance(error, UnicodeDecodeError):
        return InvalidRequestError("An output holds text that is not UTF-8.")
    if type(error).__name__ in _REQUEST_KINDS:
        return InvalidRequestError(f"The engine refuses the input: {one_line(error)}.")
    # The engine's status, too, is something to tell errors apart by.
    status = _PREFIX.match(str(error))
    named = f" ({status[1]})" if status and status[1] != "FAIL" else ""
    return InternalError(f"The engine failed{named}: {one_line(error)}.")


def _of_the_device(error: BaseException, hidden: str = "") -> ElasticInferenceError | None:
    """What is the device's fault, not the model's or the request's."""
    if is_out_of_memory(error):
        return AcceleratorOutOfMemoryError()
    if _DEVICE_FAILED.search(str(error)):
        return DeviceFailedError(
            f"The accelerator's device failed: {one_line(error, hidden)}.",
            next_step="Repeat the request: the accelerator is started again.",
        )
    return None


def _no_operator(operator: str, domain: str) -> ModelFormatError:
    where = domain or "ai.onnx"
    return ModelFormatError(
        f"The engine has no operator {operator} of domain {where!r}.",
        next_step="Operators of your own run on the instance, where their library is registered.",
    )
