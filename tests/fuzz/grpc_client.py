"""gRPC's client side, as bytes: frames and calls to send, and a strict reader of what comes."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpack import Decoder

from elastic_inference.protocol import http2
from elastic_inference.protocol.grpc import literal, message_prefix

SERVICE = "/inference.GRPCInferenceService/"
GREETING = http2.PREFACE + http2.settings_frame({http2.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 20})
_STATUSES = {0, 1, 2, 3, 4, 5, 7, 8, 10, 12, 13, 14, 16}


@dataclass(slots=True)
class Call:
    """What came on one stream.

    Attributes:
        fields: header fields and trailers together.
        code: of a RST_STREAM, or None.
    """

    fields: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    blocks: int = 0
    ended: bool = False
    code: int | None = None

    @property
    def status(self) -> int | None:
        """The call's, if it was told."""
        return int(self.fields["grpc-status"]) if "grpc-status" in self.fields else None

    def messages(self) -> list[bytes]:
        """The messages that came, none compressed."""
        found = []
        at = 0
        while at < len(self.data):
            assert self.data[at] == 0, "a compressed message came unasked"
            end = at + 5 + int.from_bytes(self.data[at + 1 : at + 5], "big")
            assert end <= len(self.data), "a message is cut off"
            found.append(bytes(self.data[at + 5 : end]))
            at = end
        return found


class Answers:
    """All that a server says on a connection; raises AssertionError where it is not HTTP/2."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._rest = b""
        self.calls: dict[int, Call] = {}
        self.goaway: int | None = None
        self.acknowledged = 0
        self.frames = 0

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._rest += data
        while len(self._rest) >= http2.HEAD_LENGTH:
            high, low, kind, flags, stream = http2.HEAD.unpack_from(self._rest)
            end = http2.HEAD_LENGTH + (high << 8 | low)
            if len(self._rest) < end:
                return
            payload, self._rest = self._rest[http2.HEAD_LENGTH : end], self._rest[end:]
            assert self.frames or kind == http2.SETTINGS, "it does not begin with SETTINGS"
            assert len(payload) <= http2.MIN_FRAME_SIZE
            self.frames += 1
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.PING and flags & http2.ACK:
            self.acknowledged += 1
        elif kind == http2.GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
            assert self.goaway != http2.INTERNAL_ERROR, payload
        elif kind in (http2.DATA, http2.HEADERS, http2.RST_STREAM):
            assert stream & 1, "an answer on a stream that is none of the client's"
            call = self.calls.setdefault(stream, Call())
            assert not call.ended or kind == http2.RST_STREAM, "more after the end"
            self._take_for(call, kind, payload)
            call.ended = call.ended or bool(kind != http2.RST_STREAM and flags & http2.END_STREAM)
        else:
            assert kind in (http2.SETTINGS, http2.WINDOW_UPDATE, http2.PING), kind

    def _take_for(self, call: Call, kind: int, payload: bytes) -> None:
        if kind == http2.DATA:
            assert call.blocks == 1, "DATA without a header block before it"
            call.data += payload
        elif kind == http2.RST_STREAM:
            call.code = int.from_bytes(payload, "big")
            call.ended = True
            assert call.code != http2.INTERNAL_ERROR
        else:
            call.blocks += 1
            assert call.blocks <= 2
            for name, value in self._decoder.decode(payload):
                call.fields[str(name)] = str(value)
            assert call.status is None or call.status in _STATUSES
            assert not call.fields.get("grpc-message", "").startswith("Internal error"), call.fields


def header_block(path: str, token: str = "", **more: str) -> bytes:
    """The fields of a call, each a literal that no table keeps."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "t",
        "te": "trailers",
        "content-type": "application/grpc",
        **({"authorization": f"Bearer {token}"} if token else {}),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return b"".join(literal(name.encode(), value.encode()) for name, value in fields.items())


def call(number: int, block: bytes, *messages: bytes) -> bytes:
    """The frames of a call on the stream `number`."""
    data = b"".join(message_prefix(len(message)) + message for message in messages)
    return http2.frame(http2.HEADERS, http2.END_HEADERS, number, block) + http2.frame(
        http2.DATA, http2.END_STREAM, number, data
    )
