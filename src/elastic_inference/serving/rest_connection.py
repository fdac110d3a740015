"""One HTTP/1.1 connection of the REST front end, driven by an event loop.

Everything is bounded: heads, bodies and what all bodies take together, how long a client may
take to send or read, and the number of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import cast

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.http import (
    CONTINUE,
    RequestHead,
    parse_request_head,
    response_head,
)
from elastic_inference.serving.json_answers import write_error
from elastic_inference.serving.rest import Reply, Request
from elastic_inference.serving.rest_body import MAX_BODY, Body

MAX_HEAD = 16 * 1024
MAX_CONNECTIONS = 1024
# Of all bodies that are being read or answered.
MAX_BODIES = 2 << 30
# How long a connection may rest between requests, in seconds.
IDLE = 60.0
# How long a client may take to send or read the next piece.
PATIENCE = 30.0
# How long a client that was refused may go on sending.
_LINGER = 5.0
_PIECE = 64 * 1024
_END = b"\r\n\r\n"
_KEEPS = b"Connection: keep-alive\r\n"


class Site:
    """What the connections of a server share. Only its loop's thread uses it.

    Args:
        answer: called on the pool's threads.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: ThreadPoolExecutor,
        answer: Callable[[Request], Reply],
    ) -> None:
        self.loop = loop
        self.pool = pool
        self.answer = answer
        self.connections: set[Connection] = set()
        self.held = 0
        self.is_draining = False
        self.drained = asyncio.Event()

    def drain(self) -> None:
        """End connections that rest, and others after the answer that is due."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.drain()
        self.check()

    def abort(self) -> None:
        """End all connections."""
        for connection in list(self.connections):
            connection.abort()

    def check(self) -> None:
        """Tell who waits once the last connection is gone."""
        if self.is_draining and not self.connections:
            self.drained.set()


class Connection(asyncio.Protocol):
    """Reads requests one after the other, and writes their replies in that order."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: RequestHead | None = None
        self._path = ""
        self._body = Body()
        self._held = 0
        self._task: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since_timer = 0
        self._closes = False
        self._has_begun = False

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if len(self._site.connections) >= MAX_CONNECTIONS or self._site.is_draining:
            self._refuse(503, "The model server has too many connections.")
        self._site.connections.add(self)
        self._wait(IDLE)

    def data_received(self, data: bytes) -> None:
        if self._closes:
            return
        self._buffer += data
        self._since_timer += len(data)
        if self._task is not None:
            # What comes before the answer waits in the socket.
            if len(self._buffer) > _PIECE and self._transport is not None:
                self._transport.pause_reading()
            return
        self._advance()

    def eof_received(self) -> bool:
        # A client may close its side once it has sent its request.
        self._closes = True
        return self._task is not None

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the loop's way
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._release()
        self._site.connections.discard(self)
        self._site.check()

    def pause_writing(self) -> None:
        self._watch_sending()

    def resume_writing(self) -> None:
        if self._task is None:
            self._wait(IDLE)

    # Ends

    def drain(self) -> None:
        if self._task is None and self._head is None and not self._buffer and self._transport:
            self._closes = True
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, status: int, words: str) -> None:
        self._closes = True
        self._release()
        self._send(Reply(status, write_error(words)), lingers=True)

    # Reading

    def _advance(self) -> None:
        """Go as far as the bytes that have come allow."""
        try:
            head = self._head or self._read_head()
            if head is None:
                return
            is_whole = self._body.feed(self._buffer)
        except InvalidRequestError as error:
            self._refuse(400, error.message)
            return
        if max(self._body.size, self._body.due) > MAX_BODY:
            self._refuse(413, f"The body is larger than {MAX_BODY} bytes.")
        elif not self._hold(self._body.size):
            self._refuse(503, "The model server has too many requests to read at a time.")
        elif is_whole:
            self._begin(head)
        elif self._since_timer >= _PIECE:
            self._wait(PATIENCE)

    def _read_head(self) -> RequestHead | None:
        while self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
        end = self._buffer.find(_END, 0, MAX_HEAD)
        if end < 0:
            if len(self._buffer) >= MAX_HEAD:
                self._refuse(431, f"The head is larger than {MAX_HEAD} bytes.")
            elif self._buffer and not self._has_begun:
                self._has_begun = True
                self._wait(PATIENCE)
            return None
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + len(_END)]
        head = parse_request_head(raw)
        self._path = raw.split(b" ", 2)[1].partition(b"?")[0].decode("latin-1")
        self._head = head
        self._body = Body(is_chunked=head.chunked, due=head.content_length or 0)
        if head.expect_continue and self._transport is not None and self._body.due <= MAX_BODY:
            self._transport.write(CONTINUE)
        self._wait(PATIENCE)
        return head

    def _hold(self, size: int) -> bool:
        self._site.held += size - self._held
        self._held = size
        return self._site.held <= MAX_BODIES

    def _release(self) -> None:
        self._hold(0)
        self._body = Body()

    # Answering

    def _begin(self, head: RequestHead) -> None:
        if self._timer is not None:
            self._timer.cancel()
        request = Request(head.method, self._path, head.headers, self._body.taken())
        self._task = self._site.loop.run_in_executor(self._site.pool, self._site.answer, request)
        self._task.add_done_callback(lambda task: self._done(head, task))

    def _done(self, head: RequestHead, task: asyncio.Future[Reply]) -> None:
        self._task = None
        if task.cancelled() or self._transport is None:
            self.abort()
            return
        self._closes = self._closes or not head.keep_alive or self._site.is_draining
        self._head = None
        self._has_begun = False
        self._release()
        reply = task.result()
        # A client of HTTP/1.0 that asks for it does not take it for granted.
        if not self._closes and head.headers.get(b"connection", b"").lower() == b"keep-alive":
            reply = replace(reply, extra=reply.extra + _KEEPS)
        self._send(reply, is_head=head.method == "HEAD")
        if not self._closes:
            self._transport.resume_reading()
            if self._buffer:
                self._site.loop.call_soon(self._next)

    def _next(self) -> None:
        if self._transport is not None and self._task is None and self._head is None:
            self._advance()

    def _send(self, reply: Reply, *, is_head: bool = False, lingers: bool = False) -> None:
        if self._transport is None:
            return
        head = response_head(
            reply.status,
            len(reply.body),
            reply.content_type,
            extra=reply.extra,
            close=self._closes,
        )
        self._wait(IDLE)
        self._transport.write(head if is_head else head + reply.body)
        if lingers:
            # Closed while the client still sends, it might never see the reply.
            self._transport.write_eof()
            self._wait(_LINGER)
        elif self._closes:
            self._watch_sending()
            self._transport.close()

    # Waiting

    def _wait(self, seconds: float) -> None:
        """End the connection if nothing that matters happens for so long."""
        if self._timer is not None:
            self._timer.cancel()
        self._since_timer = 0
        self._timer = self._site.loop.call_later(seconds, self.abort)

    def _watch_sending(self, before: int | None = None) -> None:
        """End the connection if the client reads nothing for too long.

        Args:
            before: the bytes that it had not read when this was last called.
        """
        if self._transport is None:
            return
        left = self._transport.get_write_buffer_size()
        if self._timer is not None:
            self._timer.cancel()
        if before is not None and left >= before:
            self.abort()
        elif left:
            self._timer = self._site.loop.call_later(PATIENCE, self._watch_sending, left)
