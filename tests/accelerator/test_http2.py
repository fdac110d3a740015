"""HTTP/2 against an accelerator process, frame by frame: what it allows and refuses."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from elastic_inference.protocol import http2
from tests.accelerator.grpc_client import (
    INFER,
    LIVE,
    SERVICE,
    STREAM_INFER,
    Http2Wire,
    framed,
    infer_request,
    is_live,
    output_of,
    until_closed,
)
from tests.accelerator.http_client import Wire, X, infer, load, scale_model
from tests.processes import AcceleratorProcess

Start = Callable[..., AcceleratorProcess]

_ENDLESS = 10_000_000


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "double", scale_model(2))
    return accelerator


@pytest.fixture
def wire(served: AcceleratorProcess) -> Iterator[Http2Wire]:
    """A connection; afterwards the process still serves others."""
    with Http2Wire(served) as made:
        yield made
    with Wire(served) as other:
        assert infer(other, "double", X).tolist() == (X * 2).tolist()


class TestRequests:
    def test_one_frame_after_the_other(self, served: AcceleratorProcess) -> None:
        with Http2Wire(served) as wire:
            assert wire.wait_for(http2.SETTINGS).stream == 0
            for stream in (1, 3, 7):
                assert is_live(wire, stream)

    def test_byte_by_byte(self, served: AcceleratorProcess) -> None:
        with Http2Wire(served, greet=False) as wire:
            whole = http2.PREFACE + http2.settings_frame({})
            whole += wire.headers(1, INFER, token=True)
            whole += wire.data(1, framed(infer_request("double", X)))
            for byte in whole:
                wire.send(bytes((byte,)))
            fields, content = wire.answer(1)
            assert fields["grpc-status"] == "0"
            assert output_of(content[5:]).tolist() == (X * 2).tolist()

    @pytest.mark.parametrize("size", [1, 7, 1000, 16384])
    def test_data_in_frames_of_any_size(self, wire: Http2Wire, size: int) -> None:
        array = np.arange(4 * 700 * size, dtype=np.float32)[: 4 * min(700 * size, 60_000)]
        array = array.reshape(-1, 4)
        message = framed(infer_request("double", array))
        wire.send(wire.headers(1, INFER, token=True))
        pieces = [message[at : at + size] for at in range(0, len(message), size)]
        wire.send(http2.window_update(0, http2.MAX_WINDOW - http2.DEFAULT_WINDOW))
        wire.send(http2.window_update(1, http2.MAX_WINDOW - http2.DEFAULT_WINDOW))
        wire.send(b"".join(wire.data(1, piece, end=False) for piece in pieces))
        wire.send(wire.data(1, b""))
        fields, content = wire.answer(1)
        assert fields["grpc-status"] == "0"
        assert np.array_equal(output_of(content[5:]), array * 2)

    def test_padding_priority_and_continuation(self, wire: Http2Wire) -> None:
        block = wire.block(LIVE)
        priority = b"\0\0\0\0\x10"
        padded = b"\x03" + priority + block[:5] + b"\0\0\0"
        wire.send(http2.frame(http2.HEADERS, http2.PADDED | http2.HAS_PRIORITY, 1, padded))
        wire.send(http2.frame(http2.CONTINUATION, 0, 1, block[5:9]))
        wire.send(http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1, block[9:]))
        data = b"\x04" + framed(b"") + bytes(4)
        wire.send(http2.frame(http2.DATA, http2.PADDED | http2.END_STREAM, 1, data))
        assert wire.answer(1)[0]["grpc-status"] == "0"

    def test_trailers_may_end_a_request(self, wire: Http2Wire) -> None:
        wire.send(wire.headers(1) + wire.data(1, framed(b""), end=False))
        trailers = wire.encoder.encode([("x-checksum", "1")])
        flags = http2.END_HEADERS | http2.END_STREAM
        wire.send(http2.frame(http2.HEADERS, flags, 1, trailers))
        assert wire.answer(1)[0]["grpc-status"] == "0"

    def test_unknown_frames_and_settings_are_passed_over(self, wire: Http2Wire) -> None:
        wire.send(http2.frame(0xBB, 0xFF, 5, b"anything"))
        wire.send(http2.settings_frame({0x99: 7}))
        assert is_live(wire, 1)

    def test_a_compressed_answer_for_who_compresses(self, wire: Http2Wire) -> None:
        array = np.zeros((2000, 4), np.float32)
        packed = gzip.compress(infer_request("double", array))
        wire.send(
            wire.headers(
                1, INFER, token=True, grpc_encoding="gzip", grpc_accept_encoding="identity, gzip"
            )
        )
        wire.send(wire.data(1, b"\x01" + len(packed).to_bytes(4, "big") + packed))
        fields, content = wire.answer(1)
        assert (fields["grpc-status"], fields["grpc-encoding"]) == ("0", "gzip")
        assert content[0] == 1
        assert np.array_equal(output_of(gzip.decompress(content[5:])), array)

    def test_the_error_in_full(self, wire: Http2Wire) -> None:
        wire.call(1, INFER, b"")
        fields, content = wire.answer(1)
        assert (fields[":status"], fields["grpc-status"], content) == ("200", "16", b"")
        encoded = fields["ei-error-bin"]
        document = json.loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
        assert (document["kind"], document["ei_error_code"]) == ("unauthenticated", [3, 16, 8])

    def test_each_token_is_looked_at(self, wire: Http2Wire, served: AcceleratorProcess) -> None:
        """Header blocks that came before are recognised; what they are allowed is not."""
        right, wrong = f"Bearer {served.token()}", "Bearer nonsense"
        message = infer_request("double", X)
        shown = [right, right, right, wrong, wrong, wrong, right, right, wrong]
        for index, token in enumerate(shown):
            wire.call(1 + 2 * index, INFER, message, authorization=token)
            status = wire.answer(1 + 2 * index)[0]["grpc-status"]
            assert status == ("0" if token == right else "16"), index
        other = [f"Bearer {served.token(lifetime=500.0)}"] * 3
        for index, token in enumerate([*other, right, *other]):
            wire.call(101 + 2 * index, INFER, message, authorization=token)
            assert wire.answer(101 + 2 * index)[0]["grpc-status"] == "0", index

    def test_a_token_expires(self, wire: Http2Wire, served: AcceleratorProcess) -> None:
        soon = f"Bearer {served.token(lifetime=1.0)}"
        message = infer_request("double", X)
        statuses: list[str] = []
        wire.send(http2.window_update(0, 1 << 30))
        while "16" not in statuses:
            wire.call(1 + 2 * len(statuses), INFER, message, authorization=soon)
            statuses.append(wire.answer(1 + 2 * len(statuses))[0]["grpc-status"])
        assert set(statuses[:-1]) <= {"0"}

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"content_type": "application/json"}, "415"),
            ({"content_type": None}, "415"),
            ({"content_type": "application/grpc+json"}, "415"),
            ({"__method": "GET"}, "405"),
        ],
    )
    def test_what_is_no_call(self, wire: Http2Wire, fields: dict[str, Any], status: str) -> None:
        wire.send(wire.headers(1, end=True, **fields))
        assert wire.answer(1)[0][":status"] == status
        assert is_live(wire, 3)

    @pytest.mark.parametrize("kind", ["application/grpc+proto", "application/grpc;charset=utf-8"])
    def test_other_spellings_of_the_content_type(self, wire: Http2Wire, kind: str) -> None:
        wire.call(1, content_type=kind)
        assert wire.answer(1)[0]["grpc-status"] == "0"

    def test_an_unknown_encoding(self, wire: Http2Wire) -> None:
        wire.call(1, grpc_encoding="snappy")
        fields, _ = wire.answer(1)
        assert fields["grpc-status"] == "12"
        assert fields["grpc-accept-encoding"] == "identity,deflate,gzip"

    @pytest.mark.parametrize(
        "message", [b"\x02\0\0\0\0", b"\0\0\0\0", b"\0\0\0\0\x05abc", b"\x01\0\0\0\x01x"]
    )
    def test_messages_that_are_none(self, wire: Http2Wire, message: bytes) -> None:
        wire.send(wire.headers(1, INFER, token=True, grpc_encoding="gzip"))
        wire.send(wire.data(1, message))
        assert wire.answer(1)[0]["grpc-status"] == "3"
        assert is_live(wire, 3)

    def test_a_deadline_that_has_passed(self, wire: Http2Wire) -> None:
        wire.call(1, INFER, infer_request("double", X), token=True, grpc_timeout="1n")
        assert wire.answer(1)[0]["grpc-status"] == "4"


class TestFlowControl:
    def test_an_answer_waits_for_the_window(self, served: AcceleratorProcess) -> None:
        with Http2Wire(served, settings={http2.SETTINGS_INITIAL_WINDOW_SIZE: 10}) as wire:
            wire.call(1, INFER, infer_request("double", X), token=True)
            came = b""
            while len(came) < 10:
                came += wire.wait_for(http2.DATA).payload
            assert len(came) == 10
            assert wire.is_alive()
            wire.send(http2.window_update(1, 1))
            came += wire.wait_for(http2.DATA).payload
            assert len(came) == 11
            # A larger window of all streams lets this one go on as well.
            wire.send(http2.settings_frame({http2.SETTINGS_INITIAL_WINDOW_SIZE: 100_000}))
            fields, rest = wire.answer(1)
            assert fields["grpc-status"] == "0"
            assert output_of((came + rest)[5:]).tolist() == (X * 2).tolist()

    def test_other_streams_go_on_meanwhile(self, served: AcceleratorProcess) -> None:
        with Http2Wire(served, settings={http2.SETTINGS_INITIAL_WINDOW_SIZE: 0}) as wire:
            for stream in (1, 3, 5):
                wire.call(stream, INFER, infer_request("double", X), token=stream == 1)
            for stream in (5, 1, 3):
                wire.send(http2.window_update(stream, 1000))
                fields, content = wire.answer(stream)
                assert fields["grpc-status"] == "0"
                assert output_of(content[5:]).tolist() == (X * 2).tolist()

    def test_frames_are_as_large_as_the_peer_takes(self, served: AcceleratorProcess) -> None:
        array = np.ones((50_000, 4), np.float32)
        for limit in (16384, 1 << 20):
            wide = {http2.SETTINGS_INITIAL_WINDOW_SIZE: http2.MAX_WINDOW}
            with Http2Wire(served, settings={**wide, http2.SETTINGS_MAX_FRAME_SIZE: limit}) as wire:
                wire.send(http2.window_update(0, 1 << 30))
                wire.call(1, INFER, infer_request("double", array), token=True)
                largest = 0
                left = array.nbytes
                while left > 0:
                    size = len(wire.wait_for(http2.DATA).payload)
                    largest = max(largest, size)
                    left -= size
                assert largest == min(limit, largest)
                assert (largest == 16384) == (limit == 16384)

    def test_a_message_larger_than_the_window_is_let_in(self, wire: Http2Wire) -> None:
        window = 0
        first = wire.wait_for(http2.SETTINGS)
        for name, value in struct.iter_unpack(">HL", first.payload):
            if name == http2.SETTINGS_INITIAL_WINDOW_SIZE:
                window = value
        array = np.zeros((window // 8, 4), np.float32)
        message = framed(infer_request("double", array))
        wire.send(wire.headers(1, INFER, token=True))
        wire.send(wire.data(1, message[:5], end=False))
        while wire.wait_for(http2.WINDOW_UPDATE).stream != 1:
            pass
        for at in range(5, len(message), 1 << 20):
            wire.send(
                wire.data(1, message[at : at + (1 << 20)], end=at + (1 << 20) >= len(message))
            )
        assert wire.wait_for(http2.DATA).stream == 1

    def test_a_conversation_may_go_on_for_ever(self, wire: Http2Wire) -> None:
        """More goes through one stream than its first window, both ways."""
        array = np.ones((100_000, 4), np.float32)
        message = framed(infer_request("double", array))
        wire.send(http2.settings_frame({http2.SETTINGS_INITIAL_WINDOW_SIZE: http2.MAX_WINDOW}))
        wire.send(http2.window_update(0, http2.MAX_WINDOW - http2.DEFAULT_WINDOW))
        wire.send(wire.headers(1, STREAM_INFER, token=True))
        for _ in range(12):
            wire.send(wire.data(1, message, end=False))
            left = array.nbytes
            while left > 0:
                left -= len(wire.wait_for(http2.DATA).payload)
        wire.send(wire.data(1, b""))
        assert wire.answer(1)[0]["grpc-status"] == "0"


def _settings(value: dict[int, int]) -> Callable[[Http2Wire], bytes]:
    return lambda _: http2.settings_frame(value)


def _raw(kind: int, flags: int, stream: int, payload: bytes = b"") -> Callable[[Http2Wire], bytes]:
    return lambda _: http2.frame(kind, flags, stream, payload)


_BREAKS: dict[str, tuple[Callable[[Http2Wire], bytes], int]] = {
    "data of no stream": (_raw(http2.DATA, 0, 0, b"x"), http2.PROTOCOL_ERROR),
    "data before headers": (_raw(http2.DATA, 0, 1, b"x"), http2.PROTOCOL_ERROR),
    "an even stream": (lambda w: w.headers(2), http2.PROTOCOL_ERROR),
    "headers of no stream": (lambda w: w.headers(0), http2.PROTOCOL_ERROR),
    "a ping of 7 bytes": (_raw(http2.PING, 0, 0, bytes(7)), http2.FRAME_SIZE_ERROR),
    "a ping of a stream": (_raw(http2.PING, 0, 1, bytes(8)), http2.PROTOCOL_ERROR),
    "settings of a stream": (_raw(http2.SETTINGS, 0, 1), http2.PROTOCOL_ERROR),
    "settings of 5 bytes": (_raw(http2.SETTINGS, 0, 0, bytes(5)), http2.FRAME_SIZE_ERROR),
    "settings within an ack": (_raw(http2.SETTINGS, 1, 0, bytes(6)), http2.FRAME_SIZE_ERROR),
    "push of 2": (_settings({http2.SETTINGS_ENABLE_PUSH: 2}), http2.PROTOCOL_ERROR),
    "a window too large": (
        _settings({http2.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 31}),
        http2.FLOW_CONTROL_ERROR,
    ),
    "a frame size too small": (_settings({http2.SETTINGS_MAX_FRAME_SIZE: 1}), http2.PROTOCOL_ERROR),
    "an update of 0": (_raw(http2.WINDOW_UPDATE, 0, 0, bytes(4)), http2.PROTOCOL_ERROR),
    "an update of 3 bytes": (_raw(http2.WINDOW_UPDATE, 0, 0, bytes(3)), http2.FRAME_SIZE_ERROR),
    "an update too many": (
        _raw(http2.WINDOW_UPDATE, 0, 0, struct.pack(">L", http2.MAX_WINDOW)),
        http2.FLOW_CONTROL_ERROR,
    ),
    "an update of an idle stream": (
        _raw(http2.WINDOW_UPDATE, 0, 9, struct.pack(">L", 1)),
        http2.PROTOCOL_ERROR,
    ),
    "a reset of an idle stream": (_raw(http2.RST_STREAM, 0, 9, bytes(4)), http2.PROTOCOL_ERROR),
    "a reset of no stream": (_raw(http2.RST_STREAM, 0, 0, bytes(4)), http2.PROTOCOL_ERROR),
    "a reset of 3 bytes": (_raw(http2.RST_STREAM, 0, 1, bytes(3)), http2.FRAME_SIZE_ERROR),
    "a push": (_raw(http2.PUSH_PROMISE, 4, 1, bytes(8)), http2.PROTOCOL_ERROR),
    "a continuation of nothing": (_raw(http2.CONTINUATION, 4, 1, b""), http2.PROTOCOL_ERROR),
    "an interrupted header block": (
        lambda w: http2.frame(http2.HEADERS, 0, 1, w.block()) + w.data(1, b""),
        http2.PROTOCOL_ERROR,
    ),
    "padding longer than the frame": (
        lambda w: w.headers(1) + http2.frame(http2.DATA, http2.PADDED, 1, b"\x05abc"),
        http2.PROTOCOL_ERROR,
    ),
    "padding longer than the header block": (
        _raw(http2.HEADERS, http2.PADDED | http2.END_HEADERS, 1, b"\x05abc"),
        http2.PROTOCOL_ERROR,
    ),
    "a header block that is none": (
        _raw(http2.HEADERS, http2.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
        http2.COMPRESSION_ERROR,
    ),
    "a table larger than allowed": (
        _raw(http2.HEADERS, http2.END_HEADERS, 1, b"\x3f\xe1\xff\x03"),
        http2.COMPRESSION_ERROR,
    ),
    "a frame larger than any": (_raw(http2.SETTINGS, 0, 0, bytes(60_000)), http2.FRAME_SIZE_ERROR),
    "a goaway of a stream": (_raw(http2.GOAWAY, 0, 1, bytes(8)), http2.PROTOCOL_ERROR),
    "a priority of no stream": (_raw(http2.PRIORITY, 0, 0, bytes(5)), http2.PROTOCOL_ERROR),
}


class TestBroken:
    @pytest.mark.parametrize("name", _BREAKS)
    def test_what_ends_the_connection(self, wire: Http2Wire, name: str) -> None:
        make, code = _BREAKS[name]
        wire.send(make(wire))
        assert wire.wait_for(http2.GOAWAY).code == code
        assert wire.gone()

    @pytest.mark.parametrize(
        ("fields", "more"),
        [
            ({"__path": None}, ()),
            ({"__method": None}, ()),
            ({"__scheme": None}, ()),
            ({"__path": ""}, ()),
            ({"connection": "close"}, ()),
            ({"transfer_encoding": "chunked"}, ()),
            ({"te": "gzip"}, ()),
            ({"content_length": "7"}, ()),
            ({"content_length": "x"}, ()),
            ({"grpc_timeout": "1"}, ()),
            ({"grpc_timeout": "123456789S"}, ()),
            ({}, ((":path", "/late"),)),
            ({}, ((":status", "200"),)),
            ({}, (("Upper", "case"),)),
            ({}, (("x y", "z"),)),
            ({}, (("x", "a\r\nb: c"),)),
            ({}, (("x", "nul\0"),)),
            ({}, (("authorization", "a"), ("authorization", "b"))),
        ],
    )
    def test_what_ends_a_stream(
        self, wire: Http2Wire, fields: dict[str, Any], more: tuple[tuple[str, str], ...]
    ) -> None:
        block = wire.block(**fields) + wire.encoder.encode(list(more))
        wire.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, block))
        wire.send(wire.data(1, framed(b"")))
        reset = wire.wait_for(http2.RST_STREAM, http2.GOAWAY)
        assert (reset.kind, reset.stream, reset.code) == (http2.RST_STREAM, 1, http2.PROTOCOL_ERROR)
        assert is_live(wire, 3)

    def test_blanks_around_a_value_are_not_its_own(
        self, served: AcceleratorProcess, wire: Http2Wire
    ) -> None:
        """perf_analyzer sends them as its user typed them after the colon."""
        block = wire.block(SERVICE + "ServerMetadata", authorization=f" Bearer {served.token()} ")
        wire.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, block))
        wire.send(wire.data(1, framed(b"")))
        fields, _ = wire.answer(1)
        assert fields["grpc-status"] == "0"

    def test_more_data_than_the_window(self, wire: Http2Wire) -> None:
        wire.send(wire.headers(1, INFER, token=True))
        for _ in range(9):
            # Messages of no bytes: only the window is in the way.
            wire.send(wire.data(1, bytes(5) * 200_000, end=False))
        frame = wire.wait_for(http2.RST_STREAM, http2.GOAWAY, http2.HEADERS)
        assert frame.stream == 1 or frame.kind == http2.GOAWAY

    def test_frames_after_the_end(self, wire: Http2Wire) -> None:
        assert is_live(wire, 1)
        wire.send(wire.data(1, b"more"))
        assert wire.wait_for(http2.GOAWAY).code == http2.STREAM_CLOSED

    def test_frames_of_a_refused_stream_are_nobodys_fault(self, wire: Http2Wire) -> None:
        wire.send(wire.headers(1, INFER))
        fields, _ = wire.answer(1)
        assert fields["grpc-status"] == "16"
        wire.send(wire.data(1, bytes(100), end=False) + wire.data(1, bytes(100)))
        assert is_live(wire, 3)

    def test_a_stream_that_is_not_new(self, wire: Http2Wire) -> None:
        assert is_live(wire, 5)
        wire.send(wire.headers(3))
        assert wire.wait_for(http2.GOAWAY).code == http2.STREAM_CLOSED

    @pytest.mark.parametrize("preface", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI", b"PRIVATE /"])
    def test_another_preface(self, served: AcceleratorProcess, preface: bytes) -> None:
        with Http2Wire(served, greet=False) as wire:
            wire.send(preface + bytes(24))
            assert until_closed(wire.socket) == b""

    def test_something_else_than_settings_first(self, served: AcceleratorProcess) -> None:
        with Http2Wire(served, greet=False) as wire:
            wire.send(http2.PREFACE + http2.frame(http2.PING, 0, 0, bytes(8)))
            assert wire.wait_for(http2.GOAWAY).code == http2.PROTOCOL_ERROR

    def test_cut_off_anywhere(self, wire: Http2Wire, served: AcceleratorProcess) -> None:
        whole = http2.PREFACE + http2.settings_frame({}) + wire.headers(1, INFER, token=True)
        whole += wire.data(1, framed(infer_request("double", np.ones((5000, 4), np.float32))))
        for at in (*range(1, 60, 7), 200, 400, 500, 5000, len(whole) - 1):
            with served.connect() as cut:
                cut.sendall(whole[:at])
        assert wire.is_alive()
