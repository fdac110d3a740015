"""Frames of commands that run elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.exec_stream import (
    MAX_PAYLOAD,
    Decoder,
    Frame,
    Kind,
    encode,
    encode_numbers,
    encode_text,
)

_BYTES = (Kind.STDIN, Kind.STDOUT, Kind.STDERR, Kind.ERROR)
_FRAMES = st.one_of(
    st.builds(Frame, st.sampled_from(_BYTES), st.binary(max_size=300)),
    st.builds(Frame, st.just(Kind.RESIZE), st.binary(min_size=4, max_size=4)),
    st.builds(Frame, st.just(Kind.SIGNAL), st.binary(min_size=1, max_size=1)),
    st.builds(Frame, st.just(Kind.EXIT), st.binary(min_size=4, max_size=4)),
    st.builds(Frame, st.just(Kind.PING)),
)


@given(st.lists(_FRAMES, max_size=20), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_frames_arrive_however_they_are_cut(frames: list[Frame], cuts: list[int]) -> None:
    data = b"".join(encode(each.kind, each.payload) for each in frames)
    decoder = Decoder()
    found: list[Frame] = []
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(data[at : at + size])
        at += size
        turn += 1
    assert found == frames


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    decoder = Decoder()
    try:
        frames = decoder.feed(data)
    except InvalidRequestError:
        return
    whole = b"".join(encode(each.kind, each.payload) for each in frames)
    assert data.startswith(whole)


def test_numbers_and_texts() -> None:
    decoder = Decoder()
    data = encode_numbers(Kind.RESIZE, 24, 80) + encode_numbers(Kind.EXIT, -5)
    data += encode_numbers(Kind.SIGNAL, 15) + encode_numbers(Kind.CREDIT, 1 << 20)
    data += encode_numbers(Kind.PING) + encode_text("it is gone \u00fc")
    frames = decoder.feed(data)
    assert [each.numbers for each in frames[:5]] == [(24, 80), (-5,), (15,), (1 << 20,), ()]
    assert frames[5].text == "it is gone \u00fc"


@pytest.mark.parametrize(
    "head",
    [
        b"\x09\0\0\0\0",
        b"\xff\0\0\0\0",
        b"\x00" + (MAX_PAYLOAD + 1).to_bytes(4, "big"),
        b"\x05\0\0\0\x03",
        b"\x07\0\0\0\x01",
    ],
)
def test_what_is_no_frame_is_refused_by_its_head(head: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        Decoder().feed(head)


def test_payloads_are_bounded() -> None:
    assert len(encode(Kind.STDOUT, bytes(MAX_PAYLOAD))) == MAX_PAYLOAD + 5
    with pytest.raises(ValueError, match="at most"):
        encode(Kind.STDOUT, bytes(MAX_PAYLOAD + 1))
    assert len(encode_text("x" * (MAX_PAYLOAD + 1))) == MAX_PAYLOAD + 5
