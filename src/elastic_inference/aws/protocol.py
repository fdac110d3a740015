"""What a wire protocol does: requests to parameters, results and errors to answers."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.model import OperationModel, ServiceModel

from elastic_inference.aws.errors import AwsError
from elastic_inference.control.front import HttpAnswer, HttpRequest

# Alarms and dashboards are parts of CloudWatch that a pool lacks, and no misspelt names.
_NOT_OFFERED = {"monitoring": "UnsupportedOperation"}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A request that was read.

    Attributes:
        operation: which it is for.
        input: its parameters by the names of the model's members.
    """

    operation: OperationModel
    input: Mapping[str, Any]


class WireProtocol(Protocol):
    """A wire protocol of AWS's."""

    def parse(self, service: str, model: ServiceModel, request: HttpRequest) -> Parsed:
        """Read a request, whose body is not compressed.

        Raises:
            AwsError: it is malformed, or there is no such operation in the model.
        """

    def answer(
        self, operation: OperationModel, result: Mapping[str, Any], request_id: str
    ) -> HttpAnswer:
        """A result as an answer.

        Raises:
            ValueError: the result is none of the operation.
        """

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> HttpAnswer:
        """An error as an answer; `model` is of the service, if that is known."""


def new_request_id() -> str:
    return str(uuid.uuid4())


def no_operation(service: str, name: str, code: str = "InvalidAction") -> AwsError:
    """There is none of that name."""
    return AwsError(code, f"There is no operation {name[:64]!r} of {service} here.")


def not_offered(service: str, name: str) -> AwsError:
    """AWS has an operation of that name, and a pool has none."""
    return no_operation(service, name, _NOT_OFFERED.get(service, "InvalidAction"))


def operation_of(service: str, model: ServiceModel, name: str) -> OperationModel:
    """The operation of that name.

    Raises:
        AwsError: there is none.
    """
    if name not in model.operation_names:
        raise no_operation(service, name)
    return model.operation_model(name)


def error_type(model: ServiceModel | None, error: AwsError) -> str:
    """The shape of an error in the model, by which JSON and CBOR name it; its code if none is."""
    shape = model.shape_for_error_code(error.code) if model is not None else None
    return str(shape.name) if shape is not None else error.code


def error_headers(
    model: ServiceModel | None, error: AwsError, request_id: str
) -> list[tuple[str, str]]:
    """Headers of an error in JSON or CBOR.

    Clients of a service that once had the query protocol know its errors by that protocol's codes.
    """
    headers = [("x-amzn-RequestId", request_id)]
    if model is not None and "awsQueryCompatible" in model.metadata:
        headers.append(("x-amzn-query-error", f"{error.code};{side(error)}"))
    return headers


def side(error: AwsError) -> str:
    """Whose fault an error is, in AWS's word."""
    return "Sender" if error.status < 500 else "Receiver"


def finite(number: float) -> float:
    """The number, if it is one.

    Raises:
        ValueError: it is infinite or none.
    """
    if not math.isfinite(number):
        raise ValueError(number)
    return number
