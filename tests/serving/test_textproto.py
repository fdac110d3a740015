from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.serving import schema
from elastic_inference.serving.schema import Kind, Schema, read_text
from elastic_inference.serving.textproto import (
    MOST_CHARACTERS,
    MOST_DEPTH,
    Message,
    Scalar,
    TextFormatError,
    parse,
)

_LEAF = Schema("Leaf", {"value": Kind(schema.INT64), "flag": Kind(schema.boolean)})
_SCHEMA = Schema(
    "test.Message",
    {
        "name": Kind(schema.text),
        "data": Kind(schema.data),
        "number": Kind(schema.INT32),
        "ratio": Kind(schema.real),
        "flag": Kind(schema.boolean),
        "leaf": Kind(_LEAF.read),
        "leaves": Kind(_LEAF.read, is_repeated=True),
        "numbers": Kind(schema.UINT32, is_repeated=True),
        "kind": Kind(schema.enumeration("Kind", {"RED": 0, "GREEN": 2})),
        "this": Kind(schema.text, oneof="choice"),
        "that": Kind(schema.text, oneof="choice"),
        "wrapped": Kind(schema.wrapped("Int64Value", schema.INT64)),
    },
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ('name: "a" # why\n', {"name": "a"}),
        ("name: 'it''s'", {"name": "its"}),
        ('name: "a"\n  "b" \'c\'', {"name": "abc"}),
        (
            r'data: "\x41\101\n\\\"\'\u00e9\U0001F600\?"',
            {"data": b"AA\n\\\"'\xc3\xa9\xf0\x9f\x98\x80?"},
        ),
        (r'data: "\377\0"', {"data": b"\xff\0"}),
        ("number: -12, flag: true; ratio: 1.5f", {"number": -12, "flag": True, "ratio": 1.5}),
        ("number: - 12", {"number": -12}),
        ("number: 0x1F", {"number": 31}),
        ("number: 017", {"number": 15}),
        ("ratio: -inf", {"ratio": float("-inf")}),
        ("ratio: .5e1", {"ratio": 5.0}),
        ("ratio: 7", {"ratio": 7.0}),
        ("flag: t leaf { value: 3 }", {"flag": True, "leaf": {"value": 3}}),
        ("leaf: < value: 3, flag: 0 >", {"leaf": {"value": 3, "flag": False}}),
        ("leaves {} leaves: {value: 1}", {"leaves": [{}, {"value": 1}]}),
        ("leaves [{value: 1}, <value: 2>]", {"leaves": [{"value": 1}, {"value": 2}]}),
        ("numbers: [1, 2] numbers: 3 numbers: []", {"numbers": [1, 2, 3]}),
        ("kind: GREEN", {"kind": 2}),
        ("kind: 2", {"kind": 2}),
        ("this: 'a'", {"this": "a"}),
        ("wrapped { value: 8 }", {"wrapped": 8}),
        ("wrapped {}", {"wrapped": None}),
    ],
)
def test_what_a_text_holds(text: str, wanted: dict[str, Any]) -> None:
    assert read_text(text, _SCHEMA) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('improper "x"', "1:10: Expected ':' or '{'"),
        ("name", "1:5: Expected ':' or '{', found the end"),
        ("other: 1", '1:1: Message type "test.Message" has no field named "other".'),
        ("\n\n  name: 5", "3:9: Expected a string"),
        ('name: "a\n"', "1:7: The string does not end on its line."),
        ("name: 'a' name: 'b'", '1:11: Non-repeated field "name" is specified multiple times.'),
        ("name: ['a']", 'Non-repeated field "name"'),
        ("leaf { value: 1", "Expected a field's name, found the end"),
        ("leaf { value: 1 >", "Expected a field's name, found '>'"),
        ("leaf: 1", "Expected a message of type Leaf"),
        ("number: 2147483648", "Integer out of range (2147483648)"),
        ("number: 1.5", "Expected an integer, got: 1.5"),
        ("number: 08", "Expected an integer, got: 08"),
        ("number: 12ab", "Expected a space after the number"),
        ("numbers: -1", "Integer out of range (-1)"),
        ("numbers: [1 2]", "Expected ',' or ']'"),
        ("numbers: [", "Expected a value"),
        ("kind: BLUE", 'Unknown enumeration value of "BLUE" for enum "Kind".'),
        ("flag: maybe", 'Expected "true" or "false".'),
        ("flag: 2", 'Expected "true" or "false".'),
        ("ratio: fast", "Expected a number, got: fast"),
        (r'name: "\q"', "The escape is not known."),
        (r'name: "\ud800"', "The escape is not known."),
        (r'data: "\777"', "The escape is not known."),
        (r'name: "\377"', "The string is not UTF-8."),
        ("name: 'a' & flag: true", "'&' is not expected."),
        (
            "this: 'a' that: 'b'",
            'Field "that" is specified along with field "this", another member of oneof "choice".',
        ),
        ("[type.googleapis.com/x.Y] {}", "has no field named"),
        ("leaf { " * (MOST_DEPTH + 2), "nested too deeply"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, why: str) -> None:
    with pytest.raises(
        TextFormatError, match=r"Error parsing text-format test\.Message: "
    ) as raised:
        read_text(text, _SCHEMA)
    assert why in raised.value.message


