"""One connection, one thread: read a request, run it, answer, again.

This is the hot path. What repeats between requests is remembered by its bytes (heads and
inference JSON, in bounded caches that hold no authorisation); what cannot be remembered is a
few system calls and one call of the engine.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache

from elastic_inference.accelerator.causes import cause_of
from elastic_inference.accelerator.channel import (
    Channel,
    ChannelBody,
    ConnectionClosedError,
    body_too_large,
)
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.grant import Grant
from elastic_inference.accelerator.pieces import send_pieces
from elastic_inference.accelerator.repeat import Repeat, shapes_of
from elastic_inference.accelerator.routes import Call, find
from elastic_inference.accelerator.statistics import Counter
from elastic_inference.errors import (
    ElasticInferenceError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    PayloadTooLargeError,
)
from elastic_inference.protocol.compression import compress
from elastic_inference.protocol.http import (
    STATUS_BY_KIND,
    RequestHead,
    parse_request_head,
    response_head,
    split_authorization,
)
from elastic_inference.protocol.inference import (
    InferRequest,
    InferResponse,
    parse_infer_request,
    read_inputs,
    split_id,
    write_response,
)
from elastic_inference.protocol.tensors import Buffer, Value

log = logging.getLogger(__name__)

_MAX_CACHED = 2048
_MAX_CACHED_JSON = 16384
_MAX_CACHED_HEAD = 2048
_MAX_SKIPPED = 1024 * 1024
# Of a body over its limit, as often the limit is passed over so that its sender sees the answer.
_PASSED_OVER = 4
_KEEP_BUFFER = 64 * 1024 * 1024
# Open to who can reach the Unix socket, as whoever looks after the accelerator can.
_HEALTH = ("v2", "elastic-inference", "health")
_OPEN_PATHS = {("v2", "health", "live"), _HEALTH}
_FOREVER = float("inf")
# Shared by the connections of the process, all of which belong to one tenant. A race between
# two threads costs a second parse, nothing else.
_heads: dict[bytes, RequestHead] = {}
_requests: dict[bytes, InferRequest] = {}


def _cached_head(raw: bytes) -> RequestHead:
    head = _heads.get(raw)
    if head is None:
        head = parse_request_head(raw)
        if b"authorization" not in head.headers and len(raw) <= _MAX_CACHED_HEAD:
            if len(_heads) >= _MAX_CACHED:
                _heads.clear()
            _heads[raw] = head
    return head


def _cached_request(raw: bytes) -> InferRequest:
    if len(raw) > _MAX_CACHED_JSON:
        return parse_infer_request(raw)
    request = _requests.get(raw)
    if request is None:
        request = parse_infer_request(raw)
        if request.reusable:
            if len(_requests) >= _MAX_CACHED:
                _requests.clear()
            _requests[raw] = request
    return request


@lru_cache(maxsize=_MAX_CACHED)
def _usual_head(size: int, json_length: int) -> bytes:
    """The head of an answer with tensors, `size` bytes of body of which some are JSON."""
    return response_head(200, size, b"application/octet-stream", json_length=json_length)


def _answer_head(
    head: RequestHead, size: int | None, json_length: int | None, times: tuple[float, float]
) -> bytes:
    """The head of any other answer to an inference; `size` None if it comes in chunks."""
    extra = b"Content-Encoding: %s\r\n" % head.coding if head.coding else b""
    if b"ei-timing" in head.headers:
        extra += b"EI-Timing: %d;%d\r\n" % (times[0] * 1e9, times[1] * 1e9)
    kind = b"application/json" if json_length is None else b"application/octet-stream"
    return response_head(
        200, size, kind, json_length=json_length, extra=extra, close=not head.keep_alive
    )


class Connection:
    """Serves one connected client until it goes away."""

    def __init__(self, channel: Channel, plane: DataPlane) -> None:
        self.channel = channel
        self._plane = plane
        self._limits = plane.config.limits
        self._grant = Grant(channel, plane)
        self._counters: dict[str, Counter] = {}
        self._repeat: Repeat | None = None
        # The request's head, if it may be remembered, and its authorisation.
        self._first = b""
        self._shown: bytes | None = None
        # Of what HEAD asks for, the answer's head alone is sent (RFC 9110, section 9.3.2).
        self._bodiless = False
        self.busy = False
        # Seconds that the engine took for the last requests that came together.
        self.computed = 0.0

    def serve(self, leaves: Callable[[], bool]) -> bool:
        """Serve until the connection ends, or `leaves` after a prompt request; never raises.

        Returns:
            Whether it left, to be served on by `serve_ready`; else it has ended.
        """
        try:
            while self._serve_one():
                if leaves() and self._stands_by():
                    return True
        except (ConnectionClosedError, OSError):
            pass  # The other end is gone, or the watchdog cut the line: nobody to tell.
        except Exception:
            log.exception("A connection ended by a defect")
        self.end()
        return False

    def serve_ready(self) -> bool:
        """Serve the request that has come, and what came with it; False at the end."""
        self.computed = 0.0
        try:
            while self._serve_one():
                if self._stands_by():
                    return True
        except (ConnectionClosedError, OSError):
            pass
        except Exception:
            log.exception("A connection ended by a defect")
        return False

    def _stands_by(self) -> bool:
        """Whether nothing more has come; then the wait for it begins."""
        channel = self.channel
        if channel.has_more:
            return False
        limits = self._limits
        self.busy = False
        channel.patience = (
            limits.receive_timeout if self._grant.claims is None else limits.idle_timeout
        )
        channel.since = time.monotonic()
        return True

    def end(self) -> None:
        """Close it, and give up what it had."""
        self.channel.close()
        self._grant.leave()
        self._plane.statistics.close(self._counters)

    def _serve_one(self) -> bool:
        """One request; False when the connection is to end."""
        channel = self.channel
        limits = self._limits
        self.busy = False
        repeat = self._repeat
        # Who has shown no token yet gets no longer than who is amid a request.
        idle = limits.receive_timeout if self._grant.claims is None else limits.idle_timeout
        if repeat is not None and not channel.buffered:
            count = channel.receive_first(idle, limits.receive_timeout, repeat.first_read)
            self.busy = True
            if repeat.came(channel.head, count) and self._still_holds(repeat):
                return self._infer_again(repeat)
        try:
            raw = channel.read_head(idle, limits.receive_timeout)
            self.busy = True
            bare, authorization = split_authorization(raw)
            head = _cached_head(bare)
            self._bodiless = head.method == "HEAD"
        except ElasticInferenceError as error:
            self._fail(error, close=True)
            return False
        try:
            self._shown = self._authorise(head, authorization)
        except ElasticInferenceError as error:
            return self._refuse(head, error)
        self._first = raw + b"\r\n\r\n" if head.is_usual else b""
        if head.is_plain_infer:
            return self._infer_plain(head, head.content_length or 0)
        return self._other(head)

    def _still_holds(self, repeat: Repeat) -> bool:
        """Whether what was allowed and loaded then is so now."""
        try:
            grant = self._grant
            return (
                time.monotonic() < grant.expires
                and (repeat.authorization is None or repeat.authorization == grant.authorization)
                and self._plane.ready
                and self._plane.models.get(repeat.name) is repeat.entry
            )
        except NotFoundError:
            return False

    def _infer_again(self, repeat: Repeat) -> bool:
        """An inference with a known request: the fastest path."""
        channel = self.channel
        began = channel.since
        request = repeat.request
        try:
            body, start = repeat.read(channel)
        except LimitExceededError as error:
            self._fail(error, close=True)
            return False
        try:
            received = began if repeat.whole else time.monotonic()
            channel.patience = _FOREVER
            feeds = read_inputs(request, body, start, self._grant.regions)
            values = repeat.entry.run(request.signature, feeds, request.output_names)
        except Exception as error:  # noqa: BLE001 - sorted out in one place
            return self._failed(repeat.head, cause_of(error, self._plane), repeat.name, began)
        if not repeat.fits(values):
            return self._answer_otherwise(repeat, values, began, received)
        computed = channel.since = time.monotonic()
        self.computed += computed - received
        channel.patience = self._limits.send_timeout
        repeat.send(channel, values)
        size = repeat.total - repeat.head_length
        repeat.counter.count(received - began, computed - received, computed, size, repeat.body)
        return True

    def _answer_otherwise(
        self, repeat: Repeat, values: Sequence[Value], began: float, received: float
    ) -> bool:
        """Answer a known request whose outputs have other shapes than before."""
        computed = time.monotonic()
        request = repeat.request
        specs = repeat.entry.specs(request.output_names)
        model = (repeat.name, self._plane.check_version(repeat.head.path))
        try:
            response = write_response(request, model, specs, values, self._grant.regions)
        except ElasticInferenceError as error:
            return self._failed(repeat.head, error, repeat.name, began)
        times = (received - began, computed - received)
        repeat.answer, repeat.body = self._respond(repeat.head, response, times)
        repeat.shapes = shapes_of(values)
        size = repeat.total - repeat.head_length
        repeat.counter.count(*times, computed, size, repeat.body)
        return True

    def _authorise(self, head: RequestHead, authorization: bytes | None) -> bytes | None:
        """Check the request's token, or the grant that the connection has.

        Returns:
            The request's Authorization, if it has one.

        Raises:
            AuthenticationError: there is no valid token.
            InvalidRequestError: there are two.
        """
        spelt_oddly = head.headers.get(b"authorization")
        if authorization is None:
            authorization = spelt_oddly
        elif spelt_oddly is not None:
            raise InvalidRequestError("The header field authorization is repeated.")
        if authorization is not None:
            self._grant.show(authorization)
        if head.path not in _OPEN_PATHS or (head.path == _HEALTH and not self.channel.is_unix):
            self._grant.check(head.headers.get(b"ei-client"))
        return authorization

    def _body_of(self, head: RequestHead) -> ChannelBody:
        limits = self._limits
        return ChannelBody(self.channel, head, limits.max_body, limits.receive_timeout)

    def _refuse(self, head: RequestHead, error: ElasticInferenceError) -> bool:
        """Answer an unauthorised request; go on if its body can be skipped cheaply.

        Whoever had a token gets to see that it has expired, however much it was sending.
        """
        body = self._body_of(head)
        most = _MAX_SKIPPED if self._grant.claims is None else self._limits.max_body
        close = not head.keep_alive or not body.drain(most)
        self._fail(error, close=close)
        return not close

    def _infer_plain(self, head: RequestHead, length: int) -> bool:
        """An inference whose body comes at once: the fast path."""
        began = time.monotonic()
        channel = self.channel
        if length > self._limits.max_body:
            self._fail(body_too_large(self._limits.max_body), close=True)
            self._pass_over(self._body_of(head))
            return False
        json_length = length if head.json_length is None else head.json_length
        if json_length > length:
            self._fail(InvalidRequestError("The JSON is longer than the body."), close=True)
            return False
        # What began before the accelerator was told to end is still served.
        admitted = self._plane.ready
        try:
            body, at = channel.read_body(length, json_length)
        except LimitExceededError as error:
            self._fail(error, close=True)
            return False
        if not admitted:
            self._fail(self._plane.shutting_down(), close=True)
            return False
        return self._infer(head, body, at, json_length, length, began)

    def _infer(
        self, head: RequestHead, body: Buffer, at: int, json_length: int, length: int, began: float
    ) -> bool:
        """Run an inference whose body of `length` bytes lies in `body` from `at` on."""
        received = time.monotonic()
        self.channel.patience = _FOREVER
        name = head.path[2]
        start = at + json_length
        try:
            raw, raw_id = split_id(bytes(body[at:start]))
            request = _cached_request(raw)
            if length - json_length != request.binary_bytes:
                raise InvalidRequestError(
                    f"The request announces {request.binary_bytes} bytes of tensors, "
                    f"{length - json_length} came."
                )
            entry = self._plane.models.get(name)
            version = self._plane.check_version(head.path)
            feeds = read_inputs(request, body, start, self._grant.regions)
            values = entry.run(request.signature, feeds, request.output_names)
            computed = time.monotonic()
            specs = entry.specs(request.output_names)
            regions = self._grant.regions
            response = write_response(request, (name, version), specs, values, regions, raw_id)
        except Exception as error:  # noqa: BLE001 - sorted out in one place
            return self._failed(head, cause_of(error, self._plane), name, began)
        times = (received - began, computed - received)
        self.computed += computed - received
        answer, size = self._respond(head, response, times)
        counter = self._counter(name)
        counter.count(*times, computed, length, size)
        if length > _KEEP_BUFFER:
            self.channel.release_buffer(_KEEP_BUFFER)
        if (
            self._first
            and not raw_id
            and len(raw) <= _MAX_CACHED_JSON
            and Repeat.allowed(request, specs, values, response)
        ):
            total = len(self._first) + length
            self._repeat = Repeat(
                prefix=self._first + raw,
                head_length=len(self._first),
                total=total,
                whole=total <= self.channel.head_read,
                authorization=self._shown,
                head=head,
                request=request,
                name=name,
                entry=entry,
                shapes=shapes_of(values),
                answer=answer,
                body=size,
                counter=counter,
            )
        return head.keep_alive

    def _respond(
        self, head: RequestHead, response: InferResponse, times: tuple[float, float]
    ) -> tuple[bytes, int]:
        """Send an inference's answer; its bytes up to the tensors, and how long its body is."""
        header, buffers = response.header, response.buffers
        if head.coding:
            return b"", self._respond_compressed(head, response, times)
        size = len(header)
        for buffer in buffers:
            size += len(buffer)
        if buffers and head.keep_alive and b"ei-timing" not in head.headers:
            answer = _usual_head(size, len(header)) + header
        else:
            answer = _answer_head(head, size, len(header) if buffers else None, times) + header
        channel = self.channel
        channel.since = time.monotonic()
        channel.patience = self._limits.send_timeout
        channel.send(answer, buffers)
        return answer, size

    def _respond_compressed(
        self, head: RequestHead, response: InferResponse, times: tuple[float, float]
    ) -> int:
        """Send an inference's answer in the coding that was asked for; its body's length."""
        header, buffers = response.header, response.buffers
        # Told of what comes out when the body is unpacked, as Triton does.
        json_length = len(header) if buffers else None
        return send_pieces(
            self.channel,
            self._limits.send_timeout,
            lambda size: _answer_head(head, size, json_length, times),
            compress(head.coding, (header, *buffers)),
        )

    def _counter(self, name: str) -> Counter:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self._plane.statistics.open(name)
        return counter

    def _failed(
        self, head: RequestHead, error: ElasticInferenceError, name: str, began: float
    ) -> bool:
        """Answer an inference that failed, and count it."""
        # Names of models that there are not would pile up.
        if self._knows(name):
            counter = self._counter(name)
            counter.failures += 1
            counter.failure_time += time.monotonic() - began
        self._fail(error, close=not head.keep_alive)
        return head.keep_alive

    def _knows(self, name: str) -> bool:
        try:
            self._plane.models.get(name)
        except NotFoundError:
            return False
        return True

    def _other(self, head: RequestHead) -> bool:
        """Everything but the fast path."""
        body = self._body_of(head)
        close = not head.keep_alive
        # What comes in pieces is never recognised by its first bytes.
        self._first = b""
        try:
            if head.is_infer:
                return self._infer_collected(head, body)
            self.channel.patience = _FOREVER
            reply = find(head)(Call(self._plane, head, body, self._grant.session, self.channel))
        except Exception as error:  # noqa: BLE001 - sorted out in one place
            cause = cause_of(error, self._plane)
            whole = body.drain()
            close = not whole or close
            self._fail(cause, close=close)
            if not whole and isinstance(cause, PayloadTooLargeError):
                self._pass_over(body)
            return not close
        close = not body.drain() or close
        content, kind = reply.encode()
        self._send(response_head(reply.status, len(content), kind, close=close) + content)
        return not close

    def _infer_collected(self, head: RequestHead, body: ChannelBody) -> bool:
        """An inference whose body is chunked, compressed or waits for 100 Continue."""
        began = time.monotonic()
        self._plane.check_open()
        content = body.read()
        json_length = len(content) if head.json_length is None else head.json_length
        if json_length > len(content):
            raise InvalidRequestError("The JSON is longer than the body.")
        view, at = self.channel.adopt(content, json_length)
        return self._infer(head, view, at, json_length, len(content), began)

    def _pass_over(self, body: ChannelBody) -> None:
        """Read on after the answer to a body over its limit: many clients send it all first."""
        self.channel.end_sending()
        body.drain(_PASSED_OVER * self._limits.max_body)

    def _fail(self, error: ElasticInferenceError, *, close: bool) -> None:
        """Answer with an error."""
        error.with_context(request_id=f"EI-{uuid.uuid4()}", accelerator_id=self._plane.id)
        status = STATUS_BY_KIND.get(error.kind, 500)
        if status >= 500:
            log.warning("%s", error)
        self._send(self._plane.error_answer(error, status, close=close))

    def _send(self, answer: bytes) -> None:
        self.channel.since = time.monotonic()
        self.channel.patience = self._limits.send_timeout
        self.channel.send(answer[: answer.index(b"\r\n\r\n") + 4] if self._bodiless else answer)
