"""Gives the fields of a text its types: what TensorFlow Serving's messages hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError
from elastic_inference.serving.textproto import (
    MOST_CHARACTERS,
    NAME,
    NUMBER,
    STRING,
    Field,
    Message,
    Scalar,
    TextFormatError,
    Value,
    parse,
    refuse,
)

_TRUE = frozenset({"true", "True", "t", "1"})
_FALSE = frozenset({"false", "False", "f", "0"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A field's type.

    Attributes:
        read: makes the value of what stands in the text.
        is_repeated: whether there may be several; then the value is a list.
        oneof: fields of one such name exclude each other.
    """

    read: Callable[[Value], Any]
    is_repeated: bool = False
    oneof: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """A message's type: its full name and its fields."""

    name: str
    kinds: Mapping[str, Kind] = field(default_factory=dict)

    def read(self, value: Value) -> dict[str, Any]:
        """The message's fields by name; those that are not set are not in it.

        Raises:
            TextFormatError: a field does not fit.
        """
        if not isinstance(value, Message):
            raise refuse(value.place, f"Expected a message of type {self.name}.")
        found: dict[str, Any] = {}
        chosen: dict[str, str] = {}
        for each in value.fields:
            kind = self.kinds.get(each.name)
            if kind is None:
                why = f'Message type "{self.name}" has no field named "{each.name}".'
                raise refuse(each.place, why)
            if kind.oneof:
                other = chosen.setdefault(kind.oneof, each.name)
                if other != each.name:
                    why = (
                        f'Field "{each.name}" is specified along with field "{other}", '
                        f'another member of oneof "{kind.oneof}".'
                    )
                    raise refuse(each.place, why)
            _add(found, each, kind)
        return found


def read_text(text: str, schema: Schema) -> dict[str, Any]:
    """The message in `text`.

    Raises:
        TextFormatError: it is none; the message says where and why.
    """
    try:
        return schema.read(parse(text))
    except TextFormatError as error:
        # The words that protobuf's own parser logs, which tools wait for.
        raise TextFormatError(f"Error parsing text-format {schema.name}: {error.message}") from None


def read_file(path: str, schema: Schema) -> dict[str, Any]:
    """The message in the file at `path`.

    Raises:
        ConfigurationError: it cannot be read.
        TextFormatError: it holds no such message.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_CHARACTERS + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise TextFormatError(
            f"Error parsing text-format {schema.name}: {path} is not UTF-8."
        ) from None
    try:
        return read_text(text, schema)
    except TextFormatError as error:
        raise TextFormatError(f"{error.message} (Invalid protobuf file: '{path}')") from None


def _add(found: dict[str, Any], each: Field, kind: Kind) -> None:
    values = [kind.read(value) for value in each.values]
    if kind.is_repeated:
        found.setdefault(each.name, []).extend(values)
        return
    if each.is_list or each.name in found:
        raise refuse(each.place, f'Non-repeated field "{each.name}" is specified multiple times.')
    found[each.name] = values[0]


def _scalar(value: Value, what: str, *kinds: str) -> Scalar:
    if isinstance(value, Scalar) and value.kind in kinds:
        return value
    raise refuse(value.place, f"Expected {what}.")


def data(value: Value) -> bytes:
    """A string's bytes."""
    return _scalar(value, "a string", STRING).data


def text(value: Value) -> str:
    """A string's characters."""
    try:
        return data(value).decode()
    except UnicodeDecodeError:
        raise refuse(value.place, "The string is not UTF-8.") from None


def boolean(value: Value) -> bool:
    """A truth value, in any of the format's spellings."""
    spelling = _scalar(value, '"true" or "false"', NUMBER, NAME).text
    if spelling not in _TRUE | _FALSE:
        raise refuse(value.place, 'Expected "true" or "false".')
    return spelling in _TRUE


def integer(least: int, most: int) -> Callable[[Value], int]:
    """A reader of integers in a range."""

    def read(value: Value) -> int:
        scalar = _scalar(value, "an integer", NUMBER)
        digits = scalar.text.lower()
        try:
            unsigned = digits.removeprefix("-")
            is_octal = len(unsigned) > 1 and unsigned.isdigit() and unsigned[0] == "0"
            number = int(digits, 8 if is_octal else 0)
        except ValueError:
            raise refuse(value.place, f"Expected an integer, got: {scalar.text[:40]}") from None
        if not least <= number <= most:
            raise refuse(value.place, f"Integer out of range ({scalar.text[:40]})")
        return number

    return read


def real(value: Value) -> float:
    """A number, an infinity or not a number."""
    scalar = _scalar(value, "a number", NUMBER, NAME)
    digits = scalar.text.lower()
    try:
        if digits.removeprefix("-").startswith("0x"):
            return float(int(digits, 16))
        return float(digits.removesuffix("f") if not digits.endswith("inf") else digits)
    except ValueError:
        raise refuse(value.place, f"Expected a number, got: {scalar.text[:40]}") from None


def enumeration(name: str, numbers: Mapping[str, int]) -> Callable[[Value], int]:
    """A reader of an enumeration's names or numbers."""

    def read(value: Value) -> int:
        scalar = _scalar(value, f"a value of {name}", NUMBER, NAME)
        if scalar.kind == NAME and scalar.text in numbers:
            return numbers[scalar.text]
        if scalar.kind == NUMBER and scalar.text in map(str, numbers.values()):
            return int(scalar.text)
        raise refuse(
            value.place, f'Unknown enumeration value of "{scalar.text}" for enum "{name}".'
        )

    return read


def anything(value: Value) -> Value:
    """What is there, unread."""
    return value


INT32 = integer(-(1 << 31), (1 << 31) - 1)
INT64 = integer(-(1 << 63), (1 << 63) - 1)
UINT32 = integer(0, (1 << 32) - 1)
UINT64 = integer(0, (1 << 64) - 1)


def wrapped(name: str, read: Callable[[Value], Any]) -> Callable[[Value], Any]:
    """A reader of google.protobuf's wrapper around a value; None where it holds none."""
    schema = Schema(f"google.protobuf.{name}", {"value": Kind(read)})
    return lambda value: schema.read(value).get("value")
