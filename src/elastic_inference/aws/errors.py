"""Errors in AWS's words. What the control plane raises is mapped here, by service."""

from __future__ import annotations

from collections.abc import Mapping

from elastic_inference.errors import ElasticInferenceError
from elastic_inference.protocol.sigv4 import Fault, SignatureError


class AwsError(Exception):
    """An error as AWS's clients get it.

    Attributes:
        code: as clients look for it, such as InvalidInstanceID.NotFound.
        status: of HTTP.
        fields: further members of the error, where its shape has some.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields or {}


_EC2, _QUERY, _JSON = "ec2", "query", "json"
# How the services say what is wrong with a request, by the family that they are of.
_FAMILIES: Mapping[str, str] = {
    "ec2": _EC2,
    "iam": _QUERY,
    "sts": _QUERY,
    "autoscaling": _QUERY,
    "monitoring": _QUERY,
    "elastic-inference": _JSON,
}
_BY_KIND: Mapping[str, Mapping[str, tuple[str, int]]] = {
    _EC2: {
        "invalid-request": ("InvalidParameterValue", 400),
        "not-found": ("InvalidResourceID.NotFound", 400),
        "conflict": ("IncorrectState", 400),
        "access-denied": ("UnauthorizedOperation", 403),
        "unauthenticated": ("AuthFailure", 401),
        "insufficient-capacity": ("InsufficientInstanceCapacity", 503),
        "limit-exceeded": ("RequestLimitExceeded", 503),
        "unavailable": ("Unavailable", 503),
        "deadline-exceeded": ("Unavailable", 503),
    },
    _QUERY: {
        "invalid-request": ("ValidationError", 400),
        "not-found": ("NoSuchEntity", 404),
        "conflict": ("EntityAlreadyExists", 409),
        "access-denied": ("AccessDenied", 403),
        "unauthenticated": ("InvalidClientTokenId", 403),
        "insufficient-capacity": ("ResourceContention", 500),
        "limit-exceeded": ("LimitExceeded", 409),
        "unavailable": ("ServiceUnavailable", 503),
        "deadline-exceeded": ("ServiceUnavailable", 503),
    },
    _JSON: {
        "invalid-request": ("BadRequestException", 400),
        "not-found": ("ResourceNotFoundException", 404),
        "conflict": ("BadRequestException", 400),
        "access-denied": ("AccessDeniedException", 403),
        "unauthenticated": ("UnrecognizedClientException", 403),
        "limit-exceeded": ("ThrottlingException", 429),
        "unavailable": ("ServiceUnavailableException", 503),
        "deadline-exceeded": ("ServiceUnavailableException", 503),
    },
}
_INTERNAL: Mapping[str, tuple[str, int]] = {
    _EC2: ("InternalError", 500),
    _QUERY: ("InternalFailure", 500),
    _JSON: ("InternalServerException", 500),
}
_FAULTS: Mapping[str, Mapping[Fault, tuple[str, int]]] = {
    _EC2: {
        Fault.MISSING: ("MissingAuthenticationToken", 403),
        Fault.MALFORMED: ("IncompleteSignature", 400),
        Fault.SKEW: ("RequestExpired", 400),
        Fault.EXPIRED: ("RequestExpired", 400),
        Fault.MISMATCH: ("SignatureDoesNotMatch", 403),
    },
    _QUERY: {
        Fault.MISSING: ("MissingAuthenticationToken", 403),
        Fault.MALFORMED: ("IncompleteSignature", 400),
        Fault.SKEW: ("SignatureDoesNotMatch", 403),
        Fault.SCOPE: ("SignatureDoesNotMatch", 403),
        Fault.UNSIGNED: ("SignatureDoesNotMatch", 403),
        Fault.MISMATCH: ("SignatureDoesNotMatch", 403),
        Fault.EXPIRED: ("ExpiredToken", 403),
    },
    _JSON: {
        Fault.MISSING: ("MissingAuthenticationTokenException", 403),
        Fault.MALFORMED: ("IncompleteSignatureException", 400),
        Fault.SKEW: ("InvalidSignatureException", 403),
        Fault.SCOPE: ("InvalidSignatureException", 403),
        Fault.UNSIGNED: ("InvalidSignatureException", 403),
        Fault.MISMATCH: ("InvalidSignatureException", 403),
        Fault.EXPIRED: ("ExpiredTokenException", 403),
    },
}


def family(service: str) -> str:
    """How a service says what is wrong: as `ec2`, as those with `query`, or as those with JSON."""
    return _FAMILIES.get(service, _QUERY)


def translate(error: ElasticInferenceError, service: str) -> AwsError:
    """The error as a service says it."""
    words = family(service)
    code, status = _BY_KIND[words].get(error.kind, _INTERNAL[words])
    if isinstance(error, SignatureError):
        code, status = _FAULTS[words].get(error.fault, (code, status))
    return AwsError(code, said(error), status)


def said(error: ElasticInferenceError) -> str:
    """What happened and the next step, in one line."""
    return f"{error.message} {error.next_step}".strip()


def internal(service: str) -> AwsError:
    """What is said of a defect."""
    code, status = _INTERNAL[family(service)]
    return AwsError(code, "The pool failed to do this. Its log says why.", status)


def invalid(service: str, message: str) -> AwsError:
    """A parameter is not what it must be."""
    return AwsError(_BY_KIND[family(service)]["invalid-request"][0], message)


def missing(service: str, name: str) -> AwsError:
    """A parameter is not there."""
    if family(service) == _EC2 or service == "monitoring":
        return AwsError("MissingParameter", f"The request must contain the parameter {name}")
    return invalid(service, f"The parameter {name} is missing.")


def used_token() -> AwsError:
    """A client token came again, and other parameters with it."""
    return AwsError(
        "IdempotentParameterMismatch",
        "The client token was used for a request with other parameters. Take another one.",
    )


def unsupported(message: str) -> AwsError:
    """Something of AWS's that a pool does not do."""
    return AwsError("UnsupportedOperation", message)
