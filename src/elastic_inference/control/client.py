"""Calls a pool's control API over its endpoint."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from elastic_inference.control.pointer import Pointer
from elastic_inference.errors import InternalError, UnavailableError, from_dict
from elastic_inference.protocol import sigv4

T = TypeVar("T")
TARGET_PREFIX = "ElasticInferenceControl_20261101."
_MAX_ANSWER = 8 << 20
_MAX_HEAD = 16384


class ControlClient:
    """A caller with a pointer's credentials; one connection for each call.

    Args:
        timeout: seconds without a byte after which a call is given up.
    """

    def __init__(self, pointer: Pointer, timeout: float) -> None:
        self.pointer = pointer
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None

    def call(self, operation: str, document: dict[str, Any]) -> dict[str, Any]:
        """Do `operation` and answer its document.

        Raises:
            UnavailableError: no pool answers there.
            ElasticInferenceError: what the pool answers.
        """
        status, raw = self._guarded(lambda: self._exchange(operation, document))
        return self._read(status, raw)

    def pages(
        self, operation: str, key: str, document: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Each item under `key` of every page that `operation` answers; raises as `call`."""
        asked = dict(document or {})
        while True:
            answer = self.call(operation, asked)
            yield from answer[key]
            if "nextToken" not in answer:
                return
            asked["nextToken"] = answer["nextToken"]

    def converse(self, operation: str, document: dict[str, Any]) -> ssl.SSLSocket:
        """The connection over which `operation` goes on, the caller's from here on; as `call`."""
        return self._guarded(lambda: self._upgrade(operation, document))

    def _guarded(self, exchange: Callable[[], T]) -> T:
        pointer = self.pointer
        try:
            return exchange()
        except ssl.SSLCertVerificationError as error:
            raise UnavailableError(
                f"What answers at {pointer.endpoint} has no certificate of the pool's authority:"
                f" {error.verify_message}.",
                next_step=f"Compare {pointer.ca} with ca.pem of the pool's state.",
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"No pool answers at {pointer.endpoint}: {error}.",
                next_step="Start it with ei up.",
            ) from error

    def _read(self, status: int, raw: bytes) -> dict[str, Any]:
        pointer = self.pointer
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise UnavailableError(f"What answers at {pointer.endpoint} is no pool.")
        if status != http.client.OK:
            raise from_dict(answer, InternalError)
        return answer

    def _exchange(self, operation: str, document: dict[str, Any]) -> tuple[int, bytes]:
        encrypted = self._connect()
        with encrypted:
            connection = self._send(encrypted, operation, document, {"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read(_MAX_ANSWER)

    def _upgrade(self, operation: str, document: dict[str, Any]) -> ssl.SSLSocket:
        encrypted = self._connect()
        try:
            self._send(encrypted, operation, document, {"Connection": "Upgrade"})
            head = _head_of(encrypted)
            status = int(head.split(b" ", 2)[1])
            if status != http.client.SWITCHING_PROTOCOLS:
                self._read(status, _rest_of(encrypted, head))
                raise UnavailableError(f"The pool does not go on with {operation}.")
            encrypted.settimeout(None)
        except BaseException:
            encrypted.close()
            raise
        return encrypted

    def _connect(self) -> ssl.SSLSocket:
        parts = urlsplit(self.pointer.endpoint)
        if self._tls is None:
            self._tls = self._context()
        tls = self._tls
        plain = socket.create_connection((parts.hostname or "", parts.port or 443), self._timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return tls.wrap_socket(plain, server_hostname=self.pointer.server_name)
        except BaseException:
            plain.close()
            raise

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.pointer.ca)
        except OSError as error:
            raise UnavailableError(
                f"The pool's authority cannot be read from {self.pointer.ca!r}: {error}.",
                next_step="Copy ca.pem of the pool's state there.",
            ) from error

    def _send(
        self,
        encrypted: ssl.SSLSocket,
        operation: str,
        document: dict[str, Any],
        headers: dict[str, str],
    ) -> http.client.HTTPConnection:
        pointer, parts = self.pointer, urlsplit(self.pointer.endpoint)
        body = json.dumps(document).encode()
        signed = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": TARGET_PREFIX + operation,
            "X-Amz-Ei-Nonce": secrets.token_urlsafe(24),
        }
        if pointer.session_token:
            signed["X-Amz-Security-Token"] = pointer.session_token
        if pointer.access_key_id:
            signed = sigv4.sign(
                "POST",
                pointer.endpoint + "/",
                signed,
                body,
                pointer.access_key_id,
                pointer.secret_access_key,
            )
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 443)
        connection.sock = encrypted
        connection.request("POST", "/", body, signed | headers)
        return connection


def _head_of(connection: ssl.SSLSocket) -> bytes:
    """An answer's head, and nothing of what follows it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece or len(head) > _MAX_HEAD:
            raise ConnectionError("it does not answer")
        head += piece
    return head


def _rest_of(connection: ssl.SSLSocket, head: bytes) -> bytes:
    """The body that follows a head."""
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head)
    left = min(int(found[1]), _MAX_ANSWER) if found else 0
    body = b""
    while len(body) < left:
        piece = connection.recv(left - len(body))
        if not piece:
            break
        body += piece
    return body