def test_an_any_keeps_its_type() -> None:
    (field,) = parse("[type.googleapis.com/a.B] { value: 1 }").fields
    assert field.name == "[type.googleapis.com/a.B]"
    assert isinstance(field.values[0], Message)


def test_places_count_from_one() -> None:
    (field,) = parse("\n  number: 5").fields
    value = field.values[0]
    assert isinstance(value, Scalar)
    assert (field.place, value.place) == ((2, 3), (2, 11))


def test_a_text_is_bounded() -> None:
    with pytest.raises(TextFormatError, match="longer than"):
        parse(" " * (MOST_CHARACTERS + 1))


_FIELD = Schema(
    "google.protobuf.FieldDescriptorProto",
    {
        "name": Kind(schema.text),
        "number": Kind(schema.INT32),
        "type": Kind(
            schema.enumeration("Type", dict(descriptor_pb2.FieldDescriptorProto.Type.items()))
        ),
        "proto3_optional": Kind(schema.boolean),
    },
)
_OPTION = Schema(
    "google.protobuf.UninterpretedOption",
    {
        "positive_int_value": Kind(schema.UINT64),
        "negative_int_value": Kind(schema.INT64),
        "double_value": Kind(schema.real),
        "string_value": Kind(schema.data),
    },
)
_OPTIONS = Schema(
    "google.protobuf.MessageOptions",
    {"uninterpreted_option": Kind(_OPTION.read, is_repeated=True)},
)
_MESSAGE = Schema(
    "google.protobuf.DescriptorProto",
    {
        "name": Kind(schema.text),
        "field": Kind(_FIELD.read, is_repeated=True),
        "reserved_name": Kind(schema.text, is_repeated=True),
        "options": Kind(_OPTIONS.read),
    },
)


@st.composite
def _messages(draw: st.DrawFn) -> Any:
    message = descriptor_pb2.DescriptorProto()
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    if draw(st.booleans()):
        message.name = draw(text)
    for _ in range(draw(st.integers(0, 3))):
        field = message.field.add()
        field.name = draw(text)
        field.number = draw(st.integers(-(2**31), 2**31 - 1))
        field.type = draw(st.integers(1, 18))
        field.proto3_optional = draw(st.booleans())
    message.reserved_name.extend(draw(st.lists(text, max_size=3)))
    if draw(st.booleans()):
        option = message.options.uninterpreted_option.add()
        option.positive_int_value = draw(st.integers(0, 2**64 - 1))
        option.negative_int_value = draw(st.integers(-(2**63), 2**63 - 1))
        option.double_value = draw(st.floats(allow_nan=False))
        option.string_value = draw(st.binary(max_size=12))
    return message


def _plain(message: Any) -> dict[str, Any]:
    """What is set in a message, as `Schema.read` gives it."""
    return {
        field.name: [_value(each) for each in value]
        if isinstance(value, list) or hasattr(value, "add") or hasattr(value, "append")
        else _value(value)
        for field, value in message.ListFields()
    }


def _value(value: Any) -> Any:
    return _plain(value) if hasattr(value, "ListFields") else value


@settings(max_examples=150, deadline=None)
@given(
    message=_messages(),
    as_one_line=st.booleans(),
    pointy_brackets=st.booleans(),
    use_short_repeated_primitives=st.booleans(),
    as_utf8=st.booleans(),
)
def test_it_reads_what_protobuf_writes(message: Any, **format_: bool) -> None:
    text = text_format.MessageToString(message, **format_)
    assert read_text(text, _MESSAGE) == _plain(message)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text("namefield:<>{}[],;\"'\\#-.0x1 \n", max_size=60),
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_text(text, _MESSAGE)
    except TextFormatError:
        return
    # What is taken here, protobuf takes as well, and finds the same in it.
    message = text_format.Parse(text, descriptor_pb2.DescriptorProto())
    assert read_text(text, _MESSAGE) == _plain(message)
