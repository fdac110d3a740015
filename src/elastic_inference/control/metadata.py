"""The instance metadata service that `ei run` gives to its command.

It answers on loopback, below a path that only the command is told, as IMDSv1 and IMDSv2.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROLE = "elastic-inference"
_TIMEOUT = 10.0
_MAX_TTL = 21600
_MAX_TOKENS = 4096
_TTL = re.compile(r"[0-9]{1,5}")
_ASSOCIATIONS = "meta-data/elastic-inference/associations"
_CREDENTIALS = "meta-data/iam/security-credentials"
# The credentials end with the instance; a date far off keeps clients from refreshing.
_VALID_FOR = 7 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDocument:
    """What an instance is told of itself.

    Attributes:
        accelerators: type of each accelerator by its id, in the order of attachment.
    """

    instance_id: str
    accelerators: Mapping[str, str]
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str

    def items(self) -> dict[str, str]:
        """The text at each path below `latest/`."""
        now = time.time()
        credentials = {
            "Code": "Success",
            "LastUpdated": _stamp(now),
            "Type": "AWS-HMAC",
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": "",
            "Expiration": _stamp(now + _VALID_FOR),
        }
        items = {
            "meta-data/instance-id": self.instance_id,
            "meta-data/placement/region": self.region,
            "meta-data/placement/availability-zone": self.region + "a",
            _CREDENTIALS: ROLE,
            f"{_CREDENTIALS}/{ROLE}": json.dumps(credentials),
            "dynamic/instance-identity/document": json.dumps(
                {"instanceId": self.instance_id, "region": self.region}
            ),
        }
        if self.accelerators:
            items[_ASSOCIATIONS] = "\n".join(self.accelerators)
        for accelerator_id, type_ in self.accelerators.items():
            association = {
                "elastic-inference-accelerator-id": accelerator_id,
                "elastic-inference-accelerator-type": type_,
            }
            items[f"{_ASSOCIATIONS}/{accelerator_id}"] = json.dumps(
                {"version_2018_04_12": association}
            )
        return items


class MetadataService:
    """Serves one instance's document on 127.0.0.1.

    Attributes:
        url: what AWS_EC2_METADATA_SERVICE_ENDPOINT must be.
    """

    def __init__(self, document: InstanceDocument) -> None:
        self._path = "/" + secrets.token_hex(16)
        self._server = _Server(document, self._path)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"
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

    def __init__(self, document: InstanceDocument, path: str) -> None:
        self.document = document
        self.path = path
        self._tokens: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def new_token(self, seconds: int) -> str:
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens[token] = time.monotonic() + seconds
            while len(self._tokens) > _MAX_TOKENS:
                self._tokens.popitem(last=False)
        return token

    def knows(self, token: str) -> bool:
        with self._lock:
            return self._tokens.get(token, 0.0) > time.monotonic()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nobody's error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "EC2ws"
    sys_version = ""
    timeout = _TIMEOUT
    server: _Server

    def do_PUT(self) -> None:
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        # A forwarded request comes from elsewhere; EC2 refuses it too.
        if "X-Forwarded-For" in self.headers or self._asked() != "api/token":
            self._reply(403 if self._asked() else 404)
        elif not _TTL.fullmatch(ttl) or not 1 <= int(ttl) <= _MAX_TTL:
            self._reply(400)
        else:
            header = {"X-aws-ec2-metadata-token-ttl-seconds": ttl}
            self._reply(200, self.server.new_token(int(ttl)), header)

    def do_GET(self) -> None:
        token = self.headers.get("X-aws-ec2-metadata-token")
        asked = self._asked()
        text = None if asked is None else self.server.document.items().get(asked.rstrip("/"))
        if asked is not None and token is not None and not self.server.knows(token):
            self._reply(401)
        elif text is None:
            self._reply(404)
        else:
            self._reply(200, text)

    def _asked(self) -> str | None:
        """The path below `latest/`; None where the secret part is wrong."""
        prefix, _, rest = self.path.partition("/latest/")
        known = hmac.compare_digest(prefix.encode("utf-8", "replace"), self.server.path.encode())
        return rest if known and rest else None

    def _reply(self, status: int, text: str = "", headers: Mapping[str, str] | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        # A body that nobody asked for must not be read as the next request.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        del format, args


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
