"""The socket over which connections are handed to an accelerator."""

from __future__ import annotations

import contextlib
import json
import queue
import random
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from elastic_inference.accelerator.handover import Handover
from elastic_inference.accelerator.sockets import listen_unix
from tests.fuzz.mutations import mutate_bytes, mutate_document
from tests.fuzz.target import Target, count_entries

_CONNECTION = b'{"kind":"connection"}'
_PATIENCE = 30.0
_DESCRIPTORS = Path("/proc/self/fd")


class Handovers(Target):
    """Messages of a control plane. The first byte says how many descriptors come along.

    Whatever they are: the connection that is handed over next arrives, and no descriptor stays.
    """

    name = "handovers"
    cases = 30_000
    settle_every = 1000

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory("-ei-fuzz")
        path = Path(self._folder.name, "s")
        self._served: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._told: list[str] = []
        self._raised: list[str] = []
        self._excepthook = threading.excepthook
        threading.excepthook = lambda told: self._raised.append(repr(told))
        listener = listen_unix(path, socket.SOCK_SEQPACKET)
        self._listener = listener
        Handover(
            listener,
            {"pid": 1},
            serve=self._served.put,
            drain=lambda: self._told.append("drain"),
            renew=lambda: self._told.append("certificate"),
            revoke=lambda: self._told.append("revoked"),
        )
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_PATIENCE)
        self._control.connect(str(path))
        assert json.loads(self._control.recv(4096))["kind"] == "hello"
        self._open = count_entries(_DESCRIPTORS)

    def make_seeds(self) -> Sequence[bytes]:
        return (
            b"\1" + _CONNECTION, b"\0" + _CONNECTION, b"\3" + _CONNECTION, b"\0{}", b"\1[1]",
            b'\0{"kind":"drain"}', b'\0{"kind":"drain","after":[{"s":1.5}]}', b"\0",
            b'\0{"kind":"certificate"}', b'\0{"kind":"revoked"}',
            b'\1{"kind":' + b"[" * 300 + b"]" * 300 + b"}",
        )  # fmt: skip

    def run(self, case: bytes) -> None:
        count, message = (case[0] & 3 if case else 0), case[1:] or b" "
        one, other = socket.socketpair()
        with one, other:
            socket.send_fds(self._control, [message], [other.fileno()] * count)
            socket.send_fds(self._control, [_CONNECTION], [other.fileno()])
            served = self._served.get(timeout=_PATIENCE)
            if count == 1 and _kind(message) == "connection":
                served.close()
                served = self._served.get(timeout=_PATIENCE)
            with served:
                served.sendall(b"?")
                assert one.recv(1) == b"?", "another connection was handed on"
        told, kind = list(self._told), _kind(message)
        self._told.clear()
        assert told == ([kind] if kind in ("drain", "certificate", "revoked") else [])
        assert not self._raised, self._raised

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        with contextlib.suppress(ValueError, RecursionError):
            made = mutate_document(chance, json.loads(case[1:]))
            return bytes([chance.randrange(4)]) + json.dumps(made).encode()
        return mutate_bytes(chance, case, self.seeds)

    def settle(self) -> None:
        assert count_entries(_DESCRIPTORS) == self._open, "descriptors stay open"

    def close(self) -> None:
        self._control.close()
        threading.excepthook = self._excepthook
        self._folder.cleanup()


def _kind(message: bytes) -> str:
    # What is longer comes cut off.
    try:
        document = json.loads(message[:4096])
    except (ValueError, RecursionError):
        return ""
    return str(document.get("kind")) if isinstance(document, dict) else ""
