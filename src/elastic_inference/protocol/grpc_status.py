"""gRPC's status codes, and which of them each kind of error becomes.

See https://github.com/grpc/grpc/blob/master/doc/statuscodes.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
ABORTED = 10
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
UNAUTHENTICATED = 16

GRPC_STATUS_BY_KIND: Mapping[str, int] = MappingProxyType(
    {
        "invalid-request": INVALID_ARGUMENT,
        "model-format": INVALID_ARGUMENT,
        "unauthenticated": UNAUTHENTICATED,
        "access-denied": PERMISSION_DENIED,
        "not-found": NOT_FOUND,
        "conflict": ABORTED,
        "too-large": RESOURCE_EXHAUSTED,
        "limit-exceeded": RESOURCE_EXHAUSTED,
        "out-of-memory": RESOURCE_EXHAUSTED,
        "insufficient-capacity": RESOURCE_EXHAUSTED,
        "internal": INTERNAL,
        "unavailable": UNAVAILABLE,
        "accelerator-lost": UNAVAILABLE,
        "deadline-exceeded": DEADLINE_EXCEEDED,
    }
)
