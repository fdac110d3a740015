"""What a client of a model server is told of an error: gRPC's code, HTTP's and the words.

https://github.com/tensorflow/serving/blob/master/tensorflow_serving/model_servers/http_server.cc
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from elastic_inference.errors import (
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    LimitExceededError,
)

_log = logging.getLogger(__name__)
# What TensorFlow Serving cuts a message to: gRPC carries it in a head of bounded size.
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Status:
    """How a request ended.

    Attributes:
        name, code: gRPC's.
        http: HTTP's code.
    """

    name: str
    code: int
    http: int


OK = Status("OK", 0, 200)
# gRPC's own order; HTTP's codes are those that TensorFlow Serving gives for them.
_ALL = (
    OK,
    Status("CANCELLED", 1, 499),
    Status("UNKNOWN", 2, 500),
    Status("INVALID_ARGUMENT", 3, 400),
    Status("DEADLINE_EXCEEDED", 4, 504),
    Status("NOT_FOUND", 5, 404),
    Status("ALREADY_EXISTS", 6, 409),
    Status("PERMISSION_DENIED", 7, 403),
    Status("RESOURCE_EXHAUSTED", 8, 429),
    Status("FAILED_PRECONDITION", 9, 400),
    Status("ABORTED", 10, 409),
    Status("OUT_OF_RANGE", 11, 400),
    Status("UNIMPLEMENTED", 12, 501),
    Status("INTERNAL", 13, 500),
    Status("UNAVAILABLE", 14, 503),
    Status("DATA_LOSS", 15, 500),
    Status("UNAUTHENTICATED", 16, 401),
)
BY_NAME: Mapping[str, Status] = MappingProxyType({each.name: each for each in _ALL})
# By `ElasticInferenceError.kind`.
_BY_KIND: Mapping[str, Status] = MappingProxyType(
    {
        kind: BY_NAME[name]
        for kind, name in {
            "error": "UNKNOWN",
            "invalid-request": "INVALID_ARGUMENT",
            "model-format": "INVALID_ARGUMENT",
            "too-large": "INVALID_ARGUMENT",
            "not-found": "NOT_FOUND",
            "conflict": "FAILED_PRECONDITION",
            "unauthenticated": "UNAUTHENTICATED",
            "access-denied": "PERMISSION_DENIED",
            "out-of-memory": "RESOURCE_EXHAUSTED",
            "insufficient-capacity": "RESOURCE_EXHAUSTED",
            "limit-exceeded": "RESOURCE_EXHAUSTED",
            "unavailable": "UNAVAILABLE",
            "accelerator-lost": "UNAVAILABLE",
            "deadline-exceeded": "DEADLINE_EXCEEDED",
            "configuration": "INTERNAL",
            "internal": "INTERNAL",
        }.items()
    }
)


class UnsupportedError(InvalidRequestError):
    """The request is valid, but asks for what is not there."""


def status_of(error: ElasticInferenceError) -> Status:
    """What the error is to a client."""
    if isinstance(error, UnsupportedError):
        return BY_NAME["UNIMPLEMENTED"]
    return _BY_KIND.get(error.kind, BY_NAME["INTERNAL"])


def words_of(error: ElasticInferenceError) -> str:
    """What a client reads: what happened, and the next step."""
    text = f"{error.message} {error.next_step}" if error.next_step else error.message
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "...TRUNCATED"


def known(error: Exception, what: str) -> ElasticInferenceError:
    """`error` itself, or what stands for one that nobody expected; that one is logged.

    Args:
        what: the request, for the log.
    """
    if isinstance(error, ElasticInferenceError):
        return error
    if isinstance(error, MemoryError):
        return LimitExceededError(
            "The model server has no memory left for this request.",
            next_step="Send smaller or fewer requests at a time.",
        )
    _log.error("%s failed.", what, exc_info=error)
    return InternalError(
        "The model server failed on this request.", next_step="Its log says why; report it."
    )
