"""Neighbours that are slow: byte by byte, and never reading."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from tests.faults.crew import BOUND
from tests.faults.fault import Fault, Scene
from tests.faults.intruder import Way

_SECONDS = 4.0


def dripping(scene: Scene) -> None:
    """ClientHellos, request heads and bodies, a byte at a time."""
    way = Way(scene.crew, "a")
    hello = way.hello()
    request = way.infer("a-wire-1", 100_000)
    with contextlib.ExitStack() as stack:
        talkers: list[tuple[socket.socket, bytes]] = []
        for _ in range(4):
            talkers.append((stack.enter_context(contextlib.closing(way.plain())), hello))
            talkers.append((stack.enter_context(contextlib.closing(way.secured())), request))
        begin = time.monotonic()
        for at in range(1 << 20):
            if time.monotonic() - begin > _SECONDS:
                return
            for sock, words in list(talkers):
                try:
                    sock.sendall(words[at % len(words) :][:1])
                except OSError:
                    talkers.remove((sock, words))
            time.sleep(0.02)


def never_reading(scene: Scene) -> None:
    """Requests without end whose answers nobody reads; the other side must end it."""
    way = Way(scene.crew, "a")
    question = way.request("/v2/repository/index", b"{}")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            tls = stack.enter_context(contextlib.closing(way.secured()))
            tls.settimeout(BOUND)
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(TimeoutError):
                _talk_until_cut(tls, question)
                continue
            raise AssertionError("one who never reads is not cut")


def _talk_until_cut(tls: ssl.SSLSocket, question: bytes) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while True:
            tls.sendall(question * 64)


def reading_slowly(scene: Scene) -> None:
    """An answer that is read a few bytes at a time is the right one all the same."""
    way = Way(scene.crew, "a")
    with contextlib.closing(way.secured()) as tls:
        tls.sendall(way.request("/v2/repository/index", b"{}"))
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += tls.recv(3)
            time.sleep(0.002)
    if not raw.startswith(b"HTTP/1.1 200 "):
        raise AssertionError(f"answered {raw[:40]!r}")


FAULTS = [
    Fault("slow", "byte by byte", dripping),
    Fault("slow", "never reading", never_reading),
    Fault("slow", "reading slowly", reading_slowly, quick=True),
]
