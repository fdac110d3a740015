"""The server name in a TLS ClientHello, read from bytes that stay in the socket.

Nothing is decrypted and nothing is kept: the endpoint looks at the first message of a
connection to know whose it is, and hands the untouched socket on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MAX_HELLO = 16 * 1024
_RECORD_HEADER = 5
_MAX_RECORD = 16 * 1024
# A handshake record of any version since SSL 3.
_RECORD_START = b"\x16\x03"
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0
_RANDOM = 32
_MAX_NAME = 255


class Status(Enum):
    """What the bytes are.

    COMPLETE: a whole ClientHello; MORE: the beginning of one; NOT_TLS: something else (plain
    HTTP, say); MALFORMED: TLS, but not a ClientHello that can be read, or one over `MAX_HELLO`.
    """

    COMPLETE = "complete"
    MORE = "more"
    NOT_TLS = "not-tls"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Hello:
    """The outcome of `parse`.

    Attributes:
        status: what the bytes are.
        server_name: lower case, without a final dot; None where the client sent none.
    """

    status: Status
    server_name: str | None = None


class _Malformed(Exception):  # noqa: N818 - never leaves this module
    pass


def parse(data: bytes | memoryview) -> Hello:
    """Read the ClientHello that `data` begins with. Never raises."""
    view = memoryview(data)
    try:
        status, message = _handshake(view)
        if status is not Status.COMPLETE:
            return Hello(status)
        return Hello(Status.COMPLETE, _server_name(_Reader(message)))
    except _Malformed:
        return Hello(Status.MALFORMED)


def _handshake(view: memoryview) -> tuple[Status, bytes]:
    """The body of the first handshake message, which may span several records."""
    message = bytearray()
    at = 0
    while True:
        header = view[at : at + _RECORD_HEADER]
        if bytes(header[:2]) != _RECORD_START[: len(header)]:
            return (Status.NOT_TLS if at == 0 else Status.MALFORMED), b""
        if len(header) < _RECORD_HEADER:
            return _more(at + len(header)), b""
        size = int.from_bytes(header[3:5], "big")
        if not 0 < size <= _MAX_RECORD:
            raise _Malformed
        body = view[at + _RECORD_HEADER : at + _RECORD_HEADER + size]
        message += body
        at += _RECORD_HEADER + size
        if message and message[0] != _CLIENT_HELLO:
            raise _Malformed
        if len(message) >= 4:
            wanted = 4 + int.from_bytes(message[1:4], "big")
            if wanted > MAX_HELLO:
                raise _Malformed
            if len(message) >= wanted:
                return Status.COMPLETE, bytes(message[4:wanted])
        if len(body) < size:
            return _more(len(view)), b""


def _more(have: int) -> Status:
    return Status.MALFORMED if have >= MAX_HELLO else Status.MORE


class _Reader:
    """Takes fields off the front of a message; every length is checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise _Malformed
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def _server_name(hello: _Reader) -> str | None:
    hello.take(2 + _RANDOM)
    hello.vector(1)
    hello.vector(2)
    hello.vector(1)
    if not hello:
        return None
    extensions = _Reader(hello.vector(2))
    if hello:
        raise _Malformed
    found: str | None = None
    seen = False
    while extensions:
        kind = extensions.number(2)
        body = extensions.vector(2)
        if kind == _SERVER_NAME:
            if seen:
                raise _Malformed
            seen = True
            found = _host_name(_Reader(body))
    return found


def _host_name(extension: _Reader) -> str:
    names = _Reader(extension.vector(2))
    if extension or names.number(1) != _HOST_NAME:
        raise _Malformed
    name = names.vector(2)
    if names or not 0 < len(name) <= _MAX_NAME:
        raise _Malformed
    try:
        text = name.decode("ascii")
    except UnicodeDecodeError:
        raise _Malformed from None
    if not text.isprintable() or " " in text:
        raise _Malformed
    return text.lower().removesuffix(".")
