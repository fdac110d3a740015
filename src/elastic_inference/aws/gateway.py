"""Answers a request of AWS's: whose it is, what it wants, whether that may be, and the doing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from elastic_inference.aws import errors, registry, validation, wire
from elastic_inference.aws.authorization import Authorization
from elastic_inference.aws.call import Call, Operations
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.front import MAX_BODY
from elastic_inference.aws.models import SERVICES, service_model
from elastic_inference.aws.protocol import WireProtocol, new_request_id, not_offered
from elastic_inference.control.access import Principal
from elastic_inference.control.caller import Caller
from elastic_inference.control.front import HttpAnswer, HttpRequest
from elastic_inference.control.plane import ControlPlane
from elastic_inference.errors import ElasticInferenceError

_log = logging.getLogger(__name__)
# The services that are the same in all regions sign for this one.
_GLOBAL = frozenset({"iam", "sts"})
_GLOBAL_REGION = "us-east-1"


class Gateway:
    """AWS's APIs over a control plane.

    Attributes:
        operations: what there is, by service and name.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._authorization = Authorization(plane)
        self.operations: Mapping[str, Operations] = {
            service: registry.operations(service, plane) for service in SERVICES
        }

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request; it raises nothing."""
        request_id = new_request_id()
        service = wire.service_of(request)
        protocol = wire.protocol_of(service, request)
        try:
            return self._answer(service, protocol, request, request_id)
        except AwsError as error:
            found = error
        except ElasticInferenceError as error:
            found = errors.translate(error, service)
        except Exception:  # noqa: BLE001 - one request must not end the thread unanswered
            _log.exception("The request %s of %s failed", request_id, service)
            found = errors.internal(service)
        model = service_model(service) if service in SERVICES else None
        return protocol.error(model, found, request_id)

    def _answer(
        self, service: str, protocol: WireProtocol, request: HttpRequest, request_id: str
    ) -> HttpAnswer:
        if request.body is None:
            raise wire.too_large(MAX_BODY)
        principal = self._authenticate(service, request, request.body)
        if service not in SERVICES:
            raise errors.unsupported(f"There is no service {service!r} here.")
        model = service_model(service)
        plain = wire.uncompressed(service, request, MAX_BODY)
        parsed = protocol.parse(service, model, plain)
        operation = self.operations[service].get(parsed.operation.name)
        if operation is None:
            raise not_offered(service, parsed.operation.name)
        validation.check(service, parsed.operation.input_shape, parsed.input)
        given = {key: value for key, value in parsed.input.items() if key != "DryRun"}
        caller = Caller.of(principal, request.own, request.peer, "")
        call = Call(parsed.operation.name, given, caller, request_id)
        self._authorization.check(service, operation, call)
        validation.check_honoured(parsed.operation.input_shape, given, operation.honours)
        if parsed.input.get("DryRun"):
            operation.rehearse(call)
            raise _dry_run()
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


def _dry_run() -> AwsError:
    return AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
