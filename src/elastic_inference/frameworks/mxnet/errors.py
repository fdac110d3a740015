"""Errors as MXNet's callers know them.

What MXNet raises for the same mistake is raised here too, in its words, by classes that are both
the one that MXNet raises and of our own tree, so that either `except` clause finds them.
"""

from __future__ import annotations

import secrets
from typing import Any

from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ElasticInferenceError,
    InvalidRequestError,
)
from elastic_inference.frameworks.mxnet import log
from elastic_inference.frameworks.twofold import both, is_both, like

_UNKNOWN = [12, 5, 13]
_OUT_OF_MEMORY = AcceleratorOutOfMemoryError
# Where the original's messages come from, which its users search for.
_SUBGRAPH = "src/operator/subgraph/eia/eia_subgraph_op.cc:206"


class MXNetError(ElasticInferenceError, RuntimeError):
    """What MXNet's engine refuses or fails at."""

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,)


class NotImplementedForSymbol(MXNetError):  # noqa: N818 - MXNet's name
    """What arrays do and symbols do not."""


class NoAcceleratorError(MXNetError):
    """No accelerator is attached to this process."""


def mxnet_error(source: str, message: str) -> MXNetError:
    """MXNet's error of its source file and line `source`."""
    return MXNetError(log.line(source, message))


def value_error(message: str) -> ElasticInferenceError:
    """A ValueError of ours."""
    return both((ValueError,), InvalidRequestError)(message)


def type_error(message: str) -> ElasticInferenceError:
    """A TypeError of ours."""
    return both((TypeError,), InvalidRequestError)(message)


def runtime_error(message: str) -> ElasticInferenceError:
    """A RuntimeError of ours."""
    return both((RuntimeError,), InvalidRequestError)(message)


def key_error(message: str) -> ElasticInferenceError:
    """A KeyError of ours."""
    return both((KeyError,), InvalidRequestError)(message)


def assertion_error(message: str) -> ElasticInferenceError:
    """An AssertionError of ours."""
    return both((AssertionError,), InvalidRequestError)(message)


def index_error(message: str) -> ElasticInferenceError:
    """An IndexError of ours."""
    return both((IndexError,), InvalidRequestError)(message)


def no_accelerator(error: ElasticInferenceError) -> NoAcceleratorError:
    """The original's error where no accelerator is attached."""
    return NoAcceleratorError(
        "Error: Failed to query accelerator metadata.\nFailed to detect any accelerator\n"
        f"{error.message}",
        next_step="Start the application under `ei run --accelerator TYPE -- COMMAND`.",
    )


def no_gpu(source: str = "src/imperative/./imperative_utils.h:90") -> MXNetError:
    """The original's error for any use of `mx.gpu()`."""
    return mxnet_error(
        source, "GPU support is disabled. Compile MXNet with USE_CUDA=1 to enable GPU support."
    )


def inference_only(what: str) -> ElasticInferenceError:
    """The error for what training alone needs."""
    return mxnet_error(
        "src/executor/graph_executor.cc:89",
        f"{what} is not supported: Elastic Inference runs inference only.",
    )


def translate(error: ElasticInferenceError) -> ElasticInferenceError:
    """`error` of the accelerator as MXNet with Elastic Inference reports it."""
    if is_both(error) or isinstance(error, MXNetError):
        return error
    cls = both((MXNetError,), type(error), {"__str__": _in_the_original_s_form})
    twin = like(cls, error)
    twin.__dict__["report"] = log.line(_SUBGRAPH, _report(error))
    return twin


def _in_the_original_s_form(error: ElasticInferenceError) -> str:
    report: str = error.__dict__.get("report") or _report(error)
    return report


def _report(error: ElasticInferenceError) -> str:
    code = list(error.ei_code) if error.ei_code is not None else _UNKNOWN
    description = f"{error.message} {error.next_step}".rstrip()
    if isinstance(error, _OUT_OF_MEMORY):
        plain = f"{_OUT_OF_MEMORY.__doc__} {_OUT_OF_MEMORY.default_next_step}"
        description = plain if description == plain else f"{plain} ({error.message})"
    return (
        "Last Error:\n"
        f"  EI Error Code: {code}\n"
        f"  EI Error Description: {description}\n"
        f"  EI Request ID: {_request_id(error)} -- EI Accelerator ID: {error.accelerator_id}\n"
        f"  EI Client Version: {error.client_version}"
    )


def _request_id(error: ElasticInferenceError) -> str:
    """The request's id as the original writes it; a failure before any request has one too."""
    known = error.request_id
    if known.startswith("MX-"):
        return known
    if not known:
        digits = secrets.token_hex(16)
        known = "-".join(
            digits[first:last] for first, last in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
        )
    return f"MX-{known.upper()}"
