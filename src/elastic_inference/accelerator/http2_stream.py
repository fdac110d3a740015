"""One stream of an HTTP/2 connection: a call, with the messages that come in it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from elastic_inference.accelerator.landing import Landing
from elastic_inference.accelerator.rpc import Method, Parts, Rpc
from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.grpc import PREFIX_LENGTH, message_too_large
from elastic_inference.protocol.http2_headers import RequestHeaders
from elastic_inference.protocol.tensors import Buffer


class Source(Protocol):
    """Where a message's bytes come from."""

    def some(self, most: int) -> Buffer:
        """From 1 to `most` bytes that are next."""

    def into(self, target: Buffer) -> None:
        """Fill `target` with what is next."""


class Pieces:
    """Bytes that came before, as a source."""

    def __init__(self, data: Buffer) -> None:
        self._data = data

    def some(self, most: int) -> Buffer:
        piece, self._data = self._data[:most], self._data[most:]
        return piece

    def into(self, target: Buffer) -> None:
        target[:] = self.some(len(target))


@dataclass(slots=True)
class Message:
    """One message that came.

    Attributes:
        data: its bytes, as they came.
        buffer: what to give back to the landing, if anything.
        began, received: monotonic times of its first and its last byte.
    """

    data: Buffer
    buffer: Buffer | None
    compressed: bool
    began: float
    received: float


class Stream:
    """A call.

    Attributes:
        window: how many bytes the peer takes now.
        room: how many it may still send.
        came: how many it sent.
        limit: bytes of its largest message.
        backlog: DATA that came when enough messages waited already.
        stalled: monotonic time since when an answer waits for the window; 0 if none does.
        watch: where the answers of a watch come from.
        since: monotonic time of the last byte of a message.
        deadline: monotonic time at which the caller gives up.
        messages: what came and was not handled yet.
        ended: the peer sends no more.
        over: nothing may be sent any more: it was answered, or reset.
        running: a handler is at work, or is about to be.
        headed: the header block of the answer was sent.
        failing: what it will be ended with, for another reason than its handler's.
    """

    __slots__ = (
        *("_at", "_began", "_buffer", "_compressed", "_prefix", "_size", "_target", "came"),
        *("backlog", "deadline", "ended", "failing", "headed", "headers", "id", "limit"),
        *(
            "messages",
            "method",
            "over",
            "room",
            "rpc",
            "running",
            "since",
            "stalled",
            "watch",
            "window",
        ),
    )

    def __init__(self, number: int, headers: RequestHeaders, window: int, room: int) -> None:
        self.id = number
        self.limit = 0
        self.headers = headers
        self.method: Method | None = None
        self.rpc: Rpc | None = None
        self.window = window
        self.room = room
        self.backlog = bytearray()
        self.watch: Iterator[Parts | None] | None = None
        self.since = time.monotonic()
        self.deadline = self.since + headers.timeout if headers.timeout is not None else 0.0
        self.messages: deque[Message] = deque()
        self.ended = self.over = self.running = self.headed = self.failing = False
        self.stalled = 0.0
        self.came = 0
        self._prefix = bytearray()
        self._target: Buffer | None = None
        self._buffer: Buffer | None = None
        self._size = self._at = 0
        self._began = self.since
        self._compressed = False

    @property
    def is_amid(self) -> bool:
        """A message has begun and is not whole."""
        return self._target is not None or bool(self._prefix)

    def missing(self) -> int:
        """How many bytes of the present message are still to come."""
        return self._size - self._at if self._target is not None else 0

    def take(self, reader: Source, length: int, landing: Landing) -> None:
        """Lay down `length` bytes of DATA that are next.

        Raises:
            InvalidRequestError: they are no message.
            PayloadTooLargeError: the message is over its limit.
            LimitExceededError: there is no room for it.
        """
        self.since = time.monotonic()
        while length:
            if self._target is None:
                if not self._prefix:
                    self._began = time.monotonic()
                piece = reader.some(min(length, PREFIX_LENGTH - len(self._prefix)))
                length -= len(piece)
                self._prefix += piece
                if len(self._prefix) == PREFIX_LENGTH:
                    self._begin(landing)
            else:
                count = min(length, self._size - self._at)
                reader.into(self._target[self._at : self._at + count])
                length -= count
                self._at += count
            if self._target is not None and self._at == self._size:
                self._finish()

    def _begin(self, landing: Landing) -> None:
        flag = self._prefix[0]
        if flag > 1:
            raise InvalidRequestError("A message begins with neither 0 nor 1.")
        size = int.from_bytes(self._prefix[1:], "big")
        if size > self.limit:
            raise message_too_large(self.limit)
        self._compressed = flag == 1
        self._size, self._at = size, 0
        self._target, self._buffer = landing.place(size)

    def _finish(self) -> None:
        data = self._target
        assert data is not None  # noqa: S101 - for the type checker
        self.messages.append(
            Message(data, self._buffer, self._compressed, self._began, time.monotonic())
        )
        self._target = self._buffer = None
        self._prefix.clear()

    def abandon(self, landing: Landing) -> None:
        """Give back all room, some of which may still be written to."""
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            landing.abandon(buffer)
        if self.backlog:
            landing.charge(-len(self.backlog))
            self.backlog = bytearray()
        while self.messages:
            message = self.messages.popleft()
            if message.buffer is not None:
                landing.abandon(message.buffer)
