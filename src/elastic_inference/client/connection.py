"""One kept connection to an accelerator: used by one call at a time.

The sockets block. Small answers are recognised by their first bytes; large tensors go out
of and into their own memory. Nothing returned refers to the connection's buffer.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from elastic_inference.client.grant import Address, tls_context
from elastic_inference.client.http import MAX_HEAD, HeadCache, ResponseHead, not_http, request_head
from elastic_inference.client.plan import SMALL, Layout, OutputSlot, Plan, Planner, Prefix
from elastic_inference.client.watchdog import NEVER
from elastic_inference.errors import (
    AcceleratorLostError,
    ConfigurationError,
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    from_dict,
)
from elastic_inference.protocol.host import tune
from elastic_inference.protocol.tensors import Array, Buffer, Value, decode_value

_BUFFER = 64 * 1024
_MAX_ERROR = 64 * 1024


class Connection:
    """A connection.

    Attributes:
        deadline: see `watchdog.Watched`.
        calls, wall_ns: inferences made and the time they took, seen from here.
        usable: after an exception, whether the answer was read whole.
        token: the one it was authorised with.
        generation: which attachment of the link it belongs to.
    """

    transport = "tcp"

    def __init__(self, sock: socket.socket, *, max_answer: int, generation: int = 0) -> None:
        self.deadline = NEVER
        self.calls = 0
        self.wall_ns = 0
        self.usable = False
        self.generation = generation
        self.token = ""
        self._socket = sock
        self._max_answer = max_answer
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._at = 0
        self._end = 0
        self._heads = HeadCache()
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._receive = sock.recv_into
        self._send = sock.sendall

    # -- the fast path ---------------------------------------------------------------------

    def infer(
        self, planner: Planner, feeds: Mapping[str, Value], outputs: tuple[str, ...] | None
    ) -> list[Value]:
        """One inference; see `Model.run`."""
        try:
            plan = plan_for(planner, feeds, outputs)
        except Exception:
            self.usable = True  # Nothing was sent.
            raise
        return self.infer_plan(plan, feeds)

    def infer_plan(self, plan: Plan, feeds: Mapping[str, Value]) -> list[Value]:
        """One inference with its plan, all tensors in the body."""
        if plan.buffers is not None:
            return self.exchange(plan, plan.request, plan.buffers)
        if plan.input_bytes > SMALL or plan.convert:
            if len(feeds) == 1 and not plan.convert and not self._tls:
                for x in feeds.values():
                    if x.flags.c_contiguous:  # type: ignore[union-attr]  # plain ones are arrays
                        return self._exchange_one(plan, x)  # type: ignore[arg-type]  # the same
            return self.exchange(plan, plan.request, [flat(x) for x in feeds.values()])
        if len(feeds) == 1:
            for x in feeds.values():
                self._send(plan.request + x.tobytes())  # type: ignore[union-attr]  # plain ones are arrays
        else:
            self._send(b"".join([plan.request, *[x.tobytes() for x in feeds.values()]]))  # type: ignore[union-attr]  # the same
        return self._answer(plan)

    def exchange(self, plan: Plan, request: bytes, buffers: Sequence[Buffer]) -> list[Value]:
        """Send `request` and `buffers`, and read the values of the answer."""
        self._send_all(request, buffers)
        return self._answer(plan)

    def _exchange_one(self, plan: Plan, array: Array) -> list[Value]:
        """`exchange` with one large array, whose memory goes to the socket as it is."""
        total = len(plan.request) + plan.input_bytes
        try:
            sent = self._socket.sendmsg((plan.request, array))
        except (BrokenPipeError, ConnectionResetError):
            sent = 0
        if sent != total:
            # A signal came, or the other side is gone and may have said why.
            self._send_all(*_rest(plan.request, flat(array), sent))
        return self._answer(plan)

    def _answer(self, plan: Plan) -> list[Value]:
        count = self._receive(self._view)
        prefix = plan.prefix
        if prefix is not None and count == prefix.total and self._buffer.startswith(prefix.raw):
            # A slice of a bytearray is a copy: the array owns it alone.
            buffer = self._buffer
            return [
                np.ndarray(shape, dtype, buffer[start:stop])
                for shape, dtype, start, stop in prefix.parts
            ]
        return self._general_answer(plan, count)

    # -- the general path ------------------------------------------------------------------

    def _general_answer(self, plan: Plan, count: int) -> list[Value]:
        self._at, self._end = 0, count
        if count == 0:
            raise closed()
        head, raw_head = self._read_head()
        if head.status != 200:
            raise self._refusal(head)
        if head.length > self._max_answer:
            raise InvalidRequestError(
                f"The answer has {head.length} bytes; EI_MAX_ANSWER allows {self._max_answer}.",
                next_step="Raise EI_MAX_ANSWER, or ask for fewer outputs.",
            )
        raw_json = self._read(head.json_length)
        layout = plan.layout(raw_json, head.length - head.json_length)
        start = len(raw_head) + 4 + head.json_length
        total = len(raw_head) + 4 + head.length
        values = [self._value(slot) for slot in layout.slots]
        if self._at != self._end:
            raise not_http("bytes follow its end")
        if total <= _BUFFER and not head.close:
            plan.prefix = _prefix(raw_head + b"\r\n\r\n" + raw_json, start, total, layout)
        if head.close:
            self.cut()
        return [values[index] for index in layout.order]

    def _value(self, slot: OutputSlot) -> Value:
        if slot.region:
            return self._region_value(slot)
        if slot.dtype is None:
            return decoded(slot, self._read(slot.nbytes))
        array = empty(slot)
        if slot.nbytes:
            self._fill(array.reshape(-1).view(np.uint8).data)
        return array

    def _region_value(self, slot: OutputSlot) -> Value:
        raise not_http(f"it names a shared memory region {slot.region[:80]!r}")

    def _refusal(self, head: ResponseHead) -> ElasticInferenceError:
        """The error that an answer carries; the connection stays usable."""
        if head.length > _MAX_ERROR:
            return not_http("its error is too long")
        error = error_of(head.status, self._read(head.length))
        self.usable = not head.close and self._at == self._end
        return error

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Buffer = b"",
        fields: str = "",
    ) -> bytes:
        """Any request; the body of its answer.

        Raises:
            ElasticInferenceError: what the accelerator answered.
            OSError, AcceleratorLostError: the connection broke.
        """
        head = request_head(method, path, len(body), fields)
        self._send_all(head, [memoryview(body)] if len(body) else [])
        return self.read_answer()

    def put(self, path: str, size: int, pieces: Iterable[Buffer], fields: str) -> bytes:
        """PUT `size` bytes, but only once the accelerator wants them; errors as in `request`.

        So a refusal arrives whole, and is not lost with a body that nobody reads.

        Args:
            pieces: together `size` bytes; each is sent before the next is asked for.
        """
        if not size:
            return self.request("PUT", path, b"", fields)
        answer = self.offer(path, size, fields)
        if answer is None:
            for piece in pieces:
                self._send_all(b"", [piece])
            answer = self.read_answer()
        return answer

    def offer(self, path: str, length: int, fields: str = "") -> bytes | None:
        """Announce a PUT with `length` bytes: None if they are wanted, else the answer's body."""
        self._send(request_head("PUT", path, length, fields + "Expect: 100-continue\r\n"))
        self._at = self._end = 0
        head, _ = self._read_head()
        if head.status != 100:
            return self._body_of(head)
        if self._at != self._end:
            raise not_http("it goes on before its request does")
        return None

    def read_answer(self) -> bytes:
        """The body of the next answer; errors as in `request`."""
        self._at = self._end = 0
        head, _ = self._read_head()
        return self._body_of(head)

    def _body_of(self, head: ResponseHead) -> bytes:
        if head.status >= 300:
            raise self._refusal(head)
        if head.length > self._max_answer:
            raise not_http(f"it has {head.length} bytes")
        body = self._read(head.length)
        if head.close:
            self.cut()
        return body

    # -- bytes -----------------------------------------------------------------------------

    def _send_all(self, head: bytes, buffers: Sequence[Buffer]) -> None:
        size = sum(len(part) for part in buffers)
        try:
            if size <= SMALL:
                self._send(b"".join([head, *buffers]))
            elif self._tls or len(buffers) != 1:
                self._send(head)
                for part in buffers:
                    self._send(part)
            else:
                self._send_two(head, buffers[0])
        except (BrokenPipeError, ConnectionResetError):
            # The other side may have said why before it closed.
            self._at = self._end = 0
            with contextlib.suppress(OSError, AcceleratorLostError):
                refused, _ = self._read_head()
                if refused.status >= 400:
                    error = self._refusal(refused)
                    self.usable = False
                    raise error from None
            raise

    def _send_two(self, head: bytes, body: Buffer) -> None:
        sent = self._socket.sendmsg((head, body))
        if sent < len(head):
            self._send(head[sent:])
            sent = len(head)
        if sent < len(head) + len(body):
            self._send(body[sent - len(head) :])

    def _read_head(self) -> tuple[ResponseHead, bytes]:
        buffer = self._buffer
        searched = self._at
        while (end := buffer.find(b"\r\n\r\n", searched, self._end)) < 0:
            if self._end - self._at > MAX_HEAD:
                raise not_http("its head is too long")
            searched = max(self._at, self._end - 3)
            self._more()
        raw = bytes(self._view[self._at : end])
        self._at = end + 4
        return self._heads.parse(raw), raw

    def _more(self) -> None:
        count = self._receive(self._view[self._end :])
        if count == 0:
            raise closed()
        self._end += count

    def _read(self, size: int) -> bytes:
        """`size` bytes; memory is taken as they come, not as they are promised."""
        if self._end - self._at >= size:
            raw = bytes(self._view[self._at : self._at + size])
            self._at += size
            return raw
        block: Array = np.empty(size, np.uint8)
        self._fill(block.data)
        return block.tobytes()

    def _fill(self, target: memoryview) -> None:
        have = min(self._end - self._at, len(target))
        if have:
            target[:have] = self._view[self._at : self._at + have]
            self._at += have
        flags = 0 if self._tls else socket.MSG_WAITALL
        while have < len(target):
            count = self._receive(target[have:], 0, flags)
            if count == 0:
                raise closed()
            have += count

    # -- the end ---------------------------------------------------------------------------

    def cut(self) -> None:
        """End whatever waits on this connection, from any thread."""
        # Not SSLSocket's own shutdown, which pulls the session from under the waiting thread.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; in a forked child, without a word to the accelerator."""
        with contextlib.suppress(OSError):
            self._socket.close()


