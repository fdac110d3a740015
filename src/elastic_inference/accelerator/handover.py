"""The socket over which the control plane hands connections to an accelerator.

A control plane keeps one connection to it. Its end tells each side that the other is gone:
the accelerator then waits a grace period for the next control plane and ends itself.
"""

from __future__ import annotations

import array
import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from elastic_inference.accelerator.sockets import peer_is_allowed
from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.json_object import parse_object

log = logging.getLogger(__name__)

_MAX_MESSAGE = 4096
_MAX_DESCRIPTORS = 4
_ACCEPT_PAUSE = 0.1


class Handover:
    """Accepts control connections and what they hand over.

    Args:
        serve: gets each connection, in the order in which they come.
        drain: is called where a graceful end is asked for.
        renew: is called where the certificate's files are new; later connections wait for it.
        revoke: is called where other rights are revoked; later connections wait for it.
    """

    def __init__(
        self,
        listener: socket.socket,
        hello: dict[str, Any],
        *,
        serve: Callable[[socket.socket], None],
        drain: Callable[[], None],
        renew: Callable[[], None],
        revoke: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._hello = json.dumps({"kind": "hello", **hello}).encode()
        self._serve = serve
        self._drain = drain
        self._renew = renew
        self._revoke = revoke
        self._lock = threading.Lock()
        self._controls = 0
        self._alone_since = time.monotonic()
        threading.Thread(target=self._accept, name="handover", daemon=True).start()

    @property
    def alone_for(self) -> float:
        """Seconds without any control plane; 0 while there is one."""
        with self._lock:
            return 0.0 if self._controls else time.monotonic() - self._alone_since

    def _accept(self) -> None:
        while True:
            try:
                control, _ = self._listener.accept()
            except OSError as error:
                # Out of file descriptors or the like: a control plane that waits is not lost.
                log.warning("Cannot accept a control connection: %s", error)
                time.sleep(_ACCEPT_PAUSE)
                continue
            try:
                if peer_is_allowed(control):
                    threading.Thread(
                        target=self._follow, args=(control,), name="control", daemon=True
                    ).start()
                    continue
            except (OSError, RuntimeError) as error:
                # No room for a thread now: the control plane comes again.
                log.warning("Cannot follow a control connection: %s", error)
            control.close()

    def _follow(self, control: socket.socket) -> None:
        with self._lock:
            self._controls += 1
        try:
            with contextlib.suppress(OSError), control:
                control.send(self._hello)
                while self._receive(control):
                    pass
        finally:
            with self._lock:
                self._controls -= 1
                self._alone_since = time.monotonic()

    def _receive(self, control: socket.socket) -> bool:
        descriptors = array.array("i")
        size = socket.CMSG_SPACE(_MAX_DESCRIPTORS * descriptors.itemsize)
        data, ancillary, _, _ = control.recvmsg(_MAX_MESSAGE, size)
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(raw[: len(raw) - len(raw) % descriptors.itemsize])
        if not data:
            return False
        wanted = _kind_of(data)
        if wanted == "connection" and len(descriptors) == 1:
            self._serve(socket.socket(fileno=descriptors.pop()))
        elif wanted == "drain":
            self._drain()
        elif wanted == "certificate":
            self._renew()
        elif wanted == "revoked":
            self._revoke()
        for descriptor in descriptors:
            os.close(descriptor)
        return True


def _kind_of(message: bytes) -> str:
    try:
        return str(parse_object(message).get("kind"))
    except InvalidRequestError:
        return ""
