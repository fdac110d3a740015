"""gRPC's own client against an accelerator process, and HTTP/2 frame by frame."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import grpc
import numpy as np
from hpack import Decoder, Encoder
from tritonclient.grpc import service_pb2 as pb

from elastic_inference.protocol import http2
from tests.processes import AcceleratorProcess

SERVICE = "/inference.GRPCInferenceService/"
INFER = SERVICE + "ModelInfer"
STREAM_INFER = SERVICE + "ModelStreamInfer"
LIVE = SERVICE + "ServerLive"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
# As large as messages come, both ways.
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A channel of its own for each test, and its own connection.
    ("grpc.use_local_subchannel_pool", 1),
)

Metadata = tuple[tuple[str, str], ...]


def bearer(process: AcceleratorProcess) -> Metadata:
    return (("authorization", f"Bearer {process.token()}"),)


@contextlib.contextmanager
def channel(process: AcceleratorProcess, target: str = "", **more: Any) -> Iterator[Any]:
    """A `grpc.Channel` to the process's plain TCP port, or to another target."""
    with grpc.insecure_channel(
        target or f"127.0.0.1:{process.port}", options=(*_OPTIONS, *more.items())
    ) as made:
        yield made


def unary(made: Any, path: str = INFER) -> Any:
    """A procedure with one message each way, as bytes."""
    return made.unary_unary(path)


def infer_request(model: str, array: np.ndarray, request_id: str = "") -> bytes:
    """A ModelInferRequest with one raw FP32 input `x`."""
    request = pb.ModelInferRequest(model_name=model, id=request_id)
    request.inputs.add(name="x", datatype="FP32", shape=array.shape)
    request.raw_input_contents.append(array.astype(np.float32).tobytes())
    return bytes(request.SerializeToString())


def output_of(answer: bytes) -> np.ndarray:
    """The one FP32 output of a ModelInferResponse."""
    response = pb.ModelInferResponse.FromString(answer)
    return np.frombuffer(response.raw_output_contents[0], np.float32).reshape(
        response.outputs[0].shape
    )


def framed(message: bytes) -> bytes:
    """A message with gRPC's prefix."""
    return struct.pack(">BL", 0, len(message)) + message


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of an RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == http2.GOAWAY else self.payload)


class Http2Wire:
    """One HTTP/2 connection, frame by frame."""

    def __init__(
        self,
        process: AcceleratorProcess,
        *,
        greet: bool = True,
        settings: dict[int, int] | None = None,
        unix: bool = False,
    ) -> None:
        self.socket = process.connect(unix=unix)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self._process = process
        self._buffer = b""
        if greet:
            self.send(http2.PREFACE + http2.settings_frame(settings or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def block(self, path: str = LIVE, *, token: bool = False, **fields: str | None) -> bytes:
        """A call's header block; `fields` changes or, with None, removes some."""
        wanted: dict[str, str | None] = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "accelerator",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        if token:
            wanted["authorization"] = f"Bearer {self._process.token()}"
        wanted |= {name.replace("__", ":").replace("_", "-"): v for name, v in fields.items()}
        block: bytes = self.encoder.encode([(k, v) for k, v in wanted.items() if v is not None])
        return block

    def headers(self, stream: int, path: str = LIVE, *, end: bool = False, **more: Any) -> bytes:
        """A HEADERS frame."""
        flags = http2.END_HEADERS | (http2.END_STREAM if end else 0)
        return http2.frame(http2.HEADERS, flags, stream, self.block(path, **more))

    def data(self, stream: int, payload: bytes, *, end: bool = True) -> bytes:
        """A DATA frame."""
        return http2.frame(http2.DATA, http2.END_STREAM if end else 0, stream, payload)

    def call(self, stream: int, path: str = LIVE, message: bytes = b"", **more: Any) -> None:
        """Begin a unary call."""
        self.send(self.headers(stream, path, **more) + self.data(stream, framed(message)))

    def frame(self) -> Frame:
        """The next frame.

        Raises:
            ConnectionError: there is none.
        """
        high, low, kind, flags, stream = http2.HEAD.unpack(self._exactly(http2.HEAD_LENGTH))
        return Frame(kind, flags, stream, self._exactly(high << 8 | low))

    def wait_for(self, *kinds: int) -> Frame:
        """The next frame of these kinds; others are passed over, header blocks read."""
        while True:
            frame = self.frame()
            if frame.kind in kinds:
                return frame
            if frame.kind == http2.HEADERS:
                self.decoder.decode(frame.payload)

    def answer(self, stream: int) -> tuple[dict[str, str], bytes]:
        """All fields (and trailers) and all DATA of a stream, read to its end."""
        fields: dict[str, str] = {}
        content = b""
        while True:
            frame = self.wait_for(http2.HEADERS, http2.DATA)
            if frame.kind == http2.HEADERS:
                decoded = dict(self.decoder.decode(frame.payload))
            if frame.stream != stream:
                continue
            if frame.kind == http2.HEADERS:
                fields |= {str(name): str(value) for name, value in decoded.items()}
            else:
                content += frame.payload
            if frame.flags & http2.END_STREAM:
                return fields, content

    def is_alive(self) -> bool:
        """Whether the other end still answers a ping."""
        self.send(http2.frame(http2.PING, 0, 0, b"01234567"))
        frame = self.wait_for(http2.PING, http2.GOAWAY)
        return frame.kind == http2.PING and frame.payload == b"01234567"

    def gone(self) -> bool:
        """Read to the connection's end; True."""
        with contextlib.suppress(ConnectionError):
            while True:
                self.frame()
        return True

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            part = self.socket.recv(1 << 20)
            if not part:
                raise ConnectionError("the accelerator closed the connection")
            self._buffer += part
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def is_live(wire: Http2Wire, stream: int) -> bool:
    """Whether a call in `stream` finds the server alive."""
    wire.call(stream)
    fields, content = wire.answer(stream)
    expected = pb.ServerLiveResponse(live=True).SerializeToString()
    return fields["grpc-status"] == "0" and content == framed(expected)


def until_closed(connection: socket.socket) -> bytes:
    """What comes before the end."""
    came = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            came += part
    return came
