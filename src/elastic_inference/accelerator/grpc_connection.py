"""One connection that speaks HTTP/2: gRPC's calls, many at a time.

Each limit on what a client may ask for follows from RFC 9113, section 10.5: the streams open at
one time, the size of a header block, the memory of messages, and the number of frames that cost
their sender nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from elastic_inference.accelerator.channel import Channel, ConnectionClosedError
from elastic_inference.accelerator.crew import Crew, Sentinel
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.duplex import Duplex
from elastic_inference.accelerator.frames import FrameReader
from elastic_inference.accelerator.grant import Grant
from elastic_inference.accelerator.grpc_calls import (
    MOST_WAITING,
    Calls,
    cut_off,
    deadline_exceeded,
)
from elastic_inference.accelerator.http2_stream import Pieces, Stream
from elastic_inference.accelerator.http2_writer import Writer
from elastic_inference.accelerator.landing import Landing
from elastic_inference.accelerator.rpc import Method, Rpc
from elastic_inference.accelerator.rpcs import find
from elastic_inference.errors import (
    DeadlineExceededError,
    ElasticInferenceError,
    InvalidRequestError,
    NotFoundError,
)
from elastic_inference.protocol import http2
from elastic_inference.protocol.grpc import (
    CONTENT_TYPE,
    ENCODINGS,
    UNIMPLEMENTED,
    refusal_block,
)
from elastic_inference.protocol.http2 import Http2Error, StreamError
from elastic_inference.protocol.http2_headers import HeaderDecoder, RequestHeaders

if TYPE_CHECKING:
    from elastic_inference.protocol.tensors import Buffer

log = logging.getLogger(__name__)

MAX_STREAMS = 100
_MAX_JOBS = 16
# So much may come of a message before it is looked at: a large frame of video without a wait.
_ROOM = 8 * 1024 * 1024
# The connection's own window bounds nothing, since every stream has one, and never closes.
_REPLENISH = 1 << 29
_MAX_RESET = 1000
_OPEN_LIMIT = 16384
_SETTINGS = {
    http2.SETTINGS_MAX_CONCURRENT_STREAMS: MAX_STREAMS,
    http2.SETTINGS_INITIAL_WINDOW_SIZE: _ROOM,
    # The larger a frame, the fewer of them a tensor takes.
    http2.SETTINGS_MAX_FRAME_SIZE: http2.MAX_FRAME_SIZE,
}


class GrpcConnection:
    """Serves one connected client until it goes away.

    Attributes:
        active: monotonic time of the last call or other sign of life that counts as one.
    """

    def __init__(
        self, channel: Channel, plane: DataPlane, sentinel: Sentinel, cut: Callable[[], None]
    ) -> None:
        """
        Args:
            channel: with the first bytes that came.
            cut: ends the connection, from any thread.
        """
        limits = plane.config.limits
        self.channel = channel
        self._plane = plane
        self._limits = limits
        duplex = Duplex(channel.sock)
        self._duplex = duplex
        self._reader = FrameReader(duplex, bytes(channel.head[: channel.buffered]), limits.max_head)
        self._landing = Landing(channel.budget)
        self._grant = Grant(channel, plane)
        self._decoder = HeaderDecoder(limits.max_head)
        self.crew = Crew(
            self._read,
            sentinel,
            _MAX_JOBS,
            started=plane.thread_started,
            ended=plane.thread_ended,
            closed=self._closed,
        )
        self._writer = Writer(duplex, self.crew.read_on)
        self._calls = Calls(
            plane,
            self._grant,
            self._writer,
            self._landing,
            room=_ROOM,
            allow=self._reader.allow,
            forget=self._forget,
        )
        self._cut = cut
        self._streams: dict[int, Stream] = {}
        self._reset: dict[int, None] = {}
        self._last = 0
        self._received = 0
        self._greeted = False
        self._leaving = False
        self.active = time.monotonic()

    # Life

    def serve(self) -> None:
        """Serve until the connection ends; never raises."""
        try:
            if not self._reader.expect(http2.PREFACE):
                return
            self._writer.control(
                http2.settings_frame(
                    {**_SETTINGS, http2.SETTINGS_MAX_HEADER_LIST_SIZE: self._limits.max_head}
                )
                + http2.window_update(0, http2.MAX_WINDOW - http2.DEFAULT_WINDOW)
            )
            self.crew.work()
        except (ConnectionClosedError, OSError):
            pass  # The other end is gone, or the watchdog cut the line: nobody to tell.
        except Exception:
            log.exception("A connection ended by a defect")
        finally:
            for stream in list(self._streams.values()):
                stream.abandon(self._landing)
            self._landing.close()
            self.channel.close()
            self._grant.leave()
            self._calls.close()

    def _closed(self) -> None:
        self._writer.close()
        self._cut()

    @property
    def busy(self) -> bool:
        """Whether a call is under way, other than one that only stands by."""
        # In this order: what a job leaves to be sent is there before the job is done.
        return (
            self.crew.busy
            or self._writer.busy
            or any(
                stream.method is not None and stream.method.kind == "unary" and not stream.over
                for stream in list(self._streams.values())
            )
        )

    def overdue(self, now: float) -> bool:
        """Whether the other end keeps this connection waiting for longer than it may."""
        limits = self._limits
        sending = self._duplex.sending_since
        if sending and now - sending > limits.send_timeout:
            return True
        reader = self._reader
        if reader.amid and now - reader.since > limits.receive_timeout:
            return True
        if any(not self._stands_by(stream) for stream in list(self._streams.values())):
            return False
        idle = limits.idle_timeout if self._grant.claims else limits.receive_timeout
        return now - self.active > idle

    @staticmethod
    def _stands_by(stream: Stream) -> bool:
        """Whether nothing is asked for in a stream just now, so that it is no reason to wait."""
        return (
            stream.method is not None
            and stream.method.kind != "unary"
            and not (stream.running or stream.is_amid)
        )

    def tick(self, now: float) -> None:
        """Called now and then: end calls that take too long, look at watches."""
        limits = self._limits
        for stream in list(self._streams.values()):
            if stream.over or stream.failing:
                continue
            if stream.deadline and now >= stream.deadline:
                self._expire(stream, deadline_exceeded())
            elif stream.stalled and now - stream.stalled > limits.send_timeout:
                self._calls.cancel(stream, http2.CANCEL)
            elif self._is_silent(stream) and now - stream.since > limits.receive_timeout:
                self._expire(stream, DeadlineExceededError("The request stopped in its midst."))
            elif stream.watch is not None and not stream.running:
                stream.running = True
                self.crew.submit(partial(self._calls.watch, stream))

    @staticmethod
    def _is_silent(stream: Stream) -> bool:
        """Whether more must come before anything can be done for a stream."""
        conversation = stream.method is not None and stream.method.kind == "stream"
        return not stream.ended and (stream.is_amid or not conversation)

    def _expire(self, stream: Stream, error: ElasticInferenceError) -> None:
        stream.failing = True
        self.crew.submit(partial(self._calls.expire, stream, error))

    def release_idle(self, keep: int) -> None:
        """Give back memory that no call needs."""
        self._landing.release(keep)

    def leave(self) -> None:
        """Take no new calls; those that only stand by end."""
        self._leaving = True
        self.crew.submit(self._say_goodbye)

    def _say_goodbye(self) -> None:
        self._writer.control(http2.goaway(self._last, http2.NO_ERROR))
        for stream in list(self._streams.values()):
            if self._stands_by(stream):
                self._calls.expire(stream, self._plane.shutting_down())

    # Frames

    def _read(self) -> None:
        """Read a frame and act on it."""
        try:
            self._frame()
        except StreamError as error:
            self._reader.skip()
            self._reader.trifle()
            self._break(error.stream, error.code)
        except Http2Error as error:
            log.info("%s", error)
            self._writer.control(http2.goaway(self._last, error.code, error.message))
            self.crew.close()

    def _frame(self) -> None:
        reader = self._reader
        kind, flags, number, length = reader.next()
        if kind == http2.DATA:
            self._data(flags, number, length)
        elif not self._greeted and kind != http2.SETTINGS:
            raise Http2Error(http2.PROTOCOL_ERROR, "it does not begin with SETTINGS")
        elif kind == http2.HEADERS:
            self._headers(flags, number, reader.payload())
        else:
            reader.trifle()
            act = self._ACTIONS.get(kind)
            if act is None:
                # Kinds that are not known are passed over (RFC 9113, section 4.1).
                reader.skip()
            else:
                act(self, flags, number, bytes(reader.payload()))

    def _data(self, flags: int, number: int, length: int) -> None:
        reader = self._reader
        self._received += length
        if self._received >= _REPLENISH:
            self._writer.control(http2.window_update(0, self._received))
            self._received = 0
        stream = self._streams.get(number)
        if stream is None or stream.over:
            self._check_ended(number)
            reader.skip()
            reader.trifle()
            return
        if stream.ended:
            raise StreamError(number, http2.STREAM_CLOSED, "DATA after the request's end")
        if length > stream.room:
            raise StreamError(number, http2.FLOW_CONTROL_ERROR, "more DATA than the window")
        self._content(stream, flags, length - self._padding(flags, length))
        self.active = stream.since
        if not stream.ended:
            self._calls.took(stream, length)
        self._start(stream)

    def _padding(self, flags: int, length: int) -> int:
        """How many bytes of a DATA frame are not content; the field that tells so is passed."""
        if not flags & http2.PADDED:
            return 0
        padding = self._reader.some(1)[0] + 1 if length else 1
        if padding > length:
            raise Http2Error(http2.PROTOCOL_ERROR, "the padding is longer than its frame")
        return padding

    def _content(self, stream: Stream, flags: int, length: int) -> None:
        reader = self._reader
        ended = bool(flags & http2.END_STREAM)
        if not length and not ended:
            reader.trifle()
        stream.came += length
        try:
            self._take(stream, length)
            reader.skip()
            if ended:
                self._ended(stream)
        except (StreamError, Http2Error):
            raise
        except ElasticInferenceError as error:
            reader.skip()
            self._refuse(stream, error)

    def _take(self, stream: Stream, length: int) -> None:
        if stream.backlog or len(stream.messages) >= MOST_WAITING:
            data = bytearray(length)
            self._reader.into(memoryview(data))
            if not self._calls.put_back(stream, data):
                stream.take(Pieces(memoryview(data)), length, self._landing)
            return
        stream.take(self._reader, length, self._landing)

    def _headers(self, flags: int, number: int, payload: Buffer) -> None:
        if flags & (http2.PADDED | http2.HAS_PRIORITY):
            payload = http2.strip_padding(payload, flags)
        block = bytes(payload)
        if not flags & http2.END_HEADERS:
            block = self._continued(number, block)
        elif len(block) > self._limits.max_head:
            raise Http2Error(http2.ENHANCE_YOUR_CALM, "a header block is too large")
        ended = bool(flags & http2.END_STREAM)
        if not number & 1:
            raise Http2Error(http2.PROTOCOL_ERROR, "a request has an even stream")
        if number <= self._last:
            self._trailers(number, block, ended=ended)
            return
        self._last = number
        headers = self._decoder.request(block, number)
        if self._leaving or self._is_full():
            raise StreamError(number, http2.REFUSED_STREAM, "too many streams")
        self.active = time.monotonic()
        stream = Stream(number, headers, self._writer.initial, _ROOM)
        stream.ended = ended
        self._begin(stream, block)

    def _is_full(self) -> bool:
        """Whether the caller has as many streams open as it may."""
        count = len(self._streams)
        if count < MAX_STREAMS:
            return False
        # One that was answered is over for the caller before it is forgotten here; but what was
        # reset may still be at work, and must not pile up.
        waiting = sum(not stream.over for stream in list(self._streams.values()))
        return waiting >= MAX_STREAMS or count >= 2 * MAX_STREAMS

    def _continued(self, number: int, block: bytes) -> bytes:
        """A header block with what CONTINUATION frames add to it."""
        reader = self._reader
        while True:
            kind, flags, stream, _ = reader.next()
            if kind != http2.CONTINUATION or stream != number:
                raise Http2Error(http2.PROTOCOL_ERROR, "a header block is interrupted")
            reader.trifle()
            block += reader.payload()
            if len(block) > self._limits.max_head:
                raise Http2Error(http2.ENHANCE_YOUR_CALM, "a header block is too large")
            if flags & http2.END_HEADERS:
                return block

    def _trailers(self, number: int, block: bytes, *, ended: bool) -> None:
        # Decoded whatever becomes of them: later blocks may refer to what they put in the table.
        self._decoder.fields(block)
        stream = self._streams.get(number)
        if stream is None or stream.over:
            self._check_ended(number)
            self._reader.trifle()
            return
        if stream.ended:
            raise StreamError(number, http2.STREAM_CLOSED, "fields after the request's end")
        if not ended:
            raise StreamError(number, http2.PROTOCOL_ERROR, "trailers that end nothing")
        try:
            self._ended(stream)
        except (StreamError, Http2Error):
            raise
        except ElasticInferenceError as error:
            self._refuse(stream, error)
            return
        self._start(stream)

    def _check_ended(self, number: int) -> None:
        """A frame came for a stream that is not open."""
        if number > self._last or not number & 1:
            raise Http2Error(http2.PROTOCOL_ERROR, "a frame is of a stream that never began")
        stream = self._streams.get(number)
        if number not in self._reset and (stream is None or stream.ended):
            raise Http2Error(http2.STREAM_CLOSED, "a frame is of a stream that has ended")

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(http2.PROTOCOL_ERROR, "SETTINGS are not a stream's")
        if flags & http2.ACK:
            if payload:
                raise Http2Error(http2.FRAME_SIZE_ERROR, "an acknowledgement has settings")
            if not self._greeted:
                raise Http2Error(http2.PROTOCOL_ERROR, "it begins with an acknowledgement")
            return
        self._greeted = True
        for name, value in http2.read_settings(payload):
            if name == http2.SETTINGS_INITIAL_WINDOW_SIZE:
                self._writer.resize(value, list(self._streams.values()))
            elif name == http2.SETTINGS_MAX_FRAME_SIZE:
                self._writer.max_frame = value
        self._writer.control(http2.frame(http2.SETTINGS, http2.ACK, 0))

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Http2Error(http2.PROTOCOL_ERROR, "a PING is not a stream's")
        if len(payload) != 8:
            raise Http2Error(http2.FRAME_SIZE_ERROR, "a PING has not 8 bytes")
        if not flags & http2.ACK:
            if self._grant.claims is not None:
                self.active = time.monotonic()
            self._writer.control(http2.frame(http2.PING, http2.ACK, 0, payload))

    def _window_update(self, _: int, number: int, payload: bytes) -> None:
        if number and (number > self._last or not number & 1):
            raise Http2Error(http2.PROTOCOL_ERROR, "a window of a stream that never began")
        increment = http2.read_increment(payload, number)
        if not number:
            self._writer.credit(None, increment)
        elif (stream := self._streams.get(number)) is not None:
            self._writer.credit(stream, increment)

    def _reset_stream(self, _: int, number: int, payload: bytes) -> None:
        http2.read_number(payload, "an RST_STREAM")
        if number > self._last or not number & 1:
            raise Http2Error(http2.PROTOCOL_ERROR, "a reset of a stream that never began")
        stream = self._streams.get(number)
        if stream is not None:
            stream.over = stream.ended = True
            self._writer.wake()
            if not stream.running:
                self._forget(stream)

    def _priority(self, _: int, number: int, payload: bytes) -> None:
        if not number:
            raise Http2Error(http2.PROTOCOL_ERROR, "a priority of no stream")
        if len(payload) != 5:
            if number > self._last or not number & 1:
                # It could begin later, and be answered after it was reset.
                raise Http2Error(http2.FRAME_SIZE_ERROR, "a PRIORITY has not 5 bytes")
            raise StreamError(number, http2.FRAME_SIZE_ERROR, "a PRIORITY has not 5 bytes")

    def _goodbye(self, _: int, number: int, payload: bytes) -> None:
        if number or len(payload) < 8:
            raise Http2Error(http2.PROTOCOL_ERROR, "a GOAWAY is malformed")

    def _unexpected(self, *_: object) -> None:
        raise Http2Error(http2.PROTOCOL_ERROR, "a frame is out of its place")

    _ACTIONS: ClassVar[dict[int, Callable[[GrpcConnection, int, int, bytes], None]]] = {
        http2.PRIORITY: _priority,
        http2.RST_STREAM: _reset_stream,
        http2.SETTINGS: _settings,
        http2.PUSH_PROMISE: _unexpected,
        http2.PING: _ping,
        http2.GOAWAY: _goodbye,
        http2.WINDOW_UPDATE: _window_update,
        http2.CONTINUATION: _unexpected,
    }

    # Calls

    def _begin(self, stream: Stream, block: bytes) -> None:
        headers = stream.headers
        if headers.method != b"POST" or not _is_grpc(headers.content_type):
            status = 405 if headers.method != b"POST" else 415
            self._writer.end(stream, refusal_block(status))
            self._forget(stream)
            return
        try:
            method = self._method_of(headers, block)
            if method is None:
                error = NotFoundError(f"There is no procedure {headers.path[:200]}.")
                self._refuse(stream, error, UNIMPLEMENTED)
                return
            if headers.encoding not in ENCODINGS:
                error = NotFoundError(f"The encoding {headers.encoding[:50]!r} is not known.")
                self._refuse(stream, error, UNIMPLEMENTED)
                return
            stream.method = method
            # Who has shown no token has nothing large to say.
            stream.limit = _OPEN_LIMIT if method.is_open else self._limits.max_body
            grant = self._grant
            stream.rpc = Rpc(
                self._plane, grant.session, grant.regions, self.channel, headers.metadata
            )
            self._streams[stream.id] = stream
            if stream.ended:
                self._ended(stream)
        except ElasticInferenceError as error:
            self._refuse(stream, error)
            return
        self._start(stream)

    def _method_of(self, headers: RequestHeaders, block: bytes) -> Method | None:
        """The procedure that is called, if this caller may call it; None if there is none.

        Raises:
            AuthenticationError: it may not.
        """
        try:
            method = find(headers.path)
        except NotFoundError:
            method = None
        if headers.authorization is not None:
            self._grant.show(headers.authorization)
            self._decoder.vouch(block, headers)
        if method is None or not method.is_open:
            self._grant.check(headers.client)
        return method

    def _ended(self, stream: Stream) -> None:
        """The request is whole.

        Raises:
            InvalidRequestError: it is not what the procedure takes.
            StreamError: it has another length than it said.
        """
        stream.ended = True
        if stream.headers.length not in (None, stream.came):
            raise StreamError(stream.id, http2.PROTOCOL_ERROR, "content-length is another")
        if stream.backlog:
            return
        if stream.is_amid:
            raise cut_off()
        conversation = stream.method is not None and stream.method.kind == "stream"
        if not conversation and len(stream.messages) != 1:
            raise InvalidRequestError("This procedure takes one message.")

    def _start(self, stream: Stream) -> None:
        """Have what came for a stream done, if there is something to do."""
        method = stream.method
        if method is None or stream.over:
            # What was laid down after its end is nobody's.
            stream.abandon(self._landing)
            return
        if method.kind == "stream":
            if self._calls.starts(stream):
                self.crew.add(partial(self._calls.conversation, stream))
        elif stream.ended and not stream.running:
            stream.running = True
            if method.kind == "unary" and method.is_open:
                # Whether the process lives is told even while all threads run calls.
                self._calls.unary(stream)
                return
            work = self._calls.unary if method.kind == "unary" else self._calls.watch
            self.crew.add(partial(work, stream))

    def _refuse(
        self, stream: Stream, error: ElasticInferenceError, status: int | None = None
    ) -> None:
        """End a call that was not begun."""
        self._calls.fail(stream, error, status)
        if not stream.running:
            self._forget(stream)

    def _break(self, number: int, code: int) -> None:
        """End a stream whose request is malformed."""
        stream = self._streams.get(number)
        self._remember_reset(number)
        self._writer.control(http2.reset_stream(number, code))
        if stream is not None:
            stream.over = True
            self._writer.wake()
            if not stream.running:
                self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        """A stream is over, and nobody is at work on it."""
        if not stream.ended:
            self._remember_reset(stream.id)
        self._streams.pop(stream.id, None)
        stream.abandon(self._landing)

    def _remember_reset(self, number: int) -> None:
        """Frames of this stream that are under way are nobody's fault."""
        if len(self._reset) >= _MAX_RESET:
            self._reset.clear()
        self._reset[number] = None


def _is_grpc(content_type: bytes) -> bool:
    rest = content_type.removeprefix(CONTENT_TYPE)
    return rest != content_type and (not rest or rest.startswith((b"+proto", b";")))
