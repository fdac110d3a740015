"""Protobuf messages by their description, to and from plain Python values.

A description is the text of a `.proto` file, as far as its messages go. A message is a dict
by the fields' names; what has its default value is left out of it, and of the bytes. This
serves messages that are small or seldom. What is read comes from outside: text must be UTF-8,
counts and depth are bounded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.protocol.tensors import Buffer
from elastic_inference.protocol.varints import WIRE_OF, Numbers, malformed
from elastic_inference.protocol.wireformat import BYTES, VARINT, Span, fields, varint

# How many messages, texts or entries of a map one field may repeat.
MAX_REPEATED = 4096
# How many fields a message may have, known or not, with those of the messages in it.
MAX_FIELDS = 1 << 20
_MASK = (1 << 64) - 1
_FLOATS = {"float": "<f", "double": "<d"}
_TOKENS = re.compile(
    r"message (?P<message>\w+) {|oneof \w+ {|(?P<end>})"
    r"|(?:(?P<repeated>repeated) )?(?:map<string, (?P<value>\w+)>|(?P<kind>\w+))"
    r" (?P<name>\w+) = (?P<number>\d+);"
)
_CHOICE_OF = {
    bool: "bool_param",
    int: "int64_param",
    float: "double_param",
    str: "string_param",
    bytes: "bytes_param",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    Attributes:
        kind: a scalar type of protobuf; `enum`; `span`, bytes that are left where they are and
            told as (start, end); `message`, or `map` from text to messages.
        message: of the field or the map's values.
        choice: it is one of a `oneof`'s.
    """

    name: str
    number: int
    kind: str
    repeated: bool = False
    message: Message | None = None
    choice: bool = False


@dataclass(slots=True)
class Message:
    """A message's description: its fields by number, ascending."""

    name: str
    fields: dict[int, Field] = field(default_factory=dict)

    @property
    def is_choice(self) -> bool:
        """It is nothing but one value out of several types."""
        return any(each.choice for each in self.fields.values())


def parse_proto(text: str) -> dict[str, Message]:
    """The messages that `text` describes; each is described before it is used."""
    messages: dict[str, Message] = {}
    current = Message("")
    choosing = False
    for token in _TOKENS.finditer(text):
        if token["message"]:
            current = messages[token["message"]] = Message(token["message"])
        elif token["number"]:
            kind = token["value"] or token["kind"]
            message = messages.get(kind)
            if token["value"]:
                kind = "map"
            elif message is not None:
                kind = "message"
            number = int(token["number"])
            current.fields[number] = Field(
                token["name"], number, kind, bool(token["repeated"]), message, choosing
            )
        else:
            choosing = not token["end"]
    for each in messages.values():
        each.fields = dict(sorted(each.fields.items()))
    return messages


# Reading


def decode(message: Message, data: Buffer) -> dict[str, Any]:
    """The message in `data`.

    Repeated numbers come as `Numbers`; a value out of several types as itself.

    Raises:
        InvalidRequestError: the bytes are no such message, or one of too many fields.
    """
    return _Reader(data).message(message, (0, len(data)), {})


