"""Parameters against the models."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from elastic_inference.aws import validation
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.models import SERVICES, service_model
from tests.aws.values import Values, plain, seeded
from tests.aws.wires import operations

EVERY = pytest.mark.parametrize("service", SERVICES)
MISSING = {"ec2": "MissingParameter", "monitoring": "MissingParameter"}
INVALID = {"ec2": "InvalidParameterValue", "elastic-inference": "BadRequestException"}


def refused(service: str, operation: str, given: dict[str, Any]) -> AwsError:
    shape = service_model(service).operation_model(operation).input_shape
    with pytest.raises(AwsError) as failed:
        validation.check(service, shape, given)
    return failed.value


@EVERY
def test_what_the_model_allows_passes(service: str) -> None:
    for operation in operations(service):
        values = Values(seeded(operation.name), odd=False, fullness=0.6)
        given = plain(values.of_input(operation))
        validation.check(service, operation.input_shape, given)


@EVERY
def test_what_the_model_does_not_allow_is_refused(service: str) -> None:
    for operation in operations(service):
        values = Values(seeded(operation.name), odd=False, fullness=0.4)
        given = plain(values.of_input(operation))
        for wrong, code in _spoiled(service, operation.input_shape, given):
            assert refused(service, operation.name, wrong).code == code, (operation.name, wrong)


def _spoiled(service: str, shape: Any, given: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """The parameters with one thing wrong, and the code for that."""
    members = shape.members if shape is not None else {}
    invalid = INVALID.get(service, "ValidationError")
    for name, value in given.items():
        if name in shape.required_members:
            less = {key: value for key, value in given.items() if key != name}
            yield less, MISSING.get(service, invalid)
        for bad in _bad(members[name], value):
            yield given | {name: bad}, invalid


def _bad(shape: Any, value: Any) -> Iterator[Any]:
    match shape.type_name:
        case "string":
            yield from _bad_texts(shape, value)
        case "integer" | "long" | "double":
            yield from _bad_numbers(shape)
        case "list":
            if shape.metadata.get("min"):
                yield []
            for bad in _bad(shape.member, value[0]):
                yield [*value, bad]
        case "map":
            yield {**value, "\x00": next(iter(value.values()))}


def _bad_texts(shape: Any, value: str) -> Iterator[str]:
    yield f"{value}\x07"
    yield f"{value}\ud800"
    if shape.enum and shape.name not in validation.OWN_VALUES:
        yield "none-of-them"
    if shape.metadata.get("max", 1 << 30) < 10_000:
        yield "a" * (shape.metadata["max"] + 1)
    if shape.metadata.get("min"):
        yield ""


def _bad_numbers(shape: Any) -> Iterator[float]:
    if "min" in shape.metadata:
        yield shape.metadata["min"] - 1
    if "max" in shape.metadata:
        yield shape.metadata["max"] + 1


def test_every_pattern_of_the_models_is_read() -> None:
    for service in SERVICES:
        model = service_model(service)
        for name in model.shape_names:
            text = model.shape_for(name).metadata.get("pattern")
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert text is None or validation.pattern(text)


def test_patterns_take_the_letters_that_java_takes() -> None:
    tag = validation.pattern(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+")
    assert tag.fullmatch("Kosten stelle:Z\u00fcrich/\u65e5\u672c=1")
    assert not tag.fullmatch("a\x07")
    assert not validation.pattern(r"[\w+=,.@-]+").fullmatch("Z\u00fcrich")


def test_what_is_wrong_is_said_as_aws_says_it() -> None:
    error = refused("iam", "CreateUser", {"UserName": "a b" * 30})
    assert error.message.startswith("2 validation errors detected: Value 'a ba ")
    assert "'UserName' failed to satisfy constraint: Member must have length less" in error.message
    assert r"Member must satisfy regular expression pattern: [\w+=,.@-]+" in error.message
    error = refused("ec2", "RunInstances", {"MinCount": 1})
    assert (error.code, error.message) == (
        "MissingParameter", "The request must contain the parameter MaxCount",
    )  # fmt: skip
    nested = {"MetricData": [{"Value": 1.0}], "Namespace": "n"}
    error = refused("monitoring", "PutMetricData", nested)
    assert error.code == "MissingParameter"
    assert "MetricData.1.MetricName" in error.message


def test_a_parameter_that_is_not_heeded_is_refused_by_name() -> None:
    shape = service_model("ec2").operation_model("RunInstances").input_shape
    given = {"MinCount": 1, "Placement": {"Tenancy": "dedicated", "AvailabilityZone": "a"}}
    honours = frozenset({"MinCount", "Placement.AvailabilityZone"})
    with pytest.raises(AwsError, match=r"Placement\.Tenancy is not honoured") as failed:
        validation.check_honoured(shape, given, honours)
    assert failed.value.code == "UnsupportedOperation"
    validation.check_honoured(shape, given, honours | {"Placement"})


def test_what_to_give_instead_is_said() -> None:
    shape = service_model("autoscaling").operation_model("PutScalingPolicy").input_shape
    config = {"PredefinedMetricSpecification": {"PredefinedMetricType": "x"}}
    with pytest.raises(AwsError, match="Give a CustomizedMetricSpecification"):
        validation.check_honoured(shape, {"TargetTrackingConfiguration": config}, frozenset())


@EVERY
def test_of_every_operation_nothing_is_silently_taken(service: str) -> None:
    for operation in operations(service):
        given = plain(Values(seeded(operation.name), fullness=1).of_input(operation))
        for name in given:
            others = frozenset(given) - {name}
            with pytest.raises(AwsError, match=f"{name}.* is not honoured"):
                validation.check_honoured(operation.input_shape, given, others)
        validation.check_honoured(operation.input_shape, given, frozenset(given))
