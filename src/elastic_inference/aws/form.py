"""Parameters in forms, as the query protocol and EC2 have them: `Filter.1.Value.2=x`."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from botocore.model import Shape

from elastic_inference.aws import times
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.members import whole
from elastic_inference.aws.protocol import finite

_DEEPEST = 24
_MAX_FIELDS = 10_000
_INDEX = re.compile("[1-9][0-9]{0,5}", re.ASCII)
_WHOLE = re.compile("-?[0-9]{1,20}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{0,400})?(?:[eE][-+]?[0-9]{1,4})?", re.ASCII)


@dataclass(slots=True)
class _Node:
    """What stands under a dotted name."""

    name: str
    parent: _Node | None = None
    value: str | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    read: bool = False
    scalar: bool = False

    @property
    def path(self) -> str:
        """The dotted name, its beginning if it is long."""
        names = []
        node = self
        while node.parent is not None:
            names.append(node.name[:64])
            node = node.parent
        return ".".join(reversed(names))


def read_pairs(text: str) -> dict[str, str]:
    """The fields of a form, each of which is there once.

    Raises:
        AwsError: one is there twice, or there are too many.
    """
    found: dict[str, str] = {}
    for key, value in read_fields(text):
        if key in found:
            raise _malformed(f"The parameter {key[:128]} is there twice.")
        found[key] = value
    return found


def read_fields(text: str) -> Iterator[tuple[str, str]]:
    """The fields of a form or of a URL's query.

    Raises:
        AwsError: they are not UTF-8, or there are too many.
    """
    if text.count("&") >= _MAX_FIELDS:
        raise _malformed(f"There are more than {_MAX_FIELDS} parameters.")
    if not text.isascii():
        raise _malformed("Characters beyond ASCII must be percent-encoded.")
    for item in filter(None, text.split("&")):
        name, _, value = item.partition("=")
        try:
            yield unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            raise _malformed("The parameters are not UTF-8.") from None


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
        self._check_all_read(root)
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
        match shape.type_name:
            case "structure":
                return self._structure(shape, node)
            case "list":
                name = shape.member.serialization.get("name", "member")
                return [self._value(shape.member, each) for each in self._items(shape, node, name)]
            case "map":
                return self._map(shape, node)
            case kind:
                return self._scalar(kind, node)

    def _scalar(self, kind: str, node: _Node) -> Any:
        node.read = node.scalar = True
        if node.value is None:
            raise self._invalid(node, "it needs a value")
        try:
            return _SCALARS.get(kind, str)(node.value)
        except (ValueError, OverflowError, TypeError):
            raise self._invalid(node, f"it must be a {kind}") from None

    def _items(self, shape: Any, node: _Node, name: str) -> list[_Node]:
        node.read = True
        if not self._ec2 and not shape.serialization.get("flattened"):
            # A list without items is sent as an empty value.
            node = node.children.get(name) or _Node(name, node)
            node.read = True
        return sorted(self._numbered(node), key=lambda each: int(each.name))

    def _numbered(self, place: _Node) -> Iterator[_Node]:
        for name, each in place.children.items():
            if name.isdecimal():
                if not _INDEX.fullmatch(name):
                    raise self._invalid(each, "items are counted from 1")
                yield each

    def _map(self, shape: Any, node: _Node) -> dict[Any, Any]:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        found = {}
        for entry in self._items(shape, node, "entry"):
            entry.read = True
            key, value = entry.children.get(key_name), entry.children.get(value_name)
            if key is None or value is None:
                raise self._invalid(entry, f"it needs a {key_name} and a {value_name}")
            name = self._value(shape.key, key)
            if name in found:
                raise self._invalid(key, "it is there twice")
            found[name] = self._value(shape.value, value)
        return found

    def _check_all_read(self, node: _Node) -> None:
        for below in node.children.values():
            if not below.read:
                raise self._unknown(below)
            if below.value and (below.children or not below.scalar):
                raise self._invalid(below, "it has parts, and no value of its own")
            self._check_all_read(below)

    def _unknown(self, node: _Node) -> AwsError:
        code = "UnknownParameter" if self._ec2 else "ValidationError"
        return AwsError(code, f"The parameter {node.path[:128]} is not recognized")

    def _invalid(self, node: _Node, why: str) -> AwsError:
        code = "InvalidParameterValue" if self._ec2 else "MalformedInput"
        value, path = (node.value or "")[:128], node.path[:128]
        return AwsError(code, f"Value ({value}) for parameter {path} is invalid: {why}.")


def _tree(pairs: Mapping[str, str]) -> _Node:
    root = _Node("")
    for name, value in pairs.items():
        parts = name.split(".")
        if len(parts) > _DEEPEST:
            raise _malformed(f"The parameter {name[:128]} is too deep.")
        node = root
        for part in parts:
            below = node.children.get(part)
            if below is None:
                below = node.children[part] = _Node(part, node)
            node = below
        node.value = value
    return root


def _malformed(why: str) -> AwsError:
    return AwsError("MalformedQueryString", why)


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def _integer(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return finite(float(text))


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "integer": lambda text: whole("integer", _integer(text)),
    "long": lambda text: whole("long", _integer(text)),
    "float": _number,
    "double": _number,
    "boolean": _truth,
    "timestamp": times.parse,
    "blob": lambda text: base64.b64decode(text.encode("ascii"), validate=True),
}