class _Reader:
    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._left = MAX_FIELDS

    def _fields(self, span: Span) -> Iterator[tuple[int, int, Span]]:
        for each in fields(self._data, span, malformed):
            self._left -= 1
            if self._left < 0:
                raise malformed(f"it has more than {MAX_FIELDS} fields")
            yield each

    def message(self, message: Message, span: Span, into: dict[str, Any]) -> dict[str, Any]:
        """Add what the message in `span` says to `into`."""
        for number, wire, body in self._fields(span):
            known = message.fields.get(number)
            if known is None:
                continue
            kind, name = known.kind, known.name
            if known.repeated and kind in WIRE_OF:
                numbers = into.get(name) or Numbers(kind)
                if numbers.add(wire, self._data, body):
                    into[name] = numbers
            elif wire != WIRE_OF.get(kind, BYTES):
                # As protobuf has it, a field of another wire type is an unknown one.
                continue
            elif kind == "map":
                self._entry(known, body, into.setdefault(name, {}))
            elif known.repeated:
                found = into.setdefault(name, [])
                if kind != "bytes" and len(found) >= MAX_REPEATED:
                    raise malformed(f"it has more than {MAX_REPEATED} {name}")
                found.append(self._value(known, body, {}))
            else:
                if known.choice:
                    into.clear()
                into[name] = self._value(known, body, into.get(name, {}))
        return into

    def _entry(self, known: Field, span: Span, into: dict[str, Any]) -> None:
        """Take an entry of a map: the field 1 is its key, the field 2 its value."""
        key = ""
        value: dict[str, Any] = {}
        for number, wire, body in self._fields(span):
            if wire == BYTES and number == 1:
                key = self._text(body)
            elif wire == BYTES and number == 2 and known.message is not None:
                self.message(known.message, body, value)
        if key not in into and len(into) >= MAX_REPEATED:
            raise malformed(f"it has more than {MAX_REPEATED} {known.name}")
        if known.message is not None and known.message.is_choice:
            into[key] = next(iter(value.values()), None)
        else:
            into[key] = value

    def _value(self, known: Field, body: Span, before: Any) -> Any:
        kind = known.kind
        if known.message is not None:
            return self.message(known.message, body, before)
        if kind == "string":
            return self._text(body)
        if kind == "bytes":
            return bytes(self._data[body[0] : body[1]])
        return body if kind == "span" else self._number(kind, body)

    def _number(self, kind: str, body: Span) -> float:
        if kind in _FLOATS:
            (number,) = struct.unpack(_FLOATS[kind], self._data[body[0] : body[1]])
            return float(number)
        if kind == "bool":
            return body[0] & _MASK != 0
        bits = 32 if kind.endswith("32") else 64
        value = body[0] & ((1 << bits) - 1)
        return value - (1 << bits) if kind.startswith("int") and value >> (bits - 1) else value

    def _text(self, body: Span) -> str:
        try:
            return str(self._data[body[0] : body[1]], "utf-8")
        except UnicodeDecodeError:
            raise malformed("a text is not UTF-8") from None


# Writing


def encode(message: Message, values: Mapping[str, Any]) -> bytes:
    """The bytes of a message; names that it does not have are passed over."""
    out = bytearray()
    for known in message.fields.values():
        value = values.get(known.name)
        if value is None:
            continue
        if known.kind == "map":
            for key, item in value.items():
                entry = length_delimited(1, key.encode()) + length_delimited(2, _body(known, item))
                out += length_delimited(known.number, entry)
        elif known.repeated and known.kind in WIRE_OF:
            packed = b"".join(_scalar(known.kind, item) for item in value)
            out += length_delimited(known.number, packed) if packed else b""
        elif known.repeated:
            for item in value:
                out += length_delimited(known.number, _body(known, item))
        elif known.kind == "message":
            out += length_delimited(known.number, _body(known, value))
        elif value or known.choice:
            out += _single(known, value)
    return bytes(out)


def length_delimited(number: int, body: bytes) -> bytes:
    """A field with the bytes that are its value."""
    return varint(number << 3 | BYTES) + varint(len(body)) + body


def _single(known: Field, value: Any) -> bytes:
    wire = VARINT if known.kind == "enum" else WIRE_OF.get(known.kind, BYTES)
    if wire == BYTES:
        return length_delimited(known.number, _body(known, value))
    return varint(known.number << 3 | wire) + _scalar(known.kind, value)


def _scalar(kind: str, value: Any) -> bytes:
    if kind in _FLOATS:
        return struct.pack(_FLOATS[kind], value)
    return varint(int(value) & _MASK)


def _body(known: Field, value: Any) -> bytes:
    if known.message is None:
        return value.encode() if isinstance(value, str) else bytes(value)
    if known.message.is_choice:
        value = {} if value is None else {_CHOICE_OF[type(value)]: value}
    return encode(known.message, value)
