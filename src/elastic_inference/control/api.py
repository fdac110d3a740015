"""The control API: AWS JSON 1.1 over HTTPS, signed with Signature Version 4."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from elastic_inference._version import __version__
from elastic_inference.control.operations import Caller, Operations
from elastic_inference.control.store import Store
from elastic_inference.errors import (
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
)
from elastic_inference.protocol import sigv4
from elastic_inference.protocol.http import STATUS_BY_KIND

_log = logging.getLogger(__name__)
TARGET_PREFIX = "ElasticInferenceControl_20261101."
CONTENT_TYPE = "application/x-amz-json-1.1"
_MAX_BODY = 64 * 1024
_MAX_DISCARDED = 1 << 20
_HANDSHAKE_TIMEOUT = 10.0
_TIMEOUT = 30.0


class Api:
    """Serves the control API on connections that it is given.

    Args:
        tls: the pool's own server context.
        max_connections: more at one time are closed unanswered.
    """

    def __init__(
        self, operations: Operations, store: Store, tls: ssl.SSLContext, max_connections: int
    ) -> None:
        self.operations = operations
        self.store = store
        self._tls = tls
        self._slots = threading.BoundedSemaphore(max_connections)

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
        try:
            connection.settimeout(_HANDSHAKE_TIMEOUT)
            with (
                contextlib.suppress(OSError),
                self._tls.wrap_socket(connection, server_side=True) as encrypted,
            ):
                _Handler(encrypted, peer, self)
        finally:
            connection.close()
            self._slots.release()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"elastic-inference/{__version__}"
    sys_version = ""
    timeout = _TIMEOUT

    def __init__(self, connection: ssl.SSLSocket, peer: tuple[Any, ...], api: Api) -> None:
        self._api = api
        # The base class asks for a server and uses it only to keep it.
        super().__init__(connection, peer, None)  # type: ignore[arg-type]  # see above

    def handle_one_request(self) -> None:
        # The base class gives each read its time; a request has no more than that as a whole.
        self._late = threading.Timer(_TIMEOUT, _cut, (self.connection,))
        self._late.daemon = True
        self._late.start()
        try:
            super().handle_one_request()
        finally:
            self._late.cancel()

    def do_POST(self) -> None:
        try:
            status, answer = HTTPStatus.OK, self._answer()
        except ElasticInferenceError as error:
            status = HTTPStatus(STATUS_BY_KIND.get(error.kind, 500))
            answer = _describe(error)
        except Exception:  # noqa: BLE001 - one request must not end the thread unanswered
            _log.exception("A request to the control plane failed")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            answer = _describe(InternalError("The control plane failed.", next_step="See its log."))
        self._send(status, answer)

    def _send(self, status: HTTPStatus, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self) -> dict[str, Any]:
        body = self._body()
        self._late.cancel()
        headers = list(self.headers.items())
        store = self._api.store

        def secret_of(key_id: str) -> str | None:
            key = store.access_key(key_id)
            return None if key is None else key.secret

        key_id = sigv4.verify("POST", self.path, headers, body, secret_of)
        key = store.access_key(key_id)
        target = self.headers.get("X-Amz-Target", "")
        if key is None or not target.startswith(TARGET_PREFIX):
            raise InvalidRequestError(
                f"X-Amz-Target must be {TARGET_PREFIX}OPERATION.",
                next_step="Use a client of this version.",
            )
        try:
            document = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise InvalidRequestError("The body must be a JSON object.")
        host, port = self.connection.getsockname()[:2]
        operation = target.removeprefix(TARGET_PREFIX)
        return self._api.operations.call(operation, document, Caller.of(key, host, port))

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length", [])
        length = lengths[0] if len(lengths) == 1 else ""
        if "Transfer-Encoding" in self.headers:
            length = ""
        if not (length.isascii() and length.isdigit() and len(length) <= 10):
            self.close_connection = True
            raise InvalidRequestError("The request needs a Content-Length.")
        if int(length) > _MAX_BODY:
            self.close_connection = True
            if int(length) <= _MAX_DISCARDED:
                # Who still sends would see the connection break instead of the answer.
                self.rfile.read(int(length))
            raise PayloadTooLargeError(f"The body is larger than {_MAX_BODY} bytes.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            raise InvalidRequestError("The body is cut off.")
        return body

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


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not SSLSocket's own, which pulls the session from under the waiting thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _describe(error: ElasticInferenceError) -> dict[str, Any]:
    name = "".join(word.capitalize() for word in error.kind.split("-"))
    return error.to_dict() | {"__type": name, "message": error.message}
