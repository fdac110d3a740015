"""Protobuf's text format: https://protobuf.dev/reference/protobuf/textformat-spec/.

What is read is a tree of fields with their places; `messages` gives them their types.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from elastic_inference.errors import InvalidRequestError

MOST_CHARACTERS = 1 << 22
MOST_DEPTH = 64
STRING, NUMBER, NAME = "string", "number", "name"
_SYMBOL, _END = "symbol", "end"

_TOKEN = re.compile(
    r"""(?:[ \t\r\n\f\v]+|\#[^\n]*)
    |(?P<number>(?:0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
    |(?P<symbol>[][{}<>:,;/.-])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})|u(?P<short>[0-9a-fA-F]{4})"
    r"|U(?P<long>[0-9a-fA-F]{8})|(?P<other>.))"
)
_ESCAPES = dict(
    zip("abfnrtv\\'\"?", (bytes([code]) for code in b"\a\b\f\n\r\t\v\\'\"?"), strict=True)
)
_CLOSING = {"{": "}", "<": ">"}


class TextFormatError(InvalidRequestError):
    """The text is not in protobuf's text format, or not of the message that it should be."""


class Place(NamedTuple):
    """Where something stands; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that is no message.

    Attributes:
        kind: STRING, NUMBER or NAME.
        text: as it stands, with a sign; "" for a string.
        data: the bytes of a string.
    """

    kind: str
    text: str
    data: bytes
    place: Place


@dataclass(frozen=True, slots=True)
class Message:
    """Fields in the order in which they stand."""

    fields: tuple[Field, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Field:
    """A field.

    Attributes:
        name: `[type.googleapis.com/…]` for an Any's content or an extension.
        values: several where a list was given.
        is_list: whether they stand in brackets.
    """

    name: str
    values: tuple[Value, ...]
    is_list: bool
    place: Place


Value: TypeAlias = Scalar | Message


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(text: str) -> Message:
    """The fields of a message.

    Raises:
        TextFormatError: the text is none; its message begins with line and column.
    """
    if len(text) > MOST_CHARACTERS:
        raise TextFormatError(f"1:1: The text is longer than {MOST_CHARACTERS} characters.")
    return _Parser(text).message()


def refuse(place: Place, why: str) -> TextFormatError:
    """The error that `why` is wrong at `place`."""
    return TextFormatError(f"{place.line}:{place.column}: {why}")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._tokens = self._read_tokens()
        self._at = 0

    def message(self) -> Message:
        fields = self._fields("", 0)
        return Message(fields, Place(1, 1))

    def _read_tokens(self) -> list[_Token]:
        tokens = []
        at, end = 0, len(self._text)
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._refuse_character(at)
            if match.lastgroup is not None:
                tokens.append(_Token(match.lastgroup, match.group(), at))
            at = match.end()
        tokens.append(_Token(_END, "", end))
        return tokens

    def _refuse_character(self, at: int) -> TextFormatError:
        character = self._text[at]
        if character in "\"'":
            return refuse(self._place(at), "The string does not end on its line.")
        return refuse(self._place(at), f"{character!r} is not expected.")

    def _place(self, at: int) -> Place:
        line = bisect_right(self._starts, at)
        return Place(line, at - self._starts[line - 1] + 1)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, symbols: str = "") -> _Token | None:
        """The present token if it is one of these symbols, and go on."""
        token = self._token
        if token.kind == _SYMBOL and token.text in symbols:
            self._at += 1
            return token
        return None

    def _expected(self, what: str) -> TextFormatError:
        token = self._token
        found = "the end" if token.kind == _END else f"{token.text[:40]!r}"
        return refuse(self._place(token.at), f"Expected {what}, found {found}.")

    def _fields(self, closing: str, depth: int) -> tuple[Field, ...]:
        if depth > MOST_DEPTH:
            raise refuse(self._place(self._token.at), "Messages are nested too deeply.")
        found: list[Field] = []
        while True:
            if closing and self._take(closing):
                return tuple(found)
            if not closing and self._token.kind == _END:
                return tuple(found)
            found.append(self._field(depth))
            self._take(",;")

    def _field(self, depth: int) -> Field:
        place = self._place(self._token.at)
        name = self._name()
        has_colon = self._take(":") is not None
        if self._take("["):
            return Field(name, self._list(depth, has_colon), True, place)
        return Field(name, (self._value(depth, has_colon),), False, place)

    def _name(self) -> str:
        token = self._token
        if token.kind == NAME:
            self._at += 1
            return token.text
        if self._take("["):
            parts = []
            while (token := self._token).kind in (NAME, NUMBER) or token.text in ("/", ".", "-"):
                parts.append(token.text)
                self._at += 1
            if parts and self._take("]"):
                return f"[{''.join(parts)}]"
            raise self._expected("']'")
        raise self._expected("a field's name")

    def _list(self, depth: int, has_colon: bool) -> tuple[Value, ...]:
        values: list[Value] = []
        if self._take("]"):
            return ()
        while True:
            values.append(self._value(depth, has_colon))
            if self._take("]"):
                return tuple(values)
            if not self._take(","):
                raise self._expected("',' or ']'")

    def _value(self, depth: int, has_colon: bool) -> Value:
        place = self._place(self._token.at)
        opening = self._take("{<")
        if opening is not None:
            return Message(self._fields(_CLOSING[opening.text], depth + 1), place)
        if not has_colon:
            raise self._expected("':' or '{'")
        return self._scalar(place)

    def _scalar(self, place: Place) -> Scalar:
        if self._token.kind == STRING:
            data = bytearray()
            while self._token.kind == STRING:
                data += self._string(self._token)
                self._at += 1
            return Scalar(STRING, "", bytes(data), place)
        sign = "-" if self._take("-") else ""
        token = self._token
        if token.kind not in (NUMBER, NAME):
            raise self._expected("a value")
        self._at += 1
        following = self._token
        # As in 12ab: a number and a name need something between them.
        is_joined = following.at == token.at + len(token.text)
        if token.kind == NUMBER and is_joined and following.kind in (NUMBER, NAME):
            raise self._expected("a space after the number")
        return Scalar(token.kind, sign + token.text, b"", place)

    def _string(self, token: _Token) -> bytes:
        data = bytearray()
        at, end = 1, len(token.text) - 1
        while at < end:
            following = token.text.find("\\", at, end)
            if following < 0:
                following = end
            data += token.text[at:following].encode("utf-8", "surrogatepass")
            at = following
            if at < end:
                match = _ESCAPE.match(token.text, at, end)
                plain = None if match is None else _escaped(match)
                if match is None or plain is None:
                    raise refuse(self._place(token.at + at), "The escape is not known.")
                data += plain
                at = match.end()
        return bytes(data)


def _escaped(match: re.Match[str]) -> bytes | None:
    """The bytes that an escape stands for; None if it stands for nothing."""
    if octal := match["octal"]:
        value = int(octal, 8)
        return bytes([value]) if value < 256 else None
    if digits := match["hex"]:
        return bytes([int(digits, 16)])
    if digits := match["short"] or match["long"]:
        number = int(digits, 16)
        is_character = number < 0x110000 and not 0xD800 <= number < 0xE000
        return chr(number).encode() if is_character else None
    return _ESCAPES.get(match["other"])
