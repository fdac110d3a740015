"""Whether an accelerator takes a token, asked where it listens on this machine."""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Held:
    """A token that an instance holds, and where it is good for."""

    accelerator_id: str
    token: str
    path: str


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


def status(held: Held) -> int:
    """The status of an answer; 0 where nobody answers."""
    connection = _Connection(held.path)
    try:
        headers = {"Authorization": f"Bearer {held.token}"}
        connection.request("GET", "/v2/elastic-inference/accelerator", headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def comes_to(held: Held, wanted: set[int], patience: float) -> bool:
    """Whether the answer is one of `wanted` within `patience` seconds."""
    deadline = time.monotonic() + patience
    while status(held) not in wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
