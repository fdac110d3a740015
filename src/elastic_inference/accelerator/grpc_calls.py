"""Runs the calls of an HTTP/2 connection and answers them."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from elastic_inference.accelerator.causes import cause_of
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.grant import Grant
from elastic_inference.accelerator.http2_stream import Message, Pieces, Stream
from elastic_inference.accelerator.http2_writer import Writer
from elastic_inference.accelerator.landing import Landing
from elastic_inference.accelerator.rpc import Answer, Parts, Rpc, Watch
from elastic_inference.accelerator.statistics import Counter
from elastic_inference.errors import (
    DeadlineExceededError,
    ElasticInferenceError,
    InvalidRequestError,
)
from elastic_inference.protocol.grpc import (
    OK_TRAILERS,
    PREFIX_LENGTH,
    answer_block,
    deflate,
    error_trailers,
    inflate,
    message_prefix,
)
from elastic_inference.protocol.http2 import reset_stream, window_update
from elastic_inference.protocol.tensors import Buffer

log = logging.getLogger(__name__)

# Messages of a conversation that are taken apart before their turn; what comes then lies as it is.
MOST_WAITING = 16
_REFILL = 65536
_DUE = 8
_DUE_EACH = 4096
_HEADERS = answer_block()


class Calls:
    """The calls of one connection. Its methods are jobs, which run in any thread."""

    def __init__(
        self,
        plane: DataPlane,
        grant: Grant,
        writer: Writer,
        landing: Landing,
        *,
        room: int,
        allow: Callable[[int], None],
        forget: Callable[[Stream], None],
    ) -> None:
        """
        Args:
            room: how many bytes a stream may bring before it is given more room.
            allow: told how many frames that steer are the peer's due for what it was sent.
            forget: takes a stream that is over from the connection.
        """
        self._plane = plane
        self._grant = grant
        self._writer = writer
        self._landing = landing
        self._room = room
        self._allow = allow
        self._forget = forget
        self._lock = threading.Lock()
        self._counters: dict[str, Counter] = {}

    # The kinds of calls

    def unary(self, stream: Stream) -> None:
        """Answer the one message of `stream`."""
        message = stream.messages.popleft()
        try:
            self._answer(stream, message, OK_TRAILERS)
        except Exception as error:  # noqa: BLE001 - sorted out in one place
            self._failed(stream, error, message)
        finally:
            if message.buffer is not None:
                self._landing.give_back(message.buffer)
            self._forget(stream)

    def conversation(self, stream: Stream) -> None:
        """Answer the messages of `stream` that came, in order."""
        while not stream.over:
            try:
                message = self._next_of(stream)
                if message is None:
                    return
                try:
                    # The conversation may outlive the token that it began with.
                    self._grant.check(None)
                    self._answer(stream, message, b"")
                finally:
                    if message.buffer is not None:
                        self._landing.give_back(message.buffer)
            except Exception as error:  # noqa: BLE001 - sorted out in one place
                self._failed(stream, error, None)
        self._forget(stream)

    def _next_of(self, stream: Stream) -> Message | None:
        """The next message; None if none is there, the stream's job being done then."""
        with self._lock:
            if stream.backlog and len(stream.messages) < MOST_WAITING // 2:
                self._refill(stream)
            if not stream.ended:
                self._make_room(stream)
            if stream.messages:
                return stream.messages.popleft()
            stream.running = False
        if stream.ended:
            self._end(stream)
        return None

    def _end(self, stream: Stream) -> None:
        if stream.is_amid:
            raise cut_off()
        block = OK_TRAILERS if stream.headed else _HEADERS + OK_TRAILERS
        self._writer.end(stream, block)
        self._forget(stream)

    def starts(self, stream: Stream) -> bool:
        """Whether something came for `stream` that no job is at work on; then one must be added."""
        with self._lock:
            if stream.running or not (stream.messages or stream.ended):
                return False
            stream.running = True
            return True

    def put_back(self, stream: Stream, data: bytearray) -> bool:
        """Keep DATA for later, if enough messages wait already.

        Raises:
            LimitExceededError: there is no room for it.
        """
        with self._lock:
            if not stream.backlog and len(stream.messages) < MOST_WAITING:
                return False
            self._landing.charge(len(data))
            stream.backlog += data
            return True

    def _refill(self, stream: Stream) -> None:
        backlog = stream.backlog
        while stream.backlog is backlog and backlog and len(stream.messages) < MOST_WAITING:
            data = bytes(backlog[:_REFILL])
            # First, for the reader looks without the lock whether there is a backlog: what comes
            # now goes behind it.
            stream.take(Pieces(memoryview(data)), len(data), self._landing)
            if stream.backlog is backlog:
                del backlog[: len(data)]
                self._landing.charge(-len(data))

    def _make_room(self, stream: Stream) -> None:
        """Let the caller send on, once half of its room is used or a message needs more."""
        if stream.backlog:
            return
        missing = stream.missing()
        if stream.room < max(missing, self._room // 2):
            increment = max(missing, self._room) - stream.room
            stream.room += increment
            self._writer.control(window_update(stream.id, increment))

    def took(self, stream: Stream, count: int) -> None:
        """The caller of `stream` sent `count` bytes of DATA."""
        with self._lock:
            stream.room -= count
            # A message that is larger than the room gets what it needs at once.
            if not stream.ended and stream.room < stream.missing():
                self._make_room(stream)

    def watch(self, stream: Stream) -> None:
        """Begin a watch, or go on with it."""
        try:
            if stream.watch is None:
                message = stream.messages.popleft()
                rpc, data = self._open(stream, message)
                stream.watch = iter(cast("Watch", stream.method.handler)(rpc, data))  # type: ignore[union-attr]
            self._look(stream, stream.watch)
        except Exception as error:  # noqa: BLE001 - sorted out in one place
            self._failed(stream, error, None)
        finally:
            stream.running = False
            if stream.over:
                self._forget(stream)

    def _look(self, stream: Stream, watch: Iterator[Parts | None]) -> None:
        try:
            parts = next(watch)
        except StopIteration:
            self._end(stream)
            return
        if parts is not None:
            self._send(stream, parts, "identity", b"")

    # One message

    def _answer(self, stream: Stream, message: Message, trailers: bytes) -> None:
        if stream.over:
            return
        deadline = stream.deadline
        if deadline and time.monotonic() >= deadline:
            raise deadline_exceeded()
        rpc, data = self._open(stream, message)
        parts = cast("Answer", stream.method.handler)(rpc, data)  # type: ignore[union-attr]
        if rpc.align_at:
            self._landing.align(len(data), rpc.align_at)
        computed = rpc.computed or time.monotonic()
        encoding = "identity"
        if message.compressed and stream.headers.encoding in stream.headers.accepts:
            encoding = stream.headers.encoding
        sent = self._send(stream, parts, encoding, trailers)
        if rpc.model:
            receive, compute = message.received - message.began, computed - message.received
            with self._lock:
                counter = self._counter(rpc.model)
                if rpc.failed:
                    counter.failures += 1
                    counter.failure_time += time.monotonic() - message.began
                else:
                    counter.count(receive, compute, computed, len(message.data), sent)

    def _open(self, stream: Stream, message: Message) -> tuple[Rpc, Buffer]:
        """What a handler is given for a message."""
        rpc = stream.rpc
        assert rpc is not None  # noqa: S101 - a stream that has a job is whole
        if not message.compressed:
            return rpc, message.data
        inflated = inflate(message.data, stream.headers.encoding, stream.limit)
        target, buffer = self._landing.place(len(inflated))
        target[:] = inflated
        if message.buffer is not None:
            self._landing.give_back(message.buffer)
        message.buffer = buffer
        return rpc, target

    def _send(
        self, stream: Stream, parts: Sequence[Buffer | bytes], encoding: str, trailers: bytes
    ) -> int:
        block = b""
        if not stream.headed:
            stream.headed = True
            block = _HEADERS if encoding == "identity" else answer_block(encoding)
        if encoding != "identity":
            parts = (deflate(parts, encoding),)
        size = 0
        for part in parts:
            size += len(part)
        prefix = message_prefix(size, compressed=encoding != "identity")
        sent = self._writer.message(
            stream, (prefix, *parts), size + PREFIX_LENGTH, block=block, trailers=trailers
        )
        # Windows opened again, and pings that measure.
        self._allow(_DUE + sent // _DUE_EACH)
        return sent

    # Failures

    def _failed(self, stream: Stream, error: Exception, message: Message | None) -> None:
        """End a call that failed, and count it."""
        cause = cause_of(error, self._plane)
        rpc = stream.rpc
        if rpc is not None and rpc.model:
            with self._lock:
                counter = self._counter(rpc.model)
                counter.failures += 1
                if message is not None:
                    counter.failure_time += time.monotonic() - message.began
        self.fail(stream, cause)

    def fail(self, stream: Stream, error: ElasticInferenceError, status: int | None = None) -> None:
        """End `stream` with an error, unless it is over."""
        error.with_context(request_id=f"EI-{uuid.uuid4()}", accelerator_id=self._plane.id)
        if error.kind in ("internal", "out-of-memory"):
            log.warning("%s", error)
        block = error_trailers(error, status)
        if not stream.headed:
            block = _HEADERS + block
        self._writer.end(stream, block)

    def expire(self, stream: Stream, error: ElasticInferenceError) -> None:
        """End a call whose time is over, whatever it is doing."""
        self.fail(stream, error)
        if not stream.running:
            self._forget(stream)

    def cancel(self, stream: Stream, code: int) -> None:
        """Reset `stream`."""
        stream.over = True
        self._writer.control(reset_stream(stream.id, code))
        self._writer.wake()

    # Counting

    def _counter(self, name: str) -> Counter:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self._plane.statistics.open(name)
        return counter

    def close(self) -> None:
        self._plane.statistics.close(self._counters)


def cut_off() -> InvalidRequestError:
    return InvalidRequestError("The request ends within a message.")


def deadline_exceeded() -> DeadlineExceededError:
    return DeadlineExceededError(
        "The call's deadline has passed.", next_step="Give it more time, or less to do."
    )
