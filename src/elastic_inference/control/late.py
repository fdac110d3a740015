"""Ends connections whose requests take too long to come, all of them from one thread."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_LOOK = 1.0


class Late:
    """Cuts what is late by up to a second more than it was given."""

    def __init__(self) -> None:
        self._due: dict[socket.socket, float] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="late", daemon=True)
        self._thread.start()

    def watch(self, connection: socket.socket, seconds: float) -> None:
        """Cut `connection` in so many seconds, unless it is forgotten before."""
        self._due[connection] = time.monotonic() + seconds

    def forget(self, connection: socket.socket) -> None:
        """It was in time; once or more."""
        self._due.pop(connection, None)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(_LOOK):
            now = time.monotonic()
            for connection, due in list(self._due.items()):
                if due < now:
                    self.forget(connection)
                    with contextlib.suppress(OSError):
                        # Not SSLSocket's own, which pulls the session from under the waiting
                        # thread.
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)
