"""Floods, silence and the end of HTTP/2 connections to an accelerator process."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hpack import Encoder

from elastic_inference.protocol import http2
from elastic_inference.settings import Limits
from tests.accelerator.grpc_client import (
    HEALTH_WATCH,
    INFER,
    STREAM_INFER,
    Http2Wire,
    framed,
    infer_request,
    is_live,
)
from tests.accelerator.http_client import Wire, X, infer, load, scale_model
from tests.client.models import slow
from tests.faults.conftest import until
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


class TestFloods:
    """Each ends the connection, or is bounded; `wire` shows that others are served."""

    def test_resets(self, wire: Http2Wire) -> None:
        burst = b"".join(
            wire.headers(stream) + http2.reset_stream(stream, http2.CANCEL)
            for stream in range(1, 30_001, 2)
        )
        with contextlib.suppress(ConnectionError):
            wire.send(burst)
        assert wire.gone()

    @pytest.mark.parametrize(
        "frame",
        [
            http2.frame(http2.PING, 0, 0, bytes(8)),
            http2.settings_frame({}),
            http2.frame(http2.PRIORITY, 0, 1, bytes(5)),
            http2.frame(0xEE, 0, 0, b""),
            http2.frame(http2.SETTINGS, http2.ACK, 0),
        ],
        ids=["ping", "settings", "priority", "unknown", "ack"],
    )
    def test_frames_that_do_nothing(self, wire: Http2Wire, frame: bytes) -> None:
        _drowns(wire, frame)

    def test_what_calls_entail_is_no_flood(self, wire: Http2Wire) -> None:
        """Clients open windows and measure with pings again and again."""
        frames = http2.window_update(0, 100) + http2.frame(http2.PING, 0, 0, bytes(8))
        stream = 1
        for _ in range(100):
            for _ in range(50):
                wire.call(stream)
                stream += 2
            wire.send(frames * 100)
            assert wire.answer(stream - 2)[0]["grpc-status"] == "0"
        assert is_live(wire, stream)

    def test_empty_data(self, wire: Http2Wire) -> None:
        wire.send(wire.headers(1, INFER, token=True))
        _drowns(wire, wire.data(1, b"", end=False))

    def test_continuations(self, wire: Http2Wire) -> None:
        wire.send(http2.frame(http2.HEADERS, 0, 1, wire.block()))
        _drowns(wire, http2.frame(http2.CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 100))

    def test_empty_continuations(self, wire: Http2Wire) -> None:
        wire.send(http2.frame(http2.HEADERS, 0, 1, wire.block()))
        _drowns(wire, http2.frame(http2.CONTINUATION, 0, 1, b""))

    def test_a_header_list_that_unpacks_large(self, wire: Http2Wire) -> None:
        encoder = Encoder()
        block = encoder.encode([("x-large", "v" * 3000)])
        # One byte each from here on.
        again = encoder.encode([("x-large", "v" * 3000)])
        assert len(again) < 5
        wire.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, block + again * 2000))
        assert wire.wait_for(http2.GOAWAY).code == http2.COMPRESSION_ERROR

    def test_streams(self, wire: Http2Wire) -> None:
        limit = 0
        for name, value in struct.iter_unpack(">HL", wire.wait_for(http2.SETTINGS).payload):
            if name == http2.SETTINGS_MAX_CONCURRENT_STREAMS:
                limit = value
        assert 0 < limit <= 1000
        for index in range(limit + 1):
            wire.send(wire.headers(1 + 2 * index))
        reset = wire.wait_for(http2.RST_STREAM)
        assert (reset.stream, reset.code) == (1 + 2 * limit, http2.REFUSED_STREAM)
        wire.send(wire.data(1, framed(b"")))
        assert wire.answer(1)[0]["grpc-status"] == "0"
        assert is_live(wire, 1 + 2 * (limit + 1))

    def test_messages_without_end_in_a_conversation(self, wire: Http2Wire) -> None:
        """Who reads no answers is held back by the window of what it may send."""
        wire.send(http2.settings_frame({http2.SETTINGS_INITIAL_WINDOW_SIZE: 0}))
        wire.send(wire.headers(1, STREAM_INFER, token=True))
        many = bytes(5) * 1000
        sent = 0
        while sent < 7_000_000:
            wire.send(wire.data(1, many, end=False))
            sent += len(many)
        assert wire.is_alive()
        wire.send(http2.reset_stream(1, http2.CANCEL))
        wire.send(http2.settings_frame({http2.SETTINGS_INITIAL_WINDOW_SIZE: 1000}))
        assert is_live(wire, 3)


def _drowns(wire: Http2Wire, frame: bytes) -> None:
    """Send a frame over and over until the connection ends."""
    burst = frame * (200_000 // len(frame) + 1)
    wire.socket.settimeout(60.0)
    try:
        for _ in range(200):
            wire.send(burst)
    except (ConnectionError, TimeoutError):
        return
    pytest.fail("the connection goes on")


@pytest.fixture(scope="module")
def impatient() -> Iterator[AcceleratorProcess]:
    with tempfile.TemporaryDirectory(prefix="ei-") as name:
        limits = Limits(receive_timeout=0.5, send_timeout=0.5, idle_timeout=1.0)
        process = AcceleratorProcess(Path(name), limits=limits)
        try:
            load(process, "double", scale_model(2))
            yield process
        finally:
            process.stop()


class TestSlow:
    @pytest.mark.parametrize("sent", [b"PR", http2.PREFACE[:20], http2.PREFACE, b""])
    def test_a_preface_that_stops(self, impatient: AcceleratorProcess, sent: bytes) -> None:
        with Http2Wire(impatient, greet=False) as wire:
            wire.send(sent)
            assert wire.gone()

    def test_a_header_block_that_stops(self, impatient: AcceleratorProcess) -> None:
        with Http2Wire(impatient) as wire:
            wire.send(http2.frame(http2.HEADERS, 0, 1, wire.block()))
            assert wire.gone()

    def test_a_message_that_stops(self, impatient: AcceleratorProcess) -> None:
        with Http2Wire(impatient) as wire:
            wire.send(wire.headers(1, INFER, token=True))
            wire.send(wire.data(1, framed(bytes(100_000))[:50_000], end=False))
            wire.call(3)
            assert wire.answer(3)[0]["grpc-status"] == "0"
            assert wire.answer(1)[0]["grpc-status"] == "4"

    def test_a_frame_that_stops(self, impatient: AcceleratorProcess) -> None:
        with Http2Wire(impatient) as wire:
            wire.send(wire.headers(1, INFER, token=True))
            wire.send(wire.data(1, framed(bytes(100_000)))[:50_000])
            assert wire.gone()

    def test_nobody_reads(self, impatient: AcceleratorProcess) -> None:
        wide = {http2.SETTINGS_INITIAL_WINDOW_SIZE: http2.MAX_WINDOW}
        array = np.zeros((500_000, 4), np.float32)
        descriptors = Path(f"/proc/{impatient.pid}/fd")
        before = len(list(descriptors.iterdir()))
        with Http2Wire(impatient, settings=wide) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.send(http2.window_update(0, 1 << 30))
            assert wire.is_alive()
            wire.call(1, INFER, infer_request("double", array), token=True)
            until("the connection cut", lambda: len(list(descriptors.iterdir())) <= before)

    def test_a_window_that_stays_shut(self, impatient: AcceleratorProcess) -> None:
        with Http2Wire(impatient, settings={http2.SETTINGS_INITIAL_WINDOW_SIZE: 0}) as wire:
            wire.call(1, INFER, infer_request("double", X), token=True)
            reset = wire.wait_for(http2.RST_STREAM)
            assert (reset.stream, reset.code) == (1, http2.CANCEL)
            assert wire.is_alive()

    def test_an_idle_connection(self, impatient: AcceleratorProcess) -> None:
        with Http2Wire(impatient) as wire:
            assert is_live(wire, 1)
            assert wire.gone()

    def test_a_watch_without_a_token(self, impatient: AcceleratorProcess) -> None:
        with Http2Wire(impatient) as wire:
            wire.call(1, HEALTH_WATCH)
            assert wire.wait_for(http2.DATA).stream == 1
            assert wire.gone()


def test_without_a_token_nothing_large_is_taken(wire: Http2Wire) -> None:
    wire.call(1, message=bytes(20_000))
    assert wire.answer(1)[0]["grpc-status"] == "8"
    assert is_live(wire, 3)


def test_a_conversation_ends_with_its_token(wire: Http2Wire, served: AcceleratorProcess) -> None:
    soon = f"Bearer {served.token(lifetime=1.0)}"
    wire.send(http2.window_update(0, 1 << 30))
    wire.send(http2.settings_frame({http2.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 30}))
    wire.send(wire.headers(1, STREAM_INFER, authorization=soon))
    message = wire.data(1, framed(infer_request("double", X)), end=False)
    while True:
        wire.send(message)
        answer = wire.frame()
        if answer.kind == http2.HEADERS:
            fields: dict[Any, Any] = dict(wire.decoder.decode(answer.payload))
            if answer.flags & http2.END_STREAM:
                break
    assert fields["grpc-status"] == "16"


def test_what_cut_connections_held_comes_back(served: AcceleratorProcess) -> None:
    def held() -> tuple[int, int]:
        return tuple(  # type: ignore[return-value]  # two
            len(list(Path(f"/proc/{served.pid}/{what}").iterdir())) for what in ("fd", "task")
        )

    with Http2Wire(served) as wire:
        assert is_live(wire, 1)
        # With the thread that looks after these connections, which stays.
        before = held()
    request = infer_request("double", np.ones((20_000, 4), np.float32))
    for at in range(30):
        with Http2Wire(served) as wire:
            for stream in (1, 3, 5):
                wire.call(stream, INFER, request, token=True)
            wire.send(wire.headers(7, INFER, token=True))
            wire.send(wire.data(7, framed(request)[: 1000 * at], end=False))
    until(
        "all given back", lambda: all(now <= then for now, then in zip(held(), before, strict=True))
    )


def test_a_cancelled_call_is_not_begun(start_accelerator: Start) -> None:
    process = start_accelerator()
    load(process, "double", scale_model(2))
    load(process, "endless", slow(_ENDLESS))
    with Http2Wire(process) as wire:
        # All who may run calls do, so the call after these waits.
        square = infer_request("endless", np.eye(24, dtype=np.float32))
        for index in range(16):
            wire.call(1 + 2 * index, INFER, square, token=index == 0)
        wire.call(101, INFER, infer_request("double", X))
        assert wire.is_alive()
        wire.send(http2.reset_stream(101, http2.CANCEL))
        assert wire.is_alive()
        _, _, body = process.request("GET", "/v2/models/double/stats")
        (statistics,) = json.loads(body)["model_stats"]
        assert statistics["inference_stats"]["success"]["count"] == 0
        # A deadline passes while its call waits.
        wire.call(103, INFER, infer_request("double", X), grpc_timeout="100m")
        assert wire.answer(103)[0]["grpc-status"] == "4"


def test_a_goaway_says_what_was_not_begun(start_accelerator: Start) -> None:
    process = start_accelerator()
    with Http2Wire(process) as wire:
        wire.call(1)
        assert wire.answer(1)[0]["grpc-status"] == "0"
        process.process.terminate()
        goaway = wire.wait_for(http2.GOAWAY)
        assert (goaway.code, int.from_bytes(goaway.payload[:4])) == (http2.NO_ERROR, 1)
    assert process.process.wait(60.0) == 0
