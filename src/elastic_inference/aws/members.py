"""Parameters and results as objects, lists and values, which JSON and CBOR have alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.protocol import finite

_WIDTHS = {"integer": 31, "long": 63}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
}


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


class _MismatchError(ValueError):
    """A value is not what the model says; what holds it adds its place on the way up."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.places: list[str] = []


def read_members(
    members: Mapping[str, Any], given: Mapping[str, Any], form: Format
) -> dict[str, Any]:
    """The members of a structure.

    Raises:
        AwsError: one is not known, or is of another type.
    """
    try:
        return _read_members(_by_key(members), given, form)
    except _MismatchError as error:
        path = "".join(reversed(error.places)).removeprefix(".")
        raise malformed(f"The parameter {path!r} {error.why}.") from None


def _by_key(members: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Names and shapes of members by what they are called outside."""
    return {each.serialization.get("name", name): (name, each) for name, each in members.items()}


@cache
def _keys(shape: Any) -> dict[str, tuple[str, Any]]:
    return _by_key(shape.members)


def _read_members(
    keys: Mapping[str, tuple[str, Any]], given: Mapping[str, Any], form: Format
) -> dict[str, Any]:
    found = {}
    for key, value in given.items():
        if key not in keys:
            raise _at(f".{key[:64]}", _MismatchError("is not known"))
        name, member = keys[key]
        try:
            if value is not None:
                found[name] = _read(member, value, form)
        except _MismatchError as error:
            raise _at(f".{key[:64]}", error) from None
    return found


def _at(place: str, error: _MismatchError) -> _MismatchError:
    error.places.append(place)
    return error


def _read(shape: Any, value: Any, form: Format) -> Any:
    kind = shape.type_name
    if kind in _CONTAINERS:
        read, needed = _CONTAINERS[kind]
        if isinstance(value, needed):
            return read(shape, value, form)
    else:
        try:
            return _read_scalar(kind, value, form)
        except (ValueError, OverflowError, TypeError):
            pass
    raise _MismatchError(f"must be a {kind}")


def _read_structure(shape: Any, value: Mapping[str, Any], form: Format) -> dict[str, Any]:
    return _read_members(_keys(shape), value, form)


def _read_list(shape: Any, value: list[Any], form: Format) -> list[Any]:
    member, found = shape.member, []
    for each in value:
        try:
            found.append(_read(member, each, form))
        except _MismatchError as error:
            raise _at(f"[{len(found)}]", error) from None
    return found


def _read_map(shape: Any, value: Mapping[str, Any], form: Format) -> dict[str, Any]:
    member, found = shape.value, {}
    for key, each in value.items():
        try:
            found[key] = _read(member, each, form)
        except _MismatchError as error:
            raise _at(f".{key[:64]}", error) from None
    return found


_CONTAINERS: Mapping[str, tuple[Callable[[Any, Any, Format], Any], type]] = {
    "structure": (_read_structure, dict),
    "list": (_read_list, list),
    "map": (_read_map, dict),
}


def _read_scalar(kind: str, value: Any, form: Format) -> Any:
    if kind == "timestamp":
        return form.read_time(value)
    if kind == "blob":
        return form.read_blob(value)
    fits = isinstance(value, _TYPES[kind])
    if not fits or isinstance(value, bool) is not (kind == "boolean"):
        raise TypeError(value)
    if kind in _WIDTHS:
        return whole(kind, value)
    return finite(float(value)) if kind in {"float", "double"} else value


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
