"""A connection that carries frames, and never blocks: for one thread that polls it."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time

from elastic_inference.protocol.exec_stream import (
    INPUT_WINDOW,
    MAX_PAYLOAD,
    Decoder,
    Frame,
    Kind,
    encode_numbers,
)

PIECE = MAX_PAYLOAD
_MOST_WAITING = INPUT_WINDOW
_PING_EVERY = 15.0
_SILENCE = 60.0


class Stream:
    """Frames over a socket, TLS or plain.

    Args:
        early: what was received of them already.

    Attributes:
        paused: the caller reads nothing now.
        ended: nothing comes or goes any more: the peer is gone, or has been silent for long.
    """

    def __init__(self, connection: socket.socket, early: bytes = b"") -> None:
        connection.setblocking(False)
        self._early = early
        self._connection = connection
        self._decoder = Decoder()
        self._waiting = bytearray()
        self._reading_wants = select.POLLIN
        self._writing_wants = select.POLLOUT
        self.paused = False
        self._last_heard = self._last_sent = time.monotonic()
        self.ended = False

    @property
    def fileno(self) -> int:
        return self._connection.fileno()

    @property
    def full(self) -> bool:
        """So much waits to be sent that no more should be added."""
        return len(self._waiting) >= _MOST_WAITING

    @property
    def idle(self) -> bool:
        """Nothing waits to be sent."""
        return not self._waiting

    def send(self, frame: bytes) -> None:
        """Send it as soon as the peer takes it."""
        self._waiting += frame
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now."""
        self._writing_wants = select.POLLOUT
        while self._waiting and not self.ended:
            # A copy, since what is viewed could not grow or shrink; and as much as the last
            # time at least, as TLS demands of a write that is tried again.
            piece = bytes(self._waiting[:PIECE])
            try:
                sent = self._connection.send(piece)
            except ssl.SSLWantReadError:
                self._writing_wants = select.POLLIN
                return
            except (BlockingIOError, ssl.SSLWantWriteError):
                return
            except OSError:
                self.ended = True
                return
            del self._waiting[:sent]
            self._last_sent = time.monotonic()

    def receive(self) -> list[Frame]:
        """The frames that have come, pings aside; a bounded amount at a time.

        Raises:
            InvalidRequestError: the peer sends no frames.
        """
        self._reading_wants = select.POLLIN
        try:
            data = self._early or self._connection.recv(PIECE)
            self._early = b""
        except ssl.SSLWantWriteError:
            self._reading_wants = select.POLLOUT
            return []
        except (BlockingIOError, ssl.SSLWantReadError):
            return []
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return []
        self._last_heard = time.monotonic()
        return [each for each in self._decoder.feed(data) if each.kind is not Kind.PING]

    def pause(self, paused: bool) -> None:
        """Say whether the caller reads now; who does not read cannot call the peer silent."""
        if self.paused and not paused:
            self._last_heard = time.monotonic()
        self.paused = paused

    def events(self) -> int:
        """What to poll for."""
        wanted = 0 if self.paused else self._reading_wants
        return wanted | (self._writing_wants if self._waiting else 0)

    def patience(self) -> float:
        """Milliseconds that a poll may last."""
        if not self.paused and (self._early or self._decrypted()):
            return 0.0
        return max(0.0, self._last_sent + _PING_EVERY - time.monotonic()) * 1000 + 1

    def _decrypted(self) -> bool:
        """Whether TLS has something that no poll shows."""
        with contextlib.suppress(OSError, ValueError):
            return isinstance(self._connection, ssl.SSLSocket) and self._connection.pending() > 0
        return False

    def beat(self) -> None:
        """Tell the peer that this end lives, where it is time to; notice that it does not."""
        now = time.monotonic()
        if now - self._last_sent >= _PING_EVERY:
            # Set even where the ping has to wait behind others, which say the same.
            self._last_sent = now
            if not self._waiting:
                self.send(encode_numbers(Kind.PING))
        if not self.paused and now - self._last_heard >= _SILENCE:
            self.ended = True
