"""Parameters in forms, as the query protocol and EC2 have them: `Filter.1.Value.2=x`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from botocore.model import Shape

from elastic_inference.aws import times
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.protocol import finite

_DEEPEST = 24
_MAX_FIELDS = 10_000
_MAX_INDEX = 100_000


@dataclass(slots=True)
class _Node:
    """What stands under a dotted name."""

    path: str
    value: str | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    read: bool = False


def read_pairs(text: str) -> dict[str, str]:
    """The fields of a form.

    Raises:
        AwsError: one is there twice, or there are too many.
    """
    found: dict[str, str] = {}
    items = [each for each in text.split("&") if each]
    if len(items) > _MAX_FIELDS:
        raise AwsError("MalformedQueryString", f"There are more than {_MAX_FIELDS} parameters.")
    for item in items:
        name, _, value = item.partition("=")
        try:
            key = unquote_plus(name, errors="strict")
            text_value = unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            raise AwsError("MalformedQueryString", "The parameters are not UTF-8.") from None
        if key in found:
            raise AwsError("MalformedQueryString", f"The parameter {key[:128]} is there twice.")
        found[key] = text_value
    return found


class FormReader:
    """Reads parameters by a model.

    Args:
        ec2: names and lists are as EC2 has them.
    """

    def __init__(self, *, ec2: bool) -> None:
        self._ec2 = ec2

    def read(self, shape: Shape | None, pairs: Mapping[str, str]) -> dict[str, Any]:
        """The parameters of a form.

        Raises:
            AwsError: a parameter is not of the model, or has no value that it could have.
        """
        root = _tree(pairs)
        found = self._structure(shape, root) if shape is not None else {}
        _check_all_read(root)
        return found

    def _structure(self, shape: Any, node: _Node) -> dict[str, Any]:
        node.read = True
        found = {}
        for name, member in shape.members.items():
            below = node.children.get(self._key(name, member))
            if below is not None:
                found[name] = self._value(member, below)
        return found

    def _key(self, name: str, shape: Shape) -> str:
        serialization = shape.serialization
        if not self._ec2:
            return str(serialization.get("name", name))
        if "queryName" in serialization:
            return str(serialization["queryName"])
        location = str(serialization.get("name", name))
        return location[:1].upper() + location[1:]

    def _value(self, shape: Any, node: _Node) -> Any:
        kind = shape.type_name
        if kind == "structure":
            return self._structure(shape, node)
        if kind == "list":
            return [self._value(shape.member, each) for each in self._items(shape, node, "member")]
        if kind == "map":
            return self._map(shape, node)
        node.read = True
        if node.value is None:
            raise _invalid(node.path, "", "it needs a value")
        try:
            return _SCALARS.get(kind, str)(node.value)
        except (ValueError, OverflowError, binascii.Error, TypeError):
            raise _invalid(node.path, node.value, f"it must be a {kind}") from None

    def _items(self, shape: Any, node: _Node, usual: str) -> list[_Node]:
        node.read = True
        place = node
        if not self._ec2 and not shape.serialization.get("flattened"):
            name = usual
            if usual == "member":
                name = shape.member.serialization.get("name", usual)
            below = node.children.get(name)
            if below is None:
                # A list without items is sent as an empty value.
                return []
            below.read = True
            place = below
        numbers = sorted((_index(each, place), each) for each in place.children if each.isdecimal())
        return [place.children[name] for _, name in numbers]

    def _map(self, shape: Any, node: _Node) -> dict[Any, Any]:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        found = {}
        for entry in self._items(shape, node, "entry"):
            entry.read = True
            key, value = entry.children.get(key_name), entry.children.get(value_name)
            if key is None or value is None:
                raise _invalid(entry.path, "", f"it needs a {key_name} and a {value_name}")
            found[self._value(shape.key, key)] = self._value(shape.value, value)
        return found


def _tree(pairs: Mapping[str, str]) -> _Node:
    root = _Node("")
    for name, value in pairs.items():
        parts = name.split(".")
        if len(parts) > _DEEPEST:
            raise AwsError("MalformedQueryString", f"The parameter {name[:128]} is too deep.")
        node = root
        for part in parts:
            node = node.children.setdefault(
                part, _Node(f"{node.path}.{part}" if node.path else part)
            )
        node.value = value
    return root


def _check_all_read(node: _Node) -> None:
    for below in node.children.values():
        if not below.read:
            raise AwsError(
                "UnknownParameter", f"The parameter {below.path[:128]} is not recognized"
            )
        if below.value and below.children:
            raise _invalid(below.path, below.value, "it has parts of its own")
        _check_all_read(below)


def _index(text: str, node: _Node) -> int:
    if not text.isascii() or len(text) > 6 or int(text) > _MAX_INDEX:
        raise _invalid(node.path, text, "that is no number of an item")
    return int(text)


def _invalid(path: str, value: str, why: str) -> AwsError:
    return AwsError(
        "InvalidParameterValue",
        f"Value ({value[:128]}) for parameter {path[:128]} is invalid: {why}.",
    )


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError(text)
    return int(text)


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "integer": _whole,
    "long": _whole,
    "float": lambda text: finite(float(text)),
    "double": lambda text: finite(float(text)),
    "boolean": _truth,
    "timestamp": times.parse,
    "blob": lambda text: base64.b64decode(text, validate=True),
}
