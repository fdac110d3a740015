"""JSON objects from outside, parsed on the small stack of a connection's thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.json_object import parse_object

_STACK = 512 * 1024
_DEEPEST = 200


def on_small_stack(work: Callable[[], Any]) -> Any:
    """What `work` gives or raises in a thread with a stack of 512 KiB."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(work())
        except InvalidRequestError as error:
            ended.append(error)

    before = threading.stack_size(_STACK)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    (result,) = ended
    return result


def nested(levels: int) -> bytes:
    """An object of so many levels, itself included."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":[{},' * 50_000,
        nested(_DEEPEST + 1),
        b'{"quote":"\\"","a":' + b"[" * 100_000,
        b'{"backslash":"\\\\","a":' + b"[" * 100_000,
        b'{"both":"\\\\\\"","a":' + b"[" * 100_000,
        '{"∁":'.encode() + b"[" * 100_000,
        ('{"a":' + "[" * 100_000).encode("utf-16"),
        b'{"long":"' + b"x" * (1 << 20) + b'","a":' + b"[" * 100_000,
        b'{"wide":[' + b"[]," * 600_000 + b"[]]," + b'"a":' + b"[" * 100_000,
    ],
)
def test_deep_nesting_is_refused_before_it_uses_up_the_stack(raw: bytes) -> None:
    assert isinstance(on_small_stack(lambda: parse_object(raw)), InvalidRequestError)


@pytest.mark.parametrize(
    "document",
    [
        json.loads(nested(_DEEPEST)),
        {"data": [[[]] * 100] * 1000},
        {"data": ["[" * 1000, "]", '"[[' * 500, "\\[{" * 500, "\\"]},
        {"data": [{"a": [1]}] * 300_000},
    ],
)
def test_wide_objects_and_brackets_in_strings_are_not_deep(document: Any) -> None:
    raw = json.dumps(document).encode()
    assert on_small_stack(lambda: parse_object(raw)) == document


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}"\\ a∁'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='[]"\\'), inner),
)


@given(st.dictionaries(st.text(alphabet='[]"\\'), _VALUES), st.booleans())
def test_every_object_comes_back(document: dict[str, Any], padded: bool) -> None:
    if padded:  # so many brackets that the levels are counted
        document = {**document, "padding": [[]] * (_DEEPEST + 1)}
    assert parse_object(json.dumps(document, ensure_ascii=False).encode()) == document


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"{", b"\xff{}", b'{"a":"\\ud800"}', b"{}}"])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="JSON"):
        parse_object(raw)
