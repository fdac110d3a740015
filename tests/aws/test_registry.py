"""What the operations say of themselves, beside the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from elastic_inference.aws import registry
from elastic_inference.aws.models import SERVICES, service_model
from tests.aws.conftest import Aws


def paths(shape: Any, path: str = "") -> Iterator[str]:
    """The dotted names of all parameters, in which lists and maps do not show."""
    kind = shape.type_name
    if path:
        yield path
    if kind == "structure":
        for name, member in shape.members.items():
            yield from paths(member, f"{path}.{name}" if path else name)
    elif kind in {"list", "map"}:
        yield from paths(shape.member if kind == "list" else shape.value, path)


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_is_of_the_model_and_heeds_what_is_there(aws: Aws, service: str) -> None:
    model = service_model(service)
    operations = registry.operations(service, aws.plane)
    assert operations.keys() <= set(model.operation_names)
    for name, operation in operations.items():
        shape = model.operation_model(name).input_shape
        known = set(paths(shape)) if shape is not None else set()
        assert operation.honours <= known, name
        needed = shape.required_members if shape is not None else []
        heeded = {each.partition(".")[0] for each in operation.honours}
        assert set(needed) <= heeded, name
        assert "DryRun" not in operation.honours, name


@pytest.mark.parametrize("service", SERVICES)
def test_no_operation_is_there_twice(aws: Aws, service: str) -> None:
    found: set[str] = set()
    for part in registry._PARTS[service]:
        names = set(part(aws.plane).operations)
        assert not names & found
        found |= names
