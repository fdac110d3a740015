"""Answers a request of AWS's: whose it is, what it wants, whether that may be, and the doing."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from functools import cached_property

from elastic_inference.aws import errors, registry, validation
from elastic_inference.aws.call import Call, Operation, Operations
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.json_protocol import JsonProtocol, RestJsonProtocol
from elastic_inference.aws.models import SERVICES, protocols, service_model
from elastic_inference.aws.protocol import Parsed, WireProtocol, new_request_id, no_operation
from elastic_inference.aws.query_protocol import QueryProtocol
from elastic_inference.control.access import Principal
from elastic_inference.control.caller import Caller
from elastic_inference.control.front import HttpAnswer, HttpRequest
from elastic_inference.control.plane import ControlPlane
from elastic_inference.errors import ElasticInferenceError

_log = logging.getLogger(__name__)
_SCOPE = re.compile(r"Credential=[^/,\s]{1,128}/[0-9]{1,8}/[^/,\s]{1,64}/([a-z0-9.-]{1,64})/")
# The services that are the same in all regions sign for this one.
_GLOBAL = frozenset({"iam", "sts"})
_GLOBAL_REGION = "us-east-1"
_PROTOCOLS: Mapping[str, WireProtocol] = {
    "ec2": QueryProtocol(ec2=True),
    "query": QueryProtocol(),
    "json": JsonProtocol(),
    "rest-json": RestJsonProtocol(),
}


class Gateway:
    """AWS's APIs over a control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    @cached_property
    def operations(self) -> Mapping[str, Operations]:
        """What there is, by service and name."""
        return {service: registry.operations(service, self._plane) for service in SERVICES}

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request; it raises nothing."""
        request_id = new_request_id()
        service = _service(request)
        protocol = _protocol(service, request)
        try:
            return self._answer(service, protocol, request, request_id)
        except AwsError as error:
            return protocol.error(error, request_id)
        except ElasticInferenceError as error:
            return protocol.error(errors.translate(error, service), request_id)
        except Exception:  # noqa: BLE001 - one request must not end the thread unanswered
            _log.exception("The request %s of %s failed", request_id, service)
            return protocol.error(errors.internal(service), request_id)

    def _answer(
        self, service: str, protocol: WireProtocol, request: HttpRequest, request_id: str
    ) -> HttpAnswer:
        if request.body is None:
            raise AwsError("RequestEntityTooLarge", "The body is larger than 1 MiB.", 413)
        if service not in SERVICES:
            raise AwsError("UnsupportedOperation", f"There is no service {service!r} here.")
        principal = self._authenticate(service, request, request.body)
        model = service_model(service)
        parsed = protocol.parse(service, model, request)
        operation = self.operations[service].get(parsed.operation.name)
        if operation is None:
            raise no_operation(service, parsed.operation.name)
        validation.check(service, parsed.operation.input_shape, parsed.input)
        given = {key: value for key, value in parsed.input.items() if key != "DryRun"}
        caller = Caller.of(principal, request.own, request.peer, "")
        call = Call(parsed.operation.name, given, caller, request_id)
        self._authorise(service, operation, call)
        validation.check_honoured(parsed.operation.input_shape, given, operation.honours)
        _check_dry_run(parsed)
        return protocol.answer(parsed.operation, operation.run(call), request_id)

    def _authenticate(self, service: str, request: HttpRequest, body: bytes) -> Principal:
        return self._plane.access.authenticate(
            request.method,
            request.target,
            request.headers,
            body,
            service=service,
            regions=self._regions(service),
        )

    def _regions(self, service: str) -> Collection[str]:
        region = self._plane.settings.region
        return {region, _GLOBAL_REGION} if service in _GLOBAL else {region}

    def _authorise(self, service: str, operation: Operation, call: Call) -> None:
        prefix = "cloudwatch" if service == "monitoring" else service
        action = operation.action or f"{prefix}:{call.operation}"
        for resource in operation.resources(call):
            self._plane.access.authorise(
                call.caller.principal, action, resource, call.caller.context
            )


def _check_dry_run(parsed: Parsed) -> None:
    if parsed.input.get("DryRun"):
        raise AwsError(
            "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412
        )


def _service(request: HttpRequest) -> str:
    """The service that a request is for, as its signature says it; "" where it says none."""
    match = _SCOPE.search(request.header("Authorization")[:4096])
    return match[1] if match else ""


def _protocol(service: str, request: HttpRequest) -> WireProtocol:
    names: Collection[str] = protocols(service) if service in SERVICES else ("query", "json")
    if "json" in names and request.header("X-Amz-Target"):
        return _PROTOCOLS["json"]
    known = [each for each in ("ec2", "query", "rest-json", "json") if each in names]
    return _PROTOCOLS[known[0]]
