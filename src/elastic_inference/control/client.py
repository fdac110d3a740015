"""Calls a pool's control API over its endpoint."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

from elastic_inference.control.pointer import Pointer
from elastic_inference.errors import InternalError, UnavailableError, from_dict
from elastic_inference.protocol import sigv4

_TARGET_PREFIX = "ElasticInferenceControl_20261101."
_MAX_ANSWER = 1 << 20


class ControlClient:
    """A caller with the account's own credentials; one connection for each call.

    Args:
        timeout: seconds without a byte after which a call is given up.
    """

    def __init__(self, pointer: Pointer, timeout: float) -> None:
        self.pointer = pointer
        self._timeout = timeout

    def call(self, operation: str, document: dict[str, Any]) -> dict[str, Any]:
        """Do `operation` and answer its document.

        Raises:
            UnavailableError: no pool answers there.
            ElasticInferenceError: what the pool answers.
        """
        pointer = self.pointer
        body = json.dumps(document).encode()
        headers = sigv4.sign(
            "POST",
            pointer.endpoint + "/",
            {
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": _TARGET_PREFIX + operation,
            },
            body,
            pointer.access_key_id,
            pointer.secret_access_key,
        )
        try:
            status, raw = self._exchange(body, headers)
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
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise UnavailableError(f"What answers at {pointer.endpoint} is no pool.")
        if status != http.client.OK:
            raise from_dict(answer, InternalError)
        return answer

    def _exchange(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        parts = urlsplit(self.pointer.endpoint)
        host, port = parts.hostname or "", parts.port or 443
        try:
            tls = ssl.create_default_context(cafile=self.pointer.ca)
        except OSError as error:
            raise UnavailableError(
                f"The pool's authority cannot be read from {self.pointer.ca!r}: {error}.",
                next_step="Copy ca.pem of the pool's state there.",
            ) from error
        plain = socket.create_connection((host, port), self._timeout)
        with tls.wrap_socket(plain, server_hostname=self.pointer.server_name) as encrypted:
            connection = http.client.HTTPConnection(host, port)
            connection.sock = encrypted
            connection.request("POST", "/", body, headers | {"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read(_MAX_ANSWER)
