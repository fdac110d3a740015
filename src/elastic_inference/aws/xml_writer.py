"""Results in XML, as EC2 and the query protocol have them."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import Shape

from elastic_inference.aws import times
from elastic_inference.aws.members import members_of

# What XML 1.0 cannot have.
_IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class XmlWriter:
    """Writes values by a model.

    Args:
        ec2: lists are as EC2 has them.
    """

    def __init__(self, *, ec2: bool) -> None:
        self._item = "item" if ec2 else "member"

    def members(self, shape: Any, values: Mapping[str, Any]) -> str:
        """The members of a structure, one after the other."""
        return "".join(
            self._element(member, values[name], member.serialization.get("name", name))
            for name, member in members_of(shape, values).items()
        )

    def _element(self, shape: Any, value: Any, name: str) -> str:
        kind = shape.type_name
        if kind == "list" and shape.serialization.get("flattened"):
            item = shape.member.serialization.get("name", name)
            return "".join(self._element(shape.member, each, item) for each in value)
        return f"<{name}>{self._content(shape, value)}</{name}>"

    def _content(self, shape: Any, value: Any) -> str:
        match shape.type_name:
            case "structure":
                return self.members(shape, value)
            case "list":
                item = shape.member.serialization.get("name", self._item)
                return "".join(self._element(shape.member, each, item) for each in value)
            case "map":
                return "".join(self._entry(shape, key, each) for key, each in value.items())
            case _:
                return text(scalar(shape, value))

    def _entry(self, shape: Any, key: Any, value: Any) -> str:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        return (
            f"<entry>{self._element(shape.key, key, key_name)}"
            f"{self._element(shape.value, value, value_name)}</entry>"
        )


def scalar(shape: Shape, value: Any) -> str:
    """A value's text before what XML needs is done to it."""
    match shape.type_name:
        case "boolean":
            return "true" if value else "false"
        case "timestamp":
            return times.iso(value)
        case "blob":
            return base64.b64encode(value).decode()
        case _:
            return str(value)


def text(value: str) -> str:
    """As it may stand in an element."""
    # Parsers make a line feed of a carriage return that is not escaped.
    return escape(_IMPOSSIBLE.sub("\ufffd", value), {"\r": "&#13;"})
