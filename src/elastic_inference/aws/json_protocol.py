"""AWS JSON and REST with JSON."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.model import OperationModel, ServiceModel

from elastic_inference.aws import times
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.protocol import Parsed, finite, no_operation, operation_of
from elastic_inference.control.front import HttpAnswer, HttpRequest


class JsonProtocol:
    """AWS JSON: the operation in X-Amz-Target, parameters in the body."""

    def parse(self, service: str, model: ServiceModel, request: HttpRequest) -> Parsed:
        prefix, _, name = request.header("X-Amz-Target").rpartition(".")
        if prefix != model.metadata.get("targetPrefix"):
            raise no_operation(service, name)
        operation = operation_of(service, model, name)
        return Parsed(operation, read_members(operation.input_shape, document(request.body)))

    def answer(
        self, operation: OperationModel, result: Mapping[str, Any], request_id: str
    ) -> HttpAnswer:
        version = operation.service_model.metadata.get("jsonVersion", "1.1")
        body = write_members(operation.output_shape, result)
        return _json(200, f"application/x-amz-json-{version}", body, request_id)

    def error(self, error: AwsError, request_id: str) -> HttpAnswer:
        body = {"__type": error.code, "message": error.message, **error.fields}
        return _json(error.status, "application/x-amz-json-1.1", body, request_id)


class RestJsonProtocol:
    """REST with JSON: the operation in method and path, parameters there and in the body."""

    def parse(self, service: str, model: ServiceModel, request: HttpRequest) -> Parsed:
        for name, method, pattern in _routes(model):
            match = pattern.fullmatch(request.path) if method == request.method else None
            if match:
                operation = model.operation_model(name)
                labels = {key: unquote(value) for key, value in match.groupdict().items()}
                return Parsed(operation, self._read(operation, request, labels))
        raise no_operation(service, f"{request.method} {request.path}")

    def _read(
        self, operation: OperationModel, request: HttpRequest, labels: Mapping[str, str]
    ) -> dict[str, Any]:
        shape: Any = operation.input_shape
        if shape is None:
            return {}
        found = read_members(shape, document(request.body))
        query = parse_qs(request.query, keep_blank_values=True, max_num_fields=1000)
        names = set()
        for name, member in shape.members.items():
            place, key = (
                member.serialization.get("location"),
                member.serialization.get("name", name),
            )
            if place == "uri":
                found[name] = labels[key]
            elif place == "querystring":
                names.add(key)
                if key in query:
                    found[name] = query[key] if member.type_name == "list" else query[key][0]
        for key in query:
            if key not in names:
                raise _malformed(f"The parameter {key[:64]!r} is not known.")
        return found

    def answer(
        self, operation: OperationModel, result: Mapping[str, Any], request_id: str
    ) -> HttpAnswer:
        body = write_members(operation.output_shape, result)
        return _json(200, "application/json", body, request_id)

    def error(self, error: AwsError, request_id: str) -> HttpAnswer:
        body = {"message": error.message, **error.fields}
        answer = _json(error.status, "application/json", body, request_id)
        headers = [*answer.headers, ("x-amzn-ErrorType", error.code)]
        return HttpAnswer(answer.status, headers, answer.body)


@cache
def _routes(model: ServiceModel) -> list[tuple[str, str, re.Pattern[str]]]:
    found = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(http["requestUri"]))
        found.append((name, http["method"], re.compile(path)))
    return found


def document(body: bytes | None) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        AwsError: there is none.
    """
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise AwsError("SerializationException", "The body must be a JSON object.")
    return found


def read_members(shape: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a structure that came as JSON.

    Raises:
        AwsError: one is not known, or is of another type.
    """
    members = shape.members if shape is not None else {}
    by_key = {each.serialization.get("name", name): name for name, each in members.items()}
    found = {}
    for key, value in given.items():
        if key not in by_key:
            raise _malformed(f"The parameter {key[:64]!r} is not known.")
        if value is not None:
            found[by_key[key]] = _read(members[by_key[key]], value, key)
    return found


def _read(shape: Any, value: Any, path: str) -> Any:
    kind = shape.type_name
    match kind, value:
        case "structure", dict():
            return read_members(shape, value)
        case "list", list():
            return [_read(shape.member, each, path) for each in value]
        case "map", dict():
            return {key: _read(shape.value, each, path) for key, each in value.items()}
    try:
        return _SCALARS[kind](value)
    except (KeyError, ValueError, OverflowError, binascii.Error, TypeError):
        raise _malformed(f"The parameter {path[:64]!r} must be a {kind}.") from None


def _exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        # A truth value is a number to Python.
        if type(value) is not kind:
            raise TypeError(value)
        return value

    return read


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return finite(float(value))


_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "string": _exactly(str),
    "boolean": _exactly(bool),
    "integer": _exactly(int),
    "long": _exactly(int),
    "float": _number,
    "double": _number,
    "timestamp": lambda value: (
        times.parse(value) if isinstance(value, str) else times.bounded(_number(value))
    ),
    "blob": lambda value: base64.b64decode(_exactly(str)(value), validate=True),
}


def write_members(shape: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """A structure as JSON has it."""
    members = shape.members if shape is not None else {}
    return {
        member.serialization.get("name", name): _write(member, values[name])
        for name, member in members.items()
        if values.get(name) is not None
    }


def _write(shape: Any, value: Any) -> Any:
    match shape.type_name:
        case "structure":
            return write_members(shape, value)
        case "list":
            return [_write(shape.member, each) for each in value]
        case "map":
            return {key: _write(shape.value, each) for key, each in value.items()}
        case "blob":
            return base64.b64encode(value).decode()
        case _:
            return value


def _malformed(why: str) -> AwsError:
    return AwsError("SerializationException", why)


def _json(status: int, content_type: str, body: Mapping[str, Any], request_id: str) -> HttpAnswer:
    headers = [("Content-Type", content_type), ("x-amzn-RequestId", request_id)]
    return HttpAnswer(status, headers, json.dumps(body).encode())
