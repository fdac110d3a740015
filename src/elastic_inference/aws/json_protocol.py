"""AWS JSON and REST with JSON."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import unquote

from botocore.model import OperationModel, ServiceModel

from elastic_inference.aws import times
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.form import read_fields
from elastic_inference.aws.members import Format, malformed, read_members, write_members
from elastic_inference.aws.protocol import (
    Parsed,
    error_headers,
    error_type,
    no_operation,
    operation_of,
)
from elastic_inference.control.front import HttpAnswer, HttpRequest
from elastic_inference.protocol.json_object import is_deep

_REST_TYPE = "application/json"


def _read_time(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return times.parse(value) if isinstance(value, str) else times.bounded(float(value))


FORMAT = Format(
    read_time=_read_time,
    read_blob=lambda value: base64.b64decode(value.encode("ascii"), validate=True),
    write_time=float,
    write_blob=lambda value: base64.b64encode(value).decode(),
)


class JsonProtocol:
    """AWS JSON: the operation in X-Amz-Target, parameters in the body."""

    def parse(self, service: str, model: ServiceModel, request: HttpRequest) -> Parsed:
        prefix, _, name = request.header("X-Amz-Target").rpartition(".")
        if prefix != model.metadata.get("targetPrefix"):
            raise no_operation(service, name)
        operation = operation_of(service, model, name)
        if request.query:
            raise malformed("Parameters belong in the body.")
        members = operation.input_shape.members if operation.input_shape is not None else {}
        return Parsed(operation, read_members(members, document(request.body), FORMAT))

    def answer(
        self, operation: OperationModel, result: Mapping[str, Any], request_id: str
    ) -> HttpAnswer:
        body = write_members(operation.output_shape, result, FORMAT)
        headers = [("x-amzn-RequestId", request_id)]
        return _answer(200, _type_of(operation.service_model), headers, body)

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> HttpAnswer:
        body = {**error.fields, "__type": error_type(model, error), "message": error.message}
        return _answer(error.status, _type_of(model), error_headers(model, error, request_id), body)


class RestJsonProtocol:
    """REST with JSON: the operation in method and path, parameters there and in the body."""

    def parse(self, service: str, model: ServiceModel, request: HttpRequest) -> Parsed:
        for name, method, pattern in _routes(model):
            match = pattern.fullmatch(request.path) if method == request.method else None
            if match:
                operation = model.operation_model(name)
                return Parsed(operation, _read(operation, request, match.groupdict()))
        raise no_operation(service, f"{request.method} {request.path}")

    def answer(
        self, operation: OperationModel, result: Mapping[str, Any], request_id: str
    ) -> HttpAnswer:
        body = write_members(operation.output_shape, result, FORMAT)
        return _answer(200, _REST_TYPE, [("x-amzn-RequestId", request_id)], body)

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> HttpAnswer:
        headers = error_headers(model, error, request_id)
        headers.append(("x-amzn-ErrorType", error_type(model, error)))
        body = {**error.fields, "message": error.message}
        return _answer(error.status, _REST_TYPE, headers, body)


def _read(
    operation: OperationModel, request: HttpRequest, labels: Mapping[str, str]
) -> dict[str, Any]:
    members: Mapping[str, Any] = (
        operation.input_shape.members if operation.input_shape is not None else {}
    )
    places = {name: each.serialization.get("location") for name, each in members.items()}
    in_body = {name: each for name, each in members.items() if places[name] is None}
    found = read_members(in_body, document(request.body), FORMAT)
    query = _several(request.query)
    for name, each in members.items():
        key = each.serialization.get("name", name)
        if places[name] == "uri":
            found[name] = _decoded(labels[key])
        elif places[name] == "querystring" and key in query:
            found[name] = _from_query(each, key, query.pop(key))
    if query:
        raise malformed(f"The parameter {min(query)[:64]!r} is not known.")
    return found


def _several(text: str) -> dict[str, list[str]]:
    """The fields of a query, in which a name may be there more than once."""
    found: dict[str, list[str]] = {}
    for name, value in read_fields(text):
        found.setdefault(name, []).append(value)
    return found


def _from_query(shape: Any, key: str, values: Sequence[str]) -> Any:
    if shape.type_name == "list":
        return list(values)
    if len(values) > 1 or shape.type_name != "string":
        raise malformed(f"The parameter {key!r} must be one text.")
    return values[0]


def _decoded(label: str) -> str:
    try:
        return unquote(label, errors="strict")
    except UnicodeDecodeError:
        raise malformed("The path is not UTF-8.") from None


@cache
def _routes(model: ServiceModel) -> list[tuple[str, str, re.Pattern[str]]]:
    found = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(http["requestUri"]))
        found.append((name, http["method"], re.compile(path)))
    return found


def document(body: bytes | None) -> dict[str, Any]:
    """The JSON object in a body; of nothing an empty one.

    Raises:
        AwsError: it is none, too deep, or names a key twice.
    """
    raw = body or b"{}"
    try:
        text = raw.decode()
        if is_deep(raw):
            raise ValueError("it is nested too deeply")
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise malformed(f"The body is not JSON: {str(error)[:128]}.") from None
    if not isinstance(found, dict):
        raise malformed("The body must be a JSON object.")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _type_of(model: ServiceModel | None) -> str:
    version = model.metadata.get("jsonVersion", "1.1") if model is not None else "1.1"
    return f"application/x-amz-json-{version}"


def _answer(
    status: int, content_type: str, headers: list[tuple[str, str]], body: Mapping[str, Any]
) -> HttpAnswer:
    return HttpAnswer(status, [("Content-Type", content_type), *headers], json.dumps(body).encode())
