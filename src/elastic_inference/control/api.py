"""The control API: AWS JSON 1.1 over HTTPS, signed with Signature Version 4."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from elastic_inference._version import __version__
from elastic_inference.control.access import Access
from elastic_inference.control.caller import Caller
from elastic_inference.control.client import TARGET_PREFIX
from elastic_inference.control.front import Front, HttpRequest
from elastic_inference.control.late import Late
from elastic_inference.control.operations import Operations, Upgrade
from elastic_inference.errors import (
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    PayloadTooLargeError,
)
from elastic_inference.protocol.http import STATUS_BY_KIND

_log = logging.getLogger(__name__)
CONTENT_TYPE = "application/x-amz-json-1.1"
NONCE = "X-Amz-Ei-Nonce"
UPGRADE = "ei-exec"
AUTHORITY_PATH = "/ca.pem"
# As AWS calls them; the others are called by their kinds.
_AWS_NAMES = {
    "insufficient-capacity": "InsufficientInstanceCapacity",
    "access-denied": "AccessDeniedException",
    "invalid-request": "ValidationException",
    "not-found": "ResourceNotFoundException",
}
_MAX_BODY = 64 * 1024
_MAX_DISCARDED = 16 << 20
_CHUNK = 1 << 16
_HANDSHAKE_TIMEOUT = 10.0
_TIMEOUT = 30.0


class Api:
    """Serves the control API on connections that it is given.

    Args:
        access: who says whose a signature is.
        authority: PEM of the pool's certificate authority, for everybody.
        tls: the pool's own server context.
        max_connections: more at one time are closed unanswered.
        max_commands: commands in instances that may run at one time, beside these.
        front: what answers requests that are not of this API; None: nothing does.
    """

    def __init__(
        self,
        operations: Operations,
        access: Access,
        authority: bytes,
        tls: ssl.SSLContext,
        max_connections: int,
        max_commands: int,
        front: Front | None = None,
    ) -> None:
        self.operations = operations
        self.front = front
        self.access = access
        self.authority = authority
        self._tls = tls
        self._slots = threading.BoundedSemaphore(max_connections)
        self.commands = threading.BoundedSemaphore(max_commands)
        self.late = Late()

    def close(self) -> None:
        """Watch no longer; requests that are under way are answered."""
        self.late.close()

    def serve(self, connection: socket.socket, peer: tuple[Any, ...]) -> None:
        """Answer what comes over `connection`, which is the API's from here on. Never blocks."""
        if not self._slots.acquire(blocking=False):
            _log.warning("Too many connections to the control plane's API")
            connection.close()
            return
        thread = threading.Thread(
            target=self._serve, args=(connection, peer), name="api", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            _log.warning("Cannot serve a connection to the API: %s", error)
            connection.close()
            self._slots.release()

    def _serve(self, connection: socket.socket, peer: tuple[Any, ...]) -> None:
        slot = contextlib.ExitStack()
        slot.callback(self._slots.release)
        try:
            connection.settimeout(_HANDSHAKE_TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with (
                contextlib.suppress(OSError),
                self._tls.wrap_socket(connection, server_side=True) as encrypted,
            ):
                _Handler(encrypted, peer, self, slot)
        finally:
            connection.close()
            slot.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"elastic-inference/{__version__}"
    sys_version = ""
    timeout = _TIMEOUT
    # Head and body leave together: a peer that waits for more would delay the second of two.
    wbufsize = -1

    def __init__(
        self,
        connection: ssl.SSLSocket,
        peer: tuple[Any, ...],
        api: Api,
        slot: contextlib.ExitStack,
    ) -> None:
        self._api = api
        self._slot = slot
        # The base class asks for a server and uses it only to keep it.
        super().__init__(connection, peer, None)  # type: ignore[arg-type]  # see above

    def handle_one_request(self) -> None:
        # The base class gives each read its time; a request has no more than that as a whole.
        self._api.late.watch(self.connection, _TIMEOUT)
        try:
            super().handle_one_request()
        finally:
            self._api.late.forget(self.connection)

    def do_GET(self) -> None:
        if self._answered_in_front():
            return
        if self.path != AUTHORITY_PATH:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/x-pem-file")
        self.send_header("Content-Length", str(len(self._api.authority)))
        self.end_headers()
        self.wfile.write(self._api.authority)

    def do_DELETE(self) -> None:
        if not self._answered_in_front():
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)

    def do_POST(self) -> None:
        if self._answered_in_front():
            return
        try:
            found = self._answer()
            if isinstance(found, Upgrade):
                with self._command():
                    self._talk(found)
                return
            status, answer = HTTPStatus.OK, found
        except ElasticInferenceError as error:
            status = HTTPStatus(STATUS_BY_KIND.get(error.kind, 500))
            answer = _describe(error)
        except Exception:  # noqa: BLE001 - one request must not end the thread unanswered
            _log.exception("A request to the control plane failed")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            answer = _describe(InternalError("The control plane failed.", next_step="See its log."))
        self._send(status, answer)

    def _answered_in_front(self) -> bool:
        front, headers = self._api.front, list(self.headers.items())
        if front is None or not front.takes(self.command, self.path, headers):
            return False
        try:
            body = self._body(front.max_body, needed=self.command == "POST")
        except PayloadTooLargeError:
            body = None
        except InvalidRequestError as error:
            self._send(HTTPStatus.BAD_REQUEST, _describe(error))
            return True
        self._api.late.forget(self.connection)
        request = HttpRequest(
            self.command, self.path, headers, body,
            self.connection.getsockname(), self.client_address,
        )  # fmt: skip
        answer = front.answer(request)
        self._write(answer.status, answer.headers, answer.body)
        return True

    def _send(self, status: HTTPStatus, answer: dict[str, Any]) -> None:
        self._write(status, [("Content-Type", CONTENT_TYPE)], json.dumps(answer).encode())

    def _write(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @contextlib.contextmanager
    def _command(self) -> Iterator[None]:
        """A command's place; the connection's own is for others from here on."""
        if not self._api.commands.acquire(blocking=False):
            raise LimitExceededError(
                "As many commands as may run at one time run in this pool's instances.",
                next_step="Wait for some to end, or raise EI_MAX_COMMANDS where ei up runs.",
            )
        self._slot.close()
        try:
            yield
        finally:
            self._api.commands.release()

    def _talk(self, upgrade: Upgrade) -> None:
        """Go on with something else over the same connection."""
        self.close_connection = True
        self.send_response(HTTPStatus.SWITCHING_PROTOCOLS)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", UPGRADE)
        self.end_headers()
        self.wfile.flush()
        self.connection.settimeout(None)
        try:
            upgrade.talk(self.connection)
        except ElasticInferenceError as error:
            _log.warning("A command ended before its time: %s", error)

    def _answer(self) -> dict[str, Any] | Upgrade:
        body = self._body(_MAX_BODY)
        self._api.late.forget(self.connection)
        target = self.headers.get("X-Amz-Target", "")
        operation = target.removeprefix(TARGET_PREFIX)
        operations = self._api.operations
        if "Authorization" not in self.headers and operations.takes_unsigned(operation):
            return operations.call_unsigned(operation, _document(body))
        principal = self._api.access.authenticate(
            "POST", self.path, list(self.headers.items()), body
        )
        if not target.startswith(TARGET_PREFIX):
            raise InvalidRequestError(
                f"X-Amz-Target must be {TARGET_PREFIX}OPERATION.",
                next_step="Use a client of this version.",
            )
        document = _document(body)
        caller = Caller.of(
            principal,
            self.connection.getsockname(),
            self.client_address,
            self.headers.get(NONCE, ""),
        )
        return operations.upgrade(operation, document, caller) or operations.call(
            operation, document, caller
        )

    def _body(self, most: int, *, needed: bool = True) -> bytes:
        lengths = self.headers.get_all("Content-Length", [])
        length = lengths[0] if len(lengths) == 1 else ""
        if not lengths and not needed:
            length = "0"
        if "Transfer-Encoding" in self.headers:
            length = ""
        if not (length.isascii() and length.isdigit() and len(length) <= 10):
            self.close_connection = True
            raise InvalidRequestError("The request needs a Content-Length.")
        if int(length) > most:
            self.close_connection = True
            # Who still sends would see the connection break instead of the answer.
            self._discard(min(int(length), _MAX_DISCARDED))
            raise PayloadTooLargeError(f"The body is larger than {most} bytes.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            raise InvalidRequestError("The body is cut off.")
        return body

    def _discard(self, count: int) -> None:
        while count > 0 and (read := len(self.rfile.read(min(count, _CHUNK)))):
            count -= read

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the base class refuses by itself, in the form of every other answer."""
        del explain
        self.close_connection = True
        error: ElasticInferenceError
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code = HTTPStatus.NOT_FOUND
            error = NotFoundError(
                "This is the address of a pool, not of an accelerator.",
                next_step="Take an accelerator's url or grpc_url from ei token ACCELERATOR, or send"
                " its server_name in TLS.",
            )
        else:
            reason = message or HTTPStatus(code).phrase
            error = InvalidRequestError(f"The request is malformed: {reason}.")
        self._send(HTTPStatus(code), _describe(error))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        _log.debug(format, *args)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return document


def _describe(error: ElasticInferenceError) -> dict[str, Any]:
    words = "".join(word.capitalize() for word in error.kind.split("-"))
    name = _AWS_NAMES.get(error.kind, words)
    return error.to_dict() | {"__type": name, "message": error.message}
