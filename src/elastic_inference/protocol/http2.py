"""HTTP/2's frames and their rules (RFC 9113), as a server needs them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from elastic_inference.errors import InvalidRequestError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Begins no request of HTTP/1.1, so it decides which of the two a client speaks.
PREFACE_START = PREFACE[:3]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11

SETTINGS_HEADER_TABLE_SIZE = 1
SETTINGS_ENABLE_PUSH = 2
SETTINGS_MAX_CONCURRENT_STREAMS = 3
SETTINGS_INITIAL_WINDOW_SIZE = 4
SETTINGS_MAX_FRAME_SIZE = 5
SETTINGS_MAX_HEADER_LIST_SIZE = 6

HEAD_LENGTH = 9
MAX_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65535
MIN_FRAME_SIZE = 1 << 14
MAX_FRAME_SIZE = (1 << 24) - 1
STREAM_MASK = MAX_WINDOW

# A frame's head: length (its high 16 bits, its low 8), type, flags, stream.
HEAD = struct.Struct(">HBBBL")
_SETTING = struct.Struct(">HL")
_NUMBER = struct.Struct(">L")


class Http2Error(InvalidRequestError):
    """The peer broke a rule of HTTP/2; the connection ends with `code`."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"The HTTP/2 connection is broken: {why}.")
        self.code = code


class StreamError(InvalidRequestError):
    """The peer broke a rule within one stream, which ends with `code`; the others go on."""

    def __init__(self, stream: int, code: int, why: str) -> None:
        super().__init__(f"The HTTP/2 request is malformed: {why}.")
        self.stream = stream
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return frame_head(len(payload), kind, flags, stream) + payload


def frame_head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """What comes before a payload of `length` bytes."""
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def settings_frame(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def reset_stream(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last: int, code: int, why: str = "") -> bytes:
    """The connection ends; streams above `last` were not touched."""
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last) + _NUMBER.pack(code) + why.encode()[:200])


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """The settings in a frame, each checked; unknown ones too.

    Raises:
        Http2Error: the frame or a value is not allowed.
    """
    if len(payload) % _SETTING.size:
        raise Http2Error(FRAME_SIZE_ERROR, "a SETTINGS frame has an odd length")
    for name, value in _SETTING.iter_unpack(payload):
        if name == SETTINGS_ENABLE_PUSH and value > 1:
            raise Http2Error(PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        if name == SETTINGS_INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise Http2Error(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
        if name == SETTINGS_MAX_FRAME_SIZE and not MIN_FRAME_SIZE <= value <= MAX_FRAME_SIZE:
            raise Http2Error(PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of its range")
        yield name, value


def read_increment(payload: bytes, stream: int) -> int:
    """The increment of a WINDOW_UPDATE.

    Raises:
        Http2Error, StreamError: it is 0, or the frame has another length than 4.
    """
    increment = read_number(payload, "a WINDOW_UPDATE") & STREAM_MASK
    if not increment:
        why = "a WINDOW_UPDATE of 0"
        raise (
            StreamError(stream, PROTOCOL_ERROR, why) if stream else Http2Error(PROTOCOL_ERROR, why)
        )
    return increment


def read_number(payload: bytes, what: str) -> int:
    """The one number of a frame.

    Raises:
        Http2Error: the frame has another length than 4.
    """
    if len(payload) != _NUMBER.size:
        raise Http2Error(FRAME_SIZE_ERROR, f"{what} frame has not 4 bytes")
    return int.from_bytes(payload, "big")


def strip_padding(payload: memoryview, flags: int) -> memoryview:
    """A HEADERS frame's payload without padding and priority.

    Raises:
        Http2Error: the padding is longer than the frame.
    """
    padding = at = 0
    if flags & PADDED:
        if not payload:
            raise Http2Error(FRAME_SIZE_ERROR, "a padded frame is empty")
        padding, at = payload[0], 1
    if flags & HAS_PRIORITY:
        at += 5
    if at + padding > len(payload):
        raise Http2Error(PROTOCOL_ERROR, "the padding is longer than its frame")
    return payload[at : len(payload) - padding]
