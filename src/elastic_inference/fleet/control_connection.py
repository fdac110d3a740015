"""The control plane's end of an accelerator's handover socket."""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import struct
import threading
from pathlib import Path

from elastic_inference.errors import InvalidRequestError, UnavailableError
from elastic_inference.isolation import users
from elastic_inference.protocol.json_object import parse_object

_MAX_MESSAGE = 4096
_HEARD_AT_ONCE = 16


class ControlConnection:
    """A connection to a running accelerator, whose process is held by a pidfd.

    The pidfd makes sure that a signal never reaches another process with a used-up number.

    Attributes:
        greeted: it has said who it is.
    """

    def __init__(
        self, connection: socket.socket, pid: int, pidfd: int, *, greeted: bool = True
    ) -> None:
        self.pid = pid
        self.greeted = greeted
        self._connection = connection
        self._pidfd = pidfd
        # So that nobody writes to a descriptor number that `close` has just set free.
        self._lock = threading.Lock()
        self._open = True

    @classmethod
    def open(
        cls,
        path: Path,
        accelerator_id: str,
        timeout: float,
        *,
        silent_too: bool = False,
        uid: int | None = None,
    ) -> ControlConnection:
        """Connect to the accelerator at `path` and hear its hello.

        Args:
            silent_too: whoever listens there is the accelerator, even if it says nothing in
                time: one that is stopped or has no processor to run on is still there.
            uid: the user that it must be; None: any.

        Raises:
            UnavailableError: none is there, or another one.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.settimeout(timeout)
            connection.connect(str(path))
            pid, owner = _listener_of(connection)
            if uid not in (None, owner):
                raise ValueError(f"it is of user {owner}, not {uid}")
            greeted = True
            try:
                said = _pid(connection.recv(_MAX_MESSAGE), accelerator_id)
            except TimeoutError:
                if not silent_too:
                    raise
                greeted = False
            else:
                if said != pid:
                    raise ValueError(f"it is not the process {said} that it says it is")
            connection.setblocking(False)
            pidfd = _hold(pid, connection, uid)
        except (OSError, ValueError, KeyError, TypeError, InvalidRequestError) as error:
            connection.close()
            raise UnavailableError(
                f"No accelerator answers at {path}: {error}.", accelerator_id=accelerator_id
            ) from error
        return cls(connection, pid, pidfd, greeted=greeted)

    def fileno(self) -> int:
        """Readable when the accelerator has gone (or, harmlessly, has said something)."""
        return self._connection.fileno()

    def ended(self) -> bool:
        """Whether the accelerator has closed the connection; reads what it said."""
        return _ended(self._connection)

    def hand_over(self, connection: socket.socket, peer: str) -> None:
        """Send a connection; see `Fleet.hand_over`.

        Raises:
            OSError: it cannot be sent now.
        """
        message = json.dumps({"kind": "connection", "peer": peer}).encode()
        descriptors = array.array("i", [connection.fileno()])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
        with self._lock:
            self._connection.sendmsg([message], rights, socket.MSG_DONTWAIT)

    def renew(self) -> None:
        """Say that the certificate's files are new; connections handed over later see it."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.send(b'{"kind":"certificate"}')

    def revoke(self) -> None:
        """Say that the configuration has another list of revoked rights.

        Raises:
            OSError: it cannot be said now.
        """
        with self._lock:
            self._connection.send(b'{"kind":"revoked"}')

    def drain(self) -> None:
        """Ask for a graceful end."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.send(b'{"kind":"drain"}')

    def kill(self) -> None:
        """End the process at once."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._open:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self, timeout: float) -> bool:
        """Whether the process ends within `timeout` seconds."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout) * 1000))

    def close(self) -> None:
        """Let go of the accelerator, which goes on."""
        with self._lock:
            if self._open:
                self._open = False
                self._connection.close()
                os.close(self._pidfd)


def _pid(hello: bytes, accelerator_id: str) -> int:
    fields = parse_object(hello, "What it says")
    if fields["kind"] != "hello" or fields["accelerator_id"] != accelerator_id:
        raise ValueError(f"it is {fields['accelerator_id']!r}")
    return int(fields["pid"])


def _listener_of(connection: socket.socket) -> tuple[int, int]:
    """The process that listens at the other end and its user, as the kernel knows them."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


def _hold(pid: int, connection: socket.socket, uid: int | None) -> int:
    pidfd = os.pidfd_open(pid)
    # Still connected after the pidfd was taken: the number is that process's. Of another user
    # it is only believed if the process is that user's: its listener may be held by a child
    # that it left behind, and its number be anybody's.
    foreign = uid is not None and uid != os.geteuid()
    if _ended(connection) or (foreign and not users.is_of(pid, uid or 0)):
        os.close(pidfd)
        raise ConnectionError("it has just ended")
    return pidfd


def _ended(connection: socket.socket) -> bool:
    try:
        # One that says much is heard in turns with the others.
        for _ in range(_HEARD_AT_ONCE):
            if not connection.recv(_MAX_MESSAGE):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False
