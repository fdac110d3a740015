"""Parameters and results as objects, lists and values, which JSON and CBOR have alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.protocol import finite

_WIDTHS = {"integer": 31, "long": 63}


@dataclass(frozen=True, slots=True)
class Format:
    """How a format writes what it has in its own way.

    Attributes:
        read_time, read_blob: raise ValueError, or TypeError, where it is none.
    """

    read_time: Callable[[Any], float]
    read_blob: Callable[[Any], bytes]
    write_time: Callable[[float], Any]
    write_blob: Callable[[bytes], Any]


def read_members(
    members: Mapping[str, Any], given: Mapping[str, Any], form: Format, path: str = ""
) -> dict[str, Any]:
    """The members of a structure.

    Raises:
        AwsError: one is not known, or is of another type.
    """
    by_key = {each.serialization.get("name", name): name for name, each in members.items()}
    found = {}
    for key, value in given.items():
        place = f"{path}.{key[:64]}" if path else key[:64]
        if key not in by_key:
            raise malformed(f"The parameter {place!r} is not known.")
        if value is not None:
            found[by_key[key]] = _read(members[by_key[key]], value, form, place)
    return found


def _read(shape: Any, value: Any, form: Format, path: str) -> Any:
    match shape.type_name, value:
        case "structure", dict():
            return read_members(shape.members, value, form, path)
        case "list", list():
            return [
                _read(shape.member, each, form, f"{path}[{at}]") for at, each in enumerate(value)
            ]
        case "map", dict():
            return {
                key: _read(shape.value, each, form, f"{path}.{key[:64]}")
                for key, each in value.items()
            }
        case kind, _:
            try:
                return _read_scalar(kind, value, form)
            except (ValueError, OverflowError, TypeError):
                raise malformed(f"The parameter {path!r} must be a {kind}.") from None


def _read_scalar(kind: str, value: Any, form: Format) -> Any:
    if kind == "timestamp":
        return form.read_time(value)
    if kind == "blob":
        return form.read_blob(value)
    match kind, value:
        case ("string", str()) | ("boolean", bool()):
            return value
        case (("integer" | "long"), int()) if not isinstance(value, bool):
            return whole(kind, value)
        case (("float" | "double"), (int() | float())) if not isinstance(value, bool):
            return finite(float(value))
    raise ValueError(value)


def whole(kind: str, value: int) -> int:
    """The number, if an `integer` or a `long` can be it.

    Raises:
        ValueError: it is too large.
    """
    if not -(1 << _WIDTHS[kind]) <= value < 1 << _WIDTHS[kind]:
        raise ValueError("it is too large")
    return value


def write_members(shape: Any, values: Mapping[str, Any], form: Format) -> dict[str, Any]:
    """A structure as an object."""
    return {
        member.serialization.get("name", name): _write(member, values[name], form)
        for name, member in members_of(shape, values).items()
    }


def members_of(shape: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a structure that have a value, in the model's order.

    Raises:
        ValueError: there is a value for something else, which would be lost.
    """
    members = shape.members if shape is not None else {}
    if lost := values.keys() - members.keys():
        raise ValueError(f"{shape.name if shape else 'Nothing'} has no member {min(lost)}")
    return {name: each for name, each in members.items() if values.get(name) is not None}


def _write(shape: Any, value: Any, form: Format) -> Any:
    match shape.type_name:
        case "structure":
            return write_members(shape, value, form)
        case "list":
            return [_write(shape.member, each, form) for each in value]
        case "map":
            return {key: _write(shape.value, each, form) for key, each in value.items()}
        case kind:
            return _write_scalar(kind, value, form)


def _write_scalar(kind: str, value: Any, form: Format) -> Any:
    match kind:
        case "blob":
            return form.write_blob(value)
        case "timestamp":
            return form.write_time(value)
        case "float" | "double":
            return float(value)
        case _:
            return value


def malformed(why: str) -> AwsError:
    """The body is not what the model says."""
    return AwsError("SerializationException", why)
