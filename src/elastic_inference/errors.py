"""The error tree.

    ElasticInferenceError
    ├── InvalidRequestError             the caller's input is wrong; repeating it cannot help
    │   ├── ModelFormatError            a model file is corrupt, hostile or of an unknown kind
    │   └── PayloadTooLargeError        a body, head or model is over its limit
    ├── NotFoundError                   no such model, accelerator, instance, blob or region
    ├── ConflictError                   the state does not allow it (an upload at another offset)
    ├── AuthenticationError             no valid token or signature           EI [3, 16, 8]
    ├── AccessDeniedError               known, but not allowed                EI [3, 16, 8]
    ├── AcceleratorOutOfMemoryError     the slice's memory would be passed    EI [51, 8, 31]
    ├── InsufficientCapacityError       no node has room for the accelerator
    ├── LimitExceededError              a bounded queue, count or rate is full; later may work
    ├── UnavailableError                not there now: draining, starting, lost
    │   └── AcceleratorLostError        the accelerator died or the link was cut
    ├── DeadlineExceededError           the work did not end in its time
    ├── ConfigurationError              a setting, file or environment of the user is wrong
    └── InternalError                   a defect or an engine failure         EI [12, 5, 13]

Every error says what happened and, where there is one, the next step. The EI error code
triples and their texts are those of the original client library. HTTP, gRPC, AWS and
framework errors are mapped from `kind` at the edges, never here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from elastic_inference._version import __version__

EICode = tuple[int, int, int]


class ElasticInferenceError(Exception):
    """The root of everything that Elastic Inference raises.

    Attributes:
        message: what happened, in one line.
        next_step: what the reader can do about it, or "".
        request_id: the request that failed, or "".
        accelerator_id: `eia-…` where one is concerned, or "".
        ei_code: the original's error code triple, or None.
        client_version: the version of this library where the error was made.
    """

    kind: ClassVar[str] = "error"
    ei_code: ClassVar[EICode | None] = None
    default_next_step: ClassVar[str] = ""

    def __init__(
        self,
        message: str = "",
        *,
        next_step: str | None = None,
        request_id: str = "",
        accelerator_id: str = "",
    ) -> None:
        self.message = message or (self.__doc__ or "").split("\n", 1)[0]
        self.next_step = self.default_next_step if next_step is None else next_step
        self.request_id = request_id
        self.accelerator_id = accelerator_id
        self.client_version = __version__
        super().__init__(self.message)

    def __str__(self) -> str:
        text = self.message
        if self.next_step:
            text = f"{text} {self.next_step}"
        details = []
        if self.ei_code is not None:
            details.append(f"EI Error Code: {list(self.ei_code)}")
        if self.request_id:
            details.append(f"EI Request ID: {self.request_id}")
        if self.accelerator_id:
            details.append(f"EI Accelerator ID: {self.accelerator_id}")
        if details:
            details.append(f"EI Client Version: {self.client_version}")
            text = f"{text} ({', '.join(details)})"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.to_dict()))

    def with_context(
        self, *, request_id: str = "", accelerator_id: str = ""
    ) -> ElasticInferenceError:
        """Fill in what the raiser could not know; what is set already stays."""
        self.request_id = self.request_id or request_id
        self.accelerator_id = self.accelerator_id or accelerator_id
        return self

    def to_dict(self) -> dict[str, Any]:
        """The wire form: `error` as the Open Inference Protocol has it, and our details."""
        body: dict[str, Any] = {"error": self.message, "kind": self.kind}
        if self.next_step:
            body["next_step"] = self.next_step
        if self.ei_code is not None:
            body["ei_error_code"] = list(self.ei_code)
        if self.request_id:
            body["request_id"] = self.request_id
        if self.accelerator_id:
            body["accelerator_id"] = self.accelerator_id
        return body


class InvalidRequestError(ElasticInferenceError):
    """The request is not valid."""

    kind = "invalid-request"


class ModelFormatError(InvalidRequestError):
    """The model file is corrupt or not one that can be run."""

    kind = "model-format"


class PayloadTooLargeError(InvalidRequestError):
    """The request is larger than its limit."""

    kind = "too-large"


class NotFoundError(ElasticInferenceError):
    """There is no such thing."""

    kind = "not-found"


class ConflictError(ElasticInferenceError):
    """The present state does not allow this."""

    kind = "conflict"


class AuthenticationError(ElasticInferenceError):
    """Unable to authenticate with accelerator."""

    kind = "unauthenticated"
    ei_code = (3, 16, 8)


class AccessDeniedError(ElasticInferenceError):
    """Unable to authenticate with accelerator: access denied."""

    kind = "access-denied"
    ei_code = (3, 16, 8)


class AcceleratorOutOfMemoryError(ElasticInferenceError):
    """Accelerator out of memory."""

    kind = "out-of-memory"
    ei_code = (51, 8, 31)
    default_next_step = "Consider using a larger accelerator."


class InsufficientCapacityError(ElasticInferenceError):
    """No node has room for the accelerator."""

    kind = "insufficient-capacity"


class LimitExceededError(ElasticInferenceError):
    """A limit is reached."""

    kind = "limit-exceeded"


class UnavailableError(ElasticInferenceError):
    """The accelerator is not available."""

    kind = "unavailable"


class AcceleratorLostError(UnavailableError):
    """The connection to the accelerator was lost."""

    kind = "accelerator-lost"


class DeadlineExceededError(ElasticInferenceError):
    """The work did not end in its time."""

    kind = "deadline-exceeded"


class ConfigurationError(ElasticInferenceError):
    """The configuration is wrong."""

    kind = "configuration"


class InternalError(ElasticInferenceError):
    """Internal error."""

    kind = "internal"
    ei_code = (12, 5, 13)


def _subclasses(cls: type[ElasticInferenceError]) -> list[type[ElasticInferenceError]]:
    found = [cls]
    for sub in cls.__subclasses__():
        found.extend(_subclasses(sub))
    return found


def from_dict(
    body: Mapping[str, Any], fallback: type[ElasticInferenceError] = InternalError
) -> ElasticInferenceError:
    """The error that `to_dict` described; an unknown kind becomes `fallback`.

    The body comes from another machine, so every field is taken as text and bounded.
    """
    # A class of another package that mixes in one of ours shares its kind: ours is meant.
    kinds = {cls.kind: cls for cls in _subclasses(ElasticInferenceError) if "kind" in vars(cls)}
    cls = kinds.get(str(body.get("kind", "")), fallback)
    return cls(
        str(body.get("error", ""))[:4096],
        next_step=str(body["next_step"])[:1024] if "next_step" in body else None,
        request_id=str(body.get("request_id", ""))[:128],
        accelerator_id=str(body.get("accelerator_id", ""))[:128],
    )


def _rebuild(cls: type[ElasticInferenceError], body: dict[str, Any]) -> ElasticInferenceError:
    return from_dict(body, cls)