def _rest(head: bytes, body: Buffer, sent: int) -> tuple[bytes, list[Buffer]]:
    """What is left of a head and a body of which `sent` bytes are gone."""
    return head[sent:], [body[max(0, sent - len(head)) :]]


def plan_for(planner: Planner, feeds: Mapping[str, Value], outputs: tuple[str, ...] | None) -> Plan:
    """The plan for these inputs, made if there is none yet."""
    key: Any = outputs
    try:
        for name, x in feeds.items():
            key = (key, name, x.dtype, x.shape)  # type: ignore[union-attr]  # what is no array has no dtype
        return planner.plans[key]
    except (KeyError, AttributeError, TypeError):
        return planner.make(key, feeds, outputs)


def closed() -> AcceleratorLostError:
    """The error for an end of the connection where an answer was due."""
    return AcceleratorLostError("The accelerator closed the connection.")


def empty(slot: OutputSlot) -> Array:
    """Memory of the caller's own for an output."""
    try:
        return np.empty(slot.shape, slot.dtype)
    except ValueError as error:
        raise not_http(f"an output's shape is impossible ({error})") from error


def decoded(slot: OutputSlot, raw: bytes) -> Value:
    """An output that is not a plain numeric tensor."""
    try:
        return decode_value(slot.entry, memoryview(raw))
    except InvalidRequestError as error:
        raise not_http(f"an output is malformed ({error.message})") from error


