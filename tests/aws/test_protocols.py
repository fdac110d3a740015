"""Every operation of every model in every protocol: botocore's requests, and answers to it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.model import OperationModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.models import service_model
from elastic_inference.aws.wire import protocol_of, service_of
from tests.aws.values import Values, plain, seeded
from tests.aws.wires import SPOKEN, operations, read, request

EVERY = pytest.mark.parametrize(("service", "protocol"), SPOKEN)
REQUEST_ID = "11112222-3333-4444-5555-666677778888"
QUERY = ("ec2", "query")


def asked(
    service: str, protocol: str, operation: OperationModel, given: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
    """What the pool reads of the request that botocore makes of a call."""
    sent = request(service, protocol, operation, given)
    assert service_of(sent) == service
    parsed = protocol_of(service, sent).parse(service, service_model(service), sent)
    return parsed.operation.name, parsed.input


def answered(
    service: str, protocol: str, operation: OperationModel, result: Mapping[str, Any]
) -> dict[str, Any]:
    """What botocore reads of the answer that the pool makes of a result."""
    sent = request(service, protocol, operation, Values(seeded(operation.name)).of_input(operation))
    answer = protocol_of(service, sent).answer(operation, result, REQUEST_ID)
    found = read(protocol, operation.output_shape, answer)
    about = found.pop("ResponseMetadata", {})
    assert about.get("HTTPStatusCode") == 200
    assert operation.output_shape is None or about["RequestId"] == REQUEST_ID
    return found


def check_request(chance: random.Random, service: str, protocol: str, operation: Any) -> None:
    for fullness in (0.0, 0.3, 1.0):
        value = Values(chance, fullness=fullness).of_input(operation)
        name, found = asked(service, protocol, operation, value)
        assert name == operation.name
        assert found == plain(value)


def check_answer(chance: random.Random, service: str, protocol: str, operation: Any) -> None:
    if operation.output_shape is None:
        assert answered(service, protocol, operation, {}) == {}
        return
    for fullness in (0.0, 0.3, 1.0):
        value = Values(chance, fullness=fullness).of(operation.output_shape)
        assert plain(answered(service, protocol, operation, plain(value))) == plain(value)


@EVERY
def test_every_request_of_botocore_is_read_as_it_was_meant(service: str, protocol: str) -> None:
    for operation in operations(service):
        check_request(seeded(operation.name), service, protocol, operation)


@EVERY
def test_every_answer_is_read_by_botocore_as_it_was_meant(service: str, protocol: str) -> None:
    for operation in operations(service):
        check_answer(seeded(operation.name), service, protocol, operation)


@given(data=st.data(), chance=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_values_come_through(data: st.DataObject, chance: random.Random) -> None:
    service, protocol = data.draw(st.sampled_from(SPOKEN))
    operation = data.draw(st.sampled_from(operations(service)))
    check_request(chance, service, protocol, operation)
    check_answer(chance, service, protocol, operation)


@EVERY
def test_every_error_of_the_models_has_its_code_and_class(service: str, protocol: str) -> None:
    model = service_model(service)
    operation = operations(service)[0]
    sent = request(service, protocol, operation, Values(seeded(operation.name)).of_input(operation))
    wire = protocol_of(service, sent)
    codes = {shape.error_code: shape for shape in model.error_shapes} | {"SomeOther.Code": None}
    for code, shape in codes.items():
        error = AwsError(code, "It is <wrong> & \u20ac\r\n.", 409)
        found = read(protocol, None, wire.error(model, error, REQUEST_ID))
        assert found["Error"]["Code"] == code
        assert found["Error"]["Message"] == "It is <wrong> & \u20ac\r\n."
        assert found["ResponseMetadata"]["RequestId"] == REQUEST_ID
        assert found["ResponseMetadata"]["HTTPStatusCode"] == 409
        # The query protocol says Message, whatever the models call it; AWS's does too.
        if shape is not None and "message" in shape.members and protocol not in QUERY:
            named = read(protocol, shape, wire.error(model, error, REQUEST_ID))
            assert named["message"] == error.message
