"""Smithy's RPC v2 with CBOR, which CloudWatch's newest clients speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.model import OperationModel, ServiceModel

from elastic_inference.aws import cbor, times
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.members import Format, malformed, read_members, write_members
from elastic_inference.aws.protocol import (
    Parsed,
    error_headers,
    error_type,
    no_operation,
    operation_of,
)
from elastic_inference.control.front import HttpAnswer, HttpRequest

_HEADERS = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]


def _read_time(value: Any) -> float:
    if not isinstance(value, cbor.Moment):
        raise TypeError(value)
    return times.bounded(value.seconds)


def _read_blob(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(value)
    return value


FORMAT = Format(
    read_time=_read_time,
    read_blob=_read_blob,
    write_time=lambda seconds: cbor.Moment(float(seconds)),
    write_blob=bytes,
)


class CborProtocol:
    """RPC v2: service and operation in the path, parameters in the body."""

    def parse(self, service: str, model: ServiceModel, request: HttpRequest) -> Parsed:
        prefix = f"/service/{model.metadata.get('targetPrefix')}/operation/"
        name = request.path.removeprefix(prefix)
        if request.method != "POST" or name == request.path:
            raise no_operation(service, request.path)
        operation = operation_of(service, model, name)
        if request.query:
            raise malformed("Parameters belong in the body.")
        members = operation.input_shape.members if operation.input_shape is not None else {}
        return Parsed(operation, read_members(members, _document(request.body), FORMAT))

    def answer(
        self, operation: OperationModel, result: Mapping[str, Any], request_id: str
    ) -> HttpAnswer:
        body = write_members(operation.output_shape, result, FORMAT)
        headers = [*_HEADERS, ("x-amzn-RequestId", request_id)]
        return HttpAnswer(200, headers, cbor.encode(body))

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> HttpAnswer:
        body = {**error.fields, "__type": error_type(model, error), "message": error.message}
        headers = [*_HEADERS, *error_headers(model, error, request_id)]
        return HttpAnswer(error.status, headers, cbor.encode(body))


def _document(body: bytes | None) -> Mapping[str, Any]:
    try:
        found = cbor.decode(body) if body else {}
    except ValueError as error:
        raise malformed(f"The body is not CBOR: {str(error)[:128]}.") from None
    if not isinstance(found, dict):
        raise malformed("The body must be a map.")
    return found