def flat(array: Any) -> Buffer:
    """The bytes of a numeric array, without a copy where it is contiguous and native."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    flattened: Array = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flattened.data


def error_of(status: int, body: bytes) -> ElasticInferenceError:
    """The error that the accelerator described."""
    import json  # noqa: PLC0415 - only failures need it here

    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or "error" not in fields:
        return InternalError(f"The accelerator answered with HTTP status {status}.")
    return from_dict(fields, InvalidRequestError if status < 500 else InternalError)


def _prefix(raw: bytes, start: int, total: int, layout: Layout) -> Prefix | None:
    parts = []
    for index in layout.order:
        slot = layout.slots[index]
        if slot.dtype is None or slot.region:
            return None
        first = start + slot.offset
        parts.append((slot.shape, slot.dtype, first, first + slot.nbytes))
    return Prefix(raw, total, tuple(parts))


def open_socket(address: Address, *, unix: bool, timeout: float) -> socket.socket:
    """A connected, blocking socket to `address`; TLS handshake done where there is one.

    Raises:
        OSError: nobody answers, in time, or not as an accelerator.
        ConfigurationError: the certificate is not trusted.
    """
    if unix:
        sock = socket.socket(socket.AF_UNIX)
    else:
        sock = socket.create_connection((address.host, address.port), timeout)
    try:
        sock.settimeout(timeout)
        if unix:
            sock.connect(address.socket_path)
        else:
            tune(sock)
            if address.tls:
                name = address.server_name or address.host
                sock = tls_context(address.ca).wrap_socket(sock, server_hostname=name)
        sock.settimeout(None)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise ConfigurationError(
            f"The accelerator's certificate is not trusted: {error.verify_message}.",
            next_step="AWS_CA_BUNDLE must name the pool's certificate authority.",
        ) from error
    except BaseException:
        sock.close()
        raise
    return sock
