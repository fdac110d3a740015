"""Parameters against their model, and against what an operation heeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import Shape
from botocore.validate import ParamValidator

from elastic_inference.aws import errors

_validator = ParamValidator()


def check(service: str, shape: Shape | None, given: Mapping[str, Any]) -> None:
    """Refuse what the model does not have.

    Raises:
        AwsError: a parameter is missing, out of its range, or none of its values.
    """
    if shape is None:
        return
    _check_required(service, shape, given, "")
    report = _validator.validate(given, shape)
    if report.has_errors():
        raise errors.invalid(service, " ".join(report.generate_report().split())[:1000])
    for path, member, value in _walk(shape, given, ""):
        if member.type_name == "string" and member.enum and value not in member.enum:
            raise errors.invalid(
                service, f"Value ({value[:64]}) for parameter {path} is invalid: it is none of"
                f" {', '.join(member.enum[:20])}.",
            )  # fmt: skip


def check_honoured(shape: Shape | None, given: Mapping[str, Any], honours: frozenset[str]) -> None:
    """Refuse parameters that an operation would not heed.

    Raises:
        AwsError: naming the parameter.
    """
    for path, member, value in _walk(shape, given, ""):
        if member.type_name in {"structure", "list", "map"} and value:
            continue
        parts = path.split(".")
        if not any(".".join(parts[:count]) in honours for count in range(1, len(parts) + 1)):
            raise errors.unsupported(
                f"The parameter {path} is not honoured here, and nothing was done. Leave it out."
            )


def _check_required(service: str, shape: Any, given: Mapping[str, Any], path: str) -> None:
    for name in shape.metadata.get("required", []):
        if name not in given:
            raise errors.missing(service, path + name)


def _walk(shape: Any, value: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Each part of a value with its dotted name, through lists and maps."""
    if shape is None:
        return
    kind = shape.type_name
    if path:
        yield path, shape, value
    if kind == "structure":
        for name, each in value.items():
            if name in shape.members:
                yield from _walk(shape.members[name], each, f"{path}.{name}" if path else name)
    elif kind == "list":
        for each in value:
            yield from _walk_below(shape.member, each, path)
    elif kind == "map":
        for each in value.values():
            yield from _walk_below(shape.value, each, path)


def _walk_below(shape: Any, value: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """As `_walk`, with the path of what holds it."""
    yield from _walk(shape, value, path)
