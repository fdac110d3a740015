"""An instance's metadata service, IMDSv1 and IMDSv2 as on EC2.

It serves a listener inside the instance's network, or answers on loopback below a path that
only the instance is told.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import socket
import struct
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from elastic_inference.compute.document import InstanceDocument, listing

_log = logging.getLogger(__name__)
ADDRESS = "169.254.169.254"
_TIMEOUT = 10.0
_MAX_CONNECTIONS = 64
_MAX_TTL = 21600
_TTL = re.compile(r"[0-9]{1,5}")
_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a header's name
_EXPIRY = struct.Struct(">Q")
_TOKEN_NONCE = 16

DocumentSource = Callable[[], InstanceDocument | None]


class MetadataService:
    """Serves one instance's document, which is asked anew for each request.

    Args:
        document: None says that the instance has none now: 404.
        secret: what path and tokens come from: the same one gives the same ones again.
        listener: serve this one, at the root; it is the service's from here on.
        port: of loopback, where no listener is given; another one where it is taken.

    Attributes:
        url: what AWS_EC2_METADATA_SERVICE_ENDPOINT must be.
        port: where it listens.
    """

    def __init__(
        self,
        document: DocumentSource,
        *,
        secret: str | None = None,
        listener: socket.socket | None = None,
        port: int = 0,
    ) -> None:
        secret = secret or secrets.token_hex(32)
        path = "" if listener is not None else "/" + _derived(secret, "path").hex()[:32]
        self._server = _Server(
            listener or _loopback(port), document, path, _derived(secret, "tokens")
        )
        host, self.port = self._server.socket.getsockname()[:2]
        at = host if self.port == 80 else f"{host}:{self.port}"
        self.url = f"http://{at}{path}"
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="metadata", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        # Wakes the thread at once, where `serve_forever` would look twice a second.
        self._server.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.server_close()

    def _run(self) -> None:
        while not self._closed:
            self._server.handle_request()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Closing must not wait for a client that has stopped amid its request.
    block_on_close = False

    def __init__(
        self, listener: socket.socket, document: DocumentSource, path: str, key: bytes
    ) -> None:
        self.document = document
        self.path = path
        self._key = key
        self._slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def new_token(self, seconds: int) -> str:
        body = _EXPIRY.pack(int(_now() * 1000) + seconds * 1000) + secrets.token_bytes(_TOKEN_NONCE)
        return urlsafe_b64encode(body + self._mac(body)).decode()

    def knows(self, token: str) -> bool:
        """Whether this service gave the token, in this life or an earlier one, and it is valid."""
        try:
            data = urlsafe_b64decode(token.encode("ascii"))
        except ValueError:
            return False
        if urlsafe_b64encode(data) != token.encode("ascii"):
            # The decoder passes over what it does not know.
            return False
        body, mac = data[: _EXPIRY.size + _TOKEN_NONCE], data[_EXPIRY.size + _TOKEN_NONCE :]
        if not hmac.compare_digest(mac, self._mac(body)):
            return False
        return bool(_EXPIRY.unpack_from(body)[0] > _now() * 1000)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One more thread, unless there are too many: then the client is cut."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nobody's error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "EC2ws"
    sys_version = ""
    timeout = _TIMEOUT
    server: _Server

    def do_PUT(self) -> None:
        ttl = self.headers.get(_TTL_HEADER, "")
        asked = self._asked()
        if asked is None:
            self._reply(404)
        elif "X-Forwarded-For" in self.headers or asked != "latest/api/token":
            # A forwarded request comes from elsewhere; EC2 refuses it too.
            self._reply(403)
        elif not _TTL.fullmatch(ttl) or not 1 <= int(ttl) <= _MAX_TTL:
            self._reply(400)
        else:
            self._reply(200, self.server.new_token(int(ttl)), {_TTL_HEADER: ttl})

    def do_GET(self) -> None:
        asked = self._asked()
        token = self.headers.get(_TOKEN_HEADER)
        if asked is None:
            self._reply(404)
        elif token is not None and not self.server.knows(token):
            self._reply(401)
        else:
            try:
                document = self.server.document()
                text = _text(asked, document)
            except Exception:  # noqa: BLE001 - the document's source is the caller's
                _log.exception("An instance's metadata could not be read")
                self._reply(500)
                return
            if token is None and document is not None and document.tokens_required:
                self._reply(401)
                return
            self._reply(404 if text is None else 200, text or "")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _asked(self) -> str | None:
        """The path asked for, without slashes around; None where the secret part is wrong."""
        path = self.path.partition("?")[0]
        prefix, rest = path[: len(self.server.path)], path[len(self.server.path) :]
        known = hmac.compare_digest(prefix.encode("utf-8", "replace"), self.server.path.encode())
        return rest.strip("/") if known and rest.startswith("/") else None

    def _reply(self, status: int, text: str = "", headers: Mapping[str, str] | None = None) -> None:
        body = text.encode("utf-8", "surrogateescape")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        # A body that nobody asked for must not be read as the next request.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        del format, args


def _text(asked: str, document: InstanceDocument | None) -> str | None:
    if document is None:
        return None
    if not asked:
        return "latest"
    version, _, path = asked.partition("/")
    if version != "latest":
        return None
    items = document.items()
    return items[path] if path in items else listing(items, path)


def _loopback(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        if port == 0:
            raise
        return socket.create_server(("127.0.0.1", 0))


def _derived(secret: str, what: str) -> bytes:
    return hmac.digest(secret.encode(), what.encode(), hashlib.sha256)


def _now() -> float:
    """Seconds that no change of the wall clock moves, and that a new process counts on."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
