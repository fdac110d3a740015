"""The order of a conversation's messages, whichever thread lays them down."""

from __future__ import annotations

from typing import Any, cast

from elastic_inference.accelerator.channel import BufferBudget
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.grant import Grant
from elastic_inference.accelerator.grpc_calls import MOST_WAITING, Calls
from elastic_inference.accelerator.http2_stream import Pieces, Stream
from elastic_inference.accelerator.http2_writer import Writer
from elastic_inference.accelerator.landing import Landing
from elastic_inference.protocol.grpc import message_prefix
from elastic_inference.protocol.tensors import Buffer


class _WatchedLanding(Landing):
    """Tells when a message begins."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(BufferBudget(1 << 30))
        self._stream = stream
        self.behind: list[bool] = []

    def place(self, size: int) -> tuple[Buffer, Buffer | None]:
        self.behind.append(bool(self._stream.backlog))
        return super().place(size)


def test_what_comes_while_a_backlog_is_taken_apart_goes_behind_it() -> None:
    stream = Stream(1, cast("Any", _Headers()), 65535, 1 << 20)
    stream.limit = 1 << 20
    landing = _WatchedLanding(stream)
    nothing = cast("Any", lambda *_: None)
    calls = Calls(
        cast("DataPlane", None), cast("Grant", None), cast("Writer", _Writer()), landing,
        room=1 << 20, allow=nothing, forget=nothing,
    )  # fmt: skip
    for number in range(MOST_WAITING + 4):
        body = bytes([number])
        data = bytearray(message_prefix(len(body), compressed=False) + body)
        if not calls.put_back(stream, data):
            stream.take(Pieces(memoryview(data)), len(data), landing)
    landing.behind.clear()
    took = [calls._next_of(stream) for _ in range(MOST_WAITING + 4)]
    # The reader looks whether there is a backlog without a lock: it must see one until then.
    assert landing.behind == [True] * 4
    assert [bytes(each.data)[0] for each in took if each is not None] == list(range(20))
    assert not stream.backlog


class _Headers:
    timeout = None


class _Writer:
    def control(self, _: bytes) -> None:
        pass
