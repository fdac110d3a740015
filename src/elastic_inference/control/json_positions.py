"""JSON of which every value knows where it stood, so that what is wrong with it can be named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from elastic_inference.errors import InvalidRequestError

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS: tuple[tuple[str, bool | None], ...] = (("true", True), ("false", False), ("null", None))
_DECODER = json.JSONDecoder()
_SHOWN = 64
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written: any size of it is read at once."""

    text: str


Value: TypeAlias = "dict[str, Node] | list[Node] | str | Number | bool | None"
_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    Number: "a number",
    bool: "true or false",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document.

    Attributes:
        path: as `Statement[1].Effect`; "" for the document itself.
        noun: what the document is called in errors.
    """

    value: Value
    path: str
    noun: str = field(repr=False)
    text: str = field(repr=False)
    at: int = field(repr=False)

    @property
    def line(self) -> int:
        """The line that the value begins in, from 1."""
        return self.text.count("\n", 0, self.at) + 1

    @property
    def kind(self) -> str:
        """What sort of value it is, as errors call it."""
        return _NAMES[type(self.value)]

    def take(self, kind: type[T]) -> T:
        """The value, which must be of that type."""
        if not isinstance(self.value, kind):
            raise self.error(f"It must be {_NAMES[kind]}, not {self.kind}.")
        return self.value

    def items(self) -> list[Node]:
        """The values of a list, or the value itself where it stands alone."""
        return self.value if isinstance(self.value, list) else [self]

    def error(self, why: str, next_step: str | None = None) -> InvalidRequestError:
        """The error that names this place."""
        place = f"at {self.path} (line {self.line})" if self.path else f"(line {self.line})"
        return InvalidRequestError(
            f"The {self.noun} is not valid {place}: {why}", next_step=next_step
        )


def shown(text: str) -> str:
    """Outside text as an error may repeat it: short, and in one printable line."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def read(text: str, noun: str, *, deepest: int) -> Node:
    """The document in `text`.

    Raises:
        InvalidRequestError: it is not JSON, names a key twice or nests deeper than `deepest`.
    """
    reader = _Reader(text, noun, deepest)
    at = reader.skip(0)
    node, at = reader.value(at, "", 0)
    at = reader.skip(at)
    if at < len(text):
        raise reader.error(at, "there is more after its end")
    return node


class _Reader:
    def __init__(self, text: str, noun: str, deepest: int) -> None:
        self._text = text
        self._noun = noun
        self._deepest = deepest
        self._end = 0

    def error(self, at: int, why: str) -> InvalidRequestError:
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return InvalidRequestError(
            f"The {self._noun} is not JSON at line {line}, column {column}: {why}."
        )

    def skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def value(self, at: int, path: str, depth: int) -> tuple[Node, int]:
        if depth > self._deepest:
            raise self.error(at, f"it nests deeper than {self._deepest} levels")
        value: Value
        match self._text[at : at + 1]:
            case "{":
                value, end = self._object(at, path, depth)
            case "[":
                value, end = self._list(at, path, depth)
            case '"':
                value, end = self._string(at)
            case _:
                value, end = self._scalar(at)
        return Node(value, path, self._noun, self._text, at), end

    def _object(self, at: int, path: str, depth: int) -> tuple[dict[str, Node], int]:
        members: dict[str, Node] = {}
        for start in self._members(at, "}"):
            if self._text[start : start + 1] != '"':
                raise self.error(start, "a key in double quotes is expected")
            key, end = self._string(start)
            if key in members:
                raise self.error(start, f"the key {shown(key)} is there twice")
            end = self.skip(end)
            if self._text[end : end + 1] != ":":
                raise self.error(end, "a colon is expected")
            name = key if key.isprintable() and len(key) <= _SHOWN else shown(key)
            below = f"{path}.{name}" if path else name
            members[key], self._end = self.value(self.skip(end + 1), below, depth + 1)
        return members, self._end

    def _list(self, at: int, path: str, depth: int) -> tuple[list[Node], int]:
        found: list[Node] = []
        for start in self._members(at, "]"):
            node, self._end = self.value(start, f"{path}[{len(found)}]", depth + 1)
            found.append(node)
        return found, self._end

    def _members(self, at: int, closing: str) -> Iterator[int]:
        """Where each member begins; the taker leaves in `_end` where it ended."""
        at = self.skip(at + 1)
        if self._text[at : at + 1] == closing:
            self._end = at + 1
            return
        while True:
            yield at
            at = self.skip(self._end)
            mark = self._text[at : at + 1]
            if mark == closing:
                self._end = at + 1
                return
            if mark != ",":
                raise self.error(at, f"a comma or {closing} is expected")
            at = self.skip(at + 1)

    def _string(self, at: int) -> tuple[str, int]:
        try:
            value, end = _DECODER.raw_decode(self._text, at)
            value.encode()
        except json.JSONDecodeError as error:
            raise self.error(error.pos, error.msg[:1].lower() + error.msg[1:]) from None
        except UnicodeEncodeError:
            raise self.error(at, "a text has half of a surrogate pair") from None
        return value, end

    def _scalar(self, at: int) -> tuple[Number | bool | None, int]:
        for word, value in _WORDS:
            if self._text.startswith(word, at):
                return value, at + len(word)
        match = _NUMBER.match(self._text, at)
        if match is None:
            raise self.error(at, "a value is expected")
        return Number(match[0]), match.end()
