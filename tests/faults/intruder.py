"""Connections that behave badly, through the pool's endpoint."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.accelerator.http_client import infer_body
from tests.faults.crew import BOUND, Crew

_HELLO_LIMIT = 16384


class Way:
    """How to reach the accelerator of a group."""

    def __init__(self, crew: Crew, group: str) -> None:
        grant = crew.call("Connect", {"acceleratorId": crew.groups[group].accelerator})
        self._address = (str(grant["host"]), int(grant["port"]))
        self._name = str(grant["serverName"])
        self.token = str(grant["token"])
        self._context = ssl.create_default_context(cafile=str(crew.home / "pool" / "ca.pem"))

    def plain(self) -> socket.socket:
        """A connection on which nothing was said."""
        return socket.create_connection(self._address, BOUND)

    def hello(self) -> bytes:
        """A TLS ClientHello for the accelerator."""
        outgoing = ssl.MemoryBIO()
        tls = self._context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=self._name)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read(_HELLO_LIMIT)

    def secured(self) -> ssl.SSLSocket:
        """A connection over which requests may be sent."""
        plain = self.plain()
        try:
            return self._context.wrap_socket(plain, server_hostname=self._name)
        except BaseException:
            plain.close()
            raise

    def request(self, path: str, body: bytes, *fields: str) -> bytes:
        """A POST with this accelerator's token."""
        lines = [
            f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.token}",
            f"Content-Length: {len(body)}", *fields, "", "",
        ]  # fmt: skip
        return "\r\n".join(lines).encode() + body

    def infer(self, model: str, rows: int) -> bytes:
        """An inference with a float32 `x` of `rows` values."""
        body, length = infer_body(np.ones(rows, np.float32))
        path = f"/v2/models/{model}/infer"
        return self.request(path, body, f"Inference-Header-Content-Length: {length}")

    def upload(self, digest: str, size: int) -> bytes:
        """The head of an upload of `size` bytes."""
        head = (
            f"PUT /v2/elastic-inference/blobs/{digest} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Length: {size}\r\n"
            f"Content-Range: bytes 0-{size - 1}/{size}\r\n\r\n"
        )
        return head.encode()


def linger_zero(sock: socket.socket) -> None:
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_closed(sock: socket.socket, patience: float = BOUND) -> bool:
    """Whether the other end closes the connection in time, whatever it says before."""
    sock.settimeout(patience)
    try:
        while socket.socket.recv(sock, 65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def status_of(sock: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer on a connection that is not used again."""
    sock.settimeout(BOUND)
    raw = b""
    while b"\r\n\r\n" not in raw:
        part = sock.recv(65536)
        if not part:
            raise ConnectionError("closed without an answer")
        raw += part
    head, _, body = raw.partition(b"\r\n\r\n")
    size = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < size:
        body += sock.recv(65536)
    return int(head.split(b" ")[1]), json.loads(body or b"{}")


@contextlib.contextmanager
def crowd(way: Way, count: int, say: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections at one time, each having said `say`."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            sock = stack.enter_context(contextlib.closing(way.plain()))
            if say:
                with contextlib.suppress(OSError):
                    sock.sendall(say)
            made.append(sock)
        yield made


def readable(sock: socket.socket, patience: float) -> bool:
    """Whether anything comes, the end included, in time."""
    return bool(select.select([sock], [], [], patience)[0])
