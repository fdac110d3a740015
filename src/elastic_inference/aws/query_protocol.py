"""EC2's protocol and the query protocol: forms in, XML out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.model import OperationModel, ServiceModel

from elastic_inference.aws import form
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.protocol import Parsed, operation_of, side
from elastic_inference.aws.xml_writer import XmlWriter, text
from elastic_inference.control.front import HttpAnswer, HttpRequest

_CONTENT_TYPE = "text/xml;charset=UTF-8"
# Of the request itself, not of an operation.
_OWN = ("Action", "Version")
_VERSION = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class QueryProtocol:
    """The query protocol; with `ec2` EC2's kind of it."""

    def __init__(self, *, ec2: bool = False) -> None:
        self._ec2 = ec2
        self._reader = form.FormReader(ec2=ec2)
        self._writer = XmlWriter(ec2=ec2)

    def parse(self, service: str, model: ServiceModel, request: HttpRequest) -> Parsed:
        if request.method not in {"GET", "POST"}:
            raise AwsError("InvalidAction", f"Send a POST, not a {request.method}.", 405)
        pairs = form.read_pairs(_form_of(request))
        name = pairs.get("Action", "")
        if not name:
            raise AwsError("MissingAction", "The request must contain the parameter Action")
        version = pairs.get("Version", model.api_version)
        if not _VERSION.fullmatch(version) or version > model.api_version:
            raise AwsError("NoSuchVersion", f"There is no version {version[:32]!r} of {service}.")
        operation = operation_of(service, model, name)
        given = {key: value for key, value in pairs.items() if key not in _OWN}
        return Parsed(operation, self._reader.read(operation.input_shape, given))

    def answer(
        self, operation: OperationModel, result: Mapping[str, Any], request_id: str
    ) -> HttpAnswer:
        shape = operation.output_shape
        inner = self._writer.members(shape, result)
        space = operation.service_model.metadata.get("xmlNamespace", "")
        if self._ec2:
            inner = f"<requestId>{request_id}</requestId>{inner}"
        else:
            wrapper = shape.serialization.get("resultWrapper") if shape is not None else None
            inner = f"<{wrapper}>{inner}</{wrapper}>" if wrapper else inner
            inner += f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        name = f"{operation.name}Response"
        return _xml(200, f'<{name} xmlns="{space}">{inner}</{name}>', request_id)

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> HttpAnswer:
        parts = {"Code": error.code, "Message": error.message, **error.fields}
        inner = "".join(f"<{name}>{text(value)}</{name}>" for name, value in parts.items())
        if self._ec2:
            body = (
                f"<Response><Errors><Error>{inner}</Error></Errors>"
                f"<RequestID>{request_id}</RequestID></Response>"
            )
        else:
            space = model.metadata.get("xmlNamespace", "") if model is not None else ""
            body = (
                f'<ErrorResponse xmlns="{space}"><Error><Type>{side(error)}</Type>{inner}</Error>'
                f"<RequestId>{request_id}</RequestId></ErrorResponse>"
            )
        return _xml(error.status, body, request_id)


def _form_of(request: HttpRequest) -> str:
    """The parameters, which may be in the URL's query and in the body."""
    try:
        body = (request.body or b"").decode("ascii")
    except UnicodeDecodeError:
        raise AwsError(
            "MalformedQueryString", "Characters beyond ASCII must be percent-encoded."
        ) from None
    return "&".join(filter(None, (request.query, body)))


def _xml(status: int, body: str, request_id: str) -> HttpAnswer:
    headers = [("Content-Type", _CONTENT_TYPE), ("x-amzn-RequestId", request_id)]
    return HttpAnswer(status, headers, ('<?xml version="1.0" encoding="UTF-8"?>\n' + body).encode())
